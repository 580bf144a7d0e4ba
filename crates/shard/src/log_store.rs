//! The part of the log that Raft may still ask for, in memory.

use std::collections::VecDeque;

use raft::eraftpb::{ConfState, Entry, HardState, Snapshot};
use raft::{GetEntriesContext, RaftState, Storage, StorageError};

/// The entries after a base point, the hard state and the voters.
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
    hard_state: HardState,
    voters: ConfState,
}

impl LogStore {
    /// A log that begins after the entry of that index and term.
    pub(crate) fn new(base_index: u64, base_term: u64, voters: &[u64]) -> LogStore {
        let voters = ConfState {
            voters: voters.to_vec(),
            ..ConfState::default()
        };
        let hard_state = HardState {
            term: base_term,
            commit: base_index,
            ..HardState::default()
        };
        LogStore {
            base_index,
            base_term,
            entries: VecDeque::new(),
            hard_state,
            voters,
        }
    }

    pub(crate) fn set_hard_state(&mut self, hard_state: HardState) {
        self.hard_state = hard_state;
    }

    pub(crate) fn hard_state(&self) -> &HardState {
        &self.hard_state
    }

    pub(crate) fn voters(&self) -> &[u64] {
        &self.voters.voters
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
        self.entries.truncate(kept);
        self.entries.extend(entries.iter().cloned());
    }

    /// Removes the entries from `index` on.
    pub(crate) fn truncate(&mut self, index: u64) {
        let kept = index.saturating_sub(self.base_index + 1) as usize;
        self.entries.truncate(kept);
    }

    /// Forgets the entries up to `index`, which must be there.
    pub(crate) fn compact(&mut self, index: u64) {
        while self.base_index < index {
            let entry = self
                .entries
                .pop_front()
                .expect("only entries that are there are compacted");
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
        Ok(RaftState::new(self.hard_state.clone(), self.voters.clone()))
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
                size += entry.data.len() as u64;
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

    fn snapshot(&self, _request_index: u64, _to: u64) -> raft::Result<Snapshot> {
        Err(StorageError::SnapshotTemporarilyUnavailable.into())
    }
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
        let mut log = LogStore::new(1, 1, &[1]);
        log.append(&[entry(2, 1), entry(3, 1), entry(4, 1)]);
        log.append(&[entry(3, 2)]);
        assert_eq!(log.last(), 3);
        assert_eq!(log.term(3), Ok(2));
        log.truncate(3);
        assert_eq!(log.last(), 2);
    }

    #[test]
    fn the_term_of_the_base_outlives_compaction() {
        let mut log = LogStore::new(1, 1, &[1]);
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
        let mut log = LogStore::new(0, 0, &[1]);
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
        assert_eq!([some(1), some(200), some(1000)], [1, 2, 3]);
    }

    #[test]
    #[should_panic(expected = "a gap in the log")]
    fn a_gap_is_refused() {
        LogStore::new(1, 1, &[1]).append(&[entry(3, 1)]);
    }
}
