//! What must come back by itself once nothing goes wrong any more.

use std::time::Duration;

use base::ShardId;
use meta::Role;

use super::World;
use crate::history::Outcome;
use crate::invariants::{Invariant, state_digest, violated};
use crate::scene::Event;

/// So long after the last fault each shard has a leader.
const LEADER_WITHIN: Duration = Duration::from_secs(3);
/// So long after it all replicas are equal.
const EQUAL_WITHIN: Duration = Duration::from_secs(30);
/// How often that is looked at.
const EVERY: Duration = Duration::from_millis(250);

/// How recovery goes.
#[derive(Debug, Default)]
pub(super) struct Health {
    /// The faults are over.
    is_quiet: bool,
    /// Leaders were looked for in time.
    had_leaders: bool,
}

impl World {
    /// Looks how the cluster does; whether the run is over.
    pub(super) fn look(&mut self) -> bool {
        let now = self.scene.now();
        let quiet_since = self.plan.turmoil.1;
        if !self.health.is_quiet {
            self.health.is_quiet = true;
            self.heal();
        }
        if !self.health.had_leaders && now >= quiet_since + LEADER_WITHIN {
            self.health.had_leaders = true;
            let without = (0..self.plan.shards)
                .map(ShardId)
                .find(|&shard| !self.has_leader(shard));
            if let Some(shard) = without {
                self.scene.judge(violated(
                    Invariant::Liveness,
                    format!(
                        "shard {} has no leader {LEADER_WITHIN:?} after the last fault",
                        shard.0
                    ),
                ));
                return false;
            }
        }
        let is_done = self.health.had_leaders && self.clients.are_done();
        match self.differs() {
            None if is_done => return true,
            Some(what) if now >= quiet_since + EQUAL_WITHIN => {
                self.scene.judge(violated(
                    Invariant::Liveness,
                    format!("{EQUAL_WITHIN:?} after the last fault {what}"),
                ));
                return false;
            }
            _ => {}
        }
        self.scene.after(EVERY, Event::Look);
        false
    }

    fn has_leader(&self, shard: ShardId) -> bool {
        self.sites
            .iter()
            .filter_map(|site| site.process.as_ref()?.shard(shard))
            .any(|(turn, _)| turn.leads())
    }

    /// Why the replicas are not what they should be, if they are not.
    fn differs(&self) -> Option<String> {
        let processes = || self.sites.iter().filter_map(|site| site.process.as_ref());
        for shard in (0..self.plan.shards).map(ShardId) {
            let replicas = || {
                processes().filter_map(move |process| {
                    let (turn, keyspace) = process.shard(shard)?;
                    Some((process, turn.shard()?, keyspace))
                })
            };
            let leaders = replicas().filter(|(_, replica, _)| replica.is_leader());
            let Some((_, leader, state)) = leaders.max_by_key(|(_, replica, _)| replica.term())
            else {
                return Some(format!("shard {} has no leader", shard.0));
            };
            let (applied, digest) = (leader.applied(), state_digest(state));
            if applied != leader.last_index() {
                return Some(format!(
                    "shard {} has entries that are not applied",
                    shard.0
                ));
            }
            for member in leader.membership().members() {
                let found = replicas().find(|(process, replica, _)| {
                    process.identity.node == member.node && replica.replica() == member.replica
                });
                let Some((_, replica, state)) = found else {
                    return Some(format!(
                        "replica {} of shard {} is nowhere",
                        member.replica.0, shard.0
                    ));
                };
                if replica.applied() != applied || state_digest(state) != digest {
                    return Some(format!(
                        "replica {} of shard {} is at entry {}, its leader at {applied}",
                        member.replica.0,
                        shard.0,
                        replica.applied()
                    ));
                }
            }
            let voters = leader.membership().voters().count();
            let usable = self.usable_nodes();
            let wanted = meta::wanted_voters(self.plan.replicas, usable);
            if voters != wanted {
                return Some(format!(
                    "shard {} has {voters} voters, {usable} nodes could have {wanted}",
                    shard.0
                ));
            }
            let learners = leader.membership().members().iter();
            if learners.clone().any(|member| member.role == Role::Learner) {
                return Some(format!("shard {} has a learner still", shard.0));
            }
        }
        None
    }

    /// How many nodes can have replicas.
    fn usable_nodes(&self) -> usize {
        let maps = self
            .sites
            .iter()
            .filter_map(|site| site.process.as_ref()?.map());
        let Some(map) = maps.max_by_key(|map| map.epoch) else {
            return 0;
        };
        map.nodes
            .iter()
            .filter(|(node, entry)| {
                entry.state == meta::NodeState::Member
                    && self.sites.iter().any(|site| {
                        let process = site.process.as_ref();
                        process.is_some_and(|process| process.identity.node == **node)
                    })
            })
            .count()
    }

    /// Once all is well, requests are served.
    pub(super) fn check_service(&mut self, call: usize, outcome: &Outcome) {
        let called = self.history.calls[call].called;
        let machine = self.clients.machines[call];
        let serves = self.sites[machine.index()]
            .process
            .as_ref()
            .is_some_and(|process| process.is_serving() && !process.is_stopping());
        if called < self.plan.turmoil.1 + LEADER_WITHIN || !serves {
            return;
        }
        if !matches!(outcome, Outcome::Answered(..)) {
            self.scene.judge(violated(
                Invariant::Liveness,
                format!(
                    "a request of {:.4}, long after the last fault, ended with {outcome:?}",
                    called.as_secs_f64()
                ),
            ));
        }
    }
}
