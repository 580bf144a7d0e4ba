//! The keyspace: what a shard holds, as a pure function of what was applied to it.
//!
//! It reads no clock and draws no randomness. Writes are judged at the stamp of the entry that is
//! being applied, reads at the time that the reader hands in.

mod simple;

pub use simple::{
    Discarded, Encoding, Entry, Expiry, Keyspace, Kind, SnapshotError, SnapshotLoader,
};
