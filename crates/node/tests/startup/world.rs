//! A node's disk, and what is put on it.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use base::{ClusterId, Db, Incarnation, NodeId, ReplicaId, ShardId, Timestamp};
use keyspace::{Expiry, Keyspace};
use meta::{ClusterMap, Founder, Member, Membership, Role};
use node::startup::{self, Dirs, OpenError, Recovered};
use shard::SnapshotMeta;
use wal::testing::MemDisk;
use wal::{Body, Disk, Record, SnapshotId, Snapshots, Wal};

pub(crate) const NODE: NodeId = NodeId(1);

pub(crate) struct World {
    pub(crate) disk: Arc<MemDisk>,
    pub(crate) dirs: Dirs,
}

pub(crate) fn options() -> wal::Options {
    wal::Options {
        segment_size_bytes: 16 << 10,
    }
}

/// The map of a cluster of so many founders, this node among them.
pub(crate) fn map(founders: u64, shards: u32) -> ClusterMap {
    let founders: Vec<_> = (1..=founders)
        .map(|node| Founder {
            node: NodeId(node),
            incarnation: Incarnation(1),
            name: format!("node-{node}"),
            address: format!("10.0.0.{node}:19919"),
            redis: format!("10.0.0.{node}:6379"),
            version: "0.1.0".into(),
            formats: 1,
        })
        .collect();
    ClusterMap::founding(ClusterId(5), &founders, shards, 3, 99)
}

pub(crate) fn snapshot_id(shard: u32, replica: u64, term: u64, index: u64) -> SnapshotId {
    SnapshotId {
        shard: ShardId(shard),
        replica: ReplicaId(replica),
        term,
        index,
    }
}

pub(crate) fn hard_state(term: u64, vote: u64, commit: u64) -> Body<'static> {
    Body::HardState { term, vote, commit }
}

/// A new leader's first entry.
pub(crate) fn entry(term: u64, index: u64) -> Body<'static> {
    Body::Entry {
        term,
        index,
        payload: &[],
    }
}

impl World {
    /// An empty disk.
    pub(crate) fn new() -> World {
        World {
            disk: Arc::new(MemDisk::new()),
            dirs: Dirs::of(Path::new("node")),
        }
    }

    /// A node that has joined a cluster.
    pub(crate) fn joined() -> World {
        let world = World::new();
        startup::join(&world.disk, &world.dirs, options()).unwrap();
        world
    }

    pub(crate) fn found(&self, map: &ClusterMap) -> Result<(), OpenError> {
        startup::found(&self.disk, &self.dirs, options(), map, NODE)
    }

    pub(crate) fn recover(&self) -> Result<Recovered<MemDisk>, OpenError> {
        startup::recover(
            &self.disk,
            &self.dirs,
            options(),
            Duration::from_secs(7),
            &mut |shard, replica| shard::Config {
                shard,
                replica,
                node: NODE,
                heartbeat: Duration::from_millis(100),
                election: Duration::from_millis(500),
                patience: Duration::from_secs(2),
                seed: 1,
                lease: true,
            },
            &mut |_| {},
        )
    }

    /// Appends records of a replica to the log, durably.
    pub(crate) fn log(&self, shard: u32, replica: u64, bodies: &[Body<'_>]) {
        let (mut wal, _) = Wal::open(
            Arc::clone(&self.disk),
            &self.dirs.log,
            options(),
            &mut |_| Ok(()),
            &mut |_| {},
        )
        .unwrap();
        let mut records = Vec::new();
        for body in bodies {
            Record {
                shard: ShardId(shard),
                replica: ReplicaId(replica),
                body: *body,
            }
            .encode(&mut records);
        }
        wal.append([records.as_slice()]).unwrap();
        wal.sync().unwrap();
    }

    /// Puts a snapshot there that holds one key, `at`, with the number of the entry.
    pub(crate) fn snapshot(&self, id: SnapshotId) {
        let sole = Member {
            replica: id.replica,
            node: NODE,
            role: Role::Voter,
        };
        let other = Member {
            replica: ReplicaId(1000),
            node: NodeId(2),
            role: Role::Voter,
        };
        let meta = SnapshotMeta {
            term: id.term,
            index: id.index,
            membership: Membership::new([sole, other]),
            map: None,
        };
        let mut keyspace = Keyspace::new(3);
        let value = id.index.to_string();
        keyspace.set(Db::default(), b"at", value.as_bytes(), Expiry::Clear);
        let mut bytes = Vec::new();
        meta.encode(&mut bytes);
        keyspace.begin_snapshot();
        while !keyspace.snapshot_step(usize::MAX, &mut bytes) {}
        let files = Snapshots::open(Arc::clone(&self.disk), &self.dirs.snapshots).unwrap();
        let mut writer = files.create(id).unwrap();
        writer.write(&bytes).unwrap();
        writer.finish().unwrap();
    }

    pub(crate) fn snapshot_path(&self, id: SnapshotId) -> PathBuf {
        let (shard, replica) = (id.shard.0, id.replica.0);
        let name = format!("snapshot-{shard}-{replica}-{}-{}.snap", id.term, id.index);
        self.dirs.snapshots.join(name)
    }

    /// The names in the folder of snapshots.
    pub(crate) fn names(&self) -> Vec<String> {
        self.disk.list(&self.dirs.snapshots).unwrap()
    }
}

/// What there is: shard, replica, the entry of its snapshot, its last entry.
pub(crate) fn replicas(recovered: &Recovered<MemDisk>) -> Vec<(u32, u64, Option<u64>, u64)> {
    let replicas = recovered.replicas.iter();
    replicas
        .map(|replica| {
            (
                replica.shard.id().0,
                replica.shard.replica().0,
                replica.snapshot.map(|(id, _)| id.index),
                replica.shard.last_index(),
            )
        })
        .collect()
}

/// What [`World::snapshot`] stored.
pub(crate) fn stored(keyspace: &Keyspace) -> Option<String> {
    let entry = keyspace.get(Db::default(), b"at", Timestamp::ZERO)?;
    Some(String::from_utf8(entry.string().unwrap().to_vec()).unwrap())
}
