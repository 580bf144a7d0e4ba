//! Segments: the files that hold the blocks.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::block::{u32_at, u64_at};
use crate::error::is_full;
use crate::wal::LogPosition;
use crate::{Disk, DiskFile, WalError};

/// The fixed part of a segment file. Blocks follow from [`HEADER_BYTES`] on without a gap; where
/// they end, a fresh segment holds zeros and a recycled one whatever its former life left.
///
/// # Layout
/// Numbers are little-endian. The file is `log-<sequence, 10 digits or more>.seg`.
///
/// | offset | bytes | field |
/// | --- | --- | --- |
/// | 0 | 8 | magic, `b"PICCOLOG"` |
/// | 8 | 2 | format version, major: 1; another one is not read |
/// | 10 | 2 | format version, minor: 0; a later one adds optional [records](crate::Record) and no more |
/// | 12 | 4 | 1 if recycled, else 0 |
/// | 16 | 8 | sequence number; the first segment of a log is 1 |
/// | 24 | 8 | capacity: the size of the file |
/// | 32 | 8 | start: the log position of the file's first byte |
/// | 40 | 4 | CRC-32C of the above |
/// | 4096 | 12 | watermark 0: a log position below which all was durable when it was written (8 bytes), and a CRC-32C of it seeded with that of the sequence number (4) |
/// | 8192 | 12 | watermark 1 |
///
/// The rest is zeros. Header, watermarks and blocks have pages of their own, so that no write which a
/// power cut tears can touch another. The watermarks are written in turn, never both between two
/// syncs: so one of them is always intact.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SegmentHeader {
    pub(crate) recycled: bool,
    pub(crate) sequence: u64,
    pub(crate) capacity: u64,
    pub(crate) start: LogPosition,
}

pub(crate) const HEADER_BYTES: u64 = 3 * PAGE_BYTES;
const PAGE_BYTES: u64 = 4096;
const WATERMARK_BYTES: usize = 12;
const MAGIC: [u8; 8] = *b"PICCOLOG";
const VERSION: (u16, u16) = (1, 0);
const FIELD_BYTES: usize = 44;

/// What is written at once when a file is filled with zeros.
const FILL_BYTES: usize = 1 << 20;
/// How much of a fill may be on its way to the disk at once: a sync of the log meanwhile waits behind it.
const FILL_SYNC_BYTES: u64 = 4 << 20;

impl SegmentHeader {
    fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEADER_BYTES as usize);
        bytes.extend_from_slice(&MAGIC);
        bytes.extend_from_slice(&VERSION.0.to_le_bytes());
        bytes.extend_from_slice(&VERSION.1.to_le_bytes());
        bytes.extend_from_slice(&u32::from(self.recycled).to_le_bytes());
        bytes.extend_from_slice(&self.sequence.to_le_bytes());
        bytes.extend_from_slice(&self.capacity.to_le_bytes());
        bytes.extend_from_slice(&self.start.0.to_le_bytes());
        bytes.extend_from_slice(&crc32c::crc32c(&bytes).to_le_bytes());
        for slot in 0..2 {
            bytes.resize(watermark_offset(slot) as usize, 0);
            bytes.extend_from_slice(&encode_watermark(self.sequence, LogPosition(0)));
        }
        bytes.resize(HEADER_BYTES as usize, 0);
        bytes
    }

    fn decode(path: &Path, bytes: &[u8]) -> Result<SegmentHeader, WalError> {
        if bytes.len() < FIELD_BYTES {
            return Err(WalError::corrupt(
                path,
                bytes.len() as u64,
                "the file ends in its header",
            ));
        }
        if bytes[..8] != MAGIC || u32_at(bytes, 40) != crc32c::crc32c(&bytes[..40]) {
            return Err(WalError::corrupt(
                path,
                0,
                "the header of the segment is not intact",
            ));
        }
        let found = u16::from_le_bytes([bytes[8], bytes[9]]);
        if found != VERSION.0 {
            return Err(WalError::Version {
                path: path.to_owned(),
                found: u32::from(found),
                supported: u32::from(VERSION.0),
            });
        }
        Ok(SegmentHeader {
            recycled: u32_at(bytes, 12) != 0,
            sequence: u64_at(bytes, 16),
            capacity: u64_at(bytes, 24),
            start: LogPosition(u64_at(bytes, 32)),
        })
    }

    /// Where the next segment starts.
    pub(crate) fn end(&self) -> LogPosition {
        LogPosition(self.start.0 + self.capacity)
    }
}

fn watermark_offset(slot: usize) -> u64 {
    (1 + slot as u64) * PAGE_BYTES
}

fn encode_watermark(sequence: u64, position: LogPosition) -> [u8; WATERMARK_BYTES] {
    let mut bytes = [0; WATERMARK_BYTES];
    bytes[..8].copy_from_slice(&position.0.to_le_bytes());
    let crc = crc32c::crc32c_append(crc32c::crc32c(&sequence.to_le_bytes()), &bytes[..8]);
    bytes[8..].copy_from_slice(&crc.to_le_bytes());
    bytes
}

/// A segment with its file open.
pub(crate) struct Segment<D: Disk> {
    pub(crate) path: PathBuf,
    pub(crate) header: SegmentHeader,
    pub(crate) file: Arc<D::File>,
    /// `None` for one that is not intact.
    watermarks: [Option<LogPosition>; 2],
}

impl<D: Disk> Segment<D> {
    /// Makes a segment of zeros. It is durable under its name when this returns.
    ///
    /// # Errors
    /// [`WalError::NoRoom`], after which it is as if nothing was tried; [`WalError::Io`].
    pub(crate) fn create(
        disk: &D,
        dir: &Path,
        header: SegmentHeader,
    ) -> Result<Segment<D>, WalError> {
        let path = dir.join(file_name(header.sequence));
        let temporary = temporary(&path);
        let filled = fill(disk, &temporary, &header);
        let file = filled.and_then(|file| match disk.rename(&temporary, &path) {
            Ok(()) => Ok(file),
            Err(error) => Err(refused("rename", &temporary, header.capacity, error)),
        });
        let file = match file {
            Ok(file) => file,
            Err(error) => {
                // Whatever it held of the disk's space goes back; if this fails as well, the next
                // opening removes it.
                disk.remove(&temporary).ok();
                return Err(error);
            }
        };
        disk.sync_dir(dir)
            .map_err(|error| WalError::io("sync", dir, error))?;
        Ok(Segment::blank(path, header, file))
    }

    /// Gives the file `parked`, of which nothing is needed any more, a new life.
    ///
    /// # Errors
    /// [`WalError::Io`].
    pub(crate) fn recycle(
        disk: &D,
        dir: &Path,
        parked: &Path,
        header: SegmentHeader,
    ) -> Result<Segment<D>, WalError> {
        let path = dir.join(file_name(header.sequence));
        let io = |operation| move |error| WalError::io(operation, parked, error);
        let file = disk.open(parked).map_err(io("open"))?;
        file.write_at(&header.encode(), 0).map_err(io("write"))?;
        file.sync().map_err(io("sync"))?;
        disk.rename(parked, &path).map_err(io("rename"))?;
        disk.sync_dir(dir)
            .map_err(|error| WalError::io("sync", dir, error))?;
        Ok(Segment::blank(path, header, file))
    }

    fn blank(path: PathBuf, header: SegmentHeader, file: D::File) -> Segment<D> {
        Segment {
            path,
            header,
            file: Arc::new(file),
            watermarks: [Some(LogPosition(0)); 2],
        }
    }

    /// Opens the segment of that number.
    ///
    /// # Errors
    /// [`WalError::Corrupt`] when the header, the length or both watermarks are not as written,
    /// [`WalError::Version`], [`WalError::Io`].
    pub(crate) fn open(disk: &D, dir: &Path, sequence: u64) -> Result<Segment<D>, WalError> {
        let path = dir.join(file_name(sequence));
        let file = disk
            .open(&path)
            .map_err(|error| WalError::io("open", &path, error))?;
        let mut bytes = [0; FIELD_BYTES];
        let count = file
            .read_at(&mut bytes, 0)
            .map_err(|error| WalError::io("read", &path, error))?;
        let header = SegmentHeader::decode(&path, &bytes[..count])?;
        if header.sequence != sequence {
            let what = format!("it says that it is segment {}", header.sequence);
            return Err(WalError::corrupt(&path, 16, what));
        }
        let length = file
            .length()
            .map_err(|error| WalError::io("measure", &path, error))?;
        if length != header.capacity {
            let what = format!("it has {length} bytes, and {} were made", header.capacity);
            return Err(WalError::corrupt(&path, length.min(header.capacity), what));
        }
        let mut watermarks = [None; 2];
        for (slot, watermark) in watermarks.iter_mut().enumerate() {
            let mut bytes = [0; WATERMARK_BYTES];
            file.read_at(&mut bytes, watermark_offset(slot))
                .map_err(|error| WalError::io("read", &path, error))?;
            let position = LogPosition(u64_at(&bytes, 0));
            *watermark = (bytes == encode_watermark(sequence, position)).then_some(position);
        }
        if watermarks == [None; 2] {
            let what = "neither watermark of the segment is intact";
            return Err(WalError::corrupt(&path, watermark_offset(0), what));
        }
        Ok(Segment {
            path,
            header,
            file: Arc::new(file),
            watermarks,
        })
    }

    /// The highest intact watermark.
    pub(crate) fn watermark(&self) -> LogPosition {
        self.watermarks
            .into_iter()
            .flatten()
            .max()
            .unwrap_or_default()
    }

    /// Writes a watermark, in place of the one that is damaged or lower. The other one must be
    /// durable.
    pub(crate) fn set_watermark(&mut self, position: LogPosition) -> Result<(), WalError> {
        let slot = usize::from(self.watermarks[1] < self.watermarks[0]);
        let bytes = encode_watermark(self.header.sequence, position);
        self.file
            .write_at(&bytes, watermark_offset(slot))
            .map_err(|error| WalError::io("write", &self.path, error))?;
        self.watermarks[slot] = Some(position);
        Ok(())
    }

    /// The log position of a place in the file.
    pub(crate) fn position(&self, offset: u64) -> LogPosition {
        LogPosition(self.header.start.0 + offset)
    }

    /// Makes what was written to the file durable.
    pub(crate) fn sync(&self) -> Result<(), WalError> {
        self.file
            .sync()
            .map_err(|error| WalError::io("sync", &self.path, error))
    }

    /// Overwrites a part of the file with zeros.
    pub(crate) fn zero(&self, from: u64, to: u64) -> Result<(), WalError> {
        let zeros = vec![0; to.saturating_sub(from).min(FILL_BYTES as u64) as usize];
        let mut offset = from;
        while offset < to {
            let count = (to - offset).min(FILL_BYTES as u64);
            self.file
                .write_at(&zeros[..count as usize], offset)
                .map_err(|error| WalError::io("write", &self.path, error))?;
            offset += count;
        }
        Ok(())
    }
}

fn fill<D: Disk>(disk: &D, path: &Path, header: &SegmentHeader) -> Result<D::File, WalError> {
    let capacity = header.capacity;
    let refuse = |operation| move |error| refused(operation, path, capacity, error);
    let file = disk.create(path).map_err(refuse("create"))?;
    let zeros = vec![0; capacity.min(FILL_BYTES as u64) as usize];
    let mut offset = 0;
    let mut synced = 0;
    while offset < capacity {
        let count = (capacity - offset).min(FILL_BYTES as u64);
        file.write_at(&zeros[..count as usize], offset)
            .map_err(refuse("write"))?;
        offset += count;
        if offset - synced >= FILL_SYNC_BYTES {
            file.sync().map_err(refuse("sync"))?;
            synced = offset;
        }
    }
    file.write_at(&header.encode(), 0)
        .map_err(refuse("write"))?;
    file.sync().map_err(refuse("sync"))?;
    Ok(file)
}

/// The error of a step in making a file of that size.
pub(crate) fn refused(
    operation: &'static str,
    path: &Path,
    bytes: u64,
    source: std::io::Error,
) -> WalError {
    if is_full(&source) {
        WalError::NoRoom {
            path: path.to_owned(),
            bytes,
            source,
        }
    } else {
        WalError::io(operation, path, source)
    }
}

const TEMPORARY: &str = ".tmp";

/// What a file is called until it is complete.
pub(crate) fn temporary(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(TEMPORARY);
    name.into()
}

/// Whether a file of that name was never completed, or is of no more use.
pub(crate) fn is_temporary(name: &str) -> bool {
    name.ends_with(TEMPORARY)
}

pub(crate) fn file_name(sequence: u64) -> String {
    format!("log-{sequence:010}.seg")
}

/// What a segment is called between two lives.
pub(crate) fn parked_name(sequence: u64) -> String {
    format!("parked-{sequence:010}{TEMPORARY}")
}

/// The sequence number in a segment's name; `None` for any other name.
pub(crate) fn parse_file_name(name: &str) -> Option<u64> {
    let sequence = name
        .strip_prefix("log-")?
        .strip_suffix(".seg")?
        .parse()
        .ok()?;
    (file_name(sequence) == name).then_some(sequence)
}
