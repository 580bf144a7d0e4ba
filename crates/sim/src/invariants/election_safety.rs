//! There is one leader per term at most.

use std::collections::BTreeMap;

use base::{ReplicaId, ShardId};

use super::{Invariant, ReplicaKey, Violation, violated};

#[derive(Debug, Default)]
pub(super) struct ElectionSafety {
    leaders: BTreeMap<(ShardId, u64), ReplicaId>,
}

impl ElectionSafety {
    /// A replica leads in that term; whether that is news.
    pub(super) fn leads(&mut self, key: ReplicaKey, term: u64) -> Result<bool, Violation> {
        match self.leaders.insert((key.shard, term), key.replica) {
            None => Ok(true),
            Some(other) if other == key.replica => Ok(false),
            Some(other) => violated(
                Invariant::ElectionSafety,
                format!(
                    "replicas {} and {} of shard {} both lead in term {term}",
                    other.0, key.replica.0, key.shard.0
                ),
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_leaders_of_one_term_are_seen() {
        let key = |replica| ReplicaKey {
            shard: ShardId(0),
            replica: ReplicaId(replica),
        };
        let mut election = ElectionSafety::default();
        assert_eq!(election.leads(key(1), 5), Ok(true));
        assert_eq!(election.leads(key(1), 5), Ok(false));
        assert_eq!(election.leads(key(2), 6), Ok(true));
        assert!(election.leads(key(2), 5).is_err());
    }
}
