//! What operators do and what happens to machines, one thing at a time.

use std::collections::BTreeSet;

use base::{NodeId, ReplicaId, ShardId};
use meta::{
    Change, Membership, Move, NodeState, ObservedShard, Rejected, ReplicaProgress, ReplicaStatus,
    Role, Step,
};

use super::model::{DOWN_AFTER, Model};

const SEEDS: u64 = 12;

/// The scenario, smoothly and with everything late, lost and repeated.
fn each(founders: u64, shards: u32, replicas: u32, scenario: impl Fn(&mut Model)) {
    for seed in 0..SEEDS {
        let mut model = Model::founded(founders, shards, replicas, seed);
        model.is_rough = seed > 0;
        model.settle();
        scenario(&mut model);
    }
}

fn nodes_of(model: &Model, shard: u32) -> BTreeSet<u64> {
    let members = model.shards[&ShardId(shard)].membership.members();
    members.iter().map(|member| member.node.0).collect()
}

#[test]
fn one_node_then_two_then_three() {
    for shards in [1, 16] {
        each(1, shards, 3, |model| {
            model.assert_settled(1);
            model.join(2);
            model.settle();
            model.assert_settled(1);
            model.join(3);
            model.settle();
            model.assert_settled(3);
        });
    }
}

#[test]
fn two_nodes_have_one_voter_each_and_nothing_moves_for_a_single_shard() {
    each(1, 1, 3, |model| {
        model.join(2);
        assert_eq!(model.settle(), 0);
        assert_eq!(nodes_of(model, 0), BTreeSet::from([1]));
    });
}

#[test]
fn three_nodes_then_five_then_three() {
    each(3, 16, 3, |model| {
        model.assert_settled(3);
        model.join(4);
        model.join(5);
        model.settle();
        model.assert_settled(3);
        assert_eq!(model.spread().len(), 5);
        model.set_state(2, NodeState::Leaving).unwrap();
        model.set_state(4, NodeState::Leaving).unwrap();
        model.settle();
        model.assert_settled(3);
        let left: Vec<u64> = model.map.nodes.keys().map(|node| node.0).collect();
        assert_eq!(left, [1, 3, 5]);
    });
}

#[test]
fn no_more_replicas_move_than_an_even_spread_needs() {
    each(3, 16, 3, |model| {
        model.join(4);
        model.join(5);
        model.settle();
        // 48 voters on five nodes: nine or ten each, so the two new ones get at most 20.
        // What is decided on old news may be in vain, but seldom is.
        let most = if model.is_rough { 24 } else { 20 };
        assert!(
            model.allocated <= most,
            "{} replicas moved",
            model.allocated
        );
    });
}

#[test]
fn a_dead_node_is_replaced_after_down_after_and_not_before() {
    each(4, 16, 3, |model| {
        model.kill(3);
        let before = model.allocated;
        let moved = model.pass(DOWN_AFTER);
        let leads_only = |step: &Step| matches!(step, Step::Lead { .. });
        assert!(moved.iter().all(leads_only), "{moved:?}");
        assert_eq!(model.allocated, before);
        model.settle();
        assert!(model.allocated > before);
        model.assert_settled(3);
        assert!((0..16).all(|shard| !nodes_of(model, shard).contains(&3)));
        // It comes back and gets its share.
        model.revive(3);
        model.settle();
        model.assert_settled(3);
        assert_eq!(model.spread()[&NodeId(3)].0, 12);
    });
}

#[test]
fn a_dead_node_that_nobody_can_replace_keeps_its_replicas() {
    each(3, 4, 3, |model| {
        let before = model.map.placements.clone();
        model.kill(2);
        model.pass(3 * DOWN_AFTER);
        assert_eq!(model.map.placements, before);
        assert!(
            model
                .shards
                .values()
                .all(|shard| shard.membership.voters().count() == 3)
        );
        // A fourth comes and takes its place at once.
        model.join(4);
        model.settle();
        model.assert_settled(3);
        assert!((0..4).all(|shard| !nodes_of(model, shard).contains(&2)));
    });
}

#[test]
fn a_node_that_was_away_for_a_short_time_keeps_its_replicas() {
    each(5, 16, 3, |model| {
        let before = model.map.placements.clone();
        for node in 1..=5 {
            model.kill(node);
            model.pass(DOWN_AFTER / 2);
            model.revive(node);
            model.pass(30);
        }
        model.settle();
        assert_eq!(model.map.placements, before);
        model.assert_settled(3);
    });
}

#[test]
fn a_node_that_drains_keeps_its_replicas_and_leads_nothing() {
    each(3, 16, 3, |model| {
        let before = model.map.placements.clone();
        model.set_state(1, NodeState::Draining).unwrap();
        let steps = model.second();
        let led = steps
            .iter()
            .filter(|step| matches!(step, Step::Lead { .. }))
            .count();
        assert!(led >= 5, "all of its leaderships go at once: {steps:?}");
        model.settle();
        assert_eq!(model.map.placements, before);
        model.assert_settled(3);
        let leads: Vec<usize> = model.spread().values().map(|counts| counts.1).collect();
        assert_eq!(leads, [8, 8]);
        model.set_state(1, NodeState::Member).unwrap();
        model.settle();
        model.assert_settled(3);
        assert_eq!(model.spread().len(), 3);
    });
}

#[test]
fn a_node_that_drains_gets_no_replicas() {
    each(3, 4, 3, |model| {
        model.join(4);
        model.set_state(4, NodeState::Draining).unwrap();
        model.settle();
        assert!((0..4).all(|shard| !nodes_of(model, shard).contains(&4)));
    });
}

#[test]
fn a_node_that_leaves_hands_over_and_is_removed() {
    each(4, 8, 3, |model| {
        model.set_state(1, NodeState::Leaving).unwrap();
        model.settle();
        model.assert_settled(3);
        assert!(model.map.removed.contains_key(&NodeId(1)));
        assert!(!model.map.nodes.contains_key(&NodeId(1)));
    });
}

#[test]
fn three_nodes_of_which_one_leaves_have_one_voter() {
    each(3, 8, 3, |model| {
        model.set_state(2, NodeState::Leaving).unwrap();
        model.settle();
        model.assert_settled(1);
        model.set_state(3, NodeState::Leaving).unwrap();
        model.settle();
        model.assert_settled(1);
        assert!((0..8).all(|shard| nodes_of(model, shard) == BTreeSet::from([1])));
        let refused = model.set_state(1, NodeState::Leaving);
        assert_eq!(refused, Err(Rejected::LastNode(NodeId(1))));
    });
}

#[test]
fn a_dead_node_can_be_removed_at_once() {
    each(4, 8, 3, |model| {
        model.kill(2);
        model.pass(5);
        model.set_state(2, NodeState::Leaving).unwrap();
        model.pass(DOWN_AFTER - 5);
        assert!(model.map.removed.contains_key(&NodeId(2)));
        model.settle();
        model.assert_settled(3);
    });
}

#[test]
fn a_leader_of_the_only_voter_leaves() {
    each(1, 1, 3, |model| {
        model.join(2);
        model.set_state(1, NodeState::Leaving).unwrap();
        model.settle();
        model.assert_settled(1);
        assert_eq!(nodes_of(model, 0), BTreeSet::from([2]));
        assert!(model.map.removed.contains_key(&NodeId(1)));
    });
}

#[test]
fn one_replica_is_spread_over_all_nodes() {
    each(1, 16, 1, |model| {
        for node in 2..=5 {
            model.join(node);
        }
        model.settle();
        model.assert_settled(1);
        assert_eq!(model.spread().len(), 5);
    });
}

#[test]
fn five_replicas_survive_two_deaths_and_are_made_up_for() {
    each(5, 8, 5, |model| {
        model.assert_settled(5);
        model.kill(1);
        model.kill(4);
        model.pass(50);
        assert!(model.shards.values().all(|shard| shard.leader.is_some()));
        model.join(6);
        model.join(7);
        model.pass(DOWN_AFTER);
        model.settle();
        model.assert_settled(5);
        assert!((0..8).all(|shard| nodes_of(model, shard) == BTreeSet::from([2, 3, 5, 6, 7])));
    });
}

#[test]
fn five_replicas_on_a_cluster_that_grows() {
    each(1, 4, 5, |model| {
        for (node, voters) in [(2, 1), (3, 3), (4, 3), (5, 5), (6, 5)] {
            model.join(node);
            model.settle();
            model.assert_settled(voters);
        }
    });
}

/// Puts a learner where none belongs.
fn allocate(model: &mut Model, node: u64) -> ReplicaId {
    let node = NodeId(node);
    let shard = (0..4)
        .map(ShardId)
        .find(|&shard| model.map.placed_on(shard, node).is_none())
        .unwrap();
    model.map.apply(&Change::Allocate { shard, node }).unwrap();
    model.map.placed_on(shard, node).unwrap().0
}

#[test]
fn an_allocated_learner_that_nobody_needs_goes() {
    each(5, 4, 3, |model| {
        for node in 1..=5 {
            allocate(model, node);
        }
        model.settle();
        model.assert_settled(3);
    });
}

#[test]
fn a_learner_whose_node_is_gone_goes() {
    each(3, 4, 3, |model| {
        model.join(4);
        // Some learners are allocated, some are members of their shards already.
        model.pass(4);
        model.kill(4);
        model.pass(DOWN_AFTER);
        model.settle();
        model.assert_settled(3);
        assert!((0..4).all(|shard| !nodes_of(model, shard).contains(&4)));
        let placed = model
            .map
            .placements
            .values()
            .flat_map(|placed| placed.values());
        assert!(
            placed
                .into_iter()
                .all(|placement| placement.node != NodeId(4))
        );
    });
}

#[test]
fn a_learner_that_the_map_does_not_know_goes() {
    each(3, 4, 3, |model| {
        model.join(4);
        model.settle();
        let shard = (0..4)
            .find(|&shard| !nodes_of(model, shard).contains(&4))
            .unwrap();
        let stray = meta::Member {
            replica: ReplicaId(1000),
            node: NodeId(4),
            role: Role::Learner,
        };
        let state = model.shards.get_mut(&ShardId(shard)).unwrap();
        state.membership.insert(stray);
        model.settle();
        model.assert_settled(3);
    });
}

#[test]
fn an_operator_moves_a_replica() {
    each(4, 1, 3, |model| {
        let from = *nodes_of(model, 0).first().unwrap();
        let to = (1..=4)
            .find(|node| !nodes_of(model, 0).contains(node))
            .unwrap();
        let wish = Move {
            from: NodeId(from),
            to: NodeId(to),
        };
        model.config.moves.insert(ShardId(0), wish);
        model.settle();
        let expected: BTreeSet<u64> = (1..=4).filter(|&node| node != from).collect();
        assert_eq!(nodes_of(model, 0), expected);
        model.config.moves.clear();
        model.settle();
        assert_eq!(nodes_of(model, 0), expected);
        model.assert_settled(3);
    });
}

#[test]
fn leaderships_are_evened_out() {
    each(5, 5, 3, |model| {
        for shard in 0..5 {
            let state = model.shards.get_mut(&ShardId(shard)).unwrap();
            state.leader = Some(state.membership.members()[0].replica);
        }
        model.settle();
        model.assert_settled(3);
    });
}

#[test]
fn leaderships_move_along_chains() {
    each(4, 8, 3, |model| {
        // Node 1 leads three shards and node 3 one, but none of the three has a voter on node 3.
        let voters = [
            [1, 2, 4],
            [1, 2, 4],
            [1, 2, 4],
            [2, 3, 4],
            [2, 3, 4],
            [4, 1, 2],
            [4, 1, 2],
            [3, 1, 2],
        ];
        model.config.learners_per_node = 0;
        for (shard, nodes) in voters.into_iter().enumerate() {
            let shard = ShardId(shard as u32);
            let placed = model.map.placements.get_mut(&shard).unwrap();
            for (placement, node) in placed.values_mut().zip(nodes) {
                placement.node = NodeId(node);
            }
            let membership = model.map.membership_at_founding(shard);
            let state = model.shards.get_mut(&shard).unwrap();
            state.leader = Some(membership.members()[0].replica);
            state.membership = membership;
        }
        model.settle();
        let leads: Vec<usize> = model.spread().values().map(|counts| counts.1).collect();
        assert_eq!(leads, [2, 2, 2, 2]);
    });
}

#[test]
fn what_a_leader_says_of_itself_is_what_the_balancer_looks_at() {
    let progress = |replica, matched, active| ReplicaProgress {
        replica: ReplicaId(replica),
        matched,
        active,
    };
    let leader = ReplicaStatus {
        shard: ShardId(2),
        replica: ReplicaId(7),
        leads: true,
        leader: Some(ReplicaId(7)),
        term: 3,
        last: 1000,
        commit: 990,
        applied: 990,
        membership: Some(Membership::default()),
        progress: vec![
            progress(8, 1000 - ObservedShard::CAUGHT_UP_ENTRIES, true),
            progress(9, 999 - ObservedShard::CAUGHT_UP_ENTRIES, true),
            progress(10, 1000, false),
        ],
        change_pending: true,
    };
    let seen = ObservedShard::from_status(NodeId(1), &leader).unwrap();
    assert_eq!((seen.leader, seen.leader_node), (ReplicaId(7), NodeId(1)));
    assert_eq!(seen.caught_up, BTreeSet::from([ReplicaId(7), ReplicaId(8)]));
    assert!(seen.change_pending);
    let follower = ReplicaStatus {
        leads: false,
        ..leader
    };
    assert_eq!(ObservedShard::from_status(NodeId(1), &follower), None);
}

#[test]
fn a_disk_with_little_room_keeps_what_it_has_and_gets_nothing() {
    each(4, 8, 3, |model| {
        model.nearly_full.insert(NodeId(4));
        let carried = model.spread()[&NodeId(4)].0;
        assert_eq!(model.settle(), 0, "what is there stays");
        model.join(5);
        model.nearly_full.insert(NodeId(5));
        model.kill(1);
        model.pass(2 * DOWN_AFTER);
        model.settle();
        let voters = model.spread();
        assert_eq!(voters[&NodeId(4)].0, carried);
        assert_eq!(voters[&NodeId(5)].0, 0);
        // There is room again.
        model.nearly_full.clear();
        model.settle();
        model.assert_settled(3);
        assert!(model.spread()[&NodeId(5)].0 > 0);
    });
}

#[test]
fn a_disk_that_refuses_writes_leads_nothing_until_it_has_room() {
    each(3, 6, 3, |model| {
        model.refusing.insert(NodeId(2));
        model.settle();
        assert_eq!(model.spread()[&NodeId(2)], (6, 0), "its replicas stay");
        model.refusing.clear();
        model.settle();
        model.assert_settled(3);
        // With nobody else to lead, it goes on as it is.
        model.refusing.extend([1, 2, 3].map(NodeId));
        assert_eq!(model.settle(), 0);
    });
}
