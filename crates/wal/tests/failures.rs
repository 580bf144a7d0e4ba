//! Disks that fail or are full.

#![allow(clippy::unwrap_used, reason = "a failure of a test is a panic")]

mod support;

use std::io::ErrorKind;
use std::sync::Arc;

use support::{Seen, dir, entry, files, open, upkeep};
use wal::testing::{Fault, MemDisk, Operation};
use wal::{Disk, MAX_APPEND_BYTES, Wal, WalError};

fn fail(disk: &MemDisk, operation: Operation, after: u64, kind: ErrorKind) {
    disk.inject(Fault {
        operation,
        after,
        kind,
    });
}

fn assert_poisoned(wal: &mut Wal<MemDisk>) {
    let bytes = entry(0, 99, 10);
    for _ in 0..2 {
        assert!(matches!(wal.append([&bytes[..]]), Err(WalError::Poisoned)));
        assert!(matches!(wal.sync(), Err(WalError::Poisoned)));
        assert!(matches!(wal.sync_job(), Err(WalError::Poisoned)));
        assert!(matches!(wal.mark_synced(), Err(WalError::Poisoned)));
        assert!(wal.upkeep().is_none());
    }
}

/// A log with one synced entry and one that is not.
fn half_synced(disk: &Arc<MemDisk>) -> Wal<MemDisk> {
    let (mut wal, _, _) = open(disk).unwrap();
    wal.append([&entry(0, 1, 600)[..]]).unwrap();
    wal.sync().unwrap();
    wal.append([&entry(0, 2, 600)[..]]).unwrap();
    wal
}

#[test]
fn a_sync_that_fails_once_and_would_succeed_then_stays_failed() {
    let disk = Arc::new(MemDisk::new());
    let mut wal = half_synced(&disk);
    fail(&disk, Operation::Sync, 0, ErrorKind::Other);
    assert!(matches!(
        wal.sync(),
        Err(WalError::Io {
            operation: "sync",
            ..
        })
    ));
    assert_poisoned(&mut wal);
}

#[test]
fn a_sync_that_fails_on_another_thread_stays_failed() {
    let disk = Arc::new(MemDisk::new());
    let mut wal = half_synced(&disk);
    let job = wal.sync_job().unwrap().unwrap();
    let late = wal.sync_job().unwrap().unwrap();
    fail(&disk, Operation::Sync, 0, ErrorKind::Other);
    let failed = std::thread::spawn(move || job.run()).join().unwrap();
    assert!(matches!(
        failed,
        Err(WalError::Io {
            operation: "sync",
            ..
        })
    ));
    assert!(matches!(late.run(), Err(WalError::Poisoned)));
    assert_poisoned(&mut wal);
}

#[test]
fn a_write_that_fails_poisons() {
    let disk = Arc::new(MemDisk::new());
    let mut wal = half_synced(&disk);
    fail(&disk, Operation::Write, 0, ErrorKind::Other);
    let refused = wal.append([&entry(0, 3, 10)[..]]);
    assert!(matches!(
        refused,
        Err(WalError::Io {
            operation: "write",
            ..
        })
    ));
    assert_poisoned(&mut wal);
}

/// After a failed sync the kernel may hold as clean what never reached the disk. A process that starts
/// again and reads it must not take it for durable.
#[test]
fn what_a_failed_sync_left_in_memory_is_made_durable_by_the_next_start() {
    for seed in 0..50 {
        let disk = Arc::new(MemDisk::new());
        let mut wal = half_synced(&disk);
        fail(&disk, Operation::Sync, 0, ErrorKind::Other);
        wal.sync().unwrap_err();
        disk.kill();
        let (_, _, seen) = open(&disk).unwrap();
        assert_eq!(seen.indexes(0), [1, 2]);
        disk.crash(seed);
        let (_, _, seen) = open(&disk).unwrap();
        assert_eq!(seen.indexes(0), [1, 2]);
    }
}

#[test]
fn a_full_disk_refuses_and_recovers() {
    let disk = Arc::new(MemDisk::new());
    let (mut wal, _, _) = open(&disk).unwrap();
    disk.set_free_bytes(Some(0));
    let mut index = 0;
    let refused = loop {
        match wal.append([&entry(0, index + 1, 500)[..]]) {
            Ok(_) => index += 1,
            Err(error) => break error,
        }
    };
    assert!(matches!(refused, WalError::NoRoom { .. }), "{refused}");
    assert!(index >= 7);
    assert!(matches!(
        wal.upkeep().unwrap().run(),
        Err(WalError::NoRoom { .. })
    ));
    assert!(wal.room() < 550);
    // What is small still fits, and all of it can be synced.
    wal.append([&entry(0, index + 1, 5)[..]]).unwrap();
    wal.sync().unwrap();
    assert_eq!(files(&disk).len(), 1, "nothing unfinished takes up space");

    disk.set_free_bytes(None);
    wal.append([&entry(0, index + 2, 500)[..]]).unwrap();
    upkeep(&mut wal);
    assert!(wal.room() > 3000);
    wal.sync().unwrap();
    disk.crash(1);
    let (_, _, seen) = open(&disk).unwrap();
    assert_eq!(seen.indexes(0), (1..=index + 2).collect::<Vec<_>>());
}

#[test]
fn what_room_promises_holds_on_a_full_disk() {
    for before in 0..12 {
        let disk = Arc::new(MemDisk::new());
        let (mut wal, _, _) = open(&disk).unwrap();
        if before % 2 == 0 {
            upkeep(&mut wal);
        }
        disk.set_free_bytes(Some(0));
        for index in 1..=before {
            let state = wal::Body::HardState {
                term: index,
                vote: 1,
                commit: index,
            };
            let state = support::encode(index as u32, state);
            wal.append([&entry(0, index, 300)[..], &state[..]]).unwrap();
        }
        let record = entry(0, before + 1, 0);
        let mut left = wal.room();
        let appends = left / (record.len() as u64 + 36);
        for _ in 0..appends {
            wal.append([&record[..]]).unwrap();
            left -= record.len() as u64;
        }
        assert!(left > 0 && appends > 0);

        // The same in one piece.
        let disk = Arc::new(MemDisk::new());
        let (mut wal, _, _) = open(&disk).unwrap();
        upkeep(&mut wal);
        disk.set_free_bytes(Some(0));
        wal.append([&entry(0, 1, before as usize * 100)[..]])
            .unwrap();
        let mut record = entry(0, 2, wal.room() as usize);
        let excess = record.len() - wal.room() as usize;
        record = entry(0, 2, wal.room() as usize - excess);
        assert_eq!(record.len() as u64, wal.room());
        wal.append([&record[..]]).unwrap();
    }
}

/// Every single operation of a busy log fails once, then the power goes.
#[test]
fn whatever_operation_fails_the_log_recovers() {
    for operation in [
        Operation::Create,
        Operation::Write,
        Operation::Sync,
        Operation::Name,
        Operation::Read,
    ] {
        for after in 0..120 {
            for kind in [ErrorKind::Other, ErrorKind::StorageFull] {
                fail_and_recover(operation, after, kind);
            }
        }
    }
}

fn fail_and_recover(operation: Operation, after: u64, kind: ErrorKind) {
    let what = format!("{operation:?} {after} {kind:?}");
    let disk = Arc::new(MemDisk::new());
    fail(&disk, operation, after, kind);
    let synced = work(&disk);
    for seed in after..after + 3 {
        let disk = Arc::new(disk.duplicate());
        disk.crash(seed);
        let (_, _, seen) = open(&disk).unwrap_or_else(|error| panic!("{what}: {error}"));
        let found = seen.indexes(0);
        let last = found.last().copied().unwrap_or(0);
        assert!(
            last >= synced,
            "{what}: {synced} was synced, {last} is the last"
        );
        let first = found.first().copied().unwrap_or(1);
        assert_eq!(
            found,
            (first..first + found.len() as u64).collect::<Vec<_>>(),
            "{what}"
        );
        assert!(
            first <= seen.purges.get(&0).copied().unwrap_or(0) + 1,
            "{what}"
        );
    }
}

/// Appends, purges and turns segments until something fails; the last synced index.
fn work(disk: &Arc<MemDisk>) -> u64 {
    let mut synced = 0;
    let mut steps = || -> Result<(), WalError> {
        let (mut wal, _, _) = open(disk)?;
        for index in 1..=60 {
            wal.append([&entry(0, index, 500)[..]])?;
            if index % 10 == 0 {
                let purge = support::encode(0, wal::Body::Purge { index: index - 5 });
                wal.append([&purge[..]])?;
            }
            wal.sync()?;
            synced = index;
            wal.mark_synced()?;
            if let Some(upkeep) = wal.upkeep() {
                upkeep.run()?;
            }
        }
        Ok(())
    };
    // The failure that was asked for, if it came about.
    drop(steps());
    synced
}

#[test]
fn an_append_over_the_limit_changes_nothing() {
    let disk = Arc::new(MemDisk::new());
    let mut wal = half_synced(&disk);
    let huge = vec![0; MAX_APPEND_BYTES as usize + 1];
    assert!(matches!(
        wal.append([&huge[..]]),
        Err(WalError::TooLarge { .. })
    ));
    drop(huge);
    wal.append([&entry(0, 3, 10)[..]]).unwrap();
    disk.kill();
    assert_eq!(open(&disk).unwrap().2.indexes(0), [1, 2, 3]);
}

#[test]
fn unfinished_files_are_removed() {
    let disk = Arc::new(MemDisk::new());
    disk.put(&dir().join("log-0000000002.seg.tmp"), b"unfinished");
    disk.put(&dir().join("parked-0000000001.tmp"), b"no longer needed");
    let (_, _, seen) = open(&disk).unwrap();
    assert_eq!(seen, Seen::default());
    assert_eq!(disk.list(dir()).unwrap(), ["log-0000000001.seg"]);
}
