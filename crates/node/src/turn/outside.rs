//! What lies around a turn, and what a turn wants of it.

use std::time::Duration;

use base::{Moment, NodeId, ReplicaId};
use keyspace::{Discarded, Keyspace, Notice};
use meta::ClusterMap;
use shard::{ChangeOutcome, ChangeRefused, LongReads, MessageError, Response, Ticket};
use wal::WalError;

use crate::transfer::Wanted;
use crate::wire::Outbox;

/// Counts what was handed to the log of a node. All up to a number is durable once
/// [`Outside::durable`] has reached it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LogNumber(pub u64);

/// What a turn wants done. The driver empties it.
#[derive(Default)]
pub struct Outputs {
    /// Answers for sessions of this node.
    pub responses: Vec<Response>,
    /// Reads to be run on another thread, which holds no turn up. Until what they gave comes back
    /// ([`Inputs::long_reads`](crate::Inputs::long_reads)) no turn changes the keyspace, and nothing else may,
    /// nor wait for the right to.
    pub long_reads: Option<LongReads>,
    /// By this monotonic time at the latest another turn is to come, for the sake of writes that gather. Set anew
    /// by each turn.
    pub next_turn: Option<Duration>,
    /// What goes to other nodes.
    pub outbox: Outbox,
    /// What is best dropped on another thread.
    pub discarded: Vec<Discarded>,
    /// States that others have replaced, best dropped on another thread too.
    pub replaced: Vec<Keyspace>,
    /// Answers to [`Order::Change`](crate::Order::Change).
    pub changes: Vec<(Ticket, ChangeOutcome)>,
    /// The map after this turn, if it is another one than before.
    pub map: Option<ClusterMap>,
    /// Whether a follower needs a snapshot and none that is there will do: one is to be made. Set anew
    /// by each turn.
    pub wants_snapshot: bool,
    /// The snapshot that the replica needs to go on. Set anew by each turn.
    pub fetch: Option<Wanted>,
    /// What keys went through, for each entry by its index: of the replica here.
    pub notices: Vec<(u64, Vec<Notice>)>,
    /// With notices of a leader: the nodes that have a replica and notices of their own.
    pub noticed_by: Vec<NodeId>,
    /// Replicas of which the log says, durably, that they are no longer here: their snapshots may go.
    pub destroyed: Vec<ReplicaId>,
    /// Why changes of members were not made; whoever wanted them looks at the members and asks again.
    pub not_done: Vec<ChangeRefused>,
    /// Messages that made no sense, and who sent them.
    pub complaints: Vec<(NodeId, MessageError)>,
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
    /// Whether so much waits for the log that more should wait elsewhere. A turn comes when that is over.
    fn is_congested(&self) -> bool;
    /// The log can no longer be written: nothing may be acknowledged from now on.
    fn fail(&mut self, failure: &WalError);
    /// Runs `work` on the shard's keyspace, and nothing else at the same time.
    fn write_keyspace<R>(&mut self, work: impl FnOnce(&mut Keyspace) -> R) -> R;
    /// Runs `work` on the shard's keyspace.
    fn read_keyspace<R>(&mut self, work: impl FnOnce(&Keyspace) -> R) -> R;
}

/// The time of a turn, asked for when it is needed first.
#[derive(Default)]
pub(super) struct TurnClock(Option<Moment>);

impl TurnClock {
    /// A time at which the turn's inputs had all come in.
    pub(super) fn now(&mut self, outside: &mut impl Outside) -> Moment {
        *self.0.get_or_insert_with(|| outside.now())
    }
}
