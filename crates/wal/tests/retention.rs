//! Which segments stay, which go, and what becomes of their files.

#![allow(clippy::unwrap_used, reason = "a failure of a test is a panic")]

mod support;

use std::sync::Arc;

use base::{ReplicaId, ShardId};
use support::{encode, entry, files, open, segment, upkeep};
use wal::testing::MemDisk;
use wal::{Body, Wal};

fn append(wal: &mut Wal<MemDisk>, bytes: &[u8]) {
    wal.append([bytes]).unwrap();
}

/// Appends entries of shard 0 until that many segments are in use; the last index.
fn fill(wal: &mut Wal<MemDisk>, from: u64, segments: u64) -> u64 {
    let mut index = from;
    while wal.log_bytes() < segments * support::SMALL.segment_size_bytes {
        append(wal, &entry(0, index, 700));
        index += 1;
    }
    index - 1
}

fn segments(disk: &MemDisk) -> usize {
    files(disk)
        .iter()
        .filter(|name| name.ends_with(".seg"))
        .count()
}

#[test]
fn a_purged_segment_goes_and_what_it_said_of_others_stays() {
    let disk = Arc::new(MemDisk::new());
    let (mut wal, _, _) = open(&disk).unwrap();
    append(
        &mut wal,
        &encode(
            5,
            Body::HardState {
                term: 9,
                vote: 7,
                commit: 3,
            },
        ),
    );
    append(&mut wal, &encode(5, Body::Snapshot { term: 9, index: 3 }));
    append(&mut wal, &encode(5, Body::Purge { index: 3 }));
    let last = fill(&mut wal, 1, 6);
    append(
        &mut wal,
        &encode(
            0,
            Body::HardState {
                term: 1,
                vote: 7,
                commit: last,
            },
        ),
    );
    let earlier = wal.sync_job().unwrap().unwrap();
    append(&mut wal, &encode(0, Body::Purge { index: last - 1 }));
    // The purge is not durable, nor is it after a sync that began before it: nothing may go.
    upkeep(&mut wal);
    assert_eq!(segments(&disk), 7);
    wal.synced(earlier.run().unwrap());
    upkeep(&mut wal);
    assert_eq!(segments(&disk), 7);
    wal.sync().unwrap();
    upkeep(&mut wal);
    assert!(!files(&disk).contains(&"log-0000000001.seg".to_owned()));
    assert!(segments(&disk) <= 3, "{:?}", files(&disk));

    disk.crash(3);
    let (_, recovery, seen) = open(&disk).unwrap();
    assert_eq!(recovery.torn, None);
    assert_eq!(seen.hard_states[&5], (9, 7, 3));
    assert_eq!(seen.snapshots[&5], (9, 3));
    assert_eq!(seen.purges[&5], 3);
    assert_eq!(seen.hard_states[&0], (1, 7, last));
    assert_eq!(seen.indexes(0).last(), Some(&last));
}

#[test]
fn a_cold_shard_is_named_and_holds_the_log_until_it_is_purged() {
    let disk = Arc::new(MemDisk::new());
    let (mut wal, _, _) = open(&disk).unwrap();
    append(&mut wal, &entry(3, 1, 10));
    append(&mut wal, &entry(3, 2, 10));
    assert_eq!(wal.pinned(), None, "there is but one segment");
    let last = fill(&mut wal, 1, 5);
    append(&mut wal, &encode(0, Body::Purge { index: last }));
    wal.sync().unwrap();
    upkeep(&mut wal);
    assert_eq!(segments(&disk), 6);
    let pin = wal.pinned().unwrap();
    assert_eq!(
        (pin.shard, pin.replica, pin.index),
        (ShardId(3), ReplicaId(7), 2)
    );
    assert_eq!(pin.log_bytes, wal.log_bytes());

    append(&mut wal, &encode(3, Body::Purge { index: 2 }));
    assert_eq!(wal.pinned(), None, "its snapshot is on the way");
    wal.sync().unwrap();
    upkeep(&mut wal);
    assert_eq!(segments(&disk), 2, "the current one and the spare");
    assert_eq!(wal.log_bytes(), support::SMALL.segment_size_bytes);
}

#[test]
fn a_forgotten_replica_holds_nothing_and_leaves_no_trace() {
    let disk = Arc::new(MemDisk::new());
    let (mut wal, _, _) = open(&disk).unwrap();
    append(
        &mut wal,
        &encode(
            3,
            Body::HardState {
                term: 1,
                vote: 0,
                commit: 0,
            },
        ),
    );
    append(&mut wal, &entry(3, 1, 10));
    let last = fill(&mut wal, 1, 3);
    append(&mut wal, &encode(3, Body::Forget));
    append(&mut wal, &encode(0, Body::Purge { index: last }));
    wal.sync().unwrap();
    let last = fill(&mut wal, last + 1, 4);
    append(&mut wal, &encode(0, Body::Purge { index: last }));
    wal.sync().unwrap();
    upkeep(&mut wal);
    disk.crash(1);
    let (wal, _, seen) = open(&disk).unwrap();
    assert_eq!(wal.pinned(), None);
    assert!(!seen.hard_states.contains_key(&3));
    assert!(seen.indexes(3).is_empty());
}

#[test]
fn retired_files_are_used_again_and_their_old_bytes_never_come_back() {
    let disk = Arc::new(MemDisk::new());
    let (mut wal, _, _) = open(&disk).unwrap();
    let mut index = 1;
    let mut recycled = 0;
    for round in 0..40 {
        index = fill(&mut wal, index, 3) + 1;
        append(&mut wal, &encode(0, Body::Purge { index: index - 1 }));
        wal.sync().unwrap();
        upkeep(&mut wal);
        let newest = files(&disk)
            .into_iter()
            .rfind(|name| name.starts_with("log-"))
            .unwrap();
        let header = disk.contents(&support::dir().join(newest));
        recycled += usize::from(header[12] == 1);
        assert!(files(&disk).len() < 8, "{:?}", files(&disk));
        if round % 3 == 0 {
            drop(wal);
            disk.crash(round);
            let (reopened, recovery, seen) = open(&disk).unwrap();
            assert_eq!(recovery.torn, None);
            assert_eq!(seen.purges[&0], index - 1);
            assert!(
                seen.indexes(0).is_sorted_by(|a, b| a + 1 == *b),
                "{:?}",
                seen.indexes(0)
            );
            wal = reopened;
        }
    }
    assert!(recycled > 20, "{recycled}");
}

#[test]
fn a_block_larger_than_a_segment_gets_its_own() {
    for spare in [false, true] {
        let disk = Arc::new(MemDisk::new());
        let (mut wal, _, _) = open(&disk).unwrap();
        append(
            &mut wal,
            &encode(
                0,
                Body::HardState {
                    term: 1,
                    vote: 1,
                    commit: 1,
                },
            ),
        );
        append(&mut wal, &entry(0, 1, 100));
        if spare {
            upkeep(&mut wal);
        }
        append(&mut wal, &entry(0, 2, 100_000));
        append(&mut wal, &entry(0, 3, 3000));
        wal.sync().unwrap();
        upkeep(&mut wal);
        disk.crash(5);
        let (mut wal, _, seen) = open(&disk).unwrap();
        assert_eq!(seen.indexes(0), [1, 2, 3]);
        assert_eq!(seen.entries[1].3.len(), 100_000);
        append(&mut wal, &encode(0, Body::Purge { index: 3 }));
        fill(&mut wal, 4, 14);
        wal.sync().unwrap();
        upkeep(&mut wal);
        assert!(!disk.list_contains(&segment(2)));
    }
}

trait Contains {
    fn list_contains(&self, path: &std::path::Path) -> bool;
}

impl Contains for MemDisk {
    fn list_contains(&self, path: &std::path::Path) -> bool {
        files(self).iter().any(|name| path.ends_with(name))
    }
}

#[test]
fn an_upkeep_that_nobody_runs_is_not_lost() {
    let disk = Arc::new(MemDisk::new());
    let (mut wal, _, _) = open(&disk).unwrap();
    let mut index = 0;
    for _ in 0..4 {
        index = fill(&mut wal, index + 1, 3);
        append(&mut wal, &encode(0, Body::Purge { index }));
        wal.sync().unwrap();
        drop(wal.upkeep());
    }
    upkeep(&mut wal);
    assert!(segments(&disk) <= 3, "{:?}", files(&disk));
    disk.crash(0);
    open(&disk).unwrap();
}

#[test]
fn at_rest_the_log_does_not_grow() {
    let disk = Arc::new(MemDisk::new());
    let (mut wal, _, _) = open(&disk).unwrap();
    append(&mut wal, &entry(0, 1, 10));
    wal.sync().unwrap();
    wal.mark_synced().unwrap();
    let end = wal.end();
    let writes = disk.count(wal::testing::Operation::Write);
    let syncs = disk.count(wal::testing::Operation::Sync);
    for _ in 0..3 {
        wal.sync().unwrap();
        assert!(wal.sync_job().unwrap().is_none());
        wal.mark_synced().unwrap();
    }
    assert_eq!(wal.end(), end);
    assert_eq!(disk.count(wal::testing::Operation::Write), writes);
    assert_eq!(disk.count(wal::testing::Operation::Sync), syncs);
}
