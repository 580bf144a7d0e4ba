//! Entries of one index and term are the same everywhere, and so are the entries before them.

use std::collections::BTreeMap;

use base::ShardId;

use super::{Invariant, ReplicaKey, Violation, violated};

/// For each entry its payload and the term of the one before it. That these two are the same wherever an
/// entry stands makes, step by step, whole logs the same.
#[derive(Debug, Default)]
pub(super) struct LogMatching {
    entries: BTreeMap<(ShardId, u64, u64), Known>,
}

#[derive(Debug)]
struct Known {
    payload: u64,
    /// Unknown where the entry before stands in a snapshot.
    before: Option<u64>,
}

impl LogMatching {
    /// A replica takes an entry into its log, behind one of that term.
    pub(super) fn entry(
        &mut self,
        key: ReplicaKey,
        index: u64,
        term: u64,
        payload: &[u8],
        before: Option<u64>,
    ) -> Result<(), Violation> {
        let payload = fingerprint(payload);
        let known = self
            .entries
            .entry((key.shard, index, term))
            .or_insert(Known { payload, before });
        let differs_before = known.before.is_some() && before.is_some() && known.before != before;
        if known.payload != payload || differs_before {
            let what = if differs_before { "before it" } else { "in it" };
            return violated(
                Invariant::LogMatching,
                format!(
                    "entry {index} of term {term} of shard {}: what stands {what} at replica {} is not \
                     what stands there elsewhere",
                    key.shard.0, key.replica.0
                ),
            );
        }
        known.before = known.before.or(before);
        Ok(())
    }
}

/// FNV-1a, 64 bits.
pub(super) fn fingerprint(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, &byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use base::ReplicaId;

    use super::*;

    #[test]
    fn entries_that_differ_are_seen() {
        let key = |replica| ReplicaKey {
            shard: ShardId(0),
            replica: ReplicaId(replica),
        };
        let mut matching = LogMatching::default();
        assert_eq!(matching.entry(key(1), 7, 2, b"a", Some(1)), Ok(()));
        assert_eq!(matching.entry(key(2), 7, 2, b"a", None), Ok(()));
        assert_eq!(matching.entry(key(2), 7, 3, b"b", Some(2)), Ok(()));
        assert!(matching.entry(key(3), 7, 2, b"b", Some(1)).is_err());
        assert!(matching.entry(key(3), 7, 2, b"a", Some(2)).is_err());
    }
}
