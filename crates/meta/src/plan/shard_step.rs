//! The one step that brings a shard nearer to the voters that it should have.

use base::{NodeId, ShardId};

use super::leaders::Leaders;
use super::targets::Targets;
use super::view::View;
use super::{ObservedShard, Step};
use crate::{Change, Member, NodeState, Placement, Role};

/// The shard's next step; none if it is as it should be, has no leader, or has to wait.
pub(super) fn next(
    view: &View<'_>,
    shard: ShardId,
    targets: &mut Targets,
    leaders: &mut Leaders,
) -> Option<Step> {
    let seen = view.shard(shard).filter(|seen| !seen.change_pending)?;
    leave_early(view, shard, seen, targets, leaders)
        .or_else(|| tidy_up(view, shard, seen, targets))
        .or_else(|| bring_in(view, shard, seen, targets))
        .or_else(|| exchange(view, shard, seen, targets, leaders))
}

/// A node that drains or leaves does not lead, nor does one whose disk refuses writes, whatever else is to be done.
fn leave_early(
    view: &View<'_>,
    shard: ShardId,
    seen: &ObservedShard,
    targets: &Targets,
    leaders: &mut Leaders,
) -> Option<Step> {
    match view.state(seen.leader_node) {
        Some(NodeState::Member) if !view.refuses_writes(seen.leader_node) => None,
        _ => leaders.hand_over(view, targets, shard, seen),
    }
}

/// What the map and the shard disagree on, and learners that nobody wants any more.
fn tidy_up(
    view: &View<'_>,
    shard: ShardId,
    seen: &ObservedShard,
    targets: &Targets,
) -> Option<Step> {
    for member in seen.membership.members() {
        let replica = member.replica;
        match (view.placement(shard, replica), member.role) {
            (None, Role::Learner) => return Some(Step::RemoveReplica { shard, replica }),
            (
                Some(Placement {
                    role: Role::Learner,
                    ..
                }),
                Role::Voter,
            ) => {
                return Some(place(shard, member));
            }
            _ => {}
        }
    }
    let nodes = &targets.of(shard).nodes;
    view.map
        .placements_of(shard)
        .find_map(|(replica, placement)| {
            let role = seen.membership.get(replica).map(|member| member.role);
            let unwanted = !nodes.contains(&placement.node);
            match (placement.role, role) {
                (Role::Voter, None) => Some(Step::Change(Change::Unplace { shard, replica })),
                (Role::Learner, None | Some(Role::Learner)) if unwanted => {
                    Some(Step::Change(Change::Unplace { shard, replica }))
                }
                (Role::Voter, Some(Role::Learner)) if unwanted => {
                    Some(Step::RemoveReplica { shard, replica })
                }
                _ => None,
            }
        })
}

/// Replicas for nodes that should have one and have none.
fn bring_in(
    view: &View<'_>,
    shard: ShardId,
    seen: &ObservedShard,
    targets: &mut Targets,
) -> Option<Step> {
    let missing: Vec<NodeId> = targets
        .of(shard)
        .nodes
        .iter()
        .copied()
        .filter(|&node| view.is_live(node) && seen.membership.of_node(node).is_none())
        .collect();
    missing
        .into_iter()
        .find_map(|node| match view.map.placed_on(shard, node) {
            Some((replica, _)) => Some(Step::AddLearner {
                shard,
                replica,
                node,
            }),
            None => (view.takes_replicas(node) && targets.take_place(node))
                .then_some(Step::Change(Change::Allocate { shard, node })),
        })
}

/// Learners become voters, and voters go.
fn exchange(
    view: &View<'_>,
    shard: ShardId,
    seen: &ObservedShard,
    targets: &Targets,
    leaders: &mut Leaders,
) -> Option<Step> {
    let target = targets.of(shard);
    let (staying, going): (Vec<&Member>, Vec<&Member>) = seen
        .membership
        .voters()
        .partition(|voter| target.nodes.contains(&voter.node));
    let ready: Vec<&Member> = seen
        .membership
        .learners()
        .filter(|learner| target.nodes.contains(&learner.node) && view.is_healthy(seen, learner))
        .collect();
    let voters = staying.len() + going.len();
    let (live, dead): (Vec<&Member>, Vec<&Member>) =
        going.iter().partition(|voter| view.is_live(voter.node));

    let is_replaceable = voters > target.wanted || !ready.is_empty();
    if let Some(voter) = dead.first().filter(|_| is_replaceable)
        && leaves_majority(view, seen, voter)
    {
        return Some(remove(shard, voter));
    }
    if voters > target.wanted {
        let is_leader = |voter: &&Member| voter.replica == seen.leader;
        let voter = live.iter().min_by_key(|voter| is_leader(voter));
        if let Some(voter) = voter.filter(|voter| leaves_majority(view, seen, voter)) {
            return match is_leader(voter) {
                true => leaders.hand_over(view, targets, shard, seen),
                false => Some(remove(shard, voter)),
            };
        }
    }
    if staying.len() >= target.wanted {
        return None;
    }
    let together = promotions(view, seen, voters, target.wanted, &live)?;
    let chosen = ready.get(..together)?;
    let unplaced = chosen.iter().find(|learner| {
        let placement = view.placement(shard, learner.replica);
        placement.is_some_and(|placement| placement.role == Role::Learner)
    });
    Some(match unplaced {
        Some(learner) => place(shard, learner),
        None => Step::Promote {
            shard,
            replica: chosen.first()?.replica,
        },
    })
}

/// How many learners must be ready before one of them is made a voter; `None` for not now.
fn promotions(
    view: &View<'_>,
    seen: &ObservedShard,
    voters: usize,
    wanted: usize,
    going_live: &[&Member],
) -> Option<usize> {
    if voters.is_multiple_of(2) {
        return Some(1); // The next odd number tolerates one more failure, with the same majority.
    }
    if voters < wanted {
        return Some(2);
    }
    // The voter that is replaced makes it an even number for a while. To leave, that is worth it; for a
    // more even spread only if nobody is missing.
    let leaves = |voter: &&&Member| view.state(voter.node) != Some(NodeState::Member);
    let all_live = || {
        seen.membership
            .voters()
            .all(|voter| view.is_live(voter.node))
    };
    let is_worth_it = going_live.iter().any(|voter| leaves(&voter)) || all_live();
    (!going_live.is_empty() && is_worth_it).then_some(1)
}

/// Whether the voters that are left without this one have a majority alive. Without a live one they must
/// be caught up as well: without a dead one no more than before is lost.
fn leaves_majority(view: &View<'_>, seen: &ObservedShard, without: &Member) -> bool {
    let left: Vec<&Member> = seen
        .membership
        .voters()
        .filter(|voter| voter.replica != without.replica)
        .collect();
    let counts = |voter: &Member| match view.is_live(without.node) {
        true => view.is_healthy(seen, voter),
        false => view.is_live(voter.node),
    };
    let there = left.iter().filter(|voter| counts(voter)).count();
    there > left.len() / 2
}

fn place(shard: ShardId, member: &Member) -> Step {
    Step::Change(Change::Place {
        shard,
        replica: member.replica,
        role: Role::Voter,
    })
}

fn remove(shard: ShardId, member: &Member) -> Step {
    Step::RemoveReplica {
        shard,
        replica: member.replica,
    }
}
