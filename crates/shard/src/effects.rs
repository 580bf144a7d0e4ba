//! What a shard wants done.

use base::NodeId;
use keyspace::{Discarded, Keyspace, Notice};
use meta::{Outcome, Rejected};

use crate::request::{Refusal, Response, Ticket};

/// A point in the sequence of what a shard wants persisted; later ones are greater.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mark(pub(crate) u64);

/// What a shard wants done, gathered over one turn. The driver empties it.
#[derive(Default)]
pub struct Effects {
    /// Encoded [`wal::Record`]s, to be made durable together and in this order.
    pub records: Vec<u8>,
    /// To be handed to [`Shard::persisted`](crate::Shard::persisted) once all records so far are
    /// durable. Set whenever `records` has grown.
    pub mark: Option<Mark>,
    /// Answers for those who wait.
    pub responses: Vec<Response>,
    /// What a flush left behind. Dropping it can take long, so it is best dropped elsewhere.
    pub discarded: Vec<Discarded>,
    /// The keyspace that a snapshot from another replica has replaced, to be dropped elsewhere too.
    pub replaced: Option<Box<Keyspace>>,
    /// Messages for the replicas on other nodes, each for [`Shard::step`](crate::Shard::step) there. One
    /// that is lost does no harm.
    pub messages: Vec<(NodeId, Vec<u8>)>,
    /// What became of changes to the map.
    pub changes: Vec<(Ticket, ChangeOutcome)>,
    /// The map is another one than before.
    pub map_changed: bool,
    /// What keys went through, for each entry by its index, as far as that is wanted.
    pub notices: Vec<(u64, Vec<Notice>)>,
}

/// What became of a change to the map: whether it was taken into the log, and if so, whether the map
/// allowed it.
pub type ChangeOutcome = Result<Result<Outcome, Rejected>, Refusal>;
