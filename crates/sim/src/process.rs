//! One run of a node: the parts that ship, driven by the simulated world instead of threads, sockets and
//! clocks. What `cluster` does with threads and locks is done here one after the other.

pub mod log;
mod mail;
mod orders;
mod outside;
pub mod peers;
mod requests;
mod snapshots;
mod start;
mod turns;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use base::{Moment, NodeId, ShardId};
use keyspace::Keyspace;
use node::{Control, ControlInput, FromPeer, HostView, Inputs, Order, Outputs, Turn};
use shard::{LongReads, Ticket};
use wal::Identity;
use wal::testing::MemDisk;

use self::log::{NodeLog, Written};
use self::peers::Peers;
use self::snapshots::Transfers;
use crate::chance::Chance;
use crate::clock::MachineClock;
use crate::fault::{Death, Effect};
use crate::invariants::Home;
use crate::scene::{CrashAt, Event, Scene};

pub use self::start::{Former, StartError, Starting, files, forget_identity, take_torn_record};

/// Settings that all nodes of a run share.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Between two heartbeats.
    pub heartbeat: Duration,
    /// The least election timeout.
    pub election: Duration,
    /// How long requests wait for a leader.
    pub patience: Duration,
    /// After how long a node that is gone is replaced.
    pub down_after: Duration,
    /// Whether reads are served under a lease.
    pub lease: bool,
    /// Reads that may look at more run elsewhere.
    pub short_read_bytes: usize,
    /// How many shards a founder makes.
    pub shards: u32,
    /// How many voters they should have.
    pub replicas: u32,
    /// The founders.
    pub hosts: Vec<peer::HostAddr>,
}

impl Settings {
    /// What requests of one shard may take that wait.
    pub const FORWARD_LIMIT_BYTES: usize = 1 << 20;
    /// Small, so that runs turn many.
    pub const SEGMENT_BYTES: u64 = 16 << 10;
    /// With a larger log, a snapshot is made.
    pub const LOG_BYTES: u64 = 96 << 10;
    /// What is kept of a log for a replica that is being filled.
    pub const CATCH_UP_BYTES: usize = 16 << 10;
}

/// One shard on a node.
struct ShardHost {
    turn: Turn,
    inputs: Inputs,
    keyspace: Keyspace,
    is_due: bool,
    /// Under way elsewhere.
    long_reads: Option<LongReads>,
    /// As of the last turn: until then reads may be served at once.
    lease_until: Duration,
}

/// See the module.
pub struct Process {
    /// Where, and which of all processes of the run.
    pub home: Home,
    /// Of the data folder.
    pub identity: Identity,
    disk: Arc<MemDisk>,
    settings: Settings,
    chance: Chance,
    peers: Peers,
    control: Control,
    log: Option<NodeLog>,
    shards: BTreeMap<ShardId, ShardHost>,
    transfers: Option<Transfers>,
    /// How many shards the cluster has, once that is known.
    shard_count: Option<u32>,
    control_inputs: VecDeque<ControlInput>,
    hosts_told: Vec<HostView>,
    clusters_told: BTreeSet<(NodeId, base::ClusterId)>,
    /// The number of the hub's last change that control was told of.
    changes_told: Option<u64>,
    next_tick: Duration,
    next_status: Duration,
    status_is_due: bool,
    idle_since: Option<Duration>,
    retry_log: Option<Duration>,
    alarm: Option<(Duration, u64)>,
    alarms: u64,
    /// Since when it is to stop, if it is.
    stopping: Option<Duration>,
    /// How it dies, once it is to die.
    pub doom: Option<Doom>,
    /// Calls of clients that wait here.
    pub waiting: BTreeSet<usize>,
    /// How long it was stopped in the middle of what it did last.
    pub paused: Duration,
    /// What came of the turn in the middle of which it was stopped: nobody hears of it before it goes on.
    halted: Option<(ShardId, Outputs)>,
}

/// The end of a process that is to end now.
#[derive(Clone, Debug)]
pub struct Doom {
    /// How.
    pub death: Death,
    /// For how long nothing runs there then; as long as the fault says that brought it about, if `None`.
    pub down: Option<Duration>,
    /// It is never to be started again.
    pub for_ever: bool,
    /// For people.
    pub why: String,
}

/// After so long without writes the log notes that all is durable.
const IDLE: Duration = Duration::from_millis(20);
const SECOND: Duration = Duration::from_secs(1);
const RETRY_LOG: Duration = Duration::from_millis(100);
/// A node that is to stop waits so long for others to lead.
const STOP_PATIENCE: Duration = Duration::from_secs(1);

impl Process {
    /// Whether it serves clients.
    pub fn is_serving(&self) -> bool {
        self.log.is_some() && self.shard_count.is_some()
    }

    /// Whether it was told to stop.
    pub fn is_stopping(&self) -> bool {
        self.stopping.is_some()
    }

    /// How many shards it knows of.
    pub fn shard_count(&self) -> Option<u32> {
        self.shard_count
    }

    /// The turn of a shard and the state of its replica.
    pub fn shard(&self, shard: ShardId) -> Option<(&Turn, &Keyspace)> {
        let host = self.shards.get(&shard)?;
        Some((&host.turn, &host.keyspace))
    }

    /// All replicas.
    pub fn replicas(&self) -> impl Iterator<Item = (&shard::Shard, &Keyspace)> {
        self.shards
            .values()
            .filter_map(|host| Some((host.turn.shard()?, &host.keyspace)))
    }

    /// The map as this node knows it.
    pub fn map(&self) -> Option<&meta::ClusterMap> {
        self.control.map()
    }

    /// Whether the disk says of all that is in the log that it is durable.
    pub fn log_is_settled(&self) -> bool {
        self.log.as_ref().is_some_and(NodeLog::is_settled)
    }

    /// A connection was made or not.
    pub fn dialled(
        &mut self,
        dial: usize,
        end: Option<crate::network::EndId>,
        clock: &MachineClock,
        scene: &mut Scene,
    ) {
        self.peers.dialled(dial, end, clock.moment(scene.now()));
        self.work(clock, scene);
    }

    /// Somebody has dialled this node.
    pub fn accepted(
        &mut self,
        end: crate::network::EndId,
        clock: &MachineClock,
        scene: &mut Scene,
    ) {
        let now = clock.moment(scene.now());
        self.peers.accept(end, now);
        self.peers.arrived(end, now, scene);
        self.work(clock, scene);
    }

    /// Something may have arrived.
    pub fn arrived(&mut self, end: crate::network::EndId, clock: &MachineClock, scene: &mut Scene) {
        if !self.peers.has(end) {
            return;
        }
        let now = clock.moment(scene.now());
        self.peers.arrived(end, now, scene);
        self.peers.run(now, scene);
        // Most of what arrives is pings, which concern nobody else.
        if !self.peers.events.is_empty() || self.changes_told != Some(self.peers.hub().changes()) {
            self.work(clock, scene);
        }
    }

    /// A clock rings.
    pub fn rings(&mut self, number: u64, clock: &MachineClock, scene: &mut Scene) {
        if self.alarm.is_some_and(|(_, set)| set == number) {
            self.alarm = None;
            self.work(clock, scene);
        }
    }

    /// The clock of the machine runs at another rate: alarms are set anew.
    pub fn clock_changed(&mut self, clock: &MachineClock, scene: &mut Scene) {
        self.alarm = None;
        self.set_alarm(clock, scene);
    }

    /// A sync has taken its time.
    pub fn synced(&mut self, clock: &MachineClock, scene: &mut Scene) {
        let Some(log) = &mut self.log else { return };
        let records = log.sync();
        if let Some(records) = records {
            if let Some(crash) = scene.reach(self.home.machine, Effect::Synced) {
                scene.witness.durable(&records);
                return self.die_at(crash);
            }
            scene.witness.durable(&records);
            for host in self.shards.values_mut() {
                host.is_due = true;
            }
        }
        self.work(clock, scene);
    }

    /// A Raft message comes late.
    pub fn late(
        &mut self,
        shard: ShardId,
        from: NodeId,
        bytes: Vec<u8>,
        clock: &MachineClock,
        scene: &mut Scene,
    ) {
        self.hear(shard, FromPeer::Raft { from, bytes });
        self.work(clock, scene);
    }

    /// An operator asks.
    pub fn admin(&mut self, command: node::AdminCommand, clock: &MachineClock, scene: &mut Scene) {
        let ticket = Ticket(self.chance.draw() >> 1);
        self.control_inputs
            .push_back(ControlInput::Admin { ticket, command });
        self.work(clock, scene);
    }

    /// As SIGTERM: leadership is handed over, then the process ends.
    pub fn stop(&mut self, clock: &MachineClock, scene: &mut Scene) {
        let now = clock.monotonic(scene.now());
        self.stopping = Some(now);
        for host in self.shards.values_mut() {
            host.inputs.orders.push(Order::HandOver);
            host.is_due = true;
        }
        self.work(clock, scene);
    }

    /// The orderly part of the end of a process.
    pub fn say_goodbye(&mut self, clock: &MachineClock, scene: &mut Scene) {
        self.peers.stop(clock.moment(scene.now()), scene);
        if let Some(log) = self.log.take() {
            log.close();
        }
    }

    fn die_at(&mut self, crash: CrashAt) {
        self.doom = Some(Doom {
            death: crash.death,
            down: Some(crash.down),
            for_ever: false,
            why: format!("at {:?}", crash.effect),
        });
    }

    /// What the disk would lose, for planted bugs.
    pub fn unsynced(&self) -> Option<&[u8]> {
        self.log.as_ref()?.unsynced()
    }

    fn host(&mut self, shard: ShardId) -> &mut ShardHost {
        if !self.shards.contains_key(&shard) {
            let turn = Turn::new(self.turn_config(shard));
            self.add_shard(shard, turn, Keyspace::new(0));
        }
        self.shards.get_mut(&shard).expect("it was just added")
    }

    fn add_shard(&mut self, shard: ShardId, turn: Turn, keyspace: Keyspace) {
        let host = ShardHost {
            turn,
            inputs: Inputs::default(),
            keyspace,
            is_due: true,
            long_reads: None,
            lease_until: Duration::ZERO,
        };
        self.shards.insert(shard, host);
    }

    fn turn_config(&self, shard: ShardId) -> node::TurnConfig {
        node::TurnConfig {
            shard,
            node: self.identity.node,
            patience: self.settings.patience,
            short_read_bytes: self.settings.short_read_bytes,
            heartbeat: self.settings.heartbeat,
            election: self.settings.election,
            lease: self.settings.lease,
            hash_seed: 0,
            forward_limit_bytes: Settings::FORWARD_LIMIT_BYTES,
            catch_up_bytes: Settings::CATCH_UP_BYTES,
        }
    }

    fn hear(&mut self, shard: ShardId, news: FromPeer) {
        let host = self.host(shard);
        host.inputs.from_peers.push(news);
        host.is_due = true;
    }

    /// Does all that is to be done now.
    fn work(&mut self, clock: &MachineClock, scene: &mut Scene) {
        let now = clock.moment(scene.now());
        if let Some((shard, out)) = self.halted.take() {
            self.hand_out(shard, out, scene);
        }
        self.pass_time(now, scene);
        loop {
            self.peers.run(now, scene);
            self.tell_hosts();
            let mut is_busy = false;
            while let Some(event) = self.peers.events.pop_front() {
                self.hear_peer(event, scene);
                is_busy = true;
            }
            while let Some(input) = self.control_inputs.pop_front() {
                self.control(input, clock, scene);
                is_busy = true;
                if self.doom.is_some() {
                    return;
                }
            }
            let due: Vec<ShardId> = self
                .shards
                .iter()
                .filter(|(_, host)| host.is_due)
                .map(|(&shard, _)| shard)
                .collect();
            for shard in due {
                self.turn(shard, clock, scene);
                is_busy = true;
                if self.halted.is_some() {
                    return self.set_alarm(clock, scene);
                }
                if self.doom.is_some() {
                    return;
                }
            }
            self.move_snapshots(now, scene);
            self.write_log(now, scene);
            if self.doom.is_some() {
                return;
            }
            if !is_busy {
                break;
            }
        }
        if let Some(since) = self.stopping {
            let leads = self.shards.values().any(|host| host.turn.leads());
            if !leads || now.monotonic >= since + STOP_PATIENCE {
                self.doom = Some(Doom {
                    death: Death::Stop,
                    down: None,
                    for_ever: false,
                    why: "stopped".into(),
                });
                return;
            }
        }
        self.set_alarm(clock, scene);
    }

    fn pass_time(&mut self, now: Moment, scene: &mut Scene) {
        if now.monotonic >= self.next_tick {
            // As a timer that is late: it does not ring twice at once.
            self.next_tick = now.monotonic + self.settings.heartbeat / 2;
            for host in self.shards.values_mut() {
                host.inputs.tick = true;
                host.is_due = true;
            }
            self.control_inputs.push_back(ControlInput::Tick);
        }
        if now.monotonic >= self.next_status || self.status_is_due {
            if now.monotonic >= self.next_status {
                self.next_status = now.monotonic + SECOND;
                let known = self.peers.hub().directory().statuses().into_iter();
                let trips = known.filter_map(|peer| Some((peer.node_id, peer.rtt?)));
                self.control_inputs
                    .push_back(ControlInput::RoundTrips(trips.collect()));
                self.look_at_log_size(scene);
                if let Some(log) = self.log.as_mut().filter(|log| log.is_full()) {
                    log.keep_up();
                }
            }
            self.status_is_due = false;
            if self.log.is_some() {
                let status = self.status();
                self.control_inputs.push_back(ControlInput::Status(status));
            }
        }
    }

    fn write_log(&mut self, now: Moment, scene: &mut Scene) {
        let machine = self.home.machine;
        let Some(log) = &mut self.log else { return };
        if let Some(why) = log.failure() {
            self.doom = Some(Doom {
                death: Death::Kill,
                down: None,
                for_ever: false,
                why: why.to_owned(),
            });
            return;
        }
        let waits = self.retry_log.is_some_and(|at| now.monotonic < at);
        if !log.is_due() || waits {
            if log.is_settled() || log.is_due() {
                self.idle_since = None;
            } else {
                let since = *self.idle_since.get_or_insert(now.monotonic);
                if now.monotonic >= since + IDLE {
                    log.mark();
                    self.idle_since = None;
                }
            }
            return;
        }
        self.idle_since = None;
        self.retry_log = None;
        if let Some(crash) = scene.reach(machine, Effect::Handed) {
            return self.die_at(crash);
        }
        match log.write() {
            Written::Nothing => {}
            Written::NoRoom => self.retry_log = Some(now.monotonic + RETRY_LOG),
            Written::Yes => {
                if let Some(crash) = scene.reach(machine, Effect::Written) {
                    return self.die_at(crash);
                }
                let slow = scene.slow_disks.get(&machine).copied();
                let takes = slow.unwrap_or_else(|| {
                    let (least, most) = (Duration::from_micros(200), Duration::from_millis(4));
                    scene.chance.between(least, most)
                });
                let process = self.home.process;
                scene.after(takes, Event::Synced { machine, process });
            }
        }
    }

    fn set_alarm(&mut self, clock: &MachineClock, scene: &mut Scene) {
        let mut at = self.next_tick.min(self.next_status);
        let others = [
            Some(self.peers.deadline()),
            self.idle_since.map(|since| since + IDLE),
            self.retry_log,
            self.transfers.as_ref().and_then(Transfers::due),
        ];
        for other in others.into_iter().flatten() {
            at = at.min(other);
        }
        let is_due = self.shards.values().any(|host| host.is_due) && self.log.is_some();
        let has_more = is_due || self.halted.is_some();
        // Time must pass, or two that are due at once would never end.
        let soonest = clock.monotonic(scene.now()) + Duration::from_micros(50);
        at = if has_more { soonest } else { at.max(soonest) };
        if self.alarm.is_some_and(|(set, _)| set <= at) {
            return;
        }
        self.alarms += 1;
        self.alarm = Some((at, self.alarms));
        let when = clock.when(at);
        let event = Event::Alarm {
            machine: self.home.machine,
            process: self.home.process,
            number: self.alarms,
        };
        scene.queue.put(when, event);
    }
}
