//! The rules of the table, one by one.

use std::time::Duration;

use base::{Incarnation, Timestamp};

use super::*;
use crate::greeting::VERSION;

fn greeting(node: u64, incarnation: u64) -> Greeting {
    Greeting {
        protocol: VERSION,
        side: Side::Accepted,
        cluster_id: None,
        node_id: NodeId(node),
        run_nonce: incarnation,
        incarnation: Incarnation(incarnation),
        hosts_hash: 0,
        name: format!("node-{node}"),
        advertised: format!("host-{node}:1").parse().expect("an address"),
        version: String::new(),
    }
}

fn directory() -> Directory {
    Directory::new(&[
        "a:1".parse().expect("an address"),
        "b:1".parse().expect("an address"),
    ])
}

fn states(directory: &Directory) -> Vec<(u64, PeerState)> {
    directory
        .statuses()
        .iter()
        .map(|status| (status.node_id.0, status.state))
        .collect()
}

const C: [ConnectionId; 5] = [
    ConnectionId(0),
    ConnectionId(1),
    ConnectionId(2),
    ConnectionId(3),
    ConnectionId(4),
];
use PeerState::{Alive, Lost};
use Side::{Accepted, Dialled};

#[test]
fn a_peer_is_alive_while_any_connection_is_and_keeps_its_place() {
    let mut peers = directory();
    assert_eq!(
        peers.admit(C[0], Dialled, &greeting(9, 1), None),
        Ok(Admission::Came)
    );
    assert_eq!(
        peers.admit(C[1], Accepted, &greeting(2, 1), None),
        Ok(Admission::Came)
    );
    assert_eq!(
        peers.admit(C[2], Accepted, &greeting(9, 1), None),
        Ok(Admission::Further)
    );
    assert_eq!(peers.remove(C[0]), None);
    assert_eq!(states(&peers), [(9, Alive), (2, Alive)]);
    assert_eq!(
        peers.remove(C[2]).map(|peer| (peer.node_id, peer.state)),
        Some((NodeId(9), Lost))
    );
    assert_eq!(peers.remove(C[2]), None);
    assert_eq!(states(&peers), [(9, Lost), (2, Alive)]);
    assert_eq!(
        peers.admit(C[3], Accepted, &greeting(9, 2), None),
        Ok(Admission::Came)
    );
    assert_eq!(states(&peers), [(9, Alive), (2, Alive)]);
}

#[test]
fn messages_take_the_dialled_connection_else_the_latest() {
    let mut peers = directory();
    for (id, side) in [
        (C[0], Accepted),
        (C[1], Accepted),
        (C[2], Dialled),
        (C[3], Accepted),
    ] {
        peers
            .admit(id, side, &greeting(9, 1), None)
            .expect("admitted");
    }
    let node = NodeId(9);
    assert_eq!(peers.route(node), Some(C[2]));
    peers.remove(C[2]);
    assert_eq!(peers.route(node), Some(C[3]));
    peers.remove(C[3]);
    assert_eq!(peers.route(node), Some(C[1]));
    peers.remove(C[1]);
    peers.remove(C[0]);
    assert_eq!(peers.route(node), None);
}

#[test]
fn a_second_dialled_connection_is_a_duplicate() {
    let mut peers = directory();
    peers
        .admit(C[0], Accepted, &greeting(9, 1), None)
        .expect("admitted");
    peers
        .admit(C[1], Dialled, &greeting(9, 1), None)
        .expect("admitted");
    let again = peers.admit(C[2], Dialled, &greeting(9, 1), None);
    assert_eq!(again, Err(HangUp::Duplicate(NodeId(9))));
    assert!(peers.is_dialled(NodeId(9)));
    peers.remove(C[1]);
    assert!(!peers.is_dialled(NodeId(9)));
    assert_eq!(
        peers.admit(C[3], Dialled, &greeting(9, 1), None),
        Ok(Admission::Further)
    );
}

#[test]
fn a_later_start_takes_the_place_and_any_other_process_is_refused() {
    let mut peers = directory();
    peers
        .admit(C[0], Dialled, &greeting(9, 5), None)
        .expect("admitted");
    peers
        .admit(C[1], Accepted, &greeting(9, 5), None)
        .expect("admitted");
    let restarted = peers.admit(C[2], Accepted, &greeting(9, 6), None);
    assert_eq!(restarted, Ok(Admission::Restarted(vec![C[0], C[1]])));
    assert_eq!((peers.remove(C[0]), peers.remove(C[1])), (None, None));
    let incarnation = Incarnation(6);
    let refusal = Refusal::NodeIdInUse {
        node_id: NodeId(9),
        incarnation,
    };
    let copy = Greeting {
        run_nonce: 77,
        ..greeting(9, 6)
    };
    for other in [copy, greeting(9, 5)] {
        let refused = peers.admit(C[3], Dialled, &other, None);
        assert_eq!(refused, Err(HangUp::Refused(refusal.clone())));
    }
    assert_eq!(peers.route(NodeId(9)), Some(C[2]));
}

#[test]
fn a_lost_peer_is_forgotten_when_another_takes_its_address() {
    let mut peers = directory();
    let at = |node| Greeting {
        advertised: greeting(1, 1).advertised,
        ..greeting(node, 1)
    };
    peers.admit(C[0], Dialled, &at(1), None).expect("admitted");
    peers.admit(C[1], Dialled, &at(2), None).expect("admitted");
    assert_eq!(states(&peers), [(1, Alive), (2, Alive)]);
    peers.remove(C[0]);
    peers.admit(C[2], Dialled, &at(3), None).expect("admitted");
    assert_eq!(states(&peers), [(2, Alive), (3, Alive)]);
}

#[test]
fn the_table_is_bounded() {
    let mut peers = directory();
    for node in 1..=PEERS_LIMIT as u64 {
        peers
            .admit(ConnectionId(node), Accepted, &greeting(node, 1), None)
            .expect("admitted");
    }
    let more = |node| greeting(node, 1);
    let refusal = Refusal::TooManyPeers { limit: PEERS_LIMIT };
    let id = ConnectionId(5000);
    let refused = peers.admit(id, Accepted, &more(5000), None);
    assert_eq!(refused, Err(HangUp::Refused(refusal)));
    peers.remove(ConnectionId(7));
    assert_eq!(
        peers.admit(id, Accepted, &more(5000), None),
        Ok(Admission::Came)
    );
    assert_eq!(peers.status(NodeId(7)), None);
    assert_eq!(peers.statuses().len(), PEERS_LIMIT);
}

#[test]
fn measurements_are_those_of_the_route_and_end_with_it() {
    let mut peers = directory();
    peers
        .admit(C[0], Accepted, &greeting(9, 1), None)
        .expect("admitted");
    peers
        .admit(C[1], Dialled, &greeting(9, 1), None)
        .expect("admitted");
    let mut link = Link::default();
    let rtt = Duration::from_millis(3);
    link.measured(rtt, Timestamp::ZERO, Timestamp::ZERO);
    peers.measured(C[0], &link);
    assert_eq!(peers.statuses()[0].rtt, None);
    peers.measured(C[1], &link);
    assert_eq!(peers.statuses()[0].rtt, Some(rtt));
    peers.set_cluster_id(C[0], ClusterId(4));
    peers.remove(C[0]);
    peers.remove(C[1]);
    let lost = &peers.statuses()[0];
    assert_eq!((lost.rtt, lost.cluster_id), (None, Some(ClusterId(4))));
}

#[test]
fn the_alive_are_introduced_to_each_other() {
    let mut peers = directory();
    for (id, node) in C.into_iter().zip([1, 2, 3]) {
        peers
            .admit(id, Dialled, &greeting(node, 1), None)
            .expect("admitted");
    }
    peers.remove(C[1]);
    let others: Vec<_> = peers
        .others_alive(NodeId(3))
        .iter()
        .map(|one| one.node_id.0)
        .collect();
    assert_eq!(others, [1]);
}

#[test]
fn hosts_remember_who_greeted_there() {
    let mut peers = directory();
    assert!(!peers.set_host(0, HostState::Dialling));
    assert!(peers.set_host(1, HostState::Greeted(NodeId(9))));
    assert!(peers.set_host(1, HostState::Failed { why: "gone".into() }));
    assert!(peers.is_host(NodeId(9)) && !peers.is_host(NodeId(8)));
    let states: Vec<_> = peers
        .hosts()
        .iter()
        .map(|host| host.state.to_string())
        .collect();
    assert_eq!(states, ["dialling", "failed: gone"]);
}
