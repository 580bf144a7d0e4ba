//! From the bytes of a snapshot file to a keyspace, a chunk at a time.

use keyspace::{Keyspace, SnapshotLoader};
use shard::{SnapshotMeta, SnapshotMetaError};
use thiserror::Error;
use wal::{Disk, SnapshotError, SnapshotReader};

/// A snapshot on its way into memory. A step takes about a millisecond, so that whoever has other work
/// as well can do it in between.
pub(crate) struct Loading<D: Disk> {
    reader: SnapshotReader<D>,
    /// What was read before the head was whole.
    head: Vec<u8>,
    meta: Option<SnapshotMeta>,
    loader: SnapshotLoader,
    bytes_read: u64,
}

/// Why a snapshot cannot be loaded.
#[derive(Debug, Error)]
pub enum LoadError {
    /// The file cannot be read, or is not what was written.
    #[error(transparent)]
    File(#[from] SnapshotError),
    /// Its head cannot be understood.
    #[error(transparent)]
    Head(#[from] SnapshotMetaError),
    /// Its content cannot be understood.
    #[error(transparent)]
    Content(#[from] keyspace::SnapshotError),
}

impl<D: Disk> Loading<D> {
    pub(crate) fn new(reader: SnapshotReader<D>) -> Loading<D> {
        Loading {
            reader,
            head: Vec::new(),
            meta: None,
            loader: SnapshotLoader::new(),
            bytes_read: 0,
        }
    }

    /// How much was read.
    pub(crate) fn bytes_read(&self) -> u64 {
        self.bytes_read
    }

    /// Reads and loads one chunk; false after the last, when [`Loading::finish`] is due.
    pub(crate) fn step(&mut self) -> Result<bool, LoadError> {
        let Some(chunk) = self.reader.next_chunk()? else {
            return Ok(false);
        };
        self.bytes_read += chunk.len() as u64;
        if self.meta.is_some() {
            self.loader.feed(chunk)?;
            return Ok(true);
        }
        self.head.extend_from_slice(chunk);
        match SnapshotMeta::decode(&self.head) {
            Ok((meta, length)) => {
                self.loader.feed(&self.head[length..])?;
                self.meta = Some(meta);
                self.head = Vec::new();
            }
            Err(SnapshotMetaError::Truncated) => {}
            Err(error) => return Err(error.into()),
        }
        Ok(true)
    }

    /// What the snapshot holds.
    pub(crate) fn finish(self) -> Result<(SnapshotMeta, Keyspace), LoadError> {
        let meta = self.meta.ok_or(SnapshotMetaError::Truncated)?;
        Ok((meta, self.loader.finish()?))
    }
}
