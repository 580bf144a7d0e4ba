//! Three nodes of Piccolo against three of etcd: puts and linearizable gets, with a sync before each acknowledgement.
//!
//! Both clusters run at the same time in folders of one disk; a round drives one of them and then the other, and which
//! is first alternates, so the other one idles meanwhile. The load comes from `benches/cluster`, one program for both,
//! built here. Its clients are spread evenly over the nodes, so that two thirds of them talk to a follower.

mod members;

use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use self::members::Cluster;
use super::Bench;
use super::load::figure;
use super::table::{Target, median, thousands};
use crate::run::{Cargo, output, program};
use crate::workspace::Workspace;

const CLIENTS: u32 = 64;
const KEYS: u64 = 20_000;
const KEY_BYTES: u32 = 64;
const VALUE_BYTES: u32 = 64;
const SHARDS: [u32; 2] = [1, 16];
const THROUGHPUT: Target = Target::AtLeast(5.0);
const CPU: Target = Target::AtMost(0.1);
/// Of a core, for each node.
const IDLE: Target = Target::Below(0.01);
/// How long nobody talks to the nodes while their idle CPU is measured.
const IDLE_TIME: Duration = Duration::from_secs(10);
/// HTTP/2 connections to each etcd node, shared by its clients: with 4 or 16 of them it did no more and cost more.
const ETCD_CONNECTIONS: u32 = 1;

/// Prints the tables. Without etcd in the path, says so and measures nothing.
pub(super) fn run(bench: &Bench<'_>) -> Result<()> {
    let Ok(version) = output(program("etcd").arg("--version")) else {
        println!(
            "SKIPPED cluster: there is no `etcd` in the path to compare with; Debian has it as etcd-server"
        );
        return Ok(());
    };
    let generator = generator(&Workspace::load()?)?;
    println!(
        "- etcd: {}\n- three nodes each, on the loopback, with their defaults, which sync before each acknowledgement; {CLIENTS} clients, \
         spread over the nodes, each with one operation under way; {} keys of {KEY_BYTES} B drawn uniformly, values of {VALUE_BYTES} B; {} rounds of \
         {} s on each cluster, alternating: medians, and the least and the greatest ratio.\n",
        version.lines().next().unwrap_or_default(),
        thousands(bench.keys(KEYS)),
        bench.options.rounds,
        bench.options.seconds,
    );
    println!(
        "| shards | operation | Piccolo, per second | etcd, per second | ratio | target | reached | Piccolo, CPU-s per million \
         | etcd, CPU-s per million | CPU ratio | target | reached | Piccolo p50 / p99, ms | etcd p50 / p99, ms | load generator, share of a core |"
    );
    println!(
        "| --- | --- | --: | --: | --: | --- | --- | --: | --: | --: | --- | --- | --- | --- | --- |"
    );
    let mut idle = Vec::new();
    for shards in SHARDS {
        let folder = bench.folder()?;
        let piccolo = Cluster::piccolo(bench, &folder.path().join("piccolo"), shards)?;
        let etcd = Cluster::etcd(&folder.path().join("etcd"))?;
        for cluster in [&piccolo, &etcd] {
            eprintln!("cluster: filling {}", cluster.name);
            let arguments = ["--op", "put", "--fill", "--seconds", "0.1"];
            drive(bench, &generator, cluster, 0, &arguments)?;
        }
        for op in ["put", "get"] {
            println!(
                "{}",
                compare(bench, &generator, [&piccolo, &etcd], shards, op)?
            );
        }
        idle.push((shards, idle_share(&piccolo)?, idle_share(&etcd)?));
    }
    println!(
        "\n| shards | Piccolo, idle: share of a core for each node | target | reached | etcd |"
    );
    println!("| --- | --: | --- | --- | --: |");
    for (shards, piccolo, etcd) in idle {
        println!(
            "| {shards} | {} | {etcd:.4} |",
            IDLE.cells_of(&[piccolo], 4)
        );
    }
    Ok(())
}

/// The load generator, built.
fn generator(workspace: &Workspace) -> Result<PathBuf> {
    let manifest = workspace.root.join("benches/cluster/Cargo.toml");
    let target = workspace.target.join("cluster-bench");
    let (manifest, target_dir) = (manifest.display().to_string(), target.display().to_string());
    let arguments = [
        "build",
        "--release",
        "--locked",
        "--manifest-path",
        &manifest,
        "--target-dir",
        &target_dir,
    ];
    if !Cargo::new(workspace).succeeds(&arguments)? {
        bail!("benches/cluster does not build");
    }
    Ok(target.join("release/cluster-bench"))
}

/// All rounds of one operation, and their row.
fn compare(
    bench: &Bench<'_>,
    generator: &Path,
    clusters: [&Cluster; 2],
    shards: u32,
    op: &str,
) -> Result<String> {
    let mut rounds: [Vec<Value>; 2] = [Vec::new(), Vec::new()];
    let seconds = bench.options.seconds.to_string();
    for number in 1..=bench.options.rounds {
        let mut order = [0, 1];
        if number % 2 == 0 {
            order.reverse();
        }
        for index in order {
            let cluster = clusters[index];
            eprintln!(
                "cluster: {op}, {shards} shards, round {number}, {}",
                cluster.name
            );
            let arguments = ["--op", op, "--seconds", &seconds];
            let round = drive(bench, generator, cluster, number, &arguments)?;
            rounds[index].push(round);
        }
    }
    row(&rounds, shards, op)
}

/// One run of the generator. One in which operations were refused, or found nothing, says nothing.
fn drive(
    bench: &Bench<'_>,
    generator: &Path,
    cluster: &Cluster,
    seed: u32,
    arguments: &[&str],
) -> Result<Value> {
    let mut command = program(generator);
    command
        .args(["--protocol", cluster.protocol])
        .args(["--clients", &CLIENTS.to_string()])
        .args(["--connections", &ETCD_CONNECTIONS.to_string()])
        .args(["--keys", &bench.keys(KEYS).to_string()])
        .args(["--key-size", &KEY_BYTES.to_string()])
        .args(["--value-size", &VALUE_BYTES.to_string()])
        .args(["--seed", &(u64::from(seed) << 32).to_string()])
        .args(arguments);
    for node in &cluster.nodes {
        command.args(["--address", &node.address]);
        command.args(["--pid", &node.pid().to_string()]);
    }
    let round: Value = output(&mut command)
        .and_then(|text| Ok(serde_json::from_str(&text)?))
        .with_context(|| format!("driving {}\n{}", cluster.name, cluster.logs()))?;
    if let Some(refusal) = round["first_refusal"].as_str() {
        bail!("{} refused operations: {refusal}", cluster.name);
    }
    if round["missing"].as_u64() != Some(0) {
        bail!("{} lacks keys: {}", cluster.name, round["missing"]);
    }
    Ok(round)
}

fn row(rounds: &[Vec<Value>; 2], shards: u32, op: &str) -> Result<String> {
    let figures = |index: usize, pointer: &str| -> Result<Vec<f64>> {
        rounds[index]
            .iter()
            .map(|round| figure(round, pointer))
            .collect()
    };
    let middle = |index: usize, pointer: &str| -> Result<f64> {
        median(&figures(index, pointer)?).context("no round was measured")
    };
    let ratios = |pointer: &str| -> Result<Vec<f64>> {
        let (ours, theirs) = (figures(0, pointer)?, figures(1, pointer)?);
        Ok(ours
            .iter()
            .zip(theirs)
            .map(|(ours, theirs)| ours / theirs)
            .collect())
    };
    let latency = |index: usize| -> Result<String> {
        let (p50, p99) = (
            middle(index, "/latency_us/p50")?,
            middle(index, "/latency_us/p99")?,
        );
        Ok(format!("{:.2} / {:.2}", p50 / 1e3, p99 / 1e3))
    };
    Ok(format!(
        "| {shards} | {op} | {} | {} | {} | {:.1} | {:.1} | {} | {} | {} | {:.0} %, {:.0} % |",
        thousands(middle(0, "/per_second")? as u64),
        thousands(middle(1, "/per_second")? as u64),
        THROUGHPUT.cells(&ratios("/per_second")?),
        middle(0, "/server_cpu_seconds_per_million")?,
        middle(1, "/server_cpu_seconds_per_million")?,
        CPU.cells(&ratios("/server_cpu_seconds_per_million")?),
        latency(0)?,
        latency(1)?,
        100.0 * middle(0, "/generator_cpu_share")?,
        100.0 * middle(1, "/generator_cpu_share")?,
    ))
}

/// The CPU time of the busiest node while nobody talks to it, as a share of a core.
fn idle_share(cluster: &Cluster) -> Result<f64> {
    eprintln!("cluster: {} idles", cluster.name);
    let before = cluster.cpu_seconds()?;
    let start = Instant::now();
    thread::sleep(IDLE_TIME);
    let elapsed = start.elapsed().as_secs_f64();
    let shares = cluster.cpu_seconds()?.into_iter().zip(before);
    Ok(shares
        .map(|(after, before)| (after - before) / elapsed)
        .fold(0.0, f64::max))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_row_has_medians_and_ratios_round_by_round() {
        let round = |per_second: f64, cpu: f64| {
            json!({
                "per_second": per_second, "server_cpu_seconds_per_million": cpu,
                "generator_cpu_share": 0.25, "latency_us": { "p50": 1500, "p99": 4000 },
            })
        };
        let rounds = [
            vec![round(30_000.0, 20.0), round(20_000.0, 20.0)],
            vec![round(3_000.0, 250.0), round(5_000.0, 250.0)],
        ];
        let row = row(&rounds, 16, "put").unwrap();
        for part in [
            "| 16 | put | 25,000 | 4,000 | 7.00 (4.00 to 10.00) | at least 5 | yes |",
            "| 20.0 | 250.0 | 0.08 (0.08 to 0.08) | at most 0.1 | yes |",
            "| 1.50 / 4.00 |",
            "| 25 %, 25 % |",
        ] {
            assert!(row.contains(part), "{part} is not in {row}");
        }
        assert!(super::row(&[vec![json!({})], vec![json!({})]], 1, "get").is_err());
    }
}
