//! Which faults a run gets.

use std::time::Duration;

use super::Plan;
use crate::chance::Chance;
use crate::fault::{Death, DiskFate, Effect, Fault, Machines};
use crate::network::Machine;

/// The kinds of faults that a run may mix.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Crashes,
    CrashesAtEffects,
    Pauses,
    Partitions,
    Cuts,
    SlowLinks,
    Noise,
    Disks,
    Clocks,
    Snapshots,
    Membership,
    LostDisks,
    Leaders,
}

const KINDS: [Kind; 13] = [
    Kind::Crashes,
    Kind::CrashesAtEffects,
    Kind::Pauses,
    Kind::Partitions,
    Kind::Cuts,
    Kind::SlowLinks,
    Kind::Noise,
    Kind::Disks,
    Kind::Clocks,
    Kind::Snapshots,
    Kind::Membership,
    Kind::LostDisks,
    Kind::Leaders,
];

/// So long after a machine was asked to lead it is struck.
const STRIKES_AFTER: Duration = Duration::from_secs(1);
/// After a disk is lost, so long no other one is: its node must have been filled again.
const BETWEEN_LOST_DISKS: Duration = Duration::from_secs(15);

/// The faults of a plan that has everything else, in the order of time. Few kinds at a time, as a mix of all
/// hides what two would show.
pub(super) fn of(plan: &Plan) -> Vec<(Duration, Fault)> {
    let mut chance = Chance::of(plan.seed, 3);
    let mut kinds: Vec<Kind> = KINDS
        .into_iter()
        .filter(|_| chance.per_mille(250))
        .collect();
    if kinds.is_empty() {
        kinds.push(*chance.pick(&KINDS));
    }
    let (begin, end) = plan.turmoil;
    let pause = *chance.pick(&[300, 1_000, 3_000]);
    let mut faults: Vec<(Duration, Fault)> = Vec::new();
    for machine in plan.founders..plan.machines {
        let at = chance.between(begin, end);
        let machine = Machine(machine);
        faults.push((at, Fault::Join { machine }));
    }
    let mut at = begin;
    let mut has_removed = false;
    let mut next_disk = begin + chance.millis(0, 6_000);
    loop {
        at += chance.millis(pause / 4, 2 * pause);
        if at >= end {
            break;
        }
        let kind = *chance.pick(&kinds);
        let fault = match kind {
            Kind::Leaders if plan.machines < 3 => continue,
            Kind::Leaders => {
                faults.extend(strike(plan, at, end, &mut chance));
                continue;
            }
            Kind::LostDisks if at < next_disk || plan.machines < 3 => continue,
            Kind::LostDisks => {
                next_disk = at + BETWEEN_LOST_DISKS;
                lost_disk(plan, &mut chance)
            }
            _ => one(plan, kind, &mut chance),
        };
        if let Fault::Remove { .. } = fault {
            // Those that stay are to be enough for three replicas.
            if plan.machines < 4 || std::mem::replace(&mut has_removed, true) {
                continue;
            }
        }
        if at + fault.lasts() <= end {
            faults.push((at, fault));
        }
    }
    faults.sort_by_key(|(at, _)| *at);
    faults
}

fn machine(plan: &Plan, chance: &mut Chance) -> Machine {
    Machine(chance.below(u64::from(plan.machines)) as u8)
}

/// A founder is made to lead, and then it is the leader that meets a fault: what chance alone brings together
/// too rarely.
fn strike(plan: &Plan, at: Duration, end: Duration, chance: &mut Chance) -> Vec<(Duration, Fault)> {
    let first = chance.below(u64::from(plan.founders)) as u8;
    let others = plan.founders.max(3).min(plan.machines);
    let [leader, deaf, helper] = [0, 1, 2].map(|step| Machine((first + step) % others));
    let begins = at + STRIKES_AFTER;
    let lead = Fault::Lead {
        shard: 0,
        machine: leader,
    };
    let mut faults = vec![(at, lead)];
    match chance.below(3) {
        0 => faults.push((
            begins,
            Fault::Partition {
                side: Machines(1 << leader.0),
                one_way: chance.per_mille(200),
                lasts: chance.millis(700, 3_000),
            },
        )),
        1 => faults.push((
            begins,
            Fault::Pause {
                machine: leader,
                lasts: chance.millis(500, 2_500),
                in_read: chance.per_mille(300),
            },
        )),
        // It and one follower do not hear each other, and the other one, on which its lease rests, is
        // started anew.
        _ => {
            let lasts = Duration::from_secs(3);
            for (from, to) in [(leader, deaf), (deaf, leader)] {
                let more = lasts;
                let slow = Fault::SlowLink {
                    from,
                    to,
                    more,
                    lasts,
                };
                faults.push((begins, slow));
            }
            for number in 0..4 {
                let crash = Fault::Crash {
                    machine: helper,
                    death: Death::Kill,
                    down: chance.millis(2, 40),
                    disk: DiskFate::Kept,
                };
                let wait = chance.millis(500 + 500 * number, 900 + 500 * number);
                faults.push((begins + wait, crash));
            }
        }
    }
    faults.retain(|(at, fault)| *at + fault.lasts() <= end);
    faults
}

/// Whether a machine is made to lead and then meets such a fault.
pub(super) fn strikes(faults: &[(Duration, Fault)], is_wanted: impl Fn(&Fault) -> bool) -> bool {
    let hits = |fault: &Fault, leader: Machine| match fault {
        Fault::Partition { side, .. } => *side == Machines(1 << leader.0),
        Fault::Pause { machine, .. } => *machine == leader,
        Fault::SlowLink { from, .. } => *from == leader,
        _ => false,
    };
    faults.iter().any(|(led, fault)| {
        let Fault::Lead { machine, .. } = *fault else {
            return false;
        };
        let mut later = faults.iter().filter(|(at, _)| *at == *led + STRIKES_AFTER);
        later.any(|(_, fault)| is_wanted(fault) && hits(fault, machine))
    })
}

fn lost_disk(plan: &Plan, chance: &mut Chance) -> Fault {
    Fault::Crash {
        machine: machine(plan, chance),
        death: *chance.pick(&[Death::Kill, Death::PowerCut]),
        down: chance.millis(100, 3_000),
        disk: *chance.pick(&[DiskFate::Replaced, DiskFate::BitFlip]),
    }
}

fn one(plan: &Plan, kind: Kind, chance: &mut Chance) -> Fault {
    let machine_of = |chance: &mut Chance| machine(plan, chance);
    let place = machine_of(chance);
    // One or two election timeouts are where things get interesting.
    let short = chance.millis(100, 2_500);
    let long = chance.millis(500, 8_000);
    let death = *chance.pick(&[Death::Kill, Death::PowerCut]);
    match kind {
        Kind::Crashes => Fault::Crash {
            machine: place,
            death: *chance.pick(&[Death::Kill, Death::PowerCut, Death::Stop]),
            down: if chance.per_mille(500) { short } else { long },
            disk: DiskFate::Kept,
        },
        Kind::CrashesAtEffects => Fault::CrashAt {
            machine: place,
            effect: *chance.pick(&[
                Effect::Handed,
                Effect::Written,
                Effect::Synced,
                Effect::Sent,
                Effect::SnapshotPlaced,
            ]),
            after: chance.below(20) as u8,
            death,
            down: short,
        },
        Kind::Pauses => Fault::Pause {
            machine: place,
            lasts: if chance.per_mille(800) { short } else { long },
            in_read: chance.per_mille(300),
        },
        Kind::Partitions => Fault::Partition {
            side: Machines(chance.below(1 << plan.machines) as u16),
            one_way: chance.per_mille(300),
            lasts: if chance.per_mille(600) { short } else { long },
        },
        Kind::Cuts => Fault::Cut {
            one: place,
            other: machine_of(chance),
        },
        Kind::SlowLinks => Fault::SlowLink {
            from: place,
            to: machine_of(chance),
            more: chance.millis(10, 800),
            lasts: long,
        },
        Kind::Noise => Fault::Noise {
            dropped: chance.below(300) as u16,
            doubled: chance.below(200) as u16,
            late: chance.below(300) as u16,
            lasts: long,
        },
        Kind::Disks => match chance.below(3) {
            0 => Fault::SlowDisk {
                machine: place,
                sync: chance.millis(10, 600),
                lasts: long,
            },
            1 => Fault::SyncFails {
                machine: place,
                down: short,
            },
            _ => Fault::DiskFull {
                machine: place,
                lasts: long,
            },
        },
        Kind::Clocks => {
            if chance.per_mille(400) {
                Fault::ClockJump {
                    machine: place,
                    millis: *chance.pick(&[-3_600_000, 3_600_000, -500, 500]),
                }
            } else {
                Fault::ClockDrift {
                    machine: place,
                    // Leases allow for clocks that run half as fast again as others, not for more: so those
                    // of a run are either fast or slow.
                    rate: match (plan.seed.is_multiple_of(2), chance.per_mille(500)) {
                        (true, true) => 1_500_000,
                        (true, false) => 1_100_000,
                        (false, true) => 900_000,
                        (false, false) => 666_667,
                    },
                    lasts: long,
                }
            }
        }
        Kind::Snapshots => Fault::Snapshot { machine: place },
        Kind::Membership => {
            let shard = chance.below(u64::from(plan.shards)) as u32;
            match chance.below(10) {
                0..=2 => Fault::Move {
                    shard,
                    from: place,
                    to: machine_of(chance),
                },
                3..=4 => Fault::Drain {
                    machine: place,
                    lasts: long,
                },
                5 => Fault::Remove { machine: place },
                _ => Fault::Lead {
                    shard,
                    machine: place,
                },
            }
        }
        Kind::LostDisks | Kind::Leaders => unreachable!("they are chosen by themselves"),
    }
}
