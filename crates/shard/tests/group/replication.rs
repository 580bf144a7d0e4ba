//! What a majority has, stays.

use std::time::Duration;

use commands::Reply;
use shard::Refusal;

use crate::world::{PATIENCE, World};

#[test]
fn a_write_reaches_all() {
    let (mut world, leader) = World::led(3);
    world.write(leader, 1, &["set", "k", "v"]);
    assert_eq!(world.outcome(leader, 1), Some(Ok(vec![Reply::Ok])));
    world.run(Duration::from_millis(200));
    world.assert_equal();
}

#[test]
fn nothing_is_answered_before_a_majority_has_it_on_disk() {
    let (mut world, leader) = World::led(3);
    for (&id, replica) in &mut world.replicas {
        replica.disk_held = id != leader;
    }
    world.write(leader, 1, &["set", "k", "v"]);
    world.run(Duration::from_millis(200));
    assert_eq!(world.outcome(leader, 1), None);
    let follower = *world.replicas.keys().find(|id| **id != leader).unwrap();
    world.replica(follower).disk_held = false;
    world.settle();
    assert_eq!(world.outcome(leader, 1), Some(Ok(vec![Reply::Ok])));
}

#[test]
fn a_slow_disk_of_a_follower_costs_nobody_the_leadership() {
    let (mut world, leader) = World::led(3);
    for replica in world.replicas.values_mut() {
        replica.disk_held = true;
    }
    world.write(leader, 1, &["set", "k", "v"]);
    world.run(Duration::from_secs(3));
    assert_eq!(world.leaders(), [leader]);
    for replica in world.replicas.values_mut() {
        replica.disk_held = false;
    }
    world.settle();
    assert_eq!(world.outcome(leader, 1), Some(Ok(vec![Reply::Ok])));
}

#[test]
fn who_answers_is_active_whenever_one_looks() {
    let (mut world, leader) = World::led(3);
    let silent = *world.replicas.keys().find(|id| **id != leader).unwrap();
    for _ in 0..40 {
        world.now += Duration::from_millis(50);
        let now = world.now;
        for replica in world.replicas.values_mut() {
            replica.shard.tick(now, &mut replica.effects);
        }
        let progress = world.replica(leader).shard.progress();
        assert!(
            progress.iter().all(|progress| progress.active),
            "{now:?}: {progress:?}"
        );
        world.settle();
    }
    world.isolate(silent);
    world.run(Duration::from_secs(1));
    for progress in world.replica(leader).shard.progress() {
        assert_eq!(progress.active, progress.replica.0 != silent);
    }
}

#[test]
fn an_entry_that_another_leader_replaced_had_no_effect() {
    let (mut world, old) = World::led(3);
    world.isolate(old);
    world.write(old, 1, &["set", "k", "lost"]);
    let new = {
        world.run(Duration::from_millis(1500));
        *world.leaders().iter().find(|id| **id != old).unwrap()
    };
    world.write(new, 2, &["set", "k", "kept"]);
    assert_eq!(world.outcome(new, 2), Some(Ok(vec![Reply::Ok])));
    world.cut.clear();
    world.run(Duration::from_millis(500));
    let refused = Err(Refusal::NotLeader { leader: None });
    assert_eq!(world.outcome(old, 1), Some(refused));
    world.assert_equal();
}

#[test]
fn a_deposed_leader_that_learns_nothing_says_that_it_is_uncertain() {
    let (mut world, old) = World::led(3);
    world.isolate(old);
    world.write(old, 1, &["set", "k", "v"]);
    world.run(Duration::from_secs(1));
    assert_eq!(world.outcome(old, 1), None);
    world.run(PATIENCE + Duration::from_millis(300));
    assert_eq!(world.outcome(old, 1), Some(Err(Refusal::Uncertain)));
}

#[test]
fn all_come_back_with_what_was_acknowledged() {
    let (mut world, leader) = World::led(3);
    for n in 0..20 {
        world.write(leader, n, &["incr", "n"]);
    }
    let gone: Vec<_> = [1, 2, 3]
        .into_iter()
        .map(|id| (id, world.kill(id)))
        .collect();
    for (id, replica) in gone {
        world.restart(id, replica);
    }
    let leader = world.elect();
    world.write(leader, 99, &["incr", "n"]);
    assert_eq!(
        world.outcome(leader, 99),
        Some(Ok(vec![Reply::Integer(21)]))
    );
}
