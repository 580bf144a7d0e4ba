//! What each section of INFO tells.

use base::Db;
use cluster::ReadGuard;

use super::super::REDIS_VERSION;
use super::Fields;
use super::process;
use crate::pubsub::Kind;
use crate::server::Shared;

pub(super) fn server(shared: &Shared, fields: &mut Fields) {
    let facts = &shared.facts;
    let system = rustix::system::uname();
    let now = shared.now();
    let uptime = now.since(facts.started).as_secs();
    fields.put("redis_version", REDIS_VERSION);
    fields.put("server_name", "piccolo");
    fields.put("piccolo_version", facts.version);
    fields.put("redis_mode", "standalone");
    fields.put(
        "os",
        format_args!(
            "{} {} {}",
            system.sysname().to_string_lossy(),
            system.release().to_string_lossy(),
            system.machine().to_string_lossy()
        ),
    );
    fields.put("arch_bits", usize::BITS);
    fields.put("process_id", std::process::id());
    fields.put("run_id", &facts.run_id);
    fields.put("tcp_port", facts.redis_address.port());
    fields.put("server_time_usec", now.millis() * 1000);
    fields.put("uptime_in_seconds", uptime);
    fields.put("uptime_in_days", uptime / (24 * 60 * 60));
    if let Ok(executable) = std::env::current_exe() {
        fields.put("executable", executable.display());
    }
    fields.put("config_file", &facts.config_file);
}

pub(super) fn clients(shared: &Shared, fields: &mut Fields) {
    fields.put("connected_clients", shared.clients.len());
    fields.put("cluster_connections", 0);
    fields.put("maxclients", shared.max_clients());
    fields.put("blocked_clients", 0);
    fields.put("tracking_clients", 0);
    fields.put("clients_in_timeout_table", 0);
}

pub(super) fn memory(shared: &Shared, fields: &mut Fields) {
    let used: u64 = keyspaces(shared)
        .map(|keyspace| keyspace.memory_used() as u64)
        .sum();
    fields.put("used_memory", used);
    fields.put("used_memory_human", human(used));
    if let Some(resident) = process::resident_bytes() {
        fields.put("used_memory_rss", resident);
        fields.put("used_memory_rss_human", human(resident));
        let ratio = resident as f64 / used.max(1) as f64;
        fields.put("mem_fragmentation_ratio", format_args!("{ratio:.2}"));
    }
    if let Some(total) = process::system_memory_bytes() {
        fields.put("total_system_memory", total);
        fields.put("total_system_memory_human", human(total));
    }
    fields.put("maxmemory", 0);
    fields.put("maxmemory_human", human(0));
    fields.put("maxmemory_policy", "noeviction");
    fields.put("mem_allocator", "mimalloc");
}

/// The log stands for Redis's AOF, and a snapshot for its rewriting. A log that fails ends the process;
/// one without room refuses writes, which is told here.
pub(super) fn persistence(shared: &Shared, fields: &mut Fields) {
    let snapshot = keyspaces(shared).any(|keyspace| keyspace.snapshot_running());
    fields.put("loading", 0);
    fields.put("async_loading", 0);
    fields.put("rdb_bgsave_in_progress", 0);
    fields.put("aof_enabled", 1);
    fields.put("aof_rewrite_in_progress", u8::from(snapshot));
    fields.put("aof_rewrite_scheduled", 0);
    let status = if shared.store().is_disk_full() {
        "err"
    } else {
        "ok"
    };
    fields.put("aof_last_write_status", status);
}

pub(super) fn stats(shared: &Shared, fields: &mut Fields) {
    let totals = shared.totals();
    fields.put("total_connections_received", totals.connections);
    fields.put("total_commands_processed", totals.commands);
    fields.put("instantaneous_ops_per_sec", shared.commands_per_second());
    fields.put("total_net_input_bytes", totals.input_bytes);
    fields.put("total_net_output_bytes", totals.output_bytes);
    fields.put("rejected_connections", totals.rejected);
    fields.put("evicted_keys", 0);
    fields.put("evicted_clients", 0);
    fields.put("pubsub_channels", shared.pubsub.len(Kind::Channel));
    fields.put("pubsub_patterns", shared.pubsub.len(Kind::Pattern));
    fields.put("pubsubshard_channels", shared.pubsub.len(Kind::Shard));
    fields.put("latest_fork_usec", 0);
    fields.put("total_forks", 0);
    fields.put("total_error_replies", totals.errors.values().sum::<u64>());
}

/// Replication between nodes is not Redis's, so to a client each node stands alone.
pub(super) fn replication(shared: &Shared, fields: &mut Fields) {
    fields.put("role", "master");
    fields.put("connected_slaves", 0);
    fields.put("master_failover_state", "no-failover");
    fields.put("master_replid", &shared.facts.run_id);
    fields.put("master_replid2", "0".repeat(40));
    fields.put("master_repl_offset", 0);
    fields.put("second_repl_offset", -1);
    fields.put("repl_backlog_active", 0);
    fields.put("repl_backlog_size", 0);
    fields.put("repl_backlog_first_byte_offset", 0);
    fields.put("repl_backlog_histlen", 0);
}

pub(super) fn cpu(_: &Shared, fields: &mut Fields) {
    let Some(time) = process::cpu_time() else {
        return;
    };
    for (name, seconds) in [
        ("used_cpu_sys", time.system),
        ("used_cpu_user", time.user),
        ("used_cpu_sys_children", time.children_system),
        ("used_cpu_user_children", time.children_user),
    ] {
        fields.put(name, format_args!("{seconds:.6}"));
    }
}

pub(super) fn error_stats(shared: &Shared, fields: &mut Fields) {
    for (prefix, count) in shared.totals().errors {
        fields.put(
            &format!("errorstat_{prefix}"),
            format_args!("count={count}"),
        );
    }
}

pub(super) fn cluster(_: &Shared, fields: &mut Fields) {
    fields.put("cluster_enabled", 0);
}

pub(super) fn keyspace(shared: &Shared, fields: &mut Fields) {
    for db in Db::all() {
        let (mut keys, mut expires) = (0, 0);
        for keyspace in keyspaces(shared) {
            keys += keyspace.len(db);
            expires += keyspace.expiring_len(db);
        }
        if keys > 0 {
            fields.put(
                &format!("db{}", db.number()),
                format_args!("keys={keys},expires={expires},avg_ttl=0"),
            );
        }
    }
}

/// The round trip of a peer is -1 until it is known.
pub(super) fn piccolo(shared: &Shared, fields: &mut Fields) {
    let facts = &shared.facts;
    let store = shared.store();
    let peers = shared.peers();
    let alive = peers.iter().filter(|peer| peer.alive).count();
    let shards = store.shards();
    let led = store.statuses().iter().filter(|shard| shard.led).count();
    fields.put("piccolo_version", facts.version);
    fields.put("node_id", facts.node_id);
    fields.put("node_name", &facts.node_name);
    fields.put("peer_address", &facts.peer_address);
    fields.put("redis_address", facts.redis_address);
    let cluster = shared.cluster();
    // Empty while the node belongs to none.
    let id = cluster.cluster_id.map(|id| id.to_string());
    fields.put("cluster_id", id.unwrap_or_default());
    fields.put("cluster_state", cluster.state);
    fields.put("nodes_known", peers.len() + 1);
    fields.put("nodes_alive", alive + 1);
    fields.put("shards", shards);
    fields.put("shards_led", led);
    fields.put("fsync", store.fsync());
    for (number, peer) in peers.iter().enumerate() {
        let rtt = peer
            .rtt_micros
            .map_or(-1, |micros| i64::try_from(micros).unwrap_or(i64::MAX));
        fields.put(
            &format!("peer{number}"),
            format_args!(
                "name={},address={},state={},rtt_us={rtt}",
                without_commas(&peer.name),
                without_commas(&peer.address),
                without_commas(&peer.state),
            ),
        );
    }
}

/// A comma would end the value within its line.
fn without_commas(text: &str) -> String {
    text.replace(',', "_")
}

/// The keyspaces of all shards, one after another; writes to one wait while it is looked at.
fn keyspaces(shared: &Shared) -> impl Iterator<Item = ReadGuard<'_>> {
    let store = shared.store();
    (0..store.shards()).filter_map(|shard| store.read_for_status(shard))
}

/// A size as Redis writes it for people: `1.50M`.
fn human(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["K", "M", "G", "T", "P"];
    if bytes < 1024 {
        return format!("{bytes}B");
    }
    let (mut size, mut unit) = (bytes as f64 / 1024.0, 0);
    while size >= 1024.0 && unit + 1 < UNITS.len() {
        size /= 1024.0;
        unit += 1;
    }
    format!("{size:.2}{}", UNITS[unit])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_written_as_in_redis() {
        for (bytes, text) in [
            (0, "0B"),
            (1023, "1023B"),
            (1024, "1.00K"),
            (993_568, "970.28K"),
            (1 << 30, "1.00G"),
            (u64::MAX, "16384.00P"),
        ] {
            assert_eq!(human(bytes), text);
        }
    }
}
