//! Lists against the simplest list there is, and what large ones cost.

use std::collections::VecDeque;
use std::ops::ControlFlow;

use base::{Db, Timestamp};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::{Absent, Encoding, End, Entry, Keyspace, Limits, List, ListMut, SnapshotLoader};

const DB: Db = match Db::new(0) {
    Ok(db) => db,
    Err(_) => unreachable!(),
};
const KEY: &[u8] = b"list";

/// A change; places are taken modulo the length.
#[derive(Clone, Debug)]
enum Change {
    Push(End, Vec<Vec<u8>>),
    Pop(End),
    Set(usize, Vec<u8>),
    Insert(usize, Vec<u8>),
    Remove(usize, usize),
    RemoveEqual(Vec<u8>, End, usize),
    /// Another limit holds from here on.
    Limit(i32),
    /// A snapshot begins, and is written and loaded at the next change but this many.
    Snapshot(usize),
}

fn element() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        // Few, so that equal ones meet.
        6 => (0..6_u8).prop_map(|number| number.to_string().into_bytes()),
        6 => (0..40_usize).prop_map(|len| vec![b'e'; len]),
        3 => (0..700_usize).prop_map(|len| vec![b'l'; len]),
        1 => (4000..9000_usize).prop_map(|len| vec![b'x'; len]),
    ]
}

fn end() -> impl Strategy<Value = End> {
    prop_oneof![Just(End::Head), Just(End::Tail)]
}

fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        8 => (end(), vec(element(), 1..30)).prop_map(|(end, elements)| Change::Push(end, elements)),
        4 => end().prop_map(Change::Pop),
        4 => (any::<usize>(), element()).prop_map(|(at, element)| Change::Set(at, element)),
        8 => (any::<usize>(), element()).prop_map(|(at, element)| Change::Insert(at, element)),
        3 => (any::<usize>(), 0..60_usize).prop_map(|(at, count)| Change::Remove(at, count)),
        3 => (element(), end(), 1..20_usize)
            .prop_map(|(element, end, most)| Change::RemoveEqual(element, end, most)),
        1 => (-6..6_i32).prop_map(Change::Limit),
        2 => (0..4_usize).prop_map(Change::Snapshot),
    ]
}

impl Change {
    fn apply(&self, keyspace: &mut Keyspace) -> usize {
        let mut result = 0;
        let absent = match self {
            Change::Limit(size) => {
                keyspace.set_limits(Limits {
                    list_max_listpack_size: *size,
                    ..Limits::default()
                });
                return 0;
            }
            Change::Snapshot(_) => return 0,
            Change::Push(..) | Change::Insert(..) => Absent::Make,
            _ => Absent::Leave,
        };
        let changed = keyspace.change_list(DB, KEY, absent, |list| {
            result = self.apply_to(list);
        });
        changed.expect("the key holds a list");
        result
    }

    fn apply_to(&self, list: &mut ListMut<'_>) -> usize {
        let len = list.len();
        match self {
            Change::Push(end, elements) => {
                list.push(
                    *end,
                    &elements.iter().map(Vec::as_slice).collect::<Vec<_>>(),
                );
                0
            }
            Change::Pop(end) => list.pop(*end).map_or(0, |element| element.len()),
            Change::Set(at, element) => {
                list.set(at % len, element);
                0
            }
            Change::Insert(at, element) => {
                list.insert(at % (len + 1), element);
                0
            }
            Change::Remove(at, count) => {
                let at = at % len;
                list.remove(at..(at + count).min(len));
                0
            }
            Change::RemoveEqual(element, end, most) => list.remove_equal(element, *end, *most),
            Change::Limit(_) | Change::Snapshot(_) => 0,
        }
    }

    fn apply_to_model(&self, list: &mut VecDeque<Vec<u8>>) -> usize {
        let len = list.len();
        match self {
            Change::Push(End::Head, elements) => {
                elements
                    .iter()
                    .for_each(|element| list.push_front(element.clone()));
                0
            }
            Change::Push(End::Tail, elements) => {
                list.extend(elements.iter().cloned());
                0
            }
            Change::Pop(End::Head) => list.pop_front().map_or(0, |element| element.len()),
            Change::Pop(End::Tail) => list.pop_back().map_or(0, |element| element.len()),
            Change::Insert(at, element) => {
                list.insert(at % (len + 1), element.clone());
                0
            }
            Change::Set(at, element) if len > 0 => {
                list[at % len] = element.clone();
                0
            }
            Change::Remove(at, count) if len > 0 => {
                let at = at % len;
                list.drain(at..(at + count).min(len));
                0
            }
            Change::RemoveEqual(sought, end, most) => {
                let mut removed = 0;
                for number in 0..len {
                    let at = match end {
                        End::Head => number - removed,
                        End::Tail => len - 1 - number,
                    };
                    if removed < *most && list[at] == *sought {
                        list.remove(at);
                        removed += 1;
                    }
                }
                removed
            }
            _ => 0,
        }
    }
}

fn entry(keyspace: &Keyspace) -> Option<Entry<'_>> {
    keyspace.entry(DB, KEY)
}

fn list(keyspace: &Keyspace) -> List<'_> {
    let list = keyspace.list(DB, KEY, Timestamp::ZERO);
    list.expect("it is a list").expect("it is there")
}

fn elements(keyspace: &Keyspace) -> VecDeque<Vec<u8>> {
    let mut elements = VecDeque::new();
    if entry(keyspace).is_some() {
        let list = list(keyspace);
        list.range(0..list.len(), &mut |element| {
            elements.push_back(element.to_bytes().into_owned());
        });
    }
    elements
}

/// All that a replica could tell: encoding and bytes.
fn state(keyspace: &Keyspace) -> Option<(Encoding, Vec<u8>)> {
    let mut bytes = Vec::new();
    let entry = entry(keyspace)?;
    entry.for_each_piece(&mut |piece| {
        assert!(piece.len() < 120_000, "a piece is bounded");
        bytes.extend_from_slice(piece);
    });
    Some((entry.encoding(), bytes))
}

fn load(bytes: &[u8]) -> Keyspace {
    let mut loader = SnapshotLoader::new();
    loader.feed(bytes).expect("a snapshot can be loaded");
    loader.finish().expect("the snapshot is whole")
}

fn positions(list: List<'_>, sought: &[u8], from: End, most: usize, stop: usize) -> Vec<usize> {
    let mut found = Vec::new();
    list.positions(sought, from, most, &mut |index| {
        found.push(index);
        if found.len() == stop {
            return ControlFlow::Break(());
        }
        ControlFlow::Continue(())
    });
    found
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_list_does_what_a_plain_one_does(
        size in -5..8_i32,
        changes in vec(change(), 1..60),
        range in any::<(usize, usize)>(),
        sought in element(),
        most in 0..200_usize,
        stop in 1..5_usize,
    ) {
        let mut keyspace = Keyspace::new(7);
        Change::Limit(size).apply(&mut keyspace);
        let mut model = VecDeque::new();
        let mut snapshot = None;
        for change in &changes {
            let mine = change.apply(&mut keyspace);
            prop_assert_eq!(mine, change.apply_to_model(&mut model), "{:?}", change);
            keyspace.check();
            if let (Change::Snapshot(left), None) = (change, &snapshot) {
                keyspace.begin_snapshot();
                snapshot = Some((*left, state(&keyspace)));
            } else if let Some((0, before)) = &snapshot {
                let mut bytes = Vec::new();
                while !keyspace.snapshot_step(100, &mut bytes) {}
                let limits = *keyspace.limits();
                let mut restored = load(&bytes);
                restored.set_limits(limits);
                restored.check();
                prop_assert_eq!(&state(&restored), before);
                if *before == state(&keyspace) {
                    // It goes on as if it had never been a snapshot.
                    keyspace = restored;
                }
                snapshot = None;
            } else if let Some((left, _)) = &mut snapshot {
                *left -= 1;
            }
        }
        prop_assert_eq!(&elements(&keyspace), &model);
        if model.is_empty() {
            prop_assert!(entry(&keyspace).is_none());
            return Ok(());
        }
        let list = list(&keyspace);
        let (start, end) = (range.0 % model.len(), range.1 % (model.len() + 1));
        let mut part = Vec::new();
        list.range(start..end.max(start), &mut |element| part.push(element.to_bytes().into_owned()));
        prop_assert_eq!(part, model.range(start..end.max(start)).cloned().collect::<Vec<_>>());
        let one = list.get(start).map(|element| element.to_bytes().into_owned());
        prop_assert_eq!(one.as_ref(), Some(&model[start]));
        prop_assert!(list.get(model.len()).is_none());
        let equal = |(index, element): (usize, &Vec<u8>)| (*element == sought).then_some(index);
        let all: Vec<usize> = model.iter().enumerate().filter_map(equal).collect();
        prop_assert_eq!(list.position(&sought), all.first().copied());
        let head: Vec<usize> = all.iter().copied().filter(|&at| at < most).take(stop).collect();
        prop_assert_eq!(positions(list, &sought, End::Head, most, stop), head);
        let len = model.len();
        let tail: Vec<usize> =
            all.iter().rev().copied().filter(|&at| len - at <= most).take(stop).collect();
        prop_assert_eq!(positions(list, &sought, End::Tail, most, stop), tail);
    }
}

fn push(keyspace: &mut Keyspace, end: End, elements: &[&[u8]]) {
    let pushed = keyspace.change_list(DB, KEY, Absent::Make, |list| list.push(end, elements));
    pushed.expect("the key holds a list");
}

fn change_it<R>(keyspace: &mut Keyspace, change: impl FnOnce(&mut ListMut<'_>) -> R) -> R {
    let changed = keyspace.change_list(DB, KEY, Absent::Leave, change);
    changed.expect("the key holds a list").expect("it is there")
}

fn with_limit(list_max_listpack_size: i32) -> Keyspace {
    let mut keyspace = Keyspace::new(7);
    Change::Limit(list_max_listpack_size).apply(&mut keyspace);
    keyspace
}

fn encoding(keyspace: &Keyspace) -> Encoding {
    entry(keyspace).expect("the key is there").encoding()
}

#[test]
fn a_list_leaves_its_packed_form_where_redis_would() {
    // 7 bytes of ends in Redis, and 2 beside those of each element; what is to come counts without these.
    let mut keyspace = with_limit(-1);
    push(&mut keyspace, End::Tail, &[&[b'x'; 2000]]);
    push(&mut keyspace, End::Tail, &[&[b'x'; 4096 - 7 - 2004]]);
    assert_eq!(encoding(&keyspace), Encoding::Listpack);
    push(&mut keyspace, End::Tail, &[b""]);
    assert_eq!(encoding(&keyspace), Encoding::Quicklist);
    let mut keyspace = with_limit(-1);
    push(&mut keyspace, End::Tail, &[&[b'x'; 2000]]);
    push(&mut keyspace, End::Tail, &[&[b'x'; 4096 - 7 - 2003]]);
    assert_eq!(encoding(&keyspace), Encoding::Quicklist);
    // Elements that come together are judged together.
    let mut keyspace = with_limit(3);
    push(&mut keyspace, End::Head, &[b"1", b"2", b"3"]);
    assert_eq!(encoding(&keyspace), Encoding::Listpack);
    push(&mut keyspace, End::Head, &[b"4"]);
    assert_eq!(encoding(&keyspace), Encoding::Quicklist);
    keyspace.check();
    for change in [
        (|list: &mut ListMut<'_>| list.insert(1, &[b'x'; 8200])) as fn(&mut ListMut<'_>),
        |list| list.set(1, &[b'x'; 8200]),
    ] {
        let mut keyspace = with_limit(-2);
        push(&mut keyspace, End::Head, &[b"1", b"2"]);
        change_it(&mut keyspace, change);
        assert_eq!(encoding(&keyspace), Encoding::Quicklist);
    }
}

#[test]
fn a_list_that_has_shrunk_to_half_of_a_part_is_packed_again() {
    let removals: [fn(&mut ListMut<'_>); 4] = [
        |list| drop(list.pop(End::Tail)),
        |list| drop(list.pop(End::Head)),
        |list| list.remove(0..1),
        |list| assert_eq!(list.remove_equal(b"e", End::Tail, 1), 1),
    ];
    for remove in removals {
        let mut keyspace = with_limit(4);
        push(&mut keyspace, End::Tail, &[&b"e"[..]; 5]);
        for len in [4, 3] {
            change_it(&mut keyspace, remove);
            assert_eq!(list(&keyspace).len(), len);
            assert_eq!(encoding(&keyspace), Encoding::Quicklist, "{len}");
        }
        change_it(&mut keyspace, remove);
        change_it(&mut keyspace, remove);
        assert_eq!(encoding(&keyspace), Encoding::Listpack);
        keyspace.check();
    }
    let mut keyspace = with_limit(-2);
    push(&mut keyspace, End::Tail, &[&[b'x'; 9000]]);
    change_it(&mut keyspace, |list| list.set(0, &[b'x'; 4090]));
    assert_eq!(encoding(&keyspace), Encoding::Quicklist);
    change_it(&mut keyspace, |list| list.set(0, &[b'x'; 4080]));
    assert_eq!(encoding(&keyspace), Encoding::Listpack);
}

#[test]
fn a_hundred_thousand_elements_take_no_more_than_in_redis() {
    // What Redis 7 takes: nodes of 32 bytes with runs of up to 8 KiB, in which an element of 12 bytes takes
    // 14; it begins a new run where 8 bytes more than the element would go beyond.
    let (mut in_redis, mut run) = (0, 8192);
    for _ in 0..100_000 {
        if run + 12 + 8 > 8192 {
            in_redis += 8192 + 32;
            run = 7;
        }
        run += 14;
    }
    for end in [End::Head, End::Tail] {
        let mut keyspace = Keyspace::new(7);
        for number in 0..100_000 {
            push(
                &mut keyspace,
                end,
                &[format!("element{number:05}").as_bytes()],
            );
        }
        keyspace.check();
        let bytes = entry(&keyspace).expect("it is there").memory_bytes();
        assert!(bytes <= in_redis, "{bytes} against {in_redis}");
        // Emptied, it gives all back.
        while list(&keyspace).len() > 2 {
            change_it(&mut keyspace, |list| list.pop(end));
        }
        let bytes = entry(&keyspace).expect("it is there").memory_bytes();
        assert!(
            bytes < 100,
            "{bytes} for two elements, {:?}",
            encoding(&keyspace)
        );
    }
}

#[test]
fn a_change_during_a_snapshot_copies_a_part_alone() {
    let mut keyspace = Keyspace::new(7);
    for number in 0..200_000 {
        push(
            &mut keyspace,
            End::Tail,
            &[format!("{number:020}").as_bytes()],
        );
    }
    let (before, at_begin) = (keyspace.memory_used(), state(&keyspace));
    keyspace.begin_snapshot();
    push(&mut keyspace, End::Head, &[b"new"]);
    change_it(&mut keyspace, |list| list.pop(End::Tail));
    change_it(&mut keyspace, |list| list.set(100_000, b"new"));
    assert!(
        keyspace.memory_used() - before < 100_000,
        "nothing is copied whole"
    );
    let mut bytes = Vec::new();
    loop {
        let start = bytes.len();
        let complete = keyspace.snapshot_step(1000, &mut bytes);
        assert!(bytes.len() - start < 50_000, "a step is bounded");
        if complete {
            break;
        }
        change_it(&mut keyspace, |list| list.remove(1000..1010));
    }
    assert_eq!(state(&load(&bytes)), at_begin);
    keyspace.check();
}

#[test]
fn damaged_pieces_are_refused() {
    let mut elements = crate::elements::Elements::default();
    let run = crate::packed::pack([&b"a"[..], b"b"]);
    let whole = [&[run.len() as u8], &run[..]].concat();
    assert!(elements.read_piece(&whole).is_ok());
    assert_eq!(elements.len(), 2);
    let nothing = [2, 0, 0];
    for piece in [&whole[..3], &nothing, &[200, 1, 0]] {
        assert!(elements.read_piece(piece).is_err(), "{piece:?}");
    }
    let changed = [&[run.len() as u8, 1], &run[1..]].concat();
    assert!(elements.read_piece(&changed).is_err());
}
