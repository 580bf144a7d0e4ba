//! A run before it begins: who is there, what clients will ask, what will go wrong. All of it is plain
//! data that follows from a seed, so that a run can be repeated with parts of it left out.

use std::time::Duration;

use crate::chance::Chance;
use crate::fault::{Fault, Machines};
use crate::network::Machine;
use crate::op::Op;

mod faults;

/// Everything about a run that is decided beforehand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// What the rest follows from, and the chances within the run.
    pub seed: u64,
    /// How many machines found the cluster.
    pub founders: u8,
    /// How many machines there are, with those that join later.
    pub machines: u8,
    /// How many shards.
    pub shards: u32,
    /// How many voters a shard should have.
    pub replicas: u32,
    /// Whether reads are served under a lease.
    pub lease: bool,
    /// Whether every read that a shard is asked for takes long.
    pub long_reads: bool,
    /// Where nodes run the [next version](crate::newer).
    pub newer: Machines,
    /// How many keys clients use.
    pub keys: u8,
    /// How long the least delay of a packet is, and the most.
    pub delay: (Duration, Duration),
    /// How far the wall clock of each machine is off at the start, in milliseconds.
    pub wall_offsets: Vec<i64>,
    /// When faults may begin and until when the last one ends: then everything is healed.
    pub turmoil: (Duration, Duration),
    /// What goes wrong and when, in the order of time.
    pub faults: Vec<(Duration, Fault)>,
    /// What clients ask for, in the order of time.
    pub requests: Vec<PlannedRequest>,
}

/// Something that a client will ask for, as soon as the time has come and its request before was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlannedRequest {
    /// Not before.
    pub at: Duration,
    /// Who.
    pub client: u32,
    /// Through which node.
    pub machine: Machine,
    /// Which key.
    pub key: u8,
    /// What.
    pub op: Op,
}

/// How clients of a run behave.
const CLIENTS: u64 = 5;
/// When the founders have had time to meet.
const SETTLED: Duration = Duration::from_secs(3);

impl Plan {
    /// The plan of that seed.
    pub fn of(seed: u64) -> Plan {
        let mut chance = Chance::of(seed, 1);
        let founders = *chance.pick(&[1, 2, 3, 3, 3, 3, 3, 3, 3, 3, 4, 5, 5, 7]);
        let joining = *chance.pick(&[0, 0, 0, 1, 1, 2]);
        let machines = founders + joining;
        let shards = *chance.pick(&[1, 1, 1, 1, 2, 3]);
        let replicas = *chance.pick(&[3, 3, 3, 3, 5, 1]);
        let most = *chance.pick(&[1, 1, 5, 20]);
        let lasts = chance.millis(5_000, 25_000);
        let mut plan = Plan {
            seed,
            founders,
            machines,
            shards,
            replicas,
            lease: chance.per_mille(850),
            long_reads: Chance::of(seed, 5).per_mille(150),
            newer: newer(seed),
            keys: *chance.pick(&[1, 2, 4]),
            delay: (Duration::from_micros(50), Duration::from_millis(most)),
            wall_offsets: (0..machines)
                .map(|_| chance.below(400) as i64 - 200)
                .collect(),
            turmoil: (SETTLED, SETTLED + lasts),
            faults: Vec::new(),
            requests: Vec::new(),
        };
        plan.faults = faults::of(&plan);
        if plan.is_tight() {
            plan.keys = 1;
        }
        plan.requests = plan.requests();
        plan
    }

    /// How long before the end of the faults clients go on after it.
    pub fn quiet_end(&self) -> Duration {
        self.turmoil.1 + Duration::from_secs(8)
    }

    /// Whether a machine is made to lead and then meets a fault of that kind.
    pub fn strikes_leader(&self, is_wanted: impl Fn(&Fault) -> bool) -> bool {
        faults::strikes(&self.faults, is_wanted)
    }

    /// Whether it is about what is over so soon that only who asks all the time sees it.
    fn is_tight(&self) -> bool {
        self.strikes_leader(|_| true)
    }

    fn requests(&self) -> Vec<PlannedRequest> {
        let mut chance = Chance::of(self.seed, 2);
        let mut requests = Vec::new();
        let is_tight = self.is_tight();
        let clients = match is_tight {
            true => CLIENTS as u32,
            false => 2 + chance.below(CLIENTS - 1) as u32,
        };
        // Those that read much find stale reads, those that write much find lost writes.
        let reads = *chance.pick(&[200, 500, 800]);
        let expiring = chance.per_mille(300);
        let mut value = 100;
        for client in 0..clients {
            let mut at = Duration::from_secs(1);
            // Some are slow: they ask a node that hangs when others have long gone on elsewhere.
            let least = match is_tight {
                true => *chance.pick(&[10_u64, 10, 20, 100]),
                false => *chance.pick(&[10, 40, 40, 150, 600]),
            };
            let machine =
                |chance: &mut Chance| Machine(chance.below(u64::from(self.machines)) as u8);
            // Most keep to one node.
            let home = chance.per_mille(600).then(|| machine(&mut chance));
            while at < self.quiet_end() {
                at += chance.millis(least, 8 * least);
                value += 1;
                let op = if chance.per_mille(reads) {
                    Op::Get
                } else {
                    write(&mut chance, value, expiring)
                };
                requests.push(PlannedRequest {
                    at,
                    client,
                    machine: home.unwrap_or_else(|| machine(&mut chance)),
                    key: chance.below(u64::from(self.keys)) as u8,
                    op,
                });
            }
        }
        requests.sort_by_key(|request| (request.at, request.client));
        requests
    }
}

/// In one run of five, as an upgrade goes on. The first machine stays behind: once all nodes are newer, none of
/// this version may join.
fn newer(seed: u64) -> Machines {
    let mut chance = Chance::of(seed, 4);
    match chance.per_mille(200) {
        true => Machines(chance.draw() as u16 & !1),
        false => Machines(0),
    }
}

fn write(chance: &mut Chance, value: u64, expiring: bool) -> Op {
    let ttl = chance.below(3_000) as u32 + 50;
    match chance.below(if expiring { 14 } else { 11 }) {
        0..=3 => Op::Set(value),
        4..=6 => Op::Incr,
        7 => Op::Append(value),
        8 => Op::GetSet(value),
        9 => Op::SetNx(value),
        10 => Op::Del,
        11 | 12 => Op::SetPx(value, ttl),
        _ => Op::PExpire(ttl),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_follows_from_its_seed_and_values_are_never_shared() {
        for seed in 0..50 {
            let plan = Plan::of(seed);
            assert_eq!(plan, Plan::of(seed));
            let mut values: Vec<u64> = plan
                .requests
                .iter()
                .filter_map(|request| request.op.value())
                .collect();
            let count = values.len();
            values.sort_unstable();
            values.dedup();
            assert_eq!(values.len(), count);
            assert!(
                plan.faults
                    .iter()
                    .all(|(at, fault)| *at + fault.lasts() <= plan.turmoil.1)
            );
        }
    }
}
