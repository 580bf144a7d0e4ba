//! Nodes on wires, in one thread and in simulated time: the same decisions as over sockets, driven from outside. The
//! driver in `wires/mod.rs` is an example for others.

#[path = "wires/mod.rs"]
mod driver;

use std::time::Duration;

use driver::{World, address, id};

const SOON: Duration = Duration::from_millis(300);

/// Two nodes that dial each other, and have done so.
fn pair() -> World {
    let mut world = World::new(&[&[1], &[0]]);
    world.run(SOON);
    assert_eq!(world.told(0), ["greeted 2"]);
    assert_eq!(world.told(1), ["greeted 1"]);
    world
}

#[test]
fn payloads_arrive_in_order_and_nothing_is_told_of_what_is_well() {
    let mut world = pair();
    for payload in ["one", "two"] {
        assert!(world.send(0, 1, payload.as_bytes()).is_some());
    }
    world.run(SOON);
    assert_eq!(world.told(1), ["1 says one", "1 says two"]);
    let long = "long ".repeat(1_000_000);
    world.send(1, 0, long.as_bytes());
    world.send(1, 0, b"short");
    world.run(Duration::from_secs(10));
    assert!(world.told(0) == [format!("2 says {long}"), "2 says short".into()]);
    assert!(world.told(1).is_empty());
}

#[test]
fn a_connection_that_is_cut_beside_another_is_a_loss_at_both_ends() {
    let mut world = pair();
    // On its way when the connection breaks.
    let carrier = world.send(0, 1, b"lost").expect("alive");
    world.cut((0, carrier));
    assert!(
        world
            .send(0, 1, b"kept")
            .is_some_and(|other| other != carrier)
    );
    world.run(SOON);
    assert_eq!(world.told(0), ["lost 2", "greeted 2"]);
    assert_eq!(world.told(1), ["lost 1", "greeted 1", "1 says kept"]);
    // The plan has dialled anew, which is no news.
    assert!(world.nodes[0].hub.directory().is_dialled(id(1)));
    // The end that only waited for replies is told as well.
    let carrier = world.send(1, 0, b"a question").expect("alive");
    world.run(SOON);
    assert_eq!(world.told(0), ["2 says a question"]);
    world.cut((1, carrier));
    world.run(SOON);
    assert_eq!(world.told(0), ["lost 2", "greeted 2"]);
    assert_eq!(world.told(1), ["lost 1", "greeted 1"]);
}

#[test]
fn a_connection_on_which_nothing_comes_through_is_a_loss_at_both_ends() {
    let mut world = pair();
    let carrier = world.send(0, 1, b"lost").expect("alive");
    world.deaden((0, carrier));
    world.run(Duration::from_secs(3));
    assert_eq!(world.told(0), ["lost 2", "greeted 2"]);
    assert_eq!(world.told(1), ["lost 1", "greeted 1"]);
}

#[test]
fn equal_worlds_have_equal_histories() {
    let history = || {
        let mut world = World::new(&[&[0, 1, 2], &[0], &[0, 7]]);
        let mut history = Vec::new();
        for round in 0..20 {
            for (from, to) in [(0, 1), (1, 2), (2, 0)] {
                let carrier = world.send(from, to, format!("{round}").as_bytes());
                if let Some(carrier) = carrier.filter(|_| round % 7 == from) {
                    world.cut((from, carrier));
                }
            }
            world.run(Duration::from_millis(77));
            history.extend((0..3).map(|node| world.told(node)));
        }
        history
    };
    let first = history();
    assert!(first.concat().iter().any(|told| told.starts_with("lost")));
    assert_eq!(first, history());
}

#[test]
fn a_node_that_the_map_names_is_dialled_for_ever_and_where_the_map_says() {
    let mut world = World::new(&[&[], &[]]);
    let dial = |world: &mut World, place: &str| {
        let place = place.parse().expect("an address");
        let mut effects = Vec::new();
        world.nodes[0].hub.dial(id(1), place, &mut effects);
        effects
    };
    let plans = dial(&mut world, "nowhere:1");
    assert_eq!(plans.len(), 1);
    world.nodes[0].take(plans);
    world.run(Duration::from_secs(2 * 3600));
    assert!(world.told(0).is_empty());
    // Another address, at once, though the plan was at rest.
    assert!(dial(&mut world, &address(1).to_string()).is_empty());
    world.run(Duration::from_millis(20));
    assert_eq!(world.told(0), ["greeted 2"]);
    // One connection is enough; a lost one is made anew.
    assert!(!world.nodes[1].hub.directory().is_dialled(id(0)));
    let carrier = world.send(0, 1, b"lost").expect("alive");
    world.cut((0, carrier));
    world.run(SOON);
    assert_eq!(world.told(0), ["lost 2", "greeted 2"]);
    world.nodes[0].hub.forget(id(1));
    let carrier = world.send(0, 1, b"lost").expect("alive");
    world.nodes[1].hub.forget(id(0));
    world.cut((0, carrier));
    world.run(Duration::from_secs(5));
    assert_eq!(world.told(0), ["lost 2"]);
    assert!(world.nodes[0].hub.directory().statuses().is_empty());
}

#[test]
fn another_node_that_answers_is_hung_up_on_and_found_in_its_own_right() {
    let mut world = World::new(&[&[], &[], &[]]);
    let dial = |world: &mut World, place: usize| {
        let mut effects = Vec::new();
        world.nodes[0].hub.dial(id(2), address(place), &mut effects);
        world.nodes[0].take(effects);
    };
    dial(&mut world, 1);
    world.run(Duration::from_secs(10));
    assert_eq!(world.told(0), ["greeted 2"]);
    assert_eq!(world.told(1), ["greeted 1"]);
    assert!(world.send(0, 1, b"hello").is_some());
    world.run(SOON);
    assert_eq!(world.told(1), ["1 says hello"]);
    // The plan is not held up by who answered.
    dial(&mut world, 2);
    world.run(SOON);
    assert_eq!(world.told(0), ["greeted 3"]);
}
