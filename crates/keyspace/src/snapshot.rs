//! Taking a snapshot while writes go on.
//!
//! `begin` gives the snapshot a number, the epoch. Entries carry the epoch of the snapshot that has
//! written them, or in whose course they were made; an entry with another one is what the snapshot
//! lacks. The walk goes through the slots and writes what is lacking. A write to an entry that is
//! lacking hands its old form to the snapshot first: the entry itself where it is replaced or
//! removed, a copy where it changes in place. So a write never pays more than one entry, and no
//! more than the changed part of the data exists twice. A flushed database is set aside whole, and the
//! walk goes on in it.
//!
//! A value made of parts is written piece by piece, over as many steps as it takes. The snapshot has it
//! frozen meanwhile: a copy that shares its parts, of which a write copies the one that it changes.

use std::collections::VecDeque;

use base::{Db, Slot};

use crate::database::Database;
use crate::entry::{Entry, Item};
use crate::hasher::Hasher;
use crate::keyspace::Keyspace;
use crate::memory::size_class;
use crate::object::Progress;
use crate::stream::{
    END, KEPT, PIECE, SLICE_BYTES, SliceHeader, StreamHeader, VERSION, VERSIONS, WALK,
    encode_entry, encode_head,
};
use crate::table::SPLIT_AT;

/// What passing over an entry that need not be written counts against a step's budget.
const PASS_BYTES: usize = 64;

/// A snapshot in the making; see the module.
pub(crate) struct Snapshot {
    epoch: u8,
    /// Until it is written.
    header: Option<StreamHeader>,
    /// As they were at the beginning, encoded; until they are written.
    versions: Vec<u8>,
    crc: u32,
    entries: u64,
    /// The databases that held something at the beginning.
    dbs: Vec<Db>,
    position: Position,
    /// Former entries that were not written yet.
    kept: VecDeque<Kept>,
    /// The memory of those, and of what is being written in pieces.
    kept_bytes: usize,
    aside: Vec<(Db, Database)>,
    /// What is being written in pieces: nothing else is written before it is complete.
    open: Option<(Kept, Progress)>,
    /// Large values that were written, to be freed.
    written: Vec<Item>,
}

/// An entry as it was when the snapshot began.
struct Kept {
    db: Db,
    item: Item,
    /// The memory that it takes; what it shares with the keyspace does not count.
    bytes: usize,
}

/// Where the walk goes on: at a hash, in the table of a slot and one of `dbs`.
#[derive(Clone, Copy, Default)]
struct Position {
    slot: usize,
    db: usize,
    hash: u64,
}

/// A slice being written to the end of a buffer.
struct Slice {
    header: SliceHeader,
    start: usize,
}

impl Slice {
    fn open(kind: u8, db: Db, slot: u16, out: &mut Vec<u8>) -> Slice {
        let start = out.len();
        out.resize(start + SliceHeader::BYTES + size_of::<u32>(), 0);
        Slice {
            header: SliceHeader {
                kind,
                db: db.number(),
                slot,
                count: 0,
                body_bytes: 0,
            },
            start,
        }
    }

    /// Completes a slice that is a piece of an entry, and tells whether it is the last one.
    fn close_piece(mut self, last: bool, crc: &mut u32, out: &mut Vec<u8>) -> u64 {
        self.header.count = u32::from(last);
        self.finish(crc, out)
    }

    fn body_start(&self) -> usize {
        self.start + SliceHeader::BYTES + size_of::<u32>()
    }

    fn body_bytes(&self, out: &[u8]) -> usize {
        out.len() - self.body_start()
    }

    fn push(&mut self, entry: Entry<'_>, out: &mut Vec<u8>) {
        encode_entry(entry, out);
        self.header.count += 1;
    }

    /// Completes the slice; one without entries leaves nothing.
    fn close(self, crc: &mut u32, out: &mut Vec<u8>) -> u64 {
        if self.header.count == 0 {
            out.truncate(self.start);
            return 0;
        }
        self.finish(crc, out)
    }

    fn finish(mut self, crc: &mut u32, out: &mut Vec<u8>) -> u64 {
        let body_bytes = self.body_bytes(out);
        self.header.body_bytes =
            u32::try_from(body_bytes).expect("a slice is at most one key and value above 32 KiB");
        let header = self.header.encode();
        *crc = crc32c::crc32c_append(*crc, &header);
        let body_start = self.body_start();
        out[self.start..self.start + SliceHeader::BYTES].copy_from_slice(&header);
        out[self.start + SliceHeader::BYTES..body_start].copy_from_slice(&crc.to_le_bytes());
        *crc = crc32c::crc32c_append(*crc, &out[body_start..]);
        out.extend_from_slice(&crc.to_le_bytes());
        u64::from(self.header.count)
    }
}

impl Snapshot {
    /// Whether the entry belongs to the snapshot and was not written yet.
    pub(crate) fn lacks(&self, entry: Entry<'_>) -> bool {
        entry.epoch() != self.epoch
    }

    /// Takes over a lacking entry that the keyspace has no more.
    pub(crate) fn keep(&mut self, db: Db, item: Item) {
        let bytes = item.occupied().allocated_bytes();
        self.kept_bytes += bytes;
        self.kept.push_back(Kept { db, item, bytes });
    }

    /// Keeps the former state of a lacking entry that is about to change.
    pub(crate) fn keep_copy(&mut self, db: Db, entry: Entry<'_>) {
        let kept = Kept::copy_of(db, entry);
        self.kept_bytes += kept.bytes;
        self.kept.push_back(kept);
    }

    /// All that the snapshot keeps of the values, to be freed.
    fn into_items(self) -> Vec<Item> {
        let open = self.open.into_iter().map(|(kept, _)| kept);
        let kept = self.kept.into_iter().chain(open).map(|kept| kept.item);
        kept.chain(self.written).collect()
    }

    /// Takes over a flushed database; gives it back if it holds nothing that is lacking.
    pub(crate) fn set_aside(&mut self, db: Db, database: Database) -> Option<Database> {
        let is_aside = self.aside.iter().any(|(aside, _)| *aside == db);
        if is_aside || !self.dbs.contains(&db) || self.position.slot == Slot::COUNT {
            return Some(database);
        }
        self.aside.push((db, database));
        None
    }

    pub(crate) fn memory_used(&self) -> usize {
        let aside = self
            .aside
            .iter()
            .map(|(_, database)| database.memory_used());
        self.kept_bytes + aside.sum::<usize>()
    }

    /// Appends slices until `budget` bytes were written or looked at; true when all is written.
    fn step(
        &mut self,
        databases: &[Database; Db::COUNT],
        hasher: Hasher,
        budget: usize,
        out: &mut Vec<u8>,
    ) -> bool {
        let start = out.len();
        if let Some(header) = self.header.take() {
            let bytes = header.encode();
            self.crc = crc32c::crc32c(&bytes);
            out.extend_from_slice(&bytes);
            out.extend_from_slice(&self.crc.to_le_bytes());
            let slice = Slice::open(VERSIONS, Db::default(), 0, out);
            out.extend_from_slice(&std::mem::take(&mut self.versions));
            slice.finish(&mut self.crc, out);
        }
        let mut passed = 0;
        while self.open.is_some() || !self.kept.is_empty() || self.position.slot < Slot::COUNT {
            if out.len() - start + passed >= budget.max(1) {
                return false;
            }
            if self.open.is_some() {
                self.write_piece(out);
            } else if !self.kept.is_empty() {
                self.write_kept(out);
            } else {
                let room = budget.saturating_sub(out.len() - start + passed);
                passed += self.walk(databases, hasher, room, out);
            }
        }
        let end = SliceHeader::end(self.entries).encode();
        debug_assert_eq!(end[0], END);
        self.crc = crc32c::crc32c_append(self.crc, &end);
        out.extend_from_slice(&end);
        out.extend_from_slice(&self.crc.to_le_bytes());
        true
    }

    fn write_kept(&mut self, out: &mut Vec<u8>) {
        let Some(&Kept { db, .. }) = self.kept.front() else {
            return;
        };
        let mut slice = Slice::open(KEPT, db, 0, out);
        while slice.body_bytes(out) < SLICE_BYTES
            && let Some(kept) = self.kept.pop_front_if(|kept| kept.db == db)
        {
            if has_parts(kept.item.occupied()) {
                self.open = Some((kept, Progress::default()));
                break;
            }
            slice.push(kept.item.occupied(), out);
            self.kept_bytes -= kept.bytes;
        }
        self.entries += slice.close(&mut self.crc, out);
    }

    /// Writes the next piece of what is written in pieces.
    fn write_piece(&mut self, out: &mut Vec<u8>) {
        let Some((kept, progress)) = &mut self.open else {
            return;
        };
        let entry = kept.item.occupied();
        let slice = Slice::open(PIECE, kept.db, 0, out);
        let until = slice.body_start() + SLICE_BYTES;
        if *progress == Progress::default() {
            encode_head(entry, out);
        }
        let object = entry.object().expect("what has parts is an object");
        let next = object.write_piece(*progress, until, out);
        self.entries += slice.close_piece(next.is_none(), &mut self.crc, out);
        match next {
            Some(next) => *progress = next,
            None => {
                self.kept_bytes -= kept.bytes;
                self.written
                    .extend(self.open.take().map(|(kept, _)| kept.item));
            }
        }
    }

    /// Writes at most one slice of the table at the position, and moves on; gives what passing over
    /// entries cost, which may end the slice when it comes to `room`.
    fn walk(
        &mut self,
        databases: &[Database; Db::COUNT],
        hasher: Hasher,
        room: usize,
        out: &mut Vec<u8>,
    ) -> usize {
        let Position { slot, db, hash } = self.position;
        let Some(&db) = self.dbs.get(db) else {
            self.position = Position {
                slot: slot + 1,
                db: 0,
                hash: 0,
            };
            return 0;
        };
        let slot = Slot::new(slot as u16);
        let aside = self.aside.iter_mut().find(|(aside, _)| *aside == db);
        // What stands in a database after its flush is new.
        let database = match &aside {
            Some((_, database)) => database,
            None => &databases[usize::from(db.number())],
        };
        let mut passed = 0;
        let mut rest = None;
        let table = database.slot(slot).filter(|table| table.table.len() > 0);
        if let Some(table) = table {
            let mut slice = Slice::open(WALK, db, slot.number(), out);
            for (_, item) in table.table.range(hasher, hash, u64::MAX) {
                let entry = item.occupied();
                if slice.body_bytes(out) >= SLICE_BYTES || passed > room {
                    rest = Some(hasher.hash(entry.key()));
                    break;
                }
                if entry.epoch() == self.epoch {
                    passed += PASS_BYTES;
                } else if has_parts(entry) {
                    entry.set_epoch(self.epoch);
                    let kept = Kept::copy_of(db, entry);
                    self.kept_bytes += kept.bytes;
                    self.open = Some((kept, Progress::default()));
                    rest = Some(hasher.hash(entry.key()));
                    break;
                } else {
                    slice.push(entry, out);
                    entry.set_epoch(self.epoch);
                }
            }
            self.entries += slice.close(&mut self.crc, out);
        }
        match rest {
            Some(hash) => self.position.hash = hash,
            None => {
                self.position = Position {
                    db: self.position.db + 1,
                    hash: 0,
                    ..self.position
                };
                if let Some((_, database)) = aside
                    && database
                        .slot(slot)
                        .is_some_and(|table| table.table.len() <= SPLIT_AT)
                {
                    database.free_slot(slot, &mut self.written);
                }
            }
        }
        passed
    }
}

impl Kept {
    fn copy_of(db: Db, entry: Entry<'_>) -> Kept {
        let item = Item::copy_of(entry, &entry.head());
        let bytes = if has_parts(entry) {
            size_class(entry.key().len())
        } else {
            item.occupied().allocated_bytes()
        };
        Kept { db, item, bytes }
    }
}

fn has_parts(entry: Entry<'_>) -> bool {
    entry.object().is_some_and(|object| object.has_parts())
}

impl Keyspace {
    /// Marks this moment: the snapshot that the following steps write is of the state as it is now.
    ///
    /// # Panics
    /// If a snapshot is running.
    pub fn begin_snapshot(&mut self) {
        assert!(self.snapshot.is_none(), "one snapshot at a time");
        if self.stale_epochs == u8::MAX {
            // After 255 abandoned snapshots, the next number might stand in an entry already.
            let tables = self
                .databases
                .iter()
                .flat_map(|database| database.slots_from(0));
            tables
                .flat_map(|(_, slot)| slot.table.iter())
                .for_each(|item| item.occupied().set_epoch(self.epoch));
            self.stale_epochs = 0;
        }
        self.epoch = self.epoch.wrapping_add(1);
        self.stale_epochs += 1;
        let mut versions = Vec::new();
        self.versions.encode(&mut versions);
        self.snapshot = Some(Box::new(Snapshot {
            epoch: self.epoch,
            versions,
            header: Some(StreamHeader {
                version: VERSION,
                hash_seed: self.hasher.seed,
                stamp: self.stamp,
            }),
            crc: 0,
            entries: 0,
            dbs: Db::all().filter(|&db| self.len(db) > 0).collect(),
            position: Position::default(),
            kept: VecDeque::new(),
            kept_bytes: 0,
            aside: Vec::new(),
            open: None,
            written: Vec::new(),
        }));
    }

    /// Appends the next part of the snapshot to `out`, about `budget_bytes` of it: the slice that
    /// reaches them (32 KiB, or a key and one element that is longer) is completed. True when the snapshot is complete, and over.
    ///
    /// # Panics
    /// If no snapshot is running.
    pub fn snapshot_step(&mut self, budget_bytes: usize, out: &mut Vec<u8>) -> bool {
        let snapshot = self.snapshot.as_mut().expect("a snapshot is running");
        let complete = snapshot.step(&self.databases, self.hasher, budget_bytes, out);
        self.discarded.append(&mut snapshot.written);
        if !complete {
            return false;
        }
        self.stale_epochs = 0;
        self.abandon_snapshot();
        true
    }

    /// Ends the running snapshot, if there is one.
    pub fn abandon_snapshot(&mut self) {
        if let Some(snapshot) = self.snapshot.take() {
            let mut snapshot = *snapshot;
            let aside = std::mem::take(&mut snapshot.aside);
            self.leftovers
                .extend(aside.into_iter().map(|(_, database)| database));
            self.discarded.extend(snapshot.into_items());
        }
    }

    /// Whether a snapshot was begun and is neither complete nor abandoned.
    pub fn snapshot_running(&self) -> bool {
        self.snapshot.is_some()
    }
}
