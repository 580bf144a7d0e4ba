//! The entries of a shard's log: what their payloads are, here, on disk and on the wire.
//!
//! # Layout of a payload
//! Nothing at all is a new leader's first entry. Otherwise the first byte tells:
//!
//! | byte | then |
//! | --- | --- |
//! | 1 | a batch of commands: [`commands::log::BatchHeader`], whose version the byte is, and commands |
//! | 0xC1 | a [`MemberChange`]: kind u8 (1 add learner, 2 promote, 3 remove), replica u64, node u64, little-endian |
//! | 0xD1 | a [`meta::Change`], encoded; in the log of shard 0 alone |

use base::{NodeId, ReplicaId, Timestamp};
use commands::log::BatchHeader;
use meta::Change;
use raft::eraftpb::{ConfChange, ConfChangeType, Entry, EntryType};

const MEMBERS: u8 = 0xC1;
const META: u8 = 0xD1;
const MEMBERS_BYTES: usize = 18;

/// A change of who holds a copy of the shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemberChange {
    /// Another replica is sent the log, and does not vote.
    AddLearner {
        /// Never used before.
        replica: ReplicaId,
        /// Where it is.
        node: NodeId,
    },
    /// A learner votes from now on.
    Promote {
        /// Which.
        replica: ReplicaId,
    },
    /// A replica is no longer one.
    Remove {
        /// Which.
        replica: ReplicaId,
    },
}

impl MemberChange {
    /// The replica that it is about.
    pub fn replica(&self) -> ReplicaId {
        match *self {
            MemberChange::AddLearner { replica, .. }
            | MemberChange::Promote { replica }
            | MemberChange::Remove { replica } => replica,
        }
    }

    pub(crate) fn payload(&self) -> Vec<u8> {
        let (kind, node) = match *self {
            MemberChange::AddLearner { node, .. } => (1, node.0),
            MemberChange::Promote { .. } => (2, 0),
            MemberChange::Remove { .. } => (3, 0),
        };
        let mut out = Vec::with_capacity(MEMBERS_BYTES);
        out.extend_from_slice(&[MEMBERS, kind]);
        out.extend_from_slice(&self.replica().0.to_le_bytes());
        out.extend_from_slice(&node.to_le_bytes());
        out
    }

    fn decode(payload: &[u8]) -> Option<MemberChange> {
        let payload: &[u8; MEMBERS_BYTES] = payload.try_into().ok()?;
        let number = |at: usize| {
            let mut bytes = [0; 8];
            bytes.copy_from_slice(&payload[at..at + 8]);
            u64::from_le_bytes(bytes)
        };
        let replica = ReplicaId(number(2));
        match payload[1] {
            1 => Some(MemberChange::AddLearner {
                replica,
                node: NodeId(number(10)),
            }),
            2 => Some(MemberChange::Promote { replica }),
            3 => Some(MemberChange::Remove { replica }),
            _ => None,
        }
    }

    /// As Raft knows it.
    pub(crate) fn to_raft(self) -> ConfChange {
        let mut change = ConfChange::default();
        change.set_change_type(match self {
            MemberChange::AddLearner { .. } => ConfChangeType::AddLearnerNode,
            MemberChange::Promote { .. } => ConfChangeType::AddNode,
            MemberChange::Remove { .. } => ConfChangeType::RemoveNode,
        });
        change.node_id = self.replica().0;
        change
    }
}

/// The payload of a change to the map.
pub(crate) fn meta_payload(change: &Change) -> Vec<u8> {
    let mut out = vec![META];
    change.encode(&mut out);
    out
}

/// What an entry holds. A change of members that cannot be read is found out here, since no replica
/// may go on that understands less than another.
pub(crate) enum Content<'e> {
    /// A new leader's first entry.
    Nothing,
    Members(MemberChange),
    Meta(&'e [u8]),
    Batch(&'e [u8]),
}

/// # Panics
/// When a change of members is malformed.
pub(crate) fn content(entry: &Entry) -> Content<'_> {
    let payload = payload(entry);
    match payload.first() {
        None => Content::Nothing,
        Some(&MEMBERS) => Content::Members(MemberChange::decode(payload).unwrap_or_else(|| {
            panic!("log entry {} changes the members in a way that this version does not know: was it written by a newer one?", entry.index)
        })),
        Some(&META) => Content::Meta(&payload[1..]),
        Some(_) => Content::Batch(payload),
    }
}

/// Whether it changes the members.
pub(crate) fn is_of_members(entry: &Entry) -> bool {
    payload(entry).first() == Some(&MEMBERS)
}

/// An entry as it stands on disk and on the wire.
pub(crate) fn payload(entry: &Entry) -> &[u8] {
    match entry.get_entry_type() {
        // What Raft makes of it for itself is in its data.
        EntryType::EntryConfChange | EntryType::EntryConfChangeV2 => &entry.context,
        EntryType::EntryNormal => &entry.data,
    }
}

/// The entry that [`payload`] was taken of.
pub(crate) fn from_payload(term: u64, index: u64, payload: Vec<u8>) -> Entry {
    let mut entry = Entry {
        term,
        index,
        ..Entry::default()
    };
    if payload.first() == Some(&MEMBERS) {
        entry.set_entry_type(EntryType::EntryConfChange);
        entry.context = payload.into();
    } else {
        entry.data = payload.into();
    }
    entry
}

/// The stamp of a batch. What cannot be read stops the shard when it is applied.
pub(crate) fn stamp(entry: &Entry) -> Option<Timestamp> {
    match payload(entry) {
        [] | [MEMBERS | META, ..] => None,
        mut batch => BatchHeader::decode(&mut batch)
            .ok()
            .map(|header| header.stamp),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_of_members_travel_as_raft_entries_of_their_kind() {
        for change in [
            MemberChange::AddLearner {
                replica: ReplicaId(7),
                node: NodeId(9),
            },
            MemberChange::Promote {
                replica: ReplicaId(7),
            },
            MemberChange::Remove {
                replica: ReplicaId(7),
            },
        ] {
            let entry = from_payload(3, 4, change.payload());
            assert_eq!(entry.get_entry_type(), EntryType::EntryConfChange);
            assert_eq!(payload(&entry), change.payload());
            assert!(matches!(content(&entry), Content::Members(found) if found == change));
        }
    }

    #[test]
    fn other_payloads_are_left_as_they_are() {
        let entry = from_payload(3, 4, vec![1, 2, 3]);
        assert_eq!(entry.get_entry_type(), EntryType::EntryNormal);
        assert_eq!(payload(&entry), [1, 2, 3]);
        assert!(matches!(
            content(&from_payload(3, 4, Vec::new())),
            Content::Nothing
        ));
    }
}
