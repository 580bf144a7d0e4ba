//! The balancer: what should happen next so that replicas and leaders are where they belong.
//!
//! [`plan`] looks at the map and at what was observed and gives a few steps. It keeps nothing between two
//! calls: a step that is lost, refused or late is simply given again, and one that took effect is seen in
//! the next observation. Whoever leads shard 0 calls it about once a second.
//!
//! A replica comes and goes in this order, each arrow being one step:
//!
//! ```text
//! Allocate (map: learner) -> AddLearner (shard) -> caught up -> Place (map: voter) -> Promote (shard)
//! a learner goes:  Unplace (map) -> RemoveReplica (shard)
//! a voter goes:    Lead another -> RemoveReplica (shard) -> Unplace (map)
//! ```
//!
//! So a replica that the map calls a learner was never removed from its shard, and may be added; one that
//! the map calls a voter and that the shard does not have was removed, and is never added again: a replica
//! id is not used twice. And a voter has its place in the map until its shard has let it go.
//!
//! Invariants:
//! - At most one step for each shard, and none while its last change of members is under way.
//! - No voter is removed if too few live ones would be left for a majority.
//! - A voter that lives is replaced by promoting the new one first; one that is dead is removed first, as
//!   it is no help and a promotion beside it would raise the majority.
//! - From an odd number of voters to more of them only if the next odd number can be reached at once.
//! - Nodes that were silent for a short time keep what they have.
//! - Nodes with little room on their disks get no further replicas, and those whose disks refuse writes no leaderships.
//!
//! It leaves out: how steps are carried out, and what is known about nodes beyond their being alive.

mod leaders;
mod shard_step;
mod targets;
mod view;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use base::{NodeId, ReplicaId, ShardId};

use crate::{Change, ClusterMap, Membership, NodeState, ReplicaStatus};
use leaders::Leaders;
use targets::Targets;
use view::View;

/// What is known of the cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Observed {
    /// How long ago each node was last known to be alive; zero for those that are alive now, which whoever
    /// observes should not forget of itself. A node that was never met belongs here with the time since
    /// the observation began: a node that is not here is not counted on, but not taken for gone either.
    pub alive: BTreeMap<NodeId, Duration>,
    /// The shards that have a leader.
    pub shards: BTreeMap<ShardId, ObservedShard>,
    /// Nodes whose disks have little room: they keep what they have and get no further replicas.
    pub nearly_full: BTreeSet<NodeId>,
    /// Nodes whose disks refuse writes. They should not lead, as what they lead cannot be written.
    pub refusing: BTreeSet<NodeId>,
}

/// A shard, as its leader sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObservedShard {
    /// The replica that leads.
    pub leader: ReplicaId,
    /// Its node.
    pub leader_node: NodeId,
    /// The members that the leader has applied. It must have applied an entry of its own term, or it may
    /// not know of members that its predecessor had.
    pub membership: Membership,
    /// The replicas, voters and learners, that answer and lack no more than a little of the leader's log.
    pub caught_up: BTreeSet<ReplicaId>,
    /// Whether a change of members is under way.
    pub change_pending: bool,
}

impl ObservedShard {
    /// A replica that lacks no more than this many entries has caught up.
    pub const CAUGHT_UP_ENTRIES: u64 = 64;

    /// What the status of a replica on `node` tells about its shard; `None` unless it leads.
    pub fn from_status(node: NodeId, status: &ReplicaStatus) -> Option<ObservedShard> {
        let membership = status.membership.as_ref().filter(|_| status.leads)?;
        let caught_up = status
            .progress
            .iter()
            .filter(|progress| {
                // One that has nothing yet is as near as any while the log is short.
                progress.active
                    && progress.matched > 0
                    && progress.matched.saturating_add(Self::CAUGHT_UP_ENTRIES) >= status.last
            })
            .map(|progress| progress.replica)
            .chain([status.replica])
            .collect();
        Some(ObservedShard {
            leader: status.replica,
            leader_node: node,
            membership: membership.clone(),
            caught_up,
            change_pending: status.change_pending,
        })
    }
}

/// How the balancer decides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlanConfig {
    /// A node that was silent for longer is replaced, if another can take its place.
    pub down_after: Duration,
    /// A node that was silent for longer is not counted on.
    pub alive_within: Duration,
    /// How many replicas a node may be catching up with at a time.
    pub learners_per_node: usize,
    /// How many leaderships a node gives away at a time for the sake of an even spread.
    pub leads_per_node: usize,
    /// What an operator wants: one replica of the shard on another node. To be dropped when the shard has
    /// its voter there. Afterwards the spread is evened out again.
    pub moves: BTreeMap<ShardId, Move>,
}

/// A replica of a shard shall be on another node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Move {
    /// The node that has a replica.
    pub from: NodeId,
    /// The node that gets one instead.
    pub to: NodeId,
}

impl PlanConfig {
    /// The usual ways, with that `down_after`.
    pub fn new(down_after: Duration) -> PlanConfig {
        PlanConfig {
            down_after,
            alive_within: Duration::from_secs(3).min(down_after),
            learners_per_node: 2,
            leads_per_node: 4,
            moves: BTreeMap::new(),
        }
    }
}

/// Something to be done. Doing it twice does no harm.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// To be proposed to shard 0.
    Change(Change),
    /// The shard's leader takes the replica in, as a learner.
    AddLearner {
        /// The shard.
        shard: ShardId,
        /// The replica, which the map allocated.
        replica: ReplicaId,
        /// Its node.
        node: NodeId,
    },
    /// The shard's leader makes a learner a voter.
    Promote {
        /// The shard.
        shard: ShardId,
        /// The learner.
        replica: ReplicaId,
    },
    /// The shard's leader lets a replica go.
    RemoveReplica {
        /// The shard.
        shard: ShardId,
        /// The replica.
        replica: ReplicaId,
    },
    /// The shard's leader hands over to another voter.
    Lead {
        /// The shard.
        shard: ShardId,
        /// The voter.
        to: ReplicaId,
    },
}

impl Step {
    /// The shard that the step is about, if it is about one.
    pub fn shard(&self) -> Option<ShardId> {
        match self {
            Step::Change(
                Change::Allocate { shard, .. }
                | Change::Place { shard, .. }
                | Change::Unplace { shard, .. },
            )
            | Step::AddLearner { shard, .. }
            | Step::Promote { shard, .. }
            | Step::RemoveReplica { shard, .. }
            | Step::Lead { shard, .. } => Some(*shard),
            Step::Change(Change::Join { .. } | Change::SetState { .. } | Change::Remove { .. }) => {
                None
            }
        }
    }
}

/// What should happen next; nothing if all is where it belongs or cannot be moved now.
pub fn plan(map: &ClusterMap, observed: &Observed, config: &PlanConfig) -> Vec<Step> {
    let view = View::new(map, observed, config);
    let mut targets = Targets::choose(&view);
    let mut leaders = Leaders::count(&view);
    let mut steps: Vec<Step> = map
        .shard_ids()
        .filter_map(|shard| shard_step::next(&view, shard, &mut targets, &mut leaders))
        .collect();
    let busy: BTreeSet<ShardId> = steps.iter().filter_map(Step::shard).collect();
    steps.extend(leaders.spread(&view, &targets, &busy));
    steps.extend(departures(&view));
    steps
}

/// Nodes that wanted to leave and of which nothing is left. As long as any shard is not observed, its
/// members are not known, so nobody leaves.
fn departures(view: &View<'_>) -> Vec<Step> {
    let shards: Option<Vec<&ObservedShard>> = view
        .map
        .shard_ids()
        .map(|shard| view.shard(shard))
        .collect();
    let Some(shards) = shards else {
        return Vec::new();
    };
    let free = |node: NodeId| {
        view.map.shards_on(node).is_empty()
            && shards
                .iter()
                .all(|shard| shard.membership.of_node(node).is_none())
    };
    view.map
        .nodes
        .iter()
        .filter(|&(&node, entry)| entry.state == NodeState::Leaving && free(node))
        .map(|(&node, _)| Step::Change(Change::Remove { node }))
        .collect()
}
