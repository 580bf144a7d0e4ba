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
    Directory::new(vec![
        "a:1".parse().expect("an address"),
        "b:1".parse().expect("an address"),
    ])
}

/// Admits a connection whose other side admits this one too.
fn join(
    peers: &mut Directory,
    id: ConnectionId,
    side: Side,
    greeting: &Greeting,
) -> Option<Confirmation> {
    let admission = peers.admit(id, side, greeting, None);
    assert_eq!(admission, Ok(Admission::Joined));
    peers.confirm(id)
}

const CAME: Option<Confirmation> = Some(Confirmation::Came);

fn further(given_up: &[ConnectionId]) -> Option<Confirmation> {
    Some(Confirmation::Further(given_up.to_vec()))
}

/// The node that a connection was of, and whether it is alive without it.
fn removed(peers: &mut Directory, id: ConnectionId) -> Option<(u64, PeerState)> {
    let removal = peers.remove(id)?;
    Some((removal.status.node_id.0, removal.status.state))
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
    assert_eq!(join(&mut peers, C[0], Dialled, &greeting(9, 1)), CAME);
    assert_eq!(join(&mut peers, C[1], Accepted, &greeting(2, 1)), CAME);
    let again = join(&mut peers, C[2], Accepted, &greeting(9, 1));
    assert_eq!(again, further(&[]));
    assert_eq!(removed(&mut peers, C[0]), Some((9, Alive)));
    assert_eq!(states(&peers), [(9, Alive), (2, Alive)]);
    assert_eq!(removed(&mut peers, C[2]), Some((9, Lost)));
    assert_eq!(removed(&mut peers, C[2]), None);
    assert_eq!(states(&peers), [(9, Lost), (2, Alive)]);
    assert_eq!(join(&mut peers, C[3], Accepted, &greeting(9, 2)), CAME);
    assert_eq!(states(&peers), [(9, Alive), (2, Alive)]);
}

#[test]
fn what_is_not_confirmed_does_not_count() {
    let mut peers = directory();
    let node = NodeId(9);
    let mut admit = |id, side| peers.admit(id, side, &greeting(9, 1), None);
    assert_eq!(admit(C[0], Accepted), Ok(Admission::Joined));
    assert_eq!((peers.send(node), peers.route(node)), (None, None));
    assert_eq!(states(&peers), [(9, Lost)]);
    let removal = peers.remove(C[0]).expect("it was admitted");
    assert!(!removal.was_alive && !removal.has_sent);
    assert_eq!(join(&mut peers, C[1], Accepted, &greeting(9, 1)), CAME);
    assert_eq!(peers.confirm(C[0]), None);
    assert_eq!(peers.send(node), Some(C[1]));
    assert!(
        peers
            .remove(C[1])
            .is_some_and(|removal| removal.was_alive && removal.has_sent)
    );
}

#[test]
fn messages_take_the_dialled_connection_else_the_latest() {
    let mut peers = directory();
    let node = NodeId(9);
    for (id, side) in [(C[0], Accepted), (C[2], Dialled), (C[3], Accepted)] {
        assert_eq!(
            peers.admit(id, side, &greeting(9, 1), None),
            Ok(Admission::Joined)
        );
    }
    // The order of confirmations is not that of admissions: the earlier is not given up for the later.
    for (id, route) in [(C[3], C[3]), (C[0], C[3]), (C[2], C[2])] {
        assert!(peers.confirm(id).is_some());
        assert_eq!(peers.route(node), Some(route));
    }
    peers.remove(C[2]);
    assert_eq!(peers.route(node), Some(C[3]));
    peers.remove(C[3]);
    assert_eq!(peers.route(node), Some(C[0]));
    peers.remove(C[0]);
    assert_eq!(peers.route(node), None);
}

#[test]
fn a_peer_that_dials_anew_has_given_up_what_it_dialled_before() {
    let mut peers = directory();
    assert_eq!(join(&mut peers, C[0], Accepted, &greeting(9, 1)), CAME);
    assert_eq!(
        join(&mut peers, C[1], Dialled, &greeting(9, 1)),
        further(&[])
    );
    // A duplicate, which is never confirmed, gives nothing up.
    let duplicate = peers.admit(C[2], Accepted, &greeting(9, 1), None);
    assert_eq!(duplicate, Ok(Admission::Joined));
    assert_eq!(
        join(&mut peers, C[3], Accepted, &greeting(9, 1)),
        further(&[C[0]])
    );
    assert_eq!(removed(&mut peers, C[0]), None);
    assert_eq!(peers.route(NodeId(9)), Some(C[1]));
}

#[test]
fn a_second_dialled_connection_is_a_duplicate() {
    let mut peers = directory();
    assert_eq!(join(&mut peers, C[0], Accepted, &greeting(9, 1)), CAME);
    join(&mut peers, C[1], Dialled, &greeting(9, 1));
    let again = peers.admit(C[2], Dialled, &greeting(9, 1), None);
    assert_eq!(again, Err(HangUp::Duplicate(NodeId(9))));
    assert!(peers.is_dialled(NodeId(9)));
    peers.remove(C[1]);
    assert!(!peers.is_dialled(NodeId(9)));
    assert_eq!(
        join(&mut peers, C[3], Dialled, &greeting(9, 1)),
        further(&[])
    );
}

fn refused(peers: &mut Directory, greeting: &Greeting) -> Refusal {
    match peers.admit(C[4], Dialled, greeting, None) {
        Err(HangUp::Refused(refusal)) => refusal,
        other => panic!("{other:?}"),
    }
}

fn too_old(theirs: u64, seen: u64) -> Refusal {
    Refusal::OldIncarnation {
        node_id: NodeId(9),
        theirs: Incarnation(theirs),
        seen: Incarnation(seen),
    }
}

#[test]
fn a_later_start_takes_the_place_and_any_other_process_is_refused() {
    let mut peers = directory();
    join(&mut peers, C[0], Dialled, &greeting(9, 5));
    join(&mut peers, C[1], Accepted, &greeting(9, 5));
    let restarted = peers.admit(C[2], Accepted, &greeting(9, 6), None);
    let (former, was_alive) = (vec![C[0], C[1]], true);
    assert_eq!(restarted, Ok(Admission::Restarted { former, was_alive }));
    assert_eq!((peers.remove(C[0]), peers.remove(C[1])), (None, None));
    assert_eq!(peers.confirm(C[2]), CAME);
    let copy = Greeting {
        run_nonce: 77,
        ..greeting(9, 6)
    };
    let in_use = Refusal::NodeIdInUse {
        node_id: NodeId(9),
        incarnation: Incarnation(6),
    };
    assert_eq!(refused(&mut peers, &copy), in_use);
    assert_eq!(refused(&mut peers, &greeting(9, 5)), too_old(5, 6));
    assert_eq!(peers.route(NodeId(9)), Some(C[2]));
    // The same while nobody is there.
    peers.remove(C[2]);
    assert_eq!(refused(&mut peers, &copy), in_use);
    assert_eq!(refused(&mut peers, &greeting(9, 5)), too_old(5, 6));
    assert_eq!(join(&mut peers, C[3], Dialled, &greeting(9, 6)), CAME);
}

#[test]
fn an_incarnation_is_remembered_longer_than_the_peer() {
    let mut peers = directory();
    let other = Greeting {
        advertised: greeting(9, 1).advertised,
        ..greeting(8, 1)
    };
    join(&mut peers, C[0], Dialled, &greeting(9, 5));
    peers.remove(C[0]);
    join(&mut peers, C[1], Dialled, &other);
    assert_eq!(peers.status(NodeId(9)), None);
    assert_eq!(refused(&mut peers, &greeting(9, 4)), too_old(4, 5));
}

#[test]
fn an_incarnation_that_others_have_seen_counts_as_seen() {
    let mut peers = directory();
    assert_eq!(peers.know(NodeId(9), Incarnation(5)), []);
    assert_eq!(peers.know(NodeId(9), Incarnation(3)), []);
    assert_eq!(refused(&mut peers, &greeting(9, 4)), too_old(4, 5));
    assert_eq!(join(&mut peers, C[0], Dialled, &greeting(9, 5)), CAME);
    assert_eq!(peers.know(NodeId(9), Incarnation(5)), []);
    assert_eq!(peers.route(NodeId(9)), Some(C[0]));
    assert_eq!(peers.know(NodeId(9), Incarnation(6)), [C[0]]);
    assert_eq!(peers.route(NodeId(9)), None);
    assert_eq!(removed(&mut peers, C[0]), Some((9, Lost)));
    assert_eq!(join(&mut peers, C[1], Dialled, &greeting(9, 6)), CAME);
    assert_eq!(peers.route(NodeId(9)), Some(C[1]));
}

#[test]
fn a_peer_that_stops_has_no_route_until_it_is_started_again() {
    let mut peers = directory();
    join(&mut peers, C[0], Dialled, &greeting(9, 5));
    join(&mut peers, C[1], Accepted, &greeting(9, 5));
    peers.set_stopping(C[1]);
    assert_eq!(
        (peers.route(NodeId(9)), peers.send(NodeId(9))),
        (None, None)
    );
    assert!(
        peers
            .remove(C[1])
            .is_some_and(|removal| removal.is_stopping)
    );
    assert_eq!(states(&peers), [(9, Alive)]);
    peers.remove(C[0]);
    join(&mut peers, C[2], Accepted, &greeting(9, 6));
    assert_eq!(peers.route(NodeId(9)), Some(C[2]));
}

#[test]
fn a_forgotten_peer_leaves_the_table_when_it_is_lost() {
    let mut peers = directory();
    join(&mut peers, C[0], Dialled, &greeting(9, 5));
    join(&mut peers, C[1], Dialled, &greeting(8, 5));
    peers.set_forgotten(NodeId(9), true);
    assert_eq!(states(&peers), [(9, Alive), (8, Alive)]);
    assert!(
        peers
            .remove(C[0])
            .is_some_and(|removal| removal.is_forgotten)
    );
    assert_eq!(states(&peers), [(8, Alive)]);
    peers.remove(C[1]);
    peers.set_forgotten(NodeId(8), true);
    assert_eq!(states(&peers), []);
}

#[test]
fn a_greeting_that_an_update_overtook_takes_nothing_back() {
    let mut peers = directory();
    join(&mut peers, C[0], Dialled, &greeting(9, 5));
    peers.set_cluster_id(C[0], ClusterId(4));
    join(&mut peers, C[1], Accepted, &greeting(9, 5));
    let cluster_id = |peers: &Directory| peers.statuses()[0].cluster_id;
    assert_eq!(cluster_id(&peers), Some(ClusterId(4)));
}

#[test]
fn a_lost_peer_is_forgotten_when_another_takes_its_address() {
    let mut peers = directory();
    let at = |node| Greeting {
        advertised: greeting(1, 1).advertised,
        ..greeting(node, 1)
    };
    join(&mut peers, C[0], Dialled, &at(1));
    join(&mut peers, C[1], Dialled, &at(2));
    assert_eq!(states(&peers), [(1, Alive), (2, Alive)]);
    peers.remove(C[0]);
    join(&mut peers, C[2], Dialled, &at(3));
    assert_eq!(states(&peers), [(2, Alive), (3, Alive)]);
}

#[test]
fn the_table_is_bounded() {
    let mut peers = directory();
    for node in 1..=PEERS_LIMIT as u64 {
        join(&mut peers, ConnectionId(node), Accepted, &greeting(node, 1));
    }
    let more = |node| greeting(node, 1);
    let refusal = Refusal::TooManyPeers { limit: PEERS_LIMIT };
    let id = ConnectionId(5000);
    let refused = peers.admit(id, Accepted, &more(5000), None);
    assert_eq!(refused, Err(HangUp::Refused(refusal)));
    peers.remove(ConnectionId(7));
    assert_eq!(join(&mut peers, id, Accepted, &more(5000)), CAME);
    assert_eq!(peers.status(NodeId(7)), None);
    assert_eq!(peers.statuses().len(), PEERS_LIMIT);
}

#[test]
fn measurements_are_those_of_the_route_and_end_with_it() {
    let mut peers = directory();
    join(&mut peers, C[0], Accepted, &greeting(9, 1));
    join(&mut peers, C[1], Dialled, &greeting(9, 1));
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
        join(&mut peers, id, Dialled, &greeting(node, 1));
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
