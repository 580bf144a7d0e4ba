//! Whatever happens between nodes: each request is answered once, nothing is done twice, nothing that was
//! acknowledged is lost, and no read is older than what was acknowledged before it was asked.

use std::collections::BTreeMap;

use commands::Reply;
use proptest::prelude::*;
use shard::Refusal;

use super::world::{ELECTION, PATIENCE, World, node_id, replica_id};
use crate::Order;

const NODES: usize = 4;
const VOTERS: usize = 3;

#[derive(Clone, Debug)]
enum Step {
    Write(usize),
    Read(usize),
    Tick,
    Turn(usize),
    Deliver,
    Settle,
    Disconnect(usize, usize),
    Connect(usize, usize),
    Swallow(usize, usize),
    Hear(usize, usize),
    Lead(usize),
    Hint(usize, usize),
    Hold(usize, bool),
}

fn step() -> impl Strategy<Value = Step> {
    let node = 0..NODES;
    prop_oneof![
        6 => node.clone().prop_map(Step::Write),
        3 => node.clone().prop_map(Step::Read),
        4 => Just(Step::Tick),
        6 => node.clone().prop_map(Step::Turn),
        6 => Just(Step::Deliver),
        3 => Just(Step::Settle),
        1 => (node.clone(), node.clone()).prop_map(|(a, b)| Step::Disconnect(a, b)),
        2 => (node.clone(), node.clone()).prop_map(|(a, b)| Step::Connect(a, b)),
        1 => (node.clone(), node.clone()).prop_map(|(a, b)| Step::Swallow(a, b)),
        2 => (node.clone(), node.clone()).prop_map(|(a, b)| Step::Hear(a, b)),
        1 => (0..VOTERS).prop_map(Step::Lead),
        1 => (node.clone(), node.clone()).prop_map(|(a, b)| Step::Hint(a, b)),
        1 => (node, any::<bool>()).prop_map(|(a, held)| Step::Hold(a, held)),
    ]
}

/// How many increments were acknowledged so far.
fn acknowledged(world: &World, writes: &[u64]) -> u64 {
    let answers = writes.iter().filter_map(|ticket| world.answer(*ticket));
    answers.filter(|answer| answer.is_ok()).count() as u64
}

fn run(steps: &[Step]) {
    let (mut world, _) = World::led(NODES, VOTERS);
    let mut writes = Vec::new();
    // What had been acknowledged when a read was asked.
    let mut reads = BTreeMap::new();
    for step in steps {
        match *step {
            Step::Write(at) => writes.push(world.ask(at, &[&["incr", "n"]])),
            Step::Read(at) => {
                let known = acknowledged(&world, &writes);
                reads.insert(world.ask(at, &[&["get", "n"]]), known);
            }
            Step::Tick => world.tick(),
            Step::Turn(at) => drop(world.turn(at)),
            Step::Deliver => drop(world.deliver()),
            Step::Settle => world.settle(),
            Step::Disconnect(a, b) if a != b => world.disconnect(a, b),
            Step::Connect(a, b) if a != b => world.connect(a, b),
            Step::Swallow(a, b) => drop(world.swallowed.insert((a, b))),
            Step::Hear(a, b) => drop(world.swallowed.remove(&(a, b))),
            Step::Lead(to) => {
                for at in 0..NODES {
                    world.order(at, Order::Lead(replica_id(to)));
                }
            }
            Step::Hint(at, leader) => {
                let leader = Some(node_id(leader));
                world.order(at, Order::Hint { leader });
            }
            Step::Hold(at, held) => world.nodes[at].outside.is_held = held,
            Step::Disconnect(..) | Step::Connect(..) => {}
        }
    }
    for a in 0..NODES {
        world.nodes[a].outside.is_held = false;
        for b in a + 1..NODES {
            world.connect(a, b);
        }
    }
    world.swallowed.clear();
    world.pass(PATIENCE + 6 * ELECTION);
    let leader = world.elect();
    world.settle();

    let (mut told, mut uncertain) = (Vec::new(), 0);
    for ticket in &writes {
        match world.answer(*ticket) {
            Some(Ok(replies)) => match replies[..] {
                [Reply::Integer(number)] => told.push(number),
                ref other => panic!("{other:?}"),
            },
            Some(Err(Refusal::Uncertain)) => uncertain += 1,
            Some(Err(Refusal::Unreachable)) => {}
            other => panic!("request {ticket}: {other:?}"),
        }
    }
    let number = world.number(leader, "n");
    let acknowledged = told.len() as u64;
    assert!(number >= acknowledged, "an acknowledged write is lost");
    assert!(number <= acknowledged + uncertain, "a write was done twice");
    told.sort_unstable();
    told.dedup();
    assert_eq!(told.len() as u64, acknowledged, "two were told the same");
    for (ticket, known) in reads {
        let read = match world.answer(ticket) {
            Some(Ok(replies)) => match &replies[..] {
                [Reply::Null] => 0,
                [Reply::Bulk(digits)] => std::str::from_utf8(digits).unwrap().parse().unwrap(),
                other => panic!("{other:?}"),
            },
            Some(Err(Refusal::Unreachable)) => continue,
            other => panic!("read {ticket}: {other:?}"),
        };
        assert!((known..=number).contains(&read), "a stale read");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, max_shrink_iters: 500, ..ProptestConfig::default() })]

    #[test]
    fn requests_are_answered_once_and_done_once(steps in proptest::collection::vec(step(), 1..150)) {
        run(&steps);
    }
}
