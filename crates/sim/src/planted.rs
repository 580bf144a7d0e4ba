//! Bugs that are planted to see that they are found.
//!
//! None of them is in what ships, nor is a switch for one: the simulated world around a node misbehaves
//! in the way in which the bug would show. A disk that lies about what is durable stands for a node that
//! does not wait for it; a network that delivers forwarded commands twice for a node that retries
//! them.

use crate::fault::{Death, Fault};
use crate::plan::Plan;

/// A bug.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Planted {
    /// Records count as durable as soon as they are handed over: acknowledged before a majority synced.
    DurableTooSoon,
    /// Votes never reach the disk: a node that starts votes again in the same term.
    LostVotes,
    /// A node that starts believes that it has been silent for long: it votes at once, whatever lease
    /// it helped to hold before.
    VotesAtOnce,
    /// Two entries of one append change places on their way to the disk: applied out of order after a start.
    SwappedEntries,
    /// A torn record at the end of the log is taken as if it were whole.
    TornRecord,
    /// Forwarded commands are sent again, although the first time may have arrived.
    RetriedForward,
    /// A node whose disk was replaced comes back under its old identity, with its old replicas, empty.
    ReusedIdentity,
    /// Reads are served by whoever led at the last turn, without a look at the lease.
    ReadWithoutLease,
    /// Whether reads may be served is noted down after each turn, and that note is relied upon however much
    /// later.
    LeaseAsFlag,
    /// The monotonic clock of a leader stands still for the sake of leases.
    LeaseOnStaleClock,
    /// A received snapshot's place in the log is taken over, its content is not.
    SnapshotWithoutContent,
    /// What has an unknown outcome is told to be certain to have had no effect.
    UncertainToldAsRefused,
    /// Reads judge expiry by a clock that is ahead of that of the stamps.
    ExpiryByOtherClock,
    /// A node founds without waiting for the other hosts.
    FoundsAlone,
    /// Now and then the last entry of an append is dropped on its way to the disk, and counts as durable.
    LostTail,
    /// The pieces of a snapshot are not taken in by who asked for them.
    LostPieces,
    /// The file that tells a node who it is was put in place and the folder was not synced.
    UnsyncedIdentity,
}

impl Planted {
    /// All of them.
    pub const ALL: [Planted; 17] = [
        Planted::DurableTooSoon,
        Planted::LostVotes,
        Planted::VotesAtOnce,
        Planted::SwappedEntries,
        Planted::TornRecord,
        Planted::RetriedForward,
        Planted::ReusedIdentity,
        Planted::ReadWithoutLease,
        Planted::LeaseAsFlag,
        Planted::LeaseOnStaleClock,
        Planted::SnapshotWithoutContent,
        Planted::UncertainToldAsRefused,
        Planted::ExpiryByOtherClock,
        Planted::FoundsAlone,
        Planted::LostTail,
        Planted::LostPieces,
        Planted::UnsyncedIdentity,
    ];

    /// Whether a run of that plan could show the bug at all; others need not be tried.
    pub fn may_show(self, plan: &Plan) -> bool {
        let has = |wanted: fn(&Fault) -> bool| plan.faults.iter().any(|(_, fault)| wanted(fault));
        let crashes = |fault: &Fault| {
            matches!(
                fault,
                Fault::Crash { .. } | Fault::CrashAt { .. } | Fault::SyncFails { .. }
            )
        };
        let cuts_power = |fault: &Fault| {
            matches!(
                fault,
                Fault::Crash {
                    death: Death::PowerCut,
                    ..
                } | Fault::CrashAt {
                    death: Death::PowerCut,
                    ..
                }
            )
        };
        let is_link = |fault: &Fault| matches!(fault, Fault::SlowLink { .. });
        let is_pause = |fault: &Fault| matches!(fault, Fault::Pause { .. });
        let is_partition = |fault: &Fault| matches!(fault, Fault::Partition { .. });
        let several = plan.founders > 2;
        match self {
            Planted::DurableTooSoon | Planted::TornRecord | Planted::UnsyncedIdentity => {
                has(cuts_power)
            }
            Planted::LostVotes | Planted::SwappedEntries | Planted::LostTail => has(crashes),
            Planted::VotesAtOnce => several && plan.lease && plan.strikes_leader(is_link),
            Planted::RetriedForward => several,
            Planted::ReusedIdentity => several && has(|fault| fault.takes_a_disk()),
            Planted::ReadWithoutLease => {
                several && plan.strikes_leader(|fault| is_partition(fault) || is_pause(fault))
            }
            Planted::LeaseAsFlag => several && plan.lease && plan.strikes_leader(is_pause),
            Planted::LeaseOnStaleClock => {
                several && plan.lease && plan.strikes_leader(is_partition)
            }
            Planted::SnapshotWithoutContent | Planted::LostPieces => several,
            Planted::UncertainToldAsRefused => several && has(crashes),
            Planted::ExpiryByOtherClock => {
                several
                    && plan
                        .requests
                        .iter()
                        .any(|request| request.op.ttl().is_some())
            }
            Planted::FoundsAlone => plan.founders > 1,
        }
    }
}
