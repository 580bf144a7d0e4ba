//! What a keyspace does, beside the model that does the same.

use std::collections::BTreeSet;

use base::{Db, Timestamp};
use proptest::collection::vec;
use proptest::prelude::*;

use super::model::{Content, Model, encoding_of};
use super::operations::{Key, operations};
use crate::{Encoding, Expiry, Keyspace};

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
                    (content, encoding_of(entry), entry.expires_at())
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
