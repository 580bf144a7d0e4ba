//! What is wrong with a configuration although each of its values can be read: values out of range,
//! and values that do not go together.

use std::net::IpAddr;
use std::time::Duration;

use peer::HostAddr;

use super::{ByteSize, Config};

/// One thing that is wrong.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Contradiction {
    /// The keys that are at odds, the one to point at first.
    pub(super) keys: &'static [&'static str],
    /// What is wrong with them and what is expected.
    pub(super) message: String,
}

/// Heartbeats faster than this cost more than they tell.
const LEAST_HEARTBEAT: Duration = Duration::from_millis(10);
/// A cluster that takes longer than this to notice a dead leader is taken for a slip of the pen.
/// Clients give up before.
const GREATEST_PATIENCE: Duration = Duration::from_secs(60);
/// A batch of commands fits.
const LEAST_REQUEST_LIMIT: u64 = 1 << 20;
const GREATEST_REQUEST_LIMIT: u64 = 64 << 30;
const GREATEST_ELECTION: Duration = Duration::from_secs(60);

/// Everything that is wrong, in the order of the reference.
pub(super) fn find(config: &Config) -> Vec<Contradiction> {
    let mut found = Found(Vec::new());
    node(config, &mut found);
    discovery(config, &mut found);
    redis(config, &mut found);
    storage(config, &mut found);
    cluster(config, &mut found);
    transfer(config, &mut found);
    found.0
}

struct Found(Vec<Contradiction>);

impl Found {
    fn add(&mut self, keys: &'static [&'static str], message: impl Into<String>) {
        self.0.push(Contradiction {
            keys,
            message: message.into(),
        });
    }
}

fn node(config: &Config, found: &mut Found) {
    if let Some(name) = &config.node.name {
        let allowed = |c: char| !c.is_control() && !c.is_whitespace() && !",=".contains(c);
        if !(1..=64).contains(&name.len()) || !name.chars().all(allowed) {
            found.add(
                &["node.name"],
                format!("{name:?}, expected 1 to 64 bytes without spaces, commas and `=`"),
            );
        }
    }
    if config.node.data_dir.as_os_str().is_empty() {
        found.add(
            &["node.data_dir"],
            "an empty path, expected the path of a folder",
        );
    }
}

fn discovery(config: &Config, found: &mut Found) {
    let discovery = &config.discovery;
    if discovery.hosts.is_empty() {
        found.add(
            &["discovery.hosts"],
            "an empty list, expected at least one host: the nodes that found the cluster",
        );
    }
    if discovery.hosts.len() > 64 {
        found.add(
            &["discovery.hosts"],
            format!("{} hosts, expected 64 at the most", discovery.hosts.len()),
        );
    }
    for (index, host) in discovery.hosts.iter().enumerate() {
        if discovery.hosts[..index].contains(host) {
            found.add(
                &["discovery.hosts"],
                format!("{host} stands twice, expected it once"),
            );
        }
        if is_unspecified(host) {
            found.add(
                &["discovery.hosts"],
                format!("{host} stands for every interface and cannot be dialled, expected the address of a node"),
            );
        }
    }
    if let Some(address) = &discovery.advertise
        && is_unspecified(address)
    {
        found.add(
            &["discovery.advertise"],
            format!("{address} cannot be dialled, expected an address that other nodes reach"),
        );
    }
    if discovery.bind_port == config.redis.bind_port
        && discovery.bind_port != 0
        && discovery.bind_host == config.redis.bind_host
    {
        found.add(
            &["redis.bind_port", "discovery.bind_port"],
            format!(
                "both redis.bind_port and discovery.bind_port are {}, expected two different ports",
                discovery.bind_port
            ),
        );
    }
}

fn redis(config: &Config, found: &mut Found) {
    let redis = &config.redis;
    within(
        found,
        &["redis.max_clients"],
        u64::from(redis.max_clients),
        1,
        1_000_000,
    );
    let (least, greatest) = (ByteSize::MIB, 1024 * ByteSize::GIB);
    size_within(
        found,
        &["redis.query_buffer_limit"],
        redis.query_buffer_limit,
        least,
        greatest,
    );
    size_within(
        found,
        &["redis.output_buffer_limit"],
        redis.output_buffer_limit,
        least,
        greatest,
    );
    size_within(
        found,
        &["redis.pubsub_buffer_limit"],
        redis.pubsub_buffer_limit,
        least,
        greatest,
    );
}

fn storage(config: &Config, found: &mut Found) {
    let storage = &config.storage;
    let (least, greatest) = (ByteSize::MIB, ByteSize::GIB);
    size_within(
        found,
        &["storage.segment_size"],
        storage.segment_size,
        least,
        greatest,
    );
    if let Some(every) = storage.snapshot_every {
        size_within(
            found,
            &["storage.snapshot_every"],
            every,
            least,
            1024 * ByteSize::GIB,
        );
    }
}

fn cluster(config: &Config, found: &mut Found) {
    let cluster = &config.cluster;
    within(
        found,
        &["cluster.shards"],
        u64::from(cluster.shards),
        1,
        1024,
    );
    if cluster.replicas.is_multiple_of(2) || cluster.replicas > 7 {
        found.add(
            &["cluster.replicas"],
            format!(
                "{}, expected 1, 3, 5 or 7: an even number of copies survives no more failures \
                 than the odd one below it",
                cluster.replicas
            ),
        );
    }
    if cluster.heartbeat < LEAST_HEARTBEAT {
        found.add(
            &["cluster.heartbeat_ms"],
            format!(
                "{}, expected at least {}",
                cluster.heartbeat.as_millis(),
                LEAST_HEARTBEAT.as_millis()
            ),
        );
    }
    if cluster.election > GREATEST_ELECTION {
        found.add(
            &["cluster.election_ms"],
            format!(
                "{}, expected at most {}",
                cluster.election.as_millis(),
                GREATEST_ELECTION.as_millis()
            ),
        );
    }
    if cluster.heartbeat.saturating_mul(3) > cluster.election {
        found.add(
            &["cluster.election_ms", "cluster.heartbeat_ms"],
            format!(
                "cluster.election_ms = {} with cluster.heartbeat_ms = {}, expected an election \
                 timeout of at least 3 heartbeats ({}): a follower must not give its leader up for \
                 one heartbeat that is late",
                cluster.election.as_millis(),
                cluster.heartbeat.as_millis(),
                cluster.heartbeat.saturating_mul(3).as_millis(),
            ),
        );
    }
    if cluster.patience > GREATEST_PATIENCE {
        found.add(
            &["cluster.patience_ms"],
            format!(
                "{}, expected at most {}",
                cluster.patience.as_millis(),
                GREATEST_PATIENCE.as_millis()
            ),
        );
    }
    if cluster.down_after < cluster.election.saturating_mul(2) {
        found.add(
            &["cluster.down_after_ms", "cluster.election_ms"],
            format!(
                "cluster.down_after_ms = {} with cluster.election_ms = {}, expected at least two \
                 election timeouts: a node that restarts must not lose its replicas",
                cluster.down_after.as_millis(),
                cluster.election.as_millis()
            ),
        );
    }
    within(
        found,
        &["cluster.request_limit"],
        cluster.request_limit.bytes(),
        LEAST_REQUEST_LIMIT,
        GREATEST_REQUEST_LIMIT,
    );
}

fn transfer(config: &Config, found: &mut Found) {
    let transfer = &config.transfer;
    // Snapshots travel in pieces of 64 KiB.
    size_within(
        found,
        &["transfer.window"],
        transfer.window,
        64 * ByteSize::KIB,
        64 * ByteSize::MIB,
    );
    if let Some(rate) = transfer.rate_limit {
        size_within(
            found,
            &["transfer.rate_limit"],
            rate,
            64 * ByteSize::KIB,
            1024 * ByteSize::GIB,
        );
    }
    size_within(
        found,
        &["transfer.catch_up_log"],
        transfer.catch_up_log,
        ByteSize::MIB,
        64 * ByteSize::GIB,
    );
}

fn within(found: &mut Found, keys: &'static [&'static str], value: u64, least: u64, greatest: u64) {
    if !(least..=greatest).contains(&value) {
        found.add(
            keys,
            format!("{value}, expected a number from {least} to {greatest}"),
        );
    }
}

fn size_within(
    found: &mut Found,
    keys: &'static [&'static str],
    value: ByteSize,
    least: u64,
    greatest: u64,
) {
    if !(least..=greatest).contains(&value.bytes()) {
        let (least, greatest) = (ByteSize::from_bytes(least), ByteSize::from_bytes(greatest));
        found.add(
            keys,
            format!("{value}, expected a size from {least} to {greatest}"),
        );
    }
}

fn is_unspecified(address: &HostAddr) -> bool {
    address
        .host()
        .parse()
        .is_ok_and(|ip: IpAddr| ip.is_unspecified())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys_at_odds(text: &str) -> Vec<&'static str> {
        let config: Config = toml::from_str(text).unwrap();
        find(&config)
            .into_iter()
            .map(|contradiction| contradiction.keys[0])
            .collect()
    }

    #[test]
    fn the_defaults_agree_with_each_other() {
        assert_eq!(find(&Config::default()), []);
    }

    #[test]
    fn each_contradiction_is_found_by_its_key() {
        for (text, key) in [
            ("node.name = ''", "node.name"),
            ("node.name = 'a,b'", "node.name"),
            ("node.data_dir = ''", "node.data_dir"),
            ("discovery.hosts = []", "discovery.hosts"),
            ("discovery.hosts = ['a:1', 'A:1']", "discovery.hosts"),
            ("discovery.hosts = ['0.0.0.0:1']", "discovery.hosts"),
            ("discovery.advertise = '[::]:1'", "discovery.advertise"),
            ("redis.bind_port = 19919", "redis.bind_port"),
            ("redis.max_clients = 0", "redis.max_clients"),
            (
                "redis.query_buffer_limit = '1KiB'",
                "redis.query_buffer_limit",
            ),
            ("redis.output_buffer_limit = 0", "redis.output_buffer_limit"),
            ("redis.pubsub_buffer_limit = 0", "redis.pubsub_buffer_limit"),
            ("storage.segment_size = '1023KiB'", "storage.segment_size"),
            ("storage.segment_size = '2GiB'", "storage.segment_size"),
            ("storage.snapshot_every = 1", "storage.snapshot_every"),
            ("cluster.shards = 0", "cluster.shards"),
            ("cluster.shards = 1025", "cluster.shards"),
            ("cluster.replicas = 0", "cluster.replicas"),
            ("cluster.replicas = 4", "cluster.replicas"),
            ("cluster.replicas = 9", "cluster.replicas"),
            ("cluster.heartbeat_ms = 1", "cluster.heartbeat_ms"),
            ("cluster.heartbeat_ms = 200", "cluster.election_ms"),
            ("cluster.election_ms = 299", "cluster.election_ms"),
            ("cluster.election_ms = 60001", "cluster.election_ms"),
            ("cluster.patience_ms = 60001", "cluster.patience_ms"),
            ("cluster.down_after_ms = 999", "cluster.down_after_ms"),
            ("cluster.request_limit = 1000", "cluster.request_limit"),
            ("transfer.window = '32KiB'", "transfer.window"),
            ("transfer.window = '65MiB'", "transfer.window"),
            ("transfer.rate_limit = 0", "transfer.rate_limit"),
            ("transfer.catch_up_log = '1023KiB'", "transfer.catch_up_log"),
        ] {
            assert_eq!(keys_at_odds(text), [key], "{text}");
        }
    }

    #[test]
    fn the_ends_of_each_range_are_within_it() {
        for text in [
            "cluster.shards = 1024",
            "cluster.replicas = 7",
            "cluster.election_ms = 300",
            "cluster.heartbeat_ms = 166",
            "storage.segment_size = '1MiB'",
            "storage.segment_size = '1GiB'",
            "transfer.window = '64KiB'",
            "transfer.window = '64MiB'",
            "transfer.rate_limit = '64KiB'",
            "transfer.catch_up_log = '1MiB'",
            "redis.bind_port = 0\ndiscovery.bind_port = 0",
            "redis.bind_port = 19919\nredis.bind_host = '127.0.0.2'",
        ] {
            assert_eq!(keys_at_odds(text), [""; 0], "{text}");
        }
    }

    #[test]
    fn all_contradictions_are_told_at_once() {
        assert_eq!(
            keys_at_odds("cluster.shards = 0\ncluster.replicas = 2"),
            ["cluster.shards", "cluster.replicas"]
        );
    }
}
