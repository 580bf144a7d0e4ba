//! Records: what the log holds, one fact about one replica each.

use base::{ReplicaId, ShardId};

/// One fact about one replica. Borrowed from the bytes it was decoded from, or from its owner
/// while it is encoded.
///
/// # Layout
/// One byte of kind, then the fields in the order of their declaration, each number as a LEB128
/// varint (least significant 7 bits first, at most 10 bytes); an entry's payload is its length as
/// a varint and its bytes. Kinds: 1 entry, 2 hard state, 3 snapshot, 4 truncate, 5 purge, 6 forget.
///
/// Kinds from [`Record::OPTIONAL_KINDS`] on are of later minor versions of the log: their body is a length,
/// as a varint, and so many bytes. Whoever does not know such a kind passes over it, so a version that must
/// be understood takes a kind below, and another major version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    /// The shard.
    pub shard: ShardId,
    /// The replica of it that lives on this node.
    pub replica: ReplicaId,
    /// The fact.
    pub body: Body<'a>,
}

/// What a [`Record`] says about its replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Body<'a> {
    /// An entry of the Raft log. One with an index at or below the last voids the entries from
    /// that index on first.
    Entry {
        /// The term it was proposed in.
        term: u64,
        /// Its place in the replica's log.
        index: u64,
        /// Opaque to the log.
        payload: &'a [u8],
    },
    /// What Raft must remember; the last one counts.
    HardState {
        /// The current term.
        term: u64,
        /// The replica that got this term's vote, 0 for none.
        vote: u64,
        /// The highest index known to be committed.
        commit: u64,
    },
    /// A snapshot file up to this index is complete and durable; the last one counts.
    Snapshot {
        /// The term of the entry at `index`.
        term: u64,
        /// The last index that the snapshot covers.
        index: u64,
    },
    /// Entries at and above this index are void.
    Truncate {
        /// The first void index.
        index: u64,
    },
    /// Entries at and below this index are no longer needed; the highest one counts.
    Purge {
        /// The last index that may go.
        index: u64,
    },
    /// The replica was removed from this node: nothing said about it before counts. Its id is
    /// never used again.
    Forget,
    /// Something that a later minor version adds and that has no effect here.
    Other {
        /// From [`Record::OPTIONAL_KINDS`] on.
        kind: u8,
        /// As that version knows it.
        bytes: &'a [u8],
    },
}

/// Bytes that are no record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// The bytes end inside a record.
    #[error("the bytes end inside a record")]
    Truncated,
    /// A number is longer than 64 bits, or than its field.
    #[error("a number is out of range")]
    Number,
    /// A kind that this version does not know.
    #[error("unknown record kind {0}: either it is damaged or a newer version of Piccolo wrote it")]
    Kind(u8),
}

const ENTRY: u8 = 1;
const HARD_STATE: u8 = 2;
const SNAPSHOT: u8 = 3;
const TRUNCATE: u8 = 4;
const PURGE: u8 = 5;
const FORGET: u8 = 6;

impl<'a> Record<'a> {
    /// The least kind that may be passed over by whoever does not know it.
    pub const OPTIONAL_KINDS: u8 = 64;

    /// Appends the record to `out`.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.push(match self.body {
            Body::Entry { .. } => ENTRY,
            Body::HardState { .. } => HARD_STATE,
            Body::Snapshot { .. } => SNAPSHOT,
            Body::Truncate { .. } => TRUNCATE,
            Body::Purge { .. } => PURGE,
            Body::Forget => FORGET,
            Body::Other { kind, .. } => kind,
        });
        put(out, u64::from(self.shard.0));
        put(out, self.replica.0);
        match self.body {
            Body::Entry {
                term,
                index,
                payload,
            } => {
                put(out, term);
                put(out, index);
                put(out, payload.len() as u64);
                out.extend_from_slice(payload);
            }
            Body::HardState { term, vote, commit } => {
                put(out, term);
                put(out, vote);
                put(out, commit);
            }
            Body::Snapshot { term, index } => {
                put(out, term);
                put(out, index);
            }
            Body::Truncate { index } | Body::Purge { index } => put(out, index),
            Body::Forget => {}
            Body::Other { bytes, .. } => {
                put(out, bytes.len() as u64);
                out.extend_from_slice(bytes);
            }
        }
    }

    /// Takes one record off the front of `bytes`.
    ///
    /// # Errors
    /// [`RecordError`] when the front is no record; `bytes` is then left somewhere inside it.
    pub fn decode(bytes: &mut &'a [u8]) -> Result<Record<'a>, RecordError> {
        let (&kind, rest) = bytes.split_first().ok_or(RecordError::Truncated)?;
        *bytes = rest;
        let shard = u32::try_from(take(bytes)?).map_err(|_| RecordError::Number)?;
        let replica = take(bytes)?;
        let body = match kind {
            ENTRY => {
                let term = take(bytes)?;
                let index = take(bytes)?;
                Body::Entry {
                    term,
                    index,
                    payload: take_bytes(bytes)?,
                }
            }
            HARD_STATE => Body::HardState {
                term: take(bytes)?,
                vote: take(bytes)?,
                commit: take(bytes)?,
            },
            SNAPSHOT => Body::Snapshot {
                term: take(bytes)?,
                index: take(bytes)?,
            },
            TRUNCATE => Body::Truncate {
                index: take(bytes)?,
            },
            PURGE => Body::Purge {
                index: take(bytes)?,
            },
            FORGET => Body::Forget,
            kind @ Self::OPTIONAL_KINDS.. => Body::Other {
                kind,
                bytes: take_bytes(bytes)?,
            },
            unknown => return Err(RecordError::Kind(unknown)),
        };
        Ok(Record {
            shard: ShardId(shard),
            replica: ReplicaId(replica),
            body,
        })
    }
}

fn put(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn take_bytes<'a>(bytes: &mut &'a [u8]) -> Result<&'a [u8], RecordError> {
    let length = usize::try_from(take(bytes)?).map_err(|_| RecordError::Number)?;
    let (taken, rest) = bytes
        .split_at_checked(length)
        .ok_or(RecordError::Truncated)?;
    *bytes = rest;
    Ok(taken)
}

fn take(bytes: &mut &[u8]) -> Result<u64, RecordError> {
    let mut value = 0;
    for (place, &byte) in bytes.iter().enumerate() {
        let bits = u64::from(byte & 0x7f);
        // The tenth byte has room for one bit.
        if place == 9 && byte > 1 {
            return Err(RecordError::Number);
        }
        value |= bits << (7 * place);
        if byte < 0x80 {
            *bytes = &bytes[place + 1..];
            return Ok(value);
        }
    }
    Err(RecordError::Truncated)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn record() -> impl Strategy<Value = (u32, u64, u8, [u64; 3], Vec<u8>)> {
        let number = || prop_oneof![0..300u64, any::<u64>()];
        let numbers = [number(), number(), number()];
        (
            any::<u32>(),
            number(),
            0..7u8,
            numbers,
            prop::collection::vec(any::<u8>(), 0..300),
        )
    }

    fn body(kind: u8, [first, second, third]: [u64; 3], payload: &[u8]) -> Body<'_> {
        match kind {
            0 => Body::Entry {
                term: first,
                index: second,
                payload,
            },
            1 => Body::HardState {
                term: first,
                vote: second,
                commit: third,
            },
            2 => Body::Snapshot {
                term: first,
                index: second,
            },
            3 => Body::Truncate { index: first },
            4 => Body::Purge { index: first },
            5 => Body::Forget,
            _ => Body::Other {
                kind: Record::OPTIONAL_KINDS + (first % 192) as u8,
                bytes: payload,
            },
        }
    }

    proptest! {
        #[test]
        fn records_read_back_one_after_the_other_and_no_cut_one_does(
            written in prop::collection::vec(record(), 1..5)
        ) {
            let records: Vec<Record<'_>> = written
                .iter()
                .map(|(shard, replica, kind, numbers, payload)| Record {
                    shard: ShardId(*shard),
                    replica: ReplicaId(*replica),
                    body: body(*kind, *numbers, payload),
                })
                .collect();
            let mut bytes = Vec::new();
            for record in &records {
                let before = bytes.len();
                record.encode(&mut bytes);
                for end in before..bytes.len() {
                    let mut cut = &bytes[before..end];
                    prop_assert_eq!(Record::decode(&mut cut), Err(RecordError::Truncated));
                }
            }
            let mut rest = &bytes[..];
            for record in records {
                prop_assert_eq!(Record::decode(&mut rest), Ok(record));
            }
            prop_assert!(rest.is_empty());
        }
    }

    #[test]
    fn numbers_beyond_their_fields_are_refused() {
        let ten = |last| [&[PURGE, 0, 0][..], &[0xff; 9], &[last]].concat();
        fn index(mut bytes: &[u8]) -> Result<Body<'_>, RecordError> {
            Record::decode(&mut bytes).map(|record| record.body)
        }
        assert_eq!(index(&ten(1)), Ok(Body::Purge { index: u64::MAX }));
        assert_eq!(index(&ten(2)), Err(RecordError::Number));
        assert_eq!(index(&ten(0x81)), Err(RecordError::Number));
        let shard = [FORGET, 0xff, 0xff, 0xff, 0xff, 0x10, 0];
        assert_eq!(index(&shard), Err(RecordError::Number));
        let payload = [
            ENTRY, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1,
        ];
        assert_eq!(index(&payload), Err(RecordError::Truncated));
        assert_eq!(index(&[0, 0, 0]), Err(RecordError::Kind(0)));
        assert_eq!(index(&[7, 0, 0]), Err(RecordError::Kind(7)));
    }
}
