//! What all nodes of a cluster agree on beside the data: who belongs to it, and where the replicas of
//! its shards are. Pure: values, changes to them, and what the balancer would do next.
//!
//! - [`ClusterMap`] is the map that shard 0 replicates, [`Change`] what may happen to it.
//! - [`Membership`] is what a shard itself says of its replicas; the map only hints at it.
//! - [`plan`] is the balancer.
//! - [`NodeStatus`] is what nodes tell each other about once a second.

mod apply;
mod change;
mod cluster_map;
pub mod field;
mod map_encoding;
mod membership;
mod plan;
mod status;

pub use change::{Change, Outcome, Rejected};
pub use cluster_map::{
    ClusterMap, FindNodeError, Founder, NODES_MAX, NodeEntry, NodeState, Placement, REMOVED_MAX,
    SHARDS_MAX, wanted_voters,
};
pub use field::DecodeError;
pub use membership::{Member, Membership, Role};
pub use plan::{Move, Observed, ObservedShard, PlanConfig, Step, plan};
pub use status::{NodeStatus, ReplicaProgress, ReplicaStatus};
