//! The head of a shard's snapshot: which point of the log the state belongs to.

use thiserror::Error;

/// What stands before the keyspace's bytes in a snapshot of a shard.
///
/// Layout, little-endian: magic `PSHD`, version u16, reserved u16, term u64, index u64, number of
/// voters u32, then a u64 for each voter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotMeta {
    /// The term of the last entry that the snapshot holds.
    pub term: u64,
    /// The index of the last entry that the snapshot holds.
    pub index: u64,
    /// The replicas that vote, as of that entry.
    pub voters: Vec<u64>,
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
    /// A later Piccolo wrote it.
    #[error("the snapshot has format {0}, this version reads format {VERSION}; start a newer one")]
    UnknownVersion(u16),
}

const MAGIC: [u8; 4] = *b"PSHD";
const VERSION: u16 = 1;
const FIXED_BYTES: usize = 28;
/// More voters than any cluster has; bounds what a damaged count can ask for.
const MAX_VOTERS: usize = 1024;

impl SnapshotMeta {
    /// The state of a shard at its founding: nothing stored, these voters, log index 1 in term 1.
    ///
    /// The index is not 0, so that a replica that has nothing differs from one that was founded.
    pub fn founding(voters: Vec<u64>) -> SnapshotMeta {
        SnapshotMeta {
            term: 1,
            index: 1,
            voters,
        }
    }

    /// Appends the encoded form.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&VERSION.to_le_bytes());
        out.extend_from_slice(&[0; 2]);
        out.extend_from_slice(&self.term.to_le_bytes());
        out.extend_from_slice(&self.index.to_le_bytes());
        out.extend_from_slice(&(self.voters.len() as u32).to_le_bytes());
        for voter in &self.voters {
            out.extend_from_slice(&voter.to_le_bytes());
        }
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
        let count = u32::from_le_bytes([fixed[24], fixed[25], fixed[26], fixed[27]]) as usize;
        if count > MAX_VOTERS {
            return Err(SnapshotMetaError::Truncated);
        }
        let end = FIXED_BYTES + count * 8;
        let voters = bytes
            .get(FIXED_BYTES..end)
            .ok_or(SnapshotMetaError::Truncated)?;
        let meta = SnapshotMeta {
            term: u64_at(fixed, 8),
            index: u64_at(fixed, 16),
            voters: (0..count).map(|voter| u64_at(voters, voter * 8)).collect(),
        };
        Ok((meta, end))
    }
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    let mut word = [0; 8];
    word.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_back_what_it_wrote() {
        let meta = SnapshotMeta {
            term: 7,
            index: 9,
            voters: vec![1, 5],
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
        SnapshotMeta::founding(vec![1]).encode(&mut bytes);
        bytes[4] = 9;
        assert_eq!(
            SnapshotMeta::decode(&bytes),
            Err(SnapshotMetaError::UnknownVersion(9))
        );
    }
}
