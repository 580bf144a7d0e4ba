//! Reads that run elsewhere, for long.

use commands::Reply;
use shard::LongReads;

use super::world::{At, ELECTION, PATIENCE, World, replica_id};
use crate::Order;

/// Three nodes on which every read is a long one; who leads, and who does not.
fn world() -> (World, At, At) {
    let (mut world, leader) = World::led(3, 3);
    for node in &mut world.nodes {
        node.turn.config.short_read_bytes = 0;
    }
    world.pass(ELECTION);
    let follower = world.follower();
    (world, leader, follower)
}

fn under_way(world: &mut World, at: At) -> LongReads {
    let reads = world.nodes[at].out.long_reads.take();
    reads.expect("reads are under way")
}

/// They are done.
fn finish(world: &mut World, at: At, reads: LongReads) {
    let node = &mut world.nodes[at];
    node.inputs.long_reads = Some(reads.run(node.outside.keyspace()));
}

#[test]
fn nothing_is_applied_while_they_run_and_all_else_goes_on() {
    let (mut world, leader, follower) = world();
    let before = world.ask(follower, &[&["set", "n", "1"]]);
    world.settle();
    assert_eq!(world.replies(before), [Reply::Ok]);
    let read = world.ask(follower, &[&["get", "n"]]);
    world.settle();
    let reads = under_way(&mut world, leader);
    let write = world.ask(follower, &[&["incr", "n"]]);
    let term = world.nodes[leader].turn.shard().unwrap().term();
    world.pass(20 * ELECTION);
    assert_eq!(world.leaders(), [leader]);
    assert_eq!(world.nodes[leader].turn.shard().unwrap().term(), term);
    assert_eq!(world.number(follower, "n"), 2, "it is committed");
    assert_eq!(world.number(leader, "n"), 1);
    assert_eq!(world.answer(write), None);
    finish(&mut world, leader, reads);
    world.settle();
    assert_eq!(world.replies(read), [Reply::Bulk(b"1"[..].into())]);
    assert_eq!(world.replies(write), [Reply::Integer(2)]);
}

#[test]
fn writes_have_their_turn_between_them() {
    let (mut world, leader, _) = world();
    world.ask(leader, &[&["get", "n"]]);
    world.settle();
    let first = under_way(&mut world, leader);
    let write = world.ask(leader, &[&["incr", "n"]]);
    world.settle();
    let second = world.ask(leader, &[&["get", "n"]]);
    world.settle();
    assert!(world.nodes[leader].out.long_reads.is_none());
    finish(&mut world, leader, first);
    world.settle();
    assert_eq!(world.replies(write), [Reply::ONE]);
    let reads = under_way(&mut world, leader);
    finish(&mut world, leader, reads);
    world.settle();
    assert_eq!(world.replies(second), [Reply::Bulk(b"1"[..].into())]);
}

#[test]
fn who_was_deposed_meanwhile_has_another_asked() {
    let (mut world, leader, follower) = world();
    let read = world.ask(leader, &[&["get", "n"]]);
    world.settle();
    let reads = under_way(&mut world, leader);
    world.isolate(leader);
    world.until("another leads", |world| {
        world.nodes[3 - leader - follower].turn.leads() || world.nodes[follower].turn.leads()
    });
    let write = world.ask(follower, &[&["incr", "n"]]);
    world.pass(ELECTION);
    assert_eq!(world.replies(write), [Reply::ONE]);
    for other in (0..3).filter(|other| *other != leader) {
        world.connect(leader, other);
    }
    world.pass(2 * ELECTION);
    finish(&mut world, leader, reads);
    world.settle();
    assert_eq!(world.answer(read), None, "what was read may be old");
    let leads = world.leaders()[0];
    assert_ne!(leads, leader);
    let reads = under_way(&mut world, leads);
    finish(&mut world, leads, reads);
    world.settle();
    assert_eq!(world.replies(read), [Reply::Bulk(b"1"[..].into())]);
}

#[test]
fn a_replica_stays_until_they_are_done() {
    let (mut world, leader, _) = world();
    let read = world.ask(leader, &[&["get", "n"]]);
    world.settle();
    let reads = under_way(&mut world, leader);
    let replica = replica_id(leader);
    world.order(leader, Order::Destroy { replica });
    world.pass(PATIENCE);
    assert!(world.nodes[leader].turn.shard().is_some());
    finish(&mut world, leader, reads);
    world.settle();
    assert!(world.nodes[leader].turn.shard().is_none());
    assert_eq!(world.replies(read), [Reply::Null]);
}
