//! The head of a shard's snapshot: which point of the log the state belongs to.

use meta::field::{Fields, put_record, put_u64, put_value};
use meta::{ClusterMap, DecodeError, Membership};
use thiserror::Error;

use crate::message::Offer;

/// What stands before the keyspace's bytes in a snapshot of a shard.
///
/// Layout: magic `PSHD`, then a value as [`meta::field`] tells, of version 3.0: term u64, index u64, a record
/// of the members, a record of the map, which is empty where there is none. Later minor versions append.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotMeta {
    /// The term of the last entry that the snapshot holds.
    pub term: u64,
    /// The index of the last entry that the snapshot holds.
    pub index: u64,
    /// The replicas as of that entry.
    pub membership: Membership,
    /// The map as of that entry; in shard 0 alone.
    pub map: Option<ClusterMap>,
}

/// The head of a snapshot cannot be read.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum SnapshotMetaError {
    /// The bytes end too early.
    #[error("the head of the snapshot is cut off")]
    Truncated,
    /// The bytes are something else.
    #[error("this is not a snapshot of a shard")]
    BadMagic,
    /// A part of it cannot be, or another Piccolo wrote it.
    #[error("the head of the snapshot cannot be read: {0}")]
    Unreadable(DecodeError),
    /// It tells of more bytes than any head has.
    #[error("the head of the snapshot tells of {0} bytes: it is damaged")]
    TooLong(usize),
}

const MAGIC: [u8; 4] = *b"PSHD";
const VERSION: (u16, u16) = (3, 0);
const WHAT: &str = "head of a snapshot";
/// Where the length of the value stands, and how many bytes precede its fields.
const LENGTH_AT: usize = 8;
const FIXED_BYTES: usize = 12;
/// More than members and map of any cluster take; bounds what a damaged length can ask for.
const MAX_BYTES: usize = 128 << 20;

impl SnapshotMeta {
    /// The state of a shard at its founding: nothing stored, these members, log index 1 in term 1.
    ///
    /// The index is not 0, so that a replica that has nothing differs from one that was founded.
    pub fn founding(membership: Membership, map: Option<ClusterMap>) -> SnapshotMeta {
        SnapshotMeta {
            term: 1,
            index: 1,
            membership,
            map,
        }
    }

    /// Appends the encoded form.
    ///
    /// # Panics
    /// If it takes more than 128 MiB.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&MAGIC);
        let start = out.len();
        put_value(out, VERSION, |out| {
            put_u64(out, self.term);
            put_u64(out, self.index);
            put_record(out, |out| self.membership.encode(out));
            put_record(out, |out| {
                if let Some(map) = &self.map {
                    map.encode(out);
                }
            });
        });
        let length = out.len() - start;
        assert!(length <= MAX_BYTES, "a head of {length} bytes");
    }

    /// Reads it from the start of `bytes`; gives the number of bytes as well.
    ///
    /// # Errors
    /// [`SnapshotMetaError::Truncated`] also when more bytes would make it whole.
    pub fn decode(bytes: &[u8]) -> Result<(SnapshotMeta, usize), SnapshotMetaError> {
        let (magic, value) = bytes
            .split_at_checked(MAGIC.len())
            .ok_or(SnapshotMetaError::Truncated)?;
        if magic != MAGIC {
            return Err(SnapshotMetaError::BadMagic);
        }
        if let Some(length) = bytes.get(LENGTH_AT..FIXED_BYTES) {
            let length = u32::from_le_bytes([length[0], length[1], length[2], length[3]]) as usize;
            if length > MAX_BYTES {
                return Err(SnapshotMetaError::TooLong(length));
            }
        }
        let (mut fields, length) =
            Fields::of_value(value, VERSION.0, WHAT).map_err(|error| match error {
                DecodeError::Short(_) => SnapshotMetaError::Truncated,
                other => SnapshotMetaError::Unreadable(other),
            })?;
        let meta = SnapshotMeta::read(&mut fields).map_err(SnapshotMetaError::Unreadable)?;
        Ok((meta, MAGIC.len() + length))
    }

    fn read(fields: &mut Fields<'_>) -> Result<SnapshotMeta, DecodeError> {
        let (term, index) = (fields.u64("term")?, fields.u64("index")?);
        let membership = Membership::decode(fields.record("members")?.rest())?;
        let map = fields.record("map")?.rest();
        let map = match map.is_empty() {
            true => None,
            false => Some(ClusterMap::decode(map)?),
        };
        Ok(SnapshotMeta {
            term,
            index,
            membership,
            map,
        })
    }

    /// What raft is told of it; `bytes` is the size of the snapshot.
    pub(crate) fn offer(&self, bytes: u64) -> Offer {
        Offer {
            term: self.term,
            index: self.index,
            bytes,
            membership: self.membership.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use base::{NodeId, ReplicaId};
    use meta::{Member, Role};

    use super::*;

    #[test]
    fn reads_back_what_it_wrote() {
        let member = |replica, role| Member {
            replica: ReplicaId(replica),
            node: NodeId(replica + 10),
            role,
        };
        let meta = SnapshotMeta {
            term: 7,
            index: 9,
            membership: Membership::new([member(1, Role::Voter), member(5, Role::Learner)]),
            map: None,
        };
        let mut bytes = Vec::new();
        meta.encode(&mut bytes);
        let length = bytes.len();
        bytes.push(42);
        assert_eq!(SnapshotMeta::decode(&bytes), Ok((meta, length)));
        for cut in 0..length {
            assert_eq!(
                SnapshotMeta::decode(&bytes[..cut]),
                Err(SnapshotMetaError::Truncated)
            );
        }
    }

    #[test]
    fn other_bytes_are_refused() {
        assert_eq!(
            SnapshotMeta::decode(&[0; 64]),
            Err(SnapshotMetaError::BadMagic)
        );
        let mut founding = Vec::new();
        SnapshotMeta::founding(Membership::default(), None).encode(&mut founding);
        let mut endless = founding.clone();
        endless[LENGTH_AT..FIXED_BYTES].fill(0xff);
        assert_eq!(
            SnapshotMeta::decode(&endless),
            Err(SnapshotMetaError::TooLong(u32::MAX as usize))
        );
        founding[MAGIC.len()] = 9;
        let refused = SnapshotMeta::decode(&founding).unwrap_err();
        assert_eq!(
            refused.to_string(),
            "the head of the snapshot cannot be read: the head of a snapshot has version 9.0, this node reads version 3: \
             start a newer version of Piccolo on this node"
        );
    }

    #[test]
    fn later_minor_versions_append() {
        let meta = SnapshotMeta::founding(Membership::default(), None);
        let mut bytes = Vec::new();
        meta.encode(&mut bytes);
        bytes[MAGIC.len() + 2] = 1;
        let length = (bytes.len() - FIXED_BYTES + 4) as u32;
        bytes[LENGTH_AT..FIXED_BYTES].copy_from_slice(&length.to_le_bytes());
        bytes.extend_from_slice(b"more and what follows");
        let head = bytes.len() - b" and what follows".len();
        assert_eq!(SnapshotMeta::decode(&bytes), Ok((meta, head)));
    }
}
