//! From a snapshot and the records of the log to a running shard.

use std::time::Duration;

use base::Timestamp;
use keyspace::Keyspace;
use meta::{ClusterMap, Membership};
use raft::eraftpb::HardState;
use thiserror::Error;
use wal::Body;

use crate::apply::apply_batch;
use crate::effects::Effects;
use crate::entry::{self, Content};
use crate::log_store::LogStore;
use crate::shard::{self, Config, Shard};
use crate::snapshot::SnapshotMeta;

/// Takes a shard's records in the order of the log and applies what is known to be committed, so
/// that the log is never held in memory as a whole.
pub struct Recovery {
    config: Config,
    log: LogStore,
    keyspace: Keyspace,
    map: Option<ClusterMap>,
    applied: u64,
    /// The log goes on from another entry than the snapshot's last: it was written before the snapshot
    /// came from another replica, and what follows contradicts it.
    diverged: bool,
    replayed: Replayed,
    effects: Effects,
}

/// How much a recovery had to do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Replayed {
    /// Entries that came after the snapshot.
    pub entries: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// The records do not make a log. The files were mixed up or Piccolo has a bug; the node must not
/// start on them.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum RecoveryError {
    /// Entries between two that are there are missing.
    #[error("entry {found} follows entry {last}: entries between them are missing")]
    Gap {
        /// The last entry before the gap.
        last: u64,
        /// The first one after it.
        found: u64,
    },
    /// The log says that a snapshot exists which is newer than the one that was found.
    #[error("the log needs the snapshot at entry {needed}, but the newest one found is at {found}")]
    SnapshotMissing {
        /// The entry that the log names.
        needed: u64,
        /// The entry of the newest snapshot.
        found: u64,
    },
    /// The replica was removed from this node.
    #[error("the log says that this replica was removed from this node, but its snapshot is there")]
    Removed,
    /// The recorded commit index lies past the end of the log.
    #[error("entries up to {commit} were committed, but the log ends at {last}")]
    Short {
        /// The recorded commit index.
        commit: u64,
        /// The last entry found.
        last: u64,
    },
}

impl Recovery {
    /// Begins with the newest snapshot of the replica.
    pub fn new(config: Config, snapshot: &SnapshotMeta, keyspace: Keyspace) -> Recovery {
        Recovery {
            config,
            log: LogStore::new(snapshot.index, snapshot.term, snapshot.membership.clone()),
            keyspace,
            map: snapshot.map.clone(),
            applied: snapshot.index,
            diverged: false,
            replayed: Replayed::default(),
            effects: Effects::default(),
        }
    }

    /// Begins with a replica that was made empty and has had no snapshot yet. Its log holds no entries, but
    /// maybe a vote.
    pub fn unfilled(config: Config, keyspace: Keyspace) -> Recovery {
        let nothing = SnapshotMeta {
            term: 0,
            index: 0,
            membership: Membership::default(),
            map: None,
        };
        Recovery::new(config, &nothing, keyspace)
    }

    /// Takes the next record of this replica.
    ///
    /// # Errors
    /// [`RecoveryError`] when it does not fit those before it.
    pub fn record(&mut self, body: &Body<'_>) -> Result<(), RecoveryError> {
        match *body {
            // The snapshot has it already, but not what came after it and contradicted it.
            Body::Entry { index, term, .. } if index <= self.applied => {
                self.log.truncate(self.applied + 1);
                self.diverged = index == self.log.base() && term != self.log.base_term();
            }
            Body::Entry { .. } if self.diverged => {}
            Body::Entry {
                term,
                index,
                payload,
            } => {
                let last = self.log.last();
                if index > last + 1 {
                    return Err(RecoveryError::Gap { last, found: index });
                }
                self.replayed.entries += 1;
                self.replayed.bytes += payload.len() as u64;
                self.log
                    .append(&[entry::from_payload(term, index, payload.to_vec())]);
            }
            Body::HardState { term, vote, commit } => {
                self.log.set_hard_state(HardState {
                    term,
                    vote,
                    commit,
                    ..HardState::default()
                });
                self.apply_committed();
            }
            Body::Snapshot { index, .. } if index > self.log.last() => {
                let found = self.applied;
                return Err(RecoveryError::SnapshotMissing {
                    needed: index,
                    found,
                });
            }
            // Behind it the log goes on from the snapshot.
            Body::Snapshot { index, .. } if index >= self.log.base() => self.diverged = false,
            Body::Snapshot { .. } | Body::Purge { .. } | Body::Other { .. } => {}
            Body::Forget => return Err(RecoveryError::Removed),
            Body::Truncate { index } => self.log.truncate(index.max(self.applied + 1)),
        }
        Ok(())
    }

    /// What was replayed so far.
    pub fn replayed(&self) -> Replayed {
        self.replayed
    }

    /// The log is read to its end.
    ///
    /// # Errors
    /// [`RecoveryError::Short`] when entries that were committed are gone.
    pub fn finish(mut self, now: Duration) -> Result<(Shard, Keyspace), RecoveryError> {
        self.apply_committed();
        let mut hard_state = self.log.hard_state().clone();
        if hard_state.commit > self.log.last() {
            return Err(RecoveryError::Short {
                commit: hard_state.commit,
                last: self.log.last(),
            });
        }
        // The snapshot may be newer than the last recorded hard state.
        hard_state.commit = hard_state.commit.max(self.applied);
        let last_term = self.log.last_term();
        if hard_state.term < last_term {
            hard_state.term = last_term;
            hard_state.vote = 0;
        }
        self.log.set_hard_state(hard_state);
        // What is not known to be committed may yet be, and then comes before all that is proposed.
        let tail = self.log.iter().filter_map(entry::stamp);
        let stamp = tail.fold(self.keyspace.stamp(), Timestamp::max);
        Ok((
            Shard::start(self.config, self.log, self.applied, stamp, self.map, now),
            self.keyspace,
        ))
    }

    fn apply_committed(&mut self) {
        let commit = self.log.hard_state().commit;
        while self.applied < commit {
            let Some(entry) = self.log.get(self.applied + 1).cloned() else {
                break;
            };
            match entry::content(&entry) {
                Content::Nothing => {}
                Content::Batch(bytes) => {
                    let effects = &mut self.effects;
                    apply_batch(entry.index, bytes, Vec::new(), &mut self.keyspace, effects);
                    effects.discarded.clear();
                }
                Content::Members(change) => {
                    let mut membership = self.log.membership().clone();
                    shard::change_membership(&mut membership, change);
                    self.log.set_membership(membership);
                }
                Content::Meta(bytes) => {
                    if let Some(map) = &mut self.map {
                        // A change that the map did not allow was refused then as now.
                        drop(shard::apply_change(map, entry.index, bytes));
                    }
                }
            }
            self.applied = entry.index;
            self.log.compact(self.applied);
        }
    }
}
