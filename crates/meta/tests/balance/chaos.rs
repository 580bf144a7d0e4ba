//! Everything at once, at random.

use base::NodeId;
use meta::NodeState;

use super::model::{DOWN_AFTER, Model};

/// Events for a while, a healthy minute, then an end must be in sight.
fn run(seed: u64) {
    let mut model = Model::founded(1, 1, 1, seed);
    let founders = 1 + model.draw(5);
    let shards = 1 + model.draw(8) as u32;
    let replicas = [1, 3, 3, 5][model.draw(4) as usize];
    let seed = model.draw(u64::MAX);
    let mut model = Model::founded(founders, shards, replicas, seed);
    let mut newest = founders;
    for _ in 0..30 {
        let nodes: Vec<u64> = model.map.nodes.keys().map(|node| node.0).collect();
        let node = nodes[model.draw(nodes.len() as u64) as usize];
        match model.draw(8) {
            0 | 1 if nodes.len() < 9 => {
                newest += 1;
                model.join(newest);
            }
            2 | 3 if model.is_live(NodeId(node)) => model.kill(node),
            2..=4 => model.revive(node),
            5 => drop(model.set_state(node, NodeState::Draining)),
            6 => drop(model.set_state(node, NodeState::Member)),
            // The last one is refused, as it should be.
            7 => drop(model.set_state(node, NodeState::Leaving)),
            _ => {}
        }
        let seconds = match model.draw(4) {
            0 => DOWN_AFTER + model.draw(2 * DOWN_AFTER),
            _ => model.draw(30),
        };
        model.pass(seconds);
    }
    let nodes: Vec<u64> = model.map.nodes.keys().map(|node| node.0).collect();
    for &node in &nodes {
        model.revive(node);
        if model.map.nodes[&NodeId(node)].state == NodeState::Draining {
            model.set_state(node, NodeState::Member).unwrap();
        }
    }
    model.settle();
    model.assert_settled(model.wanted());
    let left = model.map.nodes.values();
    assert!(
        left.into_iter()
            .all(|entry| entry.state == NodeState::Member)
    );
}

#[test]
fn whatever_happens_all_is_settled_in_the_end() {
    for seed in 0..100 {
        if std::panic::catch_unwind(|| run(seed)).is_err() {
            panic!("seed {seed}");
        }
    }
}
