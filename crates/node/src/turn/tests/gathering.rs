//! Writes that share entries while others are on their way.

use std::time::Duration;

use commands::Reply;

use super::world::{At, World};

fn last_index(world: &World, at: At) -> u64 {
    world.nodes[at].turn.shard().unwrap().last_index()
}

/// A leader of three, and how many entries it has made when it has taken that many writes one after
/// another, a turn for each, without an answer of the others.
fn proposed(writes: usize, between: Duration) -> (World, At, u64) {
    let (mut world, leader) = World::led(3, 3);
    let before = last_index(&world, leader);
    let large = "v".repeat(90);
    for _ in 0..writes {
        world.ask(leader, &[&["append", "k", &large]]);
        world.turn(leader);
        world.now += between;
    }
    let entries = last_index(&world, leader) - before;
    (world, leader, entries)
}

#[test]
fn writes_gather_while_as_much_is_on_its_way() {
    let (mut world, leader, entries) = proposed(100, Duration::ZERO);
    // 1, then about as many as are on their way, and so on.
    assert!((5..=7).contains(&entries), "{entries} entries");
    world.settle();
    let last = world.ask(leader, &[&["strlen", "k"]]);
    world.settle();
    assert_eq!(world.replies(last), [Reply::Integer(9_000)]);
}

#[test]
fn a_write_does_not_wait_for_long() {
    let (_, _, entries) = proposed(100, Duration::from_millis(1));
    assert!(entries >= 50, "{entries} entries in 100 ms");
}

#[test]
fn a_turn_is_asked_for_when_nothing_else_would_bring_one() {
    let (mut world, leader) = World::led(3, 3);
    world.ask(leader, &[&["append", "k", "first"]]);
    world.turn(leader);
    assert_eq!(world.nodes[leader].out.next_turn, None);
    let before = last_index(&world, leader);
    world.ask(leader, &[&["append", "k", "more"]]);
    world.turn(leader);
    assert_eq!(last_index(&world, leader), before, "it gathers");
    let next_turn = world.nodes[leader].out.next_turn;
    assert_eq!(next_turn, Some(world.now + Duration::from_millis(2)));
    world.now += Duration::from_millis(2);
    world.turn(leader);
    assert_eq!(last_index(&world, leader), before + 1);
    assert_eq!(world.nodes[leader].out.next_turn, None);
}

#[test]
fn reads_do_not_wait_with_the_writes() {
    let (mut world, leader) = World::led(3, 3);
    world.until("a lease", |world| {
        let shard = world.nodes[leader].turn.shard().unwrap();
        shard.lease_until() > world.now
    });
    world.ask(leader, &[&["set", "k", "v"]]);
    world.turn(leader);
    let write = world.ask(leader, &[&["incr", "n"]]);
    let read = world.ask(leader, &[&["get", "k"]]);
    world.turn(leader);
    assert_eq!(world.replies(read), [Reply::Null]);
    assert_eq!(world.answer(write), None);
    world.settle();
    assert_eq!(world.replies(write), [Reply::ONE]);
}

#[test]
fn a_node_alone_gathers_nothing() {
    let mut world = World::new(1, 1);
    world.settle();
    world.nodes[0].outside.is_held = true;
    let before = last_index(&world, 0);
    for _ in 0..3 {
        world.ask(0, &[&["incr", "n"]]);
        world.turn(0);
    }
    assert_eq!(last_index(&world, 0) - before, 3);
}
