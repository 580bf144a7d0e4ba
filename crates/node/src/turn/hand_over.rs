//! Leadership on its way to another replica.
//!
//! While it is, the shard takes no proposals. Requests wait, for it is certain that they were not taken;
//! once the other one leads they go there.

use std::cmp::Reverse;
use std::time::Duration;

use base::ReplicaId;
use meta::Role;
use shard::Shard;

use crate::turn::TurnConfig;

#[derive(Debug, Default)]
pub(super) struct HandOver {
    /// Until then the other has time to take it.
    until: Option<Duration>,
    /// Leadership is not to come back here.
    is_leaving: bool,
}

impl HandOver {
    /// Offers the leadership to that replica, if this one leads.
    pub(super) fn offer(
        &mut self,
        shard: &mut Shard,
        to: ReplicaId,
        config: &TurnConfig,
        now: Duration,
    ) {
        if to == shard.replica() || self.until.is_some() {
            return;
        }
        // It refuses where there is nothing to offer, or nobody to take it: then nothing changes.
        if shard.transfer(to).is_ok() {
            self.until = Some(now + config.election + 2 * config.heartbeat);
        }
    }

    /// Offers it to whoever is furthest, now and later.
    pub(super) fn leave(&mut self, shard: &mut Shard, config: &TurnConfig, now: Duration) {
        self.is_leaving = true;
        if shard.is_leader()
            && let Some(successor) = successor(shard)
        {
            self.offer(shard, successor, config, now);
        }
    }

    /// Time has passed.
    pub(super) fn tick(&mut self, shard: &mut Shard, config: &TurnConfig, now: Duration) {
        if self.until.is_some_and(|until| now >= until) {
            self.until = None;
        }
        if self.is_leaving {
            self.leave(shard, config, now);
        }
    }

    /// The replica is gone.
    pub(super) fn end(&mut self) {
        self.until = None;
    }

    /// Whether leadership was offered and nothing came of it yet.
    pub(super) fn is_under_way(&self) -> bool {
        self.until.is_some()
    }

    /// Whether requests wait for the other replica to lead.
    pub(super) fn holds_requests(&mut self, shard: &Shard, now: Duration) -> bool {
        let has_successor = !shard.is_leader() && shard.leader().is_some();
        if has_successor || self.until.is_none_or(|until| now >= until) {
            self.until = None;
            return false;
        }
        true
    }
}

/// The voter that can take over soonest.
fn successor(shard: &Shard) -> Option<ReplicaId> {
    let is_voter = |replica| {
        let member = shard.membership().get(replica);
        member.is_some_and(|member| member.role == Role::Voter)
    };
    let others = shard.progress().into_iter().filter(|progress| {
        progress.active && progress.replica != shard.replica() && is_voter(progress.replica)
    });
    let furthest = others.max_by_key(|progress| (progress.matched, Reverse(progress.replica)));
    furthest.map(|progress| progress.replica)
}
