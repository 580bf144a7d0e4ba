//! One shard as the threads of a node share it.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering, fence};
use std::sync::{Mutex, RwLock, RwLockReadGuard, TryLockError};
use std::time::Duration;

use base::{Clock, Moment};
use keyspace::Keyspace;
use shard::{Effects, Mark, Refusal, Request, Response, Shard};
use tokio::sync::Notify;
use wal::WalError;

use crate::log::{LogNumber, LogWriter};
use crate::random::Random;

/// A shard: its keyspace, which any core reads, the requests that queue for it, and the Raft group,
/// which one thread at a time takes a turn with.
///
/// Whoever has work for the shard sets `work` and then tries to take the turn. If another thread
/// has it, that one looks at `work` again after it has let go. So work never lies unseen, and no
/// core ever waits for another's turn to end. The thread that makes snapshots does, and has the shards
/// take a turn once it has let go.
pub(crate) struct Cell {
    keyspace: RwLock<Keyspace>,
    may_read: AtomicBool,
    /// Wakes those who wait for `may_read`.
    became_readable: Notify,
    /// How the shard stood after its last turn, for people.
    led: AtomicBool,
    term: AtomicU64,
    applied: AtomicU64,
    inbox: Mutex<Vec<Request>>,
    ticks: AtomicU32,
    work: AtomicBool,
    turn: Mutex<Turn>,
}

/// What only the holder of the turn touches.
struct Turn {
    shard: Shard,
    random: Random,
    effects: Effects,
    /// What was handed to the log and is not known to be durable, oldest first.
    unpersisted: VecDeque<(LogNumber, Mark)>,
    log_state: LogState,
    /// Expired keys wait to be swept.
    sweeping: bool,
}

/// Whether the log takes the shard's records.
#[derive(Clone, Copy, PartialEq, Eq)]
enum LogState {
    Takes,
    /// The disk is full. The records that it did not take wait in the effects, and with them all that
    /// would come after.
    Full,
    /// It was damaged. The process is about to end; until then nothing moves.
    Failed,
}

/// How a shard stands, for people.
#[derive(Clone, Copy, Debug)]
pub struct ShardStatus {
    /// Whether it is led here.
    pub led: bool,
    /// The Raft term.
    pub term: u64,
    /// The last applied entry.
    pub applied: u64,
}

impl Cell {
    pub(crate) fn new(shard: Shard, keyspace: Keyspace, random: Random) -> Cell {
        Cell {
            keyspace: RwLock::new(keyspace),
            may_read: AtomicBool::new(false),
            became_readable: Notify::new(),
            led: AtomicBool::new(false),
            term: AtomicU64::new(0),
            applied: AtomicU64::new(0),
            inbox: Mutex::default(),
            ticks: AtomicU32::new(0),
            work: AtomicBool::new(true),
            turn: Mutex::new(Turn {
                shard,
                random,
                effects: Effects::default(),
                unpersisted: VecDeque::new(),
                log_state: LogState::Takes,
                sweeping: false,
            }),
        }
    }

    /// The keyspace, if what it holds may be shown: every read of it is linearizable.
    pub(crate) fn read(&self) -> Option<RwLockReadGuard<'_, Keyspace>> {
        let keyspace = self.keyspace_for_status();
        self.may_read.load(Ordering::Acquire).then_some(keyspace)
    }

    /// Waits until reads are linearizable.
    pub(crate) async fn readable(&self) {
        loop {
            // Registered before the look, so that no change between the two is missed.
            let became_readable = self.became_readable.notified();
            if self.may_read.load(Ordering::Acquire) {
                return;
            }
            became_readable.await;
        }
    }

    /// The keyspace, whether it is up to date or not.
    pub(crate) fn keyspace_for_status(&self) -> RwLockReadGuard<'_, Keyspace> {
        self.keyspace.read().expect("no holder of this lock panics")
    }

    /// Runs `work` on the keyspace and nothing else at the same time; must be short.
    pub(crate) fn with_keyspace<R>(&self, work: impl FnOnce(&mut Keyspace) -> R) -> R {
        work(
            &mut self
                .keyspace
                .write()
                .expect("no holder of this lock panics"),
        )
    }

    /// Runs `work` between two turns, when the keyspace is exactly that after the last applied
    /// entry. Whoever wanted a turn meanwhile went away: the caller has one taken after this.
    pub(crate) fn between_turns<R>(&self, work: impl FnOnce(&Shard, &mut Keyspace) -> R) -> R {
        let turn = self.turn.lock().expect("no holder of this lock panics");
        self.with_keyspace(|keyspace| work(&turn.shard, keyspace))
    }

    /// How the shard stood after its last turn.
    pub(crate) fn status(&self) -> ShardStatus {
        ShardStatus {
            led: self.led.load(Ordering::Relaxed),
            term: self.term.load(Ordering::Relaxed),
            applied: self.applied.load(Ordering::Relaxed),
        }
    }

    pub(crate) fn queue(&self, request: Request) {
        self.inbox
            .lock()
            .expect("no holder of this lock panics")
            .push(request);
        self.note_work();
    }

    pub(crate) fn tick(&self) {
        self.ticks.fetch_add(1, Ordering::Relaxed);
        self.note_work();
    }

    pub(crate) fn note_work(&self) {
        self.work.store(true, Ordering::Release);
        // Either the holder of the turn sees the work after it has let go, or this thread finds that it
        // has: without a total order, each could miss the other.
        fence(Ordering::SeqCst);
    }

    /// Takes one turn, if no other thread has it. Tells whether there is more to do; then the caller
    /// comes again once it has handed out the responses.
    pub(crate) fn turn(
        &self,
        clock: &impl Clock,
        log: &LogWriter,
        responses: &mut Vec<Response>,
    ) -> bool {
        match self.turn.try_lock() {
            Ok(mut turn) => self.run(&mut turn, clock, log, responses),
            Err(TryLockError::WouldBlock) => return false,
            Err(TryLockError::Poisoned(_)) => unreachable!("a panic ends the process"),
        }
        // See `note_work`.
        fence(Ordering::SeqCst);
        self.work.load(Ordering::Acquire)
    }

    fn run(
        &self,
        turn: &mut Turn,
        clock: &impl Clock,
        log: &LogWriter,
        responses: &mut Vec<Response>,
    ) {
        if !self.work.swap(false, Ordering::AcqRel) {
            return;
        }
        let Turn {
            shard,
            random,
            effects,
            unpersisted,
            log_state,
            sweeping,
        } = turn;
        if *log_state == LogState::Failed {
            return;
        }
        let ticks = self.ticks.swap(0, Ordering::Relaxed);
        if ticks > 0 {
            shard.tick(clock.monotonic(), effects);
        }
        let durable = log.durable();
        let mut persisted = None;
        while let Some(&(_, mark)) = unpersisted.front().filter(|(number, _)| *number <= durable) {
            persisted = Some(mark);
            unpersisted.pop_front();
        }
        if let Some(mark) = persisted {
            shard.persisted(mark);
        }
        let requests = if log.is_congested() && !log.is_full() {
            Vec::new()
        } else {
            self.take_requests()
        };
        if !requests.is_empty() {
            let size = requests
                .iter()
                .map(|request| request.commands.size_bytes())
                .sum();
            if *log_state == LogState::Takes && log.has_room(size) {
                shard.propose(moment(clock), random.draw(), requests, effects);
            } else {
                Shard::refuse(requests, Refusal::DiskFull, effects);
            }
        }
        let mut sweeps = 0;
        loop {
            // A look at each tick finds expired keys; from then on it goes on until none is left, a
            // limited number at a time.
            let may_sweep = (ticks > 0 || *sweeping) && shard.is_idle() && sweeps < SWEEPS;
            if may_sweep && *log_state == LogState::Takes && log.has_room(0) {
                let now = moment(clock);
                *sweeping = shard.wants_sweep(&self.keyspace_for_status(), now.wall);
                if *sweeping {
                    sweeps += 1;
                    shard.propose(now, random.draw(), Vec::new(), effects);
                }
            }
            shard.advance(effects);
            if let Some(mark) = effects.mark {
                if *log_state == LogState::Full && ticks == 0 {
                    break;
                }
                match log.append(&mut effects.records) {
                    Ok((_, true)) => shard.persisted(mark),
                    Ok((number, false)) => unpersisted.push_back((number, mark)),
                    Err(WalError::NoRoom { .. }) => {
                        // The next tick tries again.
                        *log_state = LogState::Full;
                        break;
                    }
                    Err(failure) => {
                        *log_state = LogState::Failed;
                        log.fail(&failure);
                        return;
                    }
                }
                effects.mark = None;
                *log_state = LogState::Takes;
            } else if !shard.has_committed() {
                break;
            }
            if shard.has_committed() {
                self.with_keyspace(|keyspace| shard.apply(keyspace, effects));
            }
        }
        self.led.store(shard.is_leader(), Ordering::Relaxed);
        self.term.store(shard.term(), Ordering::Relaxed);
        self.applied.store(shard.applied(), Ordering::Relaxed);
        let may_read = shard.lease_until() == Duration::MAX;
        if self.may_read.swap(may_read, Ordering::AcqRel) != may_read {
            self.became_readable.notify_waiters();
        }
        log.drop_elsewhere(&mut effects.discarded);
        responses.append(&mut effects.responses);
    }
}

impl Cell {
    /// Takes the requests that wait, up to a size that one entry should not exceed by much.
    fn take_requests(&self) -> Vec<Request> {
        let mut inbox = self.inbox.lock().expect("no holder of this lock panics");
        let mut size = 0;
        let fitting = inbox.iter().take_while(|request| {
            let fits = size < ENTRY_BYTES;
            size += request.commands.size_bytes();
            fits
        });
        let fitting = fitting.count();
        if fitting == inbox.len() {
            return std::mem::take(&mut *inbox);
        }
        let rest = inbox.split_off(fitting);
        self.note_work();
        std::mem::replace(&mut *inbox, rest)
    }
}

fn moment(clock: &impl Clock) -> Moment {
    Moment {
        wall: clock.now(),
        monotonic: clock.monotonic(),
    }
}

/// At most this many entries that only sweep are made in one turn.
const SWEEPS: u32 = 32;

/// Requests are put into one entry until it is this large.
const ENTRY_BYTES: usize = 16 << 20;
