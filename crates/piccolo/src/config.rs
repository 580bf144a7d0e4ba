//! The configuration of a node.
//!
//! It is TOML, read straight into [`Config`] and refused as a whole if any part of it is unknown, of
//! the wrong type or in contradiction with another; nothing is quietly corrected. What a key means
//! stands in `docs/configuration.md`, what it is when absent in the `Default` of its table here.
//!
//! - [`load`] finds the file, applies the `--set` options to it and checks the result.
//! - [`values`] are the kinds of values, [`keys`] the names, [`source`] the places that an error
//!   points at, [`contradictions`] what no single value can tell.

mod contradictions;
mod keys;
mod source;
mod values;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use peer::HostAddr;
use serde::Deserialize;

pub(crate) use source::load;
pub(crate) use values::{ByteSize, Host, Secret};

/// The settings of a node.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub(crate) struct Config {
    pub(crate) node: Node,
    pub(crate) discovery: Discovery,
    pub(crate) redis: Redis,
    pub(crate) storage: Storage,
    pub(crate) cluster: Cluster,
    pub(crate) transfer: Transfer,
    pub(crate) log: Log,
}

/// Who this node is to people, and where its files are.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub(crate) struct Node {
    /// `None` stands for [`Config::node_name`]'s default.
    pub(crate) name: Option<String>,
    /// Holds a folder for each node that was started here; relative to the working directory.
    pub(crate) data_dir: PathBuf,
}

/// How nodes find each other.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub(crate) struct Discovery {
    /// The founders, without repetition and never empty.
    #[serde(deserialize_with = "values::addresses")]
    pub(crate) hosts: Vec<HostAddr>,
    pub(crate) bind_host: Host,
    #[serde(deserialize_with = "values::port")]
    pub(crate) bind_port: u16,
    /// `None` stands for [`Config::advertise`]'s default.
    #[serde(deserialize_with = "values::address")]
    pub(crate) advertise: Option<HostAddr>,
}

/// The listener for clients and its limits.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub(crate) struct Redis {
    pub(crate) bind_host: Host,
    #[serde(deserialize_with = "values::port")]
    pub(crate) bind_port: u16,
    #[serde(deserialize_with = "values::count")]
    pub(crate) max_clients: u32,
    pub(crate) password: Option<Secret>,
    /// How many bytes a connection may have sent that are not yet executed.
    pub(crate) query_buffer_limit: ByteSize,
    /// How many bytes of replies may wait for a connection to read them.
    pub(crate) output_buffer_limit: ByteSize,
    /// How many bytes of published messages may.
    pub(crate) pubsub_buffer_limit: ByteSize,
}

/// The log on disk.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub(crate) struct Storage {
    pub(crate) fsync: Fsync,
    pub(crate) segment_size: ByteSize,
    /// How much log is written from one snapshot to the next; `None`: decided by the size of both.
    pub(crate) snapshot_every: Option<ByteSize>,
}

/// When a write is forced to the disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Fsync {
    /// Before it is acknowledged.
    #[default]
    Always,
    /// Once a second: a power cut takes what was acknowledged since.
    Everysec,
    /// When the system sees fit.
    Never,
}

/// The shape of the cluster and its clock.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub(crate) struct Cluster {
    /// Takes effect when the cluster is founded, and never again.
    #[serde(deserialize_with = "values::count")]
    pub(crate) shards: u32,
    /// The copies of each shard that are wanted; odd.
    #[serde(deserialize_with = "values::count")]
    pub(crate) replicas: u32,
    #[serde(rename = "heartbeat_ms", deserialize_with = "values::millis")]
    pub(crate) heartbeat: Duration,
    /// The least election timeout; the greatest is twice that.
    #[serde(rename = "election_ms", deserialize_with = "values::millis")]
    pub(crate) election: Duration,
    /// How long a request waits for a leader while it is certain that none has taken it.
    #[serde(rename = "patience_ms", deserialize_with = "values::millis")]
    pub(crate) patience: Duration,
    /// How long a node is gone before its replicas are replaced.
    #[serde(rename = "down_after_ms", deserialize_with = "values::millis")]
    pub(crate) down_after: Duration,
    pub(crate) reads: Reads,
    /// What requests that wait for a leader may take, for each shard.
    pub(crate) request_limit: ByteSize,
}

/// How a leader makes sure that it still is one before it answers a read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Reads {
    /// By a lease: clocks may differ in speed by half at most.
    #[default]
    Lease,
    /// By asking a majority each time.
    Quorum,
}

/// How replicas that miss too much are filled by snapshots.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub(crate) struct Transfer {
    /// How much of a snapshot may be on its way.
    pub(crate) window: ByteSize,
    /// What a node sends of snapshots in a second; `None` sets no limit.
    pub(crate) rate_limit: Option<ByteSize>,
    /// What leaders keep of their logs meanwhile, all shards of a node together.
    pub(crate) catch_up_log: ByteSize,
}

/// What is logged and how it looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub(crate) struct Log {
    pub(crate) level: LogLevel,
    pub(crate) format: LogFormat,
}

/// The least important events that are still logged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum LogLevel {
    Error,
    Warn,
    #[default]
    Info,
    Debug,
    Trace,
}

/// How a line of the log looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One object a line, for programs.
    Json,
}

const LOCALHOST: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const PEER_PORT: u16 = 19919;
const REDIS_PORT: u16 = 6379;

impl Default for Node {
    fn default() -> Node {
        Node {
            name: None,
            data_dir: PathBuf::from("piccolo-data"),
        }
    }
}

impl Default for Discovery {
    fn default() -> Discovery {
        Discovery {
            hosts: vec![HostAddr::from(SocketAddr::from((LOCALHOST, PEER_PORT)))],
            bind_host: Host::Ip(LOCALHOST),
            bind_port: PEER_PORT,
            advertise: None,
        }
    }
}

impl Default for Redis {
    fn default() -> Redis {
        Redis {
            bind_host: Host::Ip(LOCALHOST),
            bind_port: REDIS_PORT,
            max_clients: 10_000,
            password: None,
            query_buffer_limit: ByteSize::from_bytes(ByteSize::GIB),
            output_buffer_limit: ByteSize::from_bytes(ByteSize::GIB),
            pubsub_buffer_limit: ByteSize::from_bytes(32 * ByteSize::MIB),
        }
    }
}

impl Default for Storage {
    fn default() -> Storage {
        Storage {
            fsync: Fsync::default(),
            segment_size: ByteSize::from_bytes(64 * ByteSize::MIB),
            snapshot_every: None,
        }
    }
}

impl Default for Cluster {
    fn default() -> Cluster {
        Cluster {
            shards: 1,
            replicas: 3,
            heartbeat: Duration::from_millis(100),
            election: Duration::from_millis(500),
            patience: Duration::from_secs(2),
            down_after: Duration::from_secs(300),
            reads: Reads::default(),
            request_limit: ByteSize::from_bytes(256 * ByteSize::MIB),
        }
    }
}

impl Default for Transfer {
    fn default() -> Transfer {
        Transfer {
            window: ByteSize::from_bytes(256 * ByteSize::KIB),
            rate_limit: None,
            catch_up_log: ByteSize::from_bytes(256 * ByteSize::MIB),
        }
    }
}

impl LogLevel {
    /// The name that stands in a configuration.
    pub(crate) fn name(self) -> &'static str {
        match self {
            LogLevel::Error => "error",
            LogLevel::Warn => "warn",
            LogLevel::Info => "info",
            LogLevel::Debug => "debug",
            LogLevel::Trace => "trace",
        }
    }
}

impl Config {
    /// The name of the node whose peer listener is bound to `peer`: what is configured, else the
    /// host's name and the port.
    pub(crate) fn node_name(&self, peer: SocketAddr) -> String {
        match &self.node.name {
            Some(name) => name.clone(),
            None => format!("{}-{}", host_name(), peer.port()),
        }
    }

    /// What others dial to reach the peer listener that is bound to `peer`: what is configured, else
    /// that address. One that means every interface (`0.0.0.0`, `::`) cannot be dialled; the host's
    /// name stands for it.
    pub(crate) fn advertise(&self, peer: SocketAddr) -> HostAddr {
        let bound = HostAddr::from(peer);
        match &self.discovery.advertise {
            Some(address) => address.clone(),
            None if peer.ip().is_unspecified() => format!("{}:{}", host_name(), peer.port())
                .parse()
                .unwrap_or(bound),
            None => bound,
        }
    }

    /// Where clients reach the listener that is bound to `redis`, as far as can be told: the host is that which
    /// other nodes dial where it is bound to every interface.
    pub(crate) fn advertise_redis(redis: SocketAddr, peer: &HostAddr) -> String {
        if redis.ip().is_unspecified() {
            format!("{}:{}", peer.host(), redis.port())
        } else {
            redis.to_string()
        }
    }

    /// True if clients from other machines are to be refused while there is no password: the listener
    /// for clients is open to them. Redis calls this the protected mode. A client can take the
    /// password away, so it is the server that looks whether there is one.
    pub(crate) fn protected_mode(redis: SocketAddr) -> bool {
        !redis.ip().is_loopback()
    }

    /// The folder of the node whose peer listener is bound to `peer`.
    pub(crate) fn node_dir(&self, peer: SocketAddr) -> PathBuf {
        self.node.data_dir.join(format!("node-{}", peer.port()))
    }
}

/// The name of this machine, with `-` for whatever has a meaning in a line of `INFO`.
fn host_name() -> String {
    let name = rustix::system::uname();
    let name: String = name
        .nodename()
        .to_string_lossy()
        .chars()
        .map(|c| {
            if c.is_ascii_alphanumeric() || ".-_".contains(c) {
                c
            } else {
                '-'
            }
        })
        .collect();
    if name.is_empty() {
        "localhost".to_owned()
    } else {
        name
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_node_is_called_by_its_host_and_port_unless_told_otherwise() {
        let mut config = Config::default();
        assert!(
            config
                .node_name(address("127.0.0.1:19920"))
                .ends_with("-19920")
        );
        config.node.name = Some("left".to_owned());
        assert_eq!(config.node_name(address("127.0.0.1:19920")), "left");
    }

    #[test]
    fn others_are_told_an_address_that_they_can_dial() {
        let mut config = Config::default();
        let advertised = |config: &Config, bound| config.advertise(address(bound)).to_string();
        assert_eq!(advertised(&config, "127.0.0.1:19920"), "127.0.0.1:19920");
        assert_eq!(advertised(&config, "[::1]:19920"), "[::1]:19920");
        let everywhere = advertised(&config, "0.0.0.0:19920");
        assert!(
            everywhere.ends_with(":19920") && !everywhere.starts_with("0.0"),
            "{everywhere}"
        );
        config.discovery.advertise = Some("node-1:7000".parse().unwrap());
        assert_eq!(advertised(&config, "0.0.0.0:19920"), "node-1:7000");
    }

    #[test]
    fn an_open_listener_is_protected() {
        for (bound, protected) in [
            ("127.0.0.1:6379", false),
            ("[::1]:6379", false),
            ("0.0.0.0:6379", true),
            ("192.0.2.1:6379", true),
        ] {
            assert_eq!(Config::protected_mode(address(bound)), protected, "{bound}");
        }
    }

    #[test]
    fn each_port_has_a_folder_of_its_own() {
        let folder = Config::default().node_dir(address("127.0.0.1:19921"));
        assert_eq!(folder, PathBuf::from("piccolo-data/node-19921"));
    }
}
