//! Followers that miss more than the log has.

use std::time::Duration;

use commands::Reply;

use crate::world::World;

/// Leaves a follower behind that only a snapshot can help.
fn left_behind(world: &mut World, leader: u64) -> u64 {
    let follower = *world.replicas.keys().find(|id| **id != leader).unwrap();
    world.isolate(follower);
    let value = "x".repeat(1 << 20);
    for n in 0..40 {
        world.write(leader, n, &["set", "k", &value]);
    }
    world.run(Duration::from_secs(1));
    world.make_snapshot(leader);
    world.cut.clear();
    world.run(Duration::from_secs(1));
    follower
}

#[test]
fn a_follower_goes_on_from_a_snapshot() {
    let (mut world, leader) = World::led(3);
    let follower = left_behind(&mut world, leader);
    world.write(leader, 100, &["set", "after", "v"]);
    assert!(world.fetch(follower));
    world.run(Duration::from_millis(500));
    world.assert_equal();
    // It is as good as any other.
    let other = *world
        .replicas
        .keys()
        .find(|id| **id != leader && **id != follower)
        .unwrap();
    world.kill(other);
    world.write(leader, 101, &["set", "after", "w"]);
    assert_eq!(world.outcome(leader, 101), Some(Ok(vec![Reply::Ok])));
    let gone = world.kill(follower);
    world.restart(follower, gone);
    world.run(Duration::from_secs(1));
    world.assert_equal();
}

#[test]
fn a_crash_after_the_file_and_before_its_record_loses_nothing() {
    let (mut world, leader) = World::led(3);
    let follower = left_behind(&mut world, leader);
    world.replica(follower).disk_held = true;
    assert!(world.fetch(follower));
    let gone = world.kill(follower);
    world.restart(follower, gone);
    world.run(Duration::from_secs(1));
    while world.fetch(follower) {}
    world.run(Duration::from_secs(1));
    world.assert_equal();
}

#[test]
fn a_snapshot_that_comes_too_late_changes_nothing() {
    let (mut world, leader) = World::led(3);
    world.write(leader, 1, &["set", "k", "v"]);
    world.make_snapshot(leader);
    world.write(leader, 2, &["set", "k", "w"]);
    world.run(Duration::from_millis(300));
    let follower = *world.replicas.keys().find(|id| **id != leader).unwrap();
    assert_eq!(world.replica(follower).shard.incoming(), None);
    world.assert_equal();
}

#[test]
fn a_follower_whose_state_lags_behind_its_log_does_not_campaign_yet() {
    let (mut world, leader) = World::led(3);
    let follower = left_behind(&mut world, leader);
    world.replica(follower).disk_held = true;
    assert!(world.fetch(follower));
    // The keyspace waits for the disk, and the leader is gone for longer than any election timeout.
    world.kill(leader);
    world.run(Duration::from_secs(3));
    world.replica(follower).disk_held = false;
    world.run(Duration::from_secs(3));
    assert_eq!(world.leaders().len(), 1);
}
