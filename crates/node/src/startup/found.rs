//! Founding a cluster, and joining one.

use std::sync::Arc;

use base::{NodeId, ReplicaId, ShardId};
use keyspace::Keyspace;
use meta::ClusterMap;
use shard::SnapshotMeta;
use wal::{Disk, SnapshotId, Snapshots, Wal};

use super::{Dirs, OpenError};

/// Makes this node a founder: on disk, the empty state of each replica that it has in the map, and an
/// empty log. The node's identity, with the cluster's id, is to be stored after this; then
/// [`super::recover`] brings the replicas up.
///
/// A founding that ended midway leaves nothing that another one, of other replicas even, would find.
///
/// # Errors
/// [`OpenError`] when the files cannot be written; founding can then be tried again. And
/// [`OpenError::NotEmpty`].
pub fn found<D: Disk>(
    disk: &Arc<D>,
    dirs: &Dirs,
    options: wal::Options,
    map: &ClusterMap,
    node: NodeId,
) -> Result<(), OpenError> {
    let mut replicas = Vec::new();
    for &shard in map.placements.keys() {
        let membership = map.membership_at_founding(shard);
        let Some(here) = membership.of_node(node).copied() else {
            continue;
        };
        let known = (shard == META_SHARD).then(|| map.clone());
        let meta = SnapshotMeta::founding(membership, known);
        replicas.push((shard, here.replica, meta));
    }
    begin(disk, dirs, options, &replicas, map.hash_seed)
}

fn begin<D: Disk>(
    disk: &Arc<D>,
    dirs: &Dirs,
    options: wal::Options,
    replicas: &[(ShardId, ReplicaId, SnapshotMeta)],
    hash_seed: u64,
) -> Result<(), OpenError> {
    let snapshots =
        Snapshots::open(Arc::clone(disk), &dirs.snapshots).map_err(OpenError::Snapshots)?;
    let unfinished = snapshots.list().map_err(OpenError::Snapshots)?;
    if unfinished.iter().any(|id| id.index != FOUNDING_INDEX) {
        return Err(not_empty(&dirs.snapshots));
    }
    // From now on there is a log, so that one that is gone can be told from one that never was.
    let (_, found) = Wal::open(
        Arc::clone(disk),
        &dirs.log,
        options,
        &mut |_| Ok(()),
        &mut |_| {},
    )?;
    if found.records > 0 {
        return Err(not_empty(&dirs.log));
    }
    for id in unfinished {
        snapshots.remove(id).map_err(OpenError::Snapshots)?;
    }
    for (shard, replica, meta) in replicas {
        let mut bytes = Vec::new();
        meta.encode(&mut bytes);
        let mut keyspace = Keyspace::new(hash_seed);
        keyspace.begin_snapshot();
        while !keyspace.snapshot_step(usize::MAX, &mut bytes) {}
        let id = SnapshotId {
            shard: *shard,
            replica: *replica,
            term: meta.term,
            index: meta.index,
        };
        let written = snapshots.create(id).and_then(|mut writer| {
            writer.write(&bytes)?;
            writer.finish()
        });
        written.map_err(|source| OpenError::Snapshot {
            shard: *shard,
            source,
        })?;
    }
    Ok(())
}

/// Makes this node ready to join a cluster: an empty log, and nothing else. The node's identity, with
/// the cluster's id, is to be stored after this.
///
/// # Errors
/// As those of [`found`].
pub fn join<D: Disk>(disk: &Arc<D>, dirs: &Dirs, options: wal::Options) -> Result<(), OpenError> {
    begin(disk, dirs, options, &[], 0)
}

/// The shard whose state holds the map as well.
const META_SHARD: ShardId = ShardId(0);
/// The index of [`SnapshotMeta::founding`].
const FOUNDING_INDEX: u64 = 1;

fn not_empty(folder: &std::path::Path) -> OpenError {
    OpenError::NotEmpty {
        folder: folder.display().to_string(),
    }
}
