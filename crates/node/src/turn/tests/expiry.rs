//! Reads of keys that expire, under clocks that differ.

use std::time::Duration;

use commands::Reply;
use shard::Refusal;

use super::world::{At, World};

/// What is read of `k` on that node.
fn read(world: &mut World, at: At) -> Reply<'static> {
    let read = world.ask(at, &[&["get", "k"]]);
    world.settle();
    world.replies(read)[0].clone()
}

fn store(world: &mut World, at: At) {
    let write = world.ask(at, &[&["set", "k", "v", "px", "10000"]]);
    world.settle();
    assert_eq!(world.replies(write), [Reply::Ok]);
}

#[test]
fn what_was_seen_to_expire_stays_away_when_the_clock_is_set_back() {
    let mut world = World::new(1, 1);
    world.settle();
    store(&mut world, 0);
    world.nodes[0].outside.ahead = Duration::from_secs(10);
    assert_eq!(read(&mut world, 0), Reply::Null);
    world.nodes[0].outside.ahead = Duration::ZERO;
    assert_eq!(read(&mut world, 0), Reply::Null);
}

#[test]
fn what_was_seen_to_expire_stays_away_under_a_leader_with_another_clock() {
    let (mut world, first) = World::led(3, 3);
    store(&mut world, first);
    world.nodes[first].outside.ahead = Duration::from_secs(10);
    assert_eq!(read(&mut world, first), Reply::Null);
    world.isolate(first);
    world.until("another leader", |world| {
        world.leaders().iter().any(|&leader| leader != first)
    });
    let second = *world.leaders().iter().find(|&&at| at != first).unwrap();
    assert_eq!(read(&mut world, second), Reply::Null);
}

#[test]
fn only_reads_of_what_has_just_expired_make_entries() {
    let mut world = World::new(1, 1);
    world.settle();
    store(&mut world, 0);
    let last = |world: &World| world.nodes[0].turn.shard().unwrap().last_index();
    let before = last(&world);
    assert_eq!(read(&mut world, 0), Reply::bulk(b"v"));
    world.nodes[0].outside.ahead = Duration::from_secs(10);
    let other = world.ask(0, &[&["get", "other"]]);
    world.settle();
    assert_eq!(world.replies(other), [Reply::Null]);
    assert_eq!(last(&world), before);
    assert_eq!(read(&mut world, 0), Reply::Null);
    assert_eq!(last(&world), before + 1);
    assert_eq!(read(&mut world, 0), Reply::Null);
    assert_eq!(last(&world), before + 1);
}

#[test]
fn a_full_disk_refuses_reads_of_what_has_just_expired() {
    let mut world = World::new(1, 1);
    world.settle();
    store(&mut world, 0);
    let outside = &mut world.nodes[0].outside;
    outside.has_no_room = true;
    outside.ahead = Duration::from_secs(10);
    let read = world.ask(0, &[&["get", "k"]]);
    world.settle();
    assert_eq!(world.refusal(read), Refusal::DiskFull);
}

#[test]
fn a_read_whose_entry_is_lost_had_no_effect() {
    let (mut world, first) = World::led(3, 3);
    store(&mut world, first);
    world.isolate(first);
    world.nodes[first].outside.ahead = Duration::from_secs(10);
    let read = world.ask(first, &[&["get", "k"]]);
    world.settle();
    assert_eq!(world.answer(read), None);
    world.until("an answer", |world| world.answer(read).is_some());
    assert_eq!(world.refusal(read), Refusal::Unreachable);
}
