//! The id of a replica belongs to one disk: what comes on another one is another replica.

use std::collections::BTreeMap;

use super::{Home, Invariant, ReplicaKey, Violation, violated};

#[derive(Debug, Default)]
pub(super) struct ReplicaIdentity {
    homes: BTreeMap<ReplicaKey, Home>,
}

impl ReplicaIdentity {
    /// A replica lives there.
    pub(super) fn seen(&mut self, key: ReplicaKey, home: Home) -> Result<(), Violation> {
        let known = *self.homes.entry(key).or_insert(home);
        if (known.machine, known.disk) == (home.machine, home.disk) {
            return Ok(());
        }
        violated(
            Invariant::ReplicaIdentity,
            format!(
                "replica {} of shard {} lives on disk {} of machine {}, and lived on disk {} of machine {}",
                key.replica.0, key.shard.0, home.disk, home.machine.0, known.disk, known.machine.0
            ),
        )
    }
}
