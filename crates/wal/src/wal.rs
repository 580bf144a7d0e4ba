//! The log: append, sync, and which segments are still needed.

use std::path::Path;
use std::sync::Arc;

use base::{ReplicaId, ShardId};

use crate::{Disk, Progress, Record, Recovery, ReplayError, Upkeep, WalError};

/// The most that one [`Wal::append`] takes.
pub const MAX_APPEND_BYTES: u64 = 1 << 30;

/// A place in the log, counted in bytes over all segments that there ever were.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LogPosition(pub u64);

/// Settings of a [`Wal`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// The size of a segment. One that must hold a larger block is made as large as that takes.
    pub segment_size_bytes: u64,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            segment_size_bytes: 64 << 20,
        }
    }
}

/// What keeps the oldest segment from going. A snapshot of this replica past `index`, and a purge up to
/// there, release it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pin {
    /// The shard.
    pub shard: ShardId,
    /// The replica.
    pub replica: ReplicaId,
    /// The highest of its indexes in the oldest segment.
    pub index: u64,
    /// The bytes of all segments in use.
    pub log_bytes: u64,
}

/// The log of a node.
pub struct Wal<D: Disk> {
    disk: Arc<D>,
}

impl<D: Disk> Wal<D> {
    /// Opens the log in the folder `dir`, which it makes if there is none, and hands every record to
    /// `replay`, in order. What is found is made durable before this returns. `progress` is called now and then.
    ///
    /// # Errors
    /// [`WalError`]: nothing may be served then; what the replay saw is void.
    pub fn open(
        disk: Arc<D>,
        dir: &Path,
        options: Options,
        replay: &mut dyn FnMut(Record<'_>) -> Result<(), ReplayError>,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<(Wal<D>, Recovery), WalError> {
        let _ = (disk, dir, options, replay, progress);
        todo!()
    }

    /// Appends batches of encoded records as one block with one write; the position of its end.
    /// All or nothing. They are durable once [`Wal::synced_upto`] has reached that position.
    ///
    /// # Errors
    /// [`WalError::NoRoom`] and [`WalError::TooLarge`] leave the log as it was; any other poisons it.
    ///
    /// # Panics
    /// When a batch is no sequence of whole records.
    pub fn append<'a>(
        &mut self,
        batches: impl IntoIterator<Item = &'a [u8]>,
    ) -> Result<LogPosition, WalError> {
        let _ = batches.into_iter();
        todo!()
    }

    /// Makes all that was appended durable; the position up to which it is.
    ///
    /// # Errors
    /// Any error poisons the log.
    pub fn sync(&mut self) -> Result<LogPosition, WalError> {
        todo!()
    }

    /// A sync that runs without the log, on another thread; `None` when all is durable.
    ///
    /// # Errors
    /// [`WalError::Poisoned`].
    pub fn sync_job(&self) -> Result<Option<SyncJob<D>>, WalError> {
        todo!()
    }

    /// Takes note of what [`SyncJob::run`] returned.
    pub fn synced(&mut self, upto: LogPosition) {
        let _ = upto;
        todo!()
    }

    /// Notes on disk that all is durable, when it is and that does not stand there yet. To be called when
    /// nothing is pending. The note itself needs no sync.
    ///
    /// # Errors
    /// Any error poisons the log.
    pub fn mark_synced(&mut self) -> Result<(), WalError> {
        todo!()
    }

    /// The end of what was appended.
    pub fn end(&self) -> LogPosition {
        todo!()
    }

    /// All below it is durable.
    pub fn synced_upto(&self) -> LogPosition {
        todo!()
    }

    /// How many bytes of records can surely be appended, whatever becomes of the disk's free space.
    /// Refuse writes while it is little; [`Upkeep`] tries to make more.
    pub fn room(&self) -> u64 {
        todo!()
    }

    /// The bytes of all segments in use.
    pub fn log_bytes(&self) -> u64 {
        todo!()
    }

    /// Work for another thread, if there is any: to make the spare segment and to dispose of segments
    /// whose entries were all purged (by [`crate::Body::Purge`] records that are durable).
    pub fn upkeep(&mut self) -> Option<Upkeep<D>> {
        todo!()
    }

    /// Who keeps the oldest segment from going; `None` while there is but one.
    pub fn pinned(&self) -> Option<Pin> {
        let _ = &self.disk;
        todo!()
    }
}

/// A sync that needs no hold of the [`Wal`].
pub struct SyncJob<D: Disk> {
    disk: Arc<D>,
}

impl<D: Disk> SyncJob<D> {
    /// Syncs; the position to hand to [`Wal::synced`].
    ///
    /// # Errors
    /// Any error poisons the log.
    pub fn run(self) -> Result<LogPosition, WalError> {
        let _ = self.disk;
        todo!()
    }
}
