//! A status, for people: a line for the cluster, a table of nodes, a table of shards.

use std::io::{self, Write};
use std::time::Duration;

use super::status::{Node, Replica, Shard, Status};

/// Stands where nothing is known.
const UNKNOWN: &str = "-";

pub(super) fn write(out: &mut dyn Write, status: &Status) -> io::Result<()> {
    let cluster = &status.cluster;
    let id = cluster.id.as_deref().unwrap_or("none yet");
    writeln!(out, "cluster {id}: {}", cluster.state)?;
    if let Some(reason) = &cluster.reason {
        writeln!(out, "  {reason}")?;
    }
    if !status.nodes.is_empty() {
        writeln!(out)?;
        let mut nodes = Table::new(&[
            "node",
            "id",
            "state",
            "alive",
            "rtt",
            "leads",
            "memory",
            "disk free",
            "version",
            "peers at",
            "clients at",
        ]);
        for node in &status.nodes {
            nodes.add(node_cells(node));
        }
        nodes.write(out)?;
    }
    if !status.shards.is_empty() {
        writeln!(out)?;
        let mut shards = Table::new(&[
            "shard", "leader", "term", "commit", "applied", "voters", "learners",
        ]);
        for shard in &status.shards {
            shards.add(shard_cells(shard));
        }
        shards.write(out)?;
    }
    Ok(())
}

fn node_cells(node: &Node) -> Vec<String> {
    let alive = node
        .alive
        .map(|alive| if alive { "yes" } else { "NO" }.to_owned());
    let disk = node
        .disk_free_bytes
        .map(|free| match node.disk_total_bytes {
            Some(total @ 1..) => format!("{} ({} %)", size(free), free * 100 / total),
            _ => size(free),
        });
    vec![
        node.name.clone(),
        node.id.clone(),
        known(node.state.clone()),
        known(alive),
        known(node.round_trip.map(time)),
        known(node.shards_led),
        known(node.memory_bytes.map(size)),
        known(disk),
        known(node.version.clone()),
        known(node.address.clone()),
        known(node.redis.clone()),
    ]
}

fn shard_cells(shard: &Shard) -> Vec<String> {
    vec![
        shard.shard.to_string(),
        shard.leader.clone().unwrap_or_else(|| "NONE".to_owned()),
        known(shard.term),
        known(shard.commit),
        known(shard.applied),
        replicas(&shard.voters),
        replicas(&shard.learners),
    ]
}

/// The nodes, each with its lag if it has one.
fn replicas(replicas: &[Replica]) -> String {
    if replicas.is_empty() {
        return UNKNOWN.to_owned();
    }
    let one = |replica: &Replica| match (replica.alive, replica.lag) {
        (Some(false), _) => format!("{} (away)", replica.node),
        (_, Some(lag @ 1..)) => format!("{} (-{lag})", replica.node),
        _ => replica.node.clone(),
    };
    replicas.iter().map(one).collect::<Vec<_>>().join(", ")
}

fn known(value: Option<impl ToString>) -> String {
    value.map_or_else(|| UNKNOWN.to_owned(), |value| value.to_string())
}

fn size(bytes: u64) -> String {
    let mut value = bytes as f64;
    for unit in ["B", "KiB", "MiB", "GiB"] {
        if value < 1024.0 {
            return match unit {
                "B" => format!("{bytes} B"),
                _ => format!("{value:.1} {unit}"),
            };
        }
        value /= 1024.0;
    }
    format!("{value:.1} TiB")
}

fn time(time: Duration) -> String {
    match time.as_micros() {
        micros @ ..1000 => format!("{micros} µs"),
        _ => format!("{:.1} ms", time.as_secs_f64() * 1e3),
    }
}

/// Columns as wide as what stands in them.
struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    fn new(head: &[&str]) -> Table {
        Table {
            rows: vec![head.iter().map(|&cell| cell.to_owned()).collect()],
        }
    }

    fn add(&mut self, row: Vec<String>) {
        assert_eq!(
            row.len(),
            self.rows[0].len(),
            "a row has a cell for each column"
        );
        self.rows.push(row);
    }

    fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        let width = |column: usize| {
            self.rows
                .iter()
                .map(|row| row[column].chars().count())
                .max()
        };
        let widths: Vec<usize> = (0..self.rows[0].len())
            .map(|column| width(column).unwrap_or(0))
            .collect();
        for row in &self.rows {
            let cells: Vec<String> = row
                .iter()
                .zip(&widths)
                .map(|(cell, &width)| format!("{cell:width$}"))
                .collect();
            writeln!(out, "{}", cells.join("  ").trim_end())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_times_are_short() {
        for (bytes, text) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1536, "1.5 KiB"),
            (3 << 40, "3.0 TiB"),
        ] {
            assert_eq!(size(bytes), text);
        }
        assert_eq!(time(Duration::from_micros(999)), "999 µs");
        assert_eq!(time(Duration::from_micros(2340)), "2.3 ms");
    }

    #[test]
    fn columns_line_up() {
        let mut table = Table::new(&["a", "b"]);
        table.add(vec!["long µ".to_owned(), "x".to_owned()]);
        let mut out = Vec::new();
        table.write(&mut out).unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), "a       b\nlong µ  x\n");
    }
}
