//! The head of a shard's snapshot: which point of the log the state belongs to.

use meta::{ClusterMap, Membership};
use thiserror::Error;

use crate::message::Offer;

/// What stands before the keyspace's bytes in a snapshot of a shard.
///
/// Layout, little-endian: magic `PSHD`, version u16, reserved u16, term u64, index u64, length of the
/// members u32, length of the map u32 (0 for none), the members, the map.
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
    /// A part of it cannot be.
    #[error("the head of the snapshot is damaged")]
    Damaged,
    /// Another Piccolo wrote it.
    #[error(
        "the snapshot has format {0}, this version reads format {VERSION}; start the version that wrote it"
    )]
    UnknownVersion(u16),
}

const MAGIC: [u8; 4] = *b"PSHD";
const VERSION: u16 = 2;
const FIXED_BYTES: usize = 32;
/// More than members or a map of any cluster take; bounds what a damaged length can ask for.
const MAX_PART: usize = 64 << 20;

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
    /// If the members or the map take more than 64 MiB.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&VERSION.to_le_bytes());
        out.extend_from_slice(&[0; 2]);
        out.extend_from_slice(&self.term.to_le_bytes());
        out.extend_from_slice(&self.index.to_le_bytes());
        let (mut members, mut map) = (Vec::new(), Vec::new());
        self.membership.encode(&mut members);
        if let Some(known) = &self.map {
            known.encode(&mut map);
        }
        for part in [&members, &map] {
            assert!(part.len() <= MAX_PART, "a map of {} bytes", part.len());
            out.extend_from_slice(&(part.len() as u32).to_le_bytes());
        }
        out.extend_from_slice(&members);
        out.extend_from_slice(&map);
    }

    /// Reads it from the start of `bytes`; gives the number of bytes as well.
    ///
    /// # Errors
    /// [`SnapshotMetaError::Truncated`] also when more bytes would make it whole.
    pub fn decode(bytes: &[u8]) -> Result<(SnapshotMeta, usize), SnapshotMetaError> {
        let fixed = bytes
            .get(..FIXED_BYTES)
            .ok_or(SnapshotMetaError::Truncated)?;
        if fixed[..4] != MAGIC {
            return Err(SnapshotMetaError::BadMagic);
        }
        let version = u16::from_le_bytes([fixed[4], fixed[5]]);
        if version != VERSION {
            return Err(SnapshotMetaError::UnknownVersion(version));
        }
        let (members, map) = (length_at(fixed, 24)?, length_at(fixed, 28)?);
        let part = |from: usize, length: usize| {
            bytes
                .get(from..from + length)
                .ok_or(SnapshotMetaError::Truncated)
        };
        let damaged = |_| SnapshotMetaError::Damaged;
        let end = FIXED_BYTES + members + map;
        let map_bytes = part(end - map, map)?;
        let map = if map == 0 {
            None
        } else {
            Some(ClusterMap::decode(map_bytes).map_err(damaged)?)
        };
        let meta = SnapshotMeta {
            term: u64_at(fixed, 8),
            index: u64_at(fixed, 16),
            membership: Membership::decode(part(FIXED_BYTES, members)?).map_err(damaged)?,
            map,
        };
        Ok((meta, end))
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

fn length_at(bytes: &[u8], at: usize) -> Result<usize, SnapshotMetaError> {
    let mut word = [0; 4];
    word.copy_from_slice(&bytes[at..at + 4]);
    let length = u32::from_le_bytes(word) as usize;
    if length > MAX_PART {
        return Err(SnapshotMetaError::Damaged);
    }
    Ok(length)
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    let mut word = [0; 8];
    word.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(word)
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
        let mut bytes = Vec::new();
        SnapshotMeta::founding(Membership::default(), None).encode(&mut bytes);
        bytes[4] = 9;
        assert_eq!(
            SnapshotMeta::decode(&bytes),
            Err(SnapshotMetaError::UnknownVersion(9))
        );
    }
}
