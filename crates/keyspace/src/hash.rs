//! Hashes: fields, each with a value.
//!
//! A small one is packed, field and value in turn, in the order in which the fields came; a large one is a table
//! in the order of the fields' hashes.

use base::{Db, Timestamp};

use crate::collection::{Absent, ValueMut};
use crate::entry::Entry;
use crate::hasher::Hasher;
use crate::keyspace::Keyspace;
use crate::limits::Limits;
use crate::member::Member;
use crate::members::Members;
use crate::object::Object;
use crate::packed::{Element, Encoded, Packed};
use crate::places::Placed;
use crate::value::{Encoding, Kind, WrongKind};

/// A hash, to be read. It is never empty.
#[derive(Clone, Copy)]
pub struct Hash<'k> {
    form: Form<'k>,
    hasher: Hasher,
}

#[derive(Clone, Copy)]
enum Form<'k> {
    Packed(Packed<'k>),
    Table(&'k Members),
}

/// A field and its value.
pub type Pair<'k> = (Element<'k>, Element<'k>);

fn pair(member: &Member) -> Pair<'_> {
    (Element::Bytes(member.key()), Element::Bytes(member.value()))
}

impl<'k> Hash<'k> {
    fn of(entry: Entry<'k>, hasher: Hasher) -> Hash<'k> {
        let form = match entry.object() {
            Some(Object::Members(members)) => Form::Table(members),
            _ => Form::Packed(Packed::new(entry.run().expect("a small hash is packed"))),
        };
        Hash { form, hasher }
    }

    /// How many fields it has.
    #[expect(clippy::len_without_is_empty, reason = "a hash is never empty")]
    pub fn len(&self) -> usize {
        match self.form {
            Form::Packed(packed) => packed.len() / 2,
            Form::Table(members) => members.len(),
        }
    }

    /// The value of a field.
    pub fn get(&self, field: &[u8]) -> Option<Element<'k>> {
        match self.form {
            Form::Packed(packed) => {
                let at = packed.find(&Encoded::of(field), 2)?;
                Some(packed.at(packed.after(at)).0)
            }
            Form::Table(members) => {
                let member = members.get(self.hasher, field)?;
                Some(Element::Bytes(member.value()))
            }
        }
    }

    /// Visits all fields with their values, in an order that is part of the state.
    pub fn for_each(&self, visit: &mut dyn FnMut(Pair<'k>)) {
        match self.form {
            Form::Packed(packed) => {
                let mut elements = packed.iter().map(|(_, element)| element);
                while let (Some(field), Some(value)) = (elements.next(), elements.next()) {
                    visit((field, value));
                }
            }
            Form::Table(members) => members.iter().for_each(|member| visit(pair(member))),
        }
    }

    /// The field of that number in the order, with its value.
    ///
    /// # Panics
    /// If there are not so many.
    pub fn nth(&self, index: usize) -> Pair<'k> {
        match self.form {
            Form::Packed(packed) => {
                let (field, next) = packed.at(packed.offset_of(index * 2));
                (field, packed.at(next).0)
            }
            Form::Table(members) => pair(members.nth(index).expect("the field is there")),
        }
    }

    /// The fields of those numbers, with their values.
    ///
    /// # Panics
    /// If there are not so many.
    pub fn each(&self, indices: &[usize]) -> Vec<Pair<'k>> {
        // One walk over all costs as much as finding some of them by number.
        if indices.len() <= self.len() / 64 {
            return indices.iter().map(|&index| self.nth(index)).collect();
        }
        let mut pairs = Vec::with_capacity(self.len());
        self.for_each(&mut |pair| pairs.push(pair));
        indices.iter().map(|&index| pairs[index]).collect()
    }

    /// Visits about `count` fields from a cursor on, and gives the cursor to go on from; 0 stands for the
    /// start and for the end. A small hash is visited whole.
    pub fn scan(&self, cursor: u64, count: usize, visit: &mut dyn FnMut(Pair<'k>)) -> u64 {
        match self.form {
            Form::Packed(_) => {
                self.for_each(visit);
                0
            }
            Form::Table(members) => members.scan(self.hasher, cursor, count, &mut |member| {
                visit(pair(member));
            }),
        }
    }
}

/// A hash that is being changed; see [`Keyspace::change_hash`].
pub struct HashMut<'a>(ValueMut<'a>);

impl HashMut<'_> {
    /// The value of a field.
    pub fn get(&self, field: &[u8]) -> Option<Element<'_>> {
        self.read().get(field)
    }

    /// How many fields it has.
    pub fn len(&self) -> usize {
        self.read().len()
    }

    /// Whether it has none. If so at the end, the key is removed.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn read(&self) -> Hash<'_> {
        let form = match self.0.object() {
            Some(Object::Members(members)) => Form::Table(members),
            _ => Form::Packed(self.0.packed()),
        };
        Hash {
            form,
            hasher: self.0.hasher,
        }
    }

    /// Sets a field; true if it is new.
    pub fn set(&mut self, field: &[u8], value: &[u8]) -> bool {
        let hasher = self.0.hasher;
        if self.0.run().is_some() && !self.fits(field, value) {
            self.unpack();
        }
        if let Some(Object::Members(members)) = self.0.object_mut() {
            return members.insert(hasher, field, value);
        }
        let packed = self.0.packed();
        let (field, value) = (Encoded::of(field), Encoded::of(value));
        let mut new = Vec::with_capacity(field.size() + value.size());
        if let Some(at) = packed.find(&field, 2) {
            let start = packed.after(at);
            let end = packed.after(start);
            value.push(&mut new);
            self.0.edit(start..end, 1, &new, 1);
            return false;
        }
        let end = packed.end();
        let full = packed.len() / 2 >= most_packed(self.0.limits);
        field.push(&mut new);
        value.push(&mut new);
        self.0.edit(end..end, 0, &new, 2);
        if full {
            self.unpack();
        }
        true
    }

    /// Removes a field; false when it is absent.
    pub fn remove(&mut self, field: &[u8]) -> bool {
        let hasher = self.0.hasher;
        if let Some(Object::Members(members)) = self.0.object_mut() {
            return members.remove(hasher, field).is_some();
        }
        let packed = self.0.packed();
        let Some(at) = packed.find(&Encoded::of(field), 2) else {
            return false;
        };
        let end = packed.after(packed.after(at));
        self.0.edit(at..end, 2, &[], 0);
        true
    }

    /// Whether both may stand in a packed hash.
    fn fits(&self, field: &[u8], value: &[u8]) -> bool {
        let most = self.0.limits.hash_max_listpack_value;
        field.len() <= most && value.len() <= most
    }

    fn unpack(&mut self) {
        let mut members = Members::default();
        let hash = self.read();
        members.reserve(hash.len() + 1);
        hash.for_each(&mut |(field, value)| {
            field.with_bytes(|field| {
                value.with_bytes(|value| members.insert(hash.hasher, field, value));
            });
        });
        self.0
            .set_object(Encoding::Hashtable, Object::Members(members));
    }
}

/// So many fields may be packed.
fn most_packed(limits: &Limits) -> usize {
    limits
        .hash_max_listpack_entries
        .min(Limits::PACKED_ELEMENTS_MAX / 2)
}

impl Keyspace {
    /// The hash at a key; none if it is absent at `now`.
    ///
    /// # Errors
    /// When the key holds something else.
    pub fn hash(&self, db: Db, key: &[u8], now: Timestamp) -> Result<Option<Hash<'_>>, WrongKind> {
        let entry = self.collection(db, key, Kind::Hash, now)?;
        Ok(entry.map(|entry| {
            entry.touch(now);
            Hash::of(entry, self.hasher)
        }))
    }

    /// Changes the hash at a key; none if it is absent and left so. A hash that is empty afterwards is
    /// removed. Whoever may find nothing to change looks first, with [`Keyspace::hash`].
    ///
    /// # Errors
    /// When the key holds something else.
    pub fn change_hash<R>(
        &mut self,
        db: Db,
        key: &[u8],
        absent: Absent,
        change: impl FnOnce(&mut HashMut<'_>) -> R,
    ) -> Result<Option<R>, WrongKind> {
        self.change_collection(db, key, Kind::Hash, absent, |value| {
            change(&mut HashMut(value))
        })
    }
}
