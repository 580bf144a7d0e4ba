//! The map: which nodes belong to the cluster, and where the replicas of its shards should be.
//!
//! It is the part of shard 0's state that is not data. Every change to it is an entry of that shard's
//! log, so all nodes see the same changes in the same order; `epoch` tells which of two maps is newer.

use std::collections::{BTreeMap, BTreeSet};

use base::{ClusterId, Incarnation, NodeId, ReplicaId, ShardId};
use thiserror::Error;

use crate::{Member, Membership, Role};

/// The most shards that a cluster may have.
pub const SHARDS_MAX: u32 = 1024;
/// The most nodes that a cluster may have.
pub const NODES_MAX: usize = 1024;
/// The most removed nodes that the map remembers; beyond it no further one can be removed.
pub const REMOVED_MAX: usize = 65_536;

/// Who belongs to the cluster and where its replicas are.
///
/// Invariants: every placement is on a node of `nodes`; no node has two placements of one shard; a node
/// is never both in `nodes` and in `removed`; `next_replica` is above every replica id ever given out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterMap {
    /// The cluster.
    pub cluster: ClusterId,
    /// One more for each change that took effect; 1 at the founding.
    pub epoch: u64,
    /// How many shards there are. Never changes.
    pub shards: u32,
    /// How many voters each shard should have, if there are nodes for them.
    pub replicas: u32,
    /// The seed of the hash that keyspaces use, the same on all nodes. Never changes.
    pub hash_seed: u64,
    /// The id that the next replica gets. Ids are given out once in the whole cluster.
    pub next_replica: u64,
    /// The formats in use: what is written where all must understand it, which is in the replicated logs and in
    /// snapshots, is of these or older ones. They are the newest that all nodes read, and never go back.
    pub formats: u32,
    /// The nodes that belong to the cluster.
    pub nodes: BTreeMap<NodeId, NodeEntry>,
    /// The nodes that belonged to it once, with their last incarnation. They never come back.
    pub removed: BTreeMap<NodeId, Incarnation>,
    /// Where replicas were allocated. Every shard is there.
    pub placements: BTreeMap<ShardId, BTreeMap<ReplicaId, Placement>>,
}

/// What the map knows of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeEntry {
    /// The last one that joined.
    pub incarnation: Incarnation,
    /// The name that people use. Should be unique; [`ClusterMap::find_node`] says when it is not.
    pub name: String,
    /// Where other nodes reach it, as `host:port`.
    pub address: String,
    /// Where clients reach it, as `host:port`.
    pub redis: String,
    /// The version of Piccolo that it runs.
    pub version: String,
    /// The newest formats that it reads, as its version numbers them.
    pub formats: u32,
    /// What it is used for.
    pub state: NodeState,
}

/// What a node is used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum NodeState {
    /// It has replicas and may lead.
    Member,
    /// It keeps its replicas and gives its leaderships away.
    Draining,
    /// It is being removed: its leaderships go, then its replicas, then it leaves the map.
    Leaving,
}

/// Where a replica was allocated. A hint: the shard's own membership is the truth.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Placement {
    /// The node.
    pub node: NodeId,
    /// Whether it votes, as far as the map has heard.
    pub role: Role,
}

/// A node that founds a cluster, with what it says of itself: see [`NodeEntry`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Founder {
    /// The node.
    pub node: NodeId,
    /// Its incarnation.
    pub incarnation: Incarnation,
    /// Its name.
    pub name: String,
    /// Where other nodes reach it.
    pub address: String,
    /// Where clients reach it.
    pub redis: String,
    /// The version of Piccolo that it runs.
    pub version: String,
    /// The newest formats that it reads.
    pub formats: u32,
}

/// No node, or not exactly one, is meant by a name.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum FindNodeError {
    /// Nobody has that name or id.
    #[error("no node is called \"{wanted}\"; the nodes are: {known}")]
    Unknown {
        /// What was looked for.
        wanted: String,
        /// The nodes that there are.
        known: String,
    },
    /// Several nodes have that name.
    #[error("several nodes are called \"{name}\": give one of their ids instead: {ids}")]
    Ambiguous {
        /// The name.
        name: String,
        /// Their ids.
        ids: String,
    },
}

impl ClusterMap {
    /// The map of a cluster that begins with these nodes.
    ///
    /// Each shard gets the [`wanted_voters`] for so many founders; shard by shard they begin one founder
    /// further in the order of their ids, so that all have about as many. Replica ids count from 1.
    ///
    /// # Panics
    /// Without founders, with one twice, without `replicas`, or if `shards` is not in
    /// 1..=[`SHARDS_MAX`].
    pub fn founding(
        cluster: ClusterId,
        founders: &[Founder],
        shards: u32,
        replicas: u32,
        hash_seed: u64,
    ) -> ClusterMap {
        assert!((1..=SHARDS_MAX).contains(&shards), "{shards} shards");
        assert!(replicas >= 1, "a shard without replicas");
        assert!(!founders.is_empty(), "a cluster without founders");
        let nodes: BTreeMap<NodeId, NodeEntry> = founders
            .iter()
            .map(|founder| (founder.node, NodeEntry::from(founder)))
            .collect();
        assert_eq!(nodes.len(), founders.len(), "a founder is there twice");
        let sorted: Vec<NodeId> = nodes.keys().copied().collect();
        let voters = wanted_voters(replicas, sorted.len());
        let mut map = ClusterMap {
            cluster,
            epoch: 1,
            shards,
            replicas,
            hash_seed,
            next_replica: 1,
            formats: least_formats(&nodes),
            nodes,
            removed: BTreeMap::new(),
            placements: BTreeMap::new(),
        };
        for shard in map.shard_ids() {
            let placed = (0..voters)
                .map(|rank| {
                    let placement = Placement {
                        node: sorted[(shard.0 as usize + rank) % sorted.len()],
                        role: Role::Voter,
                    };
                    (map.allocate_id(), placement)
                })
                .collect();
            map.placements.insert(shard, placed);
        }
        map
    }

    /// Raises the formats in use to what all nodes read by now.
    pub(crate) fn raise_formats(&mut self) -> bool {
        let least = least_formats(&self.nodes);
        let is_newer = least > self.formats;
        self.formats = self.formats.max(least);
        is_newer
    }

    /// The members with which a shard begins. To be asked of the founding map.
    pub fn membership_at_founding(&self, shard: ShardId) -> Membership {
        Membership::new(
            self.placements_of(shard)
                .map(|(replica, placement)| Member {
                    replica,
                    node: placement.node,
                    role: placement.role,
                }),
        )
    }

    /// All shards.
    pub fn shard_ids(&self) -> impl ExactSizeIterator<Item = ShardId> + use<> {
        (0..self.shards).map(ShardId)
    }

    /// Where replicas of a shard were allocated.
    pub fn placements_of(&self, shard: ShardId) -> impl Iterator<Item = (ReplicaId, Placement)> {
        self.placements
            .get(&shard)
            .into_iter()
            .flatten()
            .map(|(&replica, &placement)| (replica, placement))
    }

    /// The replica of a shard that was allocated on a node.
    pub fn placed_on(&self, shard: ShardId, node: NodeId) -> Option<(ReplicaId, Placement)> {
        self.placements_of(shard)
            .find(|(_, placement)| placement.node == node)
    }

    /// The node that is meant by a name or by an id of 16 hexadecimal digits.
    ///
    /// # Errors
    /// [`FindNodeError`].
    pub fn find_node(&self, wanted: &str) -> Result<NodeId, FindNodeError> {
        if wanted.len() == 16
            && let Ok(id) = wanted.parse::<NodeId>()
            && self.nodes.contains_key(&id)
        {
            return Ok(id);
        }
        let named: Vec<NodeId> = self
            .nodes
            .iter()
            .filter(|(_, entry)| entry.name == wanted)
            .map(|(&node, _)| node)
            .collect();
        match named[..] {
            [node] => Ok(node),
            [] => Err(FindNodeError::Unknown {
                wanted: wanted.to_owned(),
                known: listed(
                    self.nodes
                        .iter()
                        .map(|(node, entry)| format!("{} ({node})", entry.name)),
                ),
            }),
            _ => Err(FindNodeError::Ambiguous {
                name: wanted.to_owned(),
                ids: listed(named.iter().map(|node| {
                    let address = &self.nodes[node].address;
                    format!("{node} ({address})")
                })),
            }),
        }
    }

    /// Gives out the next replica id.
    pub(crate) fn allocate_id(&mut self) -> ReplicaId {
        let id = ReplicaId(self.next_replica);
        self.next_replica += 1;
        id
    }

    /// The shards of which a node has a placement.
    pub(crate) fn shards_on(&self, node: NodeId) -> BTreeSet<ShardId> {
        let on_node = |placed: &BTreeMap<ReplicaId, Placement>| {
            placed.values().any(|placement| placement.node == node)
        };
        self.placements
            .iter()
            .filter(|(_, placed)| on_node(placed))
            .map(|(&shard, _)| shard)
            .collect()
    }
}

/// The newest formats that all of them read.
fn least_formats(nodes: &BTreeMap<NodeId, NodeEntry>) -> u32 {
    nodes
        .values()
        .map(|entry| entry.formats)
        .min()
        .unwrap_or_default()
}

impl From<&Founder> for NodeEntry {
    fn from(founder: &Founder) -> NodeEntry {
        NodeEntry {
            incarnation: founder.incarnation,
            name: founder.name.clone(),
            address: founder.address.clone(),
            redis: founder.redis.clone(),
            version: founder.version.clone(),
            formats: founder.formats,
            state: NodeState::Member,
        }
    }
}

/// How many voters a shard should have: the largest odd number that `replicas` and the nodes allow, as
/// an even number survives no more failures than the odd one below it. 0 without nodes.
pub fn wanted_voters(replicas: u32, nodes: usize) -> usize {
    let most = nodes.min(replicas as usize);
    if most == 0 { 0 } else { (most - 1) | 1 }
}

fn listed(items: impl Iterator<Item = String>) -> String {
    items.collect::<Vec<_>>().join(", ")
}
