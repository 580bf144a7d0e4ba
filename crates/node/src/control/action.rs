//! What `Control` wants done.

use std::fmt;

use base::{ClusterId, NodeId, ReplicaId, ShardId};
use meta::{Change, ClusterMap};
use shard::Ticket;

/// Something to be done. Actions are carried out in their order, each completely before the next: what
/// follows one that persists something relies on its being on disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// This is to be on disk, in place of what was given here before; it comes back as
    /// [`Restored::founding`](super::Restored::founding).
    PersistFounding(Vec<u8>),
    /// The cluster is founded. The node's replicas are made as the map has them, then the cluster id is
    /// persisted, then the replicas are started.
    Found {
        /// The map with which the cluster begins.
        map: ClusterMap,
    },
    /// This node belongs to a cluster: its id is to be persisted. The node has no replicas yet.
    Joined {
        /// The cluster.
        cluster: ClusterId,
        /// Its map.
        map: ClusterMap,
    },
    /// To be kept on disk, as well as that goes; it comes back as [`Restored::map`](super::Restored::map).
    KeepMap(ClusterMap),
    /// Peers are to be told that this node belongs to that cluster.
    SetCluster(ClusterId),
    /// To be sent to a peer as the body of a control item. It may get lost.
    Send {
        /// The peer.
        to: NodeId,
        /// Comes out as [`ControlInput::Message`](super::ControlInput::Message).
        bytes: Vec<u8>,
    },
    /// A member of the cluster is to be dialled there, from now on.
    Dial {
        /// The member.
        node: NodeId,
        /// As `host:port`.
        address: String,
    },
    /// This node has no cluster, and this is why: for clients, and for the log.
    Forming(String),
    /// How the cluster is doing has changed.
    State(ClusterState),
    /// Something for the turn of a shard.
    Shard {
        /// The shard.
        shard: ShardId,
        /// What.
        order: ShardOrder,
    },
    /// The answer to [`ControlInput::Admin`](super::ControlInput::Admin).
    AdminReply {
        /// The ticket of the command.
        ticket: Ticket,
        /// JSON, or why it was not done: a code word and a text for people.
        answer: Result<String, String>,
    },
    /// This node cannot go on, for this reason. It stops, and no further input is heard.
    Stop(String),
    /// To be written to the log of the node.
    Log {
        /// Whether somebody should look.
        warning: bool,
        /// For people.
        text: String,
    },
}

/// What is wanted of a shard on this node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ShardOrder {
    /// This node is to have that replica, empty at first. May come again for one that is there.
    Create {
        /// Never used before.
        replica: ReplicaId,
    },
    /// This node no longer has that replica. May come again for one that is gone.
    Destroy {
        /// Which.
        replica: ReplicaId,
    },
    /// If this node leads: that replica is to become a member that does not vote.
    AddLearner {
        /// The replica.
        replica: ReplicaId,
        /// The node that has it.
        node: NodeId,
    },
    /// If this node leads: that learner is to vote.
    Promote {
        /// The replica.
        replica: ReplicaId,
    },
    /// If this node leads: that replica is no longer to be a member.
    Remove {
        /// The replica.
        replica: ReplicaId,
    },
    /// If this node leads: that replica is to lead.
    Lead {
        /// The replica.
        to: ReplicaId,
    },
    /// If this node leads, and only of shard 0: the map is to change. Answered by
    /// [`ControlInput::ChangeDone`](super::ControlInput::ChangeDone).
    Change {
        /// Comes back with the answer.
        ticket: Ticket,
        /// The change.
        change: Change,
    },
    /// That node is said to lead, or nobody is.
    Hint {
        /// The node.
        leader: Option<NodeId>,
    },
    /// The nodes that have replicas, as far as the map knows: one of them can tell who leads.
    Placed(Vec<NodeId>),
}

/// How a cluster is doing, as a node sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ClusterState {
    /// This node has no cluster.
    Forming,
    /// Each shard has a leader and as many live voters as there should be.
    Ok,
    /// Each shard has a leader, but some voter is missing.
    Degraded,
    /// Some shard has no leader that this node knows of.
    NoQuorum,
}

/// One word, as `INFO` and `piccolo status` show it.
impl fmt::Display for ClusterState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ClusterState::Forming => "forming",
            ClusterState::Ok => "ok",
            ClusterState::Degraded => "degraded",
            ClusterState::NoQuorum => "no_quorum",
        })
    }
}
