//! The keyspace as simple as can be, to compare with.

use std::collections::BTreeMap;

use base::{Db, Timestamp};

use crate::{Encoding, Entry, Expiry, Keyspace};

/// What a key holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Value {
    pub(super) bytes: Vec<u8>,
    pub(super) encoding: Encoding,
    pub(super) expires_at: Option<Timestamp>,
}

impl Value {
    fn of(entry: Entry<'_>) -> Value {
        Value {
            bytes: entry.string().to_vec(),
            encoding: entry.encoding(),
            expires_at: entry.expires_at(),
        }
    }
}

/// A keyspace in an ordered map.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Model {
    pub(super) map: BTreeMap<(Db, Vec<u8>), Value>,
    pub(super) stamp: Timestamp,
}

impl Model {
    /// What a keyspace shows of itself before `now`, the beginning of time.
    pub(super) fn of(keyspace: &Keyspace) -> Model {
        let mut map = BTreeMap::new();
        for db in Db::all() {
            keyspace.for_each(db, Timestamp::ZERO, &mut |entry| {
                let old = map.insert((db, entry.key().to_vec()), Value::of(entry));
                assert!(old.is_none(), "a walk visits each key once");
            });
        }
        Model {
            map,
            stamp: keyspace.stamp(),
        }
    }

    pub(super) fn get(&self, db: Db, key: &[u8]) -> Option<&Value> {
        self.map
            .get(&(db, key.to_vec()))
            .filter(|value| self.is_live(value))
    }

    pub(super) fn is_live(&self, value: &Value) -> bool {
        value.expires_at.is_none_or(|at| at > self.stamp)
    }

    fn drop_expired(&mut self, db: Db, key: &[u8]) {
        if self.get(db, key).is_none() {
            self.map.remove(&(db, key.to_vec()));
        }
    }

    fn put(&mut self, db: Db, key: &[u8], value: Value) {
        if self.is_live(&value) {
            self.map.insert((db, key.to_vec()), value);
        } else {
            self.map.remove(&(db, key.to_vec()));
        }
    }

    pub(super) fn set(&mut self, db: Db, key: &[u8], value: &[u8], expiry: Expiry) {
        let expires_at = match expiry {
            Expiry::Clear => None,
            Expiry::At(at) => Some(at),
            Expiry::Keep => self.get(db, key).and_then(|value| value.expires_at),
        };
        let encoding = Encoding::of(value);
        self.put(
            db,
            key,
            Value {
                bytes: value.to_vec(),
                encoding,
                expires_at,
            },
        );
    }

    pub(super) fn append(&mut self, db: Db, key: &[u8], tail: &[u8]) -> usize {
        match self.get(db, key).cloned() {
            Some(mut value) => {
                value.bytes.extend_from_slice(tail);
                value.encoding = Encoding::Raw;
                let len = value.bytes.len();
                self.put(db, key, value);
                len
            }
            None => {
                self.set(db, key, tail, Expiry::Clear);
                tail.len()
            }
        }
    }

    pub(super) fn set_range(&mut self, db: Db, key: &[u8], offset: usize, bytes: &[u8]) -> usize {
        self.drop_expired(db, key);
        let found = self.get(db, key).cloned();
        if bytes.is_empty() {
            return found.map_or(0, |value| value.bytes.len());
        }
        let mut value = found.unwrap_or_else(|| Value {
            bytes: Vec::new(),
            encoding: Encoding::Raw,
            expires_at: None,
        });
        let end = offset + bytes.len();
        value.bytes.resize(value.bytes.len().max(end), 0);
        value.bytes[offset..end].copy_from_slice(bytes);
        value.encoding = Encoding::Raw;
        let len = value.bytes.len();
        self.put(db, key, value);
        len
    }

    pub(super) fn remove(&mut self, db: Db, key: &[u8]) -> bool {
        let was_there = self.get(db, key).is_some();
        self.map.remove(&(db, key.to_vec()));
        was_there
    }

    pub(super) fn set_expiry(&mut self, db: Db, key: &[u8], at: Option<Timestamp>) -> bool {
        self.drop_expired(db, key);
        let Some(mut value) = self.get(db, key).cloned() else {
            return false;
        };
        value.expires_at = at;
        self.put(db, key, value);
        true
    }

    pub(super) fn rename(&mut self, db: Db, from: &[u8], to: &[u8]) -> bool {
        self.copy(db, from, db, to) && (from == to || self.remove(db, from))
    }

    pub(super) fn copy(&mut self, from_db: Db, from: &[u8], to_db: Db, to: &[u8]) -> bool {
        self.drop_expired(from_db, from);
        let Some(value) = self.get(from_db, from).cloned() else {
            return false;
        };
        self.put(to_db, to, value);
        true
    }

    pub(super) fn flush_db(&mut self, db: Db) {
        self.map.retain(|(of, _), _| *of != db);
    }

    pub(super) fn flush_all(&mut self) {
        self.map.clear();
    }

    /// The keys that a sweep removes, in its order.
    pub(super) fn sweep(&mut self, limit: usize, seed: u64) -> usize {
        let hasher = crate::hash::Hasher { seed };
        let mut due: Vec<_> = self
            .map
            .iter()
            .filter(|(_, value)| !self.is_live(value))
            .map(|((db, key), value)| {
                let place = hasher.place(key);
                (value.expires_at, place.slot, *db, place.hash, key.clone())
            })
            .collect();
        due.sort();
        due.truncate(limit);
        for (_, _, db, _, key) in &due {
            self.map.remove(&(*db, key.clone()));
        }
        due.len()
    }

    /// Asserts that a keyspace shows just this.
    pub(super) fn assert_shown_by(&self, keyspace: &Keyspace) {
        keyspace.check();
        assert_eq!(&Model::of(keyspace), self);
        for db in Db::all() {
            let of_db = || self.map.iter().filter(|((of, _), _)| *of == db);
            let expiring = of_db()
                .filter(|(_, value)| value.expires_at.is_some())
                .count();
            assert_eq!(keyspace.len(db), of_db().count());
            assert_eq!(keyspace.expiring_len(db), expiring);
        }
        let expiries = self.map.values().filter_map(|value| value.expires_at);
        let earliest = expiries.filter(|at| at.millis() < 1 << 44).min();
        assert_eq!(keyspace.next_expiry(), earliest);
    }
}
