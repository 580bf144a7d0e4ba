//! The thread that makes snapshots, so that the log can be cut behind them.

use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use base::ShardId;
use tracing::{error, info, warn};
use wal::{Body, RealDisk, Record, SnapshotError, SnapshotId, Snapshots, WalError};

use crate::cell::Cell;
use crate::store::Running;

/// How often the size of the log is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// After a failure, so long nothing is tried.
const PAUSE: Duration = Duration::from_secs(10);
/// So many bytes are taken from the keyspace in one go; a core waits no longer than that takes.
const STEP_BYTES: usize = 64 << 10;
/// The longest pause between two steps.
const PAUSE_MOST: Duration = Duration::from_millis(2);
/// So many bytes are written to the file in one go.
const WRITE_BYTES: usize = 1 << 20;

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

/// The thread.
pub(crate) struct Snapshotter {
    stop: Mutex<Option<Sender<()>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Snapshotter {
    /// Starts the thread.
    pub(crate) fn start(
        running: Arc<Running>,
        snapshots: Snapshots<RealDisk>,
        policy: Policy,
        last_snapshot_bytes: u64,
    ) -> std::io::Result<Snapshotter> {
        let (stop, stopped) = channel();
        let worker = Worker {
            running,
            snapshots,
            policy,
            last_snapshot_bytes,
            stopped,
        };
        let thread = std::thread::Builder::new()
            .name("snapshots".into())
            .spawn(move || worker.run())?;
        Ok(Snapshotter {
            stop: Mutex::new(Some(stop)),
            thread: Mutex::new(Some(thread)),
        })
    }

    /// Ends the thread; a snapshot that is under way is given up.
    pub(crate) fn stop(&self) {
        self.stop
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        let thread = self
            .thread
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if thread.is_some_and(|thread| thread.join().is_err()) {
            error!("the thread that makes snapshots ended in a panic");
        }
    }
}

struct Worker {
    running: Arc<Running>,
    snapshots: Snapshots<RealDisk>,
    policy: Policy,
    last_snapshot_bytes: u64,
    stopped: Receiver<()>,
}

enum Failure {
    Snapshot(SnapshotError),
    Log(WalError),
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
        while self.stopped.recv_timeout(wait) == Err(RecvTimeoutError::Timeout) {
            wait = LOOK_EVERY;
            let (log_bytes, pin) = self
                .running
                .log
                .with_wal(|wal| (wal.log_bytes(), wal.pinned()));
            let Some(pin) = pin else { continue };
            if !self.policy.is_due(log_bytes, self.last_snapshot_bytes) {
                continue;
            }
            match self.make(pin.shard) {
                Ok(()) => {}
                Err(Failure::Stopped) => return,
                Err(Failure::Log(WalError::NoRoom { .. })) => wait = PAUSE,
                Err(Failure::Log(failure)) => {
                    self.running.log.fail(&failure);
                    return;
                }
                Err(Failure::Snapshot(error)) => {
                    warn!(shard = pin.shard.0, %error, "the snapshot failed; trying again later");
                    wait = PAUSE;
                }
            }
        }
    }

    fn make(&mut self, shard: ShardId) -> Result<(), Failure> {
        let started = Instant::now();
        let running = Arc::clone(&self.running);
        let cell = &running.cells[shard.0 as usize];
        let begun = cell.between_turns(|shard, keyspace| {
            let shard = shard?;
            keyspace.begin_snapshot();
            Some((shard.snapshot_meta(), shard.replica()))
        });
        running.log.wake_shards();
        let Some((meta, replica)) = begun else {
            return Ok(());
        };
        let id = SnapshotId {
            shard,
            replica,
            term: meta.term,
            index: meta.index,
        };
        let mut head = Vec::with_capacity(WRITE_BYTES + STEP_BYTES);
        meta.encode(&mut head);
        let bytes = self.write(cell, id, head).inspect_err(|_| {
            cell.with_keyspace(|keyspace| {
                if keyspace.snapshot_running() {
                    keyspace.abandon_snapshot();
                }
            });
        })?;
        let mut records = Vec::new();
        for body in [
            Body::Snapshot {
                term: meta.term,
                index: meta.index,
            },
            Body::Purge { index: meta.index },
        ] {
            Record {
                shard,
                replica,
                body,
            }
            .encode(&mut records);
        }
        let (number, written) = running.log.append(&mut records).map_err(Failure::Log)?;
        if written {
            // With the operating system, that is; the purge counts once it is on the disk.
            running.log.sync().map_err(Failure::Log)?;
        }
        running.log.request_upkeep_after(number);
        self.snapshots.remove_older(id)?;
        self.last_snapshot_bytes = bytes;
        info!(
            shard = shard.0,
            index = meta.index,
            bytes,
            millis = started.elapsed().as_millis() as u64,
            "made a snapshot"
        );
        Ok(())
    }

    fn write(&self, cell: &Cell, id: SnapshotId, mut buffer: Vec<u8>) -> Result<u64, Failure> {
        let mut writer = self.snapshots.create(id)?;
        let outcome = loop {
            if self.stopped.try_recv() != Err(std::sync::mpsc::TryRecvError::Empty) {
                break Err(Failure::Stopped);
            }
            let began = Instant::now();
            let complete =
                cell.with_keyspace(|keyspace| keyspace.snapshot_step(STEP_BYTES, &mut buffer));
            if complete || buffer.len() >= WRITE_BYTES {
                if let Err(error) = writer.write(&buffer) {
                    break Err(error.into());
                }
                buffer.clear();
            }
            if complete {
                break Ok(());
            }
            // The lock is not handed over to who waits for it; a pause lets the cores go first, and
            // leaves them half of the time at least.
            std::thread::sleep(began.elapsed().min(PAUSE_MOST));
        };
        match outcome {
            Ok(()) => Ok(writer.finish()?),
            Err(failure) => {
                if let Err(error) = writer.abandon() {
                    warn!(%error, "an unfinished snapshot was left behind");
                }
                Err(failure)
            }
        }
    }
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
