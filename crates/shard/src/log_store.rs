//! The part of the log that Raft may still ask for, in memory.

use std::cell::Cell;
use std::collections::VecDeque;

use base::ReplicaId;
use meta::Membership;
use raft::eraftpb::{ConfState, Entry, HardState, Snapshot};
use raft::{GetEntriesContext, RaftState, Storage, StorageError};

use crate::entry;
use crate::message::Offer;

/// The entries after a base point, the hard state and the members.
///
/// The log on disk serves recovery alone. What Raft reads while it runs is here: all that is not yet
/// applied, and as much of the rest as followers may need.
///
/// Invariant: entries are contiguous, the first has index `base_index + 1`.
#[derive(Debug)]
pub(crate) struct LogStore {
    base_index: u64,
    base_term: u64,
    entries: VecDeque<Entry>,
    /// What the entries take.
    bytes: usize,
    hard_state: HardState,
    membership: Membership,
    /// The newest complete snapshot on this node's disk.
    snapshot: Option<Offer>,
    /// Raft asked for a snapshot that is not there.
    snapshot_wanted: Cell<bool>,
}

/// What an entry takes beside its payload, about.
const ENTRY_BYTES: usize = 96;

fn size_of(entry: &Entry) -> usize {
    ENTRY_BYTES + entry::payload(entry).len()
}

impl LogStore {
    /// A log that begins after the entry of that index and term.
    pub(crate) fn new(base_index: u64, base_term: u64, membership: Membership) -> LogStore {
        let hard_state = HardState {
            term: base_term,
            commit: base_index,
            ..HardState::default()
        };
        LogStore {
            base_index,
            base_term,
            entries: VecDeque::new(),
            bytes: 0,
            hard_state,
            membership,
            snapshot: None,
            snapshot_wanted: Cell::new(false),
        }
    }

    /// Begins anew after a snapshot that came from another replica.
    pub(crate) fn restore(&mut self, offer: Offer) {
        self.base_index = offer.index;
        self.base_term = offer.term;
        self.entries.clear();
        self.bytes = 0;
        self.membership = offer.membership.clone();
        self.snapshot = Some(offer);
    }

    pub(crate) fn set_hard_state(&mut self, hard_state: HardState) {
        self.hard_state = hard_state;
    }

    pub(crate) fn hard_state(&self) -> &HardState {
        &self.hard_state
    }

    pub(crate) fn membership(&self) -> &Membership {
        &self.membership
    }

    pub(crate) fn set_membership(&mut self, membership: Membership) {
        self.membership = membership;
    }

    /// A snapshot is complete on this node's disk. An older one than is known of is none.
    pub(crate) fn set_snapshot(&mut self, offer: Offer) {
        if self
            .snapshot
            .as_ref()
            .is_none_or(|known| known.index < offer.index)
        {
            self.snapshot = Some(offer);
            self.snapshot_wanted.set(false);
        }
    }

    /// What a message of the type snapshot that Raft makes is about.
    pub(crate) fn snapshot_offer(&self) -> Option<&Offer> {
        self.snapshot.as_ref()
    }

    /// Whether Raft asked for a snapshot that is not there.
    pub(crate) fn is_snapshot_wanted(&self) -> bool {
        self.snapshot_wanted.get()
    }

    /// No snapshot is asked for any more.
    pub(crate) fn want_no_snapshot(&self) {
        self.snapshot_wanted.set(false);
    }

    /// About what the entries take in memory.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// The term of the entry at [`LogStore::base`].
    pub(crate) fn base_term(&self) -> u64 {
        self.base_term
    }

    /// The last index that is no longer there.
    pub(crate) fn base(&self) -> u64 {
        self.base_index
    }

    /// Appends entries; those that they contradict go.
    ///
    /// # Panics
    /// If they leave a gap or reach below the base.
    pub(crate) fn append(&mut self, entries: &[Entry]) {
        let Some(first) = entries.first() else { return };
        assert!(
            first.index > self.base_index,
            "an entry that is purged came again"
        );
        let kept = (first.index - self.base_index - 1) as usize;
        assert!(
            kept <= self.entries.len(),
            "a gap in the log before entry {}",
            first.index
        );
        self.cut(kept);
        self.bytes += entries.iter().map(size_of).sum::<usize>();
        self.entries.extend(entries.iter().cloned());
    }

    fn cut(&mut self, kept: usize) {
        if kept < self.entries.len() {
            self.bytes -= self.entries.range(kept..).map(size_of).sum::<usize>();
            self.entries.truncate(kept);
        }
    }

    /// Removes the entries from `index` on.
    pub(crate) fn truncate(&mut self, index: u64) {
        self.cut(index.saturating_sub(self.base_index + 1) as usize);
    }

    /// Forgets the entries up to `index`, which must be there.
    pub(crate) fn compact(&mut self, index: u64) {
        while self.base_index < index {
            let entry = self
                .entries
                .pop_front()
                .expect("only entries that are there are compacted");
            self.bytes -= size_of(&entry);
            self.base_index = entry.index;
            self.base_term = entry.term;
        }
    }

    /// The entry of that index, if it is in memory.
    pub(crate) fn get(&self, index: u64) -> Option<&Entry> {
        let offset = index.checked_sub(self.base_index + 1)?;
        self.entries.get(offset as usize)
    }

    pub(crate) fn last(&self) -> u64 {
        self.base_index + self.entries.len() as u64
    }

    pub(crate) fn last_term(&self) -> u64 {
        self.entries
            .back()
            .map_or(self.base_term, |entry| entry.term)
    }

    /// The entries, oldest first.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter()
    }
}

impl Storage for LogStore {
    fn initial_state(&self) -> raft::Result<RaftState> {
        Ok(RaftState::new(
            self.hard_state.clone(),
            conf_state(&self.membership),
        ))
    }

    fn entries(
        &self,
        low: u64,
        high: u64,
        max_size: impl Into<Option<u64>>,
        _context: GetEntriesContext,
    ) -> raft::Result<Vec<Entry>> {
        assert!(
            high <= self.last() + 1,
            "entries up to {high} asked for, {} there",
            self.last()
        );
        if low <= self.base_index {
            return Err(StorageError::Compacted.into());
        }
        let limit = max_size.into().unwrap_or(u64::MAX);
        let range = (low - self.base_index - 1) as usize..(high - self.base_index - 1) as usize;
        let mut size = 0;
        let within = self
            .entries
            .range(range)
            .enumerate()
            .take_while(|(position, entry)| {
                size += size_of(entry) as u64;
                *position == 0 || size <= limit
            });
        Ok(within.map(|(_, entry)| entry.clone()).collect())
    }

    fn term(&self, index: u64) -> raft::Result<u64> {
        if index == self.base_index {
            return Ok(self.base_term);
        }
        if index < self.base_index {
            return Err(StorageError::Compacted.into());
        }
        self.get(index)
            .map(|entry| entry.term)
            .ok_or(StorageError::Unavailable.into())
    }

    fn first_index(&self) -> raft::Result<u64> {
        Ok(self.base_index + 1)
    }

    fn last_index(&self) -> raft::Result<u64> {
        Ok(self.last())
    }

    /// Only one after which the log can go on is worth the way.
    fn snapshot(&self, request_index: u64, to: u64) -> raft::Result<Snapshot> {
        // A replica takes no snapshot of a time before it was a member.
        let fits = |offer: &&Offer| {
            offer.index >= self.base_index.max(request_index)
                && offer.membership.get(ReplicaId(to)).is_some()
        };
        match self.snapshot.as_ref().filter(fits) {
            Some(offer) => Ok(to_raft(offer)),
            None => {
                self.snapshot_wanted.set(true);
                Err(StorageError::SnapshotTemporarilyUnavailable.into())
            }
        }
    }
}

/// Members as Raft knows them.
pub(crate) fn conf_state(membership: &Membership) -> ConfState {
    ConfState {
        voters: membership.voters().map(|member| member.replica.0).collect(),
        learners: membership
            .learners()
            .map(|member| member.replica.0)
            .collect(),
        ..ConfState::default()
    }
}

/// A snapshot as Raft knows it. Its data travels another way.
pub(crate) fn to_raft(offer: &Offer) -> Snapshot {
    let mut snapshot = Snapshot::default();
    let metadata = snapshot.mut_metadata();
    metadata.index = offer.index;
    metadata.term = offer.term;
    metadata.set_conf_state(conf_state(&offer.membership));
    snapshot
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(index: u64, term: u64) -> Entry {
        Entry {
            index,
            term,
            ..Entry::default()
        }
    }

    fn indexes(log: &LogStore, low: u64, high: u64) -> Vec<u64> {
        let entries = log
            .entries(low, high, None, GetEntriesContext::empty(false))
            .unwrap();
        entries.iter().map(|entry| entry.index).collect()
    }

    #[test]
    fn later_entries_replace_those_they_contradict() {
        let mut log = LogStore::new(1, 1, Membership::default());
        log.append(&[entry(2, 1), entry(3, 1), entry(4, 1)]);
        log.append(&[entry(3, 2)]);
        assert_eq!(log.last(), 3);
        assert_eq!(log.term(3), Ok(2));
        log.truncate(3);
        assert_eq!(log.last(), 2);
    }

    #[test]
    fn the_term_of_the_base_outlives_compaction() {
        let mut log = LogStore::new(1, 1, Membership::default());
        log.append(&[entry(2, 3), entry(3, 3)]);
        log.compact(2);
        assert_eq!(log.first_index(), Ok(3));
        assert_eq!(log.term(2), Ok(3));
        assert_eq!(log.term(1), Err(StorageError::Compacted.into()));
        assert_eq!(log.term(4), Err(StorageError::Unavailable.into()));
        assert_eq!(indexes(&log, 3, 4), [3]);
    }

    #[test]
    fn a_size_limit_still_gives_one_entry() {
        let mut log = LogStore::new(0, 0, Membership::default());
        let fat = |index| Entry {
            data: vec![0; 100].into(),
            ..entry(index, 1)
        };
        log.append(&[fat(1), fat(2), fat(3)]);
        let some = |limit| {
            log.entries(1, 4, limit, GetEntriesContext::empty(false))
                .unwrap()
                .len()
        };
        assert_eq!([some(1), some(400), some(1000)], [1, 2, 3]);
    }

    #[test]
    #[should_panic(expected = "a gap in the log")]
    fn a_gap_is_refused() {
        LogStore::new(1, 1, Membership::default()).append(&[entry(3, 1)]);
    }
}
