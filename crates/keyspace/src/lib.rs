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
//! Collections stand in their entry while they are small, in one run of bytes (`packed`, `intset`), and are made of
//! parts when they are large (`object`, `members`, `ranking`, `elements`), as streams always are (`stream_log`). `collection` is how they are read and changed, and each
//! type has a module of its own (`hash`, ...) with what commands use.
//!
//! Left out: what commands mean (`commands`), where snapshots go and when (`shard`).

mod collection;
mod database;
mod elements;
mod entry;
mod expiry;
mod hash;
mod hasher;
mod intset;
mod keyspace;
mod limits;
mod list;
mod loader;
mod member;
mod members;
mod memory;
mod notices;
mod object;
mod order;
mod packed;
mod part;
mod places;
mod prefetch;
mod ranking;
mod scored;
mod set;
mod snapshot;
mod sorted_set;
mod stream;
mod stream_log;
mod streams;
mod subtable;
mod table;
mod value;
mod versions;
mod write;

#[cfg(test)]
mod tests;

pub use collection::Absent;
pub use entry::Entry;
pub use hash::{Hash, HashMut, Pair};
pub use keyspace::{Discarded, Keyspace};
pub use limits::Limits;
pub use list::{End, List, ListMut};
pub use loader::{SnapshotError, SnapshotLoader};
pub use notices::{Class, Classes, Notice};
pub use packed::Element;
pub use set::{Set, SetMut};
pub use sorted_set::{SortedSet, SortedSetMut};
pub use stream_log::{
    Consumer, Counters, Fields, Group, Pending, StreamEntry, StreamId, Trim, TrimWork,
};
pub use streams::{Stream, StreamMut};
pub use value::{Encoding, Expiry, Kind, WrongKind};
pub use versions::Version;
