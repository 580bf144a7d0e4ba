//! How the map stands in bytes.

use std::collections::BTreeMap;

use base::{ClusterId, Incarnation, NodeId, ReplicaId, ShardId};

use crate::field::{
    self, DecodeError, Fields, put_list, put_record, put_text, put_u32, put_u64, put_value,
};
use crate::{ClusterMap, NodeEntry, NodeState, Placement, Role, SHARDS_MAX};

const VERSION: (u16, u16) = (1, 0);
const WHAT: &str = "cluster map";

/// # Layout
/// Version 1.0, records and lists as `field.rs` tells:
///
/// ```text
/// cluster u64, epoch u64, shards u32, replicas u32, hash seed u64, next replica u64, formats u32
/// list of nodes:      node u64, incarnation u64, name, address, redis, version: texts, formats u32, state u8
/// list of removed:    node u64, incarnation u64
/// list of shards:     list of placements: replica u64, node u64, role u8
/// ```
impl ClusterMap {
    /// Appends the encoded form.
    pub fn encode(&self, out: &mut Vec<u8>) {
        put_value(out, VERSION, |out| {
            put_u64(out, self.cluster.0);
            put_u64(out, self.epoch);
            put_u32(out, self.shards);
            put_u32(out, self.replicas);
            put_u64(out, self.hash_seed);
            put_u64(out, self.next_replica);
            put_u32(out, self.formats);
            put_list(out, self.nodes.iter(), |out, (node, entry)| {
                put_u64(out, node.0);
                entry.put(out);
            });
            put_list(out, self.removed.iter(), |out, (node, incarnation)| {
                put_u64(out, node.0);
                put_u64(out, incarnation.0);
            });
            put_list(out, self.shard_ids(), |out, shard| {
                let placed: Vec<_> = self.placements_of(shard).collect();
                put_list(out, placed.into_iter(), |out, (replica, placement)| {
                    put_u64(out, replica.0);
                    put_u64(out, placement.node.0);
                    placement.role.put(out);
                });
            });
        });
    }

    /// Reads a map that is all of `bytes`.
    ///
    /// # Errors
    /// [`DecodeError`].
    pub fn decode(bytes: &[u8]) -> Result<ClusterMap, DecodeError> {
        field::whole(bytes, WHAT, ClusterMap::decode_front)
    }

    /// Reads a map from the front of `bytes`, and gives how many of them it has.
    ///
    /// # Errors
    /// [`DecodeError`].
    pub fn decode_front(bytes: &[u8]) -> Result<(ClusterMap, usize), DecodeError> {
        let (mut fields, length) = Fields::of_value(bytes, VERSION.0, WHAT)?;
        let mut map = ClusterMap {
            cluster: ClusterId(fields.id("cluster id")?),
            epoch: fields.u64("epoch")?,
            shards: fields.u32("number of shards")?,
            replicas: fields.u32("number of replicas")?,
            hash_seed: fields.u64("hash seed")?,
            next_replica: fields.id("next replica id")?,
            formats: fields.u32("formats in use")?,
            nodes: BTreeMap::new(),
            removed: BTreeMap::new(),
            placements: BTreeMap::new(),
        };
        if !(1..=SHARDS_MAX).contains(&map.shards) {
            return Err(DecodeError::Value("number of shards"));
        }
        if map.replicas == 0 {
            return Err(DecodeError::Value("number of replicas"));
        }
        fields.list("node", |fields| {
            let node = NodeId(fields.id("node id")?);
            let before = map.nodes.insert(node, NodeEntry::read(fields)?);
            once(before.is_none(), "node id")
        })?;
        fields.list("removed node", |fields| {
            let node = NodeId(fields.id("node id")?);
            let incarnation = Incarnation(fields.u64("incarnation")?);
            once(map.removed.insert(node, incarnation).is_none(), "node id")
        })?;
        let mut shard = 0;
        fields.list("shard", |fields| {
            let mut placed = BTreeMap::new();
            fields.list("placement", |fields| {
                let replica = ReplicaId(fields.id("replica id")?);
                let placement = Placement {
                    node: NodeId(fields.id("node id")?),
                    role: Role::read(fields)?,
                };
                if replica.0 >= map.next_replica {
                    return Err(DecodeError::Value("replica id"));
                }
                once(placed.insert(replica, placement).is_none(), "replica id")
            })?;
            map.placements.insert(ShardId(shard), placed);
            shard = shard.saturating_add(1);
            Ok(())
        })?;
        if shard != map.shards {
            return Err(DecodeError::Value("number of shards"));
        }
        Ok((map, length))
    }
}

/// A key may be there once.
fn once(is_first: bool, field: &'static str) -> Result<(), DecodeError> {
    match is_first {
        true => Ok(()),
        false => Err(DecodeError::Value(field)),
    }
}

impl NodeEntry {
    fn put(&self, out: &mut Vec<u8>) {
        put_record(out, |out| {
            put_u64(out, self.incarnation.0);
            put_text(out, &self.name);
            put_text(out, &self.address);
            put_text(out, &self.redis);
            put_text(out, &self.version);
            put_u32(out, self.formats);
            self.state.put(out);
        });
    }

    fn read(fields: &mut Fields<'_>) -> Result<NodeEntry, DecodeError> {
        let mut fields = fields.record("node")?;
        Ok(NodeEntry {
            incarnation: Incarnation(fields.u64("incarnation")?),
            name: fields.text("name")?,
            address: fields.text("address")?,
            redis: fields.text("address for clients")?,
            version: fields.text("version")?,
            formats: fields.u32("formats")?,
            state: NodeState::read(&mut fields)?,
        })
    }
}

impl NodeState {
    pub(crate) fn put(self, out: &mut Vec<u8>) {
        out.push(match self {
            NodeState::Member => 1,
            NodeState::Draining => 2,
            NodeState::Leaving => 3,
        });
    }

    pub(crate) fn read(fields: &mut Fields<'_>) -> Result<NodeState, DecodeError> {
        match fields.u8("node state")? {
            1 => Ok(NodeState::Member),
            2 => Ok(NodeState::Draining),
            3 => Ok(NodeState::Leaving),
            found => Err(DecodeError::Kind {
                what: "node state",
                found,
            }),
        }
    }
}
