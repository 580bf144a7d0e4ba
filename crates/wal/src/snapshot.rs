//! Snapshot files: written once, under a temporary name until they are complete and durable.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use base::{ReplicaId, ShardId};

use crate::Disk;
use crate::error::is_full;
use crate::segment::is_temporary;

mod reader;
mod writer;

pub use reader::SnapshotReader;
pub use writer::{SealedSnapshot, SnapshotWriter};

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
    #[error("{} is damaged at byte {offset}: {what}. Restore the file from a backup. Where other nodes hold copies, the data folder can be moved away instead and the node rejoins empty; without copies that loses the data", path.display())]
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

impl SnapshotError {
    fn io(operation: &'static str, path: &Path, source: io::Error) -> SnapshotError {
        if is_full(&source) {
            SnapshotError::NoRoom {
                path: path.to_owned(),
                source,
            }
        } else {
            SnapshotError::Io {
                operation,
                path: path.to_owned(),
                source,
            }
        }
    }

    fn corrupt(path: &Path, offset: u64, what: &'static str) -> SnapshotError {
        SnapshotError::Corrupt {
            path: path.to_owned(),
            offset,
            what,
        }
    }
}

impl SnapshotId {
    fn file_name(&self) -> String {
        let SnapshotId {
            shard,
            replica,
            term,
            index,
        } = self;
        format!("snapshot-{}-{}-{term}-{index}.snap", shard.0, replica.0)
    }

    /// What the checksum over all of this snapshot's bytes begins with; see [`SnapshotReader::checksum`].
    pub fn checksum_seed(&self) -> u32 {
        Header(*self).seed()
    }

    fn parse_file_name(name: &str) -> Option<SnapshotId> {
        let mut parts = name
            .strip_prefix("snapshot-")?
            .strip_suffix(".snap")?
            .split('-');
        let id = SnapshotId {
            shard: ShardId(parts.next()?.parse().ok()?),
            replica: ReplicaId(parts.next()?.parse().ok()?),
            term: parts.next()?.parse().ok()?,
            index: parts.next()?.parse().ok()?,
        };
        (id.file_name() == name).then_some(id)
    }
}

/// The fixed part of a snapshot file.
///
/// # Layout
/// Numbers are little-endian. The file is `snapshot-<shard>-<replica>-<term>-<index>.snap`.
///
/// | bytes | field |
/// | --- | --- |
/// | 8 | magic, `b"PICCOSNP"` |
/// | 4 | format version, 1 |
/// | 4 | shard |
/// | 8, 8, 8 | replica, term, index |
/// | 4 | CRC-32C of the above: the seed of all checksums that follow |
///
/// Then the chunks, of [`SnapshotReader::CHUNK_BYTES`] each but for a shorter last one, which is not
/// empty: their bytes, and a CRC-32C of the number of the chunk (8 bytes) and of them. Then the trailer:
/// the length of all that was written (8 bytes), a CRC-32C of it (4) and one of this length and that checksum (4).
struct Header(SnapshotId);

const MAGIC: [u8; 8] = *b"PICCOSNP";
const VERSION: u32 = 1;
const HEADER_BYTES: u64 = 44;
const TRAILER_BYTES: u64 = 16;
const CRC_BYTES: usize = 4;
const CHUNK_BYTES: usize = 256 << 10;
const STRIDE: u64 = (CHUNK_BYTES + CRC_BYTES) as u64;

impl Header {
    fn encode(&self) -> Vec<u8> {
        let SnapshotId {
            shard,
            replica,
            term,
            index,
        } = self.0;
        let mut bytes = MAGIC.to_vec();
        bytes.extend_from_slice(&VERSION.to_le_bytes());
        bytes.extend_from_slice(&shard.0.to_le_bytes());
        for number in [replica.0, term, index] {
            bytes.extend_from_slice(&number.to_le_bytes());
        }
        bytes.extend_from_slice(&crc32c::crc32c(&bytes).to_le_bytes());
        bytes
    }

    fn seed(&self) -> u32 {
        crc32c::crc32c(&self.encode()[..HEADER_BYTES as usize - CRC_BYTES])
    }
}

fn chunk_crc(seed: u32, number: u64, bytes: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c_append(seed, &number.to_le_bytes()), bytes)
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
    /// [`SnapshotError::Io`].
    pub fn open(disk: Arc<D>, dir: &Path) -> Result<Snapshots<D>, SnapshotError> {
        disk.create_dir(dir)
            .map_err(|e| SnapshotError::io("create", dir, e))?;
        let snapshots = Snapshots {
            disk,
            dir: dir.to_owned(),
        };
        snapshots.remove_where(is_temporary)?;
        // A process that was killed may have left names that a power cut can still undo.
        snapshots
            .disk
            .sync_dir(dir)
            .map_err(|e| SnapshotError::io("sync", dir, e))?;
        Ok(snapshots)
    }

    /// All finished snapshots, ascending.
    ///
    /// # Errors
    /// [`SnapshotError::Io`].
    pub fn list(&self) -> Result<Vec<SnapshotId>, SnapshotError> {
        let names = self.names()?;
        let mut ids: Vec<_> = names
            .iter()
            .filter_map(|name| SnapshotId::parse_file_name(name))
            .collect();
        ids.sort_unstable();
        Ok(ids)
    }

    /// Starts a new file under a temporary name.
    ///
    /// # Errors
    /// [`SnapshotError::NoRoom`], [`SnapshotError::Io`].
    pub fn create(&self, id: SnapshotId) -> Result<SnapshotWriter<D>, SnapshotError> {
        SnapshotWriter::create(&self.disk, &self.dir, id)
    }

    /// Opens a finished one. Its header, trailer and size are checked here, each chunk when it is
    /// read.
    ///
    /// # Errors
    /// [`SnapshotError::Corrupt`], [`SnapshotError::Version`], [`SnapshotError::Io`].
    pub fn read(&self, id: SnapshotId) -> Result<SnapshotReader<D>, SnapshotError> {
        SnapshotReader::open(&*self.disk, self.dir.join(id.file_name()), id)
    }

    /// Removes this replica's snapshots below `keep.index`.
    ///
    /// # Errors
    /// [`SnapshotError::Io`].
    pub fn remove_older(&self, keep: SnapshotId) -> Result<(), SnapshotError> {
        self.remove_where(|name| {
            SnapshotId::parse_file_name(name).is_some_and(|id| {
                (id.shard, id.replica) == (keep.shard, keep.replica) && id.index < keep.index
            })
        })
    }

    /// Removes one, if it is there.
    ///
    /// # Errors
    /// [`SnapshotError::Io`].
    pub fn remove(&self, id: SnapshotId) -> Result<(), SnapshotError> {
        self.remove_where(|name| SnapshotId::parse_file_name(name) == Some(id))
    }

    /// Removes all of a replica's snapshots.
    ///
    /// # Errors
    /// [`SnapshotError::Io`].
    pub fn remove_replica(&self, shard: ShardId, replica: ReplicaId) -> Result<(), SnapshotError> {
        self.remove_where(|name| {
            SnapshotId::parse_file_name(name)
                .is_some_and(|id| (id.shard, id.replica) == (shard, replica))
        })
    }

    fn remove_where(&self, unwanted: impl Fn(&str) -> bool) -> Result<(), SnapshotError> {
        for name in self.names()?.iter().filter(|name| unwanted(name)) {
            let path = self.dir.join(name);
            self.disk
                .remove(&path)
                .map_err(|e| SnapshotError::io("remove", &path, e))?;
        }
        Ok(())
    }

    fn names(&self) -> Result<Vec<String>, SnapshotError> {
        self.disk
            .list(&self.dir)
            .map_err(|e| SnapshotError::io("list", &self.dir, e))
    }
}
