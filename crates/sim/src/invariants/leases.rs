//! Nobody leads while one who led before may still read under a lease, and nobody reads under one once
//! another leads.
//!
//! Stale reads would follow, but only from clients that ask the right two nodes in the right milliseconds.

use std::collections::BTreeMap;
use std::time::Duration;

use base::{ReplicaId, ShardId};

use super::{Invariant, ReplicaKey, Violation, violated};

/// Until when whom a lease protects, in true time, and in which term.
#[derive(Debug, Default)]
pub(super) struct Leases {
    held: BTreeMap<ShardId, BTreeMap<ReplicaId, (u64, Duration)>>,
    /// The highest term in which somebody led.
    newest: BTreeMap<ShardId, u64>,
}

impl Leases {
    /// A replica has taken a turn and has a lease until then, if that is not past.
    pub(super) fn turned(
        &mut self,
        key: ReplicaKey,
        (term, leads): (u64, bool),
        until: Duration,
        now: Duration,
    ) -> Result<(), Violation> {
        if leads {
            let newest = self.newest.entry(key.shard).or_default();
            *newest = term.max(*newest);
        }
        let held = self.held.entry(key.shard).or_default();
        held.retain(|replica, (_, until)| *replica != key.replica && *until > now);
        let former = held
            .iter()
            .find(|(_, (earlier, _))| leads && *earlier < term);
        if let Some((replica, (earlier, until))) = former {
            return violated(
                Invariant::Leases,
                format!(
                    "replica {} leads shard {} in term {term}, and the lease of replica {} of term {earlier} \
                     lasts for another {:?}",
                    key.replica.0,
                    key.shard.0,
                    replica.0,
                    *until - now
                ),
            );
        }
        if until > now {
            held.insert(key.replica, (term, until));
        }
        Ok(())
    }

    /// A leader of that term has read for a client without asking anybody.
    pub(super) fn read(&self, key: ReplicaKey, term: u64) -> Result<(), Violation> {
        match self.newest.get(&key.shard) {
            Some(&newest) if newest > term => violated(
                Invariant::Leases,
                format!(
                    "replica {} reads shard {} as the leader of term {term}, and another leads in term {newest}",
                    key.replica.0, key.shard.0
                ),
            ),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_leader_beside_a_lease_is_seen() {
        let key = |replica| ReplicaKey {
            shard: ShardId(0),
            replica: ReplicaId(replica),
        };
        let at = Duration::from_millis;
        let mut leases = Leases::default();
        assert_eq!(leases.turned(key(1), (5, true), at(300), at(0)), Ok(()));
        assert_eq!(leases.turned(key(2), (6, false), at(0), at(100)), Ok(()));
        assert!(leases.turned(key(2), (6, true), at(0), at(200)).is_err());
        assert_eq!(leases.read(key(2), 6), Ok(()));
        assert!(leases.read(key(1), 5).is_err());
        // It is over, or given up.
        assert_eq!(leases.turned(key(2), (6, true), at(0), at(300)), Ok(()));
        assert_eq!(leases.turned(key(1), (5, true), at(600), at(300)), Ok(()));
        assert_eq!(leases.turned(key(1), (5, true), at(0), at(310)), Ok(()));
        assert_eq!(leases.turned(key(2), (6, true), at(0), at(320)), Ok(()));
    }
}
