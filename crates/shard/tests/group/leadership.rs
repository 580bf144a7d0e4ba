//! Who leads, and since when.

use std::time::Duration;

use base::{NodeId, ReplicaId};
use commands::Reply;
use shard::{ChangeRefused, Refusal};

use crate::world::{ELECTION, World};

#[test]
fn there_is_one_leader_and_all_know_it() {
    let (mut world, leader) = World::led(5);
    world.run(Duration::from_millis(300));
    assert_eq!(world.leaders(), [leader]);
    for replica in world.replicas.values() {
        assert_eq!(
            replica.shard.leader().map(|leader| leader.node),
            Some(NodeId(leader))
        );
    }
}

#[test]
fn another_is_elected_soon_after_the_connections_to_the_leader_closed() {
    let (mut world, old) = World::led(3);
    world.run(Duration::from_millis(250));
    let killed = world.now;
    world.kill(old);
    let new = world.elect();
    assert_ne!(new, old);
    let took = world.now - killed;
    assert!(took < ELECTION + Duration::from_millis(200), "{took:?}");
}

#[test]
fn another_is_elected_when_the_leader_falls_silent() {
    let (mut world, old) = World::led(3);
    world.isolate(old);
    world.run(2 * ELECTION + Duration::from_millis(300));
    assert_eq!(world.leaders().iter().filter(|id| **id != old).count(), 1);
}

#[test]
fn a_leader_without_a_majority_steps_down() {
    let (mut world, leader) = World::led(3);
    world.isolate(leader);
    world.run(3 * ELECTION);
    assert!(!world.leaders().contains(&leader));
    world.write(leader, 1, &["set", "k", "v"]);
    let refused = Err(Refusal::NotLeader { leader: None });
    assert_eq!(world.outcome(leader, 1), Some(refused));
}

#[test]
fn who_was_away_does_not_depose_the_leader_when_it_returns() {
    let (mut world, leader) = World::led(3);
    let away = *world.replicas.keys().find(|id| **id != leader).unwrap();
    world.isolate(away);
    world.run(Duration::from_secs(5));
    let term = world.replica(leader).shard.term();
    world.cut.clear();
    world.run(Duration::from_secs(2));
    assert_eq!(world.leaders(), [leader]);
    assert_eq!(world.replica(away).shard.term(), term);
}

#[test]
fn one_that_has_just_started_does_not_vote_for_an_election_timeout() {
    let (mut world, leader) = World::led(3);
    let [first, second] = world
        .replicas
        .keys()
        .copied()
        .filter(|id| *id != leader)
        .collect::<Vec<_>>()[..]
    else {
        unreachable!();
    };
    // The first has not heard of the leader for long, the second has, but forgets it.
    world.cut.extend([(leader, first), (first, leader)]);
    world.run(ELECTION * 2);
    assert_eq!(world.leaders(), [leader]);
    let started = world.now;
    let gone = world.kill(second);
    world.cut.extend([(leader, second)]);
    world.restart(second, gone);
    while world.now < started + ELECTION - Duration::from_millis(20) {
        world.step();
        assert_eq!(world.leaders(), [leader]);
    }
}

#[test]
fn leadership_is_handed_over_without_an_election_timeout() {
    let (mut world, old) = World::led(3);
    let to = *world.replicas.keys().find(|id| **id != old).unwrap();
    world.write(old, 1, &["incr", "n"]);
    assert_eq!(world.replica(old).shard.transfer(ReplicaId(to)), Ok(()));
    world.settle();
    assert_eq!(world.leaders(), [to]);
    world.write(to, 2, &["incr", "n"]);
    assert_eq!(world.outcome(to, 2), Some(Ok(vec![Reply::Integer(2)])));
}

#[test]
fn leadership_goes_to_nobody_who_does_not_vote() {
    let (mut world, leader) = World::led(3);
    let shard = &mut world.replica(leader).shard;
    assert_eq!(shard.transfer(ReplicaId(9)), Err(ChangeRefused::Unknown));
    assert_eq!(shard.transfer(ReplicaId(leader)), Ok(()));
}
