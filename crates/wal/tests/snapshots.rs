//! Snapshot files: whole or not there at all.

#![allow(clippy::unwrap_used, reason = "a failure of a test is a panic")]

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use base::{ReplicaId, ShardId};
use wal::testing::{Fault, MemDisk, Operation};
use wal::{Disk, SnapshotError, SnapshotId, SnapshotReader, Snapshots};

const CHUNK: usize = SnapshotReader::<MemDisk>::CHUNK_BYTES;

fn dir() -> &'static Path {
    Path::new("snapshots")
}

fn id(shard: u32, index: u64) -> SnapshotId {
    SnapshotId {
        shard: ShardId(shard),
        replica: ReplicaId(2),
        term: 3,
        index,
    }
}

fn path(id: SnapshotId) -> PathBuf {
    dir().join(format!("snapshot-{}-2-3-{}.snap", id.shard.0, id.index))
}

fn contents(length: usize) -> Vec<u8> {
    (0..length)
        .map(|place| (place * 7 + place / 251) as u8)
        .collect()
}

fn open(disk: &Arc<MemDisk>) -> Snapshots<MemDisk> {
    Snapshots::open(Arc::clone(disk), dir()).unwrap()
}

fn write(
    snapshots: &Snapshots<MemDisk>,
    id: SnapshotId,
    bytes: &[u8],
) -> Result<u64, SnapshotError> {
    let mut writer = snapshots.create(id)?;
    for piece in bytes.chunks(10_007) {
        if let Err(error) = writer.write(piece) {
            writer.abandon()?;
            return Err(error);
        }
    }
    writer.finish()
}

fn read(snapshots: &Snapshots<MemDisk>, id: SnapshotId) -> Result<Vec<u8>, SnapshotError> {
    let mut reader = snapshots.read(id)?;
    let mut bytes = Vec::new();
    while let Some(chunk) = reader.next_chunk()? {
        bytes.extend_from_slice(chunk);
    }
    assert_eq!(bytes.len() as u64, reader.length());
    Ok(bytes)
}

#[test]
fn snapshots_of_all_sizes_read_back() {
    let disk = Arc::new(MemDisk::new());
    let snapshots = open(&disk);
    for (index, length) in [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 5 * CHUNK + 77]
        .into_iter()
        .enumerate()
    {
        let id = id(0, index as u64);
        assert_eq!(
            write(&snapshots, id, &contents(length)).unwrap(),
            length as u64
        );
        assert_eq!(read(&snapshots, id).unwrap(), contents(length));
        let mut reader = snapshots.read(id).unwrap();
        assert_eq!(reader.chunks(), length.div_ceil(CHUNK) as u64);
        for number in (0..reader.chunks()).rev() {
            let from = number as usize * CHUNK;
            let to = (from + CHUNK).min(length);
            assert_eq!(reader.chunk(number).unwrap(), &contents(length)[from..to]);
        }
    }
    assert_eq!(snapshots.list().unwrap().len(), 6);
}

#[test]
fn no_flipped_byte_and_no_cut_passes() {
    let disk = Arc::new(MemDisk::new());
    let snapshots = open(&disk);
    let id = id(0, 9);
    write(&snapshots, id, &contents(CHUNK + 300)).unwrap();
    let intact = disk.contents(&path(id));
    let near_edges =
        |offset: &usize| *offset < 200 || *offset > CHUNK - 50 || offset.is_multiple_of(997);
    for offset in (0..intact.len()).filter(near_edges) {
        disk.flip(&path(id), offset, 0x10);
        let refused = read(&snapshots, id);
        assert!(
            matches!(
                refused,
                Err(SnapshotError::Corrupt { .. } | SnapshotError::Version { .. })
            ),
            "{offset}"
        );
        disk.flip(&path(id), offset, 0x10);
        disk.set_contents(&path(id), &intact[..offset]);
        assert!(
            matches!(read(&snapshots, id), Err(SnapshotError::Corrupt { .. })),
            "{offset}"
        );
        disk.set_contents(&path(id), &intact);
    }
    let other = SnapshotId { index: 10, ..id };
    disk.put(&path(other), &intact);
    assert!(matches!(
        read(&snapshots, other),
        Err(SnapshotError::Corrupt { .. })
    ));
}

#[test]
fn a_power_cut_leaves_a_whole_snapshot_or_none() {
    for seed in 0..200 {
        let disk = Arc::new(MemDisk::new());
        let snapshots = open(&disk);
        write(&snapshots, id(0, 1), &contents(700)).unwrap();
        // The name of the second is not durable yet, or its contents are not.
        let fault = Fault {
            operation: Operation::Sync,
            after: seed % 2,
            kind: ErrorKind::Other,
        };
        disk.inject(fault);
        write(&snapshots, id(0, 2), &contents(5000)).unwrap_err();
        disk.crash(seed);
        let snapshots = open(&disk);
        let found = snapshots.list().unwrap();
        assert!(found == [id(0, 1)] || found == [id(0, 1), id(0, 2)]);
        for id in found {
            read(&snapshots, id).unwrap();
        }
    }
}

#[test]
fn a_full_disk_leaves_nothing_behind() {
    let disk = Arc::new(MemDisk::new());
    let snapshots = open(&disk);
    disk.set_free_bytes(Some(300_000));
    let refused = write(&snapshots, id(0, 1), &contents(1_000_000));
    assert!(matches!(refused, Err(SnapshotError::NoRoom { .. })));
    assert!(disk.list(dir()).unwrap().is_empty());
    write(&snapshots, id(0, 1), &contents(200_000)).unwrap();
}

#[test]
fn older_ones_and_unfinished_ones_go() {
    let disk = Arc::new(MemDisk::new());
    let snapshots = open(&disk);
    for id in [id(0, 1), id(0, 2), id(0, 3), id(1, 1)] {
        write(&snapshots, id, b"state").unwrap();
    }
    snapshots.remove_older(id(0, 3)).unwrap();
    assert_eq!(snapshots.list().unwrap(), [id(0, 3), id(1, 1)]);
    snapshots.remove_replica(ShardId(0), ReplicaId(2)).unwrap();
    assert_eq!(snapshots.list().unwrap(), [id(1, 1)]);
    drop(snapshots.create(id(1, 2)).unwrap());
    assert_eq!(disk.list(dir()).unwrap().len(), 2);
    assert_eq!(open(&disk).list().unwrap(), [id(1, 1)]);
    assert_eq!(disk.list(dir()).unwrap().len(), 1);
}
