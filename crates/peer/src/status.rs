//! What a node says of itself, and what it tells its owner about the others.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use base::{ClusterId, Incarnation, NodeId};

use crate::HostAddr;

/// What this node tells of itself in its greetings.
#[derive(Clone, Debug)]
pub struct LocalNode {
    /// Of the data folder.
    pub node_id: NodeId,
    /// Of the process: drawn at random at each start, so that a node knows itself from a process that
    /// runs on a copy of its data folder.
    pub run_nonce: u64,
    /// Of the data folder.
    pub incarnation: Incarnation,
    /// Of the data folder; [`Peers::set_cluster_id`](crate::Peers::set_cluster_id) sets it later.
    pub cluster_id: Option<ClusterId>,
    /// Shown to people: 1 to 255 bytes without control characters.
    pub name: String,
    /// What others dial to reach this node.
    pub advertised: HostAddr,
    /// Of Piccolo: at most 64 bytes without control characters.
    pub version: String,
}

/// How nodes find each other and how they notice that one is gone.
#[derive(Clone, Debug)]
pub struct Config {
    /// Each of them is dialled, for ever, unless it turns out to be this node.
    pub hosts: Vec<HostAddr>,
    /// How often a peer is pinged. One that is silent for three of them and a second is hung up on.
    pub heartbeat: Duration,
}

impl Config {
    /// The heartbeat where none is configured.
    pub const DEFAULT_HEARTBEAT: Duration = Duration::from_millis(100);
}

/// What happens to peers, in order for each of them: `Greeted`, any number of `Payload`, `Lost`. No payload comes
/// between `Lost` and the next `Greeted`.
///
/// A payload that was sent since the latest `Greeted` arrives once, unless `Lost` comes. `Lost` comes at both
/// ends: to the one that sent and to the one that waits for what was sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A peer has greeted: it can be sent to.
    Greeted(PeerStatus),
    /// A connection of a peer is gone, and with it what was sent of late, either way, may be: it may or may not
    /// have arrived. If the peer is alive by another connection, `Greeted` follows at once.
    Lost {
        /// The peer.
        node_id: NodeId,
        /// For people.
        why: String,
    },
    /// A peer sent this.
    Payload {
        /// The peer.
        from: NodeId,
        /// What its [`Peers::send`](crate::Peers::send) was given.
        bytes: Vec<u8>,
    },
}

/// Whether a peer can be sent to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PeerState {
    /// At least one connection is greeted.
    Alive,
    /// It was alive once.
    Lost,
}

/// Lower-case words, as `INFO` shows them.
impl fmt::Display for PeerState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            PeerState::Alive => "alive",
            PeerState::Lost => "lost",
        })
    }
}

/// A node that has greeted this one at least once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerStatus {
    /// Of its data folder.
    pub node_id: NodeId,
    /// Of its process.
    pub run_nonce: u64,
    /// Of its data folder.
    pub incarnation: Incarnation,
    /// The cluster that it says it belongs to.
    pub cluster_id: Option<ClusterId>,
    /// [`HostAddr::list_hash`] of its `discovery.hosts`.
    pub hosts_hash: u64,
    /// Shown to people; no control characters.
    pub name: String,
    /// What it advertises.
    pub address: HostAddr,
    /// The other end of the connection that it greeted on last.
    pub remote: Option<SocketAddr>,
    /// The version of Piccolo that it runs; no control characters.
    pub version: String,
    /// Whether it can be sent to.
    pub state: PeerState,
    /// The smoothed round-trip time of pings; `None` until one was answered and while it is lost.
    pub rtt: Option<Duration>,
    /// The round-trip time of the latest ping that was answered.
    pub last_rtt: Option<Duration>,
    /// How far its wall clock is ahead of this node's; negative when it is behind. Exact to about half a
    /// round trip.
    pub clock_offset_ms: Option<i64>,
}

/// A host of `discovery.hosts` and how dialling it goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostStatus {
    /// As configured.
    pub host: HostAddr,
    /// How dialling it goes.
    pub state: HostState,
}

/// How dialling a host goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HostState {
    /// A connection is being made or has not been greeted yet.
    Dialling,
    /// The latest attempt failed, or its connection ended; the next follows within two seconds.
    Failed {
        /// For people.
        why: String,
    },
    /// This node greeted there. Two hosts may lead to the same node.
    Greeted(NodeId),
    /// It is this node itself; it is not dialled any more.
    IsSelf,
}

/// A human-readable phrase.
impl fmt::Display for HostState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            HostState::Dialling => f.write_str("dialling"),
            HostState::Failed { why } => write!(f, "failed: {why}"),
            HostState::Greeted(node_id) => write!(f, "greeted node {node_id}"),
            HostState::IsSelf => f.write_str("this node"),
        }
    }
}

/// Why a payload was not taken. None of it was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// The peer has no greeted connection, or has said that it stops.
    #[error("the peer is not connected")]
    NotConnected,
    /// The peer takes its messages more slowly than they are sent.
    #[error("the peer has {SEND_QUEUE_LIMIT} bytes waiting for it")]
    QueueFull,
    /// The payload is longer than [`SEND_LIMIT`].
    #[error("a payload of {0} bytes is longer than {SEND_LIMIT} bytes")]
    TooLarge(usize),
}

/// How many bytes a payload may have.
pub const SEND_LIMIT: usize = 1024 * 1024 * 1024;

/// How many bytes of payloads may wait for one connection, but for a longer one that waits alone.
pub const SEND_QUEUE_LIMIT: usize = 64 * 1024 * 1024;
