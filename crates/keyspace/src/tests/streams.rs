//! Streams: what they hold, what they cost, and their way through snapshots.

mod simple;

use std::ops::Range;

use base::{Db, Timestamp};

use super::model::Model;
use crate::object::Object;
use crate::{
    Absent, Encoding, Keyspace, Kind, Limits, SnapshotLoader, Stream, StreamId, Trim, TrimWork,
};

pub(super) use simple::{Simple, StreamChange, stream_change};

const DB: Db = match Db::new(0) {
    Ok(db) => db,
    Err(_) => unreachable!(),
};

fn id(number: u64) -> StreamId {
    StreamId {
        ms: 1_700_000_000_000 + number / 3,
        seq: number % 3,
    }
}

/// Adds the entries of these numbers, in order.
fn add(keyspace: &mut Keyspace, key: &[u8], numbers: Range<u64>, value: &[u8]) {
    let added = keyspace.change_stream(DB, key, Absent::Make, |stream| {
        for number in numbers {
            let text = number.to_string();
            stream.append(
                id(number),
                &[b"sensor", text.as_bytes(), b"temperature", value],
            );
        }
    });
    added.expect("the key holds a stream");
}

/// Makes a group, if it is not there, and delivers entries to a consumer.
fn deliver(keyspace: &mut Keyspace, key: &[u8], numbers: Range<u64>, consumer: &[u8]) {
    let done = keyspace.change_stream(DB, key, Absent::Make, |stream| {
        stream.make_group(b"group", StreamId::MIN, None);
        stream.change_group(b"group", |group| {
            group.see_consumer(consumer, Timestamp::from_millis(5));
            for number in numbers {
                group.assign(id(number), consumer, Timestamp::from_millis(7), 1);
            }
        })
    });
    assert_eq!(done, Ok(Some(Some(()))));
}

fn stream<'k>(keyspace: &'k Keyspace, key: &[u8]) -> Stream<'k> {
    let stream = keyspace.stream(DB, key, Timestamp::ZERO);
    stream.expect("it is a stream").expect("it is there")
}

fn snapshot(keyspace: &mut Keyspace) -> Vec<u8> {
    let mut bytes = Vec::new();
    keyspace.begin_snapshot();
    while !keyspace.snapshot_step(10_000, &mut bytes) {}
    bytes
}

fn load(bytes: &[u8]) -> Keyspace {
    let mut loader = SnapshotLoader::new();
    for chunk in bytes.chunks(10_000) {
        loader.feed(chunk).expect("a snapshot can be loaded");
    }
    loader.finish().expect("the snapshot is whole")
}

#[test]
fn a_large_stream_stands_in_bounded_pieces_as_it_was_when_the_snapshot_began() {
    let mut keyspace = Keyspace::new(7);
    for key in [&b"{t}large"[..], b"{t}other"] {
        add(&mut keyspace, key, 0..30_000, b"before");
        deliver(&mut keyspace, key, 0..10_000, b"Alice");
        deliver(&mut keyspace, key, 10_000..20_000, b"Bob");
    }
    // Records that are longer than a piece, and a group of nothing but consumers.
    add(&mut keyspace, b"{t}large", 30_000..30_003, &[b'x'; 50_000]);
    let long = vec![b'n'; 40_000];
    let made = keyspace.change_stream(DB, b"{t}other", Absent::Leave, |stream| {
        stream.make_group(&long, id(7), Some(8));
        stream.change_group(&long, |group| {
            (0..2_000).all(|number: u32| {
                group.make_consumer(&number.to_le_bytes(), Timestamp::from_millis(3))
            }) && group.make_consumer(&long, Timestamp::ZERO)
        })
    });
    assert_eq!(made, Ok(Some(Some(true))));
    let at_begin = Model::of(&keyspace);
    keyspace.begin_snapshot();
    let mut bytes = Vec::new();
    let (mut number, mut steps) = (0_u64, 0);
    loop {
        let start = bytes.len();
        let complete = keyspace.snapshot_step(1000, &mut bytes);
        assert!(bytes.len() - start < 100_000, "a step is bounded");
        if complete {
            break;
        }
        steps += 1;
        for key in [&b"{t}large"[..], b"{t}other"] {
            number = (number + 7919) % 30_000;
            let changed = keyspace.change_stream(DB, key, Absent::Leave, |stream| {
                stream.delete(id(number));
                stream.trim(Trim::MaxLen(29_000 - steps), TrimWork::WholeNodes(0));
                stream.change_group(b"group", |group| {
                    group.acknowledge(id(number / 2));
                    group.assign(id(number), b"Bob", Timestamp::from_millis(9), 3);
                });
            });
            changed.expect("the key holds a stream");
            add(
                &mut keyspace,
                key,
                50_000 + steps * 2..50_002 + steps * 2,
                b"after",
            );
        }
        if steps == 20 {
            keyspace.rename(DB, b"{t}large", b"{t}renamed");
            add(&mut keyspace, b"{t}large", 0..30, b"new");
        }
        if steps == 21 {
            keyspace.remove(DB, b"{t}large");
            keyspace.rename(DB, b"{t}renamed", b"{t}large");
        }
    }
    assert!(steps > 50, "{steps} steps");
    keyspace.check();
    let restored = load(&bytes);
    restored.check();
    at_begin.assert_shown_by(&restored);
}

#[test]
fn a_copy_of_a_stream_is_its_own() {
    let mut keyspace = Keyspace::new(7);
    add(&mut keyspace, b"from", 0..5_000, b"v");
    deliver(&mut keyspace, b"from", 0..5_000, b"Alice");
    assert!(keyspace.copy(DB, b"from", DB, b"to"));
    add(&mut keyspace, b"from", 5_000..5_010, b"v");
    let changed = keyspace.change_stream(DB, b"to", Absent::Leave, |stream| {
        stream.trim(Trim::MaxLen(7), TrimWork::Exact);
        stream.change_group(b"group", |group| group.remove_consumer(b"Alice"))
    });
    assert_eq!(changed, Ok(Some(Some(Some(5_000)))));
    keyspace.check();
    let lens = |key: &[u8]| {
        let stream = stream(&keyspace, key);
        let group = stream.group(b"group").expect("it is there");
        (stream.len(), group.pending_len(), group.consumers_len())
    };
    assert_eq!(lens(b"from"), (5_010, 5_000, 1));
    assert_eq!(lens(b"to"), (7, 0, 0));
}

#[test]
fn a_write_during_a_snapshot_copies_a_part_of_a_large_stream_alone() {
    let mut keyspace = Keyspace::new(7);
    add(&mut keyspace, b"large", 0..200_000, b"before");
    deliver(&mut keyspace, b"large", 0..100_000, b"Alice");
    let before = keyspace.memory_used();
    keyspace.begin_snapshot();
    add(&mut keyspace, b"large", 200_000..200_001, b"after");
    deliver(&mut keyspace, b"large", 77..78, b"Bob");
    assert!(
        keyspace.memory_used() - before < 100_000,
        "nothing is copied whole"
    );
}

#[test]
fn a_stream_stays_when_it_is_emptied_and_keeps_what_it_counts() {
    let mut keyspace = Keyspace::new(7);
    add(&mut keyspace, b"key", 0..300, b"v");
    let trimmed = keyspace.change_stream(DB, b"key", Absent::Leave, |stream| {
        stream.delete(id(150));
        stream.trim(Trim::MaxLen(0), TrimWork::Exact)
    });
    assert_eq!(trimmed, Ok(Some(299)));
    keyspace.check();
    let made = keyspace.change_stream(DB, b"made", Absent::Make, |_| ());
    assert_eq!(made, Ok(Some(())));
    let restored = load(&snapshot(&mut keyspace));
    for keyspace in [&keyspace, &restored] {
        let counters = stream(keyspace, b"key").counters();
        assert_eq!((counters.len, counters.first_id), (0, StreamId::MIN));
        assert_eq!(
            (counters.last_id, counters.max_deleted_id),
            (id(299), id(150))
        );
        assert_eq!(counters.entries_added, 300);
        assert!(stream(keyspace, b"made").is_empty());
    }
}

/// So many entries in each node are live, by what trimming whole nodes takes.
fn live_of_nodes(keyspace: &mut Keyspace, key: &[u8]) -> Vec<usize> {
    assert!(keyspace.copy(DB, key, DB, b"copy"));
    let lens = keyspace.change_stream(DB, b"copy", Absent::Leave, |stream| {
        let mut lens = Vec::new();
        while !stream.read().is_empty() {
            let most = stream.read().len() as u64;
            // One node goes at a time: the first, when what is left without it is asked for.
            let left = (0..most).rev().find_map(|left| {
                let taken = stream.trim(Trim::MaxLen(left), TrimWork::WholeNodes(0));
                (taken > 0).then_some(taken)
            });
            lens.extend(left);
        }
        lens
    });
    lens.expect("it is a stream").expect("it is there")
}

#[test]
fn nodes_end_at_the_thresholds_and_are_part_of_the_state() {
    let mut keyspace = Keyspace::new(7);
    keyspace.set_limits(Limits {
        stream_node_max_entries: 5,
        ..Limits::default()
    });
    add(&mut keyspace, b"key", 0..23, b"v");
    let deleted = keyspace.change_stream(DB, b"key", Absent::Leave, |stream| {
        [1, 6, 7, 22]
            .iter()
            .all(|number| stream.delete(id(*number)))
    });
    assert_eq!(deleted, Ok(Some(true)));
    // What was deleted counts: the last node takes two more.
    add(&mut keyspace, b"key", 23..26, b"v");
    let mut restored = load(&snapshot(&mut keyspace));
    assert_eq!(live_of_nodes(&mut keyspace, b"key"), [4, 3, 5, 5, 4, 1]);
    assert_eq!(live_of_nodes(&mut restored, b"key"), [4, 3, 5, 5, 4, 1]);
    keyspace.set_limits(Limits {
        stream_node_max_bytes: 4096,
        ..Limits::default()
    });
    add(&mut keyspace, b"bytes", 0..10, &[b'x'; 1000]);
    assert_eq!(live_of_nodes(&mut keyspace, b"bytes"), [3, 3, 3, 1]);
    keyspace.set_limits(Limits {
        stream_node_max_bytes: 0,
        stream_node_max_entries: 0,
        ..Limits::default()
    });
    add(&mut keyspace, b"unlimited", 0..100, &[b'x'; 1000]);
    assert_eq!(live_of_nodes(&mut keyspace, b"unlimited"), [64, 36]);
}

#[test]
fn trimming_by_whole_nodes_keeps_to_its_bounds() {
    let mut keyspace = Keyspace::new(7);
    add(&mut keyspace, b"key", 0..1000, b"v");
    let trim = |keyspace: &mut Keyspace, to, work| {
        let trimmed =
            keyspace.change_stream(DB, b"key", Absent::Leave, |stream| stream.trim(to, work));
        trimmed.expect("it is a stream").expect("it is there")
    };
    let whole = TrimWork::WholeNodes;
    assert_eq!(trim(&mut keyspace, Trim::MaxLen(950), whole(0)), 0);
    assert_eq!(trim(&mut keyspace, Trim::MaxLen(750), whole(150)), 100);
    assert_eq!(trim(&mut keyspace, Trim::MaxLen(750), whole(99)), 0);
    assert_eq!(trim(&mut keyspace, Trim::MinId(id(399)), whole(0)), 200);
    assert_eq!(trim(&mut keyspace, Trim::MinId(id(400)), whole(0)), 100);
    assert_eq!(
        trim(&mut keyspace, Trim::MinId(id(450)), TrimWork::Exact),
        50
    );
    assert_eq!(
        trim(&mut keyspace, Trim::MaxLen(u64::MAX), TrimWork::Exact),
        0
    );
    assert_eq!(
        trim(&mut keyspace, Trim::MinId(StreamId::MAX), whole(0)),
        550
    );
    assert!(stream(&keyspace, b"key").is_empty());
}

#[test]
fn records_of_a_stream_that_cannot_be_are_refused() {
    let mut keyspace = Keyspace::new(7);
    add(&mut keyspace, b"key", 0..150, b"v");
    deliver(&mut keyspace, b"key", 0..2, b"Alice");
    let entry = keyspace.get(DB, b"key", Timestamp::ZERO);
    let object = entry.and_then(|entry| entry.object());
    let pieces = |object: &Object| {
        let mut piece = Vec::new();
        let next = object.write_piece((0, 0), usize::MAX, &mut piece);
        assert!(next.is_none(), "there is room for all");
        piece
    };
    let read = |piece: &[u8]| {
        let mut object = Object::with_parts(Kind::Stream, Encoding::Stream).expect("it has parts");
        object.read_piece(keyspace.hasher, piece).map(|()| object)
    };
    let piece = pieces(object.expect("a stream is an object"));
    let restored = read(&piece).expect("what was not changed is taken");
    assert!(pieces(&restored) == piece);
    let mut refused = 0;
    for at in 0..piece.len() {
        let mut changed = piece.clone();
        changed[at] ^= 1 << (at % 8);
        match read(&changed) {
            // A value or a time may be another one; what the module states holds whatever it is.
            Ok(object) => object.check(keyspace.hasher),
            Err(_) => refused += 1,
        }
        // Cut at the end of a record, it is a stream with less in it.
        if let Ok(object) = read(&piece[..at]) {
            object.check(keyspace.hasher);
        }
    }
    assert!(refused > piece.len() / 4, "{refused} of {}", piece.len());
    assert!(read(&[]).is_err() && read(&[&piece[..], &piece].concat()).is_err());
}

/// `used_memory` of Redis 7.0 grows by 25.8 bytes for each of such entries, and by 112.9 when it is pending.
#[test]
fn streams_take_less_than_in_redis() {
    let mut keyspace = Keyspace::new(7);
    add(&mut keyspace, b"{t}other", 0..1, b"v");
    let before = keyspace.memory_used();
    add(&mut keyspace, b"{t}key", 0..100_000, b"21.5");
    let each = (keyspace.memory_used() - before) as f64 / 100_000.0;
    assert!(each < 20.0, "{each} bytes for each entry");
    let before = keyspace.memory_used();
    deliver(&mut keyspace, b"{t}key", 0..100_000, b"Alice");
    let each = (keyspace.memory_used() - before) as f64 / 100_000.0;
    assert!(each < 70.0, "{each} bytes for each that is pending");
}
