//! What becomes of proposals, step by step.

use std::borrow::Cow;

use base::Timestamp;
use commands::Reply;
use shard::{Effects, Refusal, Shard};

use crate::driver::{Disk, Driver, may_read, request};

const NOW: u64 = 1_000_000;

fn bulk(text: &'static str) -> Reply<'static> {
    Reply::Bulk(Cow::Borrowed(text.as_bytes()))
}

#[test]
fn a_sole_voter_serves_once_its_first_entry_is_durable() {
    let mut driver = Driver::start(Disk::founded(&[1])).unwrap();
    assert!(driver.shard.is_leader());
    driver.advance();
    driver.apply();
    assert!(!may_read(&driver.shard));
    driver.persist(usize::MAX);
    driver.advance();
    driver.apply();
    assert!(may_read(&driver.shard));
}

#[test]
fn nothing_is_answered_before_it_is_durable() {
    let mut driver = Driver::led();
    driver.propose(NOW, vec![request(1, &[&["set", "k", "1"]])]);
    driver.advance();
    driver.propose(NOW, vec![request(2, &[&["incr", "k"]])]);
    driver.advance();
    driver.apply();
    assert!(driver.responses().is_empty());
    driver.persist(1);
    driver.advance();
    driver.apply();
    let tickets = |driver: &mut Driver| {
        let responses = driver.responses().into_iter();
        responses
            .map(|response| response.ticket.0)
            .collect::<Vec<_>>()
    };
    assert_eq!(tickets(&mut driver), [1]);
    driver.persist(1);
    driver.advance();
    driver.apply();
    assert_eq!(tickets(&mut driver), [2]);
}

#[test]
fn reads_that_ride_along_see_what_stands_before_them() {
    let mut driver = Driver::led();
    let one = request(1, &[&["get", "k"], &["set", "k", "a"], &["get", "k"]]);
    let other = request(2, &[&["append", "k", "b"], &["get", "k"], &["del", "k"]]);
    driver.propose(NOW, vec![one, other]);
    driver.settle();
    let outcomes: Vec<_> = driver
        .responses()
        .into_iter()
        .map(|response| response.outcome.unwrap())
        .collect();
    assert_eq!(outcomes[0], [Reply::Null, Reply::Ok, bulk("a")]);
    assert_eq!(
        outcomes[1],
        [Reply::Integer(2), bulk("ab"), Reply::Integer(1)]
    );
}

#[test]
fn one_who_does_not_lead_refuses_and_writes_nothing() {
    let mut driver = Driver::start(Disk::founded(&[1, 2, 3])).unwrap();
    driver.settle();
    let last = driver.shard.last_index();
    driver.propose(NOW, vec![request(7, &[&["set", "k", "1"]])]);
    let responses = driver.responses();
    assert_eq!(responses.len(), 1);
    assert_eq!(responses[0].ticket.0, 7);
    assert_eq!(
        responses[0].outcome,
        Err(Refusal::NotLeader { leader: None })
    );
    assert_eq!(
        responses[0].commands.len(),
        1,
        "it may be asked for elsewhere"
    );
    driver.settle();
    assert_eq!(driver.shard.last_index(), last);
    assert!(!may_read(&driver.shard));
}

#[test]
fn a_refusal_by_the_driver_answers_everybody() {
    let mut effects = Effects::default();
    let requests = (1..4).map(|ticket| request(ticket, &[&["incr", "k"]]));
    Shard::refuse(requests.collect(), Refusal::DiskFull, &mut effects);
    let tickets: Vec<_> = effects.responses.iter().map(|r| r.ticket.0).collect();
    assert_eq!(tickets, [1, 2, 3]);
    assert!(
        effects
            .responses
            .iter()
            .all(|response| response.outcome == Err(Refusal::DiskFull))
    );
}

#[test]
fn a_sweep_is_wanted_when_something_expired_and_nothing_else_is_under_way() {
    let mut driver = Driver::led();
    let wants = |driver: &Driver, now| {
        let now = Timestamp::from_millis(now);
        driver.shard.wants_sweep(&driver.keyspace, now)
    };
    assert!(!wants(&driver, NOW));
    driver.propose(NOW, vec![request(1, &[&["set", "k", "v", "px", "100"]])]);
    driver.settle();
    assert!(!wants(&driver, NOW + 99));
    assert!(wants(&driver, NOW + 100));

    driver.propose(NOW + 100, Vec::new());
    assert!(!wants(&driver, NOW + 100), "one is under way");
    driver.responses();
    driver.settle();
    assert_eq!(driver.keyspace.len(base::Db::default()), 0);
    assert!(driver.responses().is_empty());
    assert!(!wants(&driver, NOW + 100));
}

#[test]
fn a_follower_wants_no_sweep() {
    let mut leader = Driver::led();
    leader.propose(NOW, vec![request(1, &[&["set", "k", "v", "px", "100"]])]);
    leader.settle();
    let follower = Driver::start(Disk::founded(&[1, 2, 3])).unwrap();
    let later = Timestamp::from_millis(NOW + 1000);
    assert!(!follower.shard.wants_sweep(&leader.keyspace, later));
}

#[test]
fn a_clock_that_goes_back_does_not_turn_stamps_back() {
    let mut driver = Driver::led();
    driver.propose(NOW, vec![request(1, &[&["set", "k", "v", "px", "100"]])]);
    driver.propose(
        NOW - 500,
        vec![request(2, &[&["pttl", "k"], &["incr", "n"]])],
    );
    driver.settle();
    assert_eq!(driver.keyspace.stamp(), Timestamp::from_millis(NOW));
    let replies = driver.responses().pop().unwrap().outcome.unwrap();
    assert_eq!(replies, [Reply::Integer(100), Reply::Integer(1)]);
}

#[test]
fn a_flush_leaves_its_leftovers_to_the_driver() {
    let mut driver = Driver::led();
    driver.propose(NOW, vec![request(1, &[&["set", "k", "v"], &["flushall"]])]);
    driver.settle();
    assert_eq!(driver.effects.discarded.len(), 1);
}
