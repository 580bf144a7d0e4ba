//! Reading a snapshot file.

use std::path::PathBuf;

use super::{
    CHUNK_BYTES, CRC_BYTES, HEADER_BYTES, Header, MAGIC, STRIDE, SnapshotError, SnapshotId,
    TRAILER_BYTES, VERSION, chunk_crc,
};
use crate::block::{u32_at, u64_at};
use crate::{Disk, DiskFile};

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

    pub(super) fn open(disk: &D, path: PathBuf, id: SnapshotId) -> Result<Self, SnapshotError> {
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

    /// The CRC-32C of all those bytes, seeded with [`SnapshotId::checksum_seed`].
    pub fn checksum(&self) -> u32 {
        self.crc
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
