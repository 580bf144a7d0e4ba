//! What all threads of a node share: its shards, once it has some, and the way to them.

use std::ops::Deref;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock, PoisonError, RwLock, RwLockReadGuard};
use std::time::Duration;

use base::{Clock, NodeId, ShardId, Timestamp};
use keyspace::Keyspace;
use meta::{ClusterMap, ReplicaStatus};
use node::transfer::Settings;
use node::{Order, Outputs, TurnConfig};

use crate::Fsync;
use crate::calls::Calls;
use crate::cell::{Cell, ShardStatus, Taken};
use crate::clock::SystemClock;
use crate::log::LogWriter;
use crate::long_reads;
use crate::mailbox::{Mailbox, Message};
use crate::notices::Notices;
use crate::snapshots::SnapshotThreads;
use crate::traffic::Traffic;

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
    /// The node that this is.
    pub node: NodeId,
    /// How often a leader is heard from. [`Store::tick`] is called twice as often.
    pub heartbeat: Duration,
    /// The least time without a leader after which another is elected.
    pub election: Duration,
    /// So long a request waits for a leader, as long as it is certain that it was not taken.
    pub patience: Duration,
    /// Whether leaders may read under a lease; otherwise a majority is asked each time.
    pub lease: bool,
    /// Requests that wait for a leader on another node, or for its answer, may take so many bytes for
    /// each shard, and those that other nodes have here as many again.
    pub forward_limit_bytes: usize,
    /// What leaders may keep of their logs in memory for replicas that are being filled by snapshots, all shards
    /// together; at least 1 MiB for each.
    pub catch_up_bytes: usize,
    /// How snapshots travel.
    pub transfer: Settings,
    /// Drawn at random; all chance on this node comes from it.
    pub random_seed: u64,
}

impl Config {
    /// The patience where none is configured.
    pub const DEFAULT_PATIENCE: Duration = Duration::from_secs(2);
    /// The limit of what is forwarded where none is configured.
    pub const DEFAULT_FORWARD_LIMIT_BYTES: usize = 256 << 20;
}

/// A node's shards and the cores that serve them.
pub struct Store {
    config: Config,
    clock: SystemClock,
    mailboxes: Vec<Mailbox>,
    /// The first so many cores are awake anyway and take the turns.
    active_cores: AtomicUsize,
    running: OnceLock<Arc<Running>>,
    pub(crate) traffic: Traffic,
    pub(crate) calls: Calls,
    pub(crate) notices: Notices,
    /// Why there are no shards yet, for clients.
    forming: RwLock<String>,
}

/// What exists from the moment on that the node holds data.
pub(crate) struct Running {
    /// One for each shard of the cluster, whether there is a replica of it here or not.
    pub(crate) cells: Vec<Cell>,
    pub(crate) log: Arc<LogWriter>,
}

/// A shard's keyspace as it is right now, for reads. Writes wait while it is held, so it must be
/// short and never across an `.await`.
pub struct ReadGuard<'s> {
    keyspace: RwLockReadGuard<'s, Keyspace>,
    now: Timestamp,
    cell: &'s Cell,
    clock: SystemClock,
}

impl ReadGuard<'_> {
    /// The time at which reads judge expiry: the clock's, or the last entry's stamp if that is later.
    pub fn now(&self) -> Timestamp {
        self.now
    }

    /// Whether what has been read so far may be shown as what it was taken for. To be asked after the
    /// reads and before anybody sees what they gave: this node may have stood still while they ran, and
    /// another may lead by now.
    pub fn still_valid(&self) -> bool {
        self.cell.may_read(&self.clock)
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
            active_cores: AtomicUsize::new(1),
            mailboxes: (0..config.cores).map(|_| Mailbox::default()).collect(),
            config,
            clock: SystemClock,
            running: OnceLock::new(),
            traffic: Traffic::default(),
            calls: Calls::default(),
            notices: Notices::default(),
            forming: RwLock::new("the node is starting".into()),
        })
    }

    /// The number of cores.
    pub fn cores(&self) -> usize {
        self.mailboxes.len()
    }

    /// The first so many cores serve clients now, and look after the shards.
    ///
    /// # Panics
    /// If there are not so many, or if it is 0.
    pub fn set_active_cores(&self, active: usize) {
        assert!(
            (1..=self.cores()).contains(&active),
            "of {} cores, {active} cannot serve",
            self.cores()
        );
        self.active_cores.store(active, Ordering::Relaxed);
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
            Some(_) => "the shard has no leader that could be reached; try again".into(),
        }
    }

    /// Waits until every shard has a leader that serves, here or elsewhere. Returns at once while there
    /// are no shards.
    pub async fn serving(&self) {
        let cells = self.running().map(|running| running.cells.iter());
        for cell in cells.into_iter().flatten() {
            cell.serving().await;
        }
    }

    /// The keyspace of a shard for reading, if its reads are linearizable now. What they give may be shown
    /// if [`ReadGuard::still_valid`] says so after them. `None` where this node does not lead the shard
    /// or may not read without asking: [`Core::submit`](crate::Core::submit) takes reads too.
    pub fn read(&self, shard: usize) -> Option<ReadGuard<'_>> {
        let cell = &self.running()?.cells[shard];
        let keyspace = cell.read(&self.clock)?;
        Some(self.guard(cell, keyspace))
    }

    /// The keyspace of a shard as the replica here has it, for clients that take what may be old. `None`
    /// without a replica that has something.
    pub fn read_stale(&self, shard: usize) -> Option<ReadGuard<'_>> {
        let cell = self.running()?.cells.get(shard)?;
        let has_data = cell.status().applied > 0;
        has_data.then(|| self.guard(cell, cell.keyspace_as_is()))
    }

    /// The keyspace of a shard, whether it is up to date or not: for figures, not for clients' reads.
    pub fn read_for_status(&self, shard: usize) -> Option<ReadGuard<'_>> {
        let cell = self.running()?.cells.get(shard)?;
        Some(self.guard(cell, cell.keyspace_as_is()))
    }

    fn guard<'s>(&self, cell: &'s Cell, keyspace: RwLockReadGuard<'s, Keyspace>) -> ReadGuard<'s> {
        let now = self.clock.now().max(keyspace.stamp());
        ReadGuard {
            keyspace,
            now,
            cell,
            clock: self.clock,
        }
    }

    /// Half a heartbeat has passed. Called by a timer.
    pub fn tick(&self) {
        self.for_each_cell(Cell::tick);
    }

    /// Something is wanted of a shard. It is lost on a node that has no shards yet.
    pub fn order(&self, shard: ShardId, order: Order) {
        if let Some(cell) = self.cell_of(shard) {
            cell.order(order);
            self.post_turn(shard.0 as usize);
        }
    }

    /// How the replicas here stood at the last tick.
    pub fn replica_statuses(&self) -> Vec<ReplicaStatus> {
        let cells = self.running().map(|running| running.cells.iter());
        let cells = cells.into_iter().flatten();
        cells.filter_map(Cell::replica_status).collect()
    }

    /// Has others take over what this node leads, and waits until they have. Where nobody can, that is for
    /// ever.
    pub async fn hand_over(&self) {
        self.for_each_cell(|cell| cell.order(Order::HandOver));
        let cells = self.running().map(|running| running.cells.iter());
        for cell in cells.into_iter().flatten() {
            cell.handed_over().await;
        }
    }

    /// Ends the log's threads, after all that was acknowledged, and what is pending, is synced.
    pub fn stop(&self) {
        if let Some(threads) = self.traffic.snapshots() {
            threads.stop();
        }
        if let Some(running) = self.running.get() {
            running.log.stop();
        }
    }

    pub(crate) fn monotonic(&self) -> Duration {
        self.clock.monotonic()
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
        self.running.get().map(|running| &**running)
    }

    pub(crate) fn set_running(&self, running: Arc<Running>, threads: SnapshotThreads) {
        self.traffic.set_snapshots(threads);
        assert!(
            self.running.set(running).is_ok(),
            "a node is founded or recovered once"
        );
        self.order_notices();
    }

    /// More of the log is durable: the shards that wait for it take a turn.
    pub(crate) fn on_durable(&self) {
        self.for_each_cell(Cell::note_work);
    }

    /// Does something to each shard, and has it take a turn.
    pub(crate) fn for_each_cell(&self, work: impl Fn(&Cell)) {
        let cells = self.running().map(|running| running.cells.iter());
        for (index, cell) in cells.into_iter().flatten().enumerate() {
            work(cell);
            self.post_turn(index);
        }
    }

    /// The core that looks after the shard takes a turn of it.
    pub(crate) fn post_turn(&self, shard: usize) {
        let active = self.active_cores.load(Ordering::Relaxed);
        self.mailboxes[shard % active].post(Message::Turn(shard));
    }

    /// The shard, if the cluster has it and this node its shards.
    pub(crate) fn cell_of(&self, shard: ShardId) -> Option<&Cell> {
        self.running()?.cells.get(shard.0 as usize)
    }

    /// Takes a turn of the shard and does what it wants done, but for the responses.
    pub(crate) fn turn(&self, shard: usize, out: &mut Outputs) -> Taken {
        let running = self
            .running
            .get()
            .expect("turns are taken with shards that exist");
        let cell = &running.cells[shard];
        cell.turn(&self.clock, &running.log, out, |out, told| {
            if let Some(reads) = out.long_reads.take() {
                long_reads::begin(running, cell, reads);
            }
            self.hand_out_notices(cell.shard(), out);
            self.traffic.carry_out(cell, &running.log, out, told);
        })
    }

    /// What the turn of a shard of this node is told.
    pub(crate) fn turn_config(&self, shard: ShardId, map: &ClusterMap) -> TurnConfig {
        let config = &self.config;
        TurnConfig {
            shard,
            node: config.node,
            patience: config.patience,
            heartbeat: config.heartbeat,
            election: config.election,
            lease: config.lease,
            hash_seed: map.hash_seed,
            short_read_bytes: commands::SHORT_BYTES,
            forward_limit_bytes: config.forward_limit_bytes,
            catch_up_bytes: (config.catch_up_bytes / map.shards as usize).max(1 << 20),
        }
    }
}
