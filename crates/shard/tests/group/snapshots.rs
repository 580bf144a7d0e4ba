//! Followers that miss more than the log has.

use std::time::Duration;

use base::NodeId;
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

#[test]
fn no_snapshot_is_made_while_another_is_on_its_way_into_the_keyspace() {
    let (mut world, leader) = World::led(3);
    let follower = left_behind(&mut world, leader);
    // As with a full disk: the record of it is not durable.
    world.replica(follower).disk_held = true;
    assert!(world.fetch(follower));
    world.run(Duration::from_secs(1));
    assert!(world.replica(follower).shard.snapshot_meta().is_none());
    world.replica(follower).disk_held = false;
    world.run(Duration::from_secs(1));
    let applied = world.replica(follower).shard.applied();
    let meta = world.replica(follower).shard.snapshot_meta();
    assert_eq!(meta.map(|meta| meta.index), Some(applied));
}

/// What may be kept for who is filled, in the tests below.
const LIMIT: usize = 1 << 20;
/// What a test writes at a time.
const VALUE: usize = 4 << 10;

/// A leader whose log was cut behind a follower that is back now, and has been offered a snapshot of that entry.
fn to_be_filled() -> (World, u64, u64, u64) {
    let (mut world, leader) = World::led(3);
    for replica in world.replicas.values_mut() {
        replica.shard.set_catch_up_bytes(LIMIT);
    }
    let follower = *world.replicas.keys().find(|id| **id != leader).unwrap();
    world.isolate(follower);
    for _ in 0..2 * LIMIT / VALUE {
        write(&mut world, leader);
    }
    world.run(Duration::from_secs(1));
    world.make_snapshot(leader);
    world.cut.clear();
    world.run(Duration::from_secs(1));
    let incoming = world.replica(follower).shard.incoming();
    (world, leader, follower, incoming.expect("an offer").index)
}

fn write(world: &mut World, leader: u64) {
    let value = "x".repeat(VALUE);
    world.write(leader, 1000, &["set", "k", &value]);
    drop(world.outcome(leader, 1000));
}

/// Writes as much as is let in, and more than can be kept; how much that was.
fn flood(world: &mut World, leader: u64) -> usize {
    let mut written = 0;
    for _ in 0..2 * LIMIT / VALUE {
        if world.replica(leader).shard.holds_writes() {
            break;
        }
        write(world, leader);
        written += 1;
        let kept = world.replica(leader).shard.log_bytes();
        assert!(kept <= LIMIT + 2 * VALUE, "{kept} bytes are kept");
    }
    written
}

#[test]
fn a_follower_is_filled_while_more_is_written_than_can_be_kept() {
    let (mut world, leader, follower, index) = to_be_filled();
    let mut written = Vec::new();
    for sent in 1..=100 {
        let now = world.now;
        let shard = &mut world.replica(leader).shard;
        shard.note_sent(now, NodeId(follower), index, (sent, 100));
        written.push(flood(&mut world, leader));
        world.step();
    }
    assert!(
        written[50..].iter().sum::<usize>() > 50,
        "writes go on, at the pace of the transfer: {written:?}"
    );
    assert!(world.replica(leader).shard.holds_writes());
    assert!(world.fetch(follower));
    for _ in 0..100 {
        flood(&mut world, leader);
        world.step();
    }
    assert_eq!(world.replica(follower).shard.incoming(), None);
    assert!(!world.replica(leader).shard.holds_writes());
    world.assert_equal();
}

#[test]
fn writes_wait_for_nobody_who_gets_nowhere() {
    let (mut world, leader, follower, index) = to_be_filled();
    let now = world.now;
    let shard = &mut world.replica(leader).shard;
    shard.note_sent(now, NodeId(follower), index, (1, 100));
    flood(&mut world, leader);
    assert!(world.replica(leader).shard.holds_writes());
    world.run(Duration::from_secs(16));
    assert!(!world.replica(leader).shard.holds_writes());

    let (mut world, leader, follower, index) = to_be_filled();
    let now = world.now;
    let shard = &mut world.replica(leader).shard;
    shard.note_sent(now, NodeId(follower), index, (1, 100));
    flood(&mut world, leader);
    assert!(world.replica(leader).shard.holds_writes());
    world.kill(follower);
    assert!(!world.replica(leader).shard.holds_writes());
}

#[test]
fn who_gets_on_slowly_does_not_hold_up_the_others_for_long() {
    let (mut world, leader, follower, index) = to_be_filled();
    let began = world.now;
    let mut held = Duration::ZERO;
    let mut held_early = Duration::ZERO;
    for sent in 1.. {
        let now = world.now;
        if now - began > Duration::from_secs(600) {
            break;
        }
        let shard = &mut world.replica(leader).shard;
        shard.note_sent(now, NodeId(follower), index, (sent, 1 << 20));
        if !shard.holds_writes() {
            write(&mut world, leader);
        }
        world.step();
        let passed = world.now - now;
        if world.replica(leader).shard.holds_writes() {
            held += passed;
            if now - began < Duration::from_secs(90) {
                held_early += passed;
            }
        }
    }
    assert!(held_early >= Duration::from_secs(50), "{held_early:?}");
    // A minute, and a tenth of what follows.
    assert!(held <= Duration::from_secs(120), "{held:?}");
}
