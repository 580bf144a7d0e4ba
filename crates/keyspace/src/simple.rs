//! A first form on an ordered map.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use base::{Db, Timestamp};

/// What a key holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A string of bytes.
    String,
}

/// What a write does to the expiry of its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expiry {
    /// The key does not expire.
    Clear,
    /// The key expires when it would have; a new one does not.
    Keep,
    /// The key expires at that moment. At or before the stamp, it is gone at once.
    At(Timestamp),
}

/// How a string is kept, as `OBJECT ENCODING` of Redis 7 tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Encoding {
    /// The canonical decimal form of an `i64`.
    Int,
    /// At most 44 bytes.
    Embstr,
    /// Longer, or changed in place by APPEND or SETRANGE.
    Raw,
}

impl Encoding {
    fn of(value: &[u8]) -> Encoding {
        let integer = value.len() <= 20
            && std::str::from_utf8(value)
                .ok()
                .and_then(|text| text.parse::<i64>().ok())
                .is_some_and(|number| number.to_string().as_bytes() == value);
        if integer {
            Encoding::Int
        } else if value.len() <= 44 {
            Encoding::Embstr
        } else {
            Encoding::Raw
        }
    }
}

struct Stored {
    value: Vec<u8>,
    encoding: Encoding,
    expires_at: Option<Timestamp>,
    accessed: AtomicU32,
}

/// A key and what it holds.
#[derive(Clone, Copy)]
pub struct Entry<'k> {
    key: &'k [u8],
    stored: &'k Stored,
}

impl<'k> Entry<'k> {
    /// The key.
    pub fn key(&self) -> &'k [u8] {
        self.key
    }

    /// What the key holds.
    pub fn kind(&self) -> Kind {
        Kind::String
    }

    /// The bytes of a string.
    pub fn string(&self) -> &'k [u8] {
        &self.stored.value
    }

    /// How the value is kept.
    pub fn encoding(&self) -> Encoding {
        self.stored.encoding
    }

    /// When the key expires.
    pub fn expires_at(&self) -> Option<Timestamp> {
        self.stored.expires_at
    }

    /// The memory that the entry takes.
    pub fn memory_bytes(&self) -> usize {
        self.key.len() + self.stored.value.len() + 32
    }

    /// Notes an access; not part of the state.
    pub fn touch(&self, now: Timestamp) {
        self.stored.accessed.store(now.seconds() as u32, Relaxed);
    }

    /// The last access noted, in whole seconds.
    pub fn accessed_at(&self) -> Timestamp {
        Timestamp::from_millis(u64::from(self.stored.accessed.load(Relaxed)) * 1000)
    }
}

type Map = BTreeMap<(Db, Vec<u8>), Stored>;

/// What a flush removed; dropping it frees the memory.
pub struct Discarded {
    _map: Map,
}

/// All databases of all slots.
pub struct Keyspace {
    map: Map,
    stamp: Timestamp,
    hash_seed: u64,
    snapshot: Option<Vec<u8>>,
}

impl Keyspace {
    /// An empty keyspace.
    pub fn new(hash_seed: u64) -> Keyspace {
        Keyspace {
            map: Map::new(),
            stamp: Timestamp::ZERO,
            hash_seed,
            snapshot: None,
        }
    }

    /// The stamp of the last applied entry.
    pub fn stamp(&self) -> Timestamp {
        self.stamp
    }

    /// Sets the stamp.
    ///
    /// # Panics
    /// If it would go back.
    pub fn set_stamp(&mut self, stamp: Timestamp) {
        assert!(stamp >= self.stamp, "the stamp of a shard never goes back");
        self.stamp = stamp;
    }

    /// The entry of a key, unless it expired at or before `now`.
    pub fn get(&self, db: Db, key: &[u8], now: Timestamp) -> Option<Entry<'_>> {
        let (found, stored) = self.map.get_key_value(&(db, key.to_vec()))?;
        live(stored, now).then_some(Entry {
            key: &found.1,
            stored,
        })
    }

    /// The entry of a key at the stamp.
    pub fn entry(&self, db: Db, key: &[u8]) -> Option<Entry<'_>> {
        self.get(db, key, self.stamp)
    }

    /// Visits a part of the keys of a database and tells where to go on; 0 is start and end.
    pub fn scan(
        &self,
        db: Db,
        _cursor: u64,
        _count: usize,
        now: Timestamp,
        visit: &mut dyn FnMut(Entry<'_>),
    ) -> u64 {
        self.for_each(db, now, visit);
        0
    }

    /// Visits every entry of a database.
    pub fn for_each(&self, db: Db, now: Timestamp, visit: &mut dyn FnMut(Entry<'_>)) {
        for ((of, key), stored) in &self.map {
            if *of == db && live(stored, now) {
                visit(Entry { key, stored });
            }
        }
    }

    /// Some entry of a database.
    pub fn random(&self, db: Db, random: u64, now: Timestamp) -> Option<Entry<'_>> {
        let all = || {
            self.map
                .iter()
                .filter(|((of, _), stored)| *of == db && live(stored, now))
        };
        let count = all().count();
        let index = random.checked_rem(count as u64)?;
        all()
            .nth(index as usize)
            .map(|((_, key), stored)| Entry { key, stored })
    }

    /// The keys of a database, with those that expired and were not swept yet.
    pub fn len(&self, db: Db) -> usize {
        self.map.keys().filter(|(of, _)| *of == db).count()
    }

    /// How many of them have an expiry.
    pub fn expiring_len(&self, db: Db) -> usize {
        self.map
            .iter()
            .filter(|((of, _), stored)| *of == db && stored.expires_at.is_some())
            .count()
    }

    /// The memory in use, in bytes.
    pub fn memory_used(&self) -> usize {
        self.map
            .iter()
            .map(|((_, key), stored)| key.len() + stored.value.len() + 32)
            .sum()
    }

    fn put(&mut self, db: Db, key: &[u8], value: Vec<u8>, encoding: Encoding, expiry: Expiry) {
        let expires_at = match expiry {
            Expiry::Clear => None,
            Expiry::At(at) => Some(at),
            Expiry::Keep => self.entry(db, key).and_then(|entry| entry.expires_at()),
        };
        let accessed = AtomicU32::new(self.stamp.seconds() as u32);
        let stored = Stored {
            value,
            encoding,
            expires_at,
            accessed,
        };
        if live(&stored, self.stamp) {
            self.map.insert((db, key.to_vec()), stored);
        } else {
            self.map.remove(&(db, key.to_vec()));
        }
    }

    /// Sets a key to a string.
    pub fn set(&mut self, db: Db, key: &[u8], value: &[u8], expiry: Expiry) {
        self.put(db, key, value.to_vec(), Encoding::of(value), expiry);
    }

    /// Appends to a string, which an absent key makes; its new length.
    pub fn append(&mut self, db: Db, key: &[u8], tail: &[u8]) -> usize {
        let offset = self.entry(db, key).map_or(0, |entry| entry.string().len());
        match self.entry(db, key) {
            None => {
                self.set(db, key, tail, Expiry::Clear);
                tail.len()
            }
            Some(_) => self.set_range(db, key, offset, tail),
        }
    }

    /// Writes over a part of a string, padding with zero bytes; its new length.
    pub fn set_range(&mut self, db: Db, key: &[u8], offset: usize, bytes: &[u8]) -> usize {
        let mut value = self
            .entry(db, key)
            .map_or_else(Vec::new, |entry| entry.string().to_vec());
        if value.len() < offset + bytes.len() {
            value.resize(offset + bytes.len(), 0);
        }
        value[offset..offset + bytes.len()].copy_from_slice(bytes);
        let len = value.len();
        self.put(db, key, value, Encoding::Raw, Expiry::Keep);
        len
    }

    /// Removes a key; false if it was absent.
    pub fn remove(&mut self, db: Db, key: &[u8]) -> bool {
        self.map
            .remove(&(db, key.to_vec()))
            .is_some_and(|stored| live(&stored, self.stamp))
    }

    /// Sets or clears the expiry; false if the key is absent.
    pub fn set_expiry(&mut self, db: Db, key: &[u8], expires_at: Option<Timestamp>) -> bool {
        if self.entry(db, key).is_none() {
            return false;
        }
        if expires_at.is_some_and(|at| at <= self.stamp) {
            return self.remove(db, key);
        }
        if let Some(stored) = self.map.get_mut(&(db, key.to_vec())) {
            stored.expires_at = expires_at;
        }
        true
    }

    /// Renames a key over another one, with its expiry; false if it is absent.
    pub fn rename(&mut self, db: Db, from: &[u8], to: &[u8]) -> bool {
        self.copy(db, from, db, to) && (from == to || self.remove(db, from))
    }

    /// Copies a key over another one, with its expiry; false if it is absent.
    pub fn copy(&mut self, from_db: Db, from: &[u8], to_db: Db, to: &[u8]) -> bool {
        let Some(entry) = self.entry(from_db, from) else {
            return false;
        };
        let (value, encoding) = (entry.string().to_vec(), entry.encoding());
        let expiry = entry.expires_at().map_or(Expiry::Clear, Expiry::At);
        self.put(to_db, to, value, encoding, expiry);
        true
    }

    /// Empties a database.
    pub fn flush_db(&mut self, db: Db) -> Discarded {
        let mut gone = Map::new();
        for (key, stored) in std::mem::take(&mut self.map) {
            let map = if key.0 == db {
                &mut gone
            } else {
                &mut self.map
            };
            map.insert(key, stored);
        }
        Discarded { _map: gone }
    }

    /// Empties all databases.
    pub fn flush_all(&mut self) -> Discarded {
        Discarded {
            _map: std::mem::take(&mut self.map),
        }
    }

    /// Removes at most `limit` keys that expired at or before the stamp; how many it removed.
    pub fn sweep(&mut self, limit: usize) -> usize {
        let mut due: Vec<_> = self
            .map
            .iter()
            .filter(|(_, stored)| !live(stored, self.stamp))
            .map(|(key, stored)| (stored.expires_at, key.clone()))
            .collect();
        due.sort();
        due.truncate(limit);
        for (_, key) in &due {
            self.map.remove(key);
        }
        due.len()
    }

    /// A lower bound of the earliest expiry.
    pub fn next_expiry(&self) -> Option<Timestamp> {
        self.map
            .values()
            .filter_map(|stored| stored.expires_at)
            .min()
    }

    /// Marks this moment for a snapshot.
    ///
    /// # Panics
    /// If one is running.
    pub fn begin_snapshot(&mut self) {
        assert!(self.snapshot.is_none(), "one snapshot at a time");
        let mut out = Vec::new();
        out.extend_from_slice(&self.hash_seed.to_le_bytes());
        out.extend_from_slice(&self.stamp.millis().to_le_bytes());
        for ((db, key), stored) in &self.map {
            out.push(db.number());
            out.push(stored.encoding as u8);
            let at = stored.expires_at.map_or(0, Timestamp::millis);
            for number in [at, key.len() as u64, stored.value.len() as u64] {
                out.extend_from_slice(&number.to_le_bytes());
            }
            out.extend_from_slice(key);
            out.extend_from_slice(&stored.value);
        }
        self.snapshot = Some(out);
    }

    /// Appends a part of the snapshot to `out`; true when it is complete.
    pub fn snapshot_step(&mut self, _budget_bytes: usize, out: &mut Vec<u8>) -> bool {
        out.append(&mut self.snapshot.take().expect("a snapshot runs"));
        true
    }

    /// Ends a running snapshot, if any.
    pub fn abandon_snapshot(&mut self) {
        self.snapshot = None;
    }

    /// Whether a snapshot is running.
    pub fn snapshot_running(&self) -> bool {
        self.snapshot.is_some()
    }
}

fn live(stored: &Stored, now: Timestamp) -> bool {
    stored.expires_at.is_none_or(|at| at > now)
}

/// Why a snapshot was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SnapshotError {
    /// The snapshot ends early.
    #[error("the snapshot ends at byte {offset}, before its end")]
    Truncated {
        /// How many bytes there were.
        offset: u64,
    },
}

/// Builds a keyspace from a snapshot's bytes.
#[derive(Default)]
pub struct SnapshotLoader {
    bytes: Vec<u8>,
}

impl SnapshotLoader {
    /// A loader at the start of a snapshot.
    pub fn new() -> SnapshotLoader {
        SnapshotLoader::default()
    }

    /// Takes the next bytes, cut anywhere.
    ///
    /// # Errors
    /// When they are not those of a snapshot.
    pub fn feed(&mut self, chunk: &[u8]) -> Result<(), SnapshotError> {
        self.bytes.extend_from_slice(chunk);
        Ok(())
    }

    /// The keyspace, once all bytes were fed.
    ///
    /// # Errors
    /// When bytes are missing.
    pub fn finish(self) -> Result<Keyspace, SnapshotError> {
        let truncated = SnapshotError::Truncated {
            offset: self.bytes.len() as u64,
        };
        let mut rest = self.bytes.as_slice();
        let mut take = |count: usize| {
            let (head, tail) = rest.split_at_checked(count)?;
            rest = tail;
            Some(head)
        };
        let number = |bytes: Option<&[u8]>| {
            Some(u64::from_le_bytes(
                bytes?.try_into().expect("eight bytes were taken"),
            ))
        };
        let hash_seed = number(take(8)).ok_or(truncated.clone())?;
        let mut keyspace = Keyspace::new(hash_seed);
        keyspace.stamp = Timestamp::from_millis(number(take(8)).ok_or(truncated.clone())?);
        while let Some(head) = take(2) {
            let db = Db::new(head[0]).map_err(|_| truncated.clone())?;
            let encoding = [Encoding::Int, Encoding::Embstr, Encoding::Raw][usize::from(head[1])];
            let at = number(take(8)).ok_or(truncated.clone())?;
            let key = number(take(8)).ok_or(truncated.clone())? as usize;
            let value = number(take(8)).ok_or(truncated.clone())? as usize;
            let key = take(key).ok_or(truncated.clone())?.to_vec();
            let value = take(value).ok_or(truncated.clone())?.to_vec();
            let expires_at = (at != 0).then(|| Timestamp::from_millis(at));
            let stored = Stored {
                value,
                encoding,
                expires_at,
                accessed: AtomicU32::new(0),
            };
            keyspace.map.insert((db, key), stored);
        }
        Ok(keyspace)
    }
}
