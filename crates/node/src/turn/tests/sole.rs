//! A node alone: the only voter leads.

use commands::Reply;
use shard::Refusal;

use super::world::World;

fn alone() -> World {
    let mut world = World::new(1, 1);
    world.settle();
    assert!(world.nodes[0].turn.leads());
    world
}

#[test]
fn writes_and_reads_are_answered() {
    let mut world = alone();
    let write = world.ask(0, &[&["incr", "n"], &["get", "n"]]);
    let read = world.ask(0, &[&["exists", "n"]]);
    world.settle();
    assert_eq!(world.replies(write), [Reply::ONE, Reply::bulk(b"1")]);
    assert_eq!(world.replies(read).len(), 1);
    assert!(world.mail.is_empty());
}

#[test]
fn a_write_asks_the_time_once_and_news_of_the_log_never() {
    let mut world = alone();
    let outside = |world: &World| {
        let outside = &world.nodes[0].outside;
        (outside.clock_reads, outside.drawn)
    };
    let before = outside(&world);
    world.ask(0, &[&["incr", "n"]]);
    world.ask(0, &[&["incr", "n"]]);
    world.settle();
    assert_eq!(world.number(0, "n"), 2);
    assert_eq!(outside(&world), (before.0 + 1, before.1 + 1));
}

#[test]
fn requests_wait_while_the_log_is_congested() {
    let mut world = alone();
    world.nodes[0].outside.is_congested = true;
    let write = world.ask(0, &[&["incr", "n"]]);
    world.settle();
    assert_eq!(world.answer(write), None);
    world.nodes[0].outside.is_congested = false;
    world.settle();
    assert!(world.answer(write).is_some());
}

#[test]
fn what_waits_at_a_congested_log_has_a_limit() {
    let mut world = alone();
    world.nodes[0].outside.is_congested = true;
    let large = "v".repeat(9_000);
    let asked: Vec<u64> = (0..4)
        .map(|_| world.ask(0, &[&["set", "k", &large]]))
        .collect();
    world.settle();
    assert_eq!(world.refusal(asked[3]), Refusal::Busy);
    world.nodes[0].outside.is_congested = false;
    world.settle();
    for ticket in &asked[..3] {
        assert_eq!(world.replies(*ticket), [Reply::Ok]);
    }
}

#[test]
fn a_full_disk_refuses_writes_and_answers_reads_until_there_is_room() {
    let mut world = alone();
    world.nodes[0].outside.has_no_room = true;
    let write = world.ask(0, &[&["incr", "n"]]);
    let read = world.ask(0, &[&["get", "n"]]);
    world.settle();
    assert_eq!(world.refusal(write), Refusal::DiskFull);
    assert_eq!(world.replies(read), [Reply::Null]);
    world.nodes[0].outside.has_no_room = false;
    let write = world.ask(0, &[&["incr", "n"]]);
    world.settle();
    assert_eq!(world.replies(write), [Reply::ONE]);
}

#[test]
fn requests_that_are_too_large_for_one_entry_share_several() {
    let mut world = alone();
    let large = "v".repeat(10 << 20);
    let asked: Vec<u64> = (0..4)
        .map(|_| world.ask(0, &[&["set", "k", &large]]))
        .collect();
    let before = world.nodes[0].turn.shard().unwrap().last_index();
    world.settle();
    for ticket in asked {
        assert_eq!(world.replies(ticket), [Reply::Ok]);
    }
    let entries = world.nodes[0].turn.shard().unwrap().last_index() - before;
    assert_eq!(entries, 2);
}

#[test]
fn what_has_expired_is_swept_at_ticks() {
    let mut world = alone();
    for key in 0..1000 {
        world.ask(0, &[&["set", &key.to_string(), "v", "px", "60"]]);
    }
    world.settle();
    let before = world.nodes[0].turn.shard().unwrap().last_index();
    world.tick();
    world.tick();
    let swept = world.nodes[0].turn.shard().unwrap().last_index() - before;
    assert!((4..10).contains(&swept), "in {swept} entries");
    let rest = world.ask(0, &[&["dbsize"]]);
    world.settle();
    assert_eq!(world.replies(rest), [Reply::ZERO]);
}
