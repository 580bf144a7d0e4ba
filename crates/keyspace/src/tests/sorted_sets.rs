//! Sorted sets, small and large: their forms, what they cost, and their way through snapshots.

use std::collections::BTreeMap;
use std::ops::Range;

use base::{Db, Timestamp};
use proptest::prelude::*;

use super::model::{Content, Model, Value};
use super::operations::{Field, field};
use crate::packed::{self, Element, pack};
use crate::{Absent, Encoding, Keyspace, Kind, SnapshotLoader, SortedSet, WrongKind};

const DB: Db = match Db::new(0) {
    Ok(db) => db,
    Err(_) => unreachable!(),
};

/// A change of a sorted set, for the random operations.
#[derive(Clone, Copy, Debug)]
pub(super) enum SortedSetChange {
    Set(Field, f64),
    Remove(Field),
    /// So many from a rank on.
    RemoveRanks(usize, usize),
}

/// Whole and broken ones, some of them equal, both zeros, those at the ends, and one whose bytes are digits.
fn score() -> impl Strategy<Value = f64> {
    prop_oneof![
        6 => (-3..4_i32).prop_map(f64::from),
        2 => any::<i32>().prop_map(|number| f64::from(number) / 8.0),
        1 => any::<f64>().prop_filter("no score is NaN", |score| !score.is_nan()),
        1 => proptest::sample::select(vec![
            -0.0, f64::INFINITY, f64::NEG_INFINITY, 9_007_199_254_740_992.0, 9_007_199_254_740_994.0, 1e300,
            f64::from_le_bytes(*b"12345678"),
        ]),
    ]
}

pub(super) fn sorted_set_change() -> impl Strategy<Value = SortedSetChange> {
    prop_oneof![
        12 => (field(), score()).prop_map(|(field, score)| SortedSetChange::Set(field, score)),
        4 => field().prop_map(SortedSetChange::Remove),
        2 => (0..4_usize, 0..4_usize)
            .prop_map(|(rank, count)| SortedSetChange::RemoveRanks(rank, count)),
    ]
}

impl SortedSetChange {
    pub(super) fn apply(
        self,
        keyspace: &mut Keyspace,
        db: Db,
        key: &[u8],
    ) -> Result<usize, WrongKind> {
        let absent = match self {
            SortedSetChange::Set(..) => Absent::Make,
            _ => Absent::Leave,
        };
        let done = keyspace.change_sorted_set(db, key, absent, |set| match self {
            SortedSetChange::Set(member, score) => {
                usize::from(set.set(&member.bytes(), score).is_some())
            }
            SortedSetChange::Remove(member) => usize::from(set.remove(&member.bytes()).is_some()),
            SortedSetChange::RemoveRanks(from, count) => {
                let end = set.len().min(from + count);
                set.remove_ranks(from.min(end)..end);
                end - from.min(end)
            }
        });
        done.map(Option::unwrap_or_default)
    }

    pub(super) fn apply_to_model(
        self,
        model: &mut Model,
        db: Db,
        key: &[u8],
    ) -> Result<usize, WrongKind> {
        match self {
            SortedSetChange::Set(member, score) => {
                let was_there = model.set_score(db, key, &member.bytes(), Some(score));
                was_there.map(usize::from)
            }
            SortedSetChange::Remove(member) => {
                let was_there = model.set_score(db, key, &member.bytes(), None);
                was_there.map(usize::from)
            }
            SortedSetChange::RemoveRanks(from, count) => {
                model.remove_ranks(db, key, from..from + count)
            }
        }
    }
}

impl Model {
    /// Gives a member a score, or removes it; whether there was one.
    fn set_score(
        &mut self,
        db: Db,
        key: &[u8],
        member: &[u8],
        to: Option<f64>,
    ) -> Result<bool, WrongKind> {
        self.change_scores(db, key, |members, encoding| {
            let old = members.get(member).copied().map(f64::from_bits);
            let is_long = old.is_none() && to.is_some() && member.len() > 64;
            match to {
                Some(score) if old == Some(score) => {}
                Some(score) => {
                    let is_packed = *encoding == Encoding::Listpack && !is_long;
                    // A packed zero has no sign.
                    let score = if is_packed { score + 0.0 } else { score };
                    members.insert(member.to_vec(), score.to_bits());
                }
                None => {
                    members.remove(member);
                }
            }
            if is_long || members.len() > 128 {
                *encoding = Encoding::Skiplist;
            }
            old.is_some()
        })
    }

    /// Removes the members with these ranks, as far as there are any; how many.
    fn remove_ranks(
        &mut self,
        db: Db,
        key: &[u8],
        ranks: Range<usize>,
    ) -> Result<usize, WrongKind> {
        self.change_scores(db, key, |members, _| {
            let mut ordered: Vec<(f64, Vec<u8>)> = members
                .iter()
                .map(|(member, bits)| (f64::from_bits(*bits), member.clone()))
                .collect();
            ordered.sort_by(|one, other| one.partial_cmp(other).expect("no score is NaN"));
            let end = ranks.end.min(ordered.len());
            let doomed = &ordered[ranks.start.min(end)..end];
            for (_, member) in doomed {
                members.remove(member);
            }
            doomed.len()
        })
    }

    fn change_scores<R>(
        &mut self,
        db: Db,
        key: &[u8],
        change: impl FnOnce(&mut BTreeMap<Vec<u8>, u64>, &mut Encoding) -> R,
    ) -> Result<R, WrongKind> {
        self.drop_expired(db, key);
        let mut value = self.get(db, key).cloned().unwrap_or_else(|| Value {
            content: Content::SortedSet(BTreeMap::new()),
            encoding: Encoding::Listpack,
            expires_at: None,
        });
        let Content::SortedSet(members) = &mut value.content else {
            return Err(WrongKind);
        };
        let result = change(members, &mut value.encoding);
        if members.is_empty() {
            self.map.remove(&(db, key.to_vec()));
        } else {
            self.put(db, key, value);
        }
        Ok(result)
    }
}

/// The members of a sorted set, which it tells in one order by all of its means.
pub(super) fn members_of(set: SortedSet<'_>) -> BTreeMap<Vec<u8>, u64> {
    let mut members: Vec<(f64, Vec<u8>)> = Vec::new();
    set.for_each(0..set.len(), false, &mut |member, score| {
        members.push((score, member.to_bytes().into_owned()));
    });
    assert_eq!(members.len(), set.len());
    assert!(
        members.is_sorted(),
        "the order is that of scores and members"
    );
    let mut reversed = Vec::new();
    set.for_each(0..set.len(), true, &mut |member, score| {
        reversed.push((score, member.to_bytes().into_owned()));
    });
    reversed.reverse();
    assert_eq!(members, reversed);
    for (rank, (score, member)) in members.iter().enumerate() {
        assert_eq!(set.rank(member), Some((rank, *score)));
        let before = set.count_before(|other, other_score| {
            (other_score, &*other.to_bytes()) < (*score, member.as_slice())
        });
        assert_eq!(before, rank);
    }
    let bits = members
        .into_iter()
        .map(|(score, member)| (member, score.to_bits()));
    let by_member: BTreeMap<_, _> = bits.collect();
    assert_eq!(by_member.len(), set.len(), "members differ");
    by_member
}

fn member(number: u32) -> Vec<u8> {
    format!("member:{number:06}").into_bytes()
}

/// A score without order among those of other numbers.
fn score_of(number: u32) -> f64 {
    f64::from(number.wrapping_mul(2_654_435_761) >> 12) / 4.0
}

fn add(keyspace: &mut Keyspace, key: &[u8], numbers: Range<u32>, extra: f64) {
    let changed = keyspace.change_sorted_set(DB, key, Absent::Make, |set| {
        for number in numbers {
            set.set(&member(number), score_of(number) + extra);
        }
    });
    changed.expect("the key holds a sorted set");
}

fn encoding(keyspace: &Keyspace, key: &[u8]) -> Encoding {
    let entry = keyspace.get(DB, key, Timestamp::ZERO);
    entry.expect("the key is there").encoding()
}

fn load(bytes: &[u8]) -> Keyspace {
    let mut loader = SnapshotLoader::new();
    for chunk in bytes.chunks(10_000) {
        loader.feed(chunk).expect("a snapshot can be loaded");
    }
    loader.finish().expect("the snapshot is whole")
}

#[test]
fn a_set_leaves_its_packed_form_at_the_thresholds_and_never_returns() {
    let mut keyspace = Keyspace::new(7);
    add(&mut keyspace, b"many", 0..128, 0.0);
    assert_eq!(encoding(&keyspace, b"many"), Encoding::Listpack);
    add(&mut keyspace, b"many", 0..128, 1.0);
    assert_eq!(encoding(&keyspace, b"many"), Encoding::Listpack);
    add(&mut keyspace, b"many", 128..129, 0.0);
    assert_eq!(encoding(&keyspace, b"many"), Encoding::Skiplist);
    let removed = keyspace.change_sorted_set(DB, b"many", Absent::Leave, |set| {
        set.remove_ranks(1..129);
        set.len()
    });
    assert_eq!(removed, Ok(Some(1)));
    assert_eq!(encoding(&keyspace, b"many"), Encoding::Skiplist);
    for (key, len, expected) in [
        (b"short", 64, Encoding::Listpack),
        (b"large", 65, Encoding::Skiplist),
    ] {
        let set =
            keyspace.change_sorted_set(DB, key, Absent::Make, |set| set.set(&vec![b'x'; len], 1.0));
        assert_eq!(set, Ok(Some(None)));
        assert_eq!(encoding(&keyspace, key), expected);
    }
    keyspace.check();
}

#[test]
fn a_large_set_stands_in_bounded_pieces_as_it_was_when_the_snapshot_began() {
    let mut keyspace = Keyspace::new(7);
    add(&mut keyspace, b"{t}large", 0..40_000, 0.0);
    add(&mut keyspace, b"{t}other", 0..20_000, 0.0);
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
        for key in [&b"{t}large"[..], b"{t}other"] {
            number = (number + 7919) % 80_000;
            add(&mut keyspace, key, number..number + 3, 0.5);
            let removed = keyspace.change_sorted_set(DB, key, Absent::Leave, |set| {
                set.remove(&member((number + 17) % 40_000));
                let rank = number as usize % set.len();
                set.remove_ranks(rank..set.len().min(rank + 5));
            });
            removed.expect("the key holds a sorted set");
        }
        if steps == 20 {
            keyspace.rename(DB, b"{t}large", b"{t}renamed");
            add(&mut keyspace, b"{t}large", 0..3, 0.0);
        }
    }
    assert!(steps > 30, "{steps} steps");
    keyspace.check();
    let restored = load(&bytes);
    restored.check();
    at_begin.assert_shown_by(&restored);
}

#[test]
fn the_bytes_of_a_snapshot_say_nothing_of_the_past() {
    let mut snapshots = [false, true].map(|with_detours| {
        let mut keyspace = Keyspace::new(7);
        if with_detours {
            add(&mut keyspace, b"key", 5000..9000, 0.0);
            add(&mut keyspace, b"key", 0..3000, 7.0);
        }
        // Versions count the changes, so there are as many on both ways.
        for _ in 0..if with_detours { 1 } else { 3 } {
            keyspace.set(DB, b"other", b"", crate::Expiry::Clear);
        }
        add(&mut keyspace, b"key", 0..5000, 0.0);
        let removed = keyspace.change_sorted_set(DB, b"key", Absent::Leave, |set| {
            for number in 5000..9000 {
                set.remove(&member(number));
            }
        });
        removed.expect("the key holds a sorted set");
        let mut bytes = Vec::new();
        keyspace.begin_snapshot();
        while !keyspace.snapshot_step(10_000, &mut bytes) {}
        bytes
    });
    let [one, other] = snapshots.each_mut().map(std::mem::take);
    assert!(one == other);
}

#[test]
fn a_copy_of_a_large_set_is_its_own() {
    let mut keyspace = Keyspace::new(7);
    add(&mut keyspace, b"from", 0..20_000, 0.0);
    assert!(keyspace.copy(DB, b"from", DB, b"to"));
    add(&mut keyspace, b"from", 0..100, 0.5);
    let removed = keyspace.change_sorted_set(DB, b"to", Absent::Leave, |set| {
        set.remove_ranks(0..15_000);
    });
    removed.expect("the key holds a sorted set");
    keyspace.check();
    let set = |key: &[u8]| {
        let set = keyspace.sorted_set(DB, key, Timestamp::ZERO);
        set.expect("it is a sorted set").expect("it is there")
    };
    assert_eq!((set(b"from").len(), set(b"to").len()), (20_000, 5_000));
    assert_eq!(set(b"from").score(&member(7)), Some(score_of(7) + 0.5));
}

#[test]
fn a_write_during_a_snapshot_copies_a_part_of_a_large_set_alone() {
    let mut keyspace = Keyspace::new(7);
    add(&mut keyspace, b"large", 0..200_000, 0.0);
    let before = keyspace.memory_used();
    keyspace.begin_snapshot();
    add(&mut keyspace, b"large", 77..78, 0.5);
    assert!(
        keyspace.memory_used() - before < 100_000,
        "nothing is copied whole"
    );
}

/// `MEMORY USAGE` of Redis 7.0 tells 26.1 and 103.8 bytes for each of these members.
#[test]
fn sets_take_less_than_in_redis() {
    for (count, most) in [(100, 26.1), (100_000, 64.0)] {
        let mut keyspace = Keyspace::new(7);
        add(&mut keyspace, b"{t}other", 0..1, 0.0);
        let before = keyspace.memory_used();
        add(&mut keyspace, b"{t}key", 0..count, 0.0);
        let each = (keyspace.memory_used() - before) as f64 / f64::from(count);
        assert!(each < most, "{each} bytes for each of {count} members");
    }
}

#[test]
fn a_walk_by_cursor_finds_what_stays() {
    let mut keyspace = Keyspace::new(7);
    add(&mut keyspace, b"key", 0..5_000, 0.0);
    let (mut seen, mut cursor, mut turn) = (Vec::new(), 0, 0);
    loop {
        let set = keyspace.sorted_set(DB, b"key", Timestamp::ZERO);
        let set = set.expect("it is a sorted set").expect("it is there");
        let mut found = 0;
        cursor = set.scan(cursor, 10, &mut |member, score| {
            found += 1;
            if score < 1e9 {
                seen.push(member.to_bytes().into_owned());
            }
        });
        assert!(found <= 12, "a call visits about `count`");
        if cursor == 0 {
            break;
        }
        turn += 1;
        let far = 10_000 + turn * 40;
        add(&mut keyspace, b"key", far..far + 40, 1e9);
    }
    seen.sort();
    assert!(
        seen.iter()
            .eq((0..5_000).map(member).collect::<Vec<_>>().iter())
    );
}

#[test]
fn only_runs_that_are_sorted_sets_are_taken_from_outside() {
    let is_one = |elements: &[&[u8]]| {
        Encoding::Listpack.allows(Kind::SortedSet, &pack(elements.iter().copied()))
    };
    let half = 0.5_f64.to_le_bytes();
    assert!(is_one(&[b"a", b"1", b"b", b"1", b"a1", b"2"]));
    assert!(is_one(&[b"b", &half, b"a", b"1"]));
    for (why, elements) in [
        ("no score", &[&b"a"[..], b"1", b"b"][..]),
        ("not in the order of scores", &[b"a", b"2", b"b", b"1"]),
        ("not in the order of members", &[b"b", b"1", b"a", b"1"]),
        ("a member twice", &[b"a", b"1", b"a", b"2"]),
        ("no number", &[b"a", b"x"]),
        ("NaN", &[b"a", &f64::NAN.to_le_bytes()]),
        (
            "a whole number as a double",
            &[b"a", &1.0_f64.to_le_bytes()],
        ),
        (
            "a score and more",
            &[b"a", &[0, 0, 0, 0, 0, 0, 0xe0, 0x3f, 0]],
        ),
        ("a number beyond doubles", &[b"a", b"9007199254740993"]),
        ("nothing", &[]),
    ] {
        assert!(!is_one(elements), "{why}");
    }
}

#[test]
fn a_score_whose_bytes_are_digits_is_no_number() {
    let mut keyspace = Keyspace::new(7);
    let digits = f64::from_le_bytes(*b"12345678");
    let set = keyspace.change_sorted_set(DB, b"key", Absent::Make, |set| {
        set.set(b"a", digits);
        set.score(b"a")
    });
    assert_eq!(set, Ok(Some(Some(digits))));
    let run = keyspace.get(DB, b"key", Timestamp::ZERO);
    let run = run.and_then(|entry| entry.run()).expect("it is packed");
    assert!(Encoding::Listpack.allows(Kind::SortedSet, run));
    let last = packed::Packed::new(run).iter().last();
    assert_eq!(
        last.map(|(_, score)| score),
        Some(Element::Bytes(b"12345678\0"))
    );
}
