//! A leader's log holds every entry that was committed before it was elected.

use shard::Shard;

use super::state_machine::StateMachine;
use super::{Invariant, ReplicaLog, Violation, violated};

/// A replica has come to lead.
pub(super) fn check(
    shard: &Shard,
    log: Option<&ReplicaLog>,
    machine: &StateMachine,
) -> Result<(), Violation> {
    for (index, committed) in machine.entries_of(shard.id()) {
        let known = log.and_then(|log| log.entries.get(&index));
        let has = match (shard.entry(index), known) {
            (Some((term, _)), _) => term == committed.term,
            (None, Some(known)) => known.term == committed.term,
            // It stands in the snapshot, or nowhere.
            (None, None) => index <= shard.last_index(),
        };
        if !has {
            return violated(
                Invariant::LeaderCompleteness,
                format!(
                    "replica {} leads shard {} in term {} without entry {index} of term {}, which was \
                     committed",
                    shard.replica().0,
                    shard.id().0,
                    shard.term(),
                    committed.term
                ),
            );
        }
    }
    Ok(())
}
