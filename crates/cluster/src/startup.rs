//! How a node comes to hold data: founding a cluster, and recovering what it held before.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use std::{fs, io};

use base::{Clock, NodeId, ReplicaId, ShardId};
use keyspace::{Keyspace, SnapshotLoader};
use meta::{Member, Membership, Role};
use node::Turn;
use shard::{Recovery, SnapshotMeta, SnapshotMetaError};
use thiserror::Error;
use tracing::{info, warn};
use wal::{RealDisk, Record, ReplayError, SnapshotError, SnapshotId, Snapshots, Wal, WalError};

use crate::cell::Cell;
use crate::clock::SystemClock;
use crate::log::LogWriter;
use crate::random::Random;
use crate::snapshots::{Policy, Snapshotter};
use crate::store::{Running, Store};

/// Replays that take longer than this tell how far they are.
const TELL_EVERY: Duration = Duration::from_secs(2);

/// The founder's replica of a shard.
const FOUNDING_REPLICA: ReplicaId = ReplicaId(1);

/// The node's data cannot be opened.
#[derive(Debug, Error)]
pub enum OpenError {
    /// The log cannot be opened.
    #[error("the log cannot be opened: {0}")]
    Log(#[from] WalError),
    /// A snapshot cannot be read or written.
    #[error("the snapshot of shard {} cannot be used: {source}", shard.0)]
    Snapshot {
        /// Whose.
        shard: ShardId,
        /// Why.
        source: SnapshotError,
    },
    /// The folder of snapshots cannot be used.
    #[error("the snapshots cannot be listed: {0}")]
    Snapshots(SnapshotError),
    /// The head of a snapshot is damaged.
    #[error("the snapshot of shard {} at entry {index} has a damaged head: {source}; restore the file", shard.0)]
    SnapshotHead {
        /// Whose.
        shard: ShardId,
        /// Which one.
        index: u64,
        /// Why.
        source: SnapshotMetaError,
    },
    /// The content of a snapshot is damaged.
    #[error("the snapshot of shard {} at entry {index} is damaged: {source}; restore the file", shard.0)]
    SnapshotContent {
        /// Whose.
        shard: ShardId,
        /// Which one.
        index: u64,
        /// Why.
        source: keyspace::SnapshotError,
    },
    /// The node belongs to a cluster, but a shard's snapshot is not there.
    #[error(
        "shard {} has no snapshot in {folder}, though every shard had one when the cluster was founded; \
         restore the folder", shard.0
    )]
    NoSnapshot {
        /// Whose.
        shard: ShardId,
        /// Where it should be.
        folder: String,
    },
    /// The node belongs to a cluster, but its log is not there.
    #[error(
        "there is no log in {folder} (no file log-*.seg), though there was one when the cluster was \
         founded; what was written since the last snapshot would be lost: restore the folder"
    )]
    NoLog {
        /// Where it should be.
        folder: String,
    },
    /// A cluster is to be founded where there is data already.
    #[error(
        "{folder} holds data, though this node belongs to no cluster: restore the identity file that \
         belongs to it, or move the node's folder away"
    )]
    NotEmpty {
        /// Where it is.
        folder: String,
    },
    /// The records of the log do not make a state.
    #[error("the log does not fit together: {0}")]
    Recovery(#[from] shard::RecoveryError),
    /// A thread could not be started.
    #[error("a thread could not be started: {0}")]
    Thread(std::io::Error),
}

impl Store {
    /// Makes this node the first of a new cluster: an empty state of every shard and an empty log, on
    /// disk. The node's identity is to be stored after this; then [`Store::recover`] brings the shards
    /// up.
    ///
    /// A founding that ended midway leaves nothing that another one, of fewer shards even, would find.
    ///
    /// # Errors
    /// [`OpenError`] when the files cannot be written; founding can then be tried again. And
    /// [`OpenError::NotEmpty`].
    pub fn found(
        snapshot_dir: &Path,
        log_dir: &Path,
        segment_size_bytes: u64,
        node: NodeId,
        shards: u32,
        hash_seed: u64,
    ) -> Result<(), OpenError> {
        let snapshots = open_snapshots(snapshot_dir)?;
        let sole = Member {
            replica: FOUNDING_REPLICA,
            node,
            role: Role::Voter,
        };
        let meta = SnapshotMeta::founding(Membership::new([sole]), None);
        let unfinished = snapshots.list().map_err(OpenError::Snapshots)?;
        if unfinished.iter().any(|id| id.index != meta.index) {
            return Err(not_empty(snapshot_dir));
        }
        // From now on there is a log, so that one that is gone can be told from one that never was.
        let (_, found) = Wal::open(
            Arc::new(RealDisk),
            log_dir,
            wal::Options { segment_size_bytes },
            &mut |_| Ok(()),
            &mut |_| {},
        )?;
        if found.records > 0 {
            return Err(not_empty(log_dir));
        }
        for id in unfinished {
            snapshots
                .remove_replica(id.shard, id.replica)
                .map_err(OpenError::Snapshots)?;
        }
        for shard in (0..shards).map(ShardId) {
            let mut bytes = Vec::new();
            meta.encode(&mut bytes);
            let mut keyspace = Keyspace::new(hash_seed);
            keyspace.begin_snapshot();
            while !keyspace.snapshot_step(usize::MAX, &mut bytes) {}
            let id = SnapshotId {
                shard,
                replica: FOUNDING_REPLICA,
                term: meta.term,
                index: meta.index,
            };
            let written = snapshots.create(id).and_then(|mut writer| {
                writer.write(&bytes)?;
                writer.finish()
            });
            written.map_err(|source| OpenError::Snapshot { shard, source })?;
        }
        Ok(())
    }

    /// Reads snapshots and log, and starts the shards and their threads. `on_failure` is called, by
    /// any thread, when the log can no longer be written: the process must end then, at once.
    ///
    /// # Errors
    /// [`OpenError`]: what is on disk is damaged or cannot be read; the node must not start.
    ///
    /// # Panics
    /// When called twice.
    pub fn recover(
        self: &Arc<Store>,
        log_dir: &Path,
        snapshot_dir: &Path,
        on_failure: impl Fn(&str) + Send + Sync + 'static,
    ) -> Result<(), OpenError> {
        let started = Instant::now();
        let snapshots = open_snapshots(snapshot_dir)?;
        let mut random = Random::new(self.config().random_seed);
        let mut recoveries = BTreeMap::new();
        let mut snapshot_bytes = 0;
        for id in newest(snapshots.list().map_err(OpenError::Snapshots)?) {
            let (meta, keyspace, bytes) = load_snapshot(&snapshots, id)?;
            snapshot_bytes += bytes;
            let config = shard::Config {
                shard: id.shard,
                replica: id.replica,
                node: self.config().node,
                heartbeat: self.config().heartbeat,
                election: self.config().election,
                patience: self.config().patience,
                seed: random.draw(),
                lease: self.config().lease,
            };
            recoveries.insert(
                id.shard,
                (id.replica, Recovery::new(config, &meta, keyspace)),
            );
        }
        for (expected, &found) in (0..).map(ShardId).zip(recoveries.keys()) {
            if found != expected {
                return Err(no_snapshot(expected, snapshot_dir));
            }
        }
        if recoveries.is_empty() {
            return Err(no_snapshot(ShardId(0), snapshot_dir));
        }
        if !has_log(log_dir) {
            return Err(OpenError::NoLog {
                folder: log_dir.display().to_string(),
            });
        }
        if snapshot_bytes > 0 {
            info!(
                bytes = snapshot_bytes,
                millis = millis(started),
                "loaded the snapshots"
            );
        }

        let replay_started = Instant::now();
        let mut told = replay_started;
        let (wal, report) = Wal::open(
            Arc::new(RealDisk),
            log_dir,
            wal::Options {
                segment_size_bytes: self.config().segment_size_bytes,
            },
            &mut |record: Record<'_>| -> Result<(), ReplayError> {
                match recoveries.get_mut(&record.shard) {
                    Some((replica, recovery)) if *replica == record.replica => {
                        Ok(recovery.record(&record.body)?)
                    }
                    _ => Err(format!(
                        "it is of replica {} of shard {}, of which there is no snapshot",
                        record.replica.0, record.shard.0
                    )
                    .into()),
                }
            },
            &mut |progress| {
                if told.elapsed() >= TELL_EVERY {
                    told = Instant::now();
                    let percent = progress.bytes_read * 100 / progress.bytes_total.max(1);
                    info!(percent, records = progress.records, "replaying the log");
                }
            },
        )?;
        if let Some(torn) = &report.torn {
            warn!(
                file = %torn.file.display(),
                offset = torn.offset,
                bytes = torn.lost_bytes,
                "cut a torn tail off the log: what a crash left unfinished, none of it acknowledged"
            );
        }
        let (mut entries, mut bytes) = (0, 0);
        let mut cells = Vec::new();
        for (_, recovery) in recoveries.into_values() {
            let replayed = recovery.replayed();
            entries += replayed.entries;
            bytes += replayed.bytes;
            let (shard, keyspace) = recovery.finish(SystemClock.monotonic())?;
            let mut turn = Turn::new(self.turn_config(shard.id(), 0));
            turn.set_replica(shard);
            cells.push(Cell::new(turn, keyspace, Random::new(random.draw())));
        }
        info!(
            entries,
            bytes,
            millis = millis(replay_started),
            "replayed the log"
        );

        let store = Arc::downgrade(self);
        let log = LogWriter::start(
            wal,
            self.fsync(),
            move || {
                if let Some(store) = store.upgrade() {
                    store.on_durable();
                }
            },
            on_failure,
        )
        .map_err(OpenError::Thread)?;
        let running = Arc::new(Running { cells, log });
        let policy = Policy {
            every_bytes: self.config().snapshot_every_bytes,
            segment_size_bytes: self.config().segment_size_bytes,
        };
        let snapshotter =
            Snapshotter::start(Arc::clone(&running), snapshots, policy, snapshot_bytes)
                .map_err(OpenError::Thread)?;
        self.set_running(running, snapshotter);
        Ok(())
    }
}

fn not_empty(folder: &Path) -> OpenError {
    OpenError::NotEmpty {
        folder: folder.display().to_string(),
    }
}

fn no_snapshot(shard: ShardId, folder: &Path) -> OpenError {
    OpenError::NoSnapshot {
        shard,
        folder: folder.display().to_string(),
    }
}

/// Whether a segment of the log is in that folder. One that cannot be read is left to [`Wal::open`],
/// which tells why.
fn has_log(folder: &Path) -> bool {
    match fs::read_dir(folder) {
        Ok(mut files) => files.any(|file| file.is_ok_and(|file| is_segment(&file.file_name()))),
        Err(error) => error.kind() != io::ErrorKind::NotFound,
    }
}

/// Whether a file is called `log-*.seg`.
fn is_segment(name: &OsStr) -> bool {
    let name = name.as_encoded_bytes();
    name.starts_with(b"log-") && name.ends_with(b".seg")
}

fn millis(since: Instant) -> u64 {
    since.elapsed().as_millis() as u64
}

fn open_snapshots(folder: &Path) -> Result<Snapshots<RealDisk>, OpenError> {
    Snapshots::open(Arc::new(RealDisk), folder).map_err(OpenError::Snapshots)
}

/// The newest snapshot of each shard.
fn newest(all: Vec<SnapshotId>) -> impl Iterator<Item = SnapshotId> {
    let mut newest: BTreeMap<ShardId, SnapshotId> = BTreeMap::new();
    for id in all {
        let kept = newest.entry(id.shard).or_insert(id);
        if (id.replica, id.index) > (kept.replica, kept.index) {
            *kept = id;
        }
    }
    newest.into_values()
}

fn load_snapshot(
    snapshots: &Snapshots<RealDisk>,
    id: SnapshotId,
) -> Result<(SnapshotMeta, Keyspace, u64), OpenError> {
    let SnapshotId { shard, index, .. } = id;
    let unusable = |source| OpenError::Snapshot { shard, source };
    let damaged = |source| OpenError::SnapshotContent {
        shard,
        index,
        source,
    };
    let mut reader = snapshots.read(id).map_err(unusable)?;
    let mut loader = SnapshotLoader::new();
    let mut head = Vec::new();
    let mut meta = None;
    let mut bytes = 0;
    while let Some(chunk) = reader.next_chunk().map_err(unusable)? {
        bytes += chunk.len() as u64;
        if meta.is_some() {
            loader.feed(chunk).map_err(damaged)?;
            continue;
        }
        head.extend_from_slice(chunk);
        match SnapshotMeta::decode(&head) {
            Ok((found, length)) => {
                meta = Some(found);
                loader.feed(&head[length..]).map_err(damaged)?;
            }
            Err(SnapshotMetaError::Truncated) => {}
            Err(source) => {
                return Err(OpenError::SnapshotHead {
                    shard,
                    index,
                    source,
                });
            }
        }
    }
    let source = SnapshotMetaError::Truncated;
    let meta = meta.ok_or(OpenError::SnapshotHead {
        shard,
        index,
        source,
    })?;
    Ok((meta, loader.finish().map_err(damaged)?, bytes))
}
