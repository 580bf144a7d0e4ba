//! Changes of who holds a copy, and of the map.

use std::time::Duration;

use base::{NodeId, ReplicaId, ShardId};
use commands::Reply;
use meta::{Change, Outcome, Role};
use shard::{ChangeRefused, Effects, MemberChange, Ticket};

use crate::world::World;

fn add(world: &mut World, leader: u64, id: u64) -> Result<(), ChangeRefused> {
    let (replica, node) = (ReplicaId(id), NodeId(id));
    let change = MemberChange::AddLearner { replica, node };
    let outcome = world.replica(leader).shard.change_members(change);
    world.settle();
    outcome
}

fn role(world: &mut World, at: u64, of: u64) -> Option<Role> {
    let member = world
        .replica(at)
        .shard
        .membership()
        .get(ReplicaId(of))
        .copied();
    member.map(|member| member.role)
}

#[test]
fn a_replica_is_added_filled_and_given_a_vote() {
    let (mut world, leader) = World::led(1);
    world.write(leader, 1, &["set", "k", "v"]);
    world.add_empty(2);
    assert_eq!(add(&mut world, leader, 2), Ok(()));
    world.run(Duration::from_millis(300));
    assert!(world.replica(leader).shard.wants_snapshot());
    let promote = MemberChange::Promote {
        replica: ReplicaId(2),
    };
    let early = world.replica(leader).shard.change_members(promote);
    assert_eq!(early, Err(ChangeRefused::NotCaughtUp));
    world.make_snapshot(leader);
    world.run(Duration::from_millis(300));
    assert!(world.fetch(2));
    world.run(Duration::from_millis(300));
    world.assert_equal();
    assert_eq!(role(&mut world, 2, 2), Some(Role::Learner));
    assert_eq!(world.replica(leader).shard.change_members(promote), Ok(()));
    world.settle();
    assert_eq!(role(&mut world, leader, 2), Some(Role::Voter));
    world.write(leader, 2, &["set", "k", "w"]);
    assert_eq!(world.outcome(leader, 2), Some(Ok(vec![Reply::Ok])));
    // Both are needed now.
    world.isolate(2);
    world.write(leader, 3, &["set", "k", "x"]);
    assert_eq!(world.outcome(leader, 3), None);
}

#[test]
fn members_survive_a_restart() {
    let (mut world, leader) = World::led(3);
    world.add_empty(4);
    assert_eq!(add(&mut world, leader, 4), Ok(()));
    world.run(Duration::from_millis(200));
    let gone = world.kill(leader);
    world.restart(leader, gone);
    world.elect();
    world.run(Duration::from_millis(300));
    assert_eq!(role(&mut world, leader, 4), Some(Role::Learner));
}

#[test]
fn a_replica_is_removed() {
    let (mut world, leader) = World::led(3);
    let other = *world.replicas.keys().find(|id| **id != leader).unwrap();
    let remove = |replica| MemberChange::Remove {
        replica: ReplicaId(replica),
    };
    let shard = &mut world.replica(leader).shard;
    assert_eq!(
        shard.change_members(remove(leader)),
        Err(ChangeRefused::IsLeader)
    );
    assert_eq!(shard.change_members(remove(other)), Ok(()));
    assert_eq!(
        shard.change_members(remove(other)),
        Err(ChangeRefused::InProgress)
    );
    world.settle();
    assert_eq!(role(&mut world, leader, other), None);
    assert_eq!(
        world.replica(leader).shard.change_members(remove(other)),
        Ok(())
    );
    world.run(Duration::from_secs(3));
    assert_eq!(world.leaders(), [leader]);
}

#[test]
fn a_learner_that_lags_gets_no_vote_and_a_node_no_second_copy() {
    let (mut world, leader) = World::led(1);
    for n in 0..300 {
        world.write(leader, n, &["incr", "n"]);
    }
    world.add_empty(2);
    assert_eq!(add(&mut world, leader, 2), Ok(()));
    let shard = &mut world.replica(leader).shard;
    let promote = MemberChange::Promote {
        replica: ReplicaId(2),
    };
    assert_eq!(
        shard.change_members(promote),
        Err(ChangeRefused::NotCaughtUp)
    );
    let second = MemberChange::AddLearner {
        replica: ReplicaId(7),
        node: NodeId(2),
    };
    assert_eq!(shard.change_members(second), Err(ChangeRefused::NodeTaken));
}

#[test]
fn the_map_changes_on_all_replicas() {
    let (mut world, leader) = World::led(3);
    let change = Change::Remove { node: NodeId(2) };
    let allocate = Change::Allocate {
        shard: ShardId(0),
        node: NodeId(1),
    };
    let replica = world.replica(leader);
    let mut effects = Effects::default();
    replica
        .shard
        .propose_change(Ticket(1), &change, &mut effects);
    replica
        .shard
        .propose_change(Ticket(2), &allocate, &mut effects);
    assert!(effects.changes.is_empty());
    world.settle();
    let changes = std::mem::take(&mut world.replica(leader).changes);
    // Both are refused by the map: a node with replicas stays, and has one of each shard.
    assert!(matches!(changes[0], (Ticket(1), Ok(Err(_)))), "{changes:?}");
    assert!(matches!(changes[1], (Ticket(2), Ok(Err(_)))), "{changes:?}");
    let drain = Change::SetState {
        node: NodeId(2),
        state: meta::NodeState::Draining,
    };
    let replica = world.replica(leader);
    replica
        .shard
        .propose_change(Ticket(3), &drain, &mut replica.effects);
    world.settle();
    let changes = std::mem::take(&mut world.replica(leader).changes);
    assert_eq!(changes, [(Ticket(3), Ok(Ok(Outcome::Done)))]);
    world.run(Duration::from_millis(200));
    for replica in world.replicas.values() {
        let map = replica.shard.map().expect("shard 0 has a map");
        assert_eq!(map.nodes[&NodeId(2)].state, meta::NodeState::Draining);
    }
    let gone = world.kill(leader);
    world.restart(leader, gone);
    world.elect();
    world.run(Duration::from_millis(300));
    let map = world
        .replica(leader)
        .shard
        .map()
        .expect("shard 0 has a map");
    assert_eq!(map.nodes[&NodeId(2)].state, meta::NodeState::Draining);
}

#[test]
fn that_a_replica_is_gone_is_not_forgotten() {
    let (mut world, leader) = World::led(3);
    let mut others: Vec<u64> = world.replicas.keys().copied().collect();
    others.retain(|id| *id != leader);
    for &other in &others {
        let remove = MemberChange::Remove {
            replica: ReplicaId(other),
        };
        assert_eq!(world.replica(leader).shard.change_members(remove), Ok(()));
        world.settle();
        assert!(!world.replica(leader).shard.change_pending());
    }
    // Nothing is written after that, and who is gone votes for nobody.
    for other in others {
        world.kill(other);
    }
    let gone = world.kill(leader);
    world.restart(leader, gone);
    world.run(Duration::from_secs(2));
    assert_eq!(world.leaders(), [leader]);
}
