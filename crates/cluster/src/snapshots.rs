//! The threads that make, send and receive snapshots.
//!
//! One makes them: when the log is to be cut behind them, and at once for a replica that needs one. The
//! other ([`Transfers`]) sends and receives. So neither waits for the other, and no core for
//! either.

use std::collections::BTreeSet;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use base::ShardId;
use node::Order;
use node::transfer::{Letter, Making, Settings, Step};
use shard::SnapshotMeta;
use tracing::{error, info, warn};
use wal::{Body, RealDisk, Record, SnapshotError, SnapshotId, Snapshots, WalError};

use crate::cell::Cell;
use crate::news::News;
use crate::store::Running;
use crate::transfers::{Event, Transfers};

/// How often the size of the log is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// After a failure, so long nothing is tried.
const PAUSE: Duration = Duration::from_secs(10);
/// The longest pause between two steps.
const PAUSE_MOST: Duration = Duration::from_millis(2);

/// When a snapshot is due.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Policy {
    /// The log may grow this large, if a size is set.
    pub(crate) every_bytes: Option<u64>,
    /// The size of a log segment.
    pub(crate) segment_size_bytes: u64,
}

impl Policy {
    /// Whether a log of that size calls for a snapshot. Where no size is set, the log may grow to four
    /// segments or to the size of the last snapshot, whichever is more: so at most half of what is
    /// written to the disk is snapshots.
    fn is_due(self, log_bytes: u64, last_snapshot_bytes: u64) -> bool {
        let limit = self
            .every_bytes
            .unwrap_or_else(|| (4 * self.segment_size_bytes).max(last_snapshot_bytes));
        // The segment in use cannot go anyway.
        log_bytes > limit.saturating_add(self.segment_size_bytes)
    }
}

/// The two threads.
pub(crate) struct SnapshotThreads {
    demands: Arc<Demands>,
    maker: Mutex<Option<JoinHandle<()>>>,
    transfers: Transfers,
}

/// What the thread that makes snapshots is told.
#[derive(Default)]
struct Demands {
    state: Mutex<DemandState>,
    changed: Condvar,
}

#[derive(Default)]
struct DemandState {
    /// Of these one is wanted at once.
    shards: BTreeSet<ShardId>,
    stopping: bool,
}

impl Demands {
    fn add(&self, shard: ShardId) {
        lock(&self.state).shards.insert(shard);
        self.changed.notify_one();
    }

    fn stop(&self) {
        lock(&self.state).stopping = true;
        self.changed.notify_one();
    }

    fn is_stopping(&self) -> bool {
        lock(&self.state).stopping
    }

    /// Waits for a demand, or until that has passed; none once all is to stop.
    fn wait(&self, timeout: Duration) -> Option<BTreeSet<ShardId>> {
        let state = lock(&self.state);
        let idle = |state: &mut DemandState| state.shards.is_empty() && !state.stopping;
        let waited = self.changed.wait_timeout_while(state, timeout, idle);
        let mut state = waited.unwrap_or_else(PoisonError::into_inner).0;
        (!state.stopping).then(|| std::mem::take(&mut state.shards))
    }
}

impl SnapshotThreads {
    /// Starts the threads. `send` sends a message to another node; it must not wait.
    pub(crate) fn start(
        running: Arc<Running>,
        snapshots: &Arc<Snapshots<RealDisk>>,
        policy: Policy,
        last_snapshot_bytes: u64,
        settings: Settings,
        send: impl Fn(Letter) + Send + 'static,
    ) -> std::io::Result<SnapshotThreads> {
        let demands: Arc<Demands> = Arc::default();
        let worker = Worker {
            running: Arc::clone(&running),
            snapshots: Arc::clone(snapshots),
            policy,
            last_snapshot_bytes,
            demands: Arc::clone(&demands),
        };
        let maker = std::thread::Builder::new()
            .name("snapshots".into())
            .spawn(move || worker.run())?;
        let on_damage = Arc::clone(&demands);
        let transfers = Transfers::start(snapshots, settings, move |event| {
            let (shard, order) = match event {
                Event::Send(letter) => return send(letter),
                Event::Damaged(shard) => return on_damage.add(shard),
                Event::Order(shard, order) => (shard, order),
            };
            running.cells[shard.0 as usize].order(order);
            running.log.wake_shards();
        })?;
        Ok(SnapshotThreads {
            demands,
            maker: Mutex::new(Some(maker)),
            transfers,
        })
    }

    /// Takes what is about snapshots; what others should hear as well, or alone, is given back.
    pub(crate) fn hear(&self, news: News) -> Option<News> {
        match news {
            News::SnapshotWanted(shard) => self.demands.add(shard),
            News::SnapshotNeeded { shard, wanted } => self.transfers.want(shard, wanted),
            News::Fetch { from, bytes } => self.transfers.fetch(from, bytes),
            News::Chunk { from, bytes } => self.transfers.chunk(from, bytes),
            News::Destroyed { shard, replica } => self.transfers.destroyed(shard, replica),
            News::Lost(node) => {
                self.transfers.lost(node);
                return Some(news);
            }
            News::Greeted(ref peer) => {
                self.transfers.greeted(peer.node_id);
                return Some(news);
            }
            other => return Some(other),
        }
        None
    }

    /// Ends the threads; what is under way is given up.
    pub(crate) fn stop(&self) {
        self.demands.stop();
        self.transfers.stop();
        let thread = lock(&self.maker).take();
        if thread.is_some_and(|thread| thread.join().is_err()) {
            error!("the thread that makes snapshots ended in a panic");
        }
    }
}

struct Worker {
    running: Arc<Running>,
    snapshots: Arc<Snapshots<RealDisk>>,
    policy: Policy,
    last_snapshot_bytes: u64,
    demands: Arc<Demands>,
}

enum Failure {
    Snapshot(SnapshotError),
    Log(WalError),
    /// The replica is gone, or its state was replaced.
    Void,
    Stopped,
}

impl From<SnapshotError> for Failure {
    fn from(error: SnapshotError) -> Failure {
        Failure::Snapshot(error)
    }
}

impl Worker {
    fn run(mut self) {
        let mut wait = LOOK_EVERY;
        // What failed and is wanted still.
        let mut again = BTreeSet::new();
        while let Some(mut wanted) = self.demands.wait(wait) {
            wait = LOOK_EVERY;
            wanted.append(&mut again);
            if wanted.is_empty() {
                wanted.extend(self.due());
            }
            for shard in wanted {
                match self.make(shard) {
                    Ok(()) | Err(Failure::Void) => {}
                    Err(Failure::Stopped) => return,
                    Err(Failure::Log(WalError::NoRoom { .. })) => {
                        again.insert(shard);
                        wait = PAUSE;
                    }
                    Err(Failure::Log(failure)) => {
                        self.running.log.fail(&failure);
                        return;
                    }
                    Err(Failure::Snapshot(error)) => {
                        warn!(shard = shard.0, %error, "the snapshot failed; trying again later");
                        again.insert(shard);
                        wait = PAUSE;
                    }
                }
            }
        }
    }

    /// The shard whose snapshot would let the log be cut, if that is due.
    fn due(&self) -> Option<ShardId> {
        let log = &self.running.log;
        let (log_bytes, pin) = log.with_wal(|wal| (wal.log_bytes(), wal.pinned()));
        let due = self.policy.is_due(log_bytes, self.last_snapshot_bytes);
        pin.filter(|_| due).map(|pin| pin.shard)
    }

    fn make(&mut self, shard: ShardId) -> Result<(), Failure> {
        let started = Instant::now();
        let running = Arc::clone(&self.running);
        let cell = &running.cells[shard.0 as usize];
        let begun = cell.between_turns(|shard, keyspace| {
            // One that was never filled has nothing to tell.
            let shard = shard.filter(|shard| shard.applied() > 0)?;
            Making::begin(shard, keyspace)
        });
        running.log.wake_shards();
        let making = begun.ok_or(Failure::Void)?;
        let id = making.id();
        let (meta, bytes) = self.write(cell, making)?;
        self.mark(cell, id, meta, bytes)?;
        self.snapshots.remove_older(id)?;
        self.last_snapshot_bytes = bytes;
        info!(
            shard = shard.0,
            index = id.index,
            bytes,
            millis = started.elapsed().as_millis() as u64,
            "made a snapshot"
        );
        Ok(())
    }

    /// Takes and writes all of it.
    fn write(
        &self,
        cell: &Cell,
        mut making: Making<RealDisk>,
    ) -> Result<(SnapshotMeta, u64), Failure> {
        let failure = loop {
            if self.demands.is_stopping() {
                break Failure::Stopped;
            }
            let began = Instant::now();
            let step = cell.with_keyspace(|keyspace| making.step(keyspace));
            if step == Step::Void {
                break Failure::Void;
            }
            if let Err(error) = making.write(&self.snapshots) {
                break error.into();
            }
            if step == Step::Complete {
                return Ok(making.finish()?);
            }
            // The lock is not handed over to who waits for it; a pause lets the cores go first, and
            // leaves them half of the time at least.
            std::thread::sleep(began.elapsed().min(PAUSE_MOST));
        };
        let abandoned = cell.with_keyspace(|keyspace| making.abandon(Some(keyspace)));
        if let Err(error) = abandoned {
            warn!(%error, "an unfinished snapshot was left behind");
        }
        Err(failure)
    }

    /// Lets the log and the replica know of it, if that is still there: a word about a replica after the
    /// log was told to forget it would never be forgotten.
    fn mark(
        &self,
        cell: &Cell,
        id: SnapshotId,
        meta: SnapshotMeta,
        bytes: u64,
    ) -> Result<(), Failure> {
        let SnapshotId {
            shard,
            replica,
            term,
            index,
        } = id;
        let log = &self.running.log;
        let mut records = Vec::new();
        for body in [Body::Snapshot { term, index }, Body::Purge { index }] {
            Record {
                shard,
                replica,
                body,
            }
            .encode(&mut records);
        }
        let appended = cell.between_turns(|shard, _| {
            let shard = shard.filter(|shard| shard.replica() == replica)?;
            // Nor is it of use if a newer one has come, and is on its way into the keyspace.
            shard.snapshot_meta()?;
            Some(log.append(&mut records))
        });
        log.wake_shards();
        let Some(appended) = appended else {
            self.snapshots.remove(id)?;
            return Err(Failure::Void);
        };
        let (number, written) = appended.map_err(Failure::Log)?;
        cell.order(Order::SnapshotMade {
            replica,
            meta,
            bytes,
        });
        log.wake_shards();
        if written {
            // With the operating system, that is; the purge counts once it is on the disk.
            log.sync().map_err(Failure::Log)?;
        }
        log.request_upkeep_after(number);
        Ok(())
    }
}

/// The lock guards plain data that is whole between any two statements.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_data_decides_where_no_size_is_set() {
        let policy = Policy {
            every_bytes: None,
            segment_size_bytes: 64,
        };
        assert!(!policy.is_due(320, 0));
        assert!(policy.is_due(321, 0));
        assert!(!policy.is_due(1064, 1000));
        assert!(policy.is_due(1065, 1000));
    }

    #[test]
    fn a_set_size_decides_alone() {
        let policy = Policy {
            every_bytes: Some(100),
            segment_size_bytes: 64,
        };
        assert!(!policy.is_due(164, 1_000_000));
        assert!(policy.is_due(165, 1_000_000));
    }
}
