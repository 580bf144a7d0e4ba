//! Who should lead: as many shards on each node as on any other, but for one.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

use base::{NodeId, ReplicaId, ShardId};

use super::targets::Targets;
use super::view::View;
use super::{ObservedShard, Step};
use crate::{Member, NodeState};

/// How many shards each node leads, or will once the steps of this plan are done.
pub(super) struct Leaders {
    counts: BTreeMap<NodeId, usize>,
}

/// A leadership that could move, and what it takes.
struct Edge {
    shard: ShardId,
    from: NodeId,
    to: NodeId,
    replica: ReplicaId,
}

impl Leaders {
    pub(super) fn count(view: &View<'_>) -> Leaders {
        let mut counts = BTreeMap::new();
        for shard in view.map.shard_ids() {
            if let Some(seen) = view.shard(shard) {
                *counts.entry(seen.leader_node).or_default() += 1;
            }
        }
        Leaders { counts }
    }

    fn of(&self, node: NodeId) -> usize {
        self.counts.get(&node).copied().unwrap_or(0)
    }

    fn moved(&mut self, from: NodeId, to: NodeId) {
        if let Some(count) = self.counts.get_mut(&from) {
            *count -= 1;
        }
        *self.counts.entry(to).or_default() += 1;
    }

    /// Hands the shard to a healthy voter on another node, one of those that should have it if possible.
    /// Nodes that drain take it only from one that leaves.
    pub(super) fn hand_over(
        &mut self,
        view: &View<'_>,
        targets: &Targets,
        shard: ShardId,
        seen: &ObservedShard,
    ) -> Option<Step> {
        let nodes = &targets.of(shard).nodes;
        let drains = |node| view.state(node) == Some(NodeState::Draining);
        let may_drain = matches!(
            view.state(seen.leader_node),
            None | Some(NodeState::Leaving)
        );
        let to = seen
            .membership
            .voters()
            .filter(|voter| voter.node != seen.leader_node && view.is_healthy(seen, voter))
            .filter(|voter| !view.refuses_writes(voter.node))
            .filter(|voter| view.serves(voter.node) || (may_drain && drains(voter.node)))
            .min_by_key(|voter| {
                (
                    drains(voter.node),
                    !nodes.contains(&voter.node),
                    self.of(voter.node),
                    voter.replica,
                )
            })?;
        self.moved(seen.leader_node, to.node);
        Some(Step::Lead {
            shard,
            to: to.replica,
        })
    }

    /// Evens out the leaderships of shards in which nothing else is going on.
    ///
    /// A node with two more than another may have no shard in common with it. So leaderships move along
    /// the shortest chain of nodes between the two, each giving one to the next. Every chain makes the
    /// spread more even, so there are finitely many.
    pub(super) fn spread(
        &mut self,
        view: &View<'_>,
        targets: &Targets,
        busy: &BTreeSet<ShardId>,
    ) -> Vec<Step> {
        let mut edges: Vec<Edge> = view
            .map
            .shard_ids()
            .filter(|shard| !busy.contains(shard) && targets.is_settled(view, *shard))
            .flat_map(|shard| edges_of(view, shard))
            .collect();
        let mut given: BTreeMap<NodeId, usize> = BTreeMap::new();
        let mut steps = Vec::new();
        while let Some(chain) = self.chain(view, &edges) {
            for edge in &chain {
                *given.entry(edge.from).or_default() += 1;
                self.moved(edge.from, edge.to);
                steps.push(Step::Lead {
                    shard: edge.shard,
                    to: edge.replica,
                });
            }
            let moved: BTreeSet<ShardId> = chain.iter().map(|edge| edge.shard).collect();
            edges.retain(|edge| {
                let given = given.get(&edge.from).copied().unwrap_or(0);
                !moved.contains(&edge.shard) && given < view.config.leads_per_node
            });
        }
        steps
    }

    /// The shortest chain from a node with many leaderships to one with at least two fewer.
    fn chain(&self, view: &View<'_>, edges: &[Edge]) -> Option<Vec<Edge>> {
        let mut most: Vec<NodeId> = view.serving().collect();
        most.sort_by_key(|&node| (Reverse(self.of(node)), node));
        most.into_iter()
            .find_map(|from| self.chain_from(from, edges))
    }

    fn chain_from(&self, from: NodeId, edges: &[Edge]) -> Option<Vec<Edge>> {
        let mut reached_by: BTreeMap<NodeId, &Edge> = BTreeMap::new();
        let mut queue = VecDeque::from([from]);
        while let Some(node) = queue.pop_front() {
            if self.of(from) >= self.of(node) + 2 {
                let mut chain = Vec::new();
                let mut at = node;
                while let Some(edge) = reached_by.get(&at) {
                    chain.push(Edge { ..**edge });
                    at = edge.from;
                }
                return Some(chain);
            }
            for edge in edges.iter().filter(|edge| edge.from == node) {
                if edge.to != from && !reached_by.contains_key(&edge.to) {
                    reached_by.insert(edge.to, edge);
                    queue.push_back(edge.to);
                }
            }
        }
        None
    }
}

/// Where the leadership of a settled shard could go.
fn edges_of(view: &View<'_>, shard: ShardId) -> Vec<Edge> {
    let Some(seen) = view.shard(shard) else {
        return Vec::new();
    };
    let from = seen.leader_node;
    if !view.serves(from) {
        return Vec::new();
    }
    let edge = |voter: &Member| Edge {
        shard,
        from,
        to: voter.node,
        replica: voter.replica,
    };
    seen.membership
        .voters()
        .filter(|voter| voter.node != from && view.serves(voter.node))
        .filter(|voter| !view.refuses_writes(voter.node))
        .map(edge)
        .collect()
}
