//! The keys of a configuration by name, for messages and for the reference in
//! `docs/configuration.md`, and the search for the one that was meant.

/// Every key there is, in the order of the reference.
pub(crate) const KEYS: &[&str] = &[
    "node.name",
    "node.data_dir",
    "discovery.hosts",
    "discovery.bind_host",
    "discovery.bind_port",
    "discovery.advertise",
    "redis.bind_host",
    "redis.bind_port",
    "redis.max_clients",
    "redis.password",
    "redis.query_buffer_limit",
    "redis.output_buffer_limit",
    "redis.pubsub_buffer_limit",
    "storage.fsync",
    "storage.segment_size",
    "storage.snapshot_every",
    "cluster.shards",
    "cluster.replicas",
    "cluster.heartbeat_ms",
    "cluster.election_ms",
    "cluster.patience_ms",
    "cluster.down_after_ms",
    "cluster.reads",
    "cluster.request_limit",
    "transfer.window",
    "transfer.rate_limit",
    "transfer.catch_up_log",
    "log.level",
    "log.format",
];

/// True if the value of that key must not be shown.
pub(crate) fn is_secret(key: &str) -> bool {
    key == "redis.password"
}

/// The key that is most like `wanted`, which may lack its table.
pub(crate) fn nearest(wanted: &str) -> &'static str {
    let likeness = |key: &&&str| -> usize {
        let whole = strsim::damerau_levenshtein(wanted, key);
        // Four points of five: what stands alone is a weaker sign than what agrees in full.
        let name = key.split_once('.').map_or(**key, |(_, name)| name);
        (whole * 4).min(strsim::damerau_levenshtein(wanted, name) * 4 + 1)
    };
    KEYS.iter()
        .min_by_key(likeness)
        .expect("the table of keys is not empty")
}

/// What to say of a key that does not exist.
pub(crate) fn unknown(key: &str) -> String {
    let table = key.split_once('.').map_or(key, |(table, _)| table);
    let siblings: Vec<&str> = KEYS
        .iter()
        .filter_map(|known| known.strip_prefix(table)?.strip_prefix('.'))
        .collect();
    let mut text = format!("unknown key `{key}`, did you mean `{}`?", nearest(key));
    if siblings.is_empty() {
        let mut tables: Vec<&str> = KEYS
            .iter()
            .filter_map(|key| key.split('.').next())
            .collect();
        tables.dedup();
        text.push_str(&format!(
            " expected one of the tables {}",
            tables.join(", ")
        ));
    } else {
        text.push_str(&format!(" expected one of {}", siblings.join(", ")));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_key_is_the_one_that_was_meant() {
        assert_eq!(nearest("discovery.bind_prot"), "discovery.bind_port");
        assert_eq!(nearest("redis.bindport"), "redis.bind_port");
        assert_eq!(nearest("hosts"), "discovery.hosts");
        assert_eq!(nearest("fsync"), "storage.fsync");
        assert_eq!(nearest("discovery.host"), "discovery.hosts");
        assert_eq!(nearest("cluster.election"), "cluster.election_ms");
    }

    #[test]
    fn an_unknown_key_is_told_with_what_is_there() {
        let text = unknown("log.levle");
        assert!(
            text.contains("`log.levle`") && text.contains("`log.level`"),
            "{text}"
        );
        assert!(text.contains("level, format"), "{text}");
        assert!(
            unknown("loging").contains("node, discovery, redis, storage, cluster, transfer, log")
        );
    }
}
