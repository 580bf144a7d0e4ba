//! Plans, one by one, with a hub that nobody is connected to.

use base::{Incarnation, Timestamp};

use super::*;
use crate::hub::Effect;
use crate::status::LocalNode;

fn address(text: &str) -> HostAddr {
    text.parse().expect("an address")
}

fn at(seconds: u64) -> Moment {
    Moment {
        wall: Timestamp::ZERO,
        monotonic: Duration::from_secs(seconds),
    }
}

fn hub(hosts: &[&str]) -> (Hub, Vec<Dialling>) {
    let local = LocalNode {
        node_id: NodeId(1),
        run_nonce: 1,
        incarnation: Incarnation(1),
        cluster_id: None,
        name: "node-1".into(),
        advertised: address("host-1:1"),
        version: String::new(),
    };
    let mut hub = Hub::new(hosts.iter().map(|host| address(host)).collect(), local);
    let mut effects = Vec::new();
    hub.start(&mut effects);
    (hub, plans(effects))
}

fn plans(effects: Vec<Effect>) -> Vec<Dialling> {
    let plans = effects.into_iter().map(|effect| match effect {
        Effect::Dial(plan) => plan,
        other => panic!("{other:?}"),
    });
    plans.collect()
}

/// When the plan connects next, in whole seconds; it has failed until then.
fn fail_until_it_ends(hub: &mut Hub, plan: &mut Dialling, most: u64) -> Option<u64> {
    (0..most).find(|&second| match plan.next(hub, at(second)) {
        Next::Connect(to) => {
            plan.failed(hub, to, "refused", false, at(second));
            false
        }
        Next::Wait(_) => false,
        Next::End => true,
    })
}

#[test]
fn a_host_is_dialled_for_ever_with_rests_between() {
    let (mut hub, mut plans) = hub(&["a:1"]);
    let plan = &mut plans[0];
    assert_eq!(plan.next(&mut hub, at(0)), Next::Connect(address("a:1")));
    plan.failed(&mut hub, address("a:1"), "refused", false, at(0));
    let state = HostState::Failed {
        why: "refused".into(),
    };
    assert_eq!(hub.directory().hosts()[0].state, state);
    let Next::Wait(Some(until)) = plan.next(&mut hub, at(0)) else {
        panic!("no rest");
    };
    assert!(until > Duration::ZERO && until < Duration::from_secs(1));
    assert_eq!(plan.next(&mut hub, at(1)), Next::Connect(address("a:1")));
    assert_eq!(hub.directory().hosts()[0].state, HostState::Dialling);
    assert_eq!(fail_until_it_ends(&mut hub, plan, 100_000), None);
}

#[test]
fn a_host_that_is_this_node_is_left_alone() {
    let (mut hub, mut plans) = hub(&["a:1", "b:1"]);
    assert!(matches!(plans[0].next(&mut hub, at(0)), Next::Connect(_)));
    plans[0].is_myself(&mut hub, address("a:1"), at(0));
    plans[1].ended(&mut hub, address("b:1"), &HangUp::Myself, None, at(0));
    for (plan, host) in plans.iter_mut().zip(0..) {
        assert_eq!(plan.next(&mut hub, at(9)), Next::End);
        assert_eq!(hub.directory().hosts()[host].state, HostState::IsSelf);
    }
}

#[test]
fn a_node_that_was_only_heard_of_is_given_up_when_it_is_long_gone() {
    let (mut hub, _) = hub(&[]);
    let mut effects = Vec::new();
    hub.learn(NodeId(2), address("a:1"), &mut effects);
    hub.dial(NodeId(3), address("b:1"), &mut effects);
    let mut plans = plans(effects);
    let ended = fail_until_it_ends(&mut hub, &mut plans[0], 10_000);
    assert!(
        ended.is_some_and(|second| (3600..3610).contains(&second)),
        "{ended:?}"
    );
    assert_eq!(fail_until_it_ends(&mut hub, &mut plans[1], 10_000), None);
    // Until it is forgotten. The plan of one that is given anew is another.
    hub.forget(NodeId(3));
    let mut effects = Vec::new();
    hub.dial(NodeId(3), address("b:1"), &mut effects);
    assert_eq!(
        (plans[1].next(&mut hub, at(10_000)), effects.len()),
        (Next::End, 1)
    );
}

#[test]
fn a_node_that_was_heard_of_and_is_given_then_is_dialled_by_the_same_plan() {
    let (mut hub, _) = hub(&[]);
    let mut effects = Vec::new();
    hub.learn(NodeId(2), address("a:1"), &mut effects);
    hub.dial(NodeId(2), address("b:1"), &mut effects);
    let mut plans = plans(effects);
    assert_eq!(plans.len(), 1);
    let plan = &mut plans[0];
    for (second, why) in [
        (0, HangUp::Myself),
        (
            10,
            HangUp::OtherNode {
                expected: NodeId(2),
                found: NodeId(3),
            },
        ),
        (20, HangUp::Closed),
    ] {
        assert_eq!(
            plan.next(&mut hub, at(second)),
            Next::Connect(address("b:1")),
            "{why}"
        );
        plan.ended(&mut hub, address("b:1"), &why, None, at(second));
    }
    assert_eq!(fail_until_it_ends(&mut hub, plan, 10_000), None);
}

#[test]
fn a_node_whose_address_is_a_host_is_dialled_as_that() {
    let (mut hub, _) = hub(&["a:1"]);
    let mut effects = Vec::new();
    hub.dial(NodeId(2), address("a:1"), &mut effects);
    let plan = &mut plans(effects)[0];
    assert_eq!(plan.next(&mut hub, at(0)), Next::Wait(None));
    let changes = hub.changes();
    hub.dial(NodeId(2), address("b:1"), &mut Vec::new());
    assert_ne!(hub.changes(), changes);
    assert_eq!(plan.next(&mut hub, at(0)), Next::Connect(address("b:1")));
}
