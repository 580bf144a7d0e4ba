//! A short, repeatable run of what the fuzz target `peer_frames` looks for.

mod feed;

use feed::{check, greeting};
use peer::frame::{self, Kind};
use peer::greeting::Side;
use peer::message::{Goodbye, Introduction, Ping, Pong, Refused, Update, encode_introductions};
use peer::session::Input;
use proptest::prelude::*;

const GREETED: u8 = 2;
const FRAMED: u8 = 4;

fn framed(kind: Kind, payload: &[u8]) -> Vec<u8> {
    let mut out = vec![kind.0, payload.len() as u8];
    out.extend_from_slice(payload);
    out
}

/// One valid message of each kind, as [`check`] frames them.
fn messages() -> Vec<Vec<u8>> {
    let at = base::Timestamp::from_millis(1_000_000);
    let ping = Ping {
        sequence: 1,
        sent_at: at,
    };
    let address = "[::1]:7".parse().expect("an address");
    let introduction = Introduction {
        node_id: base::NodeId(4),
        address,
    };
    vec![
        framed(Kind::PING, &ping.encode()),
        framed(Kind::PAYLOAD, b"payload"),
        framed(Kind::FIRST_PART, b"\x05\0\0\0ab"),
        framed(Kind::NEXT_PART, b"cde"),
        framed(
            Kind::UPDATE,
            &Update {
                cluster_id: base::ClusterId(3),
            }
            .encode(),
        ),
        framed(Kind::INTRODUCTIONS, &encode_introductions(&[introduction])),
        framed(Kind(200), b"of a newer version"),
        framed(
            Kind::PONG,
            &Pong {
                ping,
                answered_at: at,
            }
            .encode(),
        ),
        framed(Kind::GREETING, &greeting(2, Side::Dialled).encode()),
        framed(
            Kind::REFUSED,
            &Refused {
                code: 1,
                text: "no".into(),
            }
            .encode(),
        ),
        framed(
            Kind::GOODBYE,
            &Goodbye {
                code: 1,
                text: "so long".into(),
            }
            .encode(),
        ),
    ]
}

#[test]
fn the_corpus_means_what_it_says() {
    let mut stream = vec![GREETED | FRAMED];
    messages()
        .iter()
        .take(7)
        .for_each(|message| stream.extend(message));
    let outcome = check(&stream);
    assert_eq!((outcome.inputs.len(), outcome.why), (6, None));
    assert_eq!(outcome.inputs[1], Input::Confirmed);
    assert!(matches!(&outcome.inputs[2], Input::Payload(bytes) if bytes == b"payload"));
    assert!(matches!(&outcome.inputs[3], Input::Payload(bytes) if bytes == b"abcde"));
    for message in &messages()[7..] {
        let why = check(&[&[GREETED | FRAMED][..], message].concat()).why;
        assert!(why.is_some(), "{message:?}");
    }
    for (side, other) in [(0, Side::Dialled), (1, Side::Accepted)] {
        let mut raw = vec![side];
        frame::encode(&mut raw, Kind::GREETING, &greeting(2, other).encode());
        assert!(matches!(check(&raw).inputs[0], Input::Introduced(_)));
    }
}

#[test]
fn every_message_cut_or_flipped_anywhere_costs_at_most_its_connection() {
    for message in messages() {
        for choice in [GREETED | FRAMED, FRAMED, GREETED | FRAMED | 1, 255] {
            for cut in 0..=message.len() {
                check(&[&[choice], &message[..cut]].concat());
            }
            for bit in 0..message.len() * 8 {
                let mut flipped = [&[choice], message.as_slice()].concat();
                flipped[1 + bit / 8] ^= 1 << (bit % 8);
                check(&flipped);
            }
        }
    }
}

proptest! {
    #[test]
    fn any_bytes_mean_the_same_however_they_are_cut(
        bytes in proptest::collection::vec(any::<u8>(), 0..400),
    ) {
        check(&bytes);
    }

    #[test]
    fn any_messages_mean_the_same_however_they_are_cut(
        choice: u8,
        order in proptest::collection::vec((0_usize..11, 0_usize..60, any::<u8>()), 0..12),
    ) {
        let messages = messages();
        let mut stream = vec![choice | FRAMED];
        for (index, at, byte) in order {
            let start = stream.len();
            stream.extend(&messages[index]);
            // One in so many is damaged.
            if let Some(damaged) = stream.get_mut(start + 2 + at) {
                *damaged = byte;
            }
        }
        check(&stream);
    }
}
