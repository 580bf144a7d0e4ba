//! The hub with connections that are nothing but their greetings.

use base::Timestamp;

use super::*;
use crate::Config;
use crate::dialling::Next;
use crate::directory::ConnectionId;
use crate::greeting::Greeting;
use crate::message::Goodbye;

const NOW: Moment = Moment {
    wall: Timestamp::ZERO,
    monotonic: std::time::Duration::ZERO,
};
use Side::{Accepted, Dialled};

fn address(text: &str) -> HostAddr {
    text.parse().expect("an address")
}

fn local(node: u64) -> LocalNode {
    LocalNode {
        node_id: NodeId(node),
        run_nonce: node,
        incarnation: Incarnation(5),
        cluster_id: None,
        name: format!("node-{node}"),
        advertised: address(&format!("host-{node}:1")),
        version: String::new(),
    }
}

/// A hub, and what it wanted done since it was last asked.
struct Node {
    hub: Hub,
    effects: Vec<Effect>,
}

impl Node {
    fn new(hosts: &[&str]) -> Node {
        let hosts = hosts.iter().map(|host| address(host)).collect();
        Node {
            hub: Hub::new(hosts, local(1)),
            effects: Vec::new(),
        }
    }

    /// A connection of that side of this node on which `peer` greets, and, when it is so, confirms.
    fn connect(&mut self, side: Side, peer: &LocalNode, confirms: bool) -> ConnectionId {
        let id = self.hub.open(side, &mut self.effects);
        let origin = origin(id, side);
        let theirs = match side {
            Accepted => Dialled,
            Dialled => Accepted,
        };
        let greeting = Greeting::of(peer, None, 0, theirs);
        let mut session = Session::new(self.hub.greeting(side), Config::DEFAULT_HEARTBEAT, NOW);
        let mut frames = Vec::new();
        crate::frame::encode(
            &mut frames,
            crate::frame::Kind::GREETING,
            &greeting.encode(),
        );
        session.read_buffer().extend_from_slice(&frames);
        let introduced = session.poll(NOW).expect("a greeting").expect("all of it");
        self.hub
            .take_in(&origin, &mut session, introduced, NOW, &mut self.effects)
            .expect("admitted");
        if confirms {
            self.hub
                .take_in(
                    &origin,
                    &mut session,
                    Input::Confirmed,
                    NOW,
                    &mut self.effects,
                )
                .expect("nothing against it");
        }
        id
    }

    fn greet(&mut self, side: Side, peer: u64) -> ConnectionId {
        self.connect(side, &local(peer), true)
    }

    fn ended(&mut self, id: ConnectionId, why: &HangUp) -> Vec<String> {
        self.hub.ended(id, why, &mut self.effects);
        self.told()
    }

    /// The effects since the last call, in short.
    fn told(&mut self) -> Vec<String> {
        let told = |effect| match effect {
            Effect::Tell(Event::Greeted(status)) => format!("greeted {}", status.node_id.0),
            Effect::Tell(Event::Lost { node_id, .. }) => format!("lost {}", node_id.0),
            Effect::Tell(Event::Payload { from, .. }) => format!("payload {}", from.0),
            Effect::Introduce(id, others) => {
                let others: Vec<_> = others.iter().map(|other| other.node_id.0).collect();
                format!("introduce {others:?} on {}", id.0)
            }
            Effect::HangUp(id, why) => format!("hang up {}: {why}", id.0),
            Effect::Dial(plan) => match plan.expected() {
                Some(node_id) => format!("dial {}", node_id.0),
                None => "dial a host".into(),
            },
        };
        self.effects.drain(..).map(told).collect()
    }

    /// The plan that the latest effect is.
    fn plan(&mut self) -> Dialling {
        match self.effects.pop() {
            Some(Effect::Dial(plan)) => plan,
            other => panic!("{other:?}"),
        }
    }
}

fn origin(id: ConnectionId, side: Side) -> Origin {
    Origin {
        id,
        side,
        remote: None,
        expected: None,
    }
}

fn goodbye(code: u16) -> HangUp {
    HangUp::Goodbye(Goodbye {
        code,
        text: String::new(),
    })
}

#[test]
fn a_connection_that_ends_beside_another_is_a_loss_and_a_greeting() {
    for (ends, side) in [(0, Dialled), (1, Accepted)] {
        let mut node = Node::new(&[]);
        let ids = [node.greet(Dialled, 2), node.greet(Accepted, 2)];
        assert_eq!(node.told(), ["greeted 2"]);
        // The side that waits for a reply has sent nothing on it.
        assert_eq!(
            node.ended(ids[ends], &HangUp::Closed),
            ["lost 2", "greeted 2"],
            "{side:?}"
        );
        assert_eq!(
            node.ended(ids[1 - ends], &HangUp::Closed),
            ["lost 2", "dial 2"]
        );
    }
}

#[test]
fn a_goodbye_on_a_connection_that_nothing_was_sent_on_is_no_loss() {
    let mut node = Node::new(&[]);
    let ids = [
        node.greet(Dialled, 2),
        node.greet(Accepted, 2),
        node.greet(Dialled, 3),
    ];
    node.told();
    assert_eq!(node.hub.send(NodeId(2)), Some(ids[0]));
    assert!(node.ended(ids[1], &goodbye(2)).is_empty());
    let again = node.greet(Accepted, 2);
    assert_eq!(node.ended(ids[0], &goodbye(2)), ["lost 2", "greeted 2"]);
    assert_eq!(node.hub.send(NodeId(2)), Some(again));
}

#[test]
fn what_one_side_never_confirmed_is_no_greeting_and_a_goodbye_there_no_loss() {
    let mut node = Node::new(&[]);
    let first = node.connect(Accepted, &local(2), false);
    assert_eq!(node.hub.send(NodeId(2)), None);
    assert!(node.ended(first, &HangUp::Closed).is_empty());
    node.greet(Dialled, 2);
    assert_eq!(node.told(), ["greeted 2"]);
    let duplicate = node.connect(Accepted, &local(2), false);
    assert!(node.ended(duplicate, &goodbye(2)).is_empty());
    // The other side may have sent something, and all of it is lost.
    let broken = node.connect(Accepted, &local(2), false);
    assert_eq!(node.ended(broken, &HangUp::Closed), ["lost 2", "greeted 2"]);
}

#[test]
fn a_peer_that_stops_is_lost_once_and_what_it_still_sends_comes_before() {
    let mut node = Node::new(&[]);
    let ids = [node.greet(Dialled, 2), node.greet(Accepted, 2)];
    node.told();
    assert_eq!(node.hub.send(NodeId(2)), Some(ids[0]));
    assert!(node.ended(ids[0], &goodbye(Goodbye::STOPPING)).is_empty());
    assert_eq!(node.hub.send(NodeId(2)), None);
    let mut session = Session::new(node.hub.greeting(Accepted), Config::DEFAULT_HEARTBEAT, NOW);
    let payload = Input::Payload(Vec::new());
    node.hub
        .take_in(
            &origin(ids[1], Accepted),
            &mut session,
            payload,
            NOW,
            &mut node.effects,
        )
        .expect("a payload");
    assert_eq!(node.told(), ["payload 2"]);
    assert_eq!(
        node.ended(ids[1], &goodbye(Goodbye::STOPPING)),
        ["lost 2", "dial 2"]
    );
}

#[test]
fn nothing_comes_of_a_connection_that_was_given_up() {
    let mut node = Node::new(&[]);
    let old = node.greet(Accepted, 2);
    node.told();
    let new = node.greet(Accepted, 2);
    let expected = [
        "hang up 0: the peer has dialled anew",
        "lost 2",
        "greeted 2",
    ];
    assert_eq!(node.told(), expected);
    let mut session = Session::new(node.hub.greeting(Accepted), Config::DEFAULT_HEARTBEAT, NOW);
    let payload = Input::Payload(Vec::new());
    node.hub
        .take_in(
            &origin(old, Accepted),
            &mut session,
            payload,
            NOW,
            &mut node.effects,
        )
        .expect("a payload");
    assert!(node.told().is_empty());
    assert!(node.ended(old, &HangUp::Superseded).is_empty());
    assert_eq!(node.hub.send(NodeId(2)), Some(new));
}

#[test]
fn a_restart_is_a_loss_and_a_greeting_once_both_sides_mean_it() {
    let mut node = Node::new(&[]);
    let ids = [node.greet(Dialled, 2), node.greet(Accepted, 2)];
    node.told();
    let again = LocalNode {
        run_nonce: 77,
        incarnation: Incarnation(6),
        ..local(2)
    };
    let new = node.connect(Accepted, &again, false);
    let hang_ups = ids.map(|id| format!("hang up {}: the peer was started anew", id.0));
    let expected = [hang_ups[0].as_str(), &hang_ups[1], "lost 2"];
    assert_eq!(node.told(), expected);
    for id in ids {
        assert!(node.ended(id, &HangUp::Restarted).is_empty());
    }
    node.hub.confirm(&origin(new, Accepted), &mut node.effects);
    assert_eq!(node.told(), ["greeted 2"]);
}

#[test]
fn a_process_that_the_map_knows_to_be_old_is_hung_up_on() {
    let mut node = Node::new(&[]);
    let ids = [node.greet(Dialled, 2), node.greet(Accepted, 2)];
    node.told();
    node.hub.know(NodeId(2), Incarnation(5), &mut node.effects);
    assert!(node.told().is_empty());
    node.hub.know(NodeId(2), Incarnation(6), &mut node.effects);
    let hang_ups = ids.map(|id| format!("hang up {}: the peer was started anew", id.0));
    assert_eq!(node.told(), hang_ups);
    assert!(node.ended(ids[0], &HangUp::Restarted).is_empty());
    assert_eq!(node.ended(ids[1], &HangUp::Restarted), ["lost 2", "dial 2"]);
}

#[test]
fn newcomers_are_introduced_to_those_who_are_alive() {
    let mut node = Node::new(&[]);
    for peer in [2, 3] {
        node.greet(Dialled, peer);
    }
    node.told();
    node.greet(Accepted, 4);
    let expected = [
        "introduce [4] on 0",
        "introduce [4] on 1",
        "introduce [2, 3] on 2",
        "greeted 4",
    ];
    assert_eq!(node.told(), expected);
}

#[test]
fn a_crowd_without_greetings_loses_its_oldest() {
    let mut node = Node::new(&[]);
    for _ in 0..UNGREETED_LIMIT {
        node.hub.open(Accepted, &mut node.effects);
    }
    assert!(node.told().is_empty());
    node.hub.open(Dialled, &mut node.effects);
    assert!(node.told().is_empty());
    node.hub.open(Accepted, &mut node.effects);
    assert_eq!(
        node.told(),
        ["hang up 0: too many connections wait for a greeting"]
    );
}

#[test]
fn a_node_that_stops_loses_each_peer_once_and_dials_nobody() {
    let mut node = Node::new(&["host-9:1"]);
    node.hub.start(&mut node.effects);
    let mut plan = node.plan();
    let ids = [node.greet(Dialled, 2), node.greet(Accepted, 2)];
    node.told();
    node.hub.stop();
    assert!(node.ended(ids[0], &HangUp::Stopping).is_empty());
    assert_eq!(node.ended(ids[1], &HangUp::Stopping), ["lost 2"]);
    node.hub
        .dial(NodeId(3), address("host-3:1"), &mut node.effects);
    assert!(node.told().is_empty());
    assert_eq!(plan.next(&mut node.hub, NOW), Next::End);
}

#[test]
fn what_is_dialled_is_bounded() {
    let mut node = Node::new(&[]);
    for peer in 0..2 * DIALLED_LIMIT as u64 {
        node.hub
            .learn(NodeId(10_000 + peer), address("far:1"), &mut node.effects);
        node.hub
            .dial(NodeId(20_000 + peer), address("far:1"), &mut node.effects);
    }
    assert_eq!(node.told().len(), LEARNED_LIMIT + DIALLED_LIMIT);
    // Room comes back, and who is dialled already may move.
    node.hub
        .dial(NodeId(20_000), address("near:1"), &mut node.effects);
    node.hub.forget(NodeId(20_000));
    node.hub
        .dial(NodeId(30_000), address("far:1"), &mut node.effects);
    assert_eq!(node.told(), ["dial 30000"]);
}

#[test]
fn a_forgotten_peer_is_left_alone_when_it_is_lost() {
    let mut node = Node::new(&[]);
    let id = node.greet(Accepted, 2);
    node.told();
    node.hub.forget(NodeId(2));
    assert_eq!(node.ended(id, &HangUp::Closed), ["lost 2"]);
    let id = node.greet(Accepted, 2);
    node.hub
        .dial(NodeId(2), address("host-2:1"), &mut node.effects);
    assert_eq!(node.told(), ["greeted 2", "dial 2"]);
    assert_eq!(node.ended(id, &HangUp::Closed), ["lost 2"]);
    assert!(node.hub.directory().status(NodeId(2)).is_some());
}
