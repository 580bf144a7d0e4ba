//! What was acknowledged is in the committed log exactly once; what has an unknown outcome at most once; what
//! was refused with the promise that it had no effect, never.
//!
//! Linearizability sees most of this as well, but only where somebody reads.

use std::collections::BTreeMap;

use base::{ShardId, Slot};
use commands::log::{BatchHeader, VERSION, decode};

use super::state_machine::StateMachine;
use super::{Invariant, Violation, violated};
use crate::history::{Call, History, Outcome};
use crate::op::key_name;

/// How often commands stand in the committed logs, by shard and their words.
type Counts = BTreeMap<(ShardId, Vec<Vec<u8>>), u64>;

/// Compares what clients were told with what was committed.
pub(super) fn check(
    history: &History,
    machine: &StateMachine,
    shards: u32,
) -> Result<(), Violation> {
    let mut counts = Counts::new();
    for shard in (0..shards).map(ShardId) {
        for (index, entry) in machine.entries_of(shard) {
            count(shard, index, &entry.payload, &mut counts)?;
        }
    }
    let mut groups: BTreeMap<(ShardId, Vec<Vec<u8>>), Vec<&Call>> = BTreeMap::new();
    for call in history.calls.iter().filter(|call| !call.op.is_read()) {
        let shard = Slot::of_key(&key_name(call.key)).shard(shards);
        groups.entry((shard, words(call))).or_default().push(call);
    }
    for (group, calls) in &groups {
        let found = counts.remove(group).unwrap_or(0);
        let with = |wanted: fn(&Outcome) -> bool| {
            calls.iter().filter(|call| wanted(&call.outcome)).count() as u64
        };
        let known = with(|outcome| matches!(outcome, Outcome::Answered(..)));
        let unknown = with(|outcome| *outcome == Outcome::Unknown);
        if !(known..=known + unknown).contains(&found) {
            let text = group.1.iter().map(|word| String::from_utf8_lossy(word));
            return violated(
                Invariant::Acknowledged,
                format!(
                    "{:?} was acknowledged {known} times, {unknown} times its outcome is unknown, and it \
                     was committed {found} times",
                    text.collect::<Vec<_>>().join(" ")
                ),
            );
        }
    }
    if let Some(((_, words), _)) = counts.pop_first() {
        let text = words.iter().map(|word| String::from_utf8_lossy(word));
        return violated(
            Invariant::Acknowledged,
            format!(
                "{:?} was committed and nobody asked for it",
                text.collect::<Vec<_>>().join(" ")
            ),
        );
    }
    Ok(())
}

fn count(
    shard: ShardId,
    index: u64,
    mut payload: &[u8],
    counts: &mut Counts,
) -> Result<(), Violation> {
    // Other kinds of entries begin with another byte, or with none.
    if payload.first() != Some(&VERSION) {
        return Ok(());
    }
    let unreadable = |_| Violation {
        invariant: Invariant::Acknowledged,
        text: format!("entry {index} of shard {} cannot be read", shard.0),
    };
    BatchHeader::decode(&mut payload).map_err(unreadable)?;
    let mut args = Vec::new();
    while !payload.is_empty() {
        decode(&mut payload, &mut args).map_err(unreadable)?;
        let words = args.iter().map(|word| word.to_vec()).collect();
        *counts.entry((shard, words)).or_default() += 1;
    }
    Ok(())
}

/// The words of a call, as they stand in the log.
fn words(call: &Call) -> Vec<Vec<u8>> {
    let mut words = vec![call.op.name().as_bytes().to_vec(), key_name(call.key)];
    words.extend(call.op.args());
    words
}
