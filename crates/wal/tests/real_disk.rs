//! The whole round on the file system of this machine.

#![allow(clippy::unwrap_used, reason = "a failure of a test is a panic")]

use std::path::Path;
use std::sync::Arc;

use base::{ClusterId, Incarnation, NodeId, ReplicaId, ShardId};
use wal::{
    Body, DataDir, Identity, Options, RealDisk, Record, Recovery, RunId, SnapshotId, Snapshots, Wal,
};

fn open(dir: &Path) -> (Wal<RealDisk>, Recovery, Vec<u64>) {
    let mut indexes = Vec::new();
    let mut replay = |record: Record<'_>| {
        if let Body::Entry { index, .. } = record.body {
            indexes.push(index);
        }
        Ok(())
    };
    let options = Options {
        segment_size_bytes: 64 << 10,
    };
    let disk = Arc::new(RealDisk);
    let (wal, recovery) = Wal::open(disk, dir, options, &mut replay, &mut |_| {}).unwrap();
    (wal, recovery, indexes)
}

fn append(wal: &mut Wal<RealDisk>, body: Body<'_>) {
    let mut bytes = Vec::new();
    Record {
        shard: ShardId(0),
        replica: ReplicaId(1),
        body,
    }
    .encode(&mut bytes);
    wal.append([&bytes[..]]).unwrap();
}

#[test]
fn a_node_keeps_its_log_its_snapshots_and_its_identity() {
    let folder = tempfile::tempdir().unwrap();
    let data_dir = DataDir::open(&folder.path().join("node-19919")).unwrap();
    let identity = Identity {
        node: NodeId(1),
        run: RunId([2; 20]),
        incarnation: Incarnation(3),
        cluster: Some(ClusterId(4)),
    };
    data_dir.store_identity(&identity).unwrap();

    let (mut wal, recovery, indexes) = open(&data_dir.log_dir());
    assert_eq!((recovery, indexes), (Recovery::default(), Vec::new()));
    for index in 1..=300 {
        append(
            &mut wal,
            Body::Entry {
                term: 1,
                index,
                payload: &[index as u8; 1000],
            },
        );
        if index % 10 == 0 {
            wal.sync().unwrap();
            wal.mark_synced().unwrap();
        }
        if let Some(upkeep) = wal.upkeep() {
            std::thread::spawn(move || upkeep.run())
                .join()
                .unwrap()
                .unwrap();
        }
    }
    drop(wal);

    let snapshots = Snapshots::open(Arc::new(RealDisk), &data_dir.snapshot_dir()).unwrap();
    let id = SnapshotId {
        shard: ShardId(0),
        replica: ReplicaId(1),
        term: 1,
        index: 250,
    };
    let mut writer = snapshots.create(id).unwrap();
    writer.write(&[7; 1_000_000]).unwrap();
    assert_eq!(writer.finish().unwrap(), 1_000_000);

    let (mut wal, recovery, indexes) = open(&data_dir.log_dir());
    assert_eq!(recovery.torn, None);
    assert_eq!(indexes, (1..=300).collect::<Vec<_>>());
    let before = wal.log_bytes();
    append(
        &mut wal,
        Body::Snapshot {
            term: 1,
            index: 250,
        },
    );
    append(&mut wal, Body::Purge { index: 250 });
    let job = wal.sync_job().unwrap().unwrap();
    let position = std::thread::spawn(move || job.run())
        .join()
        .unwrap()
        .unwrap();
    wal.synced(position);
    assert_eq!(wal.synced_upto(), wal.end());
    wal.upkeep().unwrap().run().unwrap();
    assert!(wal.log_bytes() < before);
    drop(wal);

    let (_, _, indexes) = open(&data_dir.log_dir());
    assert!(indexes[0] > 1 && indexes[0] <= 251);
    assert_eq!(indexes.last(), Some(&300));
    assert_eq!(snapshots.list().unwrap(), [id]);
    let mut reader = snapshots.read(id).unwrap();
    let mut bytes = 0;
    while let Some(chunk) = reader.next_chunk().unwrap() {
        assert!(chunk.iter().all(|&byte| byte == 7));
        bytes += chunk.len();
    }
    assert_eq!(bytes, 1_000_000);
    assert_eq!(data_dir.load_identity().unwrap(), Some(identity));
}
