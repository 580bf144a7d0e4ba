//! From a session on one node to the leader on another, rule by rule.

use std::time::Duration;

use commands::Reply;
use shard::Refusal;

use super::world::{At, ELECTION, HEARTBEAT, PATIENCE, World, commands_of, node_id};
use crate::wire::{Item, items};
use crate::{FromPeer, Order};

/// How many forwards are on their way to a node.
fn forwards(world: &World, to: At) -> usize {
    let parcels = world.mail.iter();
    let to_node = parcels.filter(|(_, parcel)| parcel.to == node_id(to));
    to_node
        .flat_map(|(_, parcel)| items(&parcel.payload).unwrap())
        .filter(|item| matches!(item, Ok(Item::Forward { .. })))
        .count()
}

/// Three nodes, the third without a replica; who leads, and who follows.
fn three() -> (World, At, At) {
    let (world, leader) = World::led(3, 2);
    (world, leader, 1 - leader)
}

#[test]
fn any_node_serves_a_write_and_a_read() {
    let (mut world, leader) = World::led(4, 3);
    for at in 0..4 {
        let write = world.ask(at, &[&["incr", "n"], &["get", "n"]]);
        world.settle();
        let number = at as i64 + 1;
        let stored = number.to_string();
        assert_eq!(
            world.replies(write),
            [Reply::Integer(number), Reply::bulk(stored.as_bytes())]
        );
        let read = world.ask(at, &[&["get", "n"]]);
        world.settle();
        assert_eq!(world.replies(read), [Reply::bulk(stored.as_bytes())]);
    }
    assert_eq!(world.number(leader, "n"), 4);
}

#[test]
fn all_of_one_turn_goes_in_one_payload() {
    let (mut world, leader, _) = three();
    for _ in 0..5 {
        world.ask(2, &[&["incr", "n"]]);
    }
    world.turn(2);
    assert_eq!((world.mail.len(), forwards(&world, leader)), (1, 5));
    world.settle();
    assert_eq!(world.number(leader, "n"), 5);
}

#[test]
fn a_node_that_does_not_lead_says_who_does() {
    let (mut world, leader, follower) = three();
    let hint = Order::Hint {
        leader: Some(node_id(follower)),
    };
    world.order(2, hint);
    let write = world.ask(2, &[&["incr", "n"]]);
    world.turn(2);
    assert_eq!(forwards(&world, follower), 1);
    world.deliver();
    world.turn(follower);
    let answer = &world.mail.back().unwrap().1.payload;
    let answer = items(answer).unwrap().next().unwrap().unwrap();
    let leader_told = Err(Refusal::NotLeader {
        leader: Some(node_id(leader)),
    });
    match answer.for_shard(node_id(follower)).unwrap() {
        Some((_, FromPeer::Forwarded { outcome, .. })) => assert_eq!(outcome, leader_told),
        other => panic!("{other:?}"),
    }
    world.settle();
    assert_eq!(world.replies(write), [Reply::ONE]);
    // The next one goes there at once.
    world.ask(2, &[&["incr", "n"]]);
    world.turn(2);
    assert_eq!(forwards(&world, leader), 1);
}

#[test]
fn what_one_says_who_does_not_lead_is_no_news_once_another_is_known() {
    let (mut world, leader, follower) = three();
    let hint = |leader| Order::Hint {
        leader: Some(node_id(leader)),
    };
    world.order(2, hint(follower));
    let write = world.ask(2, &[&["incr", "n"]]);
    world.turn(2);
    let forwards = world.mail.pop_back().unwrap().1.forwards;
    world.order(2, hint(leader));
    world.turn(2);
    world.nodes[2].inputs.from_peers.push(FromPeer::Forwarded {
        from: node_id(follower),
        id: forwards.start,
        outcome: Err(Refusal::NotLeader { leader: None }),
    });
    world.turn(2);
    assert_eq!(world.nodes[2].turn.leader(), Some(node_id(leader)));
    world.settle();
    assert_eq!(world.replies(write), [Reply::ONE]);
}

#[test]
fn without_a_hint_one_request_finds_the_leader_for_all() {
    let (mut world, leader, _) = three();
    world.order(2, Order::Hint { leader: None });
    world.tick();
    let asked: Vec<u64> = (0..3).map(|_| world.ask(2, &[&["incr", "n"]])).collect();
    world.turn(2);
    assert_eq!(forwards(&world, 0) + forwards(&world, 1), 1);
    world.nodes[2].inputs.tick = true;
    world.turn(2);
    assert_eq!(forwards(&world, 0) + forwards(&world, 1), 1);
    world.settle();
    for ticket in asked {
        assert!(world.answer(ticket).is_some_and(Result::is_ok));
    }
    assert_eq!(world.nodes[2].turn.leader(), Some(node_id(leader)));
}

#[test]
fn a_write_whose_connection_is_lost_is_uncertain_and_not_sent_again() {
    let (mut world, leader, _) = three();
    let write = world.ask(2, &[&["incr", "n"]]);
    world.turn(2);
    world.disconnect(2, leader);
    world.settle();
    assert_eq!(world.refusal(write), Refusal::Uncertain);
    world.connect(2, leader);
    world.pass(2 * PATIENCE);
    assert_eq!(world.number(leader, "n"), 0);
}

#[test]
fn a_read_whose_connection_is_lost_is_sent_again() {
    let (mut world, leader, _) = three();
    let read = world.ask(2, &[&["get", "n"]]);
    world.turn(2);
    world.disconnect(2, leader);
    world.settle();
    assert_eq!(world.answer(read), None);
    world.connect(2, leader);
    world.tick();
    assert_eq!(world.replies(read), [Reply::Null]);
}

#[test]
fn what_never_left_is_sent_when_there_is_a_connection() {
    let (mut world, leader, _) = three();
    world.disconnect(2, leader);
    let write = world.ask(2, &[&["incr", "n"]]);
    world.settle();
    world.tick();
    assert_eq!(world.answer(write), None);
    world.connect(2, leader);
    world.tick();
    assert_eq!(world.replies(write), [Reply::ONE]);
}

#[test]
fn a_connection_that_comes_back_is_used_at_once_by_a_follower() {
    let (mut world, leader) = World::led(3, 3);
    let follower = world.follower();
    world.disconnect(follower, leader);
    let write = world.ask(follower, &[&["incr", "n"]]);
    world.settle();
    assert_eq!(world.answer(write), None);
    world.connect(follower, leader);
    world.settle();
    assert_eq!(world.replies(write), [Reply::ONE]);
}

#[test]
fn what_waits_in_vain_is_unreachable() {
    let mut world = World::new(3, 2);
    let write = world.ask(2, &[&["incr", "n"]]);
    world.pass(PATIENCE - HEARTBEAT);
    assert_eq!(world.answer(write), None);
    world.pass(2 * HEARTBEAT);
    assert_eq!(world.refusal(write), Refusal::Unreachable);
}

#[test]
fn what_waits_goes_as_soon_as_somebody_is_said_to_lead() {
    let mut world = World::new(3, 2);
    let write = world.ask(2, &[&["incr", "n"]]);
    world.settle();
    let leader = world.elect();
    assert_eq!(world.answer(write), None);
    let hint = Order::Hint {
        leader: Some(node_id(leader)),
    };
    world.order(2, hint);
    world.settle();
    assert_eq!(world.replies(write), [Reply::ONE]);
}

#[test]
fn a_write_that_gets_no_answer_is_uncertain_in_the_end() {
    let (mut world, leader, _) = three();
    world.swallowed.insert((leader, 2));
    let write = world.ask(2, &[&["incr", "n"]]);
    world.settle();
    assert_eq!(world.number(leader, "n"), 1);
    world.pass(PATIENCE + ELECTION);
    assert_eq!(world.answer(write), None);
    world.pass(3 * ELECTION);
    assert_eq!(world.refusal(write), Refusal::Uncertain);
    assert_eq!(world.number(leader, "n"), 1);
}

#[test]
fn a_read_that_gets_no_answer_is_sent_again_and_unreachable_in_the_end() {
    let (mut world, leader, _) = three();
    world.swallowed.insert((leader, 2));
    let (first, second) = (world.ask(2, &[&["get", "n"]]), 2 * ELECTION);
    world.pass(second / 2);
    assert_eq!(world.answer(first), None);
    world.swallowed.clear();
    world.pass(second);
    assert_eq!(world.replies(first), [Reply::Null]);

    world.swallowed.insert((leader, 2));
    let read = world.ask(2, &[&["get", "n"]]);
    world.pass(PATIENCE + HEARTBEAT);
    assert_eq!(world.refusal(read), Refusal::Unreachable);
}

#[test]
fn an_answer_that_comes_too_late_changes_nothing() {
    let (mut world, leader, _) = three();
    let write = world.ask(2, &[&["incr", "n"]]);
    world.turn(2);
    world.deliver();
    for _ in 0..3 {
        world.nodes[2]
            .inputs
            .from_peers
            .push(FromPeer::Lost(node_id(leader)));
    }
    // The leader never heard of a loss: its answer goes out.
    world.settle();
    assert_eq!(world.refusal(write), Refusal::Uncertain);
    assert_eq!(world.number(leader, "n"), 1);
}

#[test]
fn only_the_node_that_was_asked_answers() {
    let (mut world, leader, follower) = three();
    let write = world.ask(2, &[&["incr", "n"]]);
    world.turn(2);
    let forwards = world.mail.back().unwrap().1.forwards.clone();
    world.nodes[2].inputs.from_peers.push(FromPeer::Forwarded {
        from: node_id(follower),
        id: forwards.start,
        outcome: Ok(Vec::new()),
    });
    world.turn(2);
    assert_eq!(world.answer(write), None);
    world.settle();
    assert_eq!(world.replies(write), [Reply::ONE]);
    assert_eq!(world.number(leader, "n"), 1);
}

#[test]
fn a_node_that_was_lost_is_told_nothing_of_its_former_requests() {
    let (mut world, leader, follower) = three();
    world.nodes[leader].outside.is_held = true;
    world.nodes[follower].outside.is_held = true;
    let write = world.ask(2, &[&["incr", "n"]]);
    world.settle();
    assert_eq!(world.answer(write), None);
    world.disconnect(2, leader);
    world.connect(2, leader);
    for node in &mut world.nodes {
        node.outside.is_held = false;
    }
    world.settle();
    assert_eq!(world.number(leader, "n"), 1);
    assert_eq!(world.refusal(write), Refusal::Uncertain);
    assert_eq!(world.told.get(&(leader, 2)), None);
}

#[test]
fn a_node_keeps_no_more_than_its_limit_of_what_it_forwards() {
    let (mut world, leader, _) = three();
    world.swallowed.insert((2, leader));
    let large = "v".repeat(6_000);
    let asked: Vec<u64> = (0..3)
        .map(|_| world.ask(2, &[&["set", "k", &large]]))
        .collect();
    world.settle();
    assert_eq!(world.answer(asked[1]), None);
    assert_eq!(world.refusal(asked[2]), Refusal::Busy);
}

#[test]
fn who_forwards_too_much_is_busy() {
    let (mut world, leader, follower) = three();
    world.nodes[leader].outside.is_held = true;
    world.nodes[follower].outside.is_held = true;
    let large = "v".repeat(6_000);
    let mut ask = || {
        let ticket = world.ask(2, &[&["set", "k", &large]]);
        world.settle();
        ticket
    };
    let asked = [ask(), ask(), ask(), ask()];
    assert_eq!(world.refusal(asked[2]), Refusal::Busy);
    assert_eq!(world.refusal(asked[3]), Refusal::Busy);
    for node in &mut world.nodes {
        node.outside.is_held = false;
    }
    world.settle();
    for ticket in &asked[..2] {
        assert_eq!(world.replies(*ticket), [Reply::Ok]);
    }
}

#[test]
fn a_leader_takes_no_more_than_its_limit_of_other_nodes() {
    let (mut world, leader, follower) = three();
    world.nodes[leader].outside.is_held = true;
    world.nodes[follower].outside.is_held = true;
    let large = "v".repeat(6_000);
    for id in 0..4 {
        world.nodes[leader]
            .inputs
            .from_peers
            .push(FromPeer::Forward {
                from: node_id(2),
                id,
                commands: commands_of(&[&["set", "k", &large]]),
            });
    }
    world.turn(leader);
    let parcel = world.mail.iter();
    let mut parcel = parcel.filter(|(_, parcel)| parcel.to == node_id(2));
    let payload = &parcel.next().unwrap().1.payload;
    let refused: Vec<u64> = items(payload)
        .unwrap()
        .map(
            |item| match item.unwrap().for_shard(node_id(leader)).unwrap() {
                Some((
                    _,
                    FromPeer::Forwarded {
                        id,
                        outcome: Err(Refusal::Busy),
                        ..
                    },
                )) => id,
                other => panic!("{other:?}"),
            },
        )
        .collect();
    assert_eq!(refused, [2, 3]);
}

#[test]
fn two_nodes_that_take_each_other_for_the_leader_do_not_keep_others_busy() {
    let mut world = World::new(3, 0);
    for (at, leader) in [(0, 1), (1, 2), (2, 1)] {
        let leader = Some(node_id(leader));
        world.order(at, Order::Hint { leader });
    }
    let write = world.ask(0, &[&["incr", "n"]]);
    world.settle();
    assert_eq!(world.told.values().sum::<usize>(), 3);
    world.pass(PATIENCE + HEARTBEAT);
    assert_eq!(world.refusal(write), Refusal::Unreachable);
}

#[test]
fn a_read_has_patience_from_when_it_was_asked() {
    let (mut world, leader, _) = three();
    world.swallowed.insert((leader, 2));
    let read = world.ask(2, &[&["get", "n"]]);
    world.pass(ELECTION);
    // It is sent again, out of step with its patience.
    world.disconnect(2, leader);
    world.connect(2, leader);
    world.pass(PATIENCE - ELECTION - HEARTBEAT);
    assert_eq!(world.answer(read), None);
    world.pass(2 * HEARTBEAT);
    assert_eq!(world.refusal(read), Refusal::Unreachable);
}

#[test]
fn patience_is_not_renewed_by_being_sent_on() {
    let (mut world, leader, follower) = three();
    world.isolate(follower);
    let asked = world.now;
    let write = world.ask(2, &[&["incr", "n"]]);
    world.settle();
    // It waits at a leader that no longer has a majority; that one does not get it through.
    world.until("an answer", |world| world.answer(write).is_some());
    let limit = PATIENCE + 4 * ELECTION;
    assert!(world.now - asked <= limit + Duration::from_millis(100));
    assert_eq!(world.refusal(write), Refusal::Uncertain);
    assert_eq!(world.number(leader, "n"), 0);
}
