//! The turns that a shard takes on this node: its replica, if it has one, and the way to the leader.
//!
//! A driver gathers [`Inputs`] and calls [`Turn::run`]; what is to be done outside is in [`Outputs`], and
//! log, keyspace, clock and chance are reached through [`Outside`].

use std::time::Duration;

use base::{Moment, NodeId, ReplicaId, ShardId};
use keyspace::{Discarded, Keyspace};
use shard::{Commands, Request, Response, Shard, SnapshotMeta};
use wal::WalError;

use crate::wire::{Outbox, Outcome};

/// Counts what was handed to the log of a node. All up to a number is durable once
/// [`Outside::durable`] has reached it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LogNumber(pub u64);

/// What a turn is told when it is made.
#[derive(Clone, Debug)]
pub struct TurnConfig {
    /// Which shard this is.
    pub shard: ShardId,
    /// The node that this is.
    pub node: NodeId,
    /// So long a request waits for a leader, as long as it is certain that it was not taken.
    pub patience: Duration,
    /// The heartbeat of replicas.
    pub heartbeat: Duration,
    /// The least election timeout.
    pub election: Duration,
    /// Whether reads may be served under a lease; otherwise a round of messages confirms them.
    pub lease: bool,
    /// What the election timeouts of replicas that are created here are drawn from.
    pub seed: u64,
    /// The seed of the hash of keyspaces that are created here.
    pub hash_seed: u64,
    /// The commands of requests that wait for a leader or for an answer from another node may take so
    /// many bytes, and those that other nodes forwarded here as many again. Above that requests are
    /// refused.
    pub forward_limit_bytes: usize,
}

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
        /// By this node.
        from: NodeId,
        /// Which forward this answers.
        id: u64,
        /// What became of it.
        outcome: Outcome,
    },
    /// A payload of the outbox could not be queued for sending, so it is certain that it did not arrive.
    Unsent {
        /// Whom it was for.
        to: NodeId,
        /// As the [`Parcel`](crate::wire::Parcel) had it.
        forwards: std::ops::Range<u64>,
    },
    /// The connection was lost, and with it perhaps payloads of either side.
    Lost(NodeId),
    /// There is a connection.
    Greeted(NodeId),
}

/// What is wanted of a shard.
pub enum Order {
    /// Leadership goes to that replica, if this one leads.
    Lead(ReplicaId),
    /// Leadership goes to whichever replica can take it, for this node is about to stop.
    HandOver,
    /// That node is said to lead, or nobody is.
    Hint {
        /// The node.
        leader: Option<NodeId>,
    },
    /// The nodes that have replicas, as far as the map knows: one of them can tell who leads.
    Placed(Vec<NodeId>),
    /// A snapshot of the replica is complete on this node's disk.
    SnapshotMade {
        /// What it holds.
        meta: SnapshotMeta,
        /// How large it is.
        bytes: u64,
    },
    /// A snapshot of another replica has arrived, is on this node's disk, and is loaded.
    Install {
        /// What it holds.
        meta: SnapshotMeta,
        /// The state.
        keyspace: Box<Keyspace>,
    },
    /// The snapshot that [`Outputs::fetch`] asked for cannot be had.
    FetchFailed,
    /// This node is to have that replica, empty at first.
    Create {
        /// Never used before.
        replica: ReplicaId,
    },
    /// This node no longer has that replica.
    Destroy {
        /// Which.
        replica: ReplicaId,
    },
}

/// What a turn wants done. The driver empties it.
#[derive(Default)]
pub struct Outputs {
    /// Answers for sessions of this node.
    pub responses: Vec<Response>,
    /// What goes to other nodes.
    pub outbox: Outbox,
    /// What is best dropped on another thread.
    pub discarded: Vec<Discarded>,
    /// A follower needs a snapshot and there is none that is new enough: one is to be made.
    pub wants_snapshot: bool,
}

/// What lies around a turn: the log, the keyspace, the clock.
pub trait Outside {
    /// The time now.
    fn now(&mut self) -> Moment;
    /// Chance.
    fn draw(&mut self) -> u64;
    /// Takes the records, in order, and leaves the buffer empty. Tells their number and whether they
    /// are durable already, as far as the setting asks.
    ///
    /// # Errors
    /// With [`WalError::NoRoom`] nothing was taken and the same may be tried again. After any other
    /// error, [`Outside::fail`] is told.
    fn append(&mut self, records: &mut Vec<u8>) -> Result<(LogNumber, bool), WalError>;
    /// All records up to here are durable.
    fn durable(&self) -> LogNumber;
    /// Whether so many bytes of commands may be appended.
    fn has_room(&self, bytes: usize) -> bool;
    /// Whether the disk is known to be full.
    fn is_full(&self) -> bool;
    /// Whether so much waits for the log that more should wait elsewhere.
    fn is_congested(&self) -> bool;
    /// The log can no longer be written: nothing may be acknowledged from now on.
    fn fail(&mut self, failure: &WalError);
    /// Runs `work` on the shard's keyspace, and nothing else at the same time.
    fn write_keyspace<R>(&mut self, work: impl FnOnce(&mut Keyspace) -> R) -> R;
    /// Runs `work` on the shard's keyspace.
    fn read_keyspace<R>(&mut self, work: impl FnOnce(&Keyspace) -> R) -> R;
}

/// One shard on this node.
pub struct Turn {
    config: TurnConfig,
    shard: Option<Shard>,
}

impl Turn {
    /// A shard of which this node has no replica yet.
    pub fn new(config: TurnConfig) -> Turn {
        Turn {
            config,
            shard: None,
        }
    }

    /// What it was told when it was made.
    pub fn config(&self) -> &TurnConfig {
        &self.config
    }

    /// The replica of this node comes up; its state is the keyspace outside.
    pub fn set_replica(&mut self, shard: Shard) {
        self.shard = Some(shard);
    }

    /// The replica of this node, if it has one.
    pub fn shard(&self) -> Option<&Shard> {
        self.shard.as_ref()
    }
}
