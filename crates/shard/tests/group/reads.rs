//! Reads see the latest acknowledged write, or wait.

use std::borrow::Cow;
use std::time::Duration;

use base::{Moment, ReplicaId, Timestamp};
use commands::{Reply, SHORT_BYTES};
use shard::Refusal;

use crate::world::{ELECTION, World, request};

fn bulk(text: &'static str) -> Reply<'static> {
    Reply::Bulk(Cow::Borrowed(text.as_bytes()))
}

#[test]
fn a_lease_ends_before_others_may_vote() {
    let (mut world, leader) = World::led(3);
    world.run(Duration::from_secs(1));
    world.isolate(leader);
    let cut = world.now;
    let until = world.replica(leader).shard.lease_until();
    assert!(until > cut && until <= cut + ELECTION * 3 / 5);
    world.run(Duration::from_millis(400));
    assert_eq!(world.replica(leader).shard.lease_until(), until);
}

#[test]
fn who_offered_the_leadership_has_no_lease_any_more() {
    let (mut world, leader) = World::led(3);
    let to = *world.replicas.keys().find(|id| **id != leader).unwrap();
    world.isolate(to);
    assert_eq!(world.replica(leader).shard.transfer(ReplicaId(to)), Ok(()));
    assert_eq!(world.replica(leader).shard.lease_until(), Duration::ZERO);
    world.cut.clear();
    world.run(Duration::from_secs(2));
    let serving = world.elect();
    assert!(serving != leader || world.replica(leader).shard.lease_until() > Duration::ZERO);
}

#[test]
fn without_a_lease_a_majority_is_asked() {
    let (mut world, leader) = World::led(3);
    world.write(leader, 1, &["set", "k", "v"]);
    let to = *world.replicas.keys().find(|id| **id != leader).unwrap();
    // An offer that never arrives costs the lease.
    world.cut.insert((leader, to));
    assert_eq!(world.replica(leader).shard.transfer(ReplicaId(to)), Ok(()));
    world.settle();
    world.read(leader, 2, &["get", "k"]);
    assert_eq!(world.outcome(leader, 2), Some(Ok(vec![bulk("v")])));
}

#[test]
fn reads_of_a_leader_that_is_alone_are_not_answered() {
    let (mut world, leader) = World::led(3);
    world.isolate(leader);
    world.run(ELECTION);
    world.read(leader, 2, &["get", "k"]);
    assert_eq!(world.outcome(leader, 2), None);
    world.run(2 * ELECTION);
    let refused = Err(Refusal::NotLeader { leader: None });
    assert_eq!(world.outcome(leader, 2), Some(refused));
}

#[test]
fn a_pause_between_the_look_at_the_clock_and_the_read_shows_nothing_old() {
    let (mut world, old) = World::led(3);
    world.write(old, 1, &["set", "k", "old"]);
    // The process stands still after it has looked at the clock.
    let looked_at = world.now;
    world.replica(old).paused = true;
    world.run(2 * ELECTION + Duration::from_millis(300));
    let new = *world.leaders().iter().find(|id| **id != old).unwrap();
    world.write(new, 2, &["set", "k", "new"]);
    assert_eq!(world.outcome(new, 2), Some(Ok(vec![Reply::Ok])));
    let now = world.now;
    let replica = world.replica(old);
    replica.paused = false;
    let effects = &mut replica.effects;
    replica.shard.read(vec![request(3, &["get", "k"])], effects);
    let keyspace = &replica.keyspace;
    let looked_at = Moment {
        wall: Timestamp::ZERO,
        monotonic: looked_at,
    };
    let shard = &mut replica.shard;
    shard.answer_reads(looked_at, keyspace, 1, SHORT_BYTES, effects);
    assert!(
        effects.responses.is_empty(),
        "nothing leaves before the second look"
    );
    replica.shard.confirm_reads(now, effects);
    assert!(effects.responses.is_empty());
    world.run(Duration::from_millis(300));
    let outcome = world.outcome(old, 3);
    assert!(
        matches!(outcome, Some(Err(Refusal::NotLeader { .. }))),
        "{outcome:?}"
    );
}

#[test]
fn one_who_does_not_lead_refuses_reads() {
    let (mut world, leader) = World::led(3);
    world.run(Duration::from_millis(200));
    let follower = *world.replicas.keys().find(|id| **id != leader).unwrap();
    world.read(follower, 2, &["get", "k"]);
    let outcome = world.outcome(follower, 2);
    let leader = Some(base::NodeId(leader));
    assert_eq!(outcome, Some(Err(Refusal::NotLeader { leader })));
}
