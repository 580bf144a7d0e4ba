//! The same entries give the same state, whatever way a replica came to its own: all of them applied,
//! or a snapshot from some moment and the rest applied.

#![allow(clippy::unwrap_used, reason = "a test ends at what it did not expect")]

mod random_calls;

use base::{Db, Timestamp};
use commands::log::{self, BatchHeader};
use commands::transaction::{EXEC, Watched};
use commands::{Reply, WriteContext, apply, by_name};
use keyspace::{Keyspace, SnapshotLoader};
use random_calls::{Random, RandomCalls};

/// Random entries as they stand in the log, and an empty one now and then, which sweeps alone.
fn entries(seed: u64, count: usize) -> Vec<Vec<u8>> {
    let mut random = Random::new(seed);
    let mut calls = RandomCalls::new(random.next());
    let mut stamp = 1_750_000_000_000;
    let mut entries = Vec::new();
    for _ in 0..count {
        stamp += random.pick(&[0, 0, 1, 20, 1000, 150_000_000]);
        let mut entry = Vec::new();
        BatchHeader::new(Timestamp::from_millis(stamp), random.next()).encode(&mut entry);
        for _ in 0..random.below(4) {
            let call = if random.one_in(3) {
                calls.next()
            } else {
                calls.generated(|_| true)
            };
            let args: Vec<&[u8]> = call.iter().map(Vec::as_slice).collect();
            let db = Db::new(random.below(3) as u8).unwrap();
            if let Some(command) = by_name(args[0])
                && command.handler.is_write()
                && command.spec.check(&args).is_ok()
            {
                log::encode(&mut entry, command.id, db, &args[1..]);
            }
        }
        if random.one_in(3) {
            let (watched, commands) = (watched(&mut random), queued(&mut random, &mut calls));
            let args: [&[u8]; 2] = [watched.bytes(), &commands];
            log::encode(&mut entry, EXEC.id, Db::default(), &args);
        }
        entries.push(entry);
    }
    entries
}

/// A key now and then, as it may have stood.
fn watched(random: &mut Random) -> Watched {
    let mut watched = Watched::default();
    if random.one_in(2) {
        let mut version = vec![0];
        version.extend_from_slice(&(random.below(1500) as u64).to_le_bytes());
        let reply = Reply::Array(vec![Reply::Bulk(version.into())]);
        let key = format!("k{}", random.below(6)).into_bytes();
        assert!(watched.push(Db::default(), &[key], &reply));
    }
    watched
}

/// The commands of a transaction: reads among them as well.
fn queued(random: &mut Random, calls: &mut RandomCalls) -> Vec<u8> {
    let mut commands = Vec::new();
    for _ in 0..random.below(5) {
        // When a key was last looked at is no part of the state.
        let call = calls.generated(|spec| spec.name != "object");
        let args: Vec<&[u8]> = call.iter().map(Vec::as_slice).collect();
        if let Some(command) = by_name(args[0])
            && command.spec.check(&args).is_ok()
        {
            let db = Db::new(random.below(3) as u8).unwrap();
            log::encode(&mut commands, command.id, db, &args[1..]);
        }
    }
    commands
}

/// Applies an entry and gives its replies as text.
fn apply_entry(keyspace: &mut Keyspace, mut entry: &[u8]) -> String {
    let header = BatchHeader::decode(&mut entry).unwrap();
    keyspace.set_stamp(header.stamp);
    let mut replies = format!("{} swept\n", keyspace.sweep(8));
    let mut args = Vec::new();
    let mut seed = header.seed;
    while !entry.is_empty() {
        let (command, db) = log::decode(&mut entry, &mut args).unwrap();
        let context = WriteContext {
            db,
            stamp: header.stamp,
            seed,
        };
        let reply = apply(keyspace, command, &args, context).reply;
        replies.push_str(&format!("{reply:?}\n"));
        seed = seed.wrapping_add(1);
    }
    replies
}

fn snapshot(keyspace: &mut Keyspace) -> Vec<u8> {
    let mut bytes = Vec::new();
    keyspace.begin_snapshot();
    while !keyspace.snapshot_step(4096, &mut bytes) {}
    bytes
}

/// What another replica makes of a snapshot that comes in pieces of any size.
fn load(bytes: &[u8], random: &mut Random) -> Keyspace {
    let mut loader = SnapshotLoader::new();
    let mut rest = bytes;
    while !rest.is_empty() {
        let (piece, tail) = rest.split_at(1 + random.below(rest.len().min(3000)));
        loader.feed(piece).unwrap();
        rest = tail;
    }
    loader.finish().unwrap()
}

#[test]
fn replicas_agree_whether_they_came_through_a_snapshot_or_not() {
    for seed in 0..40 {
        let mut random = Random::new(seed);
        let entries = entries(seed, 400);
        let cut = random.below(entries.len());
        let mut whole = Keyspace::new(7);
        for entry in &entries[..cut] {
            apply_entry(&mut whole, entry);
        }
        let mut restored = load(&snapshot(&mut whole), &mut random);
        assert_eq!(restored.stamp(), whole.stamp(), "seed {seed}");
        for (index, entry) in entries[cut..].iter().enumerate() {
            let replies = apply_entry(&mut whole, entry);
            assert_eq!(
                apply_entry(&mut restored, entry),
                replies,
                "seed {seed}, entry {}",
                cut + index
            );
        }
        assert!(
            snapshot(&mut whole) == snapshot(&mut restored),
            "seed {seed}: the states differ"
        );
    }
}

#[test]
fn the_same_entries_give_the_same_bytes() {
    for seed in 100..110 {
        let mut replicas = [Keyspace::new(9), Keyspace::new(9)];
        for entry in entries(seed, 400) {
            let [one, other] = replicas
                .each_mut()
                .map(|replica| apply_entry(replica, &entry));
            assert_eq!(one, other, "seed {seed}");
        }
        let [one, other] = replicas.each_mut().map(snapshot);
        assert!(one == other, "seed {seed}: the states differ");
    }
}
