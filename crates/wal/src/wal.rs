//! The log: append, sync, and which segments are still needed.

use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use base::{ReplicaId, ShardId};

use crate::block::{self, BlockHeader};
use crate::ledger::Ledger;
use crate::segment::{self, Segment, SegmentHeader};
use crate::stock::Stock;
use crate::{Disk, DiskFile, Progress, Record, Recovery, ReplayError, Upkeep, WalError, recovery};

/// The most that one [`Wal::append`] takes.
pub const MAX_APPEND_BYTES: u64 = 1 << 30;

/// A buffer that grew beyond this for one large block is given back.
const BUFFER_KEPT_BYTES: usize = 8 << 20;

/// A place in the log, counted in bytes over all segments that there ever were.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LogPosition(pub u64);

/// Settings of a [`Wal`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// The size of a segment, rounded up to a multiple of 4 KiB, 16 KiB at least. One that must hold a
    /// larger block is made as large as that takes. May differ from one opening to the next.
    pub segment_size_bytes: u64,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            segment_size_bytes: 64 << 20,
        }
    }
}

/// What keeps the oldest segment from going. A snapshot of this replica at `index` or later, and a
/// purge up to there, release it.
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
    stock: Arc<Stock<D>>,
    ledger: Ledger,
    /// The segments before `current` that are still needed, oldest first.
    older: VecDeque<SegmentHeader>,
    /// Files before that of `current` that are not synced to their end, oldest first.
    unsynced: Vec<Unsynced<D>>,
    current: Segment<D>,
    /// Where in `current` the next block goes.
    offset: u64,
    /// The end of the last block.
    end: LogPosition,
    /// All below it is durable.
    synced: LogPosition,
    /// The highest watermark on disk.
    watermark: LogPosition,
    /// The block that is being built; its capacity is used again.
    buffer: Vec<u8>,
}

struct Unsynced<D: Disk> {
    path: PathBuf,
    file: Arc<D::File>,
    /// The end of its last block.
    end: LogPosition,
}

impl<D: Disk> Clone for Unsynced<D> {
    fn clone(&self) -> Self {
        Unsynced {
            path: self.path.clone(),
            file: Arc::clone(&self.file),
            end: self.end,
        }
    }
}

impl<D: Disk> Wal<D> {
    /// Whether there is a log in the folder `dir`.
    ///
    /// # Errors
    /// [`WalError::Io`].
    pub fn exists(disk: &D, dir: &Path) -> Result<bool, WalError> {
        match disk.list(dir) {
            Ok(names) => Ok(names
                .iter()
                .any(|name| segment::parse_file_name(name).is_some())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(WalError::io("list", dir, error)),
        }
    }

    /// Opens the log in the folder `dir`, which it makes if there is none, and hands every record to
    /// `replay`, in order; records that a new segment repeats come again. What is found is made
    /// durable before this returns. `progress` is called now and then.
    ///
    /// Where the first block that is not intact stands, the log ends. If any intact block behind that place,
    /// found by looking at each byte of what follows, or any watermark says that the log was durable
    /// beyond it, then what was lost had been safe: that is rot, and the node must not start. Otherwise nobody was
    /// ever told that it was durable: it is cut off, as [`Recovery::torn`] tells. A missing or
    /// shortened segment and a damaged segment header are rot as well.
    ///
    /// What it cannot see: damage to the very last synced block while neither another block nor a
    /// watermark ([`Wal::mark_synced`]) was written after it, and the loss of whole segment files at
    /// either end.
    ///
    /// # Errors
    /// [`WalError`]: nothing may be served then, and what the replay saw is void.
    pub fn open(
        disk: Arc<D>,
        dir: &Path,
        options: Options,
        replay: &mut dyn FnMut(Record<'_>) -> Result<(), ReplayError>,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<(Wal<D>, Recovery), WalError> {
        let size = options.segment_size_bytes;
        let mut ledger = Ledger::default();
        let found = recovery::recover(&*disk, dir, &mut ledger, replay, progress)?;
        let Some(found) = found else {
            let stock = Stock::new(disk, dir.to_owned(), size, None, None);
            let current = stock.take(0)?.segment;
            ledger.turn();
            let start = current.position(segment::HEADER_BYTES);
            let wal = Wal::at(stock, ledger, VecDeque::new(), current, start);
            return Ok((wal, Recovery::default()));
        };
        let last = Some(found.current.header);
        let stock = Stock::new(disk, dir.to_owned(), size, last, found.spare);
        ledger.synced(found.end);
        let mut wal = Wal::at(stock, ledger, found.older, found.current, found.end);
        wal.watermark = found.watermark;
        wal.mark_synced()?;
        Ok((wal, found.recovery))
    }

    fn at(
        stock: Stock<D>,
        ledger: Ledger,
        older: VecDeque<SegmentHeader>,
        current: Segment<D>,
        end: LogPosition,
    ) -> Wal<D> {
        Wal {
            stock: Arc::new(stock),
            ledger,
            older,
            unsynced: Vec::new(),
            offset: end.0 - current.header.start.0,
            current,
            end,
            synced: end,
            watermark: LogPosition(0),
            buffer: Vec::new(),
        }
    }

    /// Appends batches of encoded records as one block with one write; the position of its end.
    /// All or nothing. They are durable once [`Wal::synced_upto`] has reached that position.
    ///
    /// # Errors
    /// [`WalError::NoRoom`] and [`WalError::TooLarge`] leave the log as it was; any other poisons
    /// it.
    ///
    /// # Panics
    /// When a batch is no sequence of whole records.
    pub fn append<'a>(
        &mut self,
        batches: impl IntoIterator<Item = &'a [u8]>,
    ) -> Result<LogPosition, WalError> {
        self.stock.check()?;
        let mut block = std::mem::take(&mut self.buffer);
        block.clear();
        block.resize(block::HEADER_BYTES, 0);
        let mut bytes = 0;
        for batch in batches {
            bytes += batch.len() as u64;
            if bytes <= MAX_APPEND_BYTES {
                block.extend_from_slice(batch);
            }
        }
        let result = if bytes > MAX_APPEND_BYTES {
            Err(WalError::TooLarge {
                bytes,
                limit: MAX_APPEND_BYTES,
            })
        } else if bytes == 0 {
            Ok(self.end)
        } else {
            self.append_block(&mut block)
        };
        if block.capacity() > BUFFER_KEPT_BYTES {
            block = Vec::new();
        }
        self.buffer = block;
        result
    }

    /// Appends `block`, whose header is not filled in yet.
    fn append_block(&mut self, block: &mut Vec<u8>) -> Result<LogPosition, WalError> {
        let body = block.len() - block::HEADER_BYTES;
        let mut previous = None;
        if self.offset + block.len() as u64 > self.current.header.capacity {
            let mut head = Vec::new();
            self.ledger.head(&mut head);
            let needed = segment::HEADER_BYTES + (block.len() + head.len()) as u64;
            let taken = self.stock.take(needed)?;
            if let Some(skipped) = taken.skipped {
                let previous = self.turn(skipped);
                let mut bare = vec![0; block::HEADER_BYTES];
                bare.extend_from_slice(&head);
                self.write(&mut bare, previous)?;
            }
            previous = Some(self.turn(taken.segment));
            block.splice(block::HEADER_BYTES..block::HEADER_BYTES, head);
        }
        let end = LogPosition(self.current.position(self.offset).0 + block.len() as u64);
        let mut records = &block[block.len() - body..];
        while !records.is_empty() {
            let record = Record::decode(&mut records).expect("batches hold whole records");
            self.ledger.note(&record, end);
        }
        self.write(block, previous.unwrap_or(self.end))?;
        Ok(self.end)
    }

    /// Goes on in another segment; where the log ended before.
    fn turn(&mut self, next: Segment<D>) -> LogPosition {
        let last = std::mem::replace(&mut self.current, next);
        self.older.push_back(last.header);
        if self.synced < self.end {
            self.unsynced.push(Unsynced {
                path: last.path,
                file: last.file,
                end: self.end,
            });
        }
        self.ledger.turn();
        self.offset = segment::HEADER_BYTES;
        let before = self.end;
        self.end = self.current.position(self.offset);
        before
    }

    fn write(&mut self, block: &mut [u8], previous: LogPosition) -> Result<(), WalError> {
        let header = BlockHeader {
            position: self.end,
            previous,
            synced_upto: self.synced,
            body_length: u32::try_from(block.len() - block::HEADER_BYTES)
                .expect("an append and what a segment repeats are far below 4 GiB"),
        };
        header.seal(self.current.header.sequence, block);
        let written = self.current.file.write_at(block, self.offset);
        self.stock
            .guard(written.map_err(|e| WalError::io("write", &self.current.path, e)))?;
        self.offset += block.len() as u64;
        self.end = self.current.position(self.offset);
        self.ledger.note_block(self.end);
        Ok(())
    }

    /// Makes all that was appended durable; the position up to which it is.
    ///
    /// # Errors
    /// Any error poisons the log.
    pub fn sync(&mut self) -> Result<LogPosition, WalError> {
        self.stock.check()?;
        if self.synced < self.end {
            let guard = self.stock.lock_sync()?;
            for older in &self.unsynced {
                self.stock.guard(sync_file::<D>(&older.file, &older.path))?;
            }
            self.stock
                .guard(sync_file::<D>(&self.current.file, &self.current.path))?;
            drop(guard);
            self.synced(self.end);
        }
        Ok(self.synced)
    }

    /// A sync that runs without the log, on another thread; `None` when all is durable.
    ///
    /// # Errors
    /// [`WalError::Poisoned`].
    pub fn sync_job(&self) -> Result<Option<SyncJob<D>>, WalError> {
        self.stock.check()?;
        if self.synced >= self.end {
            return Ok(None);
        }
        let mut files = self.unsynced.clone();
        files.push(Unsynced {
            path: self.current.path.clone(),
            file: Arc::clone(&self.current.file),
            end: self.end,
        });
        Ok(Some(SyncJob {
            stock: Arc::clone(&self.stock),
            files,
            upto: self.end,
        }))
    }

    /// Takes note of what [`SyncJob::run`] returned.
    ///
    /// # Panics
    /// For a position that was not reached yet.
    pub fn synced(&mut self, upto: LogPosition) {
        assert!(
            upto <= self.end,
            "{upto:?} was synced before it was written"
        );
        self.synced = self.synced.max(upto);
        self.unsynced.retain(|file| file.end > upto);
        self.ledger.synced(upto);
    }

    /// Notes on disk that all is durable, when it is and that does not stand there yet: from then on
    /// the loss of anything that is in the log is told from a torn tail. To be called when nothing has been
    /// pending for some milliseconds; the note needs no sync, but makes the next sync write a second
    /// page.
    ///
    /// # Errors
    /// Any error poisons the log.
    pub fn mark_synced(&mut self) -> Result<(), WalError> {
        self.stock.check()?;
        if self.synced == self.end && self.watermark < self.synced {
            self.stock.guard(self.current.set_watermark(self.synced))?;
            self.watermark = self.synced;
        }
        Ok(())
    }

    /// The end of what was appended.
    pub fn end(&self) -> LogPosition {
        self.end
    }

    /// All below it is durable.
    pub fn synced_upto(&self) -> LogPosition {
        self.synced
    }

    /// How many bytes of records can surely be appended, whatever becomes of the disk's free space;
    /// each append takes 36 bytes more. Refuse writes while it is little; [`Upkeep`] tries to
    /// make more.
    pub fn room(&self) -> u64 {
        let block = block::HEADER_BYTES as u64;
        let here = (self.current.header.capacity - self.offset).saturating_sub(block);
        let head = segment::HEADER_BYTES + self.ledger.head_bytes();
        here.max(self.stock.spare_bytes().saturating_sub(head + block))
    }

    /// Whether the next segment is ready. If not, [`Upkeep`] is to make it, or the next append that
    /// does not fit makes it itself and takes as long as that takes.
    pub fn has_spare(&self) -> bool {
        self.stock.spare_bytes() > 0
    }

    /// The bytes of all segments in use.
    pub fn log_bytes(&self) -> u64 {
        let older: u64 = self.older.iter().map(|segment| segment.capacity).sum();
        older + self.current.header.capacity
    }

    /// Work for another thread, if there is any: to make the spare segment and to dispose of
    /// segments whose entries were all purged by [`crate::Body::Purge`] records that are durable; so
    /// whoever never syncs for other reasons must do it before this. While one runs, there may seem to be work for another; it will find it done.
    pub fn upkeep(&mut self) -> Option<Upkeep<D>> {
        if self.stock.check().is_err() {
            return None;
        }
        while self.ledger.release_oldest(self.synced) {
            let oldest = self
                .older
                .pop_front()
                .expect("the ledger keeps the current one");
            self.stock.retire(oldest);
        }
        self.stock.has_work().then(|| Upkeep {
            stock: Arc::clone(&self.stock),
        })
    }

    /// Who keeps the oldest segment from going; `None` when nobody does or there is but one.
    pub fn pinned(&self) -> Option<Pin> {
        let (shard, replica, index) = self.ledger.pinned()?;
        Some(Pin {
            shard,
            replica,
            index,
            log_bytes: self.log_bytes(),
        })
    }
}

fn sync_file<D: Disk>(file: &D::File, path: &Path) -> Result<(), WalError> {
    file.sync()
        .map_err(|error| WalError::io("sync", path, error))
}

/// A sync that needs no hold of the [`Wal`].
pub struct SyncJob<D: Disk> {
    stock: Arc<Stock<D>>,
    files: Vec<Unsynced<D>>,
    upto: LogPosition,
}

impl<D: Disk> SyncJob<D> {
    /// Syncs; the position to hand to [`Wal::synced`].
    ///
    /// # Errors
    /// Any error poisons the log.
    pub fn run(self) -> Result<LogPosition, WalError> {
        let guard = self.stock.lock_sync()?;
        for file in &self.files {
            self.stock.guard(sync_file::<D>(&file.file, &file.path))?;
        }
        drop(guard);
        Ok(self.upto)
    }
}
