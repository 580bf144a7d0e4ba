//! What keys go through is told by every replica, for each entry once.

use keyspace::Classes;

use super::world::{ELECTION, World, node_id};
use crate::Order;

#[test]
fn each_replica_tells_each_entry_once() {
    let (mut world, leader) = World::led(4, 3);
    for at in 0..4 {
        world.order(at, Order::WantNotices(Classes::ALL));
    }
    let write = world.ask(3, &[&["set", "k", "v"], &["get", "k"], &["del", "k"]]);
    world.settle();
    assert!(world.answer(write).is_some_and(Result::is_ok));
    world.pass(ELECTION);
    for (at, node) in world.nodes.iter().enumerate() {
        let told = node.out.notices.iter().flat_map(|(_, notices)| notices);
        let events: Vec<_> = told.map(|notice| notice.event).collect();
        let expected: &[&str] = if at < 3 { &["set", "del"] } else { &[] };
        assert_eq!(events, expected, "node {at}");
        let told_by_others = &node.out.noticed_by;
        if at == leader {
            assert_eq!(*told_by_others, [0, 1, 2].map(node_id));
        } else {
            assert!(told_by_others.is_empty(), "it does not lead");
        }
    }
    for at in 0..4 {
        world.nodes[at].out.notices.clear();
        world.order(at, Order::WantNotices(Classes::default()));
    }
    world.ask(leader, &[&["set", "k", "v"]]);
    world.settle();
    assert!(world.nodes.iter().all(|node| node.out.notices.is_empty()));
}
