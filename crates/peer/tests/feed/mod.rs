//! Feeds bytes to a session as a connection would, at once and in pieces, and checks what it promises.
//!
//! Shared by the tests and by the fuzz target `peer_frames`.

use std::time::Duration;

use base::{ClusterId, Incarnation, Moment, NodeId, Timestamp};
use peer::HangUp;
use peer::frame::{self, Decoder, Kind, PAYLOAD_LIMIT};
use peer::greeting::{Greeting, Side, VERSION};
use peer::session::{Input, Session};

const NOW: Moment = Moment {
    wall: Timestamp::from_millis(1_000_000),
    monotonic: Duration::from_secs(5),
};

/// What a connection's bytes meant.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Outcome {
    pub(crate) inputs: Vec<Input>,
    pub(crate) why: Option<HangUp>,
    pub(crate) answer: Vec<u8>,
}

pub(crate) fn greeting(node: u64, side: Side) -> Greeting {
    Greeting {
        protocol: VERSION,
        side,
        cluster_id: Some(ClusterId(3)),
        node_id: NodeId(node),
        run_nonce: node,
        incarnation: Incarnation(1),
        hosts_hash: 0,
        name: format!("node-{node}"),
        advertised: "127.0.0.1:19919".parse().expect("an address"),
        version: "0.1.0".into(),
    }
}

/// Reads the first byte as a choice of sides, whether a greeting precedes the rest, whether the rest is
/// cut into frames with checksums that match, and how large the pieces are; then feeds the rest.
pub(crate) fn check(bytes: &[u8]) -> Outcome {
    let (&choice, rest) = bytes.split_first().unwrap_or((&0, &[]));
    let (side, other) = match choice & 1 {
        0 => (Side::Accepted, Side::Dialled),
        _ => (Side::Dialled, Side::Accepted),
    };
    let mut stream = Vec::new();
    if choice & 2 != 0 {
        frame::encode(&mut stream, Kind::GREETING, &greeting(2, other).encode());
    }
    if choice & 4 != 0 {
        put_frames(&mut stream, rest);
    } else {
        stream.extend_from_slice(rest);
    }
    let outcome = feed(side, std::iter::once(stream.as_slice()));
    let size = usize::from(choice >> 3) + 1;
    assert_eq!(
        feed(side, stream.chunks(size)),
        outcome,
        "in pieces of {size}"
    );
    outcome
}

/// Each frame: kind, length, that many bytes or what is left.
fn put_frames(stream: &mut Vec<u8>, mut rest: &[u8]) {
    while let [kind, length, tail @ ..] = rest {
        let (payload, tail) = tail.split_at(tail.len().min((*length).into()));
        frame::encode(stream, Kind(*kind), payload);
        rest = tail;
    }
}

fn feed<'p>(side: Side, pieces: impl Iterator<Item = &'p [u8]>) -> Outcome {
    let mut session = Session::new(greeting(1, side), Duration::from_millis(100), NOW);
    let mut outcome = Outcome {
        inputs: Vec::new(),
        why: None,
        answer: Vec::new(),
    };
    let mut received = 0;
    'pieces: for piece in pieces {
        let mut piece = piece;
        while !piece.is_empty() {
            session.read_buffer();
            assert!(
                session.room() <= 2 * received + 64 * 1024,
                "more room than was earned"
            );
            let buffer = session.read_buffer();
            let (now, later) = piece.split_at(piece.len().min(buffer.capacity() - buffer.len()));
            buffer.extend_from_slice(now);
            received += now.len();
            piece = later;
            session.received(NOW);
            loop {
                match session.poll(NOW) {
                    Ok(Some(Input::Introduced(greeting))) => {
                        assert_eq!(Greeting::decode(&greeting.encode()).as_ref(), Ok(&greeting));
                        assert!(!session.is_admitted() && session.poll(NOW) == Ok(None));
                        session.admit(NOW);
                        outcome.inputs.push(Input::Introduced(greeting));
                    }
                    Ok(Some(input)) => {
                        assert!(
                            session.is_greeted(),
                            "nothing is understood before the greeting"
                        );
                        outcome.inputs.push(input);
                    }
                    Ok(None) => break,
                    Err(why) => {
                        session.farewell(&why);
                        outcome.why = Some(why);
                        break 'pieces;
                    }
                }
            }
        }
    }
    if outcome.why.is_none() {
        assert_eq!(session.tick(NOW), Ok(()));
    }
    outcome.answer = session.take_output();
    let mut decoder = Decoder::new();
    decoder.extend(&outcome.answer);
    while decoder
        .next_frame(PAYLOAD_LIMIT)
        .expect("a session says frames")
        .is_some()
    {}
    assert!(!decoder.is_inside_frame());
    outcome
}
