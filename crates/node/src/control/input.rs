//! What `Control` is told.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use base::{ClusterId, Incarnation, NodeId};
use meta::{ClusterMap, Founder, NodeStatus, Outcome, Rejected};
use shard::{Refusal, Ticket};

use super::admin::AdminCommand;

/// What a node is told when it starts.
#[derive(Clone, Debug)]
pub struct ControlConfig {
    /// What this node says of itself.
    pub local: Founder,
    /// `discovery.hosts`, each as the peers write it, so that equal hosts are equal texts.
    pub hosts: Vec<String>,
    /// How many shards a cluster gets that this node founds.
    pub shards: u32,
    /// How many voters a shard of that cluster should have.
    pub replicas: u32,
    /// So long a node is gone before its replicas are replaced.
    pub down_after: Duration,
    /// What ids are drawn from; another one at each start.
    pub seed: u64,
}

/// What the folder of this node says of its cluster.
#[derive(Clone, Debug, Default)]
pub struct Restored {
    /// The cluster of the identity file.
    pub cluster: Option<ClusterId>,
    /// The last [`Action::PersistFounding`](super::Action::PersistFounding), if it was ever carried out.
    pub founding: Option<Vec<u8>>,
    /// The last [`Action::KeepMap`](super::Action::KeepMap), if it is there and can be read.
    pub map: Option<ClusterMap>,
}

/// Something happened.
#[derive(Clone, Debug)]
pub enum ControlInput {
    /// A peer has greeted: it can be sent to.
    Greeted(PeerInfo),
    /// The last connection to a peer is gone.
    Lost(NodeId),
    /// A peer that has greeted says that it belongs to a cluster by now.
    PeerCluster {
        /// The peer.
        node: NodeId,
        /// Its cluster.
        cluster: ClusterId,
    },
    /// How dialling the hosts of the configuration goes, all of them. Told when it has changed.
    Hosts(Vec<HostView>),
    /// The body of a control item that a peer sent.
    Message {
        /// The peer.
        from: NodeId,
        /// What its [`Action::Send`](super::Action::Send) held.
        bytes: Vec<u8>,
    },
    /// Some time has passed: about a heartbeat, at most a second.
    Tick,
    /// The replica of shard 0 on this node has applied this map. Told before a status in which that
    /// replica leads and has members.
    Map(ClusterMap),
    /// What this node has to tell of itself. Told each second from the moment on at which its replicas have
    /// started, and when the leader of a shard has changed. The epoch in it does not matter.
    Status(NodeStatus),
    /// The round trips to peers that are alive, as far as known. Told each second.
    RoundTrips(BTreeMap<NodeId, Duration>),
    /// What became of a [`ShardOrder::Change`](super::ShardOrder::Change).
    ChangeDone {
        /// The ticket of the order.
        ticket: Ticket,
        /// What the map made of it, or why it may not have come that far.
        outcome: Result<Result<Outcome, Rejected>, Refusal>,
    },
    /// An operator wants something; answered by [`Action::AdminReply`](super::Action::AdminReply).
    Admin {
        /// Comes back with the answer.
        ticket: Ticket,
        /// What is wanted.
        command: AdminCommand,
    },
}

/// What a peer says of itself in its greeting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerInfo {
    /// Who it is.
    pub node: NodeId,
    /// Its name.
    pub name: String,
    /// Where it wants to be dialled.
    pub address: String,
    /// Its incarnation.
    pub incarnation: Incarnation,
    /// The cluster that it belongs to.
    pub cluster: Option<ClusterId>,
}

/// A host of the configuration, and how dialling it goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostView {
    /// As in [`ControlConfig::hosts`].
    pub host: String,
    /// How dialling it goes.
    pub state: HostState,
}

/// How dialling a host goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HostState {
    /// There is no greeting yet.
    Dialling,
    /// The latest attempt failed, for this reason.
    Failed(String),
    /// This node greeted there.
    Greeted(NodeId),
    /// It is this node itself.
    IsSelf,
}

impl fmt::Display for HostState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            HostState::Dialling => f.write_str("dialling"),
            HostState::Failed(why) => write!(f, "failed: {why}"),
            HostState::Greeted(node) => write!(f, "greeted node {node}"),
            HostState::IsSelf => f.write_str("this node"),
        }
    }
}
