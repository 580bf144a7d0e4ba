//! Recovering what a node held.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use base::{ReplicaId, ShardId};
use keyspace::Keyspace;
use shard::{Recovery, RecoveryError, Replayed, Shard, SnapshotMeta};
use wal::{Body, Disk, Record, SnapshotId, Snapshots, Wal};

use super::{Dirs, LoadError, Loading, OpenError};

/// How far a recovery has come; told now and then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// A snapshot is being loaded.
    Snapshot {
        /// Whose.
        shard: ShardId,
        /// How much of it is.
        bytes_read: u64,
        /// How much there is.
        bytes_total: u64,
    },
    /// The log is being replayed.
    Log(wal::Progress),
}

/// What a node holds.
pub struct Recovered<D: Disk> {
    /// The log, open.
    pub wal: Wal<D>,
    /// The folder of snapshots, open.
    pub snapshots: Snapshots<D>,
    /// The replicas that live here, by shard.
    pub replicas: Vec<RecoveredReplica>,
    /// What was in the log.
    pub log: wal::Recovery,
    /// What of it came after the snapshots.
    pub replayed: Replayed,
    /// Snapshots that were removed because their replicas were, or newer ones are there.
    pub removed: Vec<SnapshotId>,
    /// Replicas that the log did not know to be removed, though later ones of their shards are here. Worth a
    /// warning.
    pub left_behind: Vec<(ShardId, ReplicaId)>,
}

/// A replica that was there.
pub struct RecoveredReplica {
    /// Its part in the Raft group.
    pub shard: Shard,
    /// What it holds.
    pub keyspace: Keyspace,
    /// The snapshot it began with and the bytes of that; none if it was never filled.
    pub snapshot: Option<(SnapshotId, u64)>,
}

/// Reads snapshots and log, and removes what is left of replicas that are not here any more. `config`
/// tells what each replica that is found is started with.
///
/// # Errors
/// [`OpenError`]: what is on disk is damaged or cannot be read; the node must not start.
pub fn recover<D: Disk>(
    disk: &Arc<D>,
    dirs: &Dirs,
    options: wal::Options,
    now: Duration,
    config: &mut dyn FnMut(ShardId, ReplicaId) -> shard::Config,
    progress: &mut dyn FnMut(Progress),
) -> Result<Recovered<D>, OpenError> {
    let snapshots =
        Snapshots::open(Arc::clone(disk), &dirs.snapshots).map_err(OpenError::Snapshots)?;
    if !Wal::exists(&**disk, &dirs.log)? {
        return Err(OpenError::NoLog {
            folder: dirs.log.display().to_string(),
        });
    }
    let files = snapshots.list().map_err(OpenError::Snapshots)?;
    // They are sorted, so the last one of a replica is its newest.
    let newest: BTreeMap<Key, SnapshotId> = files
        .iter()
        .map(|id| ((id.shard, id.replica), *id))
        .collect();
    let mut found = BTreeMap::new();
    for (key, id) in newest {
        let state = match load(&snapshots, id, config, progress) {
            Ok((recovery, meta, bytes)) => Found::Filled(Box::new((recovery, meta)), id, bytes),
            Err(error) => Found::Unusable(error),
        };
        found.insert(key, state);
    }
    let (mut wal, log) = Wal::open(
        Arc::clone(disk),
        &dirs.log,
        options,
        &mut |record: Record<'_>| {
            // It may be about a replica of which nothing else is known.
            if matches!(record.body, Body::Other { .. }) {
                return Ok(());
            }
            let key = (record.shard, record.replica);
            let state = found.entry(key).or_insert(Found::Bare(None));
            state.record(key, &record.body, &dirs.snapshots);
            Ok(())
        },
        &mut |told| progress(Progress::Log(told)),
    )?;
    let left_behind = forget_leftovers(&mut found, &mut wal)?;

    let (mut replicas, mut replayed) = (Vec::new(), Replayed::default());
    let mut alive = BTreeMap::new();
    for (key, state) in found {
        let (recovery, snapshot) = match state {
            Found::Filled(filled, id, bytes) => (filled.0, Some((filled.1, id, bytes))),
            Found::Bare(hard_state) => (empty(config(key.0, key.1), hard_state, key)?, None),
            Found::Unusable(error) => return Err(error),
            Found::Forgotten => continue,
        };
        let Replayed { entries, bytes } = recovery.replayed();
        replayed.entries += entries;
        replayed.bytes += bytes;
        let finished = recovery.finish(now);
        let (mut shard, keyspace) = finished.map_err(|source| unfit(key, source))?;
        let snapshot = snapshot.map(|(meta, id, bytes)| {
            // So that it can be offered to those who lack what the log no longer has.
            shard.note_snapshot(&meta, bytes);
            (id, bytes)
        });
        alive.insert(key, snapshot.map(|(id, _)| id));
        replicas.push(RecoveredReplica {
            shard,
            keyspace,
            snapshot,
        });
    }

    let mut removed = Vec::new();
    for id in files {
        let kept = alive.get(&(id.shard, id.replica)).copied().flatten();
        if kept != Some(id) {
            snapshots.remove(id).map_err(OpenError::Snapshots)?;
            removed.push(id);
        }
    }
    Ok(Recovered {
        wal,
        snapshots,
        replicas,
        log,
        replayed,
        removed,
        left_behind,
    })
}

type Key = (ShardId, ReplicaId);

/// What is known of a replica while the log is read.
enum Found {
    /// It has a snapshot, with that head and so many bytes.
    Filled(Box<(Recovery, SnapshotMeta)>, SnapshotId, u64),
    /// It has none, and the log told no more of it than the last hard state.
    Bare(Option<Body<'static>>),
    /// It cannot be brought back. That is of no importance if it turns out to have been removed.
    Unusable(OpenError),
    /// It was removed.
    Forgotten,
}

impl Found {
    fn record(&mut self, key: Key, body: &Body<'_>, folder: &Path) {
        match (&mut *self, *body) {
            (Found::Forgotten, _) => {}
            (_, Body::Forget) => *self = Found::Forgotten,
            (Found::Unusable(_), _) => {}
            (Found::Filled(filled, ..), _) => {
                if let Err(source) = filled.0.record(body) {
                    *self = Found::Unusable(unfit(key, source));
                }
            }
            (
                Found::Bare(hard_state),
                Body::HardState {
                    term,
                    vote,
                    commit: commit @ 0,
                },
            ) => *hard_state = Some(Body::HardState { term, vote, commit }),
            (Found::Bare(_), Body::Truncate { .. } | Body::Other { .. }) => {}
            // Only a replica that was filled comes by these.
            (
                Found::Bare(_),
                Body::HardState { .. }
                | Body::Entry { .. }
                | Body::Snapshot { .. }
                | Body::Purge { .. },
            ) => {
                *self = Found::Unusable(OpenError::NoSnapshot {
                    shard: key.0,
                    replica: key.1,
                    folder: folder.display().to_string(),
                });
            }
        }
    }
}

/// Lets the log forget all replicas of a shard but the last; which ones those were.
///
/// The last one was created, so those before it were removed. The log says so itself, unless its end was
/// lost, as can be where it is not synced before each acknowledgement.
fn forget_leftovers<D: Disk>(
    found: &mut BTreeMap<Key, Found>,
    wal: &mut Wal<D>,
) -> Result<Vec<Key>, OpenError> {
    let here = found
        .iter()
        .filter(|(_, state)| !matches!(state, Found::Forgotten));
    let last: BTreeMap<ShardId, ReplicaId> = here
        .map(|(&(shard, replica), _)| (shard, replica))
        .collect();
    let mut left_behind = Vec::new();
    let mut records = Vec::new();
    for (&(shard, replica), state) in found {
        if last.get(&shard).is_none_or(|&last| last == replica) || matches!(state, Found::Forgotten)
        {
            continue;
        }
        *state = Found::Forgotten;
        left_behind.push((shard, replica));
        let body = Body::Forget;
        Record {
            shard,
            replica,
            body,
        }
        .encode(&mut records);
    }
    if !records.is_empty() {
        wal.append([records.as_slice()])?;
        wal.sync()?;
    }
    Ok(left_behind)
}

fn unfit((shard, replica): Key, source: RecoveryError) -> OpenError {
    OpenError::Recovery {
        shard,
        replica,
        source,
    }
}

/// A replica that was created and never filled, with the vote that it gave.
fn empty(
    config: shard::Config,
    hard_state: Option<Body<'_>>,
    key: Key,
) -> Result<Recovery, OpenError> {
    // The snapshot that fills it brings its own seed.
    let mut recovery = Recovery::unfilled(config, Keyspace::new(0));
    if let Some(body) = hard_state {
        recovery
            .record(&body)
            .map_err(|source| unfit(key, source))?;
    }
    Ok(recovery)
}

fn load<D: Disk>(
    snapshots: &Snapshots<D>,
    id: SnapshotId,
    config: &mut dyn FnMut(ShardId, ReplicaId) -> shard::Config,
    progress: &mut dyn FnMut(Progress),
) -> Result<(Recovery, SnapshotMeta, u64), OpenError> {
    let SnapshotId {
        shard,
        replica,
        index,
        ..
    } = id;
    let reader = snapshots
        .read(id)
        .map_err(|source| OpenError::Snapshot { shard, source })?;
    let bytes_total = reader.length();
    let mut loading = Loading::new(reader);
    let mut loaded = || {
        while loading.step()? {
            progress(Progress::Snapshot {
                shard,
                bytes_read: loading.bytes_read(),
                bytes_total,
            });
        }
        Ok(())
    };
    let loaded = loaded().and_then(|()| loading.finish());
    let (meta, keyspace) = loaded.map_err(|error| match error {
        LoadError::File(source) => OpenError::Snapshot { shard, source },
        LoadError::Head(source) => OpenError::SnapshotHead {
            shard,
            index,
            source,
        },
        LoadError::Content(source) => OpenError::SnapshotContent {
            shard,
            index,
            source,
        },
    })?;
    let recovery = Recovery::new(config(shard, replica), &meta, keyspace);
    Ok((recovery, meta, bytes_total))
}
