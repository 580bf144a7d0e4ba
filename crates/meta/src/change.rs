//! Changes to the map: what they are, how they stand in the log, and what comes of them.

use base::{Incarnation, NodeId, ReplicaId, ShardId};
use thiserror::Error;

use crate::field::{self, DecodeError, Fields, put_record, put_text, put_u32, put_u64, put_value};
use crate::{Founder, NODES_MAX, NodeState, REMOVED_MAX, Role};

/// A change to the map. It is proposed to shard 0 and applied with
/// [`ClusterMap::apply`](crate::ClusterMap::apply) once it is committed.
///
/// # Layout
/// Version 1.0: kind u8 (1 to 6 in the order of the variants), then a record of the fields in their
/// order. An unknown kind cannot be passed over, as maps would differ: it is an error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// A node joins, or comes back: then what it says of itself replaces what the map has.
    Join {
        /// The node.
        node: NodeId,
        /// Its incarnation; not below the one that the map has.
        incarnation: Incarnation,
        /// Its name.
        name: String,
        /// Where other nodes reach it.
        address: String,
        /// Where clients reach it.
        redis: String,
        /// The version of Piccolo that it runs.
        version: String,
        /// The newest formats that it reads.
        formats: u32,
    },
    /// A node is to be used for something else.
    SetState {
        /// The node.
        node: NodeId,
        /// What for.
        state: NodeState,
    },
    /// A node without placements goes, for ever.
    Remove {
        /// The node.
        node: NodeId,
    },
    /// A node gets a replica of a shard, as a learner. Answered with [`Outcome::Allocated`].
    Allocate {
        /// The shard.
        shard: ShardId,
        /// The node.
        node: NodeId,
    },
    /// A replica has a role in its shard.
    Place {
        /// The shard.
        shard: ShardId,
        /// The replica.
        replica: ReplicaId,
        /// The role.
        role: Role,
    },
    /// A replica is no longer part of its shard.
    Unplace {
        /// The shard.
        shard: ShardId,
        /// The replica.
        replica: ReplicaId,
    },
}

/// What came of a change that was not rejected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The map is as the change wants it.
    Done,
    /// A replica was allocated.
    Allocated(ReplicaId),
}

/// Why a change did not come about; the map is as before. The text is for people.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Rejected {
    /// No such node.
    #[error("node {0} does not belong to the cluster; `piccolo status` lists those that do")]
    UnknownNode(NodeId),
    /// The node belonged to the cluster once.
    #[error(
        "node {0} was removed from the cluster and cannot come back; to use the machine again, start \
         it with an empty data folder"
    )]
    WasRemoved(NodeId),
    /// The node has started again since with another copy of its disk.
    #[error(
        "node {node} came with incarnation {}, but it was already seen with incarnation {}: its data \
         folder is an old copy; start it with an empty data folder",
        found.0, known.0
    )]
    OldIncarnation {
        /// The node.
        node: NodeId,
        /// What it came with.
        found: Incarnation,
        /// What the map has.
        known: Incarnation,
    },
    /// The node does not understand what the others write.
    #[error(
        "node {node} reads formats up to {found}, but the cluster uses formats {used}, as all its nodes \
         read them: start a newer version of Piccolo on it"
    )]
    OldFormats {
        /// The node.
        node: NodeId,
        /// The newest that it reads.
        found: u32,
        /// Those in use.
        used: u32,
    },
    /// What a node says of itself cannot be shown.
    #[error(
        "node {node} came with a {field} that is too long or not printable; correct its configuration"
    )]
    Unprintable {
        /// The node.
        node: NodeId,
        /// Which text.
        field: &'static str,
    },
    /// There are as many nodes as there may be.
    #[error("the cluster has {NODES_MAX} nodes, the most it may have; remove one first")]
    TooManyNodes,
    /// As many nodes were removed as can be remembered.
    #[error(
        "{REMOVED_MAX} nodes were removed from this cluster, the most it can remember; leave the node \
         in the cluster, drained"
    )]
    TooManyRemoved,
    /// Without this node there would be none that may have replicas.
    #[error(
        "node {0} is the last one that may have replicas, so it cannot leave; let another node join \
         first"
    )]
    LastNode(NodeId),
    /// The node still has replicas.
    #[error(
        "node {node} still has replicas of {shards} shards; they must move first, as \
         `piccolo node remove` does"
    )]
    HasReplicas {
        /// The node.
        node: NodeId,
        /// Of how many shards.
        shards: usize,
    },
    /// The cluster has no such shard.
    #[error("there is no shard {}; the shards are 0 to {}", shard.0, shards - 1)]
    UnknownShard {
        /// The shard.
        shard: ShardId,
        /// How many there are.
        shards: u32,
    },
    /// The shard has no such replica.
    #[error("shard {} has no replica {}; the change came too late and needs nothing", shard.0, replica.0)]
    UnknownReplica {
        /// The shard.
        shard: ShardId,
        /// The replica.
        replica: ReplicaId,
    },
    /// One replica of a shard on a node is all there can be.
    #[error("shard {} already has replica {} on node {node}; use that one or remove it first", shard.0, replica.0)]
    AlreadyThere {
        /// The shard.
        shard: ShardId,
        /// The node.
        node: NodeId,
        /// The replica that it has.
        replica: ReplicaId,
    },
    /// The node may not get replicas.
    #[error(
        "node {0} is draining or leaving and gets no replicas; undrain it or choose another node"
    )]
    NotMember(NodeId),
}

const VERSION: (u16, u16) = (1, 0);
const WHAT: &str = "change to the cluster map";

impl Change {
    /// The change that lets a node join with what it says of itself.
    pub fn join(founder: Founder) -> Change {
        Change::Join {
            node: founder.node,
            incarnation: founder.incarnation,
            name: founder.name,
            address: founder.address,
            redis: founder.redis,
            version: founder.version,
            formats: founder.formats,
        }
    }

    /// Appends the encoded form.
    pub fn encode(&self, out: &mut Vec<u8>) {
        put_value(out, VERSION, |out| {
            out.push(match self {
                Change::Join { .. } => 1,
                Change::SetState { .. } => 2,
                Change::Remove { .. } => 3,
                Change::Allocate { .. } => 4,
                Change::Place { .. } => 5,
                Change::Unplace { .. } => 6,
            });
            put_record(out, |out| self.put(out));
        });
    }

    fn put(&self, out: &mut Vec<u8>) {
        match self {
            Change::Join {
                node,
                incarnation,
                name,
                address,
                redis,
                version,
                formats,
            } => {
                put_u64(out, node.0);
                put_u64(out, incarnation.0);
                for text in [name, address, redis, version] {
                    put_text(out, text);
                }
                put_u32(out, *formats);
            }
            Change::SetState { node, state } => {
                put_u64(out, node.0);
                state.put(out);
            }
            Change::Remove { node } => put_u64(out, node.0),
            Change::Allocate { shard, node } => {
                put_u32(out, shard.0);
                put_u64(out, node.0);
            }
            Change::Place {
                shard,
                replica,
                role,
            } => {
                put_u32(out, shard.0);
                put_u64(out, replica.0);
                role.put(out);
            }
            Change::Unplace { shard, replica } => {
                put_u32(out, shard.0);
                put_u64(out, replica.0);
            }
        }
    }

    /// Reads a change that is all of `bytes`.
    ///
    /// # Errors
    /// [`DecodeError`].
    pub fn decode(bytes: &[u8]) -> Result<Change, DecodeError> {
        field::whole(bytes, WHAT, Change::decode_front)
    }

    /// Reads a change from the front of `bytes`, and gives how many of them it has.
    ///
    /// # Errors
    /// [`DecodeError`].
    pub fn decode_front(bytes: &[u8]) -> Result<(Change, usize), DecodeError> {
        let (mut fields, length) = Fields::of_value(bytes, VERSION.0, WHAT)?;
        let kind = fields.u8("kind of change")?;
        let change = Change::read(kind, &mut fields.record(WHAT)?)?;
        Ok((change, length))
    }

    fn read(kind: u8, fields: &mut Fields<'_>) -> Result<Change, DecodeError> {
        let node = |fields: &mut Fields<'_>| fields.id("node id").map(NodeId);
        let shard = |fields: &mut Fields<'_>| fields.u32("shard id").map(ShardId);
        let replica = |fields: &mut Fields<'_>| fields.id("replica id").map(ReplicaId);
        Ok(match kind {
            1 => Change::Join {
                node: node(fields)?,
                incarnation: Incarnation(fields.u64("incarnation")?),
                name: fields.text("name")?,
                address: fields.text("address")?,
                redis: fields.text("address for clients")?,
                version: fields.text("version")?,
                formats: fields.u32("formats")?,
            },
            2 => Change::SetState {
                node: node(fields)?,
                state: NodeState::read(fields)?,
            },
            3 => Change::Remove {
                node: node(fields)?,
            },
            4 => Change::Allocate {
                shard: shard(fields)?,
                node: node(fields)?,
            },
            5 => Change::Place {
                shard: shard(fields)?,
                replica: replica(fields)?,
                role: Role::read(fields)?,
            },
            6 => Change::Unplace {
                shard: shard(fields)?,
                replica: replica(fields)?,
            },
            found => return Err(DecodeError::Kind { what: WHAT, found }),
        })
    }
}
