//! A cluster, its clients, an operator and what goes wrong, in one thread.
//!
//! 1. [`World::new`] puts all that a [`Plan`] has into the queue of events.
//! 2. [`World::run`] takes one event after the other and hands it to whom it concerns. Time passes between
//!    events alone; an event and all that follows from it at once is one step of one process.
//! 3. When the last fault has ended, the cluster must recover: `health`. Then histories are judged.

mod clients;
mod faults;
mod health;
mod lives;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use base::NodeId;
use wal::testing::MemDisk;

use crate::chance::Chance;
use crate::clock::MachineClock;
use crate::history::{History, Outcome};
use crate::invariants::{Finished, Violation, Witness};
use crate::network::{Delay, EndId, Machine, Network};
use crate::plan::Plan;
use crate::planted::Planted;
use crate::process::peers::address;
use crate::process::{Former, Process, Settings};
use crate::queue::EventQueue;
use crate::scene::{Event, NoiseLevel, Scene};

use self::clients::Clients;
use self::health::Health;

/// A place for a node: clocks, a disk, and maybe a process.
struct Site {
    machine: Machine,
    clock: MachineClock,
    disk: Arc<MemDisk>,
    /// How many disks there were before.
    disks: u32,
    process: Option<Process>,
    /// The node that ran here last.
    node: Option<NodeId>,
    /// A process is stopped as by SIGSTOP, and what happens to it meanwhile.
    paused: Option<Vec<Event>>,
    /// When it goes on; with two pauses at once, after the later one.
    resumes: Duration,
    /// Nothing is ever started here again.
    is_gone: bool,
    /// It is to be started at some time: by a `Start` that is in the queue.
    is_to_start: bool,
    /// Not before that time.
    down_until: Duration,
    /// The power was cut; its peers were not told.
    is_dark: bool,
    /// A bit on the disk flipped: the node may refuse to start.
    is_rotten: bool,
    /// What a planted bug lets the next disk remember.
    former: Option<Former>,
}

/// See the module.
pub struct World {
    plan: Plan,
    settings: Settings,
    scene: Scene,
    sites: Vec<Site>,
    clients: Clients,
    history: History,
    health: Health,
    /// The greatest and the least error of any wall clock at any time, in milliseconds.
    clock_errors: (i64, i64),
    /// Which process was paused or crashed by which fault does not matter; wishes of operators do.
    wishes: BTreeMap<usize, Duration>,
    events: u64,
}

/// A run that broke no promise.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// How much time passed in it.
    pub simulated: Duration,
    /// How many events there were.
    pub events: u64,
    /// How many entries were committed.
    pub committed: u64,
    /// How many operations clients sent, and how they ended.
    pub calls: Calls,
    /// How many histories of keys were judged.
    pub finished: Finished,
    /// A number that two equal runs share.
    pub fingerprint: u64,
}

/// How operations of clients ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Calls {
    /// With an answer.
    pub answered: u64,
    /// Nobody knows.
    pub unknown: u64,
    /// With a refusal that promises that nothing was done.
    pub refused: u64,
}

impl World {
    /// Everything is about to begin.
    pub fn new(plan: Plan, planted: Option<Planted>, traced: bool) -> World {
        let delay = Delay {
            least: plan.delay.0,
            most: plan.delay.1,
        };
        let scene = Scene {
            queue: EventQueue::default(),
            network: Network::new(Chance::of(plan.seed, 10), delay),
            chance: Chance::of(plan.seed, 11),
            witness: Witness::default(),
            violation: None,
            planted,
            newer: plan.newer,
            crashes: BTreeMap::new(),
            noise: NoiseLevel::default(),
            slow_disks: BTreeMap::new(),
            pauses_in_read: BTreeMap::new(),
            trace: traced.then(Vec::new),
            processes: 0,
        };
        let settings = Settings {
            heartbeat: Duration::from_millis(100),
            election: Duration::from_millis(500),
            patience: Duration::from_secs(2),
            down_after: Duration::from_secs(4),
            lease: plan.lease,
            short_read_bytes: match plan.long_reads {
                true => 0,
                false => commands::SHORT_BYTES,
            },
            shards: plan.shards,
            replicas: plan.replicas,
            hosts: (0..plan.founders)
                .map(|number| address(Machine(number)))
                .collect(),
        };
        let mut chance = Chance::of(plan.seed, 12);
        let sites = (0..plan.machines).map(|number| {
            let booted = chance.millis(0, 3_600_000);
            Site {
                machine: Machine(number),
                clock: MachineClock::new(booted, plan.wall_offsets[usize::from(number)]),
                disk: Arc::new(MemDisk::new()),
                disks: 0,
                process: None,
                node: None,
                paused: None,
                resumes: Duration::ZERO,
                is_gone: false,
                is_to_start: false,
                down_until: Duration::ZERO,
                is_dark: false,
                is_rotten: false,
                former: None,
            }
        });
        let mut world = World {
            settings,
            scene,
            sites: sites.collect(),
            clients: Clients::new(&plan),
            history: History::default(),
            health: Health::default(),
            clock_errors: (i64::MIN, i64::MAX),
            wishes: BTreeMap::new(),
            events: 0,
            plan,
        };
        for number in 0..world.plan.founders {
            let wait = chance.millis(0, 1_500);
            world.sites[usize::from(number)].is_to_start = true;
            world.scene.after(wait, Event::Start(Machine(number)));
        }
        for (number, (at, _)) in world.plan.faults.iter().enumerate() {
            world.scene.queue.put(*at, Event::Fault(number));
        }
        world.clients.begin(&mut world.scene);
        world.scene.queue.put(world.plan.turmoil.1, Event::Look);
        world
    }

    /// Runs to the end, or to the first broken promise.
    ///
    /// # Errors
    /// That.
    pub fn run(&mut self) -> Result<Report, Violation> {
        self.note_clocks();
        while let Some(event) = self.scene.queue.take(Duration::MAX) {
            self.events += 1;
            if self.step(event) {
                break;
            }
            if let Some(violation) = self.scene.violation.take() {
                return Err(violation);
            }
        }
        self.note_clocks();
        let error = self.clock_errors.0.saturating_sub(self.clock_errors.1);
        // Clocks show whole milliseconds.
        let error = Duration::from_millis(error.unsigned_abs() + 2);
        let finished = self
            .scene
            .witness
            .finished(&self.history, self.plan.shards, error)?;
        let mut calls = Calls::default();
        for call in &self.history.calls {
            match call.outcome {
                Outcome::Answered(..) => calls.answered += 1,
                Outcome::Unknown => calls.unknown += 1,
                Outcome::NotTaken => calls.refused += 1,
            }
        }
        Ok(Report {
            simulated: self.scene.now(),
            events: self.events,
            committed: self.scene.witness.committed(),
            calls,
            finished,
            fingerprint: self.scene.chance.draw() ^ self.events,
        })
    }

    /// What happened, if the run was traced.
    pub fn trace(&mut self) -> Vec<String> {
        self.scene.trace.take().unwrap_or_default()
    }

    /// What clients did.
    pub fn history(&self) -> &History {
        &self.history
    }

    /// Lets one event happen; whether the run is over.
    fn step(&mut self, event: Event) -> bool {
        match event {
            Event::Arrival(end) => {
                if let Some(machine) = self.scene.network.machine(end) {
                    self.at(machine, event);
                }
            }
            Event::Dialled { machine, .. }
            | Event::Accepted { machine, .. }
            | Event::Alarm { machine, .. }
            | Event::Synced { machine, .. }
            | Event::Making { machine, .. }
            | Event::LongReads { machine, .. }
            | Event::Late { machine, .. } => self.at(machine, event),
            Event::Request { machine, call } => {
                if self.sites[machine.index()].process.is_some() {
                    self.at(machine, event);
                } else {
                    self.answered(call, Outcome::NotTaken);
                }
            }
            Event::Client(client) => self
                .clients
                .next(client, &mut self.history, &mut self.scene),
            Event::Answer { call, outcome } => self.answered(call, outcome),
            Event::GiveUp(call) => self.give_up(call),
            Event::Fault(number) => self.begin_fault(number),
            Event::FaultEnds(number) => self.end_fault(number),
            Event::Start(machine) => self.start(machine),
            Event::Resume(machine) => self.resume(machine),
            Event::Wish(number) => self.wish(number),
            Event::Look => return self.look(),
        }
        false
    }

    /// Something happens to the process of a machine, if that is not stopped.
    fn at(&mut self, machine: Machine, event: Event) {
        let site = &mut self.sites[machine.index()];
        if let Some(stalled) = &mut site.paused {
            stalled.push(event);
            return;
        }
        let Site { process, clock, .. } = site;
        let Some(process) = process else { return };
        let scene = &mut self.scene;
        let is_this = |number| number == process.home.process;
        match event {
            Event::Arrival(end) => process.arrived(end, clock, scene),
            Event::Accepted { end, .. } => process.accepted(end, clock, scene),
            Event::Dialled {
                process: number,
                dial,
                to,
                passed,
                ..
            } if is_this(number) => self.dialled(machine, dial, to, passed),
            Event::Alarm {
                process: number,
                number: alarm,
                ..
            } if is_this(number) => process.rings(alarm, clock, scene),
            Event::Synced {
                process: number, ..
            } if is_this(number) => process.synced(clock, scene),
            Event::Making {
                process: number,
                shard,
                ..
            } if is_this(number) => process.make(shard, clock, scene),
            Event::LongReads {
                process: number,
                shard,
                ..
            } if is_this(number) => process.run_long_reads(shard, clock, scene),
            Event::Late {
                process: number,
                shard,
                from,
                bytes,
                ..
            } if is_this(number) => process.late(shard, from, bytes, clock, scene),
            Event::Request { call, .. } => {
                let asked = &self.history.calls[call];
                process.request(call, asked.key, asked.op, clock, scene);
            }
            _ => {}
        }
        self.after_step(machine);
    }

    /// A connection that a process wanted is made now, or not.
    fn dialled(&mut self, machine: Machine, dial: usize, to: Machine, passed: bool) {
        let there = self.sites.get(to.index());
        let listens = there.is_some_and(|there| there.process.is_some());
        let end: Option<EndId> =
            (passed && listens).then(|| self.scene.network.connect(machine, to));
        if let Some(end) = end {
            let accepted = Event::Accepted {
                machine: to,
                end: end.other(),
            };
            self.scene.after(Duration::ZERO, accepted);
        }
        let Site { process, clock, .. } = &mut self.sites[machine.index()];
        if let Some(process) = process {
            process.dialled(dial, end, clock, &mut self.scene);
        }
    }

    /// What a step of a process may have led to: a pause, or its end.
    fn after_step(&mut self, machine: Machine) {
        let site = &mut self.sites[machine.index()];
        let Some(process) = &mut site.process else {
            return;
        };
        let paused = std::mem::take(&mut process.paused);
        if let Some(doom) = process.doom.take() {
            self.end_process(machine, &doom);
        } else if paused > Duration::ZERO {
            self.pause(machine, paused);
        }
    }

    /// Wall clocks may be this far off now.
    fn note_clocks(&mut self) {
        let now = self.scene.now();
        for site in &self.sites {
            let error = site.clock.error_millis(now);
            self.clock_errors.0 = self.clock_errors.0.max(error);
            self.clock_errors.1 = self.clock_errors.1.min(error);
        }
    }
}
