//! Two sessions joined by their bytes, on a clock that the test moves.

use base::{Incarnation, NodeId, Timestamp};
use proptest::prelude::*;

use super::*;
use crate::greeting::{VERSION, Version};
use crate::outbox::Outbox;
use crate::parts::PART_SIZE;

const HEARTBEAT: Duration = Duration::from_millis(100);

fn greeting(node: u64, side: Side) -> Greeting {
    Greeting {
        protocol: VERSION,
        side,
        cluster_id: None,
        node_id: NodeId(node),
        run_nonce: node + 1000,
        incarnation: Incarnation(1),
        hosts_hash: 0,
        name: format!("node-{node}"),
        advertised: "127.0.0.1:19919".parse().expect("an address"),
        version: "0.1.0".into(),
    }
}

fn at(millis: u64) -> Moment {
    Moment {
        wall: Timestamp::from_millis(1_000_000 + millis),
        monotonic: Duration::from_millis(millis),
    }
}

fn dialled(node: u64) -> Session {
    Session::new(greeting(node, Side::Dialled), HEARTBEAT, at(0))
}

fn accepted(node: u64) -> Session {
    Session::new(greeting(node, Side::Accepted), HEARTBEAT, at(0))
}

/// Hands bytes to a session and collects what it says until it wants more. Who is introduced is admitted.
fn feed(session: &mut Session, bytes: &[u8], now: Moment) -> Result<Vec<Input>, HangUp> {
    session.decoder.extend(bytes);
    session.received(now);
    let mut inputs = Vec::new();
    while let Some(input) = session.poll(now)? {
        if matches!(input, Input::Introduced(_)) {
            session.admit(now);
        }
        inputs.push(input);
    }
    Ok(inputs)
}

fn frame(kind: Kind, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    frame::encode(&mut out, kind, payload);
    out
}

/// Both sides of a connection that is greeted at moment 0, and the first ping of the one that dialled answered.
fn greeted() -> (Session, Session) {
    let (mut one, mut two) = (dialled(1), accepted(2));
    feed(&mut two, &one.take_output(), at(0)).expect("a greeting");
    feed(&mut one, &two.take_output(), at(0)).expect("a greeting");
    feed(&mut two, &one.take_output(), at(0)).expect("a ping");
    feed(&mut one, &two.take_output(), at(0)).expect("an answer");
    assert!(one.is_greeted() && two.is_greeted());
    (one, two)
}

/// What the other side says when it is told why this one hung up.
fn told(session: &mut Session, why: &HangUp, other: &mut Session) -> Result<Vec<Input>, HangUp> {
    assert!(session.farewell(why));
    feed(other, &session.take_output(), at(0))
}

#[test]
fn the_dialling_side_greets_first_and_both_learn_the_other() {
    let (mut one, mut two) = (dialled(1), accepted(2));
    assert!(two.take_output().is_empty());
    let inputs = feed(&mut two, &one.take_output(), at(0));
    assert_eq!(
        inputs,
        Ok(vec![Input::Introduced(greeting(1, Side::Dialled))])
    );
    let inputs = feed(&mut one, &two.take_output(), at(0));
    let introduced = Input::Introduced(greeting(2, Side::Accepted));
    assert_eq!(inputs, Ok(vec![introduced, Input::Confirmed]));
    assert!(one.is_greeted() && two.is_admitted() && !two.is_greeted());
    let inputs = feed(&mut two, &one.take_output(), at(0));
    assert_eq!(inputs, Ok(vec![Input::Confirmed]));
    assert!(two.is_greeted());
}

#[test]
fn a_side_that_turns_away_after_the_greetings_confirms_nothing() {
    let (mut one, mut two) = (dialled(1), accepted(2));
    feed(&mut two, &one.take_output(), at(0)).expect("a greeting");
    one.decoder.extend(&two.take_output());
    assert!(matches!(one.poll(at(0)), Ok(Some(Input::Introduced(_)))));
    let why = told(&mut one, &HangUp::Duplicate(NodeId(2)), &mut two).unwrap_err();
    assert_eq!(
        why.to_string(),
        "it said goodbye: node 0000000000000002 is connected already, under another address"
    );
    assert!(!two.is_greeted());
}

#[test]
fn nothing_of_a_peer_is_read_before_the_owner_admits_it() {
    let (mut one, mut two) = (dialled(1), accepted(2));
    let mut bytes = one.take_output();
    bytes.extend(frame(Kind::PAYLOAD, &[1; UNGREETED_PAYLOAD_LIMIT + 1]));
    two.decoder.extend(&bytes);
    assert!(matches!(two.poll(at(0)), Ok(Some(Input::Introduced(_)))));
    assert_eq!(two.poll(at(0)), Ok(None));
    assert!(two.take_output().is_empty());
    two.admit(at(0));
    assert_eq!(two.poll(at(0)), Ok(Some(Input::Confirmed)));
    assert!(matches!(two.poll(at(0)), Ok(Some(Input::Payload(bytes))) if bytes.len() == 4097));
}

#[test]
fn a_long_payload_comes_whole_and_pings_between_its_parts_are_answered() {
    let (mut one, mut two) = greeted();
    let long: Vec<u8> = (0..1_000_000).map(|n| (n % 251) as u8).collect();
    let mut outbox = Outbox::default();
    outbox.push_payload(long.clone());
    one.tick(at(400)).expect("a tick");
    outbox.push_control(&one.take_output());
    outbox.push_payload(b"after".to_vec());
    let frame_room = 2 * PART_SIZE + 64 * 1024;
    let (mut inputs, mut came) = (Vec::new(), 0);
    while !outbox.is_empty() {
        let bytes = outbox.take(50_000);
        came += bytes.len();
        inputs.extend(feed(&mut two, &bytes, at(400)).expect("frames"));
        assert!(
            two.room() <= 2 * came + frame_room,
            "{} for {came}",
            two.room()
        );
    }
    assert!(inputs == [Input::Payload(long), Input::Payload(b"after".to_vec())]);
    let measured = feed(&mut one, &two.take_output(), at(400));
    assert_eq!(measured, Ok(vec![Input::Measured]));
}

#[test]
fn newer_minor_versions_are_welcome() {
    let newer = Greeting {
        protocol: Version {
            major: VERSION.major,
            minor: 7,
        },
        ..greeting(1, Side::Dialled)
    };
    let mut two = accepted(2);
    let mut bytes = newer.encode();
    bytes.extend_from_slice(b"a field of 1.7");
    assert!(feed(&mut two, &frame(Kind::GREETING, &bytes), at(0)).is_ok());
    assert_eq!(
        feed(&mut two, &frame(Kind(99), b"a kind of 1.7"), at(0)),
        Ok(vec![Input::Confirmed])
    );
}

#[test]
fn another_major_version_is_refused_with_words_on_both_sides() {
    let theirs = Version { major: 2, minor: 1 };
    let other = Greeting {
        protocol: theirs,
        ..greeting(1, Side::Dialled)
    };
    let (mut one, mut two) = (dialled(1), accepted(2));
    let why = feed(&mut two, &frame(Kind::GREETING, &other.encode()), at(0)).unwrap_err();
    assert_eq!(why, HangUp::Refused(Refusal::Version { theirs }));
    let text = "protocol 2.1 was greeted with, only 1.0 is spoken here";
    assert_eq!(why.to_string(), format!("refused it: {text}"));
    assert_eq!(
        told(&mut two, &why, &mut one),
        Err(HangUp::RefusedBy(text.into()))
    );

    let other = Greeting {
        protocol: theirs,
        ..greeting(2, Side::Accepted)
    };
    let why = feed(
        &mut dialled(1),
        &frame(Kind::GREETING, &other.encode()),
        at(0),
    )
    .unwrap_err();
    assert_eq!(why, HangUp::Refused(Refusal::Version { theirs }));
}

#[test]
fn strangers_are_refused_and_told() {
    let (ours, theirs) = (ClusterId(0xa), ClusterId(0xb));
    let with = |side, id| Greeting {
        cluster_id: Some(id),
        ..greeting(side as u64 + 1, side)
    };
    let mut one = Session::new(with(Side::Dialled, theirs), HEARTBEAT, at(0));
    let mut two = Session::new(with(Side::Accepted, ours), HEARTBEAT, at(0));
    let why = feed(&mut two, &one.take_output(), at(0)).unwrap_err();
    assert_eq!(why, HangUp::Refused(Refusal::Stranger { ours, theirs }));
    let HangUp::RefusedBy(text) = told(&mut two, &why, &mut one).unwrap_err() else {
        panic!()
    };
    assert!(text.contains("cluster 000000000000000a"), "{text}");

    let mut two = Session::new(with(Side::Accepted, theirs), HEARTBEAT, at(0));
    let mut one = Session::new(with(Side::Dialled, theirs), HEARTBEAT, at(0));
    assert!(feed(&mut two, &one.take_output(), at(0)).is_ok());
}

#[test]
fn a_node_knows_itself_on_both_ends() {
    let own = |side| Greeting {
        side,
        ..greeting(1, side)
    };
    let mut dialling = Session::new(own(Side::Dialled), HEARTBEAT, at(0));
    let mut listening = Session::new(own(Side::Accepted), HEARTBEAT, at(0));
    let why = feed(&mut listening, &dialling.take_output(), at(0)).unwrap_err();
    assert_eq!(why, HangUp::Myself);
    assert!(listening.farewell(&why));
    assert_eq!(
        feed(&mut dialling, &listening.take_output(), at(0)),
        Err(HangUp::Myself)
    );
    assert!(!dialling.farewell(&HangUp::Myself));
}

#[test]
fn a_copied_data_folder_is_refused_and_told() {
    let copy = Greeting {
        run_nonce: 5,
        ..greeting(2, Side::Dialled)
    };
    let mut copy = Session::new(copy, HEARTBEAT, at(0));
    let mut original = accepted(2);
    let why = feed(&mut original, &copy.take_output(), at(0)).unwrap_err();
    assert!(matches!(
        why,
        HangUp::Refused(Refusal::NodeIdInUse {
            node_id: NodeId(2),
            ..
        })
    ));
    let told = told(&mut original, &why, &mut copy)
        .unwrap_err()
        .to_string();
    assert!(told.contains("was a data folder copied?"), "{told}");
}

#[test]
fn an_echo_is_not_oneself() {
    let mut one = dialled(1);
    let echo = one.take_output();
    let why = feed(&mut one, &echo, at(0)).unwrap_err();
    assert!(matches!(why, HangUp::Protocol(_)), "{why}");
}

#[test]
fn messages_before_the_greeting_and_second_greetings_are_against_the_protocol() {
    for kind in [
        Kind::PING,
        Kind::PONG,
        Kind::PAYLOAD,
        Kind::UPDATE,
        Kind(77),
    ] {
        let why = feed(&mut accepted(2), &frame(kind, &[0; 24]), at(0)).unwrap_err();
        assert_eq!(why, HangUp::Protocol("a message before the greeting"));
    }
    let (_, mut two) = greeted();
    let again = frame(Kind::GREETING, &greeting(1, Side::Dialled).encode());
    assert_eq!(
        feed(&mut two, &again, at(0)),
        Err(HangUp::Protocol("a second greeting"))
    );
}

#[test]
fn pings_are_echoed_and_measured() {
    let (mut one, mut two) = greeted();
    one.tick(at(410)).expect("a tick");
    // The peer's clock is 500 ms ahead, and each way takes 5 ms.
    let there = Moment {
        wall: at(915).wall,
        monotonic: at(415).monotonic,
    };
    assert_eq!(feed(&mut two, &one.take_output(), there), Ok(vec![]));
    let answer = two.take_output();
    let expected = Pong {
        ping: Ping {
            sequence: 2,
            sent_at: at(410).wall,
        },
        answered_at: there.wall,
    };
    assert_eq!(answer, frame(Kind::PONG, &expected.encode()));
    assert_eq!(feed(&mut one, &answer, at(420)), Ok(vec![Input::Measured]));
    assert_eq!(one.link().last_rtt(), Some(Duration::from_millis(10)));
    let mut link = Link::default();
    link.measured(Duration::ZERO, at(0).wall, at(0).wall);
    link.measured(Duration::from_millis(10), at(410).wall, there.wall);
    assert_eq!(*one.link(), link);
    // A second answer to the same ping measures nothing.
    assert_eq!(feed(&mut one, &answer, at(900)), Ok(vec![]));
}

#[test]
fn a_ping_goes_out_every_period() {
    let (mut one, _) = greeted();
    let mut sent = Vec::new();
    for millis in 0..1000 {
        let now = at(millis);
        if now.monotonic >= one.deadline() {
            one.tick(now).expect("a tick");
        }
        let out = one.take_output();
        if !out.is_empty() {
            sent.push(millis);
        }
    }
    assert_eq!(sent, [325, 650, 975]);
}

#[test]
fn forged_answers_are_against_the_protocol() {
    let (mut one, _) = greeted();
    let pong = |sequence, sent_at| {
        let ping = Ping { sequence, sent_at };
        frame(
            Kind::PONG,
            &Pong {
                ping,
                answered_at: sent_at,
            }
            .encode(),
        )
    };
    assert!(feed(&mut one, &pong(2, at(100).wall), at(100)).is_err());
    one.tick(at(400)).expect("a tick");
    assert!(feed(&mut one, &pong(2, at(1).wall), at(401)).is_err());
}

#[test]
fn unanswered_pings_are_forgotten_one_by_one() {
    let (mut one, mut two) = greeted();
    for n in 1..200 {
        feed(&mut one, &frame(Kind(99), b""), at(n * 400)).expect("a frame");
        one.tick(at(n * 400)).expect("a tick");
    }
    assert_eq!(one.waiting.len(), MEASURED_PINGS);
    feed(&mut two, &one.take_output(), at(79_600)).expect("pings");
    let inputs = feed(&mut one, &two.take_output(), at(79_700)).expect("answers");
    assert_eq!(inputs.len(), MEASURED_PINGS);
}

#[test]
fn a_silent_peer_is_hung_up_on_after_three_heartbeats_and_a_second() {
    let (mut one, _) = greeted();
    let hung_up = loop {
        let now = one.deadline().as_millis() as u64;
        if let Err(why) = one.tick(at(now)) {
            break (now, why);
        }
        assert!(now < 2000, "never hung up");
    };
    assert_eq!(hung_up, (1300, HangUp::Silent(Duration::from_millis(1300))));
}

#[test]
fn any_byte_breaks_the_silence() {
    let (mut one, _) = greeted();
    let large = frame(Kind::PAYLOAD, &[0; 100]);
    for (n, byte) in large.iter().enumerate() {
        let now = at(n as u64 * 1000);
        feed(&mut one, std::slice::from_ref(byte), now).expect("a byte");
        one.tick(now).expect("not silent");
    }
}

#[test]
fn a_node_that_was_stopped_itself_does_not_blame_its_peers() {
    let (mut one, mut two) = greeted();
    two.tick(at(0)).expect("a tick");
    one.tick(at(60_000))
        .expect("the peer had no chance to be heard");
    assert!(one.tick(at(60_100)).is_ok());
    let hung_up = (60_101..61_400).find(|&millis| {
        let now = at(millis);
        now.monotonic >= one.deadline() && one.tick(now).is_err()
    });
    // It was heard at 0 and the next ping was due at 325: of the silence, 59.675 s do not count.
    assert_eq!(hung_up, Some(60_975));
}

#[test]
fn who_does_not_greet_in_time_is_hung_up_on() {
    for mut session in [dialled(1), accepted(2)] {
        assert_eq!(session.deadline(), GREETING_TIMEOUT);
        // Bytes that are no greeting yet buy no time.
        assert_eq!(feed(&mut session, &[0], at(1999)), Ok(vec![]));
        assert_eq!(session.tick(at(1999)), Ok(()));
        assert_eq!(
            session.tick(at(2000)),
            Err(HangUp::NoGreeting(GREETING_TIMEOUT))
        );
    }
}

#[test]
fn a_cluster_id_that_is_learned_later_is_told_once() {
    let id = ClusterId(9);
    let (mut one, mut two) = greeted();
    one.set_cluster_id(id).expect("nothing against it");
    one.set_cluster_id(id).expect("nothing against it");
    let inputs = feed(&mut two, &one.take_output(), at(0));
    assert_eq!(inputs, Ok(vec![Input::ClusterId(id)]));
    two.set_cluster_id(id).expect("the same");
    assert_eq!(
        feed(&mut one, &two.take_output(), at(0)),
        Ok(vec![Input::ClusterId(id)])
    );

    // Between its greeting and the answer, the side that dialled has to add it afterwards.
    let (mut one, mut two) = (dialled(1), accepted(2));
    feed(&mut two, &one.take_output(), at(0)).expect("a greeting");
    one.set_cluster_id(id).expect("nothing against it");
    assert!(one.take_output().is_empty());
    feed(&mut one, &two.take_output(), at(0)).expect("a greeting");
    let inputs = feed(&mut two, &one.take_output(), at(0));
    assert_eq!(inputs, Ok(vec![Input::Confirmed, Input::ClusterId(id)]));
}

#[test]
fn two_that_learn_different_clusters_part() {
    let (mut one, mut two) = greeted();
    one.set_cluster_id(ClusterId(1))
        .expect("nothing against it");
    feed(&mut two, &one.take_output(), at(0)).expect("an update");
    let why = two.set_cluster_id(ClusterId(2)).unwrap_err();
    let stranger = Refusal::Stranger {
        ours: ClusterId(2),
        theirs: ClusterId(1),
    };
    assert_eq!(why, HangUp::Refused(stranger));
    assert!(matches!(
        told(&mut two, &why, &mut one),
        Err(HangUp::RefusedBy(_))
    ));

    let (_, mut two) = greeted();
    let update = |id| {
        frame(
            Kind::UPDATE,
            &Update {
                cluster_id: ClusterId(id),
            }
            .encode(),
        )
    };
    feed(&mut two, &update(1), at(0)).expect("an update");
    assert!(matches!(
        feed(&mut two, &update(2), at(0)),
        Err(HangUp::Protocol(_))
    ));
}

#[test]
fn goodbyes_and_closed_connections_are_told_apart() {
    let (mut one, mut two) = greeted();
    let why = told(&mut one, &HangUp::Stopping, &mut two).unwrap_err();
    assert_eq!(why.to_string(), "it said goodbye: this node is stopping");
    assert!(matches!(why, HangUp::Goodbye(goodbye) if goodbye.is_stop()));
    let (_, mut two) = greeted();
    assert_eq!(two.closed(), HangUp::Closed);
    feed(&mut two, &[0], at(0)).expect("a byte");
    assert_eq!(two.closed(), HangUp::Truncated);
}

#[test]
fn others_are_introduced() {
    let (mut one, mut two) = greeted();
    let address = "[::1]:5".parse().expect("an address");
    let others = vec![Introduction {
        node_id: NodeId(3),
        address,
    }];
    one.introduce(&others);
    let inputs = feed(&mut two, &one.take_output(), at(0));
    assert_eq!(inputs, Ok(vec![Input::Introductions(others)]));
}

proptest! {
    #[test]
    fn random_bytes_cost_a_session_nothing_but_itself(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        for mut session in [dialled(1), accepted(2), greeted().0] {
            match feed(&mut session, &bytes, at(0)) {
                Ok(inputs) => prop_assert!(inputs.is_empty()),
                Err(why) => { session.farewell(&why); }
            }
        }
    }

    #[test]
    fn random_messages_cost_a_session_nothing_but_itself(
        messages in proptest::collection::vec((0_u8..12, proptest::collection::vec(any::<u8>(), 0..40)), 1..20),
    ) {
        let (mut one, _) = greeted();
        for (kind, payload) in messages {
            if let Err(why) = feed(&mut one, &frame(Kind(kind), &payload), at(0)) {
                one.farewell(&why);
                break;
            }
        }
    }
}
