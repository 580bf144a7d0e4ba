//! What a node keeps on disk: the log of all its shards, their snapshots, its identity.
//!
//! # The log
//! One ordered stream of [`Record`]s per node ([`Wal`]). Order matters across shards and kinds
//! alike: a vote that overtakes an entry loses data. A group commit is one block, one write and one
//! sync; blocks stand in segments, files of a fixed size that are filled with zeros ahead of use, so
//! that an append allocates nothing on the disk and a full disk is known before it hurts.
//!
//! What holds at all times:
//! - A block is believed only if its checksum, its position and its place after the block before
//!   it are right; the checksum is seeded with the segment's sequence number.
//! - Every block says up to where the log was durable when it was written. So recovery can tell a
//!   torn tail, which is cut, from rot, which stops the node: see [`Wal::open`].
//! - The first block of each segment repeats the latest hard state, snapshot marker and purge point
//!   of every replica, so that older segments can go.
//! - After a failed write or sync nothing is tried again.
//!
//! It leaves out: Raft, when to sync, when to take a snapshot, what a payload means.
//!
//! # A life of an append
//! 1. A core encodes its records ([`Record::encode`]), outside any lock.
//! 2. [`Wal::append`] writes them as one block; in `always` mode [`Wal::sync`] follows, in the other
//!    modes another thread runs a [`SyncJob`] now and then and tells [`Wal::synced`].
//! 3. When nothing has been pending for a while, [`Wal::mark_synced`] notes on disk that all is durable.
//! 4. When a segment is full, the spare is next; [`Wal::upkeep`] makes another on some other thread
//!    and disposes of segments that nobody needs.

mod block;
mod data_dir;
mod disk;
mod error;
mod identity;
mod kept;
mod ledger;
mod record;
mod recovery;
mod segment;
mod snapshot;
mod stock;
mod wal;

#[cfg(any(test, feature = "testing"))]
pub mod testing;

pub use data_dir::{DataDir, DataDirError};
pub use disk::{Disk, DiskFile, RealDisk};
pub use error::{ReplayError, WalError};
pub use identity::{Identity, RunId, RunIdError};
pub use kept::KeptFile;
pub use record::{Body, Record, RecordError};
pub use recovery::{Progress, Recovery, TornTail};
pub use snapshot::{
    SealedSnapshot, SnapshotError, SnapshotId, SnapshotReader, SnapshotWriter, Snapshots,
};
pub use stock::Upkeep;
pub use wal::{LogPosition, MAX_APPEND_BYTES, Options, Pin, SyncJob, Wal};
