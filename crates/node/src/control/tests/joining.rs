//! Joining, coming back, and being sent away.

use base::{ClusterId, Incarnation};
use meta::{Change, NodeState};

use super::network::{Network, address};
use crate::control::message::Message;
use crate::control::{Action, ControlInput};

#[test]
fn a_node_joins_through_a_member_that_does_not_lead() {
    let mut network = Network::started(4, 3, 1);
    let leader = network.leader(0).unwrap();
    network.wipe(3);
    let follower = (0..3).find(|&at| at != leader).unwrap();
    for at in (0..3).filter(|&at| at != follower) {
        network.cut(3, at);
    }
    network.start(3);
    network.run(5);
    assert!(network.all_have_clusters());
    assert!(network.map(leader).nodes.contains_key(&network.node(3)));
}

#[test]
fn joins_that_get_lost_come_again() {
    let mut network = Network::new(3, 1);
    network.lossy = true;
    (0..3).for_each(|at| network.start(at));
    network.run_until("joins", Network::all_have_clusters);
}

#[test]
fn a_member_that_comes_back_has_its_entry_brought_up_to_date() {
    let mut network = Network::started(3, 3, 1);
    let at = (network.leader(0).unwrap() + 1) % 3;
    network.crash(at);
    network.machines[at].address = "elsewhere:1".into();
    network.start(at);
    network.run(5);
    let entry = network.map(0).nodes[&network.node(at)].clone();
    assert_eq!(entry.incarnation, Incarnation(2));
    assert_eq!(entry.address, "elsewhere:1");
    // So does one that leads shard 0 by itself.
    let mut network = Network::started(1, 1, 1);
    network.crash(0);
    network.start(0);
    network.run(2);
    let node = network.node(0);
    assert_eq!(network.map(0).nodes[&node].incarnation, Incarnation(2));
}

#[test]
fn a_node_that_was_removed_while_it_was_away_stops_and_says_so() {
    let mut network = Network::started(4, 3, 1);
    network.crash(3);
    let node = network.node(3);
    let toy = network.toy.as_mut().unwrap();
    let state = NodeState::Leaving;
    toy.change(&Change::SetState { node, state }).unwrap();
    toy.change(&Change::Remove { node }).unwrap();
    network.run(3);
    network.start(3);
    network.run(3);
    let why = network.machines[3].stopped.as_ref().expect("it stops");
    assert!(why.contains("was removed"), "{why}");
    assert!(why.contains("empty data folder"), "{why}");
}

#[test]
fn a_node_that_is_removed_while_it_is_there_stops() {
    let mut network = Network::started(4, 3, 1);
    let node = network.node(3);
    let toy = network.toy.as_mut().unwrap();
    let state = NodeState::Leaving;
    toy.change(&Change::SetState { node, state }).unwrap();
    toy.change(&Change::Remove { node }).unwrap();
    network.run(3);
    assert!(network.machines[3].stopped.is_some());
}

#[test]
fn an_old_copy_of_a_disk_is_refused() {
    let mut network = Network::started(3, 3, 1);
    let at = (network.leader(0).unwrap() + 1) % 3;
    let copy = network.machines[at].disk.clone();
    for _ in 0..3 {
        network.crash(at);
        network.start(at);
        network.run(3);
    }
    network.crash(at);
    network.machines[at].disk = copy;
    network.start(at);
    network.run(3);
    let why = network.machines[at].stopped.as_ref().expect("it stops");
    assert!(why.contains("old copy"), "{why}");
}

#[test]
fn a_member_refuses_on_its_own_what_can_never_be() {
    // The leader is not asked: the member that is asked knows.
    let mut network = Network::started(3, 3, 1);
    let at = (network.leader(0).unwrap() + 1) % 3;
    let other = (at + 1) % 3;
    let mut old = network.local(other);
    old.incarnation = Incarnation(0);
    let from = network.node(other);
    let moment = network.moment();
    let mut actions = Vec::new();
    let control = network.machines[at].control.as_mut().unwrap();
    control.hear_join(from, old, moment.monotonic, &mut actions);
    let [Action::Send { to, bytes }] = &actions[..] else {
        panic!("{actions:?}");
    };
    assert_eq!(*to, from);
    let message = Message::decode(bytes).unwrap().unwrap();
    assert!(
        matches!(&message, Message::NotJoined { forever: true, .. }),
        "{message:?}"
    );
}

#[test]
fn an_answer_for_another_start_or_cluster_is_not_taken() {
    let mut network = Network::started(2, 1, 1);
    network.wipe(1);
    network.start_alone(1);
    network.machines[1].hosts = vec![address(0)];
    let mut map = network.map(0).clone();
    let from = network.node(0);
    network.cut(0, 1);
    network.crash(1);
    network.start_alone(1);
    let cluster = map.cluster;
    let hear = |network: &mut Network, map: &meta::ClusterMap| {
        let bytes = Message::Joined(map.clone()).encode();
        network.handle(1, ControlInput::Message { from, bytes });
        network.machines[1].disk.cluster
    };
    // From a stranger.
    assert_eq!(hear(&mut network, &map), None);
    let info = crate::control::PeerInfo {
        node: from,
        name: "node-0".into(),
        address: address(0),
        incarnation: Incarnation(1),
        cluster: Some(cluster),
    };
    network.handle(1, ControlInput::Greeted(info));
    // Without this node.
    assert_eq!(hear(&mut network, &map), None);
    let mut joining = network.local(1);
    joining.incarnation = Incarnation(1);
    map.apply(&Change::join(joining.clone())).unwrap();
    // With an earlier start of it.
    assert_eq!(hear(&mut network, &map), None);
    joining.incarnation = Incarnation(network.machines[1].disk.incarnation);
    map.apply(&Change::join(joining)).unwrap();
    map.cluster = ClusterId(5);
    assert_eq!(hear(&mut network, &map), None);
    map.cluster = cluster;
    assert_eq!(hear(&mut network, &map), Some(cluster));
}
