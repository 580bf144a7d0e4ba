//! Segments before their use and after it, made and disposed of on whatever thread has the time.
//!
//! Invariants: the segment files in the folder have consecutive numbers at every moment, and after a
//! crash at any moment: they are made at the upper end and go at the lower end, one by one, each
//! step made durable before the next. A retired segment is first renamed to a temporary name, so that
//! no file has a name that its header contradicts.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use crate::segment::{HEADER_BYTES, Segment, SegmentHeader, file_name, parked_name, refused};
use crate::wal::LogPosition;
use crate::{Disk, WalError};

/// How many files of retired segments wait for a second life.
const PARKED_MAX: usize = 2;
/// Sizes of segments are multiples of it.
const SIZE_UNIT: u64 = 4096;
/// Room for some blocks in the smallest segment.
const SIZE_MIN: u64 = HEADER_BYTES + SIZE_UNIT;

/// What the log and its [`Upkeep`] share.
pub(crate) struct Stock<D: Disk> {
    pub(crate) disk: Arc<D>,
    pub(crate) dir: PathBuf,
    segment_size: u64,
    poisoned: AtomicBool,
    /// Held during each sync of the log: a file's write error is told to one sync only, so another
    /// that ran at the same time would succeed and mean nothing.
    sync: Mutex<()>,
    shelf: Mutex<Shelf<D>>,
    retired: Mutex<VecDeque<SegmentHeader>>,
    /// The capacity of the spare; 0 without one. Changed only under the lock of the shelf.
    spare_bytes: AtomicU64,
}

struct Shelf<D: Disk> {
    spare: Option<Segment<D>>,
    next_sequence: u64,
    next_start: LogPosition,
    parked: Vec<PathBuf>,
}

/// What [`Stock::take`] gives.
pub(crate) struct Taken<D: Disk> {
    /// The spare, if it was too small: it comes before `segment` in the log.
    pub(crate) skipped: Option<Segment<D>>,
    pub(crate) segment: Segment<D>,
}

impl<D: Disk> Stock<D> {
    /// A stock whose next segment follows `last`, the newest that there is.
    pub(crate) fn new(
        disk: Arc<D>,
        dir: PathBuf,
        segment_size: u64,
        last: Option<SegmentHeader>,
        spare: Option<Segment<D>>,
    ) -> Stock<D> {
        let newest = spare.as_ref().map(|spare| spare.header).or(last);
        let spare_bytes = spare.as_ref().map_or(0, |spare| spare.header.capacity);
        Stock {
            disk,
            dir,
            segment_size: segment_size.max(SIZE_MIN).next_multiple_of(SIZE_UNIT),
            poisoned: AtomicBool::new(false),
            sync: Mutex::new(()),
            shelf: Mutex::new(Shelf {
                spare,
                next_sequence: newest.map_or(1, |newest| newest.sequence + 1),
                next_start: newest.map_or(LogPosition(0), |newest| newest.end()),
                parked: Vec::new(),
            }),
            retired: Mutex::new(VecDeque::new()),
            spare_bytes: AtomicU64::new(spare_bytes),
        }
    }

    /// # Errors
    /// [`WalError::Poisoned`], if the log is.
    pub(crate) fn check(&self) -> Result<(), WalError> {
        if self.poisoned.load(Ordering::Acquire) {
            Err(WalError::Poisoned)
        } else {
            Ok(())
        }
    }

    /// Poisons the log if that went wrong, unless only the disk is full.
    pub(crate) fn guard<T>(&self, result: Result<T, WalError>) -> Result<T, WalError> {
        if matches!(&result, Err(error) if !matches!(error, WalError::NoRoom { .. })) {
            self.poisoned.store(true, Ordering::Release);
        }
        result
    }

    /// The right to sync, one at a time.
    pub(crate) fn lock_sync(&self) -> Result<MutexGuard<'_, ()>, WalError> {
        let guard = lock(&self.sync);
        self.check()?;
        Ok(guard)
    }

    pub(crate) fn spare_bytes(&self) -> u64 {
        self.spare_bytes.load(Ordering::Acquire)
    }

    /// The next segment, of that capacity at least. Waits for an upkeep that makes one.
    ///
    /// # Errors
    /// [`WalError::NoRoom`], after which all is as before; any other poisons the log.
    pub(crate) fn take(&self, capacity: u64) -> Result<Taken<D>, WalError> {
        let mut shelf = lock(&self.shelf);
        self.check()?;
        let suits = |spare: &Segment<D>| spare.header.capacity >= capacity;
        let taken = if shelf.spare.as_ref().is_some_and(suits) {
            let segment = shelf.spare.take().expect("it was looked at just now");
            Taken {
                skipped: None,
                segment,
            }
        } else {
            let segment = self.guard(self.make(&mut shelf, capacity))?;
            Taken {
                skipped: shelf.spare.take(),
                segment,
            }
        };
        self.spare_bytes.store(0, Ordering::Release);
        Ok(taken)
    }

    fn make(&self, shelf: &mut Shelf<D>, capacity: u64) -> Result<Segment<D>, WalError> {
        let mut header = SegmentHeader {
            recycled: false,
            sequence: shelf.next_sequence,
            capacity: capacity.next_multiple_of(SIZE_UNIT).max(self.segment_size),
            start: shelf.next_start,
        };
        let parked = if header.capacity == self.segment_size {
            shelf.parked.pop()
        } else {
            None
        };
        let segment = match parked {
            Some(parked) => {
                header.recycled = true;
                Segment::recycle(&*self.disk, &self.dir, &parked, header)?
            }
            None => Segment::create(&*self.disk, &self.dir, header)?,
        };
        shelf.next_sequence += 1;
        shelf.next_start = header.end();
        Ok(segment)
    }

    /// Nothing in this segment, the oldest, is needed any more.
    pub(crate) fn retire(&self, segment: SegmentHeader) {
        lock(&self.retired).push_back(segment);
    }

    pub(crate) fn has_work(&self) -> bool {
        self.spare_bytes() == 0 || !lock(&self.retired).is_empty()
    }

    fn work(&self) -> Result<(), WalError> {
        let mut shelf = lock(&self.shelf);
        self.check()?;
        // The lock of the retired is not held over an operation: the log takes it while it appends.
        loop {
            let Some(oldest) = lock(&self.retired).front().copied() else {
                break;
            };
            self.guard(self.dispose(&mut shelf, oldest))?;
            lock(&self.retired).pop_front();
        }
        if shelf.spare.is_none() {
            let spare = self.guard(self.make(&mut shelf, self.segment_size))?;
            self.spare_bytes
                .store(spare.header.capacity, Ordering::Release);
            shelf.spare = Some(spare);
        }
        Ok(())
    }

    fn dispose(&self, shelf: &mut Shelf<D>, segment: SegmentHeader) -> Result<(), WalError> {
        let path = self.dir.join(file_name(segment.sequence));
        let park = segment.capacity == self.segment_size && shelf.parked.len() < PARKED_MAX;
        if park {
            let parked = self.dir.join(parked_name(segment.sequence));
            self.disk
                .rename(&path, &parked)
                .map_err(|error| refused("rename", &path, segment.capacity, error))?;
            shelf.parked.push(parked);
        } else {
            self.disk
                .remove(&path)
                .map_err(|error| refused("remove", &path, segment.capacity, error))?;
        }
        self.disk
            .sync_dir(&self.dir)
            .map_err(|error| WalError::io("sync", &self.dir, error))
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("nobody panics while holding it")
}

/// Work on segments that needs no hold of the [`crate::Wal`]; see [`crate::Wal::upkeep`].
pub struct Upkeep<D: Disk> {
    pub(crate) stock: Arc<Stock<D>>,
}

impl<D: Disk> Upkeep<D> {
    /// Does it: removes or sets aside the segments that nobody needs, then makes the spare if there
    /// is none. May take as long as writing a whole segment does. An append that finds its segment
    /// full meanwhile waits for it.
    ///
    /// # Errors
    /// [`WalError::NoRoom`]: try again later, and see [`crate::Wal::room`]. Any other poisons the log.
    pub fn run(self) -> Result<(), WalError> {
        self.stock.work()
    }
}
