//! The threads around the node's log: who writes it, who syncs it, who makes room.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use keyspace::{Discarded, Keyspace};
use node::LogNumber;
use tracing::{error, info, warn};
use wal::{RealDisk, Wal, WalError};

use crate::Fsync;

/// The node's log, as the cores use it.
///
/// With [`Fsync::Always`] a core leaves its records with the log's own thread, which writes and
/// syncs all that gathered while the last sync ran, and then tells the cores. Otherwise a core
/// writes its records itself, so that they are with the operating system before the reply is
/// sent, and the thread syncs every second or never.
pub(crate) struct LogWriter {
    fsync: Fsync,
    wal: Mutex<Wal<RealDisk>>,
    pending: Mutex<Pending>,
    /// Something is pending, or the log is to stop.
    pending_changed: Condvar,
    durable: AtomicU64,
    /// What the log had room for when it was last written to.
    room: AtomicU64,
    /// What is pending and will take up some of that room.
    pending_bytes: AtomicU64,
    /// The next segment could not be made.
    full: AtomicBool,
    upkeep_requested: AtomicBool,
    /// Upkeep is wanted once this number is durable.
    upkeep_after: AtomicU64,
    chores: Mutex<Option<Sender<Chore>>>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    on_durable: Box<dyn Fn() + Send + Sync>,
    on_failure: Box<dyn Fn(&str) + Send + Sync>,
}

#[derive(Default)]
struct Pending {
    records: Vec<u8>,
    number: u64,
    stopping: bool,
}

/// What must not keep a core waiting.
enum Chore {
    Drop(Vec<Discarded>),
    DropState(Box<Keyspace>),
    Upkeep,
}

/// No number comes near it.
const NOT_WANTED: u64 = u64::MAX;
/// So much stays free for the log's own records: elections, snapshot markers.
const RESERVED_BYTES: u64 = 64 << 10;
/// The records of one commit group are gathered in memory that is kept up to this size.
const KEPT_BYTES: usize = 8 << 20;
/// With more pending than this, requests wait at their shard. It keeps what one append takes well below
/// [`wal::MAX_APPEND_BYTES`].
const CONGESTED_BYTES: u64 = 64 << 20;
/// While the disk is full, pending records are tried again this often.
const RETRY_EVERY: Duration = Duration::from_millis(100);
/// With nothing to write for this long, the log notes down that all it holds is synced.
const IDLE: Duration = Duration::from_millis(20);
const EVERY_SECOND: Duration = Duration::from_secs(1);

impl std::fmt::Debug for LogWriter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LogWriter")
            .field("fsync", &self.fsync)
            .finish_non_exhaustive()
    }
}

impl LogWriter {
    /// Takes the opened log over and starts its threads. `on_durable` is called by the log's thread
    /// when more has become durable, `on_failure` by any thread when the log can no longer be
    /// written: nothing may be acknowledged from then on, and the process must end.
    pub(crate) fn start(
        wal: Wal<RealDisk>,
        fsync: Fsync,
        on_durable: impl Fn() + Send + Sync + 'static,
        on_failure: impl Fn(&str) + Send + Sync + 'static,
    ) -> std::io::Result<Arc<LogWriter>> {
        let (chores, incoming) = channel();
        let log = Arc::new(LogWriter {
            fsync,
            room: AtomicU64::new(wal.room()),
            wal: Mutex::new(wal),
            pending: Mutex::default(),
            pending_changed: Condvar::new(),
            durable: AtomicU64::new(0),
            pending_bytes: AtomicU64::new(0),
            full: AtomicBool::new(false),
            upkeep_requested: AtomicBool::new(false),
            upkeep_after: AtomicU64::new(NOT_WANTED),
            chores: Mutex::new(Some(chores)),
            threads: Mutex::default(),
            on_durable: Box::new(on_durable),
            on_failure: Box::new(on_failure),
        });
        let writer = Arc::clone(&log);
        let writer = std::thread::Builder::new()
            .name("log".into())
            .spawn(move || {
                let outcome = match writer.fsync {
                    Fsync::Always => writer.write_and_sync(),
                    Fsync::EverySec => writer.sync_every_second(),
                    Fsync::Never => writer.wait_for_stop(),
                };
                if let Err(failure) = outcome {
                    writer.fail(&failure);
                }
            })?;
        let keeper = Arc::clone(&log);
        let keeper = std::thread::Builder::new()
            .name("chores".into())
            .spawn(move || keeper.do_chores(&incoming))?;
        lock(&log.threads).extend([writer, keeper]);
        log.request_upkeep();
        Ok(log)
    }

    /// Takes the records, in order, and leaves the buffer empty. Tells their number and whether they
    /// are durable already, as far as the setting asks.
    ///
    /// # Errors
    /// With [`WalError::NoRoom`] nothing was taken and the same may be tried again. After any other
    /// error, [`LogWriter::fail`] is to be told.
    pub(crate) fn append(&self, records: &mut Vec<u8>) -> Result<(LogNumber, bool), WalError> {
        if self.fsync == Fsync::Always {
            self.pending_bytes
                .fetch_add(records.len() as u64, Ordering::Relaxed);
            let mut pending = lock(&self.pending);
            let was_empty = pending.records.is_empty();
            pending.number += 1;
            if was_empty {
                std::mem::swap(&mut pending.records, records);
            } else {
                pending.records.extend_from_slice(records);
            }
            records.clear();
            let number = LogNumber(pending.number);
            drop(pending);
            if was_empty {
                self.pending_changed.notify_one();
            }
            return Ok((number, false));
        }
        let mut wal = lock(&self.wal);
        let outcome = wal.append([records.as_slice()]);
        self.note_room(&wal);
        drop(wal);
        if let Err(WalError::NoRoom { .. }) = outcome {
            self.full.store(true, Ordering::Relaxed);
        }
        outcome?;
        records.clear();
        Ok((LogNumber(0), true))
    }

    /// The log can no longer be written: nothing may be acknowledged from now on, and the process ends.
    pub(crate) fn fail(&self, failure: &WalError) {
        (self.on_failure)(&failure.to_string());
    }

    /// Whether the disk is known to be full.
    pub(crate) fn is_full(&self) -> bool {
        self.full.load(Ordering::Relaxed)
    }

    /// Has the shards take a turn, as when more is durable.
    pub(crate) fn wake_shards(&self) {
        (self.on_durable)();
    }

    /// Whether so much waits for the log that more should wait elsewhere.
    pub(crate) fn is_congested(&self) -> bool {
        self.pending_bytes.load(Ordering::Relaxed) > CONGESTED_BYTES
    }

    /// All records up to here are durable.
    pub(crate) fn durable(&self) -> LogNumber {
        LogNumber(self.durable.load(Ordering::Acquire))
    }

    /// Whether so many bytes of commands may be appended: always, as long as the disk is not known to
    /// be full; then, what fits into what the log has set aside.
    pub(crate) fn has_room(&self, bytes: usize) -> bool {
        if !self.is_full() {
            return true;
        }
        let taken = self.pending_bytes.load(Ordering::Relaxed) + bytes as u64 + RESERVED_BYTES;
        self.room.load(Ordering::Relaxed) >= taken
    }

    /// Runs `work` on the log itself; a core that appends meanwhile waits.
    pub(crate) fn with_wal<R>(&self, work: impl FnOnce(&mut Wal<RealDisk>) -> R) -> R {
        let mut wal = lock(&self.wal);
        let outcome = work(&mut wal);
        self.note_room(&wal);
        outcome
    }

    /// Makes durable what was written so far, whatever the setting. Cores go on appending while the
    /// disk works.
    pub(crate) fn sync(&self) -> Result<(), WalError> {
        let job = lock(&self.wal).sync_job()?;
        if let Some(job) = job {
            let position = job.run()?;
            lock(&self.wal).synced(position);
        }
        Ok(())
    }

    /// Has the next segment prepared, and those disposed of that nobody needs, if that is not about
    /// to happen anyway.
    pub(crate) fn request_upkeep(&self) {
        if !self.upkeep_requested.swap(true, Ordering::Relaxed) {
            self.ask(Chore::Upkeep);
        }
    }

    /// Has upkeep done once all records up to `number` are durable: segments go only then.
    pub(crate) fn request_upkeep_after(&self, number: LogNumber) {
        self.upkeep_after.store(number.0, Ordering::SeqCst);
        self.upkeep_if_due();
    }

    /// Either this call or that of the log's thread, after it has synced, finds both numbers set.
    fn upkeep_if_due(&self) {
        let wanted = self.upkeep_after.load(Ordering::SeqCst);
        if wanted != NOT_WANTED && self.durable.load(Ordering::SeqCst) >= wanted {
            self.upkeep_after.store(NOT_WANTED, Ordering::SeqCst);
            self.request_upkeep();
        }
    }

    /// Drops what takes long to drop on another thread.
    pub(crate) fn drop_elsewhere(&self, discarded: &mut Vec<Discarded>) {
        if !discarded.is_empty() {
            self.ask(Chore::Drop(std::mem::take(discarded)));
        }
    }

    /// Does the same with whole states.
    pub(crate) fn drop_states_elsewhere(&self, states: &mut Vec<Keyspace>) {
        for state in states.drain(..) {
            self.ask(Chore::DropState(Box::new(state)));
        }
    }

    /// Writes and syncs what is pending, and ends the threads.
    pub(crate) fn stop(&self) {
        lock(&self.pending).stopping = true;
        self.pending_changed.notify_all();
        lock(&self.chores).take();
        for thread in lock(&self.threads).drain(..) {
            if thread.join().is_err() {
                error!("a thread of the log ended in a panic");
            }
        }
        let synced = self.with_wal(|wal| wal.sync().and_then(|_| wal.mark_synced()));
        if let Err(failure) = synced {
            error!(%failure, "the log could not be synced at the end");
        }
    }

    fn ask(&self, chore: Chore) {
        if let Some(chores) = &*lock(&self.chores) {
            // The other end goes only after this one was taken away.
            drop(chores.send(chore));
        }
    }

    fn note_room(&self, wal: &Wal<RealDisk>) {
        let room = wal.room();
        self.room.store(room, Ordering::Relaxed);
        if wal.has_spare() {
            self.full.store(false, Ordering::Relaxed);
        } else if !self.full.load(Ordering::Relaxed) {
            self.request_upkeep();
        }
    }

    fn write_and_sync(&self) -> Result<(), WalError> {
        let mut records = Vec::new();
        let mut marked = true;
        loop {
            let mut pending = lock(&self.pending);
            while pending.records.is_empty() {
                if pending.stopping {
                    return Ok(());
                }
                if marked {
                    pending = self.wait(pending);
                } else {
                    let (guard, timeout) = self
                        .pending_changed
                        .wait_timeout(pending, IDLE)
                        .unwrap_or_else(PoisonError::into_inner);
                    pending = guard;
                    if timeout.timed_out() && pending.records.is_empty() {
                        drop(pending);
                        lock(&self.wal).mark_synced()?;
                        marked = true;
                        pending = lock(&self.pending);
                    }
                }
            }
            std::mem::swap(&mut pending.records, &mut records);
            let number = pending.number;
            drop(pending);
            self.append_patiently(&records)?;
            let mut wal = lock(&self.wal);
            self.pending_bytes
                .fetch_sub(records.len() as u64, Ordering::Relaxed);
            wal.sync()?;
            drop(wal);
            marked = false;
            records.clear();
            records.shrink_to(KEPT_BYTES);
            self.durable.store(number, Ordering::SeqCst);
            self.upkeep_if_due();
            self.wake_shards();
        }
    }

    /// Appends, and waits for room where the disk is full: the records are part of the shards' logs
    /// already.
    fn append_patiently(&self, records: &[u8]) -> Result<(), WalError> {
        loop {
            let mut wal = lock(&self.wal);
            let outcome = wal.append([records]);
            self.note_room(&wal);
            drop(wal);
            match outcome {
                Ok(_) => return Ok(()),
                Err(WalError::NoRoom { .. }) if !lock(&self.pending).stopping => {
                    self.full.store(true, Ordering::Relaxed);
                    self.room.store(0, Ordering::Relaxed);
                    std::thread::sleep(RETRY_EVERY);
                }
                Err(failure) => return Err(failure),
            }
        }
    }

    fn sync_every_second(&self) -> Result<(), WalError> {
        loop {
            let pending = lock(&self.pending);
            let (pending, _) = self
                .pending_changed
                .wait_timeout_while(pending, EVERY_SECOND, |pending| !pending.stopping)
                .unwrap_or_else(PoisonError::into_inner);
            let stopping = pending.stopping;
            drop(pending);
            self.sync()?;
            if stopping {
                return Ok(());
            }
        }
    }

    fn wait_for_stop(&self) -> Result<(), WalError> {
        let mut pending = lock(&self.pending);
        while !pending.stopping {
            pending = self.wait(pending);
        }
        Ok(())
    }

    fn wait<'g>(&self, pending: MutexGuard<'g, Pending>) -> MutexGuard<'g, Pending> {
        self.pending_changed
            .wait(pending)
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn do_chores(&self, incoming: &Receiver<Chore>) {
        let mut full = false;
        loop {
            // While the disk is full, look again now and then.
            let chore = if full {
                match incoming.recv_timeout(EVERY_SECOND) {
                    Ok(chore) => chore,
                    Err(RecvTimeoutError::Timeout) => Chore::Upkeep,
                    Err(RecvTimeoutError::Disconnected) => return,
                }
            } else {
                match incoming.recv() {
                    Ok(chore) => chore,
                    Err(_) => return,
                }
            };
            match chore {
                Chore::Drop(discarded) => drop(discarded),
                Chore::DropState(keyspace) => drop(keyspace),
                Chore::Upkeep => {
                    let outcome = self.keep_up();
                    if let Err(failure) = &outcome
                        && !matches!(failure, WalError::NoRoom { .. })
                    {
                        self.fail(failure);
                        return;
                    }
                    let was_full = full;
                    full = outcome.is_err();
                    self.full.store(full, Ordering::Relaxed);
                    match outcome {
                        Err(failure) if !was_full => warn!(
                            %failure,
                            "no room for the next log segment: writes are refused once the present \
                             one is full"
                        ),
                        Ok(()) if was_full => info!("the log has room again: writes are taken"),
                        _ => {}
                    }
                }
            }
        }
    }

    fn keep_up(&self) -> Result<(), WalError> {
        self.upkeep_requested.store(false, Ordering::Relaxed);
        let Some(upkeep) = lock(&self.wal).upkeep() else {
            return Ok(());
        };
        let outcome = upkeep.run();
        self.room.store(lock(&self.wal).room(), Ordering::Relaxed);
        outcome
    }
}

/// The locks here guard plain data that is whole between any two statements.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
