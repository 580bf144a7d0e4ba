//! Snapshot files.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use base::{ReplicaId, ShardId};

use crate::Disk;

/// Which snapshot: whose, and up to where.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SnapshotId {
    /// The shard.
    pub shard: ShardId,
    /// The replica that took or got it.
    pub replica: ReplicaId,
    /// The term of the entry at `index`.
    pub term: u64,
    /// The last index it covers.
    pub index: u64,
}

/// A failure of a snapshot file.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// The disk is full; the unfinished file is gone. Try again later.
    #[error("no room for the snapshot {}: {source}; free some space on that disk", path.display())]
    NoRoom {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// An operation failed.
    #[error("cannot {operation} {}: {source}", path.display())]
    Io {
        /// What was tried.
        operation: &'static str,
        /// On which file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file is damaged.
    #[error("{} is damaged at byte {offset}: {what}. Restore the file, or move this node's data folder away and let the node rejoin empty", path.display())]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// Where in it.
        offset: u64,
        /// What is wrong.
        what: &'static str,
    },
    /// The file is of a format that this version does not know.
    #[error("{} has format {found}, this version reads {supported}; start the version that wrote it", path.display())]
    Version {
        /// The file.
        path: PathBuf,
        /// Its format.
        found: u32,
        /// The format that is understood.
        supported: u32,
    },
}

/// The folder of snapshots.
pub struct Snapshots<D: Disk> {
    disk: Arc<D>,
    dir: PathBuf,
}

impl<D: Disk> Snapshots<D> {
    /// Opens the folder, which it makes if there is none, and removes unfinished files.
    ///
    /// # Errors
    /// [`SnapshotError`].
    pub fn open(disk: Arc<D>, dir: &Path) -> Result<Snapshots<D>, SnapshotError> {
        Ok(Snapshots {
            disk,
            dir: dir.to_owned(),
        })
    }

    /// All finished snapshots, ascending.
    ///
    /// # Errors
    /// [`SnapshotError::Io`].
    pub fn list(&self) -> Result<Vec<SnapshotId>, SnapshotError> {
        let _ = (&self.disk, &self.dir);
        todo!()
    }

    /// Starts a new file under a temporary name.
    ///
    /// # Errors
    /// [`SnapshotError`].
    pub fn create(&self, id: SnapshotId) -> Result<SnapshotWriter<D>, SnapshotError> {
        let _ = id;
        todo!()
    }

    /// Opens a finished one.
    ///
    /// # Errors
    /// [`SnapshotError`].
    pub fn read(&self, id: SnapshotId) -> Result<SnapshotReader<D>, SnapshotError> {
        let _ = id;
        todo!()
    }

    /// Removes this replica's snapshots below `keep.index`.
    ///
    /// # Errors
    /// [`SnapshotError::Io`].
    pub fn remove_older(&self, keep: SnapshotId) -> Result<(), SnapshotError> {
        let _ = keep;
        todo!()
    }

    /// Removes all of a replica's snapshots.
    ///
    /// # Errors
    /// [`SnapshotError::Io`].
    pub fn remove_replica(&self, shard: ShardId, replica: ReplicaId) -> Result<(), SnapshotError> {
        let _ = (shard, replica);
        todo!()
    }
}

/// A snapshot that is being written.
pub struct SnapshotWriter<D: Disk> {
    disk: Arc<D>,
}

impl<D: Disk> SnapshotWriter<D> {
    /// Appends bytes.
    ///
    /// # Errors
    /// [`SnapshotError::NoRoom`], [`SnapshotError::Io`]. Abandon it then.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), SnapshotError> {
        let _ = (&self.disk, bytes);
        todo!()
    }

    /// Makes the file durable and gives it its name; the number of bytes written. Put the marker
    /// ([`crate::Body::Snapshot`]) into the log after this.
    ///
    /// # Errors
    /// [`SnapshotError::NoRoom`], [`SnapshotError::Io`].
    pub fn finish(self) -> Result<u64, SnapshotError> {
        todo!()
    }

    /// Removes the unfinished file.
    ///
    /// # Errors
    /// [`SnapshotError::Io`].
    pub fn abandon(self) -> Result<(), SnapshotError> {
        todo!()
    }
}

/// A finished snapshot that is being read. Each chunk is checked before it is handed out.
pub struct SnapshotReader<D: Disk> {
    disk: Arc<D>,
}

impl<D: Disk> SnapshotReader<D> {
    /// The number of bytes that were written to it.
    pub fn length(&self) -> u64 {
        todo!()
    }

    /// The number of chunks.
    pub fn chunks(&self) -> u64 {
        todo!()
    }

    /// One chunk, by number; for a transfer that can be resumed.
    ///
    /// # Errors
    /// [`SnapshotError`].
    pub fn chunk(&mut self, number: u64) -> Result<&[u8], SnapshotError> {
        let _ = (&self.disk, number);
        todo!()
    }

    /// The next chunk; `None` after the last.
    ///
    /// # Errors
    /// [`SnapshotError`].
    pub fn next_chunk(&mut self) -> Result<Option<&[u8]>, SnapshotError> {
        todo!()
    }
}
