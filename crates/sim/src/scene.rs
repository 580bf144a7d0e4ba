//! What all machines of a run share: time, the network, chance, the witness.

use std::collections::BTreeMap;
use std::time::Duration;

use base::{NodeId, ShardId};

use crate::chance::Chance;
use crate::fault::{Death, Effect, Machines};
use crate::history::Outcome;
use crate::invariants::{Violation, Witness};
use crate::network::{Due, EndId, Machine, Network};
use crate::planted::Planted;
use crate::queue::EventQueue;

/// Something that happens at a time. Those that name a process are void once that has ended.
#[derive(Debug)]
pub enum Event {
    /// Something may have arrived at an end of a connection.
    Arrival(EndId),
    /// A connection that a process wanted was made, refused, or timed out.
    Dialled {
        /// Who dialled.
        machine: Machine,
        /// Its process.
        process: u64,
        /// Its number for the attempt.
        dial: usize,
        /// Whom.
        to: Machine,
        /// Whether packets passed; if not, it took too long.
        passed: bool,
    },
    /// Somebody has dialled this machine.
    Accepted {
        /// Which.
        machine: Machine,
        /// The end here.
        end: EndId,
    },
    /// A clock of a process rings.
    Alarm {
        /// Where.
        machine: Machine,
        /// Whose.
        process: u64,
        /// Which alarm; only the last that was set counts.
        number: u64,
    },
    /// A sync of the log has ended.
    Synced {
        /// Where.
        machine: Machine,
        /// Whose.
        process: u64,
    },
    /// A snapshot in the making goes on.
    Making {
        /// Where.
        machine: Machine,
        /// Whose.
        process: u64,
        /// Of which shard.
        shard: ShardId,
    },
    /// Reads that take long are done.
    LongReads {
        /// Where.
        machine: Machine,
        /// Whose.
        process: u64,
        /// Of which shard.
        shard: ShardId,
    },
    /// A Raft message comes late.
    Late {
        /// Where.
        machine: Machine,
        /// For whom.
        process: u64,
        /// Of which shard.
        shard: ShardId,
        /// The node that sent it.
        from: NodeId,
        /// The message.
        bytes: Vec<u8>,
    },
    /// A client's turn to ask has come, maybe.
    Client(u32),
    /// A request reaches a node.
    Request {
        /// Which.
        machine: Machine,
        /// The call.
        call: usize,
    },
    /// An answer reaches a client.
    Answer {
        /// To which call.
        call: usize,
        /// What it says.
        outcome: Outcome,
    },
    /// A client waits no longer.
    GiveUp(usize),
    /// A fault begins.
    Fault(usize),
    /// It ends.
    FaultEnds(usize),
    /// A node is started.
    Start(Machine),
    /// A process that was paused goes on.
    Resume(Machine),
    /// An operator's wish is repeated.
    Wish(usize),
    /// How the cluster does is looked at.
    Look,
}

/// A crash that waits for its moment.
#[derive(Clone, Copy, Debug)]
pub struct CrashAt {
    /// In the middle of what.
    pub effect: Effect,
    /// How many times that passes before.
    pub after: u8,
    /// How.
    pub death: Death,
    /// For how long nothing runs there then.
    pub down: Duration,
}

/// How likely Raft messages go astray now, in a thousand.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoiseLevel {
    /// Never come.
    pub dropped: u16,
    /// Come twice.
    pub doubled: u16,
    /// Come late.
    pub late: u16,
}

/// See the module.
#[derive(Debug)]
pub struct Scene {
    /// What is to happen.
    pub queue: EventQueue<Event>,
    /// The network.
    pub network: Network,
    /// Chance within the run.
    pub chance: Chance,
    /// Who sees everything.
    pub witness: Witness,
    /// The first promise that was broken.
    pub violation: Option<Violation>,
    /// The bug that was planted, if one was.
    pub planted: Option<Planted>,
    /// Where nodes run the [next version](crate::newer).
    pub newer: Machines,
    /// Crashes that wait for their moment.
    pub crashes: BTreeMap<Machine, CrashAt>,
    /// How Raft messages fare.
    pub noise: NoiseLevel,
    /// How long syncs take where disks are slow.
    pub slow_disks: BTreeMap<Machine, Duration>,
    /// How long the process pauses in the middle of its next read.
    pub pauses_in_read: BTreeMap<Machine, Duration>,
    /// What happened, if somebody wants to read it.
    pub trace: Option<Vec<String>>,
    /// Counts processes.
    pub processes: u64,
}

impl Scene {
    /// The true time.
    pub fn now(&self) -> Duration {
        self.queue.now()
    }

    /// Puts an event in, some time from now.
    pub fn after(&mut self, wait: Duration, event: Event) {
        let at = self.now() + wait;
        self.queue.put(at, event);
    }

    /// Has ends of connections looked at.
    pub fn look_at(&mut self, due: impl IntoIterator<Item = Due>) {
        for (at, end) in due {
            self.queue.put(at, Event::Arrival(end));
        }
    }

    /// Notes what happened.
    pub fn note(&mut self, text: impl FnOnce() -> String) {
        let now = self.now();
        if let Some(trace) = &mut self.trace {
            trace.push(format!("{:>10.4} {}", now.as_secs_f64(), text()));
        }
    }

    /// Whether that bug was planted.
    pub fn has(&self, bug: Planted) -> bool {
        self.planted == Some(bug)
    }

    /// Notes a broken promise; only the first counts.
    pub fn judge(&mut self, judged: Result<(), Violation>) {
        if let Err(violation) = judged
            && self.violation.is_none()
        {
            self.note(|| format!("VIOLATED {violation}"));
            self.violation = Some(violation);
        }
    }

    /// A machine gets to an effect; how it dies there, if it does.
    pub fn reach(&mut self, machine: Machine, effect: Effect) -> Option<CrashAt> {
        let crash = self.crashes.get_mut(&machine)?;
        if crash.effect != effect {
            return None;
        }
        if crash.after > 0 {
            crash.after -= 1;
            return None;
        }
        self.crashes.remove(&machine)
    }
}
