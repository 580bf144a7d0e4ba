//! Founding, rule by rule.

use base::{ClusterId, NodeId};

use super::network::{Network, address};
use crate::control::message::Message;
use crate::control::proposal::Proposal;
use crate::control::{Action, ClusterState, ControlInput};

#[test]
fn the_only_founder_founds_at_once() {
    let mut network = Network::new(1, 1);
    network.start(0);
    assert!(network.all_have_clusters());
    network.run(2);
    assert_eq!(
        network.machines[0].states.last().copied(),
        Some(ClusterState::Ok)
    );
}

#[test]
fn founders_wait_for_the_last_of_them_and_say_who_it_is() {
    let mut network = Network::new(3, 3);
    network.start(0);
    network.start(2);
    network.run(600);
    assert_eq!(network.clusters(), [None, None, None]);
    assert_eq!(
        network.machines[0].forming,
        "the cluster is forming: waiting for host-1:19919 (failed: connection refused)"
    );
    assert_eq!(
        network.machines[2].states.last().copied(),
        Some(ClusterState::Forming)
    );
    network.start(1);
    network.run(2);
    assert!(network.all_have_clusters());
    assert_eq!(network.voters(0), [0, 1, 2]);
}

#[test]
fn a_lost_message_only_delays_founding() {
    let mut network = Network::new(3, 3);
    network.lossy = true;
    (0..3).for_each(|at| network.start(at));
    network.run_until("founding", Network::all_have_clusters);
}

#[test]
fn who_meets_a_cluster_joins_it_and_never_founds() {
    let mut network = Network::started(3, 2, 1);
    network.wipe(0);
    network.start(0);
    network.run(3);
    assert!(network.all_have_clusters());
}

#[test]
fn who_is_not_among_the_hosts_only_joins() {
    let mut network = Network::new(3, 2);
    network.start(2);
    network.start(1);
    network.run(10);
    assert!(network.machines[2].forming.contains("waiting for host-0"));
    network.start(0);
    network.run(5);
    assert!(network.all_have_clusters());
    assert!(network.map(0).nodes.contains_key(&network.node(2)));

    let mut network = Network::new(2, 1);
    network.machines[0].hosts = vec![address(1), address(0)];
    network.start(0);
    network.start(1);
    network.run(1);
    assert_eq!(network.clusters()[0], network.clusters()[1]);

    // Its founders do not reach each other.
    let mut network = Network::new(3, 2);
    network.machines.swap(0, 2);
    network.cut(1, 2);
    (0..3).for_each(|at| network.start(at));
    network.run(5);
    assert_eq!(network.clusters(), [None, None, None]);
    let forming = &network.machines[0].forming;
    assert!(forming.contains("not among discovery.hosts"), "{forming}");
}

#[test]
fn lists_that_differ_are_told_on_both_sides_and_nobody_founds() {
    let mut network = Network::new(3, 3);
    network.machines[1].hosts = vec![address(0), address(1), "host-9:1".into()];
    (0..3).for_each(|at| network.start(at));
    network.run(30);
    assert_eq!(network.clusters(), [None, None, None]);
    let told = |network: &Network, at: usize, words: [&str; 3]| {
        let forming = &network.machines[at].forming;
        for word in words {
            assert!(forming.contains(word), "{forming}");
        }
    };
    let there = "only at node-1 (host-1:19919): host-9:1";
    told(&network, 0, ["differs", "only here: host-2:19919", there]);
    told(&network, 2, ["differs", "only here: host-2:19919", there]);
    let other = "only at node-0 (host-0:19919): host-2:19919";
    told(&network, 1, ["differs", "only here: host-9:1", other]);

    // A longer list is seen by those whose list does not have its node.
    network.crash(1);
    network.machines[1].hosts = (0..3).map(address).collect();
    network.machines.iter_mut().for_each(|machine| {
        machine.hosts.truncate(2);
    });
    network.machines[2].hosts = (0..3).map(address).collect();
    for at in [0, 2] {
        network.crash(at);
    }
    for at in [2, 0, 1] {
        network.start(at);
    }
    network.run(10);
    assert_eq!(network.clusters(), [None, None, None]);
    let there = "only at node-2 (host-2:19919): host-2:19919";
    told(
        &network,
        0,
        ["differs", "nobody", there].map(|word| {
            if word == "nobody" {
                "no cluster is founded"
            } else {
                word
            }
        }),
    );

    // Mended, they found.
    network.crash(2);
    network.machines[2].hosts.truncate(2);
    network.start(2);
    network.run(5);
    assert!(network.all_have_clusters());
}

/// Three founders of which the one with the lowest id has its proposal on disk, and that is all.
fn proposed() -> (Network, usize) {
    let mut network = Network::new(3, 3);
    let lowest = (0..3).min_by_key(|&at| network.node(at)).unwrap();
    (0..3).for_each(|at| network.start(at));
    while network.machines[lowest].disk.founding.is_none() {
        assert!(!network.under_way.is_empty());
        network.deliver();
    }
    // Nobody hears of it, but all are ready.
    while let Some((_, _, bytes)) = network.under_way.front() {
        let message = Message::decode(bytes).unwrap().unwrap();
        if matches!(message, Message::Proposal(_)) {
            network.under_way.pop_front();
        } else {
            network.deliver();
        }
    }
    (network, lowest)
}

fn held(network: &Network, at: usize) -> Proposal {
    let bytes = network.machines[at].disk.founding.as_ref().unwrap();
    Proposal::decode(bytes).unwrap()
}

#[test]
fn a_proposal_is_on_disk_before_anything_is_said_of_it() {
    for at in 0..3 {
        let mut network = Network::new(3, 3);
        (0..3).for_each(|other| network.start(other));
        let mut persisted = false;
        while let Some((from, to, bytes)) = network.under_way.pop_front() {
            let receiver = (0..3).find(|&other| network.node(other) == to).unwrap();
            if receiver != at {
                network.handle(receiver, ControlInput::Message { from, bytes });
                continue;
            }
            let moment = network.moment();
            let mut actions = Vec::new();
            let control = network.machines[at].control.as_mut().unwrap();
            control.handle(moment, ControlInput::Message { from, bytes }, &mut actions);
            for action in actions {
                match action {
                    Action::PersistFounding(_) => persisted = true,
                    Action::Send { to, bytes } => {
                        let message = Message::decode(&bytes).unwrap().unwrap();
                        let tells =
                            matches!(message, Message::Proposal(_) | Message::Accepted { .. });
                        assert!(persisted || !tells, "{message:?}");
                        network.under_way.push_back((network.node(at), to, bytes));
                    }
                    Action::Found { .. } => assert!(persisted),
                    _ => {}
                }
            }
        }
        assert!(persisted);
    }
}

#[test]
fn all_have_to_agree_before_anyone_founds() {
    let (mut network, lowest) = proposed();
    let last = (lowest + 1) % 3;
    let other = (lowest + 2) % 3;
    // One of them hears nothing.
    for _ in 0..100 {
        network.now += std::time::Duration::from_millis(100);
        (0..3).for_each(|at| network.handle(at, ControlInput::Tick));
        let node = network.node(last);
        while let Some((_, to, _)) = network.under_way.front() {
            if *to == node {
                network.under_way.pop_front();
            } else {
                network.deliver();
            }
        }
    }
    assert!(network.machines[other].disk.founding.is_some());
    assert_eq!(network.clusters(), [None, None, None]);
    let forming = &network.machines[lowest].forming;
    assert!(
        forming.contains(&format!("waiting for node-{last}")),
        "{forming}"
    );
    network.run(3);
    assert!(network.all_have_clusters());
}

#[test]
fn a_holder_takes_no_other_proposal() {
    let (mut network, lowest) = proposed();
    let mut other = held(&network, lowest);
    other.map.cluster = ClusterId(99);
    let from = network.node((lowest + 1) % 3);
    other.proposer = from;
    let bytes = Message::Proposal(other).encode();
    network.handle(lowest, ControlInput::Message { from, bytes });
    assert_ne!(held(&network, lowest).cluster(), ClusterId(99));
    let (_, to, bytes) = network.under_way.pop_back().unwrap();
    assert_eq!(to, from);
    let answer = Message::decode(&bytes).unwrap().unwrap();
    assert!(
        matches!(&answer, Message::Declined { cluster, .. } if *cluster == ClusterId(99)),
        "{answer:?}"
    );
}

#[test]
fn a_founder_agrees_only_to_the_founders_that_it_sees_itself() {
    let (mut network, lowest) = proposed();
    let at = (lowest + 1) % 3;
    let from = network.node(lowest);
    let proposal = held(&network, lowest);
    let decline = |network: &mut Network, proposal: &Proposal| {
        let bytes = Message::Proposal(proposal.clone()).encode();
        network.handle(at, ControlInput::Message { from, bytes });
        assert_eq!(network.machines[at].disk.founding, None);
        let (_, _, bytes) = network.under_way.pop_back().unwrap();
        match Message::decode(&bytes).unwrap().unwrap() {
            Message::Declined { why, .. } => why,
            other => panic!("{other:?}"),
        }
    };
    let mut fewer = proposal.clone();
    fewer.map.nodes.remove(&network.node((lowest + 2) % 3));
    assert!(decline(&mut network, &fewer).contains("other nodes"));
    let mut elsewhere = proposal.clone();
    elsewhere.hosts.pop();
    assert!(decline(&mut network, &elsewhere).contains("discovery.hosts"));
    network.disconnect(at, (lowest + 2) % 3);
    assert!(decline(&mut network, &proposal).contains("waiting for"));
}

#[test]
fn a_crash_at_any_point_of_founding_is_resumed() {
    for at in 0..3 {
        for after in 0..40 {
            let mut network = Network::new(3, 3);
            network.machines[at].crash_after = Some(after);
            (0..3).for_each(|other| network.start(other));
            for _ in 0..30 {
                network.step();
            }
            if !network.is_on(at) {
                network.start(at);
            }
            network.machines[at].crash_after = None;
            network.run(5);
            assert!(network.all_have_clusters(), "{at} after {after}");
            assert_eq!(network.voters(0), [0, 1, 2]);
        }
    }
}

#[test]
fn all_crash_before_any_has_founded_and_resume() {
    let (mut network, lowest) = proposed();
    let cluster = held(&network, lowest).cluster();
    (0..3).for_each(|at| network.crash(at));
    (0..3).for_each(|at| network.start(at));
    network.run(3);
    assert_eq!(network.clusters(), [Some(cluster); 3]);
}

#[test]
fn a_disk_wiped_in_the_middle_is_told_and_the_operator_can_mend_it() {
    let (mut network, lowest) = proposed();
    let wiped = (lowest + 1) % 3;
    let title = format!("node-{wiped} (host-{wiped}:19919)");
    network.wipe(wiped);
    network.run(2);
    let forming = network.machines[lowest].forming.clone();
    assert!(
        forming.contains(&format!("{title}, which is not there")),
        "{forming}"
    );
    // As long as it may come back, nothing is said of moving folders.
    assert!(!forming.contains("move its folder away"), "{forming}");
    network.start(wiped);
    network.run(60);
    assert_eq!(network.clusters(), [None, None, None]);
    let forming = &network.machines[lowest].forming;
    let new = network.node(wiped);
    assert!(
        forming.contains(&format!(
            "{title}, at whose address is now the empty node {new}"
        )),
        "{forming}"
    );
    assert!(forming.contains("nothing is stored yet"), "{forming}");
    network.wipe(lowest);
    network.start(lowest);
    network.run(5);
    assert!(network.all_have_clusters());
}

#[test]
fn folders_are_not_to_be_moved_while_a_founder_may_have_data() {
    let (mut network, lowest) = proposed();
    let (wiped, away) = ((lowest + 1) % 3, (lowest + 2) % 3);
    network.crash(away);
    network.wipe(wiped);
    network.start(wiped);
    network.run(5);
    let forming = &network.machines[lowest].forming;
    assert!(forming.contains("the empty node"), "{forming}");
    assert!(!forming.contains("move its folder away"), "{forming}");
}

#[test]
fn a_holder_joins_no_other_cluster() {
    let (mut network, lowest) = proposed();
    let at = (lowest + 1) % 3;
    let from = network.node(at);
    let cluster = ClusterId(99);
    network.handle(
        lowest,
        ControlInput::PeerCluster {
            node: from,
            cluster,
        },
    );
    let forming = network.machines[lowest].forming.clone();
    assert!(
        forming.contains(&format!("host-{at}:19919) belongs to cluster {cluster}")),
        "{forming}"
    );
    // Not even if the answer to an earlier question comes now.
    let mut map = held(&network, lowest).map;
    map.cluster = cluster;
    let bytes = Message::Joined(map).encode();
    network.handle(lowest, ControlInput::Message { from, bytes });
    assert_eq!(network.machines[lowest].disk.cluster, None);
}

#[test]
fn who_meets_two_clusters_joins_neither() {
    let mut network = Network::new(3, 3);
    (0..3).for_each(|at| network.start(at));
    for (at, cluster) in [(1, 7), (2, 8)] {
        let (node, cluster) = (network.node(at), ClusterId(cluster));
        network.handle(0, ControlInput::PeerCluster { node, cluster });
    }
    let forming = &network.machines[0].forming;
    assert!(forming.contains("several"), "{forming}");
}

#[test]
fn a_proposal_that_cannot_be_read_stops_the_node_before_it_says_anything() {
    let (mut network, lowest) = proposed();
    network.crash(lowest);
    network.machines[lowest]
        .disk
        .founding
        .as_mut()
        .unwrap()
        .pop();
    let started = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        network.start(lowest);
    }));
    assert!(started.is_err());
}

#[test]
fn the_lowest_id_proposes() {
    let (network, lowest) = proposed();
    let proposal = held(&network, lowest);
    let nodes: Vec<NodeId> = proposal.map.nodes.keys().copied().collect();
    assert_eq!(nodes.first(), Some(&proposal.proposer));
}
