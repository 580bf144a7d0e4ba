//! What becomes of the map, and what people are told when a change is rejected.

#![allow(clippy::unwrap_used, reason = "a failure of a test is a panic")]

use base::{ClusterId, Incarnation, NodeId, ReplicaId, ShardId};
use meta::{
    Change, ClusterMap, FindNodeError, Founder, NODES_MAX, NodeState, Outcome, Rejected, Role,
    wanted_voters,
};

fn founder(node: u64) -> Founder {
    Founder {
        node: NodeId(node),
        incarnation: Incarnation(3),
        name: format!("n{node}"),
        address: format!("host{node}:19919"),
        redis: format!("host{node}:6379"),
        version: "0.1.0".into(),
        formats: 1,
    }
}

/// Founded by the nodes 10, 20, 30, ...
fn map(founders: u64, shards: u32, replicas: u32) -> ClusterMap {
    let founders: Vec<Founder> = (1..=founders)
        .rev()
        .map(|node| founder(10 * node))
        .collect();
    ClusterMap::founding(ClusterId(5), &founders, shards, replicas, 6)
}

/// The change takes effect: one epoch more.
fn takes(map: &mut ClusterMap, change: &Change) -> Outcome {
    let epoch = map.epoch;
    let outcome = map.apply(change).unwrap();
    assert_eq!(map.epoch, epoch + 1, "{change:?}");
    outcome
}

fn join(node: u64, formats: u32) -> Change {
    Change::join(Founder {
        formats,
        ..founder(node)
    })
}

#[test]
fn formats_are_used_once_all_nodes_read_them_and_never_given_up() {
    let mut map = map(2, 1, 3);
    assert_eq!(map.formats, 1);
    takes(&mut map, &join(10, 3));
    assert_eq!(map.formats, 1, "node 20 does not read newer ones");
    takes(&mut map, &join(10, 2));
    takes(&mut map, &join(20, 3));
    assert_eq!(map.formats, 2);
    is_rejected(
        &mut map,
        &join(20, 1),
        &[
            "node",
            "reads formats up to 1",
            "uses formats 2",
            "start a newer version",
        ],
    );
    is_rejected(&mut map, &join(30, 1), &["uses formats 2"]);
    takes(&mut map, &join(30, 3));
    takes(&mut map, &set_state(10, NodeState::Leaving));
    let replica = map
        .placements_of(ShardId(0))
        .find(|(_, placement)| placement.node == NodeId(10));
    let (replica, shard) = (replica.expect("it was founded with it").0, ShardId(0));
    takes(&mut map, &Change::Unplace { shard, replica });
    takes(&mut map, &Change::Remove { node: NodeId(10) });
    assert_eq!(map.formats, 3, "the last node that held them back is gone");
}

/// The map is as the change wants it already.
fn is_done(map: &mut ClusterMap, change: &Change) {
    let before = map.clone();
    assert_eq!(map.apply(change), Ok(Outcome::Done));
    assert_eq!(*map, before);
}

/// The change is rejected, with these words among others.
fn is_rejected(map: &mut ClusterMap, change: &Change, words: &[&str]) -> Rejected {
    let before = map.clone();
    let rejected = map.apply(change).unwrap_err();
    assert_eq!(*map, before);
    for word in words {
        assert!(rejected.to_string().contains(word), "{rejected}");
    }
    rejected
}

fn set_state(node: u64, state: NodeState) -> Change {
    Change::SetState {
        node: NodeId(node),
        state,
    }
}

#[test]
fn founding_spreads_an_odd_number_of_voters_evenly() {
    let wanted = [
        (1, 3, 1),
        (2, 3, 1),
        (3, 3, 3),
        (4, 3, 3),
        (4, 5, 3),
        (5, 5, 5),
        (3, 1, 1),
    ];
    for (founders, replicas, voters) in wanted {
        assert_eq!(wanted_voters(replicas, founders as usize), voters);
        let map = map(founders, 16, replicas);
        let mut load = vec![0; founders as usize];
        let mut next = 1;
        for shard in map.shard_ids() {
            let membership = map.membership_at_founding(shard);
            assert_eq!(membership.members().len(), voters);
            assert_eq!(membership.voters().count(), voters);
            for member in membership.members() {
                assert_eq!(member.replica, ReplicaId(next));
                next += 1;
                load[member.node.0 as usize / 10 - 1] += 1;
            }
        }
        assert_eq!(map.next_replica, next);
        assert_eq!(map.epoch, 1);
        assert!(
            load.iter().max().unwrap() - load.iter().min().unwrap() <= 1,
            "{load:?}"
        );
    }
    let first = |shard| {
        map(3, 4, 3)
            .membership_at_founding(ShardId(shard))
            .members()[0]
            .node
            .0
    };
    assert_eq!([first(0), first(1), first(2), first(3)], [10, 20, 30, 10]);
    assert_eq!(wanted_voters(3, 0), 0);
}

#[test]
fn a_node_joins_and_comes_back() {
    let mut map = map(1, 1, 3);
    takes(&mut map, &Change::join(founder(20)));
    is_done(&mut map, &Change::join(founder(20)));
    takes(&mut map, &set_state(20, NodeState::Draining));
    let back = Founder {
        incarnation: Incarnation(4),
        address: "elsewhere:1".into(),
        name: "new".into(),
        ..founder(20)
    };
    takes(&mut map, &Change::join(back.clone()));
    let entry = &map.nodes[&NodeId(20)];
    assert_eq!(entry.address, "elsewhere:1");
    assert_eq!(entry.name, "new");
    assert_eq!(entry.incarnation, Incarnation(4));
    assert_eq!(
        entry.state,
        NodeState::Draining,
        "it stays what it is used for"
    );
    // The same start, with another address.
    let moved = Founder {
        address: "elsewhere:2".into(),
        ..back
    };
    takes(&mut map, &Change::join(moved));
}

#[test]
fn an_old_copy_of_a_disk_does_not_join() {
    let mut map = map(2, 1, 3);
    let old = Founder {
        incarnation: Incarnation(2),
        ..founder(20)
    };
    let words = [
        "incarnation 2",
        "incarnation 3",
        "old copy",
        "empty data folder",
    ];
    is_rejected(&mut map, &Change::join(old), &words);
}

#[test]
fn a_node_that_was_removed_does_not_come_back() {
    let mut map = map(2, 1, 1);
    takes(&mut map, &set_state(20, NodeState::Leaving));
    let remove = Change::Remove { node: NodeId(20) };
    takes(&mut map, &remove);
    is_done(&mut map, &remove);
    assert_eq!(map.removed[&NodeId(20)], Incarnation(3));
    for change in [Change::join(founder(20)), set_state(20, NodeState::Member)] {
        is_rejected(&mut map, &change, &["was removed"]);
    }
}

#[test]
fn a_node_with_replicas_is_not_removed() {
    let mut map = map(3, 4, 3);
    let remove = Change::Remove { node: NodeId(10) };
    is_rejected(&mut map, &remove, &["replicas of 4 shards"]);
    is_rejected(
        &mut map,
        &Change::Remove { node: NodeId(99) },
        &["0000000000000063"],
    );
}

#[test]
fn the_last_member_does_not_leave() {
    let mut map = map(2, 1, 3);
    is_done(&mut map, &set_state(10, NodeState::Member));
    takes(&mut map, &set_state(10, NodeState::Draining));
    is_rejected(
        &mut map,
        &set_state(20, NodeState::Leaving),
        &["the last one"],
    );
    takes(&mut map, &set_state(10, NodeState::Leaving));
    takes(&mut map, &set_state(10, NodeState::Member));
}

#[test]
fn replicas_are_allocated_placed_and_forgotten() {
    let mut map = map(1, 2, 3);
    takes(&mut map, &Change::join(founder(20)));
    let shard = ShardId(1);
    let node = NodeId(20);
    let replica = ReplicaId(map.next_replica);
    let allocate = Change::Allocate { shard, node };
    assert_eq!(takes(&mut map, &allocate), Outcome::Allocated(replica));
    assert_eq!(map.placed_on(shard, node).unwrap().1.role, Role::Learner);
    is_rejected(&mut map, &allocate, &["already has replica"]);
    let place = |role| Change::Place {
        shard,
        replica,
        role,
    };
    takes(&mut map, &place(Role::Voter));
    is_done(&mut map, &place(Role::Voter));
    let unplace = Change::Unplace { shard, replica };
    takes(&mut map, &unplace);
    is_done(&mut map, &unplace);
    is_rejected(&mut map, &place(Role::Voter), &["no replica"]);
    let never = Change::Unplace {
        shard,
        replica: ReplicaId(99),
    };
    is_rejected(&mut map, &never, &["no replica 99"]);
    let outcome = takes(&mut map, &allocate);
    assert_eq!(
        outcome,
        Outcome::Allocated(ReplicaId(replica.0 + 1)),
        "ids are not used twice"
    );
}

#[test]
fn replicas_go_to_members_of_the_cluster_and_to_shards_that_exist() {
    let mut map = map(1, 2, 3);
    takes(&mut map, &Change::join(founder(20)));
    let allocate = |shard, node| Change::Allocate {
        shard: ShardId(shard),
        node: NodeId(node),
    };
    is_rejected(&mut map, &allocate(2, 20), &["no shard 2", "0 to 1"]);
    is_rejected(&mut map, &allocate(0, 30), &["does not belong"]);
    takes(&mut map, &set_state(20, NodeState::Draining));
    is_rejected(&mut map, &allocate(0, 20), &["draining", "undrain"]);
}

#[test]
fn texts_that_would_forge_lines_do_not_join() {
    let mut map = map(1, 1, 3);
    let forged = Founder {
        name: "n\nnode 7 removed".into(),
        ..founder(20)
    };
    is_rejected(&mut map, &Change::join(forged), &["name", "not printable"]);
    let long = Founder {
        address: "a".repeat(10_000),
        ..founder(20)
    };
    is_rejected(&mut map, &Change::join(long), &["address", "too long"]);
}

#[test]
fn there_is_a_most_of_nodes() {
    let mut map = map(1, 1, 3);
    for node in 1..NODES_MAX as u64 {
        takes(&mut map, &Change::join(founder(1000 + node)));
    }
    is_rejected(&mut map, &Change::join(founder(5000)), &["1024 nodes"]);
    let back = Founder {
        incarnation: Incarnation(4),
        ..founder(10)
    };
    takes(&mut map, &Change::join(back));
}

#[test]
fn nodes_are_found_by_name_and_by_id() {
    let mut map = map(2, 1, 3);
    assert_eq!(map.find_node("n10"), Ok(NodeId(10)));
    assert_eq!(map.find_node("000000000000000a"), Ok(NodeId(10)));
    let unknown = map.find_node("n11").unwrap_err();
    assert!(
        unknown.to_string().contains("n10 (000000000000000a), n20"),
        "{unknown}"
    );
    let twin = Founder {
        name: "n10".into(),
        ..founder(30)
    };
    takes(&mut map, &Change::join(twin));
    let ambiguous = map.find_node("n10").unwrap_err();
    assert!(matches!(ambiguous, FindNodeError::Ambiguous { .. }));
    assert!(
        ambiguous
            .to_string()
            .contains("000000000000000a (host10:19919), 000000000000001e")
    );
    assert_eq!(map.find_node("000000000000001e"), Ok(NodeId(30)));
}
