//! Which nodes should have a voter of which shard.
//!
//! The choice begins with what is there, replicas on their way included, and changes as little as it can.
//! So a move that has begun is chosen again by the next call, and each new one makes the spread more even
//! than before: that is why it comes to an end.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use base::{NodeId, ShardId};

use super::view::View;
use crate::{NodeState, Role, wanted_voters};

/// For each shard the nodes that should have its voters.
pub(super) struct Targets {
    shards: BTreeMap<ShardId, Target>,
    /// How many shards should have a voter on each node.
    load: BTreeMap<NodeId, usize>,
    /// How many more replicas each node may begin to catch up with.
    free: BTreeMap<NodeId, usize>,
}

/// The nodes that should have the voters of one shard.
pub(super) struct Target {
    /// How many voters there should be.
    pub(super) wanted: usize,
    /// As many nodes.
    pub(super) nodes: BTreeSet<NodeId>,
    /// Nodes that have a voter and should not, but may keep it if no other can take it.
    reluctant: BTreeSet<NodeId>,
}

impl Targets {
    pub(super) fn choose(view: &View<'_>) -> Targets {
        let mut targets = Targets {
            shards: BTreeMap::new(),
            load: view.map.nodes.keys().map(|&node| (node, 0)).collect(),
            free: free_places(view),
        };
        for shard in view.map.shard_ids() {
            let target = holders(view, shard);
            for node in &target.nodes {
                targets.add_load(*node);
            }
            targets.shards.insert(shard, target);
        }
        for shard in view.map.shard_ids() {
            targets.shrink(view, shard);
        }
        for shard in view.map.shard_ids() {
            targets.fill(view, shard);
        }
        targets.even_out(view);
        targets
    }

    pub(super) fn of(&self, shard: ShardId) -> &Target {
        &self.shards[&shard]
    }

    /// Takes one of the places for replicas that catch up on the node, if one is free.
    pub(super) fn take_place(&mut self, node: NodeId) -> bool {
        let free = self.free.entry(node).or_default();
        let taken = *free > 0;
        *free -= usize::from(taken);
        taken
    }

    /// Drops nodes until there are as many as wanted.
    fn shrink(&mut self, view: &View<'_>, shard: ShardId) {
        while self.of(shard).nodes.len() > self.of(shard).wanted {
            let Some(node) = self.superfluous(view, shard) else {
                return;
            };
            self.remove(shard, node);
        }
    }

    /// The node that can best be done without: the one with the most to carry, and of several one whose
    /// replica does not vote yet, or does not lead. But while there are too many voters a dead one goes,
    /// whatever it carries: it only makes the majority larger.
    fn superfluous(&self, view: &View<'_>, shard: ShardId) -> Option<NodeId> {
        let target = self.of(shard);
        let seen = view.shard(shard);
        let role = |node: NodeId| {
            let member = seen.and_then(|seen| seen.membership.of_node(node));
            member.map(|member| member.role)
        };
        let is_voter = |node: NodeId| role(node) == Some(Role::Voter);
        let voters = target.nodes.iter().filter(|&&node| is_voter(node)).count();
        let dead_first = voters > target.wanted;
        target.nodes.iter().copied().max_by_key(|&node| {
            (
                dead_first && is_voter(node) && !view.is_live(node),
                self.load[&node],
                !is_voter(node),
                seen.is_none_or(|seen| seen.leader_node != node),
                node,
            )
        })
    }

    /// Adds the nodes with the least to carry until there are as many as wanted.
    fn fill(&mut self, view: &View<'_>, shard: ShardId) {
        while self.of(shard).nodes.len() < self.of(shard).wanted {
            let target = self.of(shard);
            let may =
                |node: &NodeId| !target.nodes.contains(node) && !target.reluctant.contains(node);
            let wished = view.wish(shard).map(|wish| wish.to).filter(may);
            let chosen = wished.or_else(|| {
                let candidates = view.serving().filter(|&node| view.takes_replicas(node));
                let candidates = candidates.filter(may);
                candidates.min_by_key(|node| (self.load[node], *node))
            });
            let kept = || {
                let others = target.reluctant.difference(&target.nodes).copied();
                others.min_by_key(|&node| (!view.is_live(node), node))
            };
            let Some(node) = chosen.or_else(kept) else {
                return;
            };
            self.add(shard, node);
        }
    }

    /// Moves voters of shards in which nothing else is going on from the nodes with the most to those
    /// with the least, as long as that evens out the spread.
    fn even_out(&mut self, view: &View<'_>) {
        let mut settled: BTreeSet<ShardId> = view
            .map
            .shard_ids()
            .filter(|&shard| self.is_settled(view, shard))
            .collect();
        // No more moves than can begin now: what the others should be is better decided later.
        let mut free = self.free.clone();
        while let Some((shard, from, to)) = self.evening_move(view, &settled, &free) {
            self.remove(shard, from);
            self.add(shard, to);
            free.entry(to).and_modify(|free| *free -= 1);
            settled.remove(&shard);
        }
    }

    fn evening_move(
        &self,
        view: &View<'_>,
        settled: &BTreeSet<ShardId>,
        free: &BTreeMap<NodeId, usize>,
    ) -> Option<(ShardId, NodeId, NodeId)> {
        let mut most: Vec<NodeId> = view.serving().collect();
        most.sort_by_key(|node| (Reverse(self.load[node]), *node));
        let mut least: Vec<NodeId> = view
            .serving()
            .filter(|&node| view.takes_replicas(node))
            .filter(|node| free.get(node).is_some_and(|&free| free > 0))
            .collect();
        least.sort_by_key(|node| (self.load[node], *node));
        let pairs = most
            .iter()
            .flat_map(|&from| least.iter().map(move |&to| (from, to)))
            .filter(|(from, to)| self.load[from] >= self.load[to] + 2);
        for (from, to) in pairs {
            let movable = settled.iter().copied().filter(|&shard| {
                let nodes = &self.of(shard).nodes;
                nodes.contains(&from) && !nodes.contains(&to)
            });
            let leads = |&shard: &ShardId| {
                view.shard(shard)
                    .is_some_and(|seen| seen.leader_node == from)
            };
            if let Some(shard) = movable.min_by_key(|shard| (leads(shard), *shard)) {
                return Some((shard, from, to));
            }
        }
        None
    }

    /// Whether the shard has exactly the voters that it should have, all healthy, and nothing under way.
    pub(super) fn is_settled(&self, view: &View<'_>, shard: ShardId) -> bool {
        let Some(seen) = view.shard(shard) else {
            return false;
        };
        let target = self.of(shard);
        let members = seen.membership.members();
        !seen.change_pending
            && view.wish(shard).is_none()
            && members.len() == target.nodes.len()
            && view.map.placements_of(shard).count() == members.len()
            && members.iter().all(|member| {
                member.role == Role::Voter
                    && target.nodes.contains(&member.node)
                    && view.placement(shard, member.replica).is_some()
                    && view.is_healthy(seen, member)
            })
    }

    fn target(&mut self, shard: ShardId) -> &mut Target {
        self.shards
            .get_mut(&shard)
            .expect("every shard of the map has a target")
    }

    fn add(&mut self, shard: ShardId, node: NodeId) {
        self.target(shard).nodes.insert(node);
        self.add_load(node);
    }

    fn add_load(&mut self, node: NodeId) {
        *self.load.entry(node).or_default() += 1;
    }

    fn remove(&mut self, shard: ShardId, node: NodeId) {
        self.target(shard).nodes.remove(&node);
        *self.load.entry(node).or_default() -= 1;
    }
}

/// The nodes that have a replica of the shard, or will have one, and how many voters they and those that
/// could have one allow.
fn holders(view: &View<'_>, shard: ShardId) -> Target {
    let seen = view.shard(shard);
    let wish = view.wish(shard);
    let mut nodes = BTreeSet::new();
    let mut reluctant = BTreeSet::new();
    for (replica, placement) in view.map.placements_of(shard) {
        let role = match seen {
            None => placement.role,
            Some(seen) => match (seen.membership.get(replica), placement.role) {
                (Some(member), _) => member.role,
                (None, Role::Learner) => Role::Learner,
                (None, Role::Voter) => continue, // It was removed from the shard.
            },
        };
        let node = placement.node;
        let stays = matches!(
            view.state(node),
            Some(NodeState::Member | NodeState::Draining)
        );
        let is_sent_off = wish.is_some_and(|wish| wish.from == node);
        if stays && !view.is_gone(node) && !is_sent_off {
            nodes.insert(node);
        } else if stays && role == Role::Voter {
            reluctant.insert(node);
        }
    }
    // Voters that the map does not know cannot stay, but they count until others are there.
    for member in seen.iter().flat_map(|seen| seen.membership.voters()) {
        let stays = matches!(
            view.state(member.node),
            Some(NodeState::Member | NodeState::Draining)
        );
        if stays && view.placement(shard, member.replica).is_none() {
            reluctant.insert(member.node);
        }
    }
    let possible: BTreeSet<NodeId> = view
        .serving()
        .filter(|&node| view.takes_replicas(node))
        .chain(nodes.iter().copied())
        .chain(reluctant.iter().copied())
        .collect();
    Target {
        wanted: wanted_voters(view.map.replicas, possible.len()),
        nodes,
        reluctant,
    }
}

fn free_places(view: &View<'_>) -> BTreeMap<NodeId, usize> {
    let mut free: BTreeMap<NodeId, usize> = view
        .map
        .nodes
        .keys()
        .map(|&node| (node, view.config.learners_per_node))
        .collect();
    for shard in view.map.shard_ids() {
        for (replica, placement) in view.map.placements_of(shard) {
            if view.is_catching_up(shard, replica, placement) {
                let free = free.entry(placement.node).or_default();
                *free = free.saturating_sub(1);
            }
        }
    }
    free
}
