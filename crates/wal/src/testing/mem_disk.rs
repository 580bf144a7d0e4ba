//! A disk in memory.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use crate::{Disk, DiskFile};

/// What a disk writes as a whole or not at all.
const SECTOR_BYTES: usize = 512;

/// A disk in memory. It knows what was synced, file by file and folder by folder, and
/// [`MemDisk::crash`] takes back what was not, as a power cut may.
#[derive(Debug, Default)]
pub struct MemDisk {
    state: Arc<Mutex<State>>,
}

/// An open file of a [`MemDisk`]. It belongs to the process that a crash ends: use of it after
/// [`MemDisk::crash`] fails.
#[derive(Debug)]
pub struct MemFile {
    state: Arc<Mutex<State>>,
    inode: usize,
    /// The number of crashes before it was opened.
    boot: u64,
}

/// The operations that can be made to fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Operation {
    /// Creating a file.
    Create,
    /// Writing to a file, or changing its length.
    Write,
    /// Syncing a file or a folder.
    Sync,
    /// Reading from a file.
    Read,
    /// Renaming or removing a file.
    Name,
}

/// A failure to come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Of which operation.
    pub operation: Operation,
    /// How many of them succeed before.
    pub after: u64,
    /// As what it shows. A write that fails as full or otherwise has written nothing. A sync that
    /// fails has lost what was pending: it can be read, yet a later sync does not make it durable.
    pub kind: io::ErrorKind,
}

#[derive(Clone, Debug, Default)]
struct State {
    inodes: Vec<Inode>,
    /// What the names stand for now, and durably.
    names: BTreeMap<PathBuf, usize>,
    durable_names: BTreeMap<PathBuf, usize>,
    /// Changes of names that are not durable, oldest first; each takes effect as a whole.
    pending_names: Vec<Vec<(PathBuf, Option<usize>)>>,
    dirs: BTreeSet<PathBuf>,
    faults: Vec<Fault>,
    /// Room for growth of files; without a limit if `None`.
    free_bytes: Option<u64>,
    boot: u64,
    counts: BTreeMap<Operation, u64>,
}

#[derive(Clone, Debug, Default)]
struct Inode {
    now: Vec<u8>,
    durable: Vec<u8>,
    /// Sectors written since the last sync.
    dirty: BTreeSet<usize>,
}

impl MemDisk {
    /// An empty disk.
    pub fn new() -> MemDisk {
        MemDisk::default()
    }

    /// An equal disk of its own.
    pub fn duplicate(&self) -> MemDisk {
        MemDisk {
            state: Arc::new(Mutex::new(self.lock().clone())),
        }
    }

    /// Cuts the power. Of what was not synced, each sector and each change of a name is kept or lost
    /// as the seed will have it; files that are open are useless from now on. Pending faults are gone.
    pub fn crash(&self, seed: u64) {
        let mut random = SplitMix(seed);
        let state = &mut *self.lock();
        state.boot += 1;
        state.faults.clear();
        // One in four crashes keeps everything or nothing.
        let odds = match random.next() % 8 {
            0 => 0,
            1 => 100,
            other => other * 14,
        };
        for inode in &mut state.inodes {
            inode.settle(|| random.next() % 100 < odds);
        }
        for change in std::mem::take(&mut state.pending_names) {
            if random.next() % 100 < odds {
                for (path, inode) in change {
                    set_name(&mut state.durable_names, path, inode);
                }
            }
        }
        state.names = state.durable_names.clone();
    }

    /// Ends the process, but not the machine: nothing is lost, yet nothing becomes durable.
    pub fn kill(&self) {
        let state = &mut *self.lock();
        state.boot += 1;
        state.faults.clear();
    }

    /// Lets an operation fail.
    pub fn inject(&self, fault: Fault) {
        self.lock().faults.push(fault);
    }

    /// Failures that were to come do not.
    pub fn clear_faults(&self) {
        self.lock().faults.clear();
    }

    /// How many bytes files may still grow by; `None` for as many as they like.
    pub fn set_free_bytes(&self, free: Option<u64>) {
        self.lock().free_bytes = free;
    }

    /// How many operations of a kind there were.
    pub fn count(&self, operation: Operation) -> u64 {
        self.lock().counts.get(&operation).copied().unwrap_or(0)
    }

    /// The contents of a file.
    ///
    /// # Panics
    /// If there is none of that name; so do the following.
    pub fn contents(&self, path: &Path) -> Vec<u8> {
        let state = self.lock();
        state.inodes[state.names[path]].now.clone()
    }

    /// Replaces the contents of a file, durably.
    pub fn set_contents(&self, path: &Path, bytes: &[u8]) {
        let mut state = self.lock();
        let number = state.names[path];
        let inode = &mut state.inodes[number];
        inode.now = bytes.to_vec();
        inode.durable = bytes.to_vec();
        inode.dirty.clear();
    }

    /// Makes a file with these contents, durably.
    pub fn put(&self, path: &Path, bytes: &[u8]) {
        let mut state = self.lock();
        let inode = state.inodes.len();
        let bytes = bytes.to_vec();
        state.inodes.push(Inode {
            now: bytes.clone(),
            durable: bytes,
            dirty: BTreeSet::new(),
        });
        state.names.insert(path.to_owned(), inode);
        state.durable_names.insert(path.to_owned(), inode);
    }

    /// Inverts the bits of `mask` in a byte of a file, durably, as rot does.
    pub fn flip(&self, path: &Path, offset: usize, mask: u8) {
        let mut state = self.lock();
        let number = state.names[path];
        let inode = &mut state.inodes[number];
        inode.now[offset] ^= mask;
        if let Some(byte) = inode.durable.get_mut(offset) {
            *byte ^= mask;
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nobody panics while holding it")
    }
}

impl Inode {
    /// Keeps what is durable and the dirty sectors that `keep` chooses.
    fn settle(&mut self, mut keep: impl FnMut() -> bool) {
        let mut settled = self.durable.clone();
        if self.now.len() != settled.len() && keep() {
            settled.resize(self.now.len(), 0);
        }
        for sector in std::mem::take(&mut self.dirty) {
            let from = sector * SECTOR_BYTES;
            let to = (from + SECTOR_BYTES).min(self.now.len()).min(settled.len());
            if from < to && keep() {
                settled[from..to].copy_from_slice(&self.now[from..to]);
            }
        }
        self.now = settled.clone();
        self.durable = settled;
    }
}

impl State {
    fn begin(&mut self, operation: Operation) -> io::Result<()> {
        *self.counts.entry(operation).or_default() += 1;
        let mut failure = None;
        self.faults.retain_mut(|fault| {
            if fault.operation != operation || failure.is_some() {
                return true;
            }
            if fault.after > 0 {
                fault.after -= 1;
                return true;
            }
            failure = Some(fault.kind);
            false
        });
        failure.map_or(Ok(()), |kind| Err(kind.into()))
    }

    fn change_names(&mut self, change: Vec<(PathBuf, Option<usize>)>) {
        for (path, inode) in &change {
            set_name(&mut self.names, path.clone(), *inode);
        }
        self.pending_names.push(change);
    }

    fn grow(&mut self, inode: usize, length: usize) -> io::Result<()> {
        let before = self.inodes[inode].now.len();
        let growth = length.saturating_sub(before) as u64;
        if let Some(free) = &mut self.free_bytes {
            *free = free.checked_sub(growth).ok_or(io::ErrorKind::StorageFull)?;
        }
        Ok(())
    }
}

fn set_name(names: &mut BTreeMap<PathBuf, usize>, path: PathBuf, inode: Option<usize>) {
    match inode {
        Some(inode) => names.insert(path, inode),
        None => names.remove(&path),
    };
}

fn found(state: &State, path: &Path) -> io::Result<usize> {
    state
        .names
        .get(path)
        .copied()
        .ok_or_else(|| io::ErrorKind::NotFound.into())
}

impl Disk for MemDisk {
    type File = MemFile;

    fn open(&self, path: &Path) -> io::Result<MemFile> {
        let state = self.lock();
        let inode = found(&state, path)?;
        Ok(MemFile {
            state: Arc::clone(&self.state),
            inode,
            boot: state.boot,
        })
    }

    fn create(&self, path: &Path) -> io::Result<MemFile> {
        let mut state = self.lock();
        state.begin(Operation::Create)?;
        let inode = state.inodes.len();
        state.inodes.push(Inode::default());
        state.change_names(vec![(path.to_owned(), Some(inode))]);
        Ok(MemFile {
            state: Arc::clone(&self.state),
            inode,
            boot: state.boot,
        })
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.lock();
        state.begin(Operation::Name)?;
        let inode = found(&state, from)?;
        state.change_names(vec![(from.to_owned(), None), (to.to_owned(), Some(inode))]);
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut state = self.lock();
        state.begin(Operation::Name)?;
        let inode = found(&state, path)?;
        let length = state.inodes[inode].now.len() as u64;
        if let Some(free) = &mut state.free_bytes {
            *free += length;
        }
        state.change_names(vec![(path.to_owned(), None)]);
        Ok(())
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let state = self.lock();
        let inside = state.names.keys().filter(|path| path.parent() == Some(dir));
        Ok(inside
            .filter_map(|path| path.file_name()?.to_str().map(str::to_owned))
            .collect())
    }

    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        self.lock().dirs.insert(dir.to_owned());
        Ok(())
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let mut state = self.lock();
        state.begin(Operation::Sync)?;
        let (settled, pending) = std::mem::take(&mut state.pending_names)
            .into_iter()
            .partition::<Vec<_>, _>(|change| change[0].0.parent() == Some(dir));
        state.pending_names = pending;
        for (path, inode) in settled.into_iter().flatten() {
            set_name(&mut state.durable_names, path, inode);
        }
        Ok(())
    }
}

impl MemFile {
    fn lock(&self) -> io::Result<MutexGuard<'_, State>> {
        let state = self.state.lock().expect("nobody panics while holding it");
        if state.boot == self.boot {
            Ok(state)
        } else {
            Err(io::Error::other(
                "the process that opened this file is dead",
            ))
        }
    }
}

impl DiskFile for MemFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut state = self.lock()?;
        state.begin(Operation::Read)?;
        let bytes = &state.inodes[self.inode].now;
        let from = usize::try_from(offset)
            .unwrap_or(usize::MAX)
            .min(bytes.len());
        let count = buffer.len().min(bytes.len() - from);
        buffer[..count].copy_from_slice(&bytes[from..from + count]);
        Ok(count)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let mut state = self.lock()?;
        state.begin(Operation::Write)?;
        let from = offset as usize;
        let to = from + bytes.len();
        state.grow(self.inode, to)?;
        let inode = &mut state.inodes[self.inode];
        if inode.now.len() < to {
            inode.now.resize(to, 0);
        }
        inode.now[from..to].copy_from_slice(bytes);
        inode
            .dirty
            .extend(from / SECTOR_BYTES..to.div_ceil(SECTOR_BYTES));
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = self.lock()?;
        let result = state.begin(Operation::Sync);
        let inode = &mut state.inodes[self.inode];
        let dirty = std::mem::take(&mut inode.dirty);
        result?;
        inode.durable.resize(inode.now.len(), 0);
        for sector in dirty {
            let from = sector * SECTOR_BYTES;
            let to = (from + SECTOR_BYTES).min(inode.now.len());
            if from < to {
                inode.durable[from..to].copy_from_slice(&inode.now[from..to]);
            }
        }
        Ok(())
    }

    fn length(&self) -> io::Result<u64> {
        let state = self.lock()?;
        Ok(state.inodes[self.inode].now.len() as u64)
    }

    fn set_length(&self, length: u64) -> io::Result<()> {
        let mut state = self.lock()?;
        state.begin(Operation::Write)?;
        state.grow(self.inode, length as usize)?;
        state.inodes[self.inode].now.resize(length as usize, 0);
        Ok(())
    }
}

/// Sebastiano Vigna's generator: enough to choose what is lost.
struct SplitMix(u64);

impl SplitMix {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}
