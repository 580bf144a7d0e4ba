use base::{Db, NodeId};
use commands::Reply;
use proptest::prelude::*;
use shard::{Commands, Refusal};

use super::*;

const A: NodeId = NodeId(1);
const B: NodeId = NodeId(2);
const SHARD: ShardId = ShardId(7);

fn some_commands() -> Commands {
    let mut commands = Commands::default();
    for call in [&[&b"set"[..], b"k", b"v"][..], &[b"get", b"k"]] {
        let command = commands::by_name(call[0]).unwrap();
        commands.push(command, Db::default(), call);
    }
    commands
}

fn outcomes() -> Vec<Outcome> {
    let leader = Some(NodeId(9));
    vec![
        Ok(vec![Reply::Ok, Reply::Array(vec![Reply::bulk(b"x")])]),
        Ok(Vec::new()),
        Err(Refusal::NotLeader { leader }),
        Err(Refusal::NotLeader { leader: None }),
        Err(Refusal::DiskFull),
        Err(Refusal::Busy),
        Err(Refusal::Unreachable),
        Err(Refusal::Uncertain),
    ]
}

fn payload() -> Vec<u8> {
    let mut outbox = Outbox::default();
    outbox.put_raft(A, SHARD, b"message");
    outbox.put_forward(A, SHARD, 5, &some_commands());
    for (id, outcome) in outcomes().iter().enumerate() {
        outbox.put_forwarded(A, SHARD, id as u64, outcome);
    }
    outbox.put(A, Kind::Control, |out| out.extend_from_slice(b"control"));
    outbox.put(A, Kind::Fetch, |_| {});
    outbox.put(A, Kind::Chunk, |out| out.extend_from_slice(b"chunk"));
    let mut parcels = outbox.drain();
    let parcel = parcels.next().unwrap();
    assert!(parcels.next().is_none());
    parcel.payload
}

#[test]
fn items_read_back_in_order() {
    let payload = payload();
    let mut read = items(&payload).unwrap().map(Result::unwrap);
    let message = &b"message"[..];
    let raft = Item::Raft {
        shard: SHARD,
        bytes: message,
    };
    assert_eq!(read.next(), Some(raft));
    match read.next().unwrap().for_shard(B).unwrap() {
        Some((SHARD, FromPeer::Forward { from, id, commands })) => {
            assert_eq!((from, id, commands.len()), (B, 5, 2));
        }
        other => panic!("{other:?}"),
    }
    for (sent, expected) in outcomes().into_iter().enumerate() {
        match read.next().unwrap().for_shard(B).unwrap() {
            Some((SHARD, FromPeer::Forwarded { from, id, outcome })) => {
                assert_eq!((from, id, outcome), (B, sent as u64, expected));
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(read.next(), Some(Item::Control(b"control")));
    assert_eq!(read.next(), Some(Item::Fetch(b"")));
    assert_eq!(read.next(), Some(Item::Chunk(b"chunk")));
    assert_eq!(read.next(), None);
}

#[test]
fn a_payload_that_is_cut_off_is_refused_after_what_is_whole() {
    let payload = payload();
    let whole = items(&payload).unwrap().count();
    let mut ends = 0;
    for cut in 1..payload.len() {
        let read: Vec<_> = items(&payload[..cut]).unwrap().collect();
        match read.iter().position(Result::is_err) {
            Some(at) => assert_eq!(at, read.len() - 1),
            None => ends += 1,
        }
    }
    assert_eq!(ends, whole, "only between items");
    assert_eq!(items(&[]).unwrap_err(), WireError::Truncated);
}

#[test]
fn kinds_of_later_versions_are_passed_over_and_other_versions_refused() {
    let bytes = [VERSION, 99, 2, 0, 0, 0, 1, 2, 4, 1, 0, 0, 0, 42];
    let read: Vec<_> = items(&bytes).unwrap().collect();
    assert_eq!(read, [Ok(Item::Control(&[42]))]);
    assert_eq!(items(&[2]).unwrap_err(), WireError::Version(2));
}

#[test]
fn nodes_get_payloads_of_their_own_with_the_forwards_in_them() {
    let mut outbox = Outbox::default();
    assert!(outbox.is_empty());
    for (to, id) in [(A, 3), (B, 4), (A, 7)] {
        outbox.put_forward(to, SHARD, id, &some_commands());
    }
    outbox.put_raft(NodeId(3), SHARD, b"");
    let parcels: Vec<_> = outbox
        .drain()
        .map(|parcel| (parcel.to, parcel.forwards))
        .collect();
    assert_eq!(parcels, [(A, 3..8), (B, 4..5), (NodeId(3), 0..0)]);
}

#[test]
fn a_payload_ends_once_it_is_large() {
    let mut outbox = Outbox::default();
    for id in 0..3 {
        outbox.put(A, Kind::Chunk, |out| out.resize(out.len() + (40 << 20), 0));
        outbox.put_forward(A, SHARD, id, &some_commands());
    }
    let parcels: Vec<_> = outbox.drain().map(|parcel| parcel.forwards).collect();
    assert_eq!(parcels, [0..1, 1..3]);
}

#[test]
fn commands_that_cannot_be_run_are_refused() {
    let mut body = Vec::new();
    some_commands().encode(&mut body);
    fn forward(commands: &[u8]) -> Result<(), WireError> {
        let (shard, id) = (SHARD, 1);
        let item = Item::Forward {
            shard,
            id,
            commands,
        };
        item.for_shard(A).map(drop)
    }
    assert!(forward(&body).is_ok());
    for cut in 0..body.len() {
        assert!(forward(&body[..cut]).is_err());
    }
    // The first command's id is that of no command.
    body[8] = 0x7f;
    assert!(matches!(forward(&body), Err(WireError::Commands(_))));
}

#[test]
fn an_outcome_has_its_length_and_no_other() {
    for outcome in outcomes() {
        let mut body = Vec::new();
        outcome::encode(&outcome, &mut body);
        assert_eq!(outcome::decode(&body), Ok(outcome));
        body.push(1);
        assert!(outcome::decode(&body).is_err());
    }
    // More replies than there are bytes.
    assert!(outcome::decode(&[0, 255, 255, 255, 255, 1]).is_err());
}

proptest! {
    #[test]
    fn random_bytes_never_panic(bytes in proptest::collection::vec(0..12_u8, 0..80)) {
        let payload = [&[VERSION], &bytes[..]].concat();
        for item in items(&payload).unwrap().flatten() {
            drop(item.for_shard(A));
        }
    }
}
