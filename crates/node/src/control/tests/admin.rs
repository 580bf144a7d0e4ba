//! What operators want.

use base::ShardId;

use super::network::Network;
use crate::control::AdminCommand::{
    NodeDrain, NodeRemove, NodeUndrain, ShardLead, ShardMove, Status,
};

/// A machine that does not lead shard 0.
fn follower(network: &Network) -> usize {
    let leader = network.leader(0).unwrap();
    (0..network.machines.len())
        .find(|&at| at != leader && network.is_on(at))
        .unwrap()
}

#[test]
fn a_node_is_drained_and_removed_through_any_node() {
    for through_leader in [true, false] {
        let mut network = Network::started(4, 4, 3);
        network.run(60);
        let at = if through_leader {
            network.leader(0).unwrap()
        } else {
            follower(&network)
        };
        let removed = (0..4)
            .find(|&other| other != at && network.voters(0).contains(&other))
            .unwrap();
        let node = network.node(removed);
        let answers = network.insist(at, &NodeRemove(format!("node-{removed}")));
        assert!(
            answers[0]["remaining_replicas"].as_u64().unwrap() > 0,
            "{answers:?}"
        );
        assert_eq!(answers[0]["node"], node.to_string());
        let last = answers.last().unwrap();
        assert_eq!(last["remaining_replicas"], 0);
        network.run(5);
        for shard in 0..3 {
            let voters = network.voters(shard);
            assert!(
                voters.len() == 3 && !voters.contains(&removed),
                "{voters:?}"
            );
        }
        assert!(network.map(at).removed.contains_key(&node));
        let why = network.machines[removed]
            .stopped
            .as_ref()
            .expect("it stops");
        assert!(why.contains("removed"), "{why}");
        // By its id as well, and as often as one asks.
        let again = network.ask(at, NodeRemove(node.to_string())).unwrap();
        assert_eq!(again["done"], true);
    }
}

#[test]
fn the_node_that_leads_everything_can_be_removed() {
    let mut network = Network::started(4, 4, 1);
    network.run(30);
    let leader = network.leader(0).unwrap();
    let at = (leader + 1) % 4;
    network.insist(at, &NodeRemove(format!("node-{leader}")));
    assert_ne!(network.leader(0), Some(leader));
}

#[test]
fn the_last_node_cannot_be_removed() {
    let mut network = Network::started(1, 1, 1);
    let refused = network.ask(0, NodeRemove("node-0".into())).unwrap_err();
    assert!(refused.starts_with("ERR node"), "{refused}");
    assert!(refused.contains("the last one"), "{refused}");
    let refused = network.ask(0, NodeDrain("node-0".into())).unwrap_err();
    assert!(refused.contains("the last one"), "{refused}");
}

#[test]
fn a_node_is_drained_and_undrained() {
    let mut network = Network::started(3, 3, 3);
    network.run(30);
    let leader = network.leader(1).unwrap();
    let at = follower(&network);
    network.insist(at, &NodeDrain(format!("node-{leader}")));
    for shard in 0..3 {
        assert_ne!(network.leader(shard), Some(leader));
        assert_eq!(network.voters(shard), [0, 1, 2]);
    }
    network.insist(at, &NodeUndrain(format!("node-{leader}")));
    network.run(30);
    assert!((0..3).any(|shard| network.leader(shard) == Some(leader)));
}

#[test]
fn a_replica_is_moved() {
    let mut network = Network::started(4, 4, 4);
    network.run(30);
    let shard = ShardId(1);
    let from = network.voters(1)[0];
    let to = (0..4).find(|at| !network.voters(1).contains(at)).unwrap();
    let at = follower(&network);
    let command = ShardMove {
        shard,
        from: format!("node-{from}"),
        to: format!("node-{to}"),
    };
    let answers = network.insist(at, &command);
    assert!(answers.len() > 1, "{answers:?}");
    let back = ShardMove {
        shard,
        from: format!("node-{from}"),
        to: format!("node-{from}"),
    };
    assert!(network.ask(at, back).unwrap_err().starts_with("ERR"));
}

#[test]
fn a_replica_cannot_move_to_where_one_is() {
    let mut network = Network::started(3, 3, 1);
    let command = ShardMove {
        shard: ShardId(0),
        from: "node-0".into(),
        to: "node-1".into(),
    };
    let refused = network.ask(0, command).unwrap_err();
    assert!(refused.contains("already has a replica"), "{refused}");
}

#[test]
fn a_leadership_is_moved() {
    let mut network = Network::started(3, 3, 1);
    let leader = network.leader(0).unwrap();
    let to = (leader + 1) % 3;
    let at = (leader + 2) % 3;
    let command = ShardLead {
        shard: ShardId(0),
        node: format!("node-{to}"),
    };
    network.insist(at, &command);
    assert_eq!(network.leader(0), Some(to));
}

#[test]
fn what_cannot_be_is_refused_with_a_word_for_programs_and_a_text_for_people() {
    let mut network = Network::started(3, 3, 1);
    let at = follower(&network);
    let refused = network.ask(at, NodeDrain("nobody".into())).unwrap_err();
    assert!(
        refused.starts_with("ERR no node is called \"nobody\""),
        "{refused}"
    );
    let command = ShardLead {
        shard: ShardId(7),
        node: "node-0".into(),
    };
    let refused = network.ask(at, command).unwrap_err();
    assert!(refused.starts_with("ERR there is no shard 7"), "{refused}");
    for other in (0..3).filter(|&other| other != at) {
        network.crash(other);
    }
    network.run(3);
    let refused = network.ask(at, NodeDrain("node-0".into())).unwrap_err();
    assert!(refused.starts_with("CLUSTERDOWN"), "{refused}");
    let mut network = Network::new(2, 2);
    network.start(0);
    network.run(1);
    let refused = network.ask(0, NodeDrain("node-0".into())).unwrap_err();
    assert!(refused.contains("waiting for host-1"), "{refused}");
}

#[test]
fn an_answer_that_never_comes_is_given_up_on() {
    let mut network = Network::started(3, 3, 1);
    let at = follower(&network);
    // Its messages are lost.
    let node = network.node(at);
    network.handle(
        at,
        crate::control::ControlInput::Admin {
            ticket: shard::Ticket(77),
            command: NodeDrain("node-0".into()),
        },
    );
    network.under_way.retain(|(from, _, _)| *from != node);
    network.run(7);
    let answer = network.reply(at, 77).expect("an answer");
    assert!(answer.unwrap_err().starts_with("TRYAGAIN"));
}

#[test]
fn the_status_tells_of_nodes_and_shards() {
    let mut network = Network::started(3, 3, 2);
    network.run(10);
    network.crash(2);
    network.run(3);
    let at = 0;
    let status = network.ask(at, Status).unwrap();
    assert_eq!(status["cluster"]["state"], "degraded");
    assert_eq!(
        status["cluster"]["id"],
        network.clusters()[0].unwrap().to_string()
    );
    assert_eq!(status["cluster"]["shards"], 2);
    let nodes = status["nodes"].as_array().unwrap();
    assert_eq!(nodes.len(), 3);
    let entry = |at: usize| {
        let id = network.node(at).to_string();
        nodes.iter().find(|node| node["id"] == id).unwrap()
    };
    assert_eq!(entry(1)["alive"], true);
    assert_eq!(entry(1)["name"], "node-1");
    assert_eq!(entry(1)["disk_free_bytes"], 10);
    assert_eq!(entry(1)["state"], "member");
    assert_eq!(entry(1)["replicas"], 2);
    assert_eq!(entry(2)["alive"], false);
    assert!(entry(2)["memory_bytes"].is_null());
    let shards = status["shards"].as_array().unwrap();
    assert_eq!(shards.len(), 2);
    let leader = network.leader(1).unwrap();
    assert_eq!(shards[1]["leader"], network.node(leader).to_string());
    assert_eq!(shards[1]["voters"].as_array().unwrap().len(), 3);
    assert_eq!(shards[1]["learners"].as_array().unwrap().len(), 0);
    assert_eq!(shards[1]["commit"], 100);
    let gone = network.node(2).to_string();
    let voters = shards[1]["voters"].as_array().unwrap();
    let gone = voters.iter().find(|voter| voter["node"] == gone).unwrap();
    assert_eq!(gone["lag"], 100);
    assert_eq!(gone["alive"], false);
}

#[test]
fn the_status_of_a_node_without_a_cluster_tells_what_it_waits_for() {
    let mut network = Network::new(3, 3);
    network.start(0);
    network.start(1);
    network.run(2);
    let status = network.ask(0, Status).unwrap();
    assert_eq!(status["cluster"]["state"], "forming");
    assert!(status["cluster"]["id"].is_null());
    let forming = status["cluster"]["forming"].as_str().unwrap();
    assert!(forming.contains("host-2"), "{forming}");
    assert_eq!(status["nodes"].as_array().unwrap().len(), 2);
}
