//! The keyspace: what a shard holds, as a pure function of what was applied to it.
//!
//! It reads no clock and draws no randomness: writes are judged at the stamp of the log entry that is
//! being applied, reads at the time that the reader hands in. Two keyspaces to which the same was
//! applied are equal, whatever snapshots one of them went through.
//!
//! From the outside in: a [`Keyspace`] has a `Database` for each number of SELECT; a database has a
//! `Table` for each slot, and knows which of its keys expire when (`expiry`); a table has its entries in
//! the order of their hashes, in one or more `Subtable`s; an [`Entry`] is one allocation. `SCAN`
//! cursors, snapshots and the order in which expired keys are swept all stand on that order, for it is a
//! function of the content alone.
//!
//! Left out: what commands mean (`commands`), where snapshots go and when (`shard`).

mod database;
mod entry;
mod expiry;
mod hash;
mod keyspace;
mod loader;
mod memory;
mod prefetch;
mod snapshot;
mod stream;
mod subtable;
mod table;
mod value;
mod write;

#[cfg(test)]
mod tests;

pub use entry::Entry;
pub use keyspace::{Discarded, Keyspace};
pub use loader::{SnapshotError, SnapshotLoader};
pub use value::{Encoding, Expiry, Kind};
