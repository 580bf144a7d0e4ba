//! All replicas apply the same entry at each index, and after it hold the same state.

use std::collections::BTreeMap;

use base::{Db, ShardId, Timestamp};
use keyspace::Keyspace;
use shard::Shard;

use super::log_matching::fingerprint;
use super::{Entry, Invariant, ReplicaKey, ReplicaLog, Violation, violated};

#[derive(Debug, Default)]
pub(crate) struct StateMachine {
    shards: BTreeMap<ShardId, Committed>,
}

#[derive(Debug, Default)]
struct Committed {
    entries: BTreeMap<u64, Entry>,
    digests: BTreeMap<u64, u64>,
}

impl StateMachine {
    /// A replica has applied more.
    pub(super) fn applied(
        &mut self,
        key: ReplicaKey,
        log: &ReplicaLog,
        before: u64,
        shard: &Shard,
        keyspace: &Keyspace,
    ) -> Result<(), Violation> {
        let committed = self.shards.entry(key.shard).or_default();
        let upto = shard.applied();
        for (&index, entry) in log.entries.range(before + 1..=upto) {
            let known = committed
                .entries
                .entry(index)
                .or_insert_with(|| entry.clone());
            if known != entry {
                return violated(
                    Invariant::StateMachineSafety,
                    format!(
                        "replica {} of shard {} applied entry {index} of term {}, elsewhere one of term \
                         {} was applied there",
                        key.replica.0, key.shard.0, entry.term, known.term
                    ),
                );
            }
        }
        let digest = digest(keyspace);
        let known = *committed.digests.entry(upto).or_insert(digest);
        if known != digest {
            return violated(
                Invariant::StateMachineSafety,
                format!(
                    "replica {} of shard {} holds another state after entry {upto} than others",
                    key.replica.0, key.shard.0
                ),
            );
        }
        Ok(())
    }

    /// What is known to be committed in a shard.
    pub(super) fn entries_of(&self, shard: ShardId) -> impl Iterator<Item = (u64, &Entry)> {
        let committed = self.shards.get(&shard).into_iter();
        committed.flat_map(|committed| {
            committed
                .entries
                .iter()
                .map(|(&index, entry)| (index, entry))
        })
    }

    pub(super) fn committed(&self) -> u64 {
        self.shards
            .values()
            .map(|committed| committed.entries.len() as u64)
            .sum()
    }
}

/// A number that two equal states share, and others almost never.
pub fn digest(keyspace: &Keyspace) -> u64 {
    let mut digest = keyspace.stamp().millis();
    let mut mix = |value: u64| {
        digest = (digest ^ value)
            .wrapping_mul(0x9e37_79b9_7f4a_7c15)
            .rotate_left(31);
    };
    for db in Db::all() {
        if keyspace.len(db) == 0 {
            continue;
        }
        mix(u64::from(db.number()));
        // Before all time, so that none has expired.
        keyspace.for_each(db, Timestamp::ZERO, &mut |entry| {
            mix(fingerprint(entry.key()));
            mix(entry.kind() as u64);
            entry.for_each_piece(&mut |piece| mix(fingerprint(piece)));
            mix(entry.expires_at().map_or(0, Timestamp::millis));
        });
    }
    digest
}
