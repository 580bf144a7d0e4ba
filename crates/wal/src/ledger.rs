//! Which segments are still needed, and what a new one must repeat.

use std::collections::{BTreeMap, VecDeque};

use base::{ReplicaId, ShardId};

use crate::record::{Body, Record};
use crate::wal::LogPosition;

type Key = (ShardId, ReplicaId);

/// The most bytes that [`Ledger::head`] writes for one replica: three records of a kind, a shard of at most
/// 5 bytes and at most four other numbers of at most 10 each.
const HEAD_BYTES_PER_REPLICA: u64 = 3 * (1 + 5 + 4 * 10);

/// A purge point that lets everything go.
const ALL: u64 = u64::MAX;

/// Follows what is appended.
///
/// A segment may go when it is the oldest, each entry in it is at or below a purge point that is
/// durable, and the first block of the next one, which repeats the rest of what it says, is durable.
#[derive(Default)]
pub(crate) struct Ledger {
    replicas: BTreeMap<Key, Replica>,
    /// Purge points that were appended, and not synced when last heard: (end of block, whose, index).
    unsynced: VecDeque<(LogPosition, Key, u64)>,
    /// Durable purge points. Those of forgotten replicas stay until no segment holds their entries.
    purged: BTreeMap<Key, u64>,
    /// Oldest first; the last one is being written.
    segments: VecDeque<Contents>,
}

/// The latest of each kind that a new segment repeats.
#[derive(Default)]
struct Replica {
    hard_state: Option<Body<'static>>,
    snapshot: Option<Body<'static>>,
    purge: Option<u64>,
}

struct Contents {
    /// The end of the first block; none is written yet if `None`.
    first_block_end: Option<LogPosition>,
    highest: BTreeMap<Key, u64>,
}

impl Ledger {
    /// A new segment is being written from now on.
    pub(crate) fn turn(&mut self) {
        self.segments.push_back(Contents {
            first_block_end: None,
            highest: BTreeMap::new(),
        });
    }

    /// A block that ends there was appended to the newest segment.
    pub(crate) fn note_block(&mut self, end: LogPosition) {
        let newest = self
            .segments
            .back_mut()
            .expect("a segment is being written");
        newest.first_block_end.get_or_insert(end);
    }

    /// A record in a block that ends there was appended to the newest segment.
    pub(crate) fn note(&mut self, record: &Record<'_>, end: LogPosition) {
        let key = (record.shard, record.replica);
        match record.body {
            Body::Entry { index, .. } => {
                let newest = self
                    .segments
                    .back_mut()
                    .expect("a segment is being written");
                let highest = newest.highest.entry(key).or_default();
                *highest = index.max(*highest);
            }
            Body::HardState { term, vote, commit } => {
                self.replicas.entry(key).or_default().hard_state =
                    Some(Body::HardState { term, vote, commit });
            }
            Body::Snapshot { term, index } => {
                self.replicas.entry(key).or_default().snapshot =
                    Some(Body::Snapshot { term, index });
            }
            Body::Truncate { .. } | Body::Other { .. } => {}
            Body::Purge { index } => {
                let purge = &mut self.replicas.entry(key).or_default().purge;
                if purge.is_none_or(|before| before < index) {
                    *purge = Some(index);
                    self.unsynced.push_back((end, key, index));
                }
            }
            Body::Forget => {
                self.replicas.remove(&key);
                self.unsynced.push_back((end, key, ALL));
            }
        }
    }

    /// All below `upto` is durable.
    pub(crate) fn synced(&mut self, upto: LogPosition) {
        while let Some(&(end, key, index)) = self.unsynced.front() {
            if end > upto {
                break;
            }
            self.unsynced.pop_front();
            let purged = self.purged.entry(key).or_default();
            *purged = index.max(*purged);
        }
    }

    /// Encodes what the first block of a new segment repeats.
    pub(crate) fn head(&self, out: &mut Vec<u8>) {
        for (&(shard, replica), latest) in &self.replicas {
            let purge = latest.purge.map(|index| Body::Purge { index });
            for body in [latest.hard_state, latest.snapshot, purge]
                .into_iter()
                .flatten()
            {
                Record {
                    shard,
                    replica,
                    body,
                }
                .encode(out);
            }
        }
    }

    /// A bound of what [`Ledger::head`] appends.
    pub(crate) fn head_bytes(&self) -> u64 {
        self.replicas.len() as u64 * HEAD_BYTES_PER_REPLICA
    }

    /// Lets the oldest segment go if it may.
    pub(crate) fn release_oldest(&mut self, synced: LogPosition) -> bool {
        let (Some(oldest), Some(next)) = (self.segments.front(), self.segments.get(1)) else {
            return false;
        };
        let purged = |key| self.purged.get(key).copied().unwrap_or(0);
        let repeated = next.first_block_end.is_some_and(|end| end <= synced);
        if !repeated
            || oldest
                .highest
                .iter()
                .any(|(key, &index)| index > purged(key))
        {
            return false;
        }
        self.segments.pop_front();
        let segments = &self.segments;
        self.purged.retain(|key, &mut index| {
            index != ALL
                || segments
                    .iter()
                    .any(|contents| contents.highest.contains_key(key))
        });
        true
    }

    /// Whose entries keep the oldest segment, and the highest index of them. Purge points count here
    /// before they are durable.
    pub(crate) fn pinned(&self) -> Option<(ShardId, ReplicaId, u64)> {
        if self.segments.len() < 2 {
            return None;
        }
        let (&(shard, replica), &index) =
            self.segments
                .front()?
                .highest
                .iter()
                .find(|&(key, &index)| {
                    let unsynced = self.unsynced.iter().filter(|(_, whose, _)| whose == key);
                    let purged = unsynced
                        .map(|&(_, _, index)| index)
                        .chain(self.purged.get(key).copied());
                    purged.max().unwrap_or(0) < index
                })?;
        Some((shard, replica, index))
    }
}
