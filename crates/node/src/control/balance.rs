//! What the leader of shard 0 has done: the balancer's steps, and changes of the map.

use std::collections::BTreeMap;
use std::time::Duration;

use base::{NodeId, ShardId};
use meta::{
    Change, Move, NodeState, NodeStatus, Observed, ObservedShard, Outcome, PlanConfig, Rejected,
    Step, plan,
};
use shard::{Refusal, Ticket};

use super::action::{Action, ShardOrder};
use super::message::Message;
use super::{Control, META, SECOND};

/// So long a change may be under way before it is ordered again.
const CHANGE_PATIENCE: Duration = Duration::from_secs(5);
/// How many changes may be under way. A step that would be one more comes again.
const CHANGES_MAX: usize = 256;
/// So long after it was wanted last a move is forgotten.
const MOVE_PATIENCE: Duration = Duration::from_secs(15);
/// A node that was silent for so long, and at whose address another one is, does not come back.
const TAKEN_OVER_AFTER: Duration = Duration::from_secs(10);

/// Why a change was ordered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// It is part of what the balancer or an operator wants.
    Plan,
    /// A node joins. Should it be rejected, `answer_to` is told.
    Join { node: NodeId, answer_to: NodeId },
}

#[derive(Debug)]
struct UnderWay {
    change: Change,
    purpose: Purpose,
    until: Duration,
}

/// What is under way here.
#[derive(Debug, Default)]
pub(super) struct Balancer {
    changes: BTreeMap<u64, UnderWay>,
    next_ticket: u64,
    moves: BTreeMap<ShardId, (Move, Duration)>,
}

impl Balancer {
    /// An operator wants this, now at least.
    pub(super) fn want_move(&mut self, shard: ShardId, wanted: Move, now: Duration) {
        self.moves.insert(shard, (wanted, now + MOVE_PATIENCE));
    }

    pub(super) fn wanted_move(&self, shard: ShardId) -> Option<Move> {
        self.moves.get(&shard).map(|(wanted, _)| *wanted)
    }

    pub(super) fn end_move(&mut self, shard: ShardId) {
        self.moves.remove(&shard);
    }
}

impl Control {
    pub(super) fn balance(&mut self, now: Duration, actions: &mut Vec<Action>) {
        self.balancer
            .changes
            .retain(|_, under_way| now < under_way.until);
        self.balancer.moves.retain(|_, (_, until)| now < *until);
        if !self.knows_the_map() {
            return;
        }
        let Some(map) = &self.map else { return };
        let observed = self.observed(now);
        let config = PlanConfig {
            moves: self
                .balancer
                .moves
                .iter()
                .map(|(&shard, (wanted, _))| (shard, *wanted))
                .collect(),
            ..PlanConfig::new(self.config.down_after)
        };
        let steps = plan(map, &observed, &config);
        for step in steps {
            self.carry_out(step, now, actions);
        }
        self.let_go_of_replaced(&observed, now, actions);
    }

    /// Whether this node leads shard 0 and its map has all that was decided before. With an older one a
    /// replica that was removed might be added again.
    fn knows_the_map(&self) -> bool {
        let has_applied = self.leading(META).is_some_and(|(node, leading)| {
            // A leader has members once it has applied an entry of its own term.
            node == self.node() && leading.membership.is_some()
        });
        has_applied && self.applied_epoch == self.epoch()
    }

    fn observed(&self, now: Duration) -> Observed {
        let nodes = self.map.iter().flat_map(|map| map.nodes.keys().copied());
        let silent = |node: NodeId| {
            if self.is_up(node) {
                return Duration::ZERO;
            }
            let since = self.peers.lost_at(node).unwrap_or(self.started);
            // Whoever is gone was gone for a moment at least.
            now.saturating_sub(since).max(Duration::from_millis(1))
        };
        let with = |holds: fn(&NodeStatus) -> bool| {
            let nodes = self.map.iter().flat_map(|map| map.nodes.keys().copied());
            nodes
                .filter(|&node| self.status_of(node).is_some_and(holds))
                .collect()
        };
        let shards = self.map.iter().flat_map(|map| map.shard_ids());
        Observed {
            alive: nodes.map(|node| (node, silent(node))).collect(),
            shards: shards
                .filter_map(|shard| {
                    let (node, leading) = self.leading(shard)?;
                    Some((shard, ObservedShard::from_status(node, leading)?))
                })
                .collect(),
            nearly_full: with(NodeStatus::is_nearly_full),
            refusing: with(|status| status.refuses_writes),
        }
    }

    fn carry_out(&mut self, step: Step, now: Duration, actions: &mut Vec<Action>) {
        match step {
            Step::Change(change) => {
                self.change(change, Purpose::Plan, now, actions);
            }
            Step::AddLearner {
                shard,
                replica,
                node,
            } => self.order(shard, ShardOrder::AddLearner { replica, node }, actions),
            Step::Promote { shard, replica } => {
                self.order(shard, ShardOrder::Promote { replica }, actions);
            }
            Step::RemoveReplica { shard, replica } => {
                self.order(shard, ShardOrder::Remove { replica }, actions);
            }
            Step::Lead { shard, to } => self.order(shard, ShardOrder::Lead { to }, actions),
        }
    }

    /// Passes an order on to the node that leads the shard.
    pub(super) fn order(&self, shard: ShardId, order: ShardOrder, actions: &mut Vec<Action>) {
        let (Some(leader), Some(meta)) = (self.leaders.get(&shard), self.leaders.get(&META)) else {
            return;
        };
        if meta.term < self.orders_term {
            return;
        }
        if leader.node == self.node() {
            actions.push(Action::Shard { shard, order });
        } else if self.peers.is_alive(leader.node) {
            let message = Message::Order {
                term: meta.term,
                shard,
                order,
            };
            self.send(leader.node, &message, actions);
        }
    }

    /// The leader of shard 0 wants something of a shard that this node leads.
    pub(super) fn hear_order(
        &mut self,
        term: u64,
        shard: ShardId,
        order: ShardOrder,
        actions: &mut Vec<Action>,
    ) {
        let known = self.leaders.get(&META).map_or(0, |leader| leader.term);
        self.orders_term = self.orders_term.max(known);
        if term < self.orders_term {
            return;
        }
        self.orders_term = term;
        let leads = |leader: &super::Leader| leader.node == self.node();
        if self.leaders.get(&shard).is_some_and(leads) {
            actions.push(Action::Shard { shard, order });
        }
    }

    /// Orders a change of the map, unless the same is under way. Tells whether it did.
    pub(super) fn change(
        &mut self,
        change: Change,
        purpose: Purpose,
        now: Duration,
        actions: &mut Vec<Action>,
    ) -> bool {
        let balancer = &mut self.balancer;
        let is_under_way = balancer
            .changes
            .values()
            .any(|under_way| under_way.change == change);
        if is_under_way || balancer.changes.len() >= CHANGES_MAX {
            return false;
        }
        balancer.next_ticket += 1;
        let under_way = UnderWay {
            change: change.clone(),
            purpose,
            until: now + CHANGE_PATIENCE,
        };
        balancer.changes.insert(balancer.next_ticket, under_way);
        actions.push(Action::Shard {
            shard: META,
            order: ShardOrder::Change {
                ticket: Ticket(balancer.next_ticket),
                change,
            },
        });
        true
    }

    pub(super) fn change_done(
        &mut self,
        ticket: Ticket,
        outcome: Result<Result<Outcome, Rejected>, Refusal>,
        actions: &mut Vec<Action>,
    ) {
        let Some(under_way) = self.balancer.changes.remove(&ticket.0) else {
            return;
        };
        // Without a verdict it is ordered again, if it is still wanted.
        if let Ok(Err(rejected)) = outcome {
            match under_way.purpose {
                Purpose::Join { node, answer_to } => {
                    self.join_rejected(node, answer_to, &rejected, actions);
                }
                Purpose::Plan => {
                    let text = format!("a change of the map was not made: {rejected}");
                    self.log(false, text, actions);
                }
            }
        }
    }

    /// A node that is gone and at whose address another member is was replaced: its disk is not there any
    /// more, so there is nothing to wait for.
    fn let_go_of_replaced(
        &mut self,
        observed: &Observed,
        now: Duration,
        actions: &mut Vec<Action>,
    ) {
        let Some(map) = &self.map else { return };
        let silent = |node: &NodeId| observed.alive.get(node).copied().unwrap_or_default();
        let replaced: Vec<(NodeId, String)> = map
            .nodes
            .iter()
            .filter(|(node, entry)| {
                entry.state != NodeState::Leaving && silent(node) > TAKEN_OVER_AFTER.max(SECOND)
            })
            .filter_map(|(&node, entry)| {
                let (other, _) = map.nodes.iter().find(|(other, other_entry)| {
                    **other != node
                        && other_entry.address == entry.address
                        && other_entry.state == NodeState::Member
                        && silent(other).is_zero()
                })?;
                let text = format!(
                    "node {node} ({}, {}) leaves the cluster: it is gone, and node {other} has taken its \
                     address",
                    entry.name, entry.address
                );
                Some((node, text))
            })
            .collect();
        for (node, text) in replaced {
            let state = NodeState::Leaving;
            let change = Change::SetState { node, state };
            if self.change(change, Purpose::Plan, now, actions) {
                self.log(true, text, actions);
            }
        }
    }
}
