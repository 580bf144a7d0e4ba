//! Writes that wait for a replica to be filled.

use std::time::Duration;

use commands::Reply;
use shard::Refusal;

use super::world::{At, PATIENCE, World, node_id, replica_id};
use crate::Order;

/// A leader of three whose log has as much as it may keep for a follower that is being filled.
struct Held {
    world: World,
    leader: At,
    filled: At,
    /// The last entry of the snapshot.
    index: u64,
}

impl Held {
    fn new() -> Held {
        let (mut world, leader) = World::led(3, 3);
        let filled = world.follower();
        world.isolate(filled);
        world.ask(leader, &[&["set", "k", "v"]]);
        world.settle();
        let mut held = Held {
            index: world.nodes[leader].turn.shard().unwrap().applied(),
            world,
            leader,
            filled,
        };
        held.sent(1);
        let value = "v".repeat(8_000);
        while !held.holds_writes() {
            let write = held.ask(&["set", "k", &value]);
            held.world.settle();
            assert_eq!(held.world.replies(write), [Reply::Ok]);
        }
        held
    }

    fn holds_writes(&self) -> bool {
        let shard = self.world.nodes[self.leader].turn.shard();
        shard.unwrap().holds_writes()
    }

    fn ask(&mut self, call: &[&str]) -> u64 {
        self.world.ask(self.leader, &[call])
    }

    /// So many hundredths of the snapshot were sent.
    fn sent(&mut self, sent: u64) {
        self.sent_of((sent, 100));
    }

    /// Time passes, in which hardly more of it is sent.
    fn creep(&mut self, time: Duration) {
        let until = self.world.now + time;
        for step in 1.. {
            self.world.tick();
            if self.world.now >= until {
                break;
            }
            self.sent_of((10_000_000 + step, 1_000_000_000));
        }
    }

    fn sent_of(&mut self, sent: (u64, u64)) {
        let order = Order::SnapshotSent {
            replica: replica_id(self.leader),
            to: node_id(self.filled),
            index: self.index,
            sent,
        };
        self.world.order(self.leader, order);
        self.world.settle();
    }
}

#[test]
fn reads_go_on_while_writes_wait() {
    let mut held = Held::new();
    // More than one entry takes, so that the read is behind all that a turn looks at.
    let large = "v".repeat(17 << 20);
    let write = held.ask(&["set", "large", &large]);
    let read = held.ask(&["strlen", "k"]);
    held.world.settle();
    assert_eq!(held.world.replies(read), [Reply::Integer(8_000)]);
    assert_eq!(held.world.answer(write), None);
    held.sent(50);
    assert_eq!(held.world.replies(write), [Reply::Ok]);
}

#[test]
fn nobody_waits_for_longer_than_for_a_leader() {
    let mut held = Held::new();
    let first = held.ask(&["set", "k", "v"]);
    held.creep(PATIENCE / 4);
    let second = held.ask(&["set", "k", "v"]);
    held.creep(PATIENCE / 2);
    assert_eq!(held.world.refusal(first), Refusal::Busy);
    assert_eq!(held.world.answer(second), None);
    held.creep(PATIENCE / 2);
    assert_eq!(held.world.refusal(second), Refusal::Busy);

    let third = held.ask(&["set", "k", "v"]);
    held.creep(PATIENCE / 4);
    held.sent(50);
    assert_eq!(held.world.replies(third), [Reply::Ok]);
}

#[test]
fn nobody_waits_for_one_that_gets_nowhere() {
    let mut held = Held::new();
    let write = held.ask(&["set", "k", "v"]);
    held.world.settle();
    assert_eq!(held.world.answer(write), None);
    held.world.pass(Duration::from_secs(1));
    assert_eq!(held.world.replies(write), [Reply::Ok]);
}
