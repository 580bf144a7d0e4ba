//! Reading the log at start, and what to make of damage; see [`crate::Wal::open`] for the rule.

use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};

use memchr::memmem;

use crate::block::{self, BlockHeader};
use crate::ledger::Ledger;
use crate::segment::{self, Segment, SegmentHeader};
use crate::wal::LogPosition;
use crate::{Disk, DiskFile, Record, ReplayError, WalError};

/// What is read at once.
const READ_BYTES: usize = 1 << 20;
/// How often the progress is told.
const PROGRESS_BYTES: u64 = 32 << 20;

/// How far the replay has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Bytes of segments read.
    pub bytes_read: u64,
    /// Bytes of segments in all.
    pub bytes_total: u64,
    /// Records handed to the replay.
    pub records: u64,
}

/// What [`crate::Wal::open`] found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recovery {
    /// Records handed to the replay.
    pub records: u64,
    /// Bytes of valid blocks.
    pub bytes: u64,
    /// Segments read.
    pub segments: u64,
    /// The tail that was cut, if there was one. In a recycled segment a tail of which not even the
    /// beginning of a block can be seen among older bytes is cut without being noticed.
    pub torn: Option<TornTail>,
}

/// The end of a log that a power cut or a crash left unfinished. Nothing in it was ever said to be
/// durable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TornTail {
    /// The segment.
    pub file: PathBuf,
    /// Where in it the first unfinished block begins.
    pub offset: u64,
    /// How many bytes were given up, in this segment and in later ones.
    pub lost_bytes: u64,
}

/// A log that was read, cut where it had to be, and made durable.
pub(crate) struct Found<D: Disk> {
    pub(crate) older: VecDeque<SegmentHeader>,
    pub(crate) current: Segment<D>,
    pub(crate) spare: Option<Segment<D>>,
    pub(crate) end: LogPosition,
    pub(crate) watermark: LogPosition,
    pub(crate) recovery: Recovery,
}

/// Recovers the log in `dir`; `None` if there is none yet.
pub(crate) fn recover<D: Disk>(
    disk: &D,
    dir: &Path,
    ledger: &mut Ledger,
    replay: &mut dyn FnMut(Record<'_>) -> Result<(), ReplayError>,
    progress: &mut dyn FnMut(Progress),
) -> Result<Option<Found<D>>, WalError> {
    let mut segments = open_segments(disk, dir)?;
    if segments.is_empty() {
        return Ok(None);
    }
    let bytes_total = segments.iter().map(|segment| segment.header.capacity).sum();
    let mut reader = Reader {
        window: Vec::new(),
        replay,
        progress,
        told: 0,
        bytes_before: 0,
        bytes_total,
        records: 0,
        bytes: 0,
        previous: None,
        synced_upto: LogPosition(0),
    };
    // The log goes on into the next segment only if the first block there says so.
    let mut last = 0;
    let mut offset = reader.replay_segment(&segments[0], ledger)?;
    if offset == segment::HEADER_BYTES && segments[0].header.sequence > 1 {
        let what = "the first block of the oldest segment is not intact";
        return Err(WalError::corrupt(&segments[0].path, offset, what));
    }
    while let Some(next) = segments.get(last + 1) {
        let reached = reader.replay_segment(next, ledger)?;
        if reached == segment::HEADER_BYTES {
            break;
        }
        last += 1;
        offset = reached;
    }

    let end = segments[last].position(offset);
    let watermark = segments
        .iter()
        .map(|segment| segment.watermark())
        .max()
        .unwrap_or_default();
    let torn = judge(&segments[last..], offset, watermark)?;
    let recovery = Recovery {
        records: reader.records,
        bytes: reader.bytes,
        segments: last as u64 + 1,
        torn: torn.map(|lost_bytes| TornTail {
            file: segments[last].path.clone(),
            offset,
            lost_bytes,
        }),
    };
    let synced_upto = reader.synced_upto.max(watermark);

    // One clean segment behind the last is its spare.
    let keep = last + 1 + usize::from(torn.is_none());
    while segments.len() > keep {
        let surplus = segments.pop().expect("it is longer than `keep`");
        disk.remove(&surplus.path)
            .map_err(|e| WalError::io("remove", &surplus.path, e))?;
        disk.sync_dir(dir)
            .map_err(|e| WalError::io("sync", dir, e))?;
    }
    if torn.is_some() {
        // What is left of a torn block must not be found again behind the blocks to come.
        segments[last].zero(offset, segments[last].header.capacity)?;
    }
    for segment in &segments[..=last] {
        let to = segment.header.end().min(end);
        if to > synced_upto {
            let from = segment.position(segment::HEADER_BYTES).max(synced_upto);
            make_durable(
                segment,
                from.0 - segment.header.start.0,
                to.0 - segment.header.start.0,
            )?;
        }
    }
    if torn.is_some() {
        segments[last].sync()?;
    }
    disk.sync_dir(dir)
        .map_err(|e| WalError::io("sync", dir, e))?;

    let spare = if segments.len() > last + 1 {
        segments.pop()
    } else {
        None
    };
    let current = segments.pop().expect("the last one read is there");
    let older = segments.iter().map(|segment| segment.header).collect();
    Ok(Some(Found {
        older,
        current,
        spare,
        end,
        watermark,
        recovery,
    }))
}

/// Opens all segments, oldest first, and removes temporary files.
fn open_segments<D: Disk>(disk: &D, dir: &Path) -> Result<Vec<Segment<D>>, WalError> {
    disk.create_dir(dir)
        .map_err(|e| WalError::io("create", dir, e))?;
    let names = disk.list(dir).map_err(|e| WalError::io("list", dir, e))?;
    for name in names.iter().filter(|name| segment::is_temporary(name)) {
        let path = dir.join(name);
        disk.remove(&path)
            .map_err(|e| WalError::io("remove", &path, e))?;
    }
    let mut sequences: Vec<u64> = names
        .iter()
        .filter_map(|name| segment::parse_file_name(name))
        .collect();
    sequences.sort_unstable();
    let mut segments: Vec<Segment<D>> = Vec::with_capacity(sequences.len());
    for sequence in sequences {
        let expected = segments
            .last()
            .map(|last| (last.header.sequence + 1, last.header.end()));
        if let Some((expected, _)) = expected
            && expected != sequence
        {
            let path = dir.join(segment::file_name(expected));
            return Err(WalError::corrupt(&path, 0, "the file is missing"));
        }
        let segment = Segment::open(disk, dir, sequence)?;
        if let Some((_, start)) = expected
            && start != segment.header.start
        {
            let what = "it does not begin where the segment before it ends";
            return Err(WalError::corrupt(&segment.path, 32, what));
        }
        segments.push(segment);
    }
    Ok(segments)
}

/// Makes a part of a file durable that can be read, whatever became of it on the disk: a process that was
/// killed leaves writes behind that a power cut can still undo, and after a failed sync the kernel
/// may hold pages as clean that never reached the disk. So they are written again.
fn make_durable<D: Disk>(segment: &Segment<D>, from: u64, to: u64) -> Result<(), WalError> {
    let mut buffer = vec![0; (to - from).min(READ_BYTES as u64) as usize];
    let mut offset = from;
    while offset < to {
        let count = (to - offset).min(READ_BYTES as u64) as usize;
        let bytes = &mut buffer[..count];
        let read = segment.file.read_at(bytes, offset);
        if read.map_err(|e| WalError::io("read", &segment.path, e))? < count {
            let error = io::Error::from(io::ErrorKind::UnexpectedEof);
            return Err(WalError::io("read", &segment.path, error));
        }
        let written = segment.file.write_at(bytes, offset);
        written.map_err(|e| WalError::io("write", &segment.path, e))?;
        offset += count as u64;
    }
    segment.sync()
}

/// A part of a file in memory.
struct Window<'a, D: Disk> {
    segment: &'a Segment<D>,
    buffer: &'a mut Vec<u8>,
    start: u64,
    length: usize,
}

impl<'a, D: Disk> Window<'a, D> {
    fn new(segment: &'a Segment<D>, buffer: &'a mut Vec<u8>) -> Self {
        Window {
            segment,
            buffer,
            start: 0,
            length: 0,
        }
    }

    /// The bytes at that place, fewer only at the end of the file.
    fn get(&mut self, offset: u64, length: usize) -> Result<&[u8], WalError> {
        let missing =
            offset < self.start || offset + length as u64 > self.start + self.length as u64;
        if missing {
            let rest = self.segment.header.capacity.saturating_sub(offset);
            let size = length.max(rest.min(READ_BYTES as u64) as usize);
            if self.buffer.len() < size {
                self.buffer.resize(size, 0);
            }
            let count = self.segment.file.read_at(&mut self.buffer[..size], offset);
            self.length = count.map_err(|e| WalError::io("read", &self.segment.path, e))?;
            self.start = offset;
        }
        let from = (offset - self.start) as usize;
        Ok(&self.buffer[from.min(self.length)..(from + length).min(self.length)])
    }

    /// The block at that place with its header, if it is intact.
    fn block(&mut self, offset: u64) -> Result<Option<(BlockHeader, &[u8])>, WalError> {
        let (sequence, capacity) = (self.segment.header.sequence, self.segment.header.capacity);
        let position = self.segment.position(offset);
        let header = BlockHeader::peek(self.get(offset, block::HEADER_BYTES)?, position);
        let Some(header) = header else {
            return Ok(None);
        };
        if offset + header.block_length() > capacity {
            return Ok(None);
        }
        let bytes = self.get(offset, header.block_length() as usize)?;
        Ok(header
            .vouches_for(sequence, bytes)
            .then_some((header, bytes)))
    }
}

struct Reader<'a> {
    window: Vec<u8>,
    replay: &'a mut dyn FnMut(Record<'_>) -> Result<(), ReplayError>,
    progress: &'a mut dyn FnMut(Progress),
    told: u64,
    bytes_before: u64,
    bytes_total: u64,
    records: u64,
    bytes: u64,
    /// The end of the last block; unknown before the first one.
    previous: Option<LogPosition>,
    /// The highest that a block said.
    synced_upto: LogPosition,
}

impl Reader<'_> {
    /// Replays the blocks of a segment that continue the log; the offset at which they end.
    fn replay_segment<D: Disk>(
        &mut self,
        segment: &Segment<D>,
        ledger: &mut Ledger,
    ) -> Result<u64, WalError> {
        let mut buffer = std::mem::take(&mut self.window);
        let mut window = Window::new(segment, &mut buffer);
        let mut offset = segment::HEADER_BYTES;
        while let Some((header, bytes)) = window.block(offset)? {
            if self
                .previous
                .is_some_and(|previous| previous != header.previous)
            {
                break;
            }
            // A segment is in the ledger from its first block on, or as the oldest.
            if offset == segment::HEADER_BYTES {
                ledger.turn();
            }
            let length = header.block_length();
            let end = segment.position(offset + length);
            let mut records = &bytes[block::HEADER_BYTES..];
            while !records.is_empty() {
                let record = Record::decode(&mut records).map_err(|error| {
                    WalError::corrupt(&segment.path, offset, format!("in an intact block {error}"))
                })?;
                ledger.note(&record, end);
                (self.replay)(record).map_err(|source| WalError::Replay {
                    path: segment.path.clone(),
                    offset,
                    source,
                })?;
                self.records += 1;
            }
            ledger.note_block(end);
            self.previous = Some(end);
            self.synced_upto = self.synced_upto.max(header.synced_upto);
            self.bytes += length;
            offset += length;
            self.tell(offset);
        }
        // The first of all segments may be without a block.
        if self.previous.is_none() {
            ledger.turn();
            self.previous = Some(segment.position(offset));
        }
        self.window = buffer;
        self.bytes_before += segment.header.capacity;
        self.tell(0);
        Ok(offset)
    }

    fn tell(&mut self, offset: u64) {
        let bytes_read = self.bytes_before + offset;
        if bytes_read >= self.told + PROGRESS_BYTES {
            self.told = bytes_read;
            let Reader {
                bytes_total,
                records,
                ..
            } = *self;
            (self.progress)(Progress {
                bytes_read,
                bytes_total,
                records,
            });
        }
    }
}

/// Looks at all that follows the end of the log, in the first of these segments from `offset` on
/// and in all of the later ones. How many bytes of a torn tail there are; `None` for a clean end.
///
/// # Errors
/// [`WalError::Corrupt`] if the watermark or an intact block says that the log was durable beyond
/// its end.
fn judge<D: Disk>(
    segments: &[Segment<D>],
    offset: u64,
    watermark: LogPosition,
) -> Result<Option<u64>, WalError> {
    let end = segments[0].position(offset);
    let mut durable = watermark;
    let mut lost = None;
    let mut place = None;
    let (mut scan, mut probe) = (Vec::new(), Vec::new());
    for (number, segment) in segments.iter().enumerate() {
        let from = if number == 0 {
            offset
        } else {
            segment::HEADER_BYTES
        };
        let survey = Survey::of(segment, from, end, &mut scan, &mut probe)?;
        durable = durable.max(survey.durable);
        if let Some(reach) = survey.reach {
            *lost.get_or_insert(0) += reach - from;
            place.get_or_insert((segment, from));
        }
    }
    if durable <= end {
        return Ok(lost);
    }
    // Without a trace of what was there, its segment can still be told.
    let holds = |segment: &Segment<D>| durable <= segment.header.end();
    let (segment, from) = place.unwrap_or_else(|| match segments.iter().position(holds) {
        None | Some(0) => (&segments[0], offset),
        Some(number) => (&segments[number], segment::HEADER_BYTES),
    });
    let beyond = durable.0 - end.0;
    let what = format!("no intact block begins there, yet {beyond} bytes more had been stored");
    Err(WalError::corrupt(&segment.path, from, what))
}

/// What the unused part of a segment holds.
struct Survey {
    /// The highest position beyond the end of the log that an intact block calls durable; that end
    /// if none does.
    durable: LogPosition,
    /// Where the last sign of writing ends, if there is one.
    reach: Option<u64>,
}

impl Survey {
    fn of<D: Disk>(
        segment: &Segment<D>,
        from: u64,
        end: LogPosition,
        scan: &mut Vec<u8>,
        probe: &mut Vec<u8>,
    ) -> Result<Survey, WalError> {
        let finder = memmem::Finder::new(&block::MAGIC);
        let mut window = Window::new(segment, scan);
        let mut probe = Window::new(segment, probe);
        let mut survey = Survey {
            durable: end,
            reach: None,
        };
        let mut offset = from;
        let overlap = block::MAGIC.len() as u64 - 1;
        while offset < segment.header.capacity {
            let bytes = window.get(offset, READ_BYTES)?;
            if bytes.is_empty() {
                let error = io::Error::from(io::ErrorKind::UnexpectedEof);
                return Err(WalError::io("read", &segment.path, error));
            }
            if !segment.header.recycled
                && let Some(last) = last_written(bytes)
            {
                survey.reach = Some(offset + last as u64 + 1);
            }
            for hit in finder.find_iter(bytes) {
                let place = offset + hit as u64;
                let header = probe.get(place, block::HEADER_BYTES)?;
                let Some(header) = BlockHeader::peek(header, segment.position(place)) else {
                    continue;
                };
                let length = header.block_length().min(segment.header.capacity - place);
                survey.reach = survey.reach.max(Some(place + length));
                if header.synced_upto > survey.durable && probe.block(place)?.is_some() {
                    survey.durable = header.synced_upto;
                }
            }
            let count = bytes.len() as u64;
            let at_end = offset + count >= segment.header.capacity;
            offset += if at_end { count } else { count - overlap };
        }
        Ok(survey)
    }
}

/// The place of the last byte that is not zero.
fn last_written(bytes: &[u8]) -> Option<usize> {
    const STEP: usize = 4096;
    for (number, step) in bytes.chunks(STEP).enumerate().rev() {
        // A fold over all of them is what the compiler makes fast.
        if step.iter().fold(0, |all, &byte| all | byte) != 0 {
            let last = step.iter().rposition(|&byte| byte != 0)?;
            return Some(number * STEP + last);
        }
    }
    None
}
