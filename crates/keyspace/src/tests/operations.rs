//! Random operations, the same on a keyspace and on the model.

use base::{Db, Timestamp};
use proptest::collection::vec;
use proptest::prelude::*;

use super::model::Model;
use super::sorted_sets::{SortedSetChange, sorted_set_change};
use super::streams::{StreamChange, stream_change};
use crate::{Absent, End, Expiry, Keyspace, WrongKind};

/// One operation, on one of few keys so that they meet.
#[derive(Clone, Debug)]
pub(super) enum Operation {
    Set(Db, Key, Bytes, Expiry),
    Append(Db, Key, Bytes),
    SetRange(Db, Key, usize, Bytes),
    Remove(Db, Key),
    SortedSet(Db, Key, SortedSetChange),
    Stream(Db, Key, StreamChange),
    SetField(Db, Key, Field, Bytes),
    RemoveField(Db, Key, Field),
    /// Adds numbers in a row from the first one on, or a word.
    AddMembers(Db, Key, Field, u8),
    RemoveMember(Db, Key, Field, bool),
    Push(Db, Key, End, Bytes),
    Pop(Db, Key, End),
    SetExpiry(Db, Key, Option<Timestamp>),
    Rename(Db, Key, Key),
    Copy(Db, Key, Db, Key),
    FlushDb(Db),
    FlushAll,
    Sweep(usize),
    /// Time moves on.
    Stamp(u64),
}

/// A key by its number.
#[derive(Clone, Copy, Debug)]
pub(super) struct Key(pub(super) u8);

impl Key {
    /// Keys of all lengths around which entries differ; one in three shares a slot with others.
    pub(super) fn bytes(self) -> Vec<u8> {
        let number = self.0;
        match number % 12 {
            0 => vec![number; 254 + usize::from(number / 12 % 4)],
            1..=4 => format!("{{tag}}{number}").into_bytes(),
            5 if number < 12 => Vec::new(),
            _ => format!("key:{number}").into_bytes(),
        }
    }
}

/// A field by its number; one in eight is long.
#[derive(Clone, Copy, Debug)]
pub(super) struct Field(u8);

impl Field {
    pub(super) fn bytes(self) -> Vec<u8> {
        let mut bytes = self.0.to_string().into_bytes();
        if self.0.is_multiple_of(8) {
            bytes.resize(80, b'f');
        }
        bytes
    }
}

/// Numbers from one on that a set may have, of all widths; or one word.
fn members(first: Field, count: u8) -> Vec<Vec<u8>> {
    if count == 0 {
        let mut word = first.bytes();
        if !first.0.is_multiple_of(3) {
            word.insert(0, b'w');
        }
        return vec![word];
    }
    let width = [1, 1, 3000, 200_000_000, 1 << 55][usize::from(first.0 % 5)];
    let numbers = (0..i64::from(count)).map(|number| (number - 5) * width);
    numbers
        .map(|number| number.to_string().into_bytes())
        .collect()
}

/// An outcome as a number.
fn number(outcome: Result<usize, WrongKind>) -> usize {
    outcome.unwrap_or(usize::MAX)
}

/// A value by its length and first byte.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bytes(u8, usize);

impl Bytes {
    pub(super) fn bytes(self) -> Vec<u8> {
        if self.0 < 60 {
            self.1.to_string().into_bytes()
        } else {
            vec![self.0; self.1]
        }
    }
}

fn key() -> impl Strategy<Value = Key> {
    (0..36_u8).prop_map(Key)
}

pub(super) fn field() -> impl Strategy<Value = Field> {
    (0..32_u8).prop_map(Field)
}

fn db() -> impl Strategy<Value = Db> {
    prop_oneof![4 => Just(0), 2 => Just(1), 1 => 0..16_u8]
        .prop_map(|number| Db::new(number).expect("the number is below 16"))
}

fn bytes() -> impl Strategy<Value = Bytes> {
    let len = prop_oneof![8 => 0..80_usize, 2 => 0..400_usize, 1 => 16_300..16_500_usize];
    (any::<u8>(), len).prop_map(|(byte, len)| Bytes(byte, len))
}

/// Time comes to about 40 in the course of a test, so that many keys expire in it, some together.
fn at() -> impl Strategy<Value = Timestamp> {
    prop_oneof![
        20 => (0..50_u64).prop_map(Timestamp::from_millis),
        1 => Just(Timestamp::from_millis(1 << 50)),
    ]
}

fn expiry() -> impl Strategy<Value = Expiry> {
    prop_oneof![
        Just(Expiry::Clear),
        Just(Expiry::Keep),
        at().prop_map(Expiry::At)
    ]
}

fn end() -> impl Strategy<Value = End> {
    prop_oneof![Just(End::Head), Just(End::Tail)]
}

pub(super) fn operation() -> impl Strategy<Value = Operation> {
    prop_oneof![
        20 => (db(), key(), bytes(), expiry()).prop_map(|(d, k, b, e)| Operation::Set(d, k, b, e)),
        5 => (db(), key(), bytes()).prop_map(|(d, k, b)| Operation::Append(d, k, b)),
        3 => (db(), key(), 0..300_usize, bytes())
            .prop_map(|(d, k, o, b)| Operation::SetRange(d, k, o, b)),
        5 => (db(), key()).prop_map(|(d, k)| Operation::Remove(d, k)),
        12 => (db(), key(), field(), bytes())
            .prop_map(|(d, k, f, b)| Operation::SetField(d, k, f, b)),
        5 => (db(), key(), field()).prop_map(|(d, k, f)| Operation::RemoveField(d, k, f)),
        12 => (db(), key(), field(), prop_oneof![3 => Just(0), 2 => 1..20_u8, 1 => any::<u8>()])
            .prop_map(|(d, k, f, n)| Operation::AddMembers(d, k, f, n)),
        5 => (db(), key(), field(), any::<bool>())
            .prop_map(|(d, k, f, n)| Operation::RemoveMember(d, k, f, n)),
        18 => (db(), key(), sorted_set_change())
            .prop_map(|(d, k, c)| Operation::SortedSet(d, k, c)),
        12 => (db(), key(), end(), bytes()).prop_map(|(d, k, e, b)| Operation::Push(d, k, e, b)),
        6 => (db(), key(), end()).prop_map(|(d, k, e)| Operation::Pop(d, k, e)),
        18 => (db(), key(), stream_change()).prop_map(|(d, k, c)| Operation::Stream(d, k, c)),
        5 => (db(), key(), proptest::option::of(at()))
            .prop_map(|(d, k, a)| Operation::SetExpiry(d, k, a)),
        3 => (db(), key(), key()).prop_map(|(d, f, t)| Operation::Rename(d, f, t)),
        3 => (db(), key(), db(), key()).prop_map(|(d, f, e, t)| Operation::Copy(d, f, e, t)),
        1 => db().prop_map(Operation::FlushDb),
        1 => Just(Operation::FlushAll),
        2 => (0..5_usize).prop_map(Operation::Sweep),
        4 => (0..8_u64).prop_map(Operation::Stamp),
    ]
}

pub(super) fn operations(max: usize) -> impl Strategy<Value = Vec<Operation>> {
    vec(operation(), 0..max)
}

impl Operation {
    /// Applies the operation; its outcome as a number.
    pub(super) fn apply(&self, keyspace: &mut Keyspace) -> usize {
        match *self {
            Operation::Set(db, key, value, expiry) => {
                keyspace.set(db, &key.bytes(), &value.bytes(), expiry);
                0
            }
            Operation::Append(db, key, tail) => {
                number(keyspace.append(db, &key.bytes(), &tail.bytes()))
            }
            Operation::SetRange(db, key, offset, bytes) => {
                number(keyspace.set_range(db, &key.bytes(), offset, &bytes.bytes()))
            }
            Operation::SetField(db, key, field, value) => {
                let set = keyspace.change_hash(db, &key.bytes(), Absent::Make, |hash| {
                    !hash.set(&field.bytes(), &value.bytes())
                });
                number(set.map(|was_there| usize::from(was_there == Some(true))))
            }
            Operation::RemoveField(db, key, field) => {
                let removed = keyspace.change_hash(db, &key.bytes(), Absent::Leave, |hash| {
                    hash.remove(&field.bytes())
                });
                number(removed.map(|was_there| usize::from(was_there == Some(true))))
            }
            Operation::SortedSet(db, key, change) => {
                number(change.apply(keyspace, db, &key.bytes()))
            }
            Operation::Push(db, key, end, element) => {
                let pushed = keyspace.change_list(db, &key.bytes(), Absent::Make, |list| {
                    list.push(end, &[&element.bytes()]);
                    list.len()
                });
                number(pushed.map(|len| len.expect("an absent list is made")))
            }
            Operation::Pop(db, key, end) => {
                let popped = keyspace.change_list(db, &key.bytes(), Absent::Leave, |list| {
                    list.pop(end).expect("no list is empty");
                    list.len()
                });
                number(popped.map(|len| len.unwrap_or(0)))
            }
            Operation::Stream(db, key, change) => number(change.apply(keyspace, db, &key.bytes())),
            Operation::Remove(db, key) => usize::from(keyspace.remove(db, &key.bytes())),
            Operation::AddMembers(db, key, first, count) => {
                let added = keyspace.change_members(db, &key.bytes(), Absent::Make, |set| {
                    let members = members(first, count);
                    members.iter().filter(|member| set.add(member)).count()
                });
                number(added.map(|added| added.expect("an absent set is made")))
            }
            Operation::RemoveMember(db, key, first, a_number) => {
                let member = members(first, u8::from(a_number) * 9).remove(0);
                let removed = keyspace
                    .change_members(db, &key.bytes(), Absent::Leave, |set| set.remove(&member));
                number(removed.map(|was_there| usize::from(was_there == Some(true))))
            }
            Operation::SetExpiry(db, key, at) => {
                usize::from(keyspace.set_expiry(db, &key.bytes(), at))
            }
            Operation::Rename(db, from, to) => {
                usize::from(keyspace.rename(db, &from.bytes(), &to.bytes()))
            }
            Operation::Copy(from_db, from, to_db, to) => {
                usize::from(keyspace.copy(from_db, &from.bytes(), to_db, &to.bytes()))
            }
            Operation::FlushDb(db) => {
                drop(keyspace.flush_db(db));
                0
            }
            Operation::FlushAll => {
                drop(keyspace.flush_all());
                0
            }
            Operation::Sweep(limit) => keyspace.sweep(limit),
            Operation::Stamp(millis) => {
                keyspace.set_stamp(Timestamp::from_millis(keyspace.stamp().millis() + millis));
                0
            }
        }
    }

    pub(super) fn apply_to_model(&self, model: &mut Model, seed: u64) -> usize {
        match *self {
            Operation::Set(db, key, value, expiry) => {
                model.set(db, &key.bytes(), &value.bytes(), expiry);
                0
            }
            Operation::Append(db, key, tail) => {
                number(model.append(db, &key.bytes(), &tail.bytes()))
            }
            Operation::SetRange(db, key, offset, bytes) => {
                number(model.set_range(db, &key.bytes(), offset, &bytes.bytes()))
            }
            Operation::SetField(db, key, field, value) => {
                let value = value.bytes();
                let was_there = model.set_field(db, &key.bytes(), &field.bytes(), Some(&value));
                number(was_there.map(usize::from))
            }
            Operation::RemoveField(db, key, field) => {
                let was_there = model.set_field(db, &key.bytes(), &field.bytes(), None);
                number(was_there.map(usize::from))
            }
            Operation::SortedSet(db, key, change) => {
                number(change.apply_to_model(model, db, &key.bytes()))
            }
            Operation::Push(db, key, end, element) => {
                number(model.change_end(db, &key.bytes(), end, Some(&element.bytes())))
            }
            Operation::Pop(db, key, end) => number(model.change_end(db, &key.bytes(), end, None)),
            Operation::Stream(db, key, change) => {
                number(change.apply_to_model(model, db, &key.bytes()))
            }
            Operation::Remove(db, key) => usize::from(model.remove(db, &key.bytes())),
            Operation::AddMembers(db, key, first, count) => {
                let members = members(first, count);
                let added = members.iter().map(|member| {
                    let was_in = model.set_member(db, &key.bytes(), member, true);
                    was_in.map(|was_in| usize::from(!was_in))
                });
                number(added.sum())
            }
            Operation::RemoveMember(db, key, first, a_number) => {
                let member = members(first, u8::from(a_number) * 9).remove(0);
                let was_in = model.set_member(db, &key.bytes(), &member, false);
                number(was_in.map(usize::from))
            }
            Operation::SetExpiry(db, key, at) => {
                usize::from(model.set_expiry(db, &key.bytes(), at))
            }
            Operation::Rename(db, from, to) => {
                usize::from(model.rename(db, &from.bytes(), &to.bytes()))
            }
            Operation::Copy(from_db, from, to_db, to) => {
                usize::from(model.copy(from_db, &from.bytes(), to_db, &to.bytes()))
            }
            Operation::FlushDb(db) => {
                model.flush_db(db);
                0
            }
            Operation::FlushAll => {
                model.flush_all();
                0
            }
            Operation::Sweep(limit) => model.sweep(limit, seed),
            Operation::Stamp(millis) => {
                model.stamp = Timestamp::from_millis(model.stamp.millis() + millis);
                0
            }
        }
    }
}
