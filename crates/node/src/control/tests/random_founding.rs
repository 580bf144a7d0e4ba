//! Founding with anything going wrong, from many seeds: there are never two clusters, and in the end there
//! is one.

use super::network::Network;
use crate::control::ControlInput;
use crate::control::chance::Chance;

struct Run {
    network: Network,
    chance: Chance,
    seed: u64,
}

impl Run {
    fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.chance.draw() % limit as u64).unwrap()
    }

    fn step(&mut self, may_wipe: bool) {
        let at = self.below(3);
        let other = self.below(3);
        match self.below(100) {
            0..50 => self.message(),
            50..65 => {
                let millis = self.below(1500) as u64;
                self.network.now += std::time::Duration::from_millis(millis);
                self.network.handle(at, ControlInput::Tick);
            }
            65..75 => self.network.connect(at, other),
            75..79 => self.network.disconnect(at, other),
            79..88 if !self.network.is_on(at) => self.network.start_alone(at),
            88..91 => self.network.crash(at),
            // In the middle of what it does next.
            91..95 if self.network.is_on(at) => {
                let after = self.below(12);
                self.network.machines[at].crash_after = Some(after);
            }
            95..97 if may_wipe => self.network.wipe(at),
            97..100 => self.network.tell_status(at),
            _ => {}
        }
        self.network.check();
    }

    /// A message is delivered, in order or not, lost, doubled, or kept back.
    fn message(&mut self) {
        let count = self.network.under_way.len();
        if count == 0 {
            return;
        }
        let chosen = match self.below(4) {
            0 => self.below(count),
            _ => 0,
        };
        match self.below(20) {
            0 => {
                self.network.under_way.remove(chosen);
            }
            1 if count < 200 => {
                let copy = self.network.under_way[chosen].clone();
                self.network.under_way.push_back(copy);
            }
            _ => {
                let message = self.network.under_way.remove(chosen).unwrap();
                self.network.under_way.push_front(message);
                self.network.deliver();
            }
        }
        self.network.under_way.truncate(400);
    }

    /// The faults end, and whoever is told to move a folder away does so.
    fn heal(&mut self) -> bool {
        for _ in 0..6 {
            for at in 0..3 {
                self.network.machines[at].crash_after = None;
                if !self.network.is_on(at) {
                    self.network.start_alone(at);
                }
            }
            self.network.mend();
            self.network.run(5);
            if self.network.all_have_clusters() {
                return true;
            }
            // One after the other, as people do it.
            let told = (0..3).find(|&at| {
                let forming = &self.network.machines[at].forming;
                forming.contains("move its folder away")
            });
            if let Some(at) = told {
                self.network.wipe(at);
            }
        }
        false
    }
}

fn run(seed: u64, may_wipe: bool) {
    let mut run = Run {
        network: Network::new(3, 3),
        chance: Chance::new(seed),
        seed,
    };
    let steps = 50 + run.below(600);
    // A laggard comes late.
    let laggard = run.below(4);
    for step in 0..steps {
        if step < steps / 2 && laggard < 3 {
            run.network.crash(laggard);
        }
        run.step(may_wipe);
    }
    let founded = run.network.clusters();
    let is_one = run.heal();
    // With shard 0 on two wiped disks of three the cluster cannot let anyone in again: that is no fault
    // of founding.
    let forming: Vec<&str> = run
        .network
        .machines
        .iter()
        .map(|machine| machine.forming.as_str())
        .collect();
    let is_beyond_founding = may_wipe && forming.iter().any(|told| told.contains("joining"));
    assert!(
        is_one || is_beyond_founding,
        "seed {}, then {founded:?}: {forming:?}",
        run.seed
    );
}

#[test]
fn crashes_and_lost_messages_make_one_cluster_in_the_end() {
    (0..400).for_each(|seed| run(seed, false));
}

#[test]
fn wiped_disks_never_make_two_clusters() {
    (1_000_000..1_000_800).for_each(|seed| run(seed, true));
}
