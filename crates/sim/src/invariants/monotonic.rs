//! Term, commit and applied index never go back while a replica lives; term and vote not even when it is
//! started anew, once they were durable.

use std::collections::BTreeMap;

use base::ReplicaId;
use shard::Shard;
use wal::{Body, Record};

use super::{Home, Invariant, ReplicaKey, Violation, violated};

#[derive(Debug, Default)]
pub(super) struct Monotonic {
    /// As of the last turn.
    last: BTreeMap<ReplicaKey, Last>,
    /// The last hard state that was durable.
    durable: BTreeMap<ReplicaKey, (u64, u64)>,
}

/// A replica after a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Last {
    pub(super) process: u64,
    pub(super) term: u64,
    pub(super) vote: Option<ReplicaId>,
    pub(super) committed: u64,
    pub(super) applied: u64,
    leads: bool,
}

impl Monotonic {
    pub(super) fn durable(&mut self, mut records: &[u8]) {
        while let Ok(record) = Record::decode(&mut records) {
            let key = ReplicaKey {
                shard: record.shard,
                replica: record.replica,
            };
            match record.body {
                Body::HardState { term, vote, .. } => {
                    self.durable.insert(key, (term, vote));
                }
                Body::Forget => {
                    self.durable.remove(&key);
                }
                _ => {}
            }
        }
    }

    pub(super) fn started(&mut self, key: ReplicaKey, shard: &Shard) -> Result<(), Violation> {
        self.last.remove(&key);
        let Some(&(term, vote)) = self.durable.get(&key) else {
            return Ok(());
        };
        let lost_vote = shard.term() == term && vote != 0 && shard.vote() != Some(ReplicaId(vote));
        if shard.term() < term || lost_vote {
            return violated(
                Invariant::Monotonic,
                format!(
                    "replica {} of shard {} comes back in term {} with a vote for {:?}, and had term \
                     {term} and a vote for {vote} on disk",
                    key.replica.0,
                    key.shard.0,
                    shard.term(),
                    shard.vote()
                ),
            );
        }
        Ok(())
    }

    /// How it was before, if anything has changed.
    pub(super) fn turned(
        &mut self,
        key: ReplicaKey,
        shard: &Shard,
        home: Home,
    ) -> Result<Option<Last>, Violation> {
        let now = Last {
            process: home.process,
            term: shard.term(),
            vote: shard.vote(),
            committed: shard.committed(),
            applied: shard.applied(),
            leads: shard.is_leader(),
        };
        let before = self.last.insert(key, now);
        if before == Some(now) {
            return Ok(None);
        }
        let before = before
            .filter(|before| before.process == now.process)
            .unwrap_or(Last {
                process: u64::MAX,
                term: 0,
                vote: None,
                committed: 0,
                applied: 0,
                leads: false,
            });
        let changed_vote =
            before.term == now.term && before.vote.is_some() && before.vote != now.vote;
        let went_back = now.term < before.term
            || now.committed < before.committed
            || now.applied < before.applied
            || changed_vote;
        let out_of_order = now.applied > now.committed || now.committed > shard.last_index();
        if went_back || out_of_order {
            return violated(
                Invariant::Monotonic,
                format!(
                    "replica {} of shard {} went from {before:?} to {now:?}, its last entry is {}",
                    key.replica.0,
                    key.shard.0,
                    shard.last_index()
                ),
            );
        }
        Ok(Some(before))
    }
}
