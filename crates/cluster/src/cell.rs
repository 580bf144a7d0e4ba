//! One shard as the threads of a node share it.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering, fence};
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, TryLockError};
use std::time::Duration;

use base::{Clock, Moment, NodeId, ShardId};
use keyspace::Keyspace;
use meta::ReplicaStatus;
use node::transfer::Wanted;
use node::{FromPeer, Inputs, LogNumber, Order, Outputs, Outside, Turn};
use shard::{LongReadsDone, Request, Shard};
use tokio::sync::Notify;
use wal::WalError;

use crate::clock::SystemClock;
use crate::log::LogWriter;
use crate::long_reads::Gate;
use crate::random::Random;

/// A shard: its keyspace, which any core reads, what has come in for it, and its [`Turn`], which one
/// thread at a time takes.
///
/// Whoever has work for the shard sets `work` and then tries to take the turn. If another thread
/// has it, that one looks at `work` again after it has let go. So work never lies unseen, and no
/// core ever waits for another's turn to end. The thread that makes snapshots does, and has the shards
/// take a turn once it has let go.
pub(crate) struct Cell {
    shard: ShardId,
    keyspace: RwLock<Keyspace>,
    lease: Lease,
    /// Whether the shard has a leader that serves, here or elsewhere.
    serves: AtomicBool,
    /// Wakes those who wait for `serves`.
    began_to_serve: Notify,
    /// How the shard stood after its last turn, for people.
    led: AtomicBool,
    /// Whether it is led here, or somebody waits for what was proposed here.
    on_duty: AtomicBool,
    /// Wakes those who wait for that to end.
    duty_changed: Notify,
    /// 0 if none is known.
    leader: AtomicU64,
    term: AtomicU64,
    applied: AtomicU64,
    replica: Mutex<Option<ReplicaStatus>>,
    inbox: Mutex<Inbox>,
    ticked: AtomicBool,
    work: AtomicBool,
    turn: Mutex<Holder>,
    /// Closed while long reads are under way.
    pub(crate) gate: Gate,
}

/// Until when reads of the keyspace are linearizable, in nanoseconds of the monotonic clock.
#[derive(Default)]
struct Lease(AtomicU64);

/// There is no end to it.
const FOR_GOOD: u64 = u64::MAX;

impl Lease {
    fn set(&self, until: Duration) {
        let until = u64::try_from(until.as_nanos()).unwrap_or(FOR_GOOD);
        self.0.store(until, Ordering::Release);
    }

    /// Whether there is nobody else who could lead.
    fn is_for_good(&self) -> bool {
        self.0.load(Ordering::Acquire) == FOR_GOOD
    }

    /// Looks at the clock only where there is an end.
    fn holds(&self, clock: &SystemClock) -> bool {
        match self.0.load(Ordering::Acquire) {
            0 => false,
            FOR_GOOD => true,
            until => clock.monotonic().as_nanos() < u128::from(until),
        }
    }
}

/// What has come in since the last turn.
#[derive(Default)]
struct Inbox {
    inputs: Inputs,
    /// What that takes that came from peers.
    peer_bytes: usize,
}

/// What peers sent and no turn has taken yet takes no more than so much.
const PEER_BYTES: usize = 256 << 20;

/// What only the holder of the turn touches.
struct Holder {
    turn: Turn,
    random: Random,
    /// What the turn left for later.
    inputs: Inputs,
    told: Told,
}

/// What became of a wish to take a turn.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Taken {
    /// It was taken.
    pub(crate) ran: bool,
    /// There is more to do: the caller comes again once it has handed out the responses.
    pub(crate) more: bool,
}

/// What was last handed on of that which each turn says anew.
#[derive(Default)]
pub(crate) struct Told {
    pub(crate) wants_snapshot: bool,
    pub(crate) fetch: Option<Wanted>,
}

/// How a shard stands, for people.
#[derive(Clone, Copy, Debug)]
pub struct ShardStatus {
    /// Whether it is led here.
    pub led: bool,
    /// The node that leads it, as far as is known here.
    pub leader: Option<NodeId>,
    /// The Raft term of the replica here; 0 without one.
    pub term: u64,
    /// The last entry that it applied.
    pub applied: u64,
}

impl Cell {
    pub(crate) fn new(turn: Turn, keyspace: Keyspace, random: Random) -> Cell {
        Cell {
            shard: turn.config().shard,
            keyspace: RwLock::new(keyspace),
            lease: Lease::default(),
            serves: AtomicBool::new(false),
            began_to_serve: Notify::new(),
            led: AtomicBool::new(false),
            on_duty: AtomicBool::new(false),
            duty_changed: Notify::new(),
            leader: AtomicU64::new(0),
            term: AtomicU64::new(0),
            applied: AtomicU64::new(0),
            replica: Mutex::default(),
            inbox: Mutex::default(),
            ticked: AtomicBool::new(false),
            work: AtomicBool::new(true),
            turn: Mutex::new(Holder {
                turn,
                random,
                inputs: Inputs::default(),
                told: Told::default(),
            }),
            gate: Gate::default(),
        }
    }

    /// Which shard it is.
    pub(crate) fn shard(&self) -> ShardId {
        self.shard
    }

    /// The keyspace, if reads of it are linearizable now. They are if [`Cell::may_read`] still says so
    /// when they have run.
    pub(crate) fn read(&self, clock: &SystemClock) -> Option<RwLockReadGuard<'_, Keyspace>> {
        let keyspace = self.keyspace_as_is();
        self.may_read(clock).then_some(keyspace)
    }

    /// Whether reads of the keyspace are linearizable.
    pub(crate) fn may_read(&self, clock: &SystemClock) -> bool {
        self.lease.holds(clock)
    }

    /// Waits until the shard has a leader that serves.
    pub(crate) async fn serving(&self) {
        loop {
            // Registered before the look, so that no change between the two is missed.
            let began_to_serve = self.began_to_serve.notified();
            if self.serves.load(Ordering::Acquire) {
                return;
            }
            began_to_serve.await;
        }
    }

    /// Waits until the shard is not led here and what was proposed here is answered, or until there is
    /// nobody else who could lead.
    pub(crate) async fn handed_over(&self) {
        loop {
            let duty_changed = self.duty_changed.notified();
            if !self.on_duty.load(Ordering::Acquire) || self.lease.is_for_good() {
                return;
            }
            duty_changed.await;
        }
    }

    /// The keyspace, whether it is up to date or not.
    pub(crate) fn keyspace_as_is(&self) -> RwLockReadGuard<'_, Keyspace> {
        self.keyspace.read().expect("no holder of this lock panics")
    }

    /// Runs `work` on the keyspace and nothing else at the same time; must be short. Waits until no long reads
    /// are under way.
    pub(crate) fn with_keyspace<R>(&self, work: impl FnOnce(&mut Keyspace) -> R) -> R {
        let _passed = self.gate.pass();
        self.change_keyspace(work)
    }

    fn change_keyspace<R>(&self, work: impl FnOnce(&mut Keyspace) -> R) -> R {
        work(
            &mut self
                .keyspace
                .write()
                .expect("no holder of this lock panics"),
        )
    }

    /// Runs `work` between two turns, when the keyspace is exactly that after the last entry that the
    /// replica here, if there is one, has applied. Whoever wanted a turn meanwhile went away: the caller
    /// has one taken after this.
    pub(crate) fn between_turns<R>(
        &self,
        work: impl FnOnce(Option<&Shard>, &mut Keyspace) -> R,
    ) -> R {
        loop {
            // A turn may have long reads begin; nobody waits for those while he holds it.
            drop(self.gate.pass());
            let holder = self.turn.lock().expect("no holder of this lock panics");
            if let Some(_passed) = self.gate.try_pass() {
                return self.change_keyspace(|keyspace| work(holder.turn.shard(), keyspace));
            }
        }
    }

    /// What long reads gave is for the next turn.
    pub(crate) fn end_long_reads(&self, done: LongReadsDone) {
        self.inbox().inputs.long_reads = Some(done);
        self.note_work();
    }

    /// How the shard stood after its last turn.
    pub(crate) fn status(&self) -> ShardStatus {
        let leader = self.leader.load(Ordering::Relaxed);
        ShardStatus {
            led: self.led.load(Ordering::Relaxed),
            leader: (leader != 0).then_some(NodeId(leader)),
            term: self.term.load(Ordering::Relaxed),
            applied: self.applied.load(Ordering::Relaxed),
        }
    }

    /// How the replica here stood at the last tick, for other nodes.
    pub(crate) fn replica_status(&self) -> Option<ReplicaStatus> {
        lock(&self.replica).clone()
    }

    pub(crate) fn queue(&self, request: Request) {
        self.inbox().inputs.requests.push(request);
        self.note_work();
    }

    pub(crate) fn order(&self, order: Order) {
        self.inbox().inputs.orders.push(order);
        self.note_work();
    }

    /// Takes what came from a peer, unless too much waits already. Then a message between replicas may
    /// get lost, and commands are to be refused.
    pub(crate) fn hear(&self, news: FromPeer) -> Result<(), FromPeer> {
        let bytes = match &news {
            FromPeer::Raft { bytes, .. } => bytes.len(),
            FromPeer::Forward { commands, .. } => commands.size_bytes(),
            // Those answer what this node has asked for, and say what must not be missed.
            _ => 0,
        };
        let mut inbox = self.inbox();
        if bytes > 0 && inbox.peer_bytes > PEER_BYTES {
            return Err(news);
        }
        inbox.peer_bytes += bytes;
        inbox.inputs.from_peers.push(news);
        drop(inbox);
        self.note_work();
        Ok(())
    }

    pub(crate) fn tick(&self) {
        self.ticked.store(true, Ordering::Relaxed);
        self.note_work();
    }

    pub(crate) fn note_work(&self) {
        self.work.store(true, Ordering::Release);
        // Either the holder of the turn sees the work after it has let go, or this thread finds that it
        // has: without a total order, each could miss the other.
        fence(Ordering::SeqCst);
    }

    /// Takes one turn, if no other thread has it, and has `carry_out` deal with what it wants done
    /// before the next one; the responses are for later.
    pub(crate) fn turn(
        &self,
        clock: &SystemClock,
        log: &LogWriter,
        out: &mut Outputs,
        carry_out: impl FnOnce(&mut Outputs, &mut Told),
    ) -> Taken {
        let mut ran = false;
        match self.turn.try_lock() {
            Ok(mut holder) => {
                if self.work.swap(false, Ordering::AcqRel) {
                    self.run(&mut holder, clock, log, out);
                    carry_out(out, &mut holder.told);
                    ran = true;
                }
            }
            Err(TryLockError::WouldBlock) => return Taken::default(),
            Err(TryLockError::Poisoned(_)) => unreachable!("a panic ends the process"),
        }
        // See `note_work`.
        fence(Ordering::SeqCst);
        let more = self.work.load(Ordering::Acquire);
        Taken { ran, more }
    }

    fn run(&self, holder: &mut Holder, clock: &SystemClock, log: &LogWriter, out: &mut Outputs) {
        let Holder {
            turn,
            random,
            inputs,
            ..
        } = holder;
        self.take_inputs(inputs);
        let tick = inputs.tick;
        let mut surroundings = Surroundings {
            cell: self,
            clock,
            log,
            random,
        };
        if turn.run(inputs, &mut surroundings, out) {
            self.note_work();
        }
        self.publish(turn, tick);
    }

    /// Moves what has come in to what was left for later.
    fn take_inputs(&self, inputs: &mut Inputs) {
        inputs.tick = self.ticked.swap(false, Ordering::Relaxed);
        let mut inbox = self.inbox();
        let came = &mut inbox.inputs;
        take(&mut came.requests, &mut inputs.requests);
        take(&mut came.from_peers, &mut inputs.from_peers);
        take(&mut came.orders, &mut inputs.orders);
        if came.long_reads.is_some() {
            inputs.long_reads = came.long_reads.take();
        }
        inbox.peer_bytes = 0;
    }

    /// Tells other threads how the shard stands now.
    fn publish(&self, turn: &Turn, tick: bool) {
        let shard = turn.shard();
        let led = turn.leads();
        let leader = turn.leader();
        let lease_until = shard.map_or(Duration::ZERO, Shard::lease_until);
        self.lease.set(lease_until);
        let lead_changed = self.led.swap(led, Ordering::AcqRel) != led;
        let on_duty = led || turn.owes_answers();
        if self.on_duty.swap(on_duty, Ordering::AcqRel) != on_duty {
            self.duty_changed.notify_waiters();
        }
        let leader_id = leader.map_or(0, |leader| leader.0);
        self.leader.store(leader_id, Ordering::Relaxed);
        self.term
            .store(shard.map_or(0, Shard::term), Ordering::Relaxed);
        self.applied
            .store(shard.map_or(0, Shard::applied), Ordering::Relaxed);
        let serves = match led {
            true => !lease_until.is_zero() || !turn.config().lease,
            false => leader.is_some(),
        };
        if self.serves.swap(serves, Ordering::AcqRel) != serves {
            self.began_to_serve.notify_waiters();
        }
        if tick || lead_changed {
            *lock(&self.replica) = turn.status();
        }
    }

    fn inbox(&self) -> MutexGuard<'_, Inbox> {
        self.inbox.lock().expect("no holder of this lock panics")
    }
}

/// Moves all of `from` to the end of `to`.
fn take<T>(from: &mut Vec<T>, to: &mut Vec<T>) {
    if to.is_empty() {
        std::mem::swap(from, to);
    } else {
        to.append(from);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What a turn reaches.
struct Surroundings<'t> {
    cell: &'t Cell,
    clock: &'t SystemClock,
    log: &'t LogWriter,
    random: &'t mut Random,
}

impl Outside for Surroundings<'_> {
    fn now(&mut self) -> Moment {
        Moment {
            wall: self.clock.now(),
            monotonic: self.clock.monotonic(),
        }
    }

    fn draw(&mut self) -> u64 {
        self.random.draw()
    }

    fn append(&mut self, records: &mut Vec<u8>) -> Result<(LogNumber, bool), WalError> {
        self.log.append(records)
    }

    fn durable(&self) -> LogNumber {
        self.log.durable()
    }

    fn has_room(&self, bytes: usize) -> bool {
        self.log.has_room(bytes)
    }

    fn is_full(&self) -> bool {
        self.log.is_full()
    }

    fn is_congested(&self) -> bool {
        self.log.is_congested()
    }

    fn fail(&mut self, failure: &WalError) {
        self.log.fail(failure);
    }

    fn write_keyspace<R>(&mut self, work: impl FnOnce(&mut Keyspace) -> R) -> R {
        self.cell.change_keyspace(work)
    }

    fn read_keyspace<R>(&mut self, work: impl FnOnce(&Keyspace) -> R) -> R {
        work(&self.cell.keyspace_as_is())
    }
}
