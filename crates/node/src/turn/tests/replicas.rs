//! Replicas that come and go.

use base::{ReplicaId, ShardId};
use keyspace::Keyspace;
use meta::{Change, Member, NodeState, Role};
use shard::{MemberChange, Refusal, Ticket};
use wal::{Body, Record};

use super::world::{World, node_id, replica_id};
use crate::Order;

/// What the log of a node says of the replica's end.
fn forgotten(world: &World, at: usize) -> Vec<ReplicaId> {
    let mut records = world.nodes[at].outside.records.as_slice();
    let mut forgotten = Vec::new();
    while !records.is_empty() {
        let record = Record::decode(&mut records).unwrap();
        if record.body == Body::Forget {
            forgotten.push(record.replica);
        }
    }
    forgotten
}

#[test]
fn a_learner_is_added_promoted_and_removed() {
    let (mut world, leader) = World::led(2, 1);
    let replica = ReplicaId(9);
    let new = 1 - leader;
    world.order(new, Order::Create { replica });
    let add = MemberChange::AddLearner {
        replica,
        node: node_id(new),
    };
    world.order(leader, Order::Members(add));
    world.tick();
    // The founding state is in no log: it has to be sent as a snapshot.
    world.until("a snapshot is wanted", |world| {
        world.nodes[leader].out.wants_snapshot
    });
    assert!(world.nodes[leader].out.not_done.is_empty());
    assert_eq!(world.nodes[leader].turn.status().unwrap().progress.len(), 2);
}

#[test]
fn what_cannot_be_done_is_told() {
    let (mut world, _) = World::led(3, 3);
    let follower = world.follower();
    let promote = MemberChange::Promote {
        replica: replica_id(follower),
    };
    world.order(follower, Order::Members(promote));
    world.settle();
    assert_eq!(world.nodes[follower].out.not_done.len(), 1);
}

#[test]
fn a_replica_that_goes_is_forgotten_durably_before_its_snapshots_may_go() {
    let (mut world, _) = World::led(3, 3);
    let gone = world.follower();
    let replica = replica_id(gone);
    world.nodes[gone].outside.is_held = true;
    world.order(
        gone,
        Order::Destroy {
            replica: ReplicaId(99),
        },
    );
    world.settle();
    assert!(
        world.nodes[gone].turn.shard().is_some(),
        "another was meant"
    );
    world.order(gone, Order::Destroy { replica });
    world.settle();
    assert!(world.nodes[gone].turn.shard().is_none());
    assert_eq!(forgotten(&world, gone), [replica]);
    assert!(world.nodes[gone].out.destroyed.is_empty());
    assert_eq!(world.nodes[gone].out.replaced.len(), 1);
    world.nodes[gone].outside.is_held = false;
    world.settle();
    assert_eq!(world.nodes[gone].out.destroyed, [replica]);
    // The node goes on serving through the others.
    let write = world.ask(gone, &[&["incr", "n"]]);
    world.tick();
    assert!(world.answer(write).is_some_and(Result::is_ok));
}

#[test]
fn who_waits_at_a_replica_that_goes_is_told() {
    let (mut world, leader) = World::led(3, 3);
    for node in &mut world.nodes {
        node.outside.is_held = true;
    }
    let write = world.ask(leader, &[&["incr", "n"]]);
    world.settle();
    let replica = replica_id(leader);
    world.order(leader, Order::Destroy { replica });
    world.settle();
    assert_eq!(world.refusal(write), Refusal::Uncertain);
}

#[test]
fn a_replica_takes_the_place_of_another() {
    let (mut world, _) = World::led(3, 3);
    let at = world.follower();
    let replica = ReplicaId(77);
    world.order(at, Order::Create { replica });
    world.settle();
    assert_eq!(world.nodes[at].turn.shard().unwrap().replica(), replica);
    assert_eq!(forgotten(&world, at), [replica_id(at)]);
    world.order(at, Order::Create { replica });
    world.settle();
    assert_eq!(forgotten(&world, at).len(), 1, "it is there already");
    // The others go on, and this one hurts nobody.
    let write = world.ask(at, &[&["incr", "n"]]);
    world.pass(super::world::PATIENCE);
    assert!(world.answer(write).is_some_and(Result::is_ok));
}

#[test]
fn a_snapshot_that_was_received_for_the_replica_before_is_not_installed() {
    let (mut world, leader) = World::led(3, 3);
    let at = world.follower();
    let shard = world.nodes[leader].turn.shard().unwrap();
    let mut meta = shard.snapshot_meta().unwrap();
    world.isolate(at);
    let (before, replica) = (replica_id(at), ReplicaId(77));
    world.order(at, Order::Create { replica });
    world.settle();
    meta.membership.remove(before);
    meta.membership.insert(Member {
        replica,
        node: node_id(at),
        role: Role::Learner,
    });
    // Its file has the name of the one before: after a restart this one would not find it.
    for (arrived_for, applied) in [(before, 0), (replica, meta.index)] {
        world.order(
            at,
            Order::Install {
                replica: arrived_for,
                meta: meta.clone(),
                bytes: 1,
                keyspace: Box::new(Keyspace::new(1)),
            },
        );
        world.settle();
        let shard = world.nodes[at].turn.shard().unwrap();
        assert_eq!(shard.applied(), applied, "{arrived_for:?}");
    }
}

#[test]
fn a_change_of_the_map_is_refused_where_nobody_leads() {
    let (mut world, leader) = World::led(4, 3);
    let change = || Change::SetState {
        node: node_id(0),
        state: NodeState::Draining,
    };
    for at in [world.follower(), 3] {
        let ticket = Ticket(at as u64);
        let change = change();
        world.order(at, Order::Change { ticket, change });
        world.settle();
        let refusal = Refusal::NotLeader {
            leader: Some(node_id(leader)),
        };
        assert_eq!(world.nodes[at].out.changes, [(ticket, Err(refusal))]);
    }
    assert_eq!(world.nodes[0].turn.config().shard, ShardId(0));
}
