//! Random operations, the same on a keyspace and on the model.

use std::collections::BTreeSet;

use base::{Db, Timestamp};
use proptest::collection::vec;
use proptest::prelude::*;

use super::model::{Content, Model};
use crate::{Absent, Encoding, Expiry, Keyspace, WrongKind};

/// One operation, on one of few keys so that they meet.
#[derive(Clone, Debug)]
pub(super) enum Operation {
    Set(Db, Key, Bytes, Expiry),
    Append(Db, Key, Bytes),
    SetRange(Db, Key, usize, Bytes),
    Remove(Db, Key),
    SetField(Db, Key, Field, Bytes),
    RemoveField(Db, Key, Field),
    /// Adds numbers in a row from the first one on, or a word.
    AddMembers(Db, Key, Field, u8),
    RemoveMember(Db, Key, Field, bool),
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
pub(super) struct Key(u8);

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

fn field() -> impl Strategy<Value = Field> {
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

    fn apply_to_model(&self, model: &mut Model, seed: u64) -> usize {
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

fn shown_by_scan(keyspace: &Keyspace, db: Db, count: usize, now: Timestamp) -> Vec<Vec<u8>> {
    let (mut keys, mut cursor) = (Vec::new(), 0);
    loop {
        let visited = keys.len();
        let visit = &mut |entry: crate::Entry<'_>| keys.push(entry.key().to_vec());
        cursor = keyspace.scan(db, cursor, count, now, visit);
        assert!(
            keys.len() - visited <= count.max(1) + 2,
            "a call visits about `count`"
        );
        assert!(cursor < 1 << 53);
        if cursor == 0 {
            return keys;
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_keyspace_does_what_the_model_does(
        operations in operations(120),
        seed in any::<u64>(),
        random in any::<u64>(),
        count in 0..20_usize,
    ) {
        let mut keyspace = Keyspace::new(seed);
        let mut model = Model::default();
        for operation in &operations {
            let (mine, expected) =
                (operation.apply(&mut keyspace), operation.apply_to_model(&mut model, seed));
            prop_assert_eq!(mine, expected, "{:?}", operation);
            keyspace.check();
        }
        model.assert_shown_by(&keyspace);
        let now = model.stamp;
        for db in Db::all() {
            let live: BTreeSet<Vec<u8>> = model
                .map
                .iter()
                .filter(|((of, _), value)| *of == db && model.is_live(value))
                .map(|((_, key), _)| key.clone())
                .collect();
            let scanned = shown_by_scan(&keyspace, db, count, now);
            prop_assert_eq!(scanned.len(), live.len(), "each key is visited once");
            prop_assert_eq!(scanned.into_iter().collect::<BTreeSet<_>>(), live.clone());
            let drawn = keyspace.random(db, random, now).map(|entry| entry.key().to_vec());
            prop_assert_eq!(drawn.is_some(), !live.is_empty());
            prop_assert!(drawn.is_none_or(|key| live.contains(&key)));
            for number in 0..36 {
                let key = Key(number).bytes();
                let found = keyspace.entry(db, &key).map(|entry| {
                    assert_eq!(entry.key(), key);
                    let content = Content::of(&keyspace, db, entry);
                    (content, entry.encoding(), entry.expires_at())
                });
                let expected = model.get(db, &key);
                prop_assert_eq!(
                    found,
                    expected.map(|value| (value.content.clone(), value.encoding, value.expires_at))
                );
            }
        }
    }

    #[test]
    fn a_scan_misses_no_key_that_stays(
        seed in any::<u64>(),
        steps in vec((any::<u16>(), any::<bool>(), 0..400_usize), 1..40),
        count in 1..300_usize,
    ) {
        let db = Db::default();
        let mut keyspace = Keyspace::new(seed);
        // Half of the keys share a slot, whose table is parted and joined meanwhile.
        let stays = |number: u16| {
            let tag = if number.is_multiple_of(2) { "{tag}" } else { "" };
            format!("{tag}stays:{number}").into_bytes()
        };
        for number in 0..1000 {
            keyspace.set(db, &stays(number), b"", Expiry::Clear);
        }
        let (mut seen, mut cursor, mut steps) = (BTreeSet::new(), 0, steps.into_iter().cycle());
        loop {
            cursor = keyspace.scan(db, cursor, count, Timestamp::ZERO, &mut |entry| {
                seen.insert(entry.key().to_vec());
            });
            if cursor == 0 {
                break;
            }
            let (start, grows, number) = steps.next().expect("there is a step");
            for offset in 0..number * 4 {
                let key = format!("{{tag}}goes:{}", usize::from(start % 7) + offset);
                if grows {
                    keyspace.set(db, key.as_bytes(), b"", Expiry::Clear);
                } else {
                    keyspace.remove(db, key.as_bytes());
                }
            }
        }
        for number in 0..1000 {
            prop_assert!(seen.contains(&stays(number)), "{}", number);
        }
    }
}

#[test]
fn a_scan_of_an_empty_database_ends_at_once() {
    let mut keyspace = Keyspace::new(1);
    let (zero, one) = (Db::default(), Db::new(1).expect("below 16"));
    keyspace.set(one, b"key", b"value", Expiry::Clear);
    let visit = &mut |_: crate::Entry<'_>| panic!("nothing is there");
    assert_eq!(keyspace.scan(zero, 0, 10, Timestamp::ZERO, visit), 0);
    assert_eq!(keyspace.scan(one, u64::MAX, 10, Timestamp::ZERO, visit), 0);
    assert_eq!(keyspace.scan(one, 1 << 53, 10, Timestamp::ZERO, visit), 0);
}

/// Keys that share the bits of the hash that a cursor tells.
#[test]
fn a_scan_does_not_stop_among_keys_that_a_cursor_cannot_tell_apart() {
    let hasher = crate::hasher::Hasher { seed: 1 };
    let hash = |number: u32| hasher.hash(format!("{{t}}{number}").as_bytes()) >> 25;
    let mut numbers: Vec<(u64, u32)> = (0..3_000_000)
        .map(|number| (hash(number), number))
        .collect();
    numbers.sort_unstable();
    let twins = numbers
        .windows(2)
        .find(|pair| pair[0].0 == pair[1].0)
        .expect("two collide");
    let db = Db::default();
    let mut keyspace = Keyspace::new(1);
    for (_, number) in twins {
        keyspace.set(db, format!("{{t}}{number}").as_bytes(), b"", Expiry::Clear);
    }
    keyspace.set(db, b"{t}other", b"", Expiry::Clear);
    assert_eq!(shown_by_scan(&keyspace, db, 1, Timestamp::ZERO).len(), 3);
}

#[test]
fn an_expired_key_does_not_pass_on_its_expiry() {
    let db = Db::default();
    let at = Timestamp::from_millis(10);
    let mut keyspace = Keyspace::new(1);
    for key in [b"set", b"app", b"rng"] {
        keyspace.set(db, key, b"old", Expiry::At(at));
    }
    keyspace.set_stamp(at);
    keyspace.set(db, b"set", b"new", Expiry::Keep);
    assert_eq!(keyspace.append(db, b"app", b"new"), Ok(3));
    assert_eq!(keyspace.set_range(db, b"rng", 0, b"new"), Ok(3));
    for key in [b"set", b"app", b"rng"] {
        let entry = keyspace.entry(db, key).expect("it was set");
        assert_eq!(
            (entry.string(), entry.expires_at()),
            (Some(&b"new"[..]), None)
        );
    }
    assert_eq!(keyspace.next_expiry(), None);
}

#[test]
fn random_keys_are_drawn_evenly() {
    let db = Db::default();
    let mut keyspace = Keyspace::new(3);
    for number in 0..100 {
        let tag = if number < 50 { "{tag}" } else { "" };
        keyspace.set(db, format!("{tag}{number}").as_bytes(), b"", Expiry::Clear);
    }
    let mut drawn = std::collections::BTreeMap::new();
    for draw in 0..100_000_u64 {
        let entry = keyspace.random(
            db,
            draw.wrapping_mul(0x9e37_79b9_7f4a_7c15),
            Timestamp::ZERO,
        );
        let key = entry.expect("there are keys").key().to_vec();
        *drawn.entry(key).or_insert(0) += 1;
    }
    assert_eq!(drawn.len(), 100);
    assert!(
        drawn.values().all(|&count| (800..1200).contains(&count)),
        "{drawn:?}"
    );
}

#[test]
fn a_random_key_is_found_among_many_that_expired() {
    let db = Db::default();
    let mut keyspace = Keyspace::new(3);
    let soon = Timestamp::from_millis(5);
    for number in 0..5000 {
        keyspace.set(db, format!("{number}").as_bytes(), b"", Expiry::At(soon));
    }
    assert!(keyspace.random(db, 1, soon).is_none());
    keyspace.set(db, b"live", b"", Expiry::Clear);
    for random in 0..20 {
        let entry = keyspace.random(db, random, soon).expect("one key is live");
        assert_eq!(entry.key(), b"live");
    }
}

#[test]
fn writes_to_many_keys_of_one_slot_agree_with_the_sums() {
    let db = Db::default();
    let mut keyspace = Keyspace::new(9);
    let empty = keyspace.memory_used();
    for number in 0..30_000_u64 {
        let at = Timestamp::from_millis(1000 + number % 3);
        keyspace.set(
            db,
            format!("{{t}}{number}").as_bytes(),
            b"value",
            Expiry::At(at),
        );
    }
    keyspace.check();
    assert_eq!(keyspace.expiring_len(db), 30_000);
    keyspace.set_stamp(Timestamp::from_millis(1001));
    assert_eq!(keyspace.sweep(15_000), 15_000);
    assert_eq!(keyspace.sweep(usize::MAX), 5000);
    assert_eq!(keyspace.sweep(1), 0);
    keyspace.check();
    assert_eq!(keyspace.next_expiry(), Some(Timestamp::from_millis(1002)));
    drop(keyspace.flush_all());
    assert_eq!(keyspace.len(db), 0);
    assert_eq!(keyspace.memory_used(), empty);
}

#[test]
fn a_touch_is_seen_and_is_no_state() {
    let db = Db::default();
    let mut keyspace = Keyspace::new(1);
    keyspace.set_stamp(Timestamp::from_millis(7_000));
    keyspace.set(db, b"key", b"1", Expiry::Clear);
    let entry = keyspace.entry(db, b"key").expect("it was set");
    assert_eq!(entry.accessed_at(), Timestamp::from_millis(7_000));
    entry.touch(Timestamp::from_millis(9_999));
    assert_eq!(entry.accessed_at(), Timestamp::from_millis(9_000));
    assert_eq!(entry.encoding(), Encoding::Int);
    assert!(entry.memory_bytes() >= 16 + 8);
}

#[test]
fn a_key_of_the_target_takes_no_more_than_planned() {
    let db = Db::default();
    let mut keyspace = Keyspace::new(5);
    let keys = 200_000;
    for number in 0..keys {
        keyspace.set(
            db,
            format!("key:{number:012}").as_bytes(),
            &[b'x'; 64],
            Expiry::Clear,
        );
    }
    let each = keyspace.memory_used() as f64 / f64::from(keys);
    println!("{each:.1} bytes per key of 16 bytes with a value of 64");
    assert!(each <= 121.0, "{each:.1} bytes per key");
}

#[test]
fn long_appends_cost_what_they_add() {
    let db = Db::default();
    let mut keyspace = Keyspace::new(5);
    for count in 1..=100_000 {
        assert_eq!(keyspace.append(db, b"log", b"0123456789"), Ok(count * 10));
    }
    let entry = keyspace.entry(db, b"log").expect("it was made");
    assert!(
        entry
            .string()
            .expect("it is a string")
            .chunks(10)
            .all(|chunk| chunk == b"0123456789")
    );
    assert!(entry.memory_bytes() < 2_200_000, "{}", entry.memory_bytes());
    keyspace.set(db, b"log", b"short", Expiry::Clear);
    let entry = keyspace.entry(db, b"log").expect("it is there");
    assert!(entry.memory_bytes() < 64);
    keyspace.check();
}
