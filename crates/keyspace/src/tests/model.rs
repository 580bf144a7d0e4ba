//! The keyspace as simple as can be, to compare with.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use base::{Db, Timestamp};

use super::sorted_sets::members_of;
use super::streams::Simple;
use crate::{Encoding, End, Entry, Expiry, Keyspace, Kind, WrongKind};

/// What a key holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Content {
    String(Vec<u8>),
    Hash(BTreeMap<Vec<u8>, Vec<u8>>),
    Set(BTreeSet<Vec<u8>>),
    /// Members with the bits of their scores.
    SortedSet(BTreeMap<Vec<u8>, u64>),
    List(VecDeque<Vec<u8>>),
    Stream(Simple),
}

impl Content {
    pub(super) fn of(keyspace: &Keyspace, db: Db, entry: Entry<'_>) -> Content {
        match entry.kind() {
            Kind::String => Content::String(entry.string().expect("it is a string").to_vec()),
            Kind::Hash => {
                let hash = keyspace.hash(db, entry.key(), Timestamp::ZERO);
                let mut fields = BTreeMap::new();
                let hash = hash.expect("it is a hash").expect("it is there");
                hash.for_each(&mut |(field, value)| {
                    let field = field.to_bytes().into_owned();
                    let old = fields.insert(field, value.to_bytes().into_owned());
                    assert!(old.is_none(), "a walk visits each field once");
                });
                assert_eq!(fields.len(), hash.len());
                Content::Hash(fields)
            }
            Kind::Set => {
                let set = keyspace.members(db, entry.key(), Timestamp::ZERO);
                let mut members = BTreeSet::new();
                let set = set.expect("it is a set").expect("it is there");
                set.for_each(&mut |member| {
                    let is_new = members.insert(member.to_bytes().into_owned());
                    assert!(is_new, "a walk visits each member once");
                    assert!(member.with_bytes(|member| set.contains(member)));
                });
                assert_eq!(members.len(), set.len());
                Content::Set(members)
            }
            Kind::SortedSet => {
                let set = keyspace.sorted_set(db, entry.key(), Timestamp::ZERO);
                let set = set.expect("it is a sorted set").expect("it is there");
                Content::SortedSet(members_of(set))
            }
            Kind::List => {
                let list = keyspace.list(db, entry.key(), Timestamp::ZERO);
                let mut elements = VecDeque::new();
                let list = list.expect("it is a list").expect("it is there");
                list.range(0..list.len(), &mut |element| {
                    elements.push_back(element.to_bytes().into_owned());
                });
                assert_eq!(elements.len(), list.len());
                Content::List(elements)
            }
            Kind::Stream => {
                let stream = keyspace.stream(db, entry.key(), Timestamp::ZERO);
                let stream = stream.expect("it is a stream").expect("it is there");
                Content::Stream(Simple::of(stream))
            }
        }
    }

    fn string_mut(&mut self) -> Result<&mut Vec<u8>, WrongKind> {
        match self {
            Content::String(bytes) => Ok(bytes),
            _ => Err(WrongKind),
        }
    }
}

/// What a key holds, how, and until when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Value {
    pub(super) content: Content,
    pub(super) encoding: Encoding,
    pub(super) expires_at: Option<Timestamp>,
}

impl Value {
    fn of(keyspace: &Keyspace, db: Db, entry: Entry<'_>) -> Value {
        Value {
            content: Content::of(keyspace, db, entry),
            encoding: encoding_of(entry),
            expires_at: entry.expires_at(),
        }
    }
}

/// The encoding of a value, which for lists hangs on more than their content: the tests of lists look at it.
pub(super) fn encoding_of(entry: Entry<'_>) -> Encoding {
    match entry.kind() {
        Kind::List => Encoding::Listpack,
        _ => entry.encoding(),
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
                let old = map.insert((db, entry.key().to_vec()), Value::of(keyspace, db, entry));
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

    pub(super) fn drop_expired(&mut self, db: Db, key: &[u8]) {
        if self.get(db, key).is_none() {
            self.map.remove(&(db, key.to_vec()));
        }
    }

    pub(super) fn put(&mut self, db: Db, key: &[u8], value: Value) {
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
                content: Content::String(value.to_vec()),
                encoding,
                expires_at,
            },
        );
    }

    pub(super) fn append(&mut self, db: Db, key: &[u8], tail: &[u8]) -> Result<usize, WrongKind> {
        self.drop_expired(db, key);
        let Some(mut value) = self.get(db, key).cloned() else {
            self.set(db, key, tail, Expiry::Clear);
            return Ok(tail.len());
        };
        let string = value.content.string_mut()?;
        string.extend_from_slice(tail);
        let len = string.len();
        value.encoding = Encoding::Raw;
        self.put(db, key, value);
        Ok(len)
    }

    pub(super) fn set_range(
        &mut self,
        db: Db,
        key: &[u8],
        offset: usize,
        bytes: &[u8],
    ) -> Result<usize, WrongKind> {
        self.drop_expired(db, key);
        let mut value = self.get(db, key).cloned().unwrap_or_else(|| Value {
            content: Content::String(Vec::new()),
            encoding: Encoding::Raw,
            expires_at: None,
        });
        let string = value.content.string_mut()?;
        if bytes.is_empty() {
            return Ok(string.len());
        }
        let end = offset + bytes.len();
        string.resize(string.len().max(end), 0);
        string[offset..end].copy_from_slice(bytes);
        let len = string.len();
        value.encoding = Encoding::Raw;
        self.put(db, key, value);
        Ok(len)
    }

    /// Sets a field, or removes it; whether there was one.
    pub(super) fn set_field(
        &mut self,
        db: Db,
        key: &[u8],
        field: &[u8],
        to: Option<&[u8]>,
    ) -> Result<bool, WrongKind> {
        self.drop_expired(db, key);
        let mut value = self.get(db, key).cloned().unwrap_or_else(|| Value {
            content: Content::Hash(BTreeMap::new()),
            encoding: Encoding::Listpack,
            expires_at: None,
        });
        let Content::Hash(fields) = &mut value.content else {
            return Err(WrongKind);
        };
        let old = match to {
            Some(to) => fields.insert(field.to_vec(), to.to_vec()),
            None => fields.remove(field),
        };
        let is_long = to.is_some_and(|to| to.len().max(field.len()) > 64);
        if is_long || fields.len() > 512 {
            value.encoding = Encoding::Hashtable;
        }
        if fields.is_empty() {
            self.map.remove(&(db, key.to_vec()));
        } else {
            self.put(db, key, value);
        }
        Ok(old.is_some())
    }

    /// Adds a member, or removes it; whether it was there.
    pub(super) fn set_member(
        &mut self,
        db: Db,
        key: &[u8],
        member: &[u8],
        is_in: bool,
    ) -> Result<bool, WrongKind> {
        self.drop_expired(db, key);
        let mut value = self.get(db, key).cloned().unwrap_or_else(|| Value {
            content: Content::Set(BTreeSet::new()),
            encoding: Encoding::Intset,
            expires_at: None,
        });
        let Content::Set(members) = &mut value.content else {
            return Err(WrongKind);
        };
        let was_in = if is_in {
            !members.insert(member.to_vec())
        } else {
            members.remove(member)
        };
        if is_in {
            if value.encoding == Encoding::Intset && Encoding::of(member) != Encoding::Int {
                value.encoding = Encoding::Listpack;
            }
            let most = if value.encoding == Encoding::Intset {
                512
            } else {
                128
            };
            if members.len() > most || member.len() > 64 {
                value.encoding = Encoding::Hashtable;
            }
        }
        if members.is_empty() {
            self.map.remove(&(db, key.to_vec()));
        } else {
            self.put(db, key, value);
        }
        Ok(was_in)
    }

    /// Puts an element at an end of a list, or takes one there; how many are left.
    pub(super) fn change_end(
        &mut self,
        db: Db,
        key: &[u8],
        end: End,
        push: Option<&[u8]>,
    ) -> Result<usize, WrongKind> {
        self.drop_expired(db, key);
        let mut value = self.get(db, key).cloned().unwrap_or_else(|| Value {
            content: Content::List(VecDeque::new()),
            encoding: Encoding::Listpack,
            expires_at: None,
        });
        let Content::List(elements) = &mut value.content else {
            return Err(WrongKind);
        };
        match (push, end) {
            (Some(element), End::Head) => elements.push_front(element.to_vec()),
            (Some(element), End::Tail) => elements.push_back(element.to_vec()),
            (None, End::Head) => drop(elements.pop_front()),
            (None, End::Tail) => drop(elements.pop_back()),
        }
        let len = elements.len();
        if len == 0 {
            self.map.remove(&(db, key.to_vec()));
        } else {
            self.put(db, key, value);
        }
        Ok(len)
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
        let hasher = crate::hasher::Hasher { seed };
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
