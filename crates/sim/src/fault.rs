//! What goes wrong in a run, as plain data.

use std::time::Duration;

use crate::network::Machine;

/// Machines as the bits of a number: bit 0 is machine 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Machines(pub u16);

impl Machines {
    /// Whether it is among them.
    pub fn has(self, machine: Machine) -> bool {
        self.0 >> machine.0 & 1 == 1
    }
}

/// How a process ends before its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Death {
    /// As by kill -9: the kernel keeps what was written and closes the connections.
    Kill,
    /// As by a power cut: what was not synced is lost or torn, and nobody is told.
    PowerCut,
    /// As by SIGTERM: leadership is handed over first.
    Stop,
}

/// What becomes of a disk before its machine is started again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DiskFate {
    /// Nothing.
    Kept,
    /// It is replaced by an empty one: the node that comes is another one.
    Replaced,
    /// A bit of a synced record of the log flips; once the node has refused to start, the disk is replaced.
    BitFlip,
}

/// The place in the work of a node at which it dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Records were handed to the log, nothing is written yet.
    Handed,
    /// The log was written, not synced.
    Written,
    /// The log was synced, nobody knows.
    Synced,
    /// Some messages of a turn were sent, others not.
    Sent,
    /// A snapshot was put in place, the log does not tell of it yet.
    SnapshotPlaced,
}

/// Something that goes wrong, whole in itself: with its end, where it has one. So any part of a schedule is
/// a schedule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// A process ends and is started again.
    Crash {
        /// Where.
        machine: Machine,
        /// How.
        death: Death,
        /// For how long nothing runs there.
        down: Duration,
        /// What becomes of the disk.
        disk: DiskFate,
    },
    /// As a kill or a power cut, but at the next time that a node gets to that effect.
    CrashAt {
        /// Where.
        machine: Machine,
        /// In the middle of what.
        effect: Effect,
        /// How many times that passes before.
        after: u8,
        /// How: not [`Death::Stop`].
        death: Death,
        /// For how long nothing runs there.
        down: Duration,
    },
    /// A process is stopped as by SIGSTOP and goes on later.
    Pause {
        /// Where.
        machine: Machine,
        /// For how long.
        lasts: Duration,
        /// In the middle of a read: after it was found that it may be served and before it is answered.
        in_read: bool,
    },
    /// Packets from some machines to the others are held.
    Partition {
        /// On the one side.
        side: Machines,
        /// Whether those of the other side still arrive.
        one_way: bool,
        /// For how long.
        lasts: Duration,
    },
    /// All connections between two machines are reset.
    Cut {
        /// One of them.
        one: Machine,
        /// The other.
        other: Machine,
    },
    /// A link is slow, one way.
    SlowLink {
        /// From there.
        from: Machine,
        /// To there.
        to: Machine,
        /// What each packet takes longer.
        more: Duration,
        /// For how long.
        lasts: Duration,
    },
    /// Raft messages, which must bear it, are dropped, sent twice and overtaken.
    Noise {
        /// So many of a thousand are dropped.
        dropped: u16,
        /// So many of a thousand come twice.
        doubled: u16,
        /// So many of a thousand come late.
        late: u16,
        /// For how long.
        lasts: Duration,
    },
    /// Syncs take long.
    SlowDisk {
        /// Where.
        machine: Machine,
        /// How long each takes.
        sync: Duration,
        /// For how long they do.
        lasts: Duration,
    },
    /// The next sync fails: what was pending is lost, and the process must stop at once.
    SyncFails {
        /// Where.
        machine: Machine,
        /// For how long nothing runs there.
        down: Duration,
    },
    /// There is no room on a disk.
    DiskFull {
        /// Where.
        machine: Machine,
        /// For how long.
        lasts: Duration,
    },
    /// A wall clock jumps.
    ClockJump {
        /// Where.
        machine: Machine,
        /// How far ahead.
        millis: i64,
    },
    /// The clocks of a machine run at another rate.
    ClockDrift {
        /// Where.
        machine: Machine,
        /// In parts in a million of the true rate.
        rate: u32,
        /// For how long.
        lasts: Duration,
    },
    /// Snapshots are made of all shards of a node, and the logs cut behind them.
    Snapshot {
        /// Where.
        machine: Machine,
    },
    /// An operator has another node lead a shard.
    Lead {
        /// The shard, modulo the number there is.
        shard: u32,
        /// The node.
        machine: Machine,
    },
    /// An operator moves a replica.
    Move {
        /// The shard, modulo the number there is.
        shard: u32,
        /// From there, if there is one.
        from: Machine,
        /// To there, if there is none.
        to: Machine,
    },
    /// An operator has a node drained, and undrained later.
    Drain {
        /// The node.
        machine: Machine,
        /// For how long.
        lasts: Duration,
    },
    /// A node that was not there before starts and joins.
    Join {
        /// Where.
        machine: Machine,
    },
    /// An operator has a node removed for ever.
    Remove {
        /// The node.
        machine: Machine,
    },
}

impl Fault {
    /// How long it disturbs.
    pub fn lasts(&self) -> Duration {
        match *self {
            Fault::Crash { down, .. }
            | Fault::CrashAt { down, .. }
            | Fault::SyncFails { down, .. } => down,
            Fault::Pause { lasts, .. }
            | Fault::Partition { lasts, .. }
            | Fault::SlowLink { lasts, .. }
            | Fault::Noise { lasts, .. }
            | Fault::SlowDisk { lasts, .. }
            | Fault::DiskFull { lasts, .. }
            | Fault::ClockDrift { lasts, .. }
            | Fault::Drain { lasts, .. } => lasts,
            Fault::Cut { .. }
            | Fault::ClockJump { .. }
            | Fault::Snapshot { .. }
            | Fault::Lead { .. }
            | Fault::Move { .. }
            | Fault::Join { .. }
            | Fault::Remove { .. } => Duration::ZERO,
        }
    }

    /// Whether it takes a disk away for good, so that no two of its kind may come in a row where data is to
    /// be kept.
    pub fn takes_a_disk(&self) -> bool {
        matches!(
            self,
            Fault::Crash {
                disk: DiskFate::Replaced | DiskFate::BitFlip,
                ..
            } | Fault::Remove { .. }
        )
    }
}
