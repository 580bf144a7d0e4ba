//! What comes in for a shard: of sessions here, of other nodes, of whoever runs the node.

use std::ops::Range;

use base::{NodeId, ReplicaId};
use keyspace::{Classes, Keyspace};
use meta::Change;
use shard::{Commands, LongReadsDone, MemberChange, Request, SnapshotMeta, Ticket};

use crate::control::ShardOrder;
use crate::wire::Outcome;

/// What has come in for a shard since its last turn. The turn takes out what it deals with.
#[derive(Default)]
pub struct Inputs {
    /// About half a heartbeat has passed. What is to happen some time after something happens at ticks.
    pub tick: bool,
    /// Of sessions on this node; the tickets are below 2^63.
    pub requests: Vec<Request>,
    /// In the order in which it came.
    pub from_peers: Vec<FromPeer>,
    /// What control, the transfer of snapshots and whoever stops the node want.
    pub orders: Vec<Order>,
    /// What became of [`Outputs::long_reads`](crate::Outputs::long_reads).
    pub long_reads: Option<LongReadsDone>,
}

/// What the connections to other nodes bring.
#[derive(Debug)]
pub enum FromPeer {
    /// A message of a replica.
    Raft {
        /// Its node.
        from: NodeId,
        /// The message.
        bytes: Vec<u8>,
    },
    /// Commands of sessions on another node.
    Forward {
        /// The node.
        from: NodeId,
        /// Comes back with the outcome.
        id: u64,
        /// The commands, checked.
        commands: Commands,
    },
    /// What became of commands that were forwarded.
    Forwarded {
        /// The node that they were forwarded to.
        from: NodeId,
        /// Which forward this answers.
        id: u64,
        /// What became of it.
        outcome: Outcome,
    },
    /// What was forwarded to that node and is not answered takes long there, and is not lost.
    Working {
        /// The node.
        from: NodeId,
    },
    /// A payload of the outbox could not be queued for sending: it is certain that it did not arrive.
    Unsent {
        /// Whom it was for.
        to: NodeId,
        /// As the [`Parcel`](crate::wire::Parcel) had it.
        forwards: Range<u64>,
    },
    /// A connection was lost, and with it perhaps payloads of either side.
    Lost(NodeId),
    /// There is a connection.
    Greeted(NodeId),
}

/// What is wanted of a shard.
pub enum Order {
    /// Its members are to change, if this replica leads. What cannot be done now is dropped.
    Members(MemberChange),
    /// Leadership goes to that replica, if this one leads.
    Lead(ReplicaId),
    /// Leadership goes to whichever replica can take it, now and whenever this one comes to lead again,
    /// for this node is about to stop.
    HandOver,
    /// The map is to change, in shard 0. Answered in [`Outputs::changes`](crate::Outputs::changes).
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
    /// A snapshot of the replica is complete on this node's disk.
    SnapshotMade {
        /// Whose.
        replica: ReplicaId,
        /// What it holds.
        meta: SnapshotMeta,
        /// How large it is.
        bytes: u64,
    },
    /// A snapshot of another replica has arrived, is complete on this node's disk as this replica's own,
    /// and is loaded.
    Install {
        /// Whose.
        replica: ReplicaId,
        /// What it holds.
        meta: SnapshotMeta,
        /// How large it is.
        bytes: u64,
        /// The state.
        keyspace: Box<Keyspace>,
    },
    /// A part of a snapshot of the replica was sent to another node.
    SnapshotSent {
        /// Whose.
        replica: ReplicaId,
        /// To whom.
        to: NodeId,
        /// The last entry that it holds.
        index: u64,
        /// So many bytes, of so many.
        sent: (u64, u64),
    },
    /// The snapshot that [`Outputs::fetch`](crate::Outputs::fetch) asked for cannot be had.
    FetchFailed,
    /// This node is to have that replica, empty at first. Another one that it has goes.
    Create {
        /// Never used before.
        replica: ReplicaId,
    },
    /// From now on [`Outputs::notices`](crate::Outputs::notices) are wanted of these classes.
    WantNotices(Classes),
    /// This node no longer has that replica. [`Outputs::destroyed`](crate::Outputs::destroyed) tells when
    /// that is on disk.
    Destroy {
        /// Which.
        replica: ReplicaId,
    },
}

impl Order {
    /// Whether it replaces the state at once.
    pub(super) fn replaces_state(&self) -> bool {
        matches!(self, Order::Create { .. } | Order::Destroy { .. })
    }
}

impl From<ShardOrder> for Order {
    fn from(order: ShardOrder) -> Order {
        match order {
            ShardOrder::Create { replica } => Order::Create { replica },
            ShardOrder::Destroy { replica } => Order::Destroy { replica },
            ShardOrder::AddLearner { replica, node } => {
                Order::Members(MemberChange::AddLearner { replica, node })
            }
            ShardOrder::Promote { replica } => Order::Members(MemberChange::Promote { replica }),
            ShardOrder::Remove { replica } => Order::Members(MemberChange::Remove { replica }),
            ShardOrder::Lead { to } => Order::Lead(to),
            ShardOrder::Change { ticket, change } => Order::Change { ticket, change },
            ShardOrder::Hint { leader } => Order::Hint { leader },
            ShardOrder::Placed(nodes) => Order::Placed(nodes),
        }
    }
}
