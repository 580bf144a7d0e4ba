//! How a store comes to hold data: [`node::startup`] on the real disk, and the threads that follow.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use base::{Clock, NodeId, ShardId};
use keyspace::Keyspace;
use meta::ClusterMap;
use node::Turn;
use node::startup::{self, Dirs, Progress, Recovered, RecoveredReplica};
use thiserror::Error;
use tracing::{info, warn};
use wal::RealDisk;

use crate::cell::Cell;
use crate::clock::SystemClock;
use crate::log::LogWriter;
use crate::random::Random;
use crate::snapshots::{Policy, SnapshotThreads};
use crate::store::{Running, Store};

/// What takes longer than this tells how far it is.
const TELL_EVERY: Duration = Duration::from_secs(2);

/// The node's data cannot be opened.
#[derive(Debug, Error)]
pub enum OpenError {
    /// What is on disk is damaged, cannot be read or written, or is not what was expected.
    #[error(transparent)]
    Data(#[from] startup::OpenError),
    /// The map is of another cluster than the data.
    #[error(
        "this node holds a replica of shard {}, but the cluster has {shards}: the data is of another \
         cluster; restore the identity file that belongs to it, or move the node's folder away", shard.0
    )]
    OtherCluster {
        /// Whose data is there.
        shard: ShardId,
        /// How many there are.
        shards: u32,
    },
    /// A thread could not be started.
    #[error("a thread could not be started: {0}")]
    Thread(std::io::Error),
}

/// What a node holds, read from its disk.
pub struct Opened {
    recovered: Recovered<RealDisk>,
    random: Random,
}

impl std::fmt::Debug for Opened {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Opened").finish_non_exhaustive()
    }
}

impl Opened {
    /// The cluster's map as the replica of shard 0 has it, if there is one here.
    pub fn map(&self) -> Option<&ClusterMap> {
        let mut replicas = self.recovered.replicas.iter();
        replicas.find_map(|replica| replica.shard.map())
    }
}

impl Store {
    /// Makes a node a founder of the cluster with that map: the empty state of its replicas and an empty
    /// log, on disk. See [`node::startup::found`].
    ///
    /// # Errors
    /// [`OpenError::Data`].
    pub fn found(
        dirs: &Dirs,
        segment_size_bytes: u64,
        map: &ClusterMap,
        node: NodeId,
    ) -> Result<(), OpenError> {
        let options = wal::Options { segment_size_bytes };
        Ok(startup::found(
            &Arc::new(RealDisk),
            dirs,
            options,
            map,
            node,
        )?)
    }

    /// Makes a node ready to join a cluster. See [`node::startup::join`].
    ///
    /// # Errors
    /// [`OpenError::Data`].
    pub fn join(dirs: &Dirs, segment_size_bytes: u64) -> Result<(), OpenError> {
        let options = wal::Options { segment_size_bytes };
        Ok(startup::join(&Arc::new(RealDisk), dirs, options)?)
    }

    /// Reads snapshots and log.
    ///
    /// # Errors
    /// [`OpenError::Data`]: what is on disk is damaged or cannot be read; the node must not start.
    pub fn open(&self, dirs: &Dirs) -> Result<Opened, OpenError> {
        let config = self.config();
        let mut random = Random::new(config.random_seed);
        let started = Instant::now();
        let mut told = started;
        let recovered = startup::recover(
            &Arc::new(RealDisk),
            dirs,
            wal::Options {
                segment_size_bytes: config.segment_size_bytes,
            },
            SystemClock.monotonic(),
            &mut |shard, replica| shard::Config {
                shard,
                replica,
                node: config.node,
                heartbeat: config.heartbeat,
                election: config.election,
                patience: config.patience,
                seed: random.draw(),
                lease: config.lease,
            },
            &mut |progress| {
                if told.elapsed() >= TELL_EVERY {
                    told = Instant::now();
                    tell_progress(progress);
                }
            },
        )?;
        tell_found(&recovered, started);
        Ok(Opened { recovered, random })
    }

    /// Starts the shards of the cluster, with the replicas that were found, and their threads.
    /// `on_failure` is called, by any thread, when the log can no longer be written: the process must
    /// end then, at once.
    ///
    /// # Errors
    /// [`OpenError::OtherCluster`], [`OpenError::Thread`].
    ///
    /// # Panics
    /// When called twice.
    pub fn start(
        self: &Arc<Store>,
        opened: Opened,
        map: &ClusterMap,
        on_failure: impl Fn(&str) + Send + Sync + 'static,
    ) -> Result<(), OpenError> {
        let Opened {
            recovered,
            mut random,
        } = opened;
        let snapshot_bytes = bytes_of(&recovered);
        let mut replicas: BTreeMap<ShardId, RecoveredReplica> = recovered
            .replicas
            .into_iter()
            .map(|replica| (replica.shard.id(), replica))
            .collect();
        let mut cells = Vec::new();
        for shard in (0..map.shards).map(ShardId) {
            let mut turn = Turn::new(self.turn_config(shard, map));
            let keyspace = match replicas.remove(&shard) {
                Some(replica) => {
                    turn.set_replica(replica.shard);
                    replica.keyspace
                }
                None => Keyspace::new(map.hash_seed),
            };
            cells.push(Cell::new(turn, keyspace, Random::new(random.draw())));
        }
        if let Some((&shard, _)) = replicas.first_key_value() {
            let shards = map.shards;
            return Err(OpenError::OtherCluster { shard, shards });
        }

        let store = Arc::downgrade(self);
        let log = LogWriter::start(
            recovered.wal,
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
        let store = Arc::downgrade(self);
        let threads = SnapshotThreads::start(
            Arc::clone(&running),
            &Arc::new(recovered.snapshots),
            policy,
            snapshot_bytes,
            self.config().transfer,
            move |letter| {
                if let Some(store) = store.upgrade() {
                    store.traffic.send_letter(&letter);
                }
            },
        )
        .map_err(OpenError::Thread)?;
        self.set_running(running, threads);
        Ok(())
    }
}

fn bytes_of(recovered: &Recovered<RealDisk>) -> u64 {
    let snapshots = recovered
        .replicas
        .iter()
        .filter_map(|replica| replica.snapshot);
    snapshots.map(|(_, bytes)| bytes).sum()
}

fn tell_progress(progress: Progress) {
    match progress {
        Progress::Snapshot {
            shard,
            bytes_read,
            bytes_total,
        } => {
            let percent = bytes_read * 100 / bytes_total.max(1);
            info!(shard = shard.0, percent, "loading the snapshot");
        }
        Progress::Log(progress) => {
            let percent = progress.bytes_read * 100 / progress.bytes_total.max(1);
            info!(percent, records = progress.records, "replaying the log");
        }
    }
}

fn tell_found(recovered: &Recovered<RealDisk>, started: Instant) {
    if let Some(torn) = &recovered.log.torn {
        warn!(
            file = %torn.file.display(),
            offset = torn.offset,
            bytes = torn.lost_bytes,
            "cut a torn tail off the log: what a crash left unfinished, none of it acknowledged"
        );
    }
    for (shard, replica) in &recovered.left_behind {
        warn!(
            shard = shard.0,
            replica = replica.0,
            "removed a replica that a later one of the shard has replaced"
        );
    }
    for id in &recovered.removed {
        info!(
            shard = id.shard.0,
            replica = id.replica.0,
            index = id.index,
            "removed a snapshot that is of no more use"
        );
    }
    info!(
        replicas = recovered.replicas.len(),
        snapshot_bytes = bytes_of(recovered),
        entries = recovered.replayed.entries,
        bytes = recovered.replayed.bytes,
        millis = started.elapsed().as_millis() as u64,
        "loaded the snapshots and replayed the log"
    );
}
