//! What a change does to the map. Deterministic: every replica of shard 0 gets the same from it.

use std::collections::BTreeMap;

use base::{NodeId, ReplicaId, ShardId};

use crate::{
    Change, ClusterMap, Founder, NODES_MAX, NodeEntry, NodeState, Outcome, Placement, REMOVED_MAX,
    Rejected, Role,
};

/// The most bytes of a name, an address or a version.
const TEXT_MAX_BYTES: usize = 512;

impl ClusterMap {
    /// Carries out a change. The epoch grows by one if anything is different afterwards.
    ///
    /// # Errors
    /// [`Rejected`]: nothing is different.
    pub fn apply(&mut self, change: &Change) -> Result<Outcome, Rejected> {
        let changed = match change {
            Change::Join {
                node,
                incarnation,
                name,
                address,
                redis,
                version,
                formats,
            } => self.join(&Founder {
                node: *node,
                incarnation: *incarnation,
                name: name.clone(),
                address: address.clone(),
                redis: redis.clone(),
                version: version.clone(),
                formats: *formats,
            })?,
            Change::SetState { node, state } => self.set_state(*node, *state)?,
            Change::Remove { node } => self.remove(*node)?,
            Change::Allocate { shard, node } => {
                let replica = self.allocate(*shard, *node)?;
                self.epoch += 1;
                return Ok(Outcome::Allocated(replica));
            }
            Change::Place {
                shard,
                replica,
                role,
            } => self.place(*shard, *replica, *role)?,
            Change::Unplace { shard, replica } => self.unplace(*shard, *replica)?,
        };
        self.epoch += u64::from(changed);
        Ok(Outcome::Done)
    }

    fn join(&mut self, joining: &Founder) -> Result<bool, Rejected> {
        let node = joining.node;
        if self.removed.contains_key(&node) {
            return Err(Rejected::WasRemoved(node));
        }
        if joining.formats < self.formats {
            return Err(Rejected::OldFormats {
                node,
                found: joining.formats,
                used: self.formats,
            });
        }
        let texts = [
            ("name", &joining.name),
            ("address", &joining.address),
            ("address for clients", &joining.redis),
            ("version", &joining.version),
        ];
        for (field, text) in texts {
            if text.len() > TEXT_MAX_BYTES || text.chars().any(char::is_control) {
                return Err(Rejected::Unprintable { node, field });
            }
        }
        let mut entry = NodeEntry::from(joining);
        if let Some(known) = self.nodes.get(&node) {
            if joining.incarnation < known.incarnation {
                return Err(Rejected::OldIncarnation {
                    node,
                    found: joining.incarnation,
                    known: known.incarnation,
                });
            }
            entry.state = known.state;
        } else if self.nodes.len() >= NODES_MAX {
            return Err(Rejected::TooManyNodes);
        }
        let changed = self.nodes.get(&node) != Some(&entry);
        self.nodes.insert(node, entry);
        Ok(self.raise_formats() || changed)
    }

    fn set_state(&mut self, node: NodeId, state: NodeState) -> Result<bool, Rejected> {
        let others = self
            .nodes
            .iter()
            .any(|(&other, entry)| other != node && entry.state == NodeState::Member);
        let entry = self.entry(node)?;
        if entry.state == state {
            return Ok(false);
        }
        if state == NodeState::Leaving && !others {
            return Err(Rejected::LastNode(node));
        }
        entry.state = state;
        Ok(true)
    }

    fn remove(&mut self, node: NodeId) -> Result<bool, Rejected> {
        if self.removed.contains_key(&node) {
            return Ok(false);
        }
        let incarnation = self.entry(node)?.incarnation;
        let shards = self.shards_on(node).len();
        if shards > 0 {
            return Err(Rejected::HasReplicas { node, shards });
        }
        if self.removed.len() >= REMOVED_MAX {
            return Err(Rejected::TooManyRemoved);
        }
        self.nodes.remove(&node);
        self.removed.insert(node, incarnation);
        self.raise_formats();
        Ok(true)
    }

    fn allocate(&mut self, shard: ShardId, node: NodeId) -> Result<ReplicaId, Rejected> {
        self.placed(shard)?;
        if self.entry(node)?.state != NodeState::Member {
            return Err(Rejected::NotMember(node));
        }
        if let Some((replica, _)) = self.placed_on(shard, node) {
            return Err(Rejected::AlreadyThere {
                shard,
                node,
                replica,
            });
        }
        let replica = self.allocate_id();
        let placement = Placement {
            node,
            role: Role::Learner,
        };
        self.placed(shard)?.insert(replica, placement);
        Ok(replica)
    }

    fn place(&mut self, shard: ShardId, replica: ReplicaId, role: Role) -> Result<bool, Rejected> {
        let placement = self
            .placed(shard)?
            .get_mut(&replica)
            .ok_or(Rejected::UnknownReplica { shard, replica })?;
        let changed = placement.role != role;
        placement.role = role;
        Ok(changed)
    }

    /// Removes a placement. One that is gone already is as wanted; one that never was is an error.
    fn unplace(&mut self, shard: ShardId, replica: ReplicaId) -> Result<bool, Rejected> {
        let given_out = replica.0 < self.next_replica;
        match self.placed(shard)?.remove(&replica) {
            Some(_) => Ok(true),
            None if given_out => Ok(false),
            None => Err(Rejected::UnknownReplica { shard, replica }),
        }
    }

    fn entry(&mut self, node: NodeId) -> Result<&mut NodeEntry, Rejected> {
        if self.removed.contains_key(&node) {
            return Err(Rejected::WasRemoved(node));
        }
        self.nodes.get_mut(&node).ok_or(Rejected::UnknownNode(node))
    }

    fn placed(&mut self, shard: ShardId) -> Result<&mut BTreeMap<ReplicaId, Placement>, Rejected> {
        let shards = self.shards;
        self.placements
            .get_mut(&shard)
            .ok_or(Rejected::UnknownShard { shard, shards })
    }
}
