//! What a shard wants done.

use keyspace::Discarded;

use crate::request::Response;

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
}
