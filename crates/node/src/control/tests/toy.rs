//! Shards without logs: each is its members, its leader and a term. What is ordered of the leader happens
//! at once, if a majority of voters is up.

use std::collections::BTreeMap;

use base::{NodeId, ReplicaId, ShardId};
use meta::{
    Change, ClusterMap, Member, Membership, Outcome, Rejected, ReplicaProgress, ReplicaStatus, Role,
};

use crate::control::ShardOrder;

/// What a node has and whom it reaches, for [`Toy`] to ask.
pub(super) trait World {
    /// Whether the node runs and has the replica.
    fn has(&self, node: NodeId, shard: ShardId, replica: ReplicaId) -> bool;
    /// Whether two nodes that run are connected, or are the same.
    fn reaches(&self, one: NodeId, other: NodeId) -> bool;
}

#[derive(Debug)]
pub(super) struct ToyShard {
    pub(super) membership: Membership,
    pub(super) leader: Option<ReplicaId>,
    pub(super) term: u64,
}

/// All shards of a cluster, and the map.
#[derive(Debug)]
pub(super) struct Toy {
    pub(super) map: ClusterMap,
    pub(super) shards: BTreeMap<ShardId, ToyShard>,
}

/// How many entries every toy log has.
const INDEX: u64 = 100;

impl Toy {
    pub(super) fn new(map: ClusterMap) -> Toy {
        let shards = map
            .shard_ids()
            .map(|shard| {
                let begun = ToyShard {
                    membership: map.membership_at_founding(shard),
                    leader: None,
                    term: 1,
                };
                (shard, begun)
            })
            .collect();
        Toy { map, shards }
    }

    fn is_live(&self, world: &impl World, shard: ShardId, member: &Member) -> bool {
        let voters: Vec<&Member> = self.shards[&shard].membership.voters().collect();
        let reached = voters
            .iter()
            .filter(|voter| {
                world.has(voter.node, shard, voter.replica)
                    && world.reaches(member.node, voter.node)
            })
            .count();
        member.role == Role::Voter
            && world.has(member.node, shard, member.replica)
            && reached > voters.len() / 2
    }

    /// Leaders that lost their majority are gone; where one is possible there is one.
    pub(super) fn elect(&mut self, world: &impl World) {
        for shard in self.map.shard_ids() {
            let members: Vec<Member> = self.shards[&shard].membership.members().to_vec();
            let live: Vec<ReplicaId> = members
                .iter()
                .filter(|member| self.is_live(world, shard, member))
                .map(|member| member.replica)
                .collect();
            let toy = self.shards.get_mut(&shard).unwrap();
            if toy.leader.is_none_or(|leader| !live.contains(&leader)) {
                toy.leader = live.first().copied();
                toy.term += u64::from(toy.leader.is_some());
            }
        }
    }

    pub(super) fn leader_node(&self, shard: ShardId) -> Option<NodeId> {
        let toy = &self.shards[&shard];
        Some(toy.membership.get(toy.leader?)?.node)
    }

    pub(super) fn change(&mut self, change: &Change) -> Result<Outcome, Rejected> {
        self.map.apply(change)
    }

    /// An order that reached the shard's leader.
    pub(super) fn order(&mut self, world: &impl World, shard: ShardId, order: &ShardOrder) {
        let toy = self.shards.get_mut(&shard).unwrap();
        match *order {
            ShardOrder::AddLearner { replica, node } => {
                assert!(self.map.placements[&shard].contains_key(&replica));
                if toy.membership.get(replica).is_none() {
                    let role = Role::Learner;
                    toy.membership.insert(Member {
                        replica,
                        node,
                        role,
                    });
                }
            }
            ShardOrder::Promote { replica } => {
                if let Some(&member) = toy.membership.get(replica) {
                    let role = Role::Voter;
                    toy.membership.insert(Member { role, ..member });
                }
            }
            ShardOrder::Remove { replica } => {
                assert_ne!(toy.leader, Some(replica), "a leader is moved off first");
                toy.membership.remove(replica);
            }
            ShardOrder::Lead { to } => {
                let member = toy.membership.get(to).copied();
                if member.is_some_and(|member| self.is_live(world, shard, &member)) {
                    let toy = self.shards.get_mut(&shard).unwrap();
                    toy.leader = Some(to);
                    toy.term += 1;
                }
            }
            ShardOrder::Create { .. }
            | ShardOrder::Destroy { .. }
            | ShardOrder::Change { .. }
            | ShardOrder::Hint { .. }
            | ShardOrder::Placed(_) => panic!("{order:?} is no order for a leader"),
        }
    }

    pub(super) fn status(
        &self,
        world: &impl World,
        node: NodeId,
        shard: ShardId,
        replica: ReplicaId,
    ) -> ReplicaStatus {
        let toy = &self.shards[&shard];
        let leads = toy.leader == Some(replica);
        let knows = self
            .leader_node(shard)
            .is_some_and(|leader| world.reaches(node, leader));
        let progress = toy.membership.members().iter().map(|member| {
            let is_there = world.has(member.node, shard, member.replica);
            ReplicaProgress {
                replica: member.replica,
                matched: if is_there { INDEX } else { 0 },
                active: is_there && world.reaches(node, member.node),
            }
        });
        ReplicaStatus {
            shard,
            replica,
            leads,
            leader: toy.leader.filter(|_| knows),
            term: toy.term,
            last: INDEX,
            commit: INDEX,
            applied: INDEX,
            membership: leads.then(|| toy.membership.clone()),
            progress: if leads {
                progress.collect()
            } else {
                Vec::new()
            },
            change_pending: false,
        }
    }
}
