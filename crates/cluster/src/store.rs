//! What all threads of a node share: its shards, once it has some, and the way to them.

use std::ops::Deref;
use std::sync::{Arc, OnceLock, PoisonError, RwLock, RwLockReadGuard};

use base::{Clock, Timestamp};
use keyspace::Keyspace;
use shard::Response;

use crate::Fsync;
use crate::cell::{Cell, ShardStatus};
use crate::clock::SystemClock;
use crate::log::LogWriter;
use crate::mailbox::{Mailbox, Message};
use crate::snapshots::Snapshotter;

/// What a store is told when it is made.
#[derive(Clone, Debug)]
pub struct Config {
    /// The threads that serve clients, each with a [`Core`](crate::Core); at least 1.
    pub cores: usize,
    /// When the log is synced.
    pub fsync: Fsync,
    /// The size of a log segment.
    pub segment_size_bytes: u64,
    /// A snapshot is made when the log has grown by so much; `None` lets the size of the data decide.
    pub snapshot_every_bytes: Option<u64>,
    /// The least election timeout in heartbeats.
    pub election_ticks: usize,
    /// Drawn at random; all chance on this node comes from it.
    pub random_seed: u64,
}

/// A node's shards and the cores that serve them.
pub struct Store {
    config: Config,
    clock: SystemClock,
    mailboxes: Vec<Mailbox>,
    running: OnceLock<(Arc<Running>, Snapshotter)>,
    /// Why there are no shards yet, for clients.
    forming: RwLock<String>,
}

/// What exists from the moment on that the node holds data.
pub(crate) struct Running {
    pub(crate) cells: Vec<Cell>,
    pub(crate) log: Arc<LogWriter>,
}

/// A shard's keyspace as it is right now, for reads. Writes wait while it is held, so it must be
/// short and never across an `.await`.
pub struct ReadGuard<'s> {
    keyspace: RwLockReadGuard<'s, Keyspace>,
    now: Timestamp,
}

impl ReadGuard<'_> {
    /// The time at which reads judge expiry: the clock's, or the last entry's stamp if that is later.
    pub fn now(&self) -> Timestamp {
        self.now
    }

    /// Whether what has been read so far may be shown as what it was taken for. To be asked after the
    /// reads and before anybody sees them.
    pub fn still_valid(&self) -> bool {
        // The sole replica of a shard leads it for good.
        true
    }
}

impl Deref for ReadGuard<'_> {
    type Target = Keyspace;

    fn deref(&self) -> &Keyspace {
        &self.keyspace
    }
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store")
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}

impl Store {
    /// A store without shards: the node has not joined a cluster.
    ///
    /// # Panics
    /// If `config.cores` is 0.
    pub fn new(config: Config) -> Arc<Store> {
        assert!(config.cores > 0, "a store needs a core");
        Arc::new(Store {
            mailboxes: (0..config.cores).map(|_| Mailbox::default()).collect(),
            config,
            clock: SystemClock,
            running: OnceLock::new(),
            forming: RwLock::new("the node is starting".into()),
        })
    }

    /// The number of cores.
    pub fn cores(&self) -> usize {
        self.mailboxes.len()
    }

    /// When the log is synced.
    pub fn fsync(&self) -> Fsync {
        self.config.fsync
    }

    /// The settings.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The number of shards of the cluster; 0 until the node holds data.
    pub fn shards(&self) -> usize {
        self.running().map_or(0, |running| running.cells.len())
    }

    /// How each shard stands.
    pub fn statuses(&self) -> Vec<ShardStatus> {
        let cells = self.running().map(|running| running.cells.iter());
        cells.into_iter().flatten().map(Cell::status).collect()
    }

    /// Whether writes are refused because the log has no room.
    pub fn is_disk_full(&self) -> bool {
        self.running().is_some_and(|running| running.log.is_full())
    }

    /// Says why there are no shards yet, for clients to read.
    pub fn set_forming(&self, reason: String) {
        *self.forming.write().unwrap_or_else(PoisonError::into_inner) = reason;
    }

    /// Why commands on data cannot be served.
    pub fn why_not(&self) -> String {
        match self.running() {
            None => self
                .forming
                .read()
                .unwrap_or_else(PoisonError::into_inner)
                .clone(),
            Some(_) => "the shard has no leader here; try again".into(),
        }
    }

    /// Waits until every shard here serves. Returns at once while there are none.
    pub async fn serving(&self) {
        let cells = self.running().map(|running| running.cells.iter());
        for cell in cells.into_iter().flatten() {
            cell.readable().await;
        }
    }

    /// The keyspace of a shard for reading, if its reads are linearizable now.
    pub fn read(&self, shard: usize) -> Option<ReadGuard<'_>> {
        let keyspace = self.running()?.cells[shard].read()?;
        Some(self.guard(keyspace))
    }

    /// The keyspace of a shard as the replica here has it, for clients that take what may be old. `None`
    /// without a replica.
    pub fn read_stale(&self, shard: usize) -> Option<ReadGuard<'_>> {
        self.read_for_status(shard)
    }

    /// The keyspace of a shard, whether it is up to date or not: for figures, not for clients' reads.
    pub fn read_for_status(&self, shard: usize) -> Option<ReadGuard<'_>> {
        let cell = self.running()?.cells.get(shard)?;
        Some(self.guard(cell.keyspace_for_status()))
    }

    fn guard<'s>(&self, keyspace: RwLockReadGuard<'s, Keyspace>) -> ReadGuard<'s> {
        let now = self.clock.now().max(keyspace.stamp());
        ReadGuard { keyspace, now }
    }

    /// One heartbeat has passed. Called by a timer.
    pub fn tick(&self) {
        let Some(running) = self.running() else {
            return;
        };
        for (index, cell) in running.cells.iter().enumerate() {
            cell.tick();
            self.mailboxes[index % self.cores()].post(Message::Turn(index));
        }
    }

    /// Ends the log's threads, after all that was acknowledged, and what is pending, is synced.
    pub fn stop(&self) {
        if let Some((running, snapshotter)) = self.running.get() {
            snapshotter.stop();
            running.log.stop();
        }
    }

    pub(crate) fn mailbox(&self, core: usize) -> &Mailbox {
        &self.mailboxes[core]
    }

    pub(crate) fn cell(&self, shard: usize) -> &Cell {
        let running = self
            .running()
            .expect("requests are queued at shards that exist");
        &running.cells[shard]
    }

    fn running(&self) -> Option<&Running> {
        self.running.get().map(|(running, _)| &**running)
    }

    pub(crate) fn set_running(&self, running: Arc<Running>, snapshotter: Snapshotter) {
        assert!(
            self.running.set((running, snapshotter)).is_ok(),
            "a node is founded or recovered once"
        );
        for shard in 0..self.shards() {
            self.mailboxes[shard % self.cores()].post(Message::Turn(shard));
        }
    }

    /// More of the log is durable: the shards that wait for it take a turn.
    pub(crate) fn on_durable(&self) {
        let Some(running) = self.running() else {
            return;
        };
        for (index, cell) in running.cells.iter().enumerate() {
            cell.note_work();
            self.mailboxes[index % self.cores()].post(Message::Turn(index));
        }
    }

    pub(crate) fn turn(&self, shard: usize, responses: &mut Vec<Response>) -> bool {
        let running = self
            .running()
            .expect("turns are taken with shards that exist");
        running.cells[shard].turn(&self.clock, &running.log, responses)
    }
}
