//! Records that make a log, and records that do not.

use std::time::Duration;

use base::Timestamp;
use commands::log::BatchHeader;
use keyspace::Keyspace;
use shard::{Recovery, RecoveryError, Replayed, Shard, SnapshotMeta};
use wal::Body;

use crate::driver::{Disk, Driver, config, members, request};

const NOW: u64 = 1_000_000;

/// A recovery that begins with an empty snapshot at that point.
fn at(term: u64, index: u64, voters: &[u64]) -> Recovery {
    let meta = SnapshotMeta {
        term,
        index,
        membership: members(voters),
        map: None,
    };
    Recovery::new(config(), &meta, Keyspace::new(1))
}

/// An entry that holds a stamp alone.
fn payload(stamp: u64) -> Vec<u8> {
    let mut payload = Vec::new();
    BatchHeader::new(Timestamp::from_millis(stamp), 0).encode(&mut payload);
    payload
}

fn entry(recovery: &mut Recovery, term: u64, index: u64) -> Result<(), RecoveryError> {
    let payload = payload(index);
    recovery.record(&Body::Entry {
        term,
        index,
        payload: &payload,
    })
}

fn hard_state(recovery: &mut Recovery, term: u64, commit: u64) -> Result<(), RecoveryError> {
    let vote = 1;
    recovery.record(&Body::HardState { term, vote, commit })
}

fn started(recovery: Recovery) -> Shard {
    recovery
        .finish(Duration::ZERO)
        .expect("the records make a log")
        .0
}

#[test]
fn a_gap_is_refused() {
    let mut recovery = at(1, 1, &[1]);
    entry(&mut recovery, 2, 2).unwrap();
    let gap = RecoveryError::Gap { last: 2, found: 4 };
    assert_eq!(entry(&mut recovery, 2, 4), Err(gap));
}

#[test]
fn a_log_that_begins_behind_the_snapshot_is_refused() {
    let gap = RecoveryError::Gap { last: 1, found: 3 };
    assert_eq!(entry(&mut at(1, 1, &[1]), 2, 3), Err(gap));
}

#[test]
fn a_snapshot_that_is_gone_is_missed() {
    let mut recovery = at(1, 1, &[1]);
    entry(&mut recovery, 2, 2).unwrap();
    let snapshot = |index| Body::Snapshot { term: 2, index };
    recovery.record(&snapshot(2)).unwrap();
    assert_eq!(
        recovery.record(&snapshot(3)),
        Err(RecoveryError::SnapshotMissing {
            needed: 3,
            found: 1
        })
    );
}

#[test]
fn a_log_that_ends_before_what_was_committed_is_refused() {
    let mut recovery = at(1, 1, &[1]);
    entry(&mut recovery, 2, 2).unwrap();
    hard_state(&mut recovery, 2, 3).unwrap();
    let short = RecoveryError::Short { commit: 3, last: 2 };
    assert_eq!(recovery.finish(Duration::ZERO).err(), Some(short));
}

#[test]
fn a_replica_that_was_removed_does_not_start() {
    let forget = at(1, 1, &[1]).record(&Body::Forget);
    assert_eq!(forget, Err(RecoveryError::Removed));
}

#[test]
fn what_the_snapshot_holds_is_not_replayed() {
    let mut recovery = at(3, 5, &[1]);
    for index in 2..=7 {
        entry(&mut recovery, 3, index).unwrap();
    }
    hard_state(&mut recovery, 3, 6).unwrap();
    let bytes = payload(0).len() as u64;
    let replayed = Replayed {
        entries: 2,
        bytes: 2 * bytes,
    };
    assert_eq!(recovery.replayed(), replayed);
    let shard = started(recovery);
    assert_eq!(shard.applied(), 6, "only what is known to be committed");
    assert_eq!(shard.last_index(), 8, "the leader's own entry comes last");
}

#[test]
fn later_entries_void_those_they_contradict() {
    let mut recovery = at(1, 1, &[1, 2, 3]);
    for index in 2..=5 {
        entry(&mut recovery, 2, index).unwrap();
    }
    entry(&mut recovery, 3, 4).unwrap();
    assert_eq!(started(recovery).last_index(), 4);
}

#[test]
fn truncated_entries_are_void() {
    let mut recovery = at(1, 2, &[1, 2, 3]);
    for index in 3..=6 {
        entry(&mut recovery, 2, index).unwrap();
    }
    recovery.record(&Body::Truncate { index: 5 }).unwrap();
    assert_eq!(started(recovery).last_index(), 4);
}

#[test]
fn an_entry_that_the_snapshot_holds_still_voids_what_followed_it() {
    // 4 and 5 were proposed in term 2 and lost to another leader's 4, up to which the snapshot goes.
    let mut recovery = at(3, 4, &[1, 2, 3]);
    for index in 2..=5 {
        entry(&mut recovery, 2, index).unwrap();
    }
    entry(&mut recovery, 3, 4).unwrap();
    hard_state(&mut recovery, 3, 4).unwrap();
    assert_eq!(started(recovery).last_index(), 4);
}

#[test]
fn a_snapshot_may_be_newer_than_the_end_of_the_log() {
    let mut recovery = at(2, 9, &[1]);
    for index in 2..=4 {
        entry(&mut recovery, 2, index).unwrap();
    }
    hard_state(&mut recovery, 2, 3).unwrap();
    let shard = started(recovery);
    assert_eq!((shard.applied(), shard.last_index()), (9, 10));
}

#[test]
fn terms_go_on_from_a_snapshot_that_is_newer_than_the_hard_state() {
    let mut recovery = at(7, 9, &[1]);
    hard_state(&mut recovery, 2, 3).unwrap();
    assert_eq!(started(recovery).term(), 8);
}

#[test]
fn stamps_go_on_from_entries_that_are_not_yet_applied() {
    let mut driver = Driver::led();
    driver.propose(NOW, vec![request(1, &[&["incr", "n"]])]);
    driver.advance();
    // The entry is there, but nothing says that it was committed.
    driver.restart(usize::MAX).unwrap();
    driver.propose(NOW - 1000, vec![request(2, &[&["incr", "n"]])]);
    driver.settle();
    assert_eq!(driver.keyspace.stamp(), Timestamp::from_millis(NOW));
    driver.restart(0).unwrap();
    driver.settle();
    assert_eq!(driver.keyspace.stamp(), Timestamp::from_millis(NOW));
}

#[test]
fn a_replay_counts_what_came_after_the_snapshot() {
    let mut driver = Driver::led();
    for ticket in 0..10 {
        driver.propose(NOW, vec![request(ticket, &[&["incr", "n"]])]);
        driver.settle();
    }
    driver.begin_snapshot();
    driver.write_snapshot(usize::MAX);
    driver.propose(NOW, vec![request(10, &[&["incr", "n"]])]);
    driver.settle();
    driver.cut();
    driver.restart(0).unwrap();
    assert_eq!(driver.replayed.entries, 1);
    assert_eq!(
        Driver::start(Disk::founded(&[1])).unwrap().replayed.entries,
        0
    );
}
