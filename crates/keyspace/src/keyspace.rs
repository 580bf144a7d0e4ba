//! The keyspace and how it is read.

use base::{Db, Slot, Timestamp};

use crate::database::Database;
use crate::entry::{Entry, Item};
use crate::hasher::Hasher;
use crate::limits::Limits;
use crate::notices::Notices;
use crate::snapshot::Snapshot;
use crate::versions::Versions;

/// All slots and databases of a shard; see the crate.
pub struct Keyspace {
    pub(crate) hasher: Hasher,
    pub(crate) stamp: Timestamp,
    pub(crate) databases: [Database; Db::COUNT],
    /// The number of the last snapshot, modulo 256. Entries that it has written, or that are newer,
    /// carry it.
    pub(crate) epoch: u8,
    /// How many numbers of snapshots entries may carry beside `epoch`.
    pub(crate) stale_epochs: u8,
    pub(crate) snapshot: Option<Box<Snapshot>>,
    /// Flushed databases that a snapshot has kept and needs no more; each new stamp frees a bit.
    pub(crate) leftovers: Vec<Database>,
    /// Large values that were removed, for [`Keyspace::take_discarded`].
    pub(crate) discarded: Vec<Item>,
    pub(crate) limits: Limits,
    pub(crate) versions: Versions,
    /// Not part of the state.
    pub(crate) notices: Notices,
}

/// What was removed and is large. Dropping it frees the memory, which takes long where much was there; it
/// may be sent to another thread for that.
#[derive(Default)]
pub struct Discarded {
    pub(crate) _databases: Vec<Database>,
    pub(crate) _values: Vec<Item>,
}

impl Discarded {
    /// Takes over what another one holds.
    pub fn join(&mut self, other: Discarded) {
        let Discarded {
            _databases,
            _values,
        } = other;
        self._databases.extend(_databases);
        self._values.extend(_values);
    }
}

const _: () = {
    const fn is_send_and_sync<T: Send + Sync>() {}
    is_send_and_sync::<Keyspace>();
    is_send_and_sync::<Discarded>();
    is_send_and_sync::<Entry<'_>>();
};

/// A SCAN cursor is a slot and this many of the first bits of a hash. All in all it has 53 bits, for
/// some clients keep cursors in a double.
const CURSOR_HASH_BITS: u32 = 39;

/// After this many draws of expired keys, [`Keyspace::random`] takes the next live one.
const RANDOM_DRAWS: u64 = 64;

impl Keyspace {
    /// An empty keyspace. The seed decides the order of its walks and stands in its snapshots; keys
    /// that collide cannot be made without knowing it.
    pub fn new(hash_seed: u64) -> Keyspace {
        Keyspace {
            hasher: Hasher { seed: hash_seed },
            stamp: Timestamp::ZERO,
            databases: std::array::from_fn(|_| Database::default()),
            epoch: 0,
            stale_epochs: 0,
            snapshot: None,
            leftovers: Vec::new(),
            discarded: Vec::new(),
            limits: Limits::default(),
            versions: Versions::default(),
            notices: Notices::default(),
        }
    }

    /// The stamp of the last applied entry. Part of the state.
    pub fn stamp(&self) -> Timestamp {
        self.stamp
    }

    /// Sets the stamp by which the following writes are judged.
    ///
    /// # Panics
    /// If it would go back.
    pub fn set_stamp(&mut self, stamp: Timestamp) {
        assert!(stamp >= self.stamp, "the stamp of a shard never goes back");
        self.stamp = stamp;
        // Nobody has taken them: then whoever writes on frees them.
        self.discarded.clear();
        if let Some(database) = self.leftovers.last_mut()
            && !database.free_some(&mut self.discarded)
        {
            self.leftovers.pop();
        }
    }

    /// The large values that were removed since the last call, for the caller to drop where that
    /// delays nobody. What is not taken is dropped at the next stamp.
    pub fn take_discarded(&mut self) -> Option<Discarded> {
        (!self.discarded.is_empty()).then(|| Discarded {
            _databases: Vec::new(),
            _values: std::mem::take(&mut self.discarded),
        })
    }

    pub(crate) fn database(&self, db: Db) -> &Database {
        &self.databases[usize::from(db.number())]
    }

    pub(crate) fn database_mut(&mut self, db: Db) -> &mut Database {
        &mut self.databases[usize::from(db.number())]
    }

    /// The entry of a key, unless it expires at or before `now`.
    pub fn get(&self, db: Db, key: &[u8], now: Timestamp) -> Option<Entry<'_>> {
        let entry = self
            .database(db)
            .get(self.hasher, self.hasher.place(key), key)?;
        entry.is_live(now).then_some(entry)
    }

    /// The entry of a key at the stamp.
    pub fn entry(&self, db: Db, key: &[u8]) -> Option<Entry<'_>> {
        self.get(db, key, self.stamp)
    }

    /// Whether the stamp tells of every key of a database whether it has expired by `now`. What has not
    /// expired by the stamp but has by then is gone or not as the next entry's stamp will say, and until
    /// then nobody may be told either. May say no where the stamp does tell.
    pub fn is_settled(&self, db: Db, now: Timestamp) -> bool {
        let earliest = self.database(db).earliest();
        now <= self.stamp || earliest.is_none_or(|expires_at| expires_at > now)
    }

    /// The same of one key, exactly.
    pub fn is_key_settled(&self, db: Db, key: &[u8], now: Timestamp) -> bool {
        self.is_settled(db, now) || self.entry(db, key).is_none_or(|entry| entry.is_live(now))
    }

    /// The SCAN cursor from which a walk visits that slot and what comes after it.
    pub const fn cursor_at(slot: Slot) -> u64 {
        (slot.index() as u64) << CURSOR_HASH_BITS
    }

    /// The slot in which a SCAN cursor goes on; `None` for one that no walk gives.
    pub const fn slot_of_cursor(cursor: u64) -> Option<Slot> {
        let slot = cursor >> CURSOR_HASH_BITS;
        if slot < Slot::COUNT as u64 {
            Some(Slot::new(slot as u16))
        } else {
            None
        }
    }

    /// Visits about `count` entries of a database from a cursor on, and gives the cursor to go on from; 0
    /// stands for the start and for the end. Entries that were there from the first call to the last are
    /// visited exactly once if none has been renamed; the walk is in the order of (slot, hash), which
    /// no growth changes. Expired entries are passed over but count as work.
    pub fn scan(
        &self,
        db: Db,
        cursor: u64,
        count: usize,
        now: Timestamp,
        visit: &mut dyn FnMut(Entry<'_>),
    ) -> u64 {
        let Some(start) = Keyspace::slot_of_cursor(cursor) else {
            return 0;
        };
        let mut low = cursor << (u64::BITS - CURSOR_HASH_BITS);
        let mut work = 0;
        let mut last = None;
        for (slot, table) in self.database(db).slots_from(start.index()) {
            if slot != start {
                low = 0;
            }
            for (_, item) in table.table.range(self.hasher, low, u64::MAX) {
                let entry = item.occupied();
                let hash = self.hasher.hash(entry.key());
                let position = Keyspace::cursor_at(slot) | hash >> (u64::BITS - CURSOR_HASH_BITS);
                // Entries that share a position share a call, or a cursor could not tell them apart.
                if work >= count.max(1) && last != Some(position) {
                    return position;
                }
                work += 1;
                last = Some(position);
                if entry.is_live(now) {
                    visit(entry);
                }
            }
        }
        0
    }

    /// Visits every entry of a database, in the order of (slot, hash).
    pub fn for_each(&self, db: Db, now: Timestamp, visit: &mut dyn FnMut(Entry<'_>)) {
        for (_, table) in self.database(db).slots_from(0) {
            table
                .table
                .iter()
                .map(Item::occupied)
                .filter(|entry| entry.is_live(now))
                .for_each(&mut *visit);
        }
    }

    /// An entry of a database, each with the same chance for a uniform `random`; none only if the
    /// database has no live key. Where most keys have expired, live ones behind long runs of
    /// expired ones have a greater chance.
    pub fn random(&self, db: Db, random: u64, now: Timestamp) -> Option<Entry<'_>> {
        let database = self.database(db);
        let keys = database.len() as u64;
        let mut last = None;
        for draw in 0..RANDOM_DRAWS.min(keys) {
            let index = (u128::from(mixed(random.wrapping_add(draw))) * u128::from(keys)) >> 64;
            let (slot, entry) = database.nth(index as usize)?;
            if entry.is_live(now) {
                return Some(entry);
            }
            last = Some((slot, self.hasher.hash(entry.key())));
        }
        let (start, hash) = last?;
        let after = database
            .slots_from(start.index())
            .flat_map(|(slot, table)| {
                let low = if slot == start { hash } else { 0 };
                table.table.range(self.hasher, low, u64::MAX)
            });
        let before = database
            .slots_from(0)
            .take_while(|(slot, _)| *slot <= start);
        let before = before.flat_map(|(_, table)| table.table.range(self.hasher, 0, u64::MAX));
        after
            .chain(before)
            .map(|(_, item)| item.occupied())
            .find(|entry| entry.is_live(now))
    }

    /// The number of keys, with those that have expired and wait for the sweep.
    pub fn len(&self, db: Db) -> usize {
        self.database(db).len()
    }

    /// How many of them have an expiry.
    pub fn expiring_len(&self, db: Db) -> usize {
        self.database(db).expiring_len()
    }

    /// The memory in use, in bytes, by the allocator's size classes. Not part of the state: it depends on
    /// how tables and strings came to their size.
    pub fn memory_used(&self) -> usize {
        let databases = self.databases.iter().chain(&self.leftovers);
        size_of::<Keyspace>()
            + databases.map(Database::memory_used).sum::<usize>()
            + self
                .snapshot
                .as_ref()
                .map_or(0, |snapshot| snapshot.memory_used())
    }

    /// The earliest `expires_at` among all keys, leaving out those that no sweep will remove.
    pub fn next_expiry(&self) -> Option<Timestamp> {
        self.databases.iter().filter_map(Database::earliest).min()
    }

    /// Asserts that all parts agree with each other.
    #[cfg(test)]
    pub(crate) fn check(&self) {
        for database in &self.databases {
            database.check(self.hasher);
        }
    }
}

/// SplitMix64's finalizer.
fn mixed(value: u64) -> u64 {
    let value = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let value = (value ^ value >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ value >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ value >> 31
}
