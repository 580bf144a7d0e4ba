//! Snapshots: what they hold, and what a loader makes of damaged ones.

use base::{Db, Timestamp};
use proptest::prelude::*;

use super::model::Model;
use super::operations::{Operation, operations};
use crate::stream::{CRC_BYTES, OPTIONAL, SLICE_BYTES, StreamHeader};
use crate::{Absent, Expiry, Keyspace, SnapshotError, SnapshotLoader};

fn whole_snapshot(keyspace: &mut Keyspace) -> Vec<u8> {
    let mut bytes = Vec::new();
    keyspace.begin_snapshot();
    assert!(keyspace.snapshot_step(usize::MAX, &mut bytes));
    bytes
}

fn load(bytes: &[u8], chunk: usize) -> Result<Keyspace, SnapshotError> {
    let mut loader = SnapshotLoader::new();
    for chunk in bytes.chunks(chunk.max(1)) {
        loader.feed(chunk)?;
    }
    loader.finish()
}

fn fill_hash(keyspace: &mut Keyspace, key: &[u8], fields: u64, value: &[u8]) {
    let filled = keyspace.change_hash(Db::default(), key, Absent::Make, |hash| {
        for number in 0..fields {
            hash.set(format!("field:{number}").as_bytes(), value);
        }
    });
    filled.expect("the key is absent or holds a hash");
}

fn sample(keys: u64) -> Keyspace {
    let mut keyspace = Keyspace::new(42);
    for number in 0..keys {
        let db = Db::new((number % 3) as u8).expect("below 16");
        let at = Timestamp::from_millis(1000 + number);
        let expiry = if number % 4 == 0 {
            Expiry::At(at)
        } else {
            Expiry::Clear
        };
        let value = vec![number as u8; number as usize % 300];
        keyspace.set(
            db,
            format!("{{{}}}key:{number}", number % 40).as_bytes(),
            &value,
            expiry,
        );
    }
    keyspace.set(Db::default(), b"number", b"12345", Expiry::Clear);
    keyspace
        .append(Db::default(), b"grown", b"12345")
        .expect("the key is absent");
    fill_hash(&mut keyspace, b"small", 20, b"value");
    fill_hash(&mut keyspace, b"large", keys.min(700), &[b'v'; 70]);
    keyspace.set(Db::default(), b"", &[7; 20_000], Expiry::Clear);
    keyspace.set_stamp(Timestamp::from_millis(1100));
    keyspace
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    /// The same operations on two keyspaces, one of them through a snapshot that was taken bit by
    /// bit while they went on.
    #[test]
    fn a_snapshot_is_of_its_beginning_and_changes_nothing(
        before in operations(100),
        during in operations(100),
        after in operations(60),
        budget in prop_oneof![1..500_usize, 1..100_000_usize],
        pace in 1..30_usize,
        chunk in 1..5000_usize,
        seed in any::<u64>(),
        abandoned in 0..3_usize,
    ) {
        let mut plain = Keyspace::new(seed);
        let mut other = Keyspace::new(seed);
        let apply = |operation: &Operation, plain: &mut Keyspace, other: &mut Keyspace| {
            assert_eq!(operation.apply(plain), operation.apply(other));
        };
        for (count, operation) in before.iter().enumerate() {
            apply(operation, &mut plain, &mut other);
            if count % 25 < abandoned {
                other.begin_snapshot();
                other.snapshot_step(budget, &mut Vec::new());
                other.abandon_snapshot();
            }
        }
        let at_begin = Model::of(&plain);
        other.begin_snapshot();
        prop_assert!(other.snapshot_running());
        let mut bytes = Vec::new();
        let mut complete = false;
        for (count, operation) in during.iter().enumerate() {
            apply(operation, &mut plain, &mut other);
            if count % pace == 0 && !complete {
                complete = other.snapshot_step(budget, &mut bytes);
            }
        }
        while !complete {
            complete = other.snapshot_step(budget, &mut bytes);
        }
        prop_assert!(!other.snapshot_running());
        let mut restored = load(&bytes, chunk).expect("a snapshot can be loaded");
        at_begin.assert_shown_by(&restored);
        Model::of(&plain).assert_shown_by(&other);
        for operation in &during {
            operation.apply(&mut restored);
        }
        for operation in &after {
            let outcome = operation.apply(&mut restored);
            prop_assert_eq!(outcome, operation.apply(&mut plain), "{:?}", operation);
            prop_assert_eq!(outcome, operation.apply(&mut other), "{:?}", operation);
        }
        restored.check();
        let expected = whole_snapshot(&mut plain);
        prop_assert_eq!(&whole_snapshot(&mut other), &expected);
        prop_assert_eq!(&whole_snapshot(&mut restored), &expected);
    }

    #[test]
    fn garbage_is_refused(
        garbage in proptest::collection::vec(any::<u8>(), 0..3000),
        chunk in 1..3000_usize,
        has_header in any::<bool>(),
    ) {
        let header = whole_snapshot(&mut Keyspace::new(1));
        let start = if has_header { &header[..StreamHeader::BYTES + CRC_BYTES] } else { &[] };
        prop_assert!(load(&[start, &garbage].concat(), chunk).is_err());
    }
}

#[test]
fn the_bytes_depend_neither_on_steps_nor_on_history() {
    let mut keyspace = sample(3000);
    let expected = whole_snapshot(&mut keyspace);
    for budget in [0, 1, 1000, SLICE_BYTES, 200_000] {
        let mut bytes = Vec::new();
        keyspace.begin_snapshot();
        loop {
            let start = bytes.len();
            let complete = keyspace.snapshot_step(budget, &mut bytes);
            assert!(bytes.len() - start <= budget + SLICE_BYTES + 21_000);
            if complete {
                break;
            }
        }
        assert!(bytes == expected, "with a budget of {budget}");
    }
    let mut restored = load(&expected, 777).expect("the snapshot is whole");
    assert!(whole_snapshot(&mut restored) == expected);
}

#[test]
fn a_snapshot_that_is_cut_anywhere_is_refused() {
    let bytes = whole_snapshot(&mut sample(30));
    for end in 0..bytes.len() {
        assert_eq!(
            load(&bytes[..end], 64 << 10).err(),
            Some(SnapshotError::Truncated { offset: end as u64 }),
            "cut at {end}"
        );
    }
    for more in [&b"\0"[..], &bytes] {
        assert_eq!(
            load(&[&bytes, more].concat(), 64 << 10).err(),
            Some(SnapshotError::TrailingBytes {
                offset: bytes.len() as u64
            })
        );
    }
}

#[test]
fn a_snapshot_with_any_bit_flipped_is_refused() {
    let mut bytes = whole_snapshot(&mut sample(20));
    for at in 0..bytes.len() {
        for bit in 0..8 {
            bytes[at] ^= 1 << bit;
            let error = load(&bytes, 64 << 10).err();
            assert!(
                matches!(
                    error,
                    Some(SnapshotError::Checksum { offset }) if offset + 4 > at as u64
                ) || (at < 8 && error == Some(SnapshotError::NotASnapshot)),
                "bit {bit} of byte {at}: {error:?}"
            );
            bytes[at] ^= 1 << bit;
        }
    }
}

/// Where each part of a snapshot ends.
fn parts(bytes: &[u8]) -> Vec<usize> {
    let mut ends = vec![StreamHeader::BYTES + CRC_BYTES];
    let mut at = ends[0];
    while at < bytes.len() {
        let body = u32::from_le_bytes(bytes[at + 8..at + 12].try_into().expect("four bytes"));
        at += if bytes[at] == crate::stream::END {
            16
        } else {
            20 + body as usize
        };
        ends.push(at);
    }
    ends
}

#[test]
fn slices_that_are_left_out_or_moved_or_repeated_are_noticed() {
    let bytes = whole_snapshot(&mut sample(500));
    let ends = parts(&bytes);
    assert!(ends.len() > 20);
    for window in ends.windows(3) {
        let [start, middle, end] = window else {
            unreachable!("windows of three")
        };
        let (head, first) = (&bytes[..*start], &bytes[*start..*middle]);
        let (second, tail) = (&bytes[*middle..*end], &bytes[*end..]);
        for forged in [
            [head, second, first, tail].concat(),
            [head, second, tail].concat(),
            [head, first, first, second, tail].concat(),
        ] {
            let error = load(&forged, 64 << 10).err();
            assert!(
                matches!(error, Some(SnapshotError::Checksum { .. })),
                "{error:?}"
            );
        }
    }
}

/// Changes a snapshot of which all parts are read, and makes its checksums right again.
fn forged(bytes: &[u8], change: impl FnOnce(&mut Vec<Vec<u8>>)) -> Vec<u8> {
    let mut starts = parts(bytes);
    starts.insert(0, 0);
    let mut parts: Vec<Vec<u8>> = starts
        .windows(2)
        .map(|window| bytes[window[0]..window[1]].to_vec())
        .collect();
    change(&mut parts);
    let mut crc = 0;
    let mut forged = Vec::new();
    for (number, mut part) in parts.into_iter().enumerate() {
        let header = if number == 0 { StreamHeader::BYTES } else { 12 };
        crc = crc32c::crc32c_append(crc, &part[..header]);
        part[header..header + 4].copy_from_slice(&crc.to_le_bytes());
        let body_end = part.len() - 4;
        if body_end > header {
            crc = crc32c::crc32c_append(crc, &part[header + 4..body_end]);
            part[body_end..].copy_from_slice(&crc.to_le_bytes());
        }
        forged.extend(part);
    }
    forged
}

#[test]
fn a_snapshot_that_cannot_be_is_refused_though_its_checksums_match() {
    let bytes = whole_snapshot(&mut sample(200));
    assert!(forged(&bytes, |_| {}) == bytes);
    type Change = fn(&mut Vec<Vec<u8>>);
    let changes: [(&str, Change); 13] = [
        ("versions come first, and once", |parts| {
            drop(parts.remove(1));
        }),
        ("versions come first, and once", |parts| {
            parts.insert(2, parts[1].clone());
        }),
        ("slices are out of order", |parts| parts.swap(2, 3)),
        ("the end does not tell the number of entries", |parts| {
            drop(parts.remove(2));
        }),
        ("no such database", |parts| parts[2][1] = 16),
        ("no such slot", |parts| parts[2][3] = 0x40),
        ("no such kind of slice", |parts| parts[2][0] = 9),
        ("a slice has no room for its entries", |parts| {
            parts[2][7] = 0xff;
        }),
        ("a slice has no room for its entries", |parts| {
            parts[2][4..8].fill(0);
        }),
        ("an entry is of no known kind", |parts| parts[2][16] = 0x62),
        ("an entry goes beyond its slice", |parts| {
            parts[2][16..25].copy_from_slice(&[2, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0x7f]);
        }),
        ("a slice is longer than its entries", |parts| {
            let count = parts.iter().position(|part| part[0] == 1 && part[4] > 1);
            parts[count.expect("a slice has two entries")][4] -= 1;
        }),
        ("an entry stands in another slot than its key's", |parts| {
            let last = parts.len() - 2;
            parts[last][2] ^= 1;
        }),
    ];
    for (expected, change) in changes {
        let error = load(&forged(&bytes, change), 64 << 10).err();
        assert!(
            matches!(error, Some(SnapshotError::Malformed { what, .. }) if what == expected),
            "{expected}: {error:?}"
        );
    }
    let error = load(&forged(&bytes, |parts| parts[0][8] = 2), 100).err();
    assert_eq!(error, Some(SnapshotError::Version { found: 2 }));
}

#[test]
fn what_a_later_minor_version_adds_is_passed_over() {
    let mut keyspace = sample(200);
    let bytes = whole_snapshot(&mut keyspace);
    let later = forged(&bytes, |parts| {
        parts[0][10] = 1;
        let mut slice = vec![OPTIONAL, 99, 0xff, 0xff, 0xff, 0, 0, 0, 5, 0, 0, 0];
        slice.extend_from_slice(&[0; CRC_BYTES]);
        slice.extend_from_slice(b"later");
        slice.extend_from_slice(&[0; CRC_BYTES]);
        parts.insert(2, slice);
    });
    let mut loaded = load(&later, 7).expect("the same major version");
    assert!(whole_snapshot(&mut loaded) == bytes);
}

#[test]
fn entries_out_of_order_are_refused() {
    let mut keyspace = Keyspace::new(42);
    for key in ["{t}a", "{t}b"] {
        keyspace.set(Db::default(), key.as_bytes(), b"value", Expiry::Clear);
    }
    // Both entries take as many bytes.
    let swapped = forged(&whole_snapshot(&mut keyspace), |parts| {
        let body_end = parts[2].len() - 4;
        let body = &mut parts[2][16..body_end];
        let half = body.len() / 2;
        body.rotate_left(half);
    });
    let error = load(&swapped, 100).err();
    assert!(
        matches!(
            error,
            Some(SnapshotError::Malformed {
                what: "entries are out of order",
                ..
            })
        ),
        "{error:?}"
    );
}

#[test]
fn a_key_that_stands_twice_is_refused() {
    let mut keyspace = Keyspace::new(42);
    keyspace.set(Db::default(), b"key", b"value", Expiry::Clear);
    let bytes = whole_snapshot(&mut keyspace);
    let twice = forged(&bytes, |parts| {
        let copy = parts[2].clone();
        parts.insert(3, copy);
    });
    let error = load(&twice, 100).err();
    assert!(
        matches!(
            error,
            Some(SnapshotError::Malformed {
                what: "a key stands twice",
                ..
            })
        ),
        "{error:?}"
    );
}

#[test]
fn a_loader_allocates_nothing_for_what_is_only_announced() {
    let mut keyspace = Keyspace::new(42);
    keyspace.set(Db::default(), b"key", b"value", Expiry::Clear);
    let bytes = whole_snapshot(&mut keyspace);
    let huge = forged(&bytes, |parts| {
        parts[1][4..12].copy_from_slice(&[0xff, 0xff, 0xff, 0x0f, 0xff, 0xff, 0xff, 0xff]);
    });
    let mut loader = SnapshotLoader::new();
    loader.feed(&huge).expect("it waits for the rest");
    assert!(loader.capacity() < 1 << 10);
    let error = loader.finish().err();
    assert_eq!(
        error,
        Some(SnapshotError::Truncated {
            offset: huge.len() as u64
        })
    );
}

#[test]
fn a_failed_loader_stays_failed() {
    let mut loader = SnapshotLoader::new();
    assert_eq!(loader.feed(b"*3\r\n"), Err(SnapshotError::NotASnapshot));
    let bytes = whole_snapshot(&mut Keyspace::new(1));
    assert_eq!(loader.feed(&bytes), Err(SnapshotError::NotASnapshot));
    assert_eq!(loader.finish().err(), Some(SnapshotError::NotASnapshot));
}

#[test]
fn a_flush_during_a_snapshot_takes_nothing_from_it() {
    let mut keyspace = sample(20_000);
    let at_begin = Model::of(&keyspace);
    let full = keyspace.memory_used();
    keyspace.begin_snapshot();
    let mut bytes = Vec::new();
    assert!(!keyspace.snapshot_step(100_000, &mut bytes));
    drop(keyspace.flush_all());
    assert!(
        keyspace.memory_used() > full / 2,
        "what the snapshot lacks is kept, and counted"
    );
    keyspace.set(Db::default(), b"new", b"", Expiry::Clear);
    drop(keyspace.flush_db(Db::default()));
    keyspace.set(Db::default(), b"newer", b"", Expiry::Clear);
    while !keyspace.snapshot_step(10_000, &mut bytes) {}
    at_begin.assert_shown_by(&load(&bytes, 10_000).expect("the snapshot is whole"));
    assert_eq!(keyspace.len(Db::default()), 1);
}

#[test]
fn what_an_abandoned_snapshot_kept_is_freed_bit_by_bit() {
    let mut keyspace = Keyspace::new(1);
    for number in 0..20_000 {
        let key = format!("{{t}}{number}");
        keyspace.set(Db::default(), key.as_bytes(), &[0; 100], Expiry::Clear);
    }
    for number in 0..20_000 {
        keyspace.set(
            Db::default(),
            format!("{number}").as_bytes(),
            &[0; 100],
            Expiry::Clear,
        );
    }
    let empty = Keyspace::new(1).memory_used();
    keyspace.begin_snapshot();
    drop(keyspace.flush_all());
    let full = keyspace.memory_used();
    keyspace.abandon_snapshot();
    assert_eq!(keyspace.memory_used(), full);
    let mut last = full;
    for _ in 0..20_000 {
        keyspace.set_stamp(keyspace.stamp());
        let used = keyspace.memory_used();
        assert!(used <= last && last - used < 2_000_000);
        last = used;
    }
    assert_eq!(last, empty);
}

#[test]
fn snapshots_stay_right_after_hundreds_were_abandoned() {
    let mut keyspace = sample(100);
    let expected = whole_snapshot(&mut keyspace);
    for abandoned in [254, 255, 256, 511, 600] {
        for _ in 0..abandoned {
            keyspace.begin_snapshot();
            keyspace.snapshot_step(500, &mut Vec::new());
            keyspace.abandon_snapshot();
        }
        assert!(
            whole_snapshot(&mut keyspace) == expected,
            "after {abandoned}"
        );
    }
}

#[test]
fn a_slot_that_grows_and_shrinks_during_its_snapshot_is_written_as_it_was() {
    let db = Db::default();
    let mut keyspace = Keyspace::new(1);
    let key = |number: u64| format!("{{t}}{}", number % 60_000);
    for number in 0..30_000 {
        keyspace.set(
            db,
            key(number).as_bytes(),
            &number.to_le_bytes(),
            Expiry::Clear,
        );
    }
    let at_begin = Model::of(&keyspace);
    keyspace.begin_snapshot();
    let mut bytes = Vec::new();
    let (mut state, mut step) = (1_u64, 0);
    while !keyspace.snapshot_step(3000, &mut bytes) {
        step += 1;
        for _ in 0..300 {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            let key = key(state >> 33);
            // It grows to twice its size, then shrinks to little, so that it is parted and joined.
            if step % 300 < 100 || state >> 60 == 0 {
                keyspace.set(db, key.as_bytes(), b"new", Expiry::Clear);
            } else {
                keyspace.remove(db, key.as_bytes());
            }
        }
    }
    assert!(step > 100);
    keyspace.check();
    at_begin.assert_shown_by(&load(&bytes, 4000).expect("the snapshot is whole"));
}

/// Random writes during a snapshot must cost memory in proportion to themselves.
#[test]
fn a_write_keeps_one_entry_for_the_snapshot() {
    let mut keyspace = Keyspace::new(1);
    for number in 0..20_000 {
        let key = format!("{{t}}{number}");
        keyspace.set(Db::default(), key.as_bytes(), &[0; 100], Expiry::Clear);
    }
    let before = keyspace.memory_used();
    keyspace.begin_snapshot();
    for number in 0..100 {
        let key = format!("{{t}}{number}");
        keyspace.set(Db::default(), key.as_bytes(), &[1; 100], Expiry::Clear);
        keyspace
            .append(Db::default(), key.as_bytes(), b"x")
            .expect("it is a string");
    }
    assert!(keyspace.memory_used() - before < 100 * 500);
}
