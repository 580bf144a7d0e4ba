//! What the balancer asks about nodes and shards.

use base::{NodeId, ReplicaId, ShardId};

use super::{Move, Observed, ObservedShard, PlanConfig};
use crate::{ClusterMap, Member, NodeState, Placement, Role};

/// The map, the observation and the configuration together.
pub(super) struct View<'a> {
    pub(super) map: &'a ClusterMap,
    observed: &'a Observed,
    pub(super) config: &'a PlanConfig,
}

impl<'a> View<'a> {
    pub(super) fn new(
        map: &'a ClusterMap,
        observed: &'a Observed,
        config: &'a PlanConfig,
    ) -> View<'a> {
        View {
            map,
            observed,
            config,
        }
    }

    /// Whether the node can be counted on now.
    pub(super) fn is_live(&self, node: NodeId) -> bool {
        let silent = self.observed.alive.get(&node);
        silent.is_some_and(|&silent| silent <= self.config.alive_within)
    }

    /// Whether the node is to be replaced for having been silent.
    pub(super) fn is_gone(&self, node: NodeId) -> bool {
        let silent = self.observed.alive.get(&node);
        silent.is_some_and(|&silent| silent > self.config.down_after) && !self.is_live(node)
    }

    /// What the node is used for; `None` if it does not belong to the cluster.
    pub(super) fn state(&self, node: NodeId) -> Option<NodeState> {
        self.map.nodes.get(&node).map(|entry| entry.state)
    }

    /// Whether the node may get replicas and leaderships now, as far as its disk has no say in it.
    pub(super) fn serves(&self, node: NodeId) -> bool {
        self.state(node) == Some(NodeState::Member) && self.is_live(node)
    }

    /// Whether the node may get a further replica now.
    pub(super) fn takes_replicas(&self, node: NodeId) -> bool {
        self.serves(node)
            && !self.observed.nearly_full.contains(&node)
            && !self.refuses_writes(node)
    }

    /// Whether the disk of the node refuses writes, so that it should not lead.
    pub(super) fn refuses_writes(&self, node: NodeId) -> bool {
        self.observed.refusing.contains(&node)
    }

    /// Those nodes.
    pub(super) fn serving(&self) -> impl Iterator<Item = NodeId> {
        let nodes = self.map.nodes.keys().copied();
        nodes.filter(|&node| self.serves(node))
    }

    /// The shard as its leader sees it; `None` if no leader is known, or if that knowledge is old.
    pub(super) fn shard(&self, shard: ShardId) -> Option<&'a ObservedShard> {
        let seen = self.observed.shards.get(&shard)?;
        self.is_live(seen.leader_node).then_some(seen)
    }

    /// Where the map has the replica.
    pub(super) fn placement(&self, shard: ShardId, replica: ReplicaId) -> Option<Placement> {
        self.map.placements.get(&shard)?.get(&replica).copied()
    }

    /// Whether the replica lives and has what the leader has.
    pub(super) fn is_healthy(&self, shard: &ObservedShard, member: &Member) -> bool {
        let caught_up = member.replica == shard.leader || shard.caught_up.contains(&member.replica);
        caught_up && self.is_live(member.node)
    }

    /// Whether the replica in the map has still to become a voter that has caught up.
    pub(super) fn is_catching_up(
        &self,
        shard: ShardId,
        replica: ReplicaId,
        placement: Placement,
    ) -> bool {
        match self.shard(shard) {
            None => placement.role == Role::Learner,
            Some(seen) => match seen.membership.get(replica) {
                None => placement.role == Role::Learner,
                Some(member) => member.role == Role::Learner && !self.is_healthy(seen, member),
            },
        }
    }

    /// The move that an operator wants of the shard, if it can be done.
    pub(super) fn wish(&self, shard: ShardId) -> Option<Move> {
        let wish = self.config.moves.get(&shard)?;
        let can = self.takes_replicas(wish.to) || self.map.placed_on(shard, wish.to).is_some();
        (can && wish.from != wish.to).then_some(*wish)
    }
}
