//! Snapshot files: written once, under a temporary name until they are complete and durable.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use base::{ReplicaId, ShardId};

use crate::block::{u32_at, u64_at};
use crate::error::is_full;
use crate::segment::{is_temporary, temporary};
use crate::{Disk, DiskFile};

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
/// How much may be on its way to the disk at once: a sync of the log meanwhile waits behind it.
const SYNC_BYTES: u64 = 4 << 20;

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
        let path = self.dir.join(id.file_name());
        let temporary = temporary(&path);
        let io = |operation| {
            let temporary = &temporary;
            move |error| SnapshotError::io(operation, temporary, error)
        };
        let file = self.disk.create(&temporary).map_err(io("create"))?;
        let header = Header(id);
        file.write_at(&header.encode(), 0).map_err(io("write"))?;
        Ok(SnapshotWriter {
            disk: Arc::clone(&self.disk),
            dir: self.dir.clone(),
            path,
            file,
            chunk: Vec::with_capacity(CHUNK_BYTES + CRC_BYTES),
            seed: header.seed(),
            number: 0,
            length: 0,
            crc: header.seed(),
            offset: HEADER_BYTES,
            synced: 0,
        })
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

/// A snapshot that is being written. Dropped without [`SnapshotWriter::finish`] or
/// [`SnapshotWriter::abandon`], it leaves a file that the next [`Snapshots::open`] removes.
pub struct SnapshotWriter<D: Disk> {
    disk: Arc<D>,
    dir: PathBuf,
    path: PathBuf,
    file: D::File,
    chunk: Vec<u8>,
    seed: u32,
    /// Of the chunk that is being filled.
    number: u64,
    length: u64,
    /// Of all that was written.
    crc: u32,
    /// Where in the file the next chunk goes.
    offset: u64,
    synced: u64,
}

impl<D: Disk> SnapshotWriter<D> {
    /// Appends bytes.
    ///
    /// # Errors
    /// [`SnapshotError::NoRoom`], [`SnapshotError::Io`]. Abandon it then.
    pub fn write(&mut self, mut bytes: &[u8]) -> Result<(), SnapshotError> {
        self.length += bytes.len() as u64;
        self.crc = crc32c::crc32c_append(self.crc, bytes);
        while !bytes.is_empty() {
            let (now, later) = bytes.split_at(bytes.len().min(CHUNK_BYTES - self.chunk.len()));
            self.chunk.extend_from_slice(now);
            bytes = later;
            if self.chunk.len() == CHUNK_BYTES {
                self.put_chunk()?;
            }
        }
        Ok(())
    }

    fn put_chunk(&mut self) -> Result<(), SnapshotError> {
        let crc = chunk_crc(self.seed, self.number, &self.chunk);
        self.chunk.extend_from_slice(&crc.to_le_bytes());
        let temporary = temporary(&self.path);
        self.file
            .write_at(&self.chunk, self.offset)
            .map_err(|e| SnapshotError::io("write", &temporary, e))?;
        self.offset += self.chunk.len() as u64;
        self.number += 1;
        self.chunk.clear();
        if self.offset - self.synced >= SYNC_BYTES {
            self.file
                .sync()
                .map_err(|e| SnapshotError::io("sync", &temporary, e))?;
            self.synced = self.offset;
        }
        Ok(())
    }

    /// Makes the file durable and gives it its name; the number of bytes that were written to it. Put
    /// the marker ([`crate::Body::Snapshot`]) into the log after this. On an error the unfinished
    /// file is removed.
    ///
    /// # Errors
    /// [`SnapshotError::NoRoom`], [`SnapshotError::Io`].
    pub fn finish(mut self) -> Result<u64, SnapshotError> {
        match self.complete() {
            Ok(()) => Ok(self.length),
            Err(error) => {
                // The first error counts; if this fails as well, the next opening removes it.
                self.abandon().ok();
                Err(error)
            }
        }
    }

    fn complete(&mut self) -> Result<(), SnapshotError> {
        if !self.chunk.is_empty() {
            self.put_chunk()?;
        }
        let temporary = temporary(&self.path);
        let io = |operation| {
            let temporary = &temporary;
            move |error| SnapshotError::io(operation, temporary, error)
        };
        let mut trailer = self.length.to_le_bytes().to_vec();
        trailer.extend_from_slice(&self.crc.to_le_bytes());
        let crc = crc32c::crc32c_append(self.seed, &trailer);
        trailer.extend_from_slice(&crc.to_le_bytes());
        self.file
            .write_at(&trailer, self.offset)
            .map_err(io("write"))?;
        self.file.sync().map_err(io("sync"))?;
        self.disk
            .rename(&temporary, &self.path)
            .map_err(io("rename"))?;
        self.disk
            .sync_dir(&self.dir)
            .map_err(|e| SnapshotError::io("sync", &self.dir, e))
    }

    /// Removes the unfinished file.
    ///
    /// # Errors
    /// [`SnapshotError::Io`].
    pub fn abandon(self) -> Result<(), SnapshotError> {
        let temporary = temporary(&self.path);
        self.disk
            .remove(&temporary)
            .map_err(|e| SnapshotError::io("remove", &temporary, e))
    }
}

/// A finished snapshot that is being read. Each chunk is checked before it is handed out.
pub struct SnapshotReader<D: Disk> {
    path: PathBuf,
    file: D::File,
    seed: u32,
    length: u64,
    /// What all that was written must come to.
    crc: u32,
    /// The next chunk in order, and the checksum of those before it.
    next: u64,
    crc_so_far: u32,
    buffer: Vec<u8>,
}

impl<D: Disk> SnapshotReader<D> {
    /// The size of each chunk but the last.
    pub const CHUNK_BYTES: usize = CHUNK_BYTES;

    fn open(disk: &D, path: PathBuf, id: SnapshotId) -> Result<Self, SnapshotError> {
        let io = |operation| {
            let path = &path;
            move |error| SnapshotError::io(operation, path, error)
        };
        let corrupt = |offset, what| Err(SnapshotError::corrupt(&path, offset, what));
        let file = disk.open(&path).map_err(io("open"))?;
        let size = file.length().map_err(io("measure"))?;
        if size < HEADER_BYTES + TRAILER_BYTES {
            return corrupt(size, "the file ends too early");
        }
        let mut header = [0; HEADER_BYTES as usize];
        file.read_at(&mut header, 0).map_err(io("read"))?;
        let seed = u32_at(&header, 40);
        if header[..8] != MAGIC || seed != crc32c::crc32c(&header[..40]) {
            return corrupt(0, "the header is not intact");
        }
        let found = u32_at(&header, 8);
        if found != VERSION {
            return Err(SnapshotError::Version {
                path,
                found,
                supported: VERSION,
            });
        }
        if header[..] != Header(id).encode()[..] {
            return corrupt(12, "it is a snapshot of something else than its name says");
        }
        let mut trailer = [0; TRAILER_BYTES as usize];
        file.read_at(&mut trailer, size - TRAILER_BYTES)
            .map_err(io("read"))?;
        if u32_at(&trailer, 12) != crc32c::crc32c_append(seed, &trailer[..12]) {
            return corrupt(size - TRAILER_BYTES, "the trailer is not intact");
        }
        let length = u64_at(&trailer, 0);
        let crcs = length.div_ceil(CHUNK_BYTES as u64) * CRC_BYTES as u64;
        if size.checked_sub(HEADER_BYTES + crcs + TRAILER_BYTES) != Some(length) {
            return corrupt(
                size,
                "the file does not have the size that its trailer tells",
            );
        }
        Ok(SnapshotReader {
            crc: u32_at(&trailer, 8),
            path,
            file,
            seed,
            length,
            next: 0,
            crc_so_far: seed,
            buffer: vec![0; CHUNK_BYTES + CRC_BYTES],
        })
    }

    /// The number of bytes that were written to it.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// The number of chunks.
    pub fn chunks(&self) -> u64 {
        self.length.div_ceil(CHUNK_BYTES as u64)
    }

    /// One chunk, by number; for a transfer that can be resumed.
    ///
    /// # Errors
    /// [`SnapshotError::Corrupt`], [`SnapshotError::Io`].
    ///
    /// # Panics
    /// For a number of [`SnapshotReader::chunks`] or above.
    pub fn chunk(&mut self, number: u64) -> Result<&[u8], SnapshotError> {
        assert!(number < self.chunks(), "there is no chunk {number}");
        let rest = self.length - number * CHUNK_BYTES as u64;
        let length = rest.min(CHUNK_BYTES as u64) as usize;
        let offset = HEADER_BYTES + number * STRIDE;
        let bytes = &mut self.buffer[..length + CRC_BYTES];
        let count = self.file.read_at(bytes, offset);
        let count = count.map_err(|e| SnapshotError::io("read", &self.path, e))?;
        if count < bytes.len() {
            return Err(SnapshotError::corrupt(
                &self.path,
                offset,
                "the file ends in a chunk",
            ));
        }
        let (bytes, crc) = bytes.split_at(length);
        if u32_at(crc, 0) != chunk_crc(self.seed, number, bytes) {
            return Err(SnapshotError::corrupt(
                &self.path,
                offset,
                "the chunk is not intact",
            ));
        }
        Ok(bytes)
    }

    /// The next chunk; `None` after the last, which is only said when all of them together are what
    /// was written.
    ///
    /// # Errors
    /// [`SnapshotError::Corrupt`], [`SnapshotError::Io`].
    pub fn next_chunk(&mut self) -> Result<Option<&[u8]>, SnapshotError> {
        if self.next == self.chunks() {
            if self.crc_so_far != self.crc {
                let what = "the chunks together are not what was written";
                return Err(SnapshotError::corrupt(&self.path, HEADER_BYTES, what));
            }
            return Ok(None);
        }
        let number = self.next;
        let length = self.chunk(number)?.len();
        let bytes = &self.buffer[..length];
        self.crc_so_far = crc32c::crc32c_append(self.crc_so_far, bytes);
        self.next += 1;
        Ok(Some(bytes))
    }
}
