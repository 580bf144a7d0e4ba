//! Writing a snapshot file.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{
    CHUNK_BYTES, CRC_BYTES, HEADER_BYTES, Header, SnapshotError, SnapshotId, SnapshotReader,
    chunk_crc,
};
use crate::segment::temporary;
use crate::{Disk, DiskFile};

/// How much may be on its way to the disk at once: a sync of the log meanwhile waits behind it.
const SYNC_BYTES: u64 = 4 << 20;

/// A snapshot that is being written. Dropped without [`SnapshotWriter::finish`] or
/// [`SnapshotWriter::abandon`], it leaves a file that the next [`Snapshots::open`](crate::Snapshots::open) removes.
pub struct SnapshotWriter<D: Disk> {
    id: SnapshotId,
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
    pub(super) fn create(disk: &Arc<D>, dir: &Path, id: SnapshotId) -> Result<Self, SnapshotError> {
        let path = dir.join(id.file_name());
        let temporary = temporary(&path);
        let io = |operation| {
            let temporary = &temporary;
            move |error| SnapshotError::io(operation, temporary, error)
        };
        let file = disk.create(&temporary).map_err(io("create"))?;
        let header = Header(id);
        file.write_at(&header.encode(), 0).map_err(io("write"))?;
        Ok(SnapshotWriter {
            id,
            disk: Arc::clone(disk),
            dir: dir.to_owned(),
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
    pub fn finish(self) -> Result<u64, SnapshotError> {
        self.seal()?.publish()
    }

    /// Completes the file and makes it durable, still under its temporary name: what it holds can be
    /// read and judged before anybody else finds it. On an error the unfinished file is removed.
    ///
    /// # Errors
    /// [`SnapshotError::NoRoom`], [`SnapshotError::Io`].
    pub fn seal(mut self) -> Result<SealedSnapshot<D>, SnapshotError> {
        match self.complete() {
            Ok(()) => Ok(SealedSnapshot { writer: self }),
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
        self.file.sync().map_err(io("sync"))
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

/// A snapshot that is complete and durable under its temporary name. Dropped without
/// [`SealedSnapshot::publish`] or [`SealedSnapshot::abandon`], it leaves a file that the next
/// [`Snapshots::open`](crate::Snapshots::open) removes.
pub struct SealedSnapshot<D: Disk> {
    writer: SnapshotWriter<D>,
}

impl<D: Disk> SealedSnapshot<D> {
    /// Opens it for reading, as [`Snapshots::read`](crate::Snapshots::read) does a published one.
    ///
    /// # Errors
    /// [`SnapshotError::Corrupt`], [`SnapshotError::Io`].
    pub fn read(&self) -> Result<SnapshotReader<D>, SnapshotError> {
        let writer = &self.writer;
        SnapshotReader::open(&*writer.disk, temporary(&writer.path), writer.id)
    }

    /// Gives the file its name, durably; the number of bytes that were written to it. On an error the
    /// file is removed, as far as it still has its temporary name.
    ///
    /// # Errors
    /// [`SnapshotError::Io`]: whether it has its name is unknown until a restart.
    pub fn publish(self) -> Result<u64, SnapshotError> {
        let SnapshotWriter {
            disk,
            dir,
            path,
            length,
            ..
        } = &self.writer;
        let temporary = temporary(path);
        let renamed = disk
            .rename(&temporary, path)
            .map_err(|e| SnapshotError::io("rename", &temporary, e));
        if let Err(error) = renamed {
            // The first error counts; if this fails as well, the next opening removes it.
            self.abandon().ok();
            return Err(error);
        }
        disk.sync_dir(dir)
            .map_err(|e| SnapshotError::io("sync", dir, e))?;
        Ok(*length)
    }

    /// Removes the file.
    ///
    /// # Errors
    /// [`SnapshotError::Io`].
    pub fn abandon(self) -> Result<(), SnapshotError> {
        self.writer.abandon()
    }
}
