//! What the fuzz target `log_decoder` and the corpus test run.

use std::path::Path;
use std::sync::{Arc, OnceLock};

use base::{ReplicaId, ShardId};

use crate::testing::MemDisk;
use crate::{Body, Disk, Options, Record, Wal};

/// Feeds bytes to the decoder of records, and a log that was damaged as the bytes say to recovery.
///
/// # Panics
/// When a record does not read back as it was written, when recovery invents or reorders one, or when a
/// log that was recovered once is not recovered the same again.
pub fn check_log_decoder(data: &[u8]) {
    check_records(data);
    check_damage(data);
}

fn check_records(mut data: &[u8]) {
    while let Ok(record) = Record::decode(&mut data) {
        let mut bytes = Vec::new();
        record.encode(&mut bytes);
        let mut rest = &bytes[..];
        assert_eq!(Record::decode(&mut rest), Ok(record));
        assert!(rest.is_empty());
    }
}

const DIR: &str = "log";

/// The first byte says how many records there are; then come damages of 4 bytes each: where, what.
fn check_damage(data: &[u8]) {
    let Some((&count, damages)) = data.split_first() else {
        return;
    };
    let (disk, written) = intact(usize::from(count) % LOGS.len());
    let disk = Arc::new(disk.duplicate());
    for damage in damages.chunks_exact(4).take(64) {
        apply(&disk, damage);
    }
    let Some(first) = read(&disk) else { return };
    assert!(written.starts_with(&first), "a record was invented");
    disk.crash(0);
    assert_eq!(
        read(&disk).as_ref(),
        Some(&first),
        "a recovered log changed"
    );
}

/// A disk with a log on it, and the records of that log.
type Intact = (MemDisk, Vec<Vec<u8>>);

/// Logs of 0 records and more, each written when it is first wanted.
static LOGS: [OnceLock<Intact>; 64] = [const { OnceLock::new() }; 64];

fn intact(count: usize) -> &'static Intact {
    LOGS[count].get_or_init(|| {
        let disk = Arc::new(MemDisk::new());
        let written = write(&disk, count);
        disk.kill();
        (disk.duplicate(), written)
    })
}

fn write(disk: &Arc<MemDisk>, count: usize) -> Vec<Vec<u8>> {
    let options = Options {
        segment_size_bytes: 8192,
    };
    let (mut wal, _) = Wal::open(
        Arc::clone(disk),
        Path::new(DIR),
        options,
        &mut |_| Ok(()),
        &mut |_| {},
    )
    .expect("an empty disk without faults");
    (0..count)
        .map(|number| {
            let payload = vec![number as u8; number * 37 % 700];
            let body = Body::Entry {
                term: 1,
                index: number as u64 + 1,
                payload: &payload,
            };
            let mut bytes = Vec::new();
            Record {
                shard: ShardId(0),
                replica: ReplicaId(1),
                body,
            }
            .encode(&mut bytes);
            wal.append([&bytes[..]]).expect("a disk without faults");
            if number % 3 == 0 {
                wal.sync().expect("a disk without faults");
            }
            bytes
        })
        .collect()
}

fn apply(disk: &MemDisk, damage: &[u8]) {
    let [kind, low, high, value] = damage else {
        return;
    };
    let names = disk.list(Path::new(DIR)).expect("listing never fails here");
    let Some(name) = names.get(usize::from(kind >> 3) % names.len().max(1)) else {
        return;
    };
    let path = Path::new(DIR).join(name);
    let mut bytes = disk.contents(&path);
    let place = usize::from(u16::from_le_bytes([*low, *high])) % bytes.len().max(1);
    let Some(byte) = bytes.get_mut(place) else {
        return;
    };
    match kind & 7 {
        0 => bytes.truncate(place),
        1 => bytes[place..].fill(0),
        2 => bytes.copy_within(place.., 0),
        3 => bytes[place..].fill(*value),
        4 | 5 => *byte = *value,
        _ => *byte ^= 1 << (value % 8),
    }
    disk.set_contents(&path, &bytes);
}

/// The entries that recovery finds; `None` when it refuses.
fn read(disk: &Arc<MemDisk>) -> Option<Vec<Vec<u8>>> {
    let mut entries = Vec::new();
    let mut replay = |record: Record<'_>| {
        let mut bytes = Vec::new();
        record.encode(&mut bytes);
        entries.push(bytes);
        Ok(())
    };
    let opened = Wal::open(
        Arc::clone(disk),
        Path::new(DIR),
        Options {
            segment_size_bytes: 8192,
        },
        &mut replay,
        &mut |_| {},
    );
    let recovered = opened.is_ok();
    drop(opened);
    recovered.then_some(entries)
}
