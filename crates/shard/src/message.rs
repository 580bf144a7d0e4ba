//! Raft messages as they travel between nodes.
//!
//! # Layout
//! All numbers are LEB128 varints but for the first byte.
//!
//! | field | what |
//! | --- | --- |
//! | 1 byte | format, [`FORMAT`] |
//! | 1 byte | type, below |
//! | to, from | replicas |
//! | term, log term, index, commit, commit term, reject (0 or 1), reject hint | as in Raft |
//! | context | length, bytes |
//! | entries | count, then for each: term, index, length, payload (see `entry`) |
//! | snapshot | in a message of that type alone: term, index, size of its file in bytes, length, members |
//!
//! What follows is of newer minor versions and is ignored.

use meta::Membership;
use raft::eraftpb::{Message, MessageType};
use thiserror::Error;

use crate::entry;

/// The format that this program writes.
const FORMAT: u8 = 1;

/// The types that travel, by their number.
const TYPES: [MessageType; 13] = [
    MessageType::MsgAppend,
    MessageType::MsgAppendResponse,
    MessageType::MsgRequestVote,
    MessageType::MsgRequestVoteResponse,
    MessageType::MsgSnapshot,
    MessageType::MsgHeartbeat,
    MessageType::MsgHeartbeatResponse,
    MessageType::MsgTransferLeader,
    MessageType::MsgTimeoutNow,
    MessageType::MsgReadIndex,
    MessageType::MsgReadIndexResp,
    MessageType::MsgRequestPreVote,
    MessageType::MsgRequestPreVoteResponse,
];

/// A message cannot be understood. It is dropped, as a network may drop it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum MessageError {
    /// It ends too early.
    #[error("the Raft message is cut off")]
    Truncated,
    /// A field holds what it cannot.
    #[error("the Raft message has an impossible {0}")]
    Field(&'static str),
    /// A version wrote it that this one does not understand.
    #[error("the Raft message has format {0}, this version reads format {FORMAT}")]
    Format(u8),
    /// It is for another replica: one that was here before, or one that is yet to come.
    #[error("the Raft message is for replica {0}, which is not here")]
    NotHere(u64),
}

/// What a message of the type snapshot offers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Offer {
    pub(crate) term: u64,
    pub(crate) index: u64,
    pub(crate) bytes: u64,
    pub(crate) membership: Membership,
}

/// Whether an encoded message is one of those that tell that somebody is there or that elect somebody: small, and
/// of use only if they come soon. They may overtake all others.
pub fn is_urgent(message: &[u8]) -> bool {
    let kind = message
        .get(1)
        .and_then(|&kind| TYPES.get(usize::from(kind)));
    matches!(
        kind,
        Some(
            MessageType::MsgHeartbeat
                | MessageType::MsgHeartbeatResponse
                | MessageType::MsgRequestVote
                | MessageType::MsgRequestVoteResponse
                | MessageType::MsgRequestPreVote
                | MessageType::MsgRequestPreVoteResponse
        )
    )
}

/// Appends the message. `offer` is what a message of the type snapshot is about.
pub(crate) fn encode(message: &Message, offer: Option<&Offer>, out: &mut Vec<u8>) {
    let kind = TYPES
        .iter()
        .position(|&kind| kind == message.get_msg_type())
        .expect("Raft sends no other type");
    out.extend_from_slice(&[FORMAT, kind as u8]);
    for number in [
        message.to,
        message.from,
        message.term,
        message.log_term,
        message.index,
        message.commit,
        message.commit_term,
        u64::from(message.reject),
        message.reject_hint,
    ] {
        put(out, number);
    }
    put_bytes(out, &message.context);
    put(out, message.entries.len() as u64);
    for entry in &message.entries {
        put(out, entry.term);
        put(out, entry.index);
        put_bytes(out, entry::payload(entry));
    }
    if let Some(offer) = offer {
        put(out, offer.term);
        put(out, offer.index);
        put(out, offer.bytes);
        let mut members = Vec::new();
        offer.membership.encode(&mut members);
        put_bytes(out, &members);
    }
}

/// Reads what [`encode`] wrote.
pub(crate) fn decode(mut bytes: &[u8]) -> Result<(Message, Option<Offer>), MessageError> {
    let bytes = &mut bytes;
    let format = take_byte(bytes)?;
    if format != FORMAT {
        return Err(MessageError::Format(format));
    }
    let kind = *TYPES
        .get(usize::from(take_byte(bytes)?))
        .ok_or(MessageError::Field("type"))?;
    let mut message = Message::default();
    message.set_msg_type(kind);
    for field in [
        &mut message.to,
        &mut message.from,
        &mut message.term,
        &mut message.log_term,
        &mut message.index,
        &mut message.commit,
        &mut message.commit_term,
    ] {
        *field = take(bytes)?;
    }
    message.reject = match take(bytes)? {
        0 => false,
        1 => true,
        _ => return Err(MessageError::Field("rejection")),
    };
    message.reject_hint = take(bytes)?;
    message.context = take_bytes(bytes)?.to_vec().into();
    let count = take(bytes)?;
    // Each entry takes three bytes at least, so a count never asks for more than has come.
    if count > bytes.len() as u64 / 3 {
        return Err(MessageError::Truncated);
    }
    let mut entries = Vec::with_capacity(count as usize);
    for _ in 0..count {
        let term = take(bytes)?;
        let index = take(bytes)?;
        entries.push(entry::from_payload(
            term,
            index,
            take_bytes(bytes)?.to_vec(),
        ));
    }
    if !contiguous(&message, &entries) {
        return Err(MessageError::Field("sequence of entries"));
    }
    message.entries = entries.into();
    let offer = if kind == MessageType::MsgSnapshot {
        Some(Offer {
            term: take(bytes)?,
            index: take(bytes)?,
            bytes: take(bytes)?,
            membership: Membership::decode(take_bytes(bytes)?)
                .map_err(|_| MessageError::Field("membership"))?,
        })
    } else {
        None
    };
    Ok((message, offer))
}

/// Raft trusts that entries follow each other, and panics where they do not.
fn contiguous(message: &Message, entries: &[raft::eraftpb::Entry]) -> bool {
    message.get_msg_type() != MessageType::MsgAppend
        || entries
            .iter()
            .zip(message.index.saturating_add(1)..)
            .all(|(entry, index)| entry.index == index)
}

fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

fn put(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn take_byte(bytes: &mut &[u8]) -> Result<u8, MessageError> {
    let (&first, rest) = bytes.split_first().ok_or(MessageError::Truncated)?;
    *bytes = rest;
    Ok(first)
}

fn take(bytes: &mut &[u8]) -> Result<u64, MessageError> {
    let mut value = 0;
    for place in 0..10 {
        let byte = take_byte(bytes)?;
        if place == 9 && byte > 1 {
            return Err(MessageError::Field("number"));
        }
        value |= u64::from(byte & 0x7f) << (7 * place);
        if byte < 0x80 {
            return Ok(value);
        }
    }
    Err(MessageError::Field("number"))
}

fn take_bytes<'b>(bytes: &mut &'b [u8]) -> Result<&'b [u8], MessageError> {
    let length = usize::try_from(take(bytes)?).map_err(|_| MessageError::Field("length"))?;
    let (taken, rest) = bytes
        .split_at_checked(length)
        .ok_or(MessageError::Truncated)?;
    *bytes = rest;
    Ok(taken)
}

#[cfg(test)]
mod tests {
    use base::{NodeId, ReplicaId};
    use meta::{Member, Role};
    use proptest::prelude::*;

    use super::*;

    fn message(
        (kind, numbers, reject, context, payloads): (usize, [u64; 8], bool, Vec<u8>, Vec<Vec<u8>>),
    ) -> Message {
        let mut message = Message::default();
        message.set_msg_type(TYPES[kind]);
        [
            message.to,
            message.from,
            message.term,
            message.log_term,
            message.index,
            message.commit,
            message.commit_term,
            message.reject_hint,
        ] = numbers;
        message.reject = reject;
        message.context = context.into();
        let entries: Vec<_> = payloads
            .into_iter()
            .zip(message.index + 1..)
            .map(|(payload, index)| entry::from_payload(3, index, payload))
            .collect();
        message.entries = entries.into();
        message
    }

    proptest! {
        #[test]
        fn messages_read_back_and_no_prefix_does(
            parts in (
                0..TYPES.len(),
                prop::array::uniform8(0..u64::MAX / 2),
                any::<bool>(),
                prop::collection::vec(any::<u8>(), 0..10),
                prop::collection::vec(prop::collection::vec(any::<u8>(), 0..20), 0..4),
            )
        ) {
            let message = message(parts);
            let offer = (message.get_msg_type() == MessageType::MsgSnapshot).then(|| Offer {
                term: 1,
                index: 2,
                bytes: 3,
                membership: Membership::new([Member { replica: ReplicaId(4), node: NodeId(5), role: Role::Learner }]),
            });
            let mut bytes = Vec::new();
            encode(&message, offer.as_ref(), &mut bytes);
            let type_name = format!("{:?}", message.get_msg_type());
            let is_small = type_name.contains("Heartbeat") || type_name.contains("Vote");
            prop_assert_eq!(is_urgent(&bytes), is_small, "{}", type_name);
            for cut in 0..bytes.len() {
                prop_assert!(decode(&bytes[..cut]).is_err());
            }
            bytes.push(42);
            prop_assert_eq!(decode(&bytes), Ok((message, offer)));
        }

        #[test]
        fn other_bytes_are_refused_or_read_but_never_panic(
            bytes in prop::collection::vec(any::<u8>(), 0..200)
        ) {
            drop(decode(&[&[FORMAT], &bytes[..]].concat()));
        }
    }

    #[test]
    fn a_gap_between_entries_is_refused() {
        let mut message = message((0, [1; 8], false, Vec::new(), vec![vec![1], vec![2]]));
        message.entries[1].index = 9;
        let mut bytes = Vec::new();
        encode(&message, None, &mut bytes);
        assert_eq!(
            decode(&bytes),
            Err(MessageError::Field("sequence of entries"))
        );
    }

    #[test]
    fn another_format_is_refused_by_name() {
        assert_eq!(decode(&[9, 0]), Err(MessageError::Format(9)));
    }
}
