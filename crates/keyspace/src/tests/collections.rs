//! Large collections: what they cost to write, to copy, to snapshot and to free.

use base::{Db, Timestamp};

use super::model::Model;
use crate::{Absent, Encoding, Expiry, Keyspace, SnapshotLoader};

const DB: Db = match Db::new(0) {
    Ok(db) => db,
    Err(_) => unreachable!(),
};

fn field(number: u32) -> Vec<u8> {
    format!("field:{number:07}").into_bytes()
}

/// Sets fields `from` to `to` to a value.
fn set_fields(keyspace: &mut Keyspace, key: &[u8], from: u32, to: u32, value: &[u8]) {
    let set = keyspace.change_hash(DB, key, Absent::Make, |hash| {
        for number in from..to {
            hash.set(&field(number), value);
        }
    });
    set.expect("the key holds a hash");
}

fn load(bytes: &[u8]) -> Keyspace {
    let mut loader = SnapshotLoader::new();
    for chunk in bytes.chunks(10_000) {
        loader.feed(chunk).expect("a snapshot can be loaded");
    }
    loader.finish().expect("the snapshot is whole")
}

#[test]
fn a_large_hash_stands_in_bounded_pieces_as_it_was_when_the_snapshot_began() {
    let mut keyspace = Keyspace::new(7);
    set_fields(&mut keyspace, b"{t}large", 0, 40_000, b"before");
    set_fields(&mut keyspace, b"{t}other", 0, 20_000, b"before");
    keyspace.set(DB, b"{t}string", b"value", Expiry::Clear);
    let at_begin = Model::of(&keyspace);
    keyspace.begin_snapshot();
    let mut bytes = Vec::new();
    let (mut number, mut steps) = (0, 0);
    loop {
        let start = bytes.len();
        let complete = keyspace.snapshot_step(1000, &mut bytes);
        assert!(bytes.len() - start < 40_000, "a step is bounded");
        if complete {
            break;
        }
        steps += 1;
        // Fields are changed, added and removed all over the table.
        for key in [&b"{t}large"[..], b"{t}other"] {
            number = (number + 7919) % 80_000;
            set_fields(&mut keyspace, key, number, number + 1, b"after");
            let removed = keyspace.change_hash(DB, key, Absent::Leave, |hash| {
                hash.remove(&field((number + 17) % 40_000))
            });
            removed.expect("the key holds a hash");
        }
        if steps == 20 {
            keyspace.rename(DB, b"{t}large", b"{t}renamed");
            keyspace.set(DB, b"{t}large", b"a string", Expiry::Clear);
            keyspace.remove(DB, b"{t}large");
        }
    }
    assert!(steps > 30, "{steps} steps");
    keyspace.check();
    let restored = load(&bytes);
    restored.check();
    at_begin.assert_shown_by(&restored);
}

#[test]
fn a_write_during_a_snapshot_copies_a_part_of_a_large_hash_alone() {
    let mut keyspace = Keyspace::new(7);
    set_fields(&mut keyspace, b"large", 0, 200_000, b"before");
    let before = keyspace.memory_used();
    keyspace.begin_snapshot();
    set_fields(&mut keyspace, b"large", 77, 78, b"after");
    assert!(
        keyspace.memory_used() - before < 100_000,
        "nothing is copied whole"
    );
    let mut bytes = Vec::new();
    while !keyspace.snapshot_step(100_000, &mut bytes) {}
    let restored = load(&bytes);
    let value = |keyspace: &Keyspace| {
        let hash = keyspace.hash(DB, b"large", Timestamp::ZERO);
        let value = hash.ok().flatten().and_then(|hash| hash.get(&field(77)));
        value.map(|value| value.to_bytes().into_owned())
    };
    assert_eq!(value(&restored).as_deref(), Some(&b"before"[..]));
    assert_eq!(value(&keyspace).as_deref(), Some(&b"after"[..]));
}

#[test]
fn a_copy_of_a_large_hash_is_its_own() {
    let mut keyspace = Keyspace::new(7);
    set_fields(&mut keyspace, b"from", 0, 20_000, b"before");
    assert!(keyspace.copy(DB, b"from", DB, b"to"));
    set_fields(&mut keyspace, b"from", 0, 100, b"after");
    let removed = keyspace.change_hash(DB, b"to", Absent::Leave, |hash| {
        (100..200).all(|number| hash.remove(&field(number)))
    });
    assert_eq!(removed, Ok(Some(true)));
    keyspace.check();
    let count = |key: &[u8], value: &[u8]| {
        let mut count = 0;
        let hash = keyspace.hash(DB, key, Timestamp::ZERO);
        let hash = hash.expect("it is a hash").expect("it is there");
        hash.for_each(&mut |(_, other)| count += usize::from(*other.to_bytes() == *value));
        count
    };
    assert_eq!(
        (count(b"from", b"before"), count(b"from", b"after")),
        (19_900, 100)
    );
    assert_eq!(
        (count(b"to", b"before"), count(b"to", b"after")),
        (19_900, 0)
    );
}

#[test]
fn a_large_value_that_is_removed_is_left_to_whoever_takes_it() {
    let at = Timestamp::from_millis(5);
    let removals: [fn(&mut Keyspace); 6] = [
        |keyspace| {
            keyspace.begin_snapshot();
            drop(keyspace.flush_all());
            keyspace.abandon_snapshot();
            assert!(keyspace.take_discarded().is_none());
            while !keyspace.leftovers.is_empty() && keyspace.discarded.is_empty() {
                keyspace.set_stamp(keyspace.stamp());
            }
        },
        |keyspace| assert!(keyspace.remove(DB, b"large")),
        |keyspace| keyspace.set(DB, b"large", b"", Expiry::Clear),
        |keyspace| assert!(keyspace.rename(DB, b"other", b"large")),
        |keyspace| {
            assert!(keyspace.set_expiry(DB, b"large", Some(Timestamp::from_millis(5))));
            keyspace.set_stamp(Timestamp::from_millis(5));
            assert_eq!(keyspace.sweep(10), 1);
        },
        |keyspace| {
            keyspace.begin_snapshot();
            assert!(keyspace.remove(DB, b"large"));
            assert!(keyspace.take_discarded().is_none(), "the snapshot has it");
            while !keyspace.snapshot_step(10_000, &mut Vec::new()) {}
        },
    ];
    for remove in removals {
        let mut keyspace = Keyspace::new(7);
        set_fields(&mut keyspace, b"large", 0, 20_000, b"value");
        set_fields(&mut keyspace, b"other", 0, 10, b"value");
        remove(&mut keyspace);
        assert!(keyspace.take_discarded().is_some());
        assert!(keyspace.take_discarded().is_none());
        keyspace.check();
    }
    let mut keyspace = Keyspace::new(7);
    set_fields(&mut keyspace, b"large", 0, 20_000, b"value");
    keyspace.remove(DB, b"large");
    keyspace.set_stamp(at);
    assert!(
        keyspace.take_discarded().is_none(),
        "the next stamp freed it"
    );
}

#[test]
fn a_hash_leaves_its_packed_form_at_the_thresholds() {
    let encoding = |keyspace: &Keyspace| keyspace.entry(DB, b"h").map(|entry| entry.encoding());
    let mut keyspace = Keyspace::new(7);
    set_fields(&mut keyspace, b"h", 0, 512, &[b'v'; 64]);
    assert_eq!(encoding(&keyspace), Some(Encoding::Listpack));
    set_fields(&mut keyspace, b"h", 3, 4, b"again");
    assert_eq!(encoding(&keyspace), Some(Encoding::Listpack));
    set_fields(&mut keyspace, b"h", 512, 513, b"v");
    assert_eq!(encoding(&keyspace), Some(Encoding::Hashtable));
    keyspace.check();
    keyspace.remove(DB, b"h");
    set_fields(&mut keyspace, b"h", 0, 1, &[b'v'; 65]);
    assert_eq!(encoding(&keyspace), Some(Encoding::Hashtable));
}

#[test]
fn a_scan_of_a_hash_visits_what_stays_once() {
    let mut keyspace = Keyspace::new(7);
    set_fields(&mut keyspace, b"h", 0, 10_000, b"stays");
    let (mut seen, mut cursor, mut calls) = (Vec::new(), 0, 0);
    loop {
        let hash = keyspace.hash(DB, b"h", Timestamp::ZERO);
        let hash = hash.expect("it is a hash").expect("it is there");
        cursor = hash.scan(cursor, 100, &mut |(field, value)| {
            if *value.to_bytes() == *b"stays" {
                seen.push(field.to_bytes().into_owned());
            }
        });
        calls += 1;
        if cursor == 0 {
            break;
        }
        // The table is parted, then joined.
        if calls < 50 {
            set_fields(
                &mut keyspace,
                b"h",
                calls * 10_000,
                calls * 10_000 + 1000,
                b"goes",
            );
        } else {
            let removed = keyspace.change_hash(DB, b"h", Absent::Leave, |hash| {
                for number in (calls - 49) * 10_000..(calls - 49) * 10_000 + 1000 {
                    hash.remove(&field(number));
                }
            });
            removed.expect("the key holds a hash");
        }
    }
    assert_eq!(seen.len(), 10_000);
    seen.sort();
    assert!((0..10_000).all(|number| seen[number as usize] == field(number)));
}
