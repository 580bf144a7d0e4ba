//! What the log costs on the disk of this machine: `cargo bench -p wal`. The folder is made below
//! `PICCOLO_BENCH_DIR`, or the working directory.

#![allow(clippy::unwrap_used, reason = "a failure of a benchmark is a panic")]

use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use base::{ReplicaId, ShardId};
use wal::{Body, Options, RealDisk, Record, Wal};

fn main() {
    let base = std::env::var("PICCOLO_BENCH_DIR").unwrap_or_else(|_| ".".to_owned());
    let folder = tempfile::tempdir_in(base).unwrap();
    for bytes in [100, 4096, 65_536] {
        append(folder.path(), bytes);
    }
    for marked in [false, true] {
        synced(folder.path(), marked);
    }
    raw_sync(folder.path());
    for bytes in [100, 1000, 10_000] {
        recover(folder.path(), bytes);
    }
}

fn open(dir: &Path) -> Wal<RealDisk> {
    let (disk, options) = (Arc::new(RealDisk), Options::default());
    Wal::open(disk, dir, options, &mut |_| Ok(()), &mut |_| {})
        .unwrap()
        .0
}

fn entry(index: u64, bytes: usize) -> Vec<u8> {
    let payload = vec![b'v'; bytes];
    let body = Body::Entry {
        term: 1,
        index,
        payload: &payload,
    };
    let mut out = Vec::new();
    Record {
        shard: ShardId(0),
        replica: ReplicaId(1),
        body,
    }
    .encode(&mut out);
    out
}

/// Appends without a sync, within one segment.
fn append(folder: &Path, bytes: usize) {
    let mut wal = open(&folder.join(format!("append-{bytes}")));
    let record = entry(1, bytes);
    let count = (48 << 20) / (record.len() + 36);
    let start = Instant::now();
    for _ in 0..count {
        wal.append([&record[..]]).unwrap();
    }
    let each = start.elapsed() / count as u32;
    println!("append of {bytes} B: {:.2} us", each.as_secs_f64() * 1e6);
}

fn synced(folder: &Path, marked: bool) {
    let mut wal = open(&folder.join(format!("synced-{marked}")));
    let record = entry(1, 300);
    let mut took: Vec<Duration> = (0..2000)
        .map(|_| {
            let start = Instant::now();
            wal.append([&record[..]]).unwrap();
            wal.sync().unwrap();
            if marked {
                wal.mark_synced().unwrap();
            }
            start.elapsed()
        })
        .collect();
    let what = if marked {
        "append, sync, mark"
    } else {
        "append, sync"
    };
    print(what, &mut took);
}

/// The peer to compare with: the same bytes without a log around them.
fn raw_sync(folder: &Path) {
    let file = std::fs::File::create_new(folder.join("raw")).unwrap();
    file.write_all_at(&vec![0; 64 << 20], 0).unwrap();
    file.sync_all().unwrap();
    let record = entry(1, 336);
    let mut took: Vec<Duration> = (0..2000)
        .map(|number| {
            let start = Instant::now();
            file.write_all_at(&record, number * record.len() as u64)
                .unwrap();
            file.sync_data().unwrap();
            start.elapsed()
        })
        .collect();
    print("raw write, sync", &mut took);
}

fn print(what: &str, took: &mut [Duration]) {
    took.sort_unstable();
    let micros = |share: usize| took[took.len() * share / 100].as_secs_f64() * 1e6;
    println!("{what}: p50 {:.0} us, p99 {:.0} us", micros(50), micros(99));
}

fn recover(folder: &Path, bytes: usize) {
    let dir = folder.join(format!("recover-{bytes}"));
    let mut wal = open(&dir);
    let mut batch = Vec::new();
    let mut index = 0;
    while wal.end().0 < 512 << 20 {
        batch.clear();
        for _ in 0..16 {
            index += 1;
            batch.extend(entry(index, bytes));
        }
        wal.append([&batch[..]]).unwrap();
        if index % (1 << 12) == 0 {
            wal.sync().unwrap();
        }
    }
    wal.sync().unwrap();
    wal.mark_synced().unwrap();
    drop(wal);
    let start = Instant::now();
    let mut total = 0;
    let mut replay = |record: Record<'_>| {
        if let Body::Entry { payload, .. } = record.body {
            total += payload.len();
        }
        Ok(())
    };
    let (disk, options) = (Arc::new(RealDisk), Options::default());
    let (_, recovery) = Wal::open(disk, &dir, options, &mut replay, &mut |_| {}).unwrap();
    let seconds = start.elapsed().as_secs_f64();
    assert_eq!(total as u64, index * bytes as u64);
    println!(
        "recovery, entries of {bytes} B in blocks of 16: {:.0} MB/s, {:.1} million records/s",
        recovery.bytes as f64 / seconds / 1e6,
        recovery.records as f64 / seconds / 1e6,
    );
    std::fs::remove_dir_all(dir).unwrap();
}
