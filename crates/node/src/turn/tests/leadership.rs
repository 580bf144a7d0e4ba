//! What happens to requests while leadership moves.

use commands::Reply;
use shard::Refusal;

use super::world::{ELECTION, HEARTBEAT, PATIENCE, World, node_id, replica_id};
use crate::Order;

#[test]
fn a_planned_stop_costs_no_request() {
    let (mut world, leader) = World::led(4, 3);
    world.order(leader, Order::HandOver);
    let mut asked = Vec::new();
    for at in 0..4 {
        asked.push(world.ask(at, &[&["incr", "n"]]));
        world.turn(at);
    }
    world.settle();
    assert_ne!(world.leaders(), [leader]);
    // No time has passed: none of them waited for a tick.
    for ticket in asked {
        assert!(world.answer(ticket).is_some_and(Result::is_ok));
    }
}

#[test]
fn leadership_goes_to_one_that_is_there() {
    let (mut world, leader) = World::led(3, 3);
    // Of equals the first would be chosen.
    let away = world.follower();
    world.isolate(away);
    world.pass(2 * ELECTION);
    world.order(leader, Order::HandOver);
    world.settle();
    assert_eq!(world.leaders(), [3 - leader - away]);
}

#[test]
fn leadership_does_not_come_back_to_who_stops() {
    let (mut world, leader) = World::led(3, 3);
    world.order(leader, Order::HandOver);
    world.settle();
    let other = world.leaders()[0];
    assert_ne!(other, leader);
    world.order(other, Order::Lead(replica_id(leader)));
    world.settle();
    world.pass(2 * HEARTBEAT);
    world.until("somebody else leads", |world| {
        let leaders = world.leaders();
        !leaders.is_empty() && !leaders.contains(&leader)
    });
}

#[test]
fn who_stops_and_has_no_successor_serves_on() {
    let mut world = World::new(1, 1);
    world.settle();
    world.order(0, Order::HandOver);
    let write = world.ask(0, &[&["incr", "n"]]);
    world.settle();
    assert_eq!(world.replies(write), [Reply::ONE]);
}

#[test]
fn a_hand_over_that_fails_only_delays() {
    let (mut world, leader) = World::led(3, 3);
    let others: Vec<usize> = (0..3).filter(|at| *at != leader).collect();
    // The one that is to lead hears nothing.
    world.swallowed.insert((leader, others[0]));
    world.order(leader, Order::Lead(replica_id(others[0])));
    let write = world.ask(leader, &[&["incr", "n"]]);
    world.settle();
    assert_eq!(world.answer(write), None);
    world.swallowed.clear();
    world.until("an answer", |world| world.answer(write).is_some());
    assert_eq!(world.replies(write), [Reply::ONE]);
}

#[test]
fn a_leader_is_moved_where_it_is_wanted() {
    let (mut world, leader) = World::led(3, 3);
    let wanted = world.follower();
    world.order(leader, Order::Lead(replica_id(wanted)));
    world.settle();
    assert_eq!(world.leaders(), [wanted]);
    world.order(leader, Order::Lead(replica_id(leader)));
    world.settle();
    assert_eq!(world.leaders(), [wanted], "only who leads gives it away");
}

#[test]
fn a_read_that_waited_at_a_deposed_leader_is_answered_by_the_next() {
    let (mut world, leader) = World::led(3, 3);
    let write = world.ask(leader, &[&["incr", "n"]]);
    world.settle();
    assert!(world.answer(write).is_some());
    world.isolate(leader);
    world.settle();
    // Its lease ends, and there is no majority to ask.
    world.now += ELECTION;
    let read = world.ask(leader, &[&["get", "n"]]);
    world.settle();
    assert_eq!(world.answer(read), None);
    world.until("another leads", |world| {
        world.leaders().iter().any(|at| *at != leader)
    });
    for at in (0..3).filter(|at| *at != leader) {
        world.connect(leader, at);
    }
    world.until("an answer", |world| world.answer(read).is_some());
    assert_eq!(world.replies(read), [Reply::bulk(b"1")]);
}

#[test]
fn a_write_that_another_leaders_entry_replaced_is_done_once_by_the_next() {
    let (mut world, leader) = World::led(3, 3);
    world.isolate(leader);
    let write = world.ask(leader, &[&["incr", "n"]]);
    world.settle();
    assert_eq!(world.answer(write), None);
    world.until("another leads", |world| {
        world.leaders().iter().any(|at| *at != leader)
    });
    for at in (0..3).filter(|at| *at != leader) {
        world.connect(leader, at);
    }
    world.until("an answer", |world| world.answer(write).is_some());
    assert_eq!(world.replies(write), [Reply::ONE]);
    world.pass(4 * HEARTBEAT);
    for at in 0..3 {
        assert_eq!(world.number(at, "n"), 1);
    }
}

#[test]
fn a_write_that_nobody_can_tell_about_is_uncertain() {
    let (mut world, leader) = World::led(3, 3);
    world.isolate(leader);
    let write = world.ask(leader, &[&["incr", "n"]]);
    world.pass(PATIENCE + 4 * ELECTION);
    assert_eq!(world.refusal(write), Refusal::Uncertain);
}

#[test]
fn requests_during_an_election_are_answered_after_it() {
    let mut world = World::new(3, 3);
    let asked: Vec<u64> = (0..3).map(|at| world.ask(at, &[&["incr", "n"]])).collect();
    let leader = world.elect();
    world.settle();
    for ticket in asked {
        assert!(world.answer(ticket).is_some_and(Result::is_ok));
    }
    assert_eq!(world.nodes[leader].turn.leader(), Some(node_id(leader)));
    assert_eq!(world.number(leader, "n"), 3);
}
