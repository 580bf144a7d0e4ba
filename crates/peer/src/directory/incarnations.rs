//! The highest incarnation of each node that was seen or heard of. It outlives what else is known of the node: a
//! folder that was brought back from a copy is as dangerous after its node was forgotten.

use std::collections::BTreeMap;

use base::{Incarnation, NodeId};
use tracing::warn;

/// How many are remembered, a quarter of them of nodes that only ever greeted: strangers cannot push out those of the
/// cluster.
pub const INCARNATIONS_LIMIT: usize = 16 * 1024;

#[derive(Debug, Default)]
pub(super) struct Incarnations(BTreeMap<NodeId, Incarnation>);

impl Incarnations {
    /// Takes in that a node has greeted.
    pub(super) fn seen(&mut self, node_id: NodeId, incarnation: Incarnation) {
        self.raise(node_id, incarnation, INCARNATIONS_LIMIT / 4);
    }

    /// Takes in what others have seen.
    pub(super) fn told(&mut self, node_id: NodeId, incarnation: Incarnation) {
        if !self.raise(node_id, incarnation, INCARNATIONS_LIMIT) {
            warn!(node = %node_id, "its incarnation is not remembered: {INCARNATIONS_LIMIT} others are");
        }
    }

    /// Whether there was room.
    fn raise(&mut self, node_id: NodeId, incarnation: Incarnation, limit: usize) -> bool {
        let has_room = self.0.len() < limit;
        match self.0.get_mut(&node_id) {
            Some(known) => *known = incarnation.max(*known),
            None if has_room => {
                self.0.insert(node_id, incarnation);
            }
            None => return false,
        }
        true
    }

    pub(super) fn highest(&self, node_id: NodeId) -> Option<Incarnation> {
        self.0.get(&node_id).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_highest_stays_and_strangers_leave_room() {
        let mut incarnations = Incarnations::default();
        for node in 1..=INCARNATIONS_LIMIT as u64 {
            incarnations.seen(NodeId(node), Incarnation(5));
        }
        let of = |incarnations: &Incarnations, node| incarnations.highest(NodeId(node));
        let last = INCARNATIONS_LIMIT as u64;
        assert_eq!(of(&incarnations, 1), Some(Incarnation(5)));
        assert_eq!(of(&incarnations, last), None);
        for node in 1..=last + 1 {
            incarnations.told(NodeId(node), Incarnation(4));
        }
        assert_eq!(of(&incarnations, 1), Some(Incarnation(5)));
        assert_eq!(of(&incarnations, last + 1), None);
        assert_eq!(of(&incarnations, last / 2), Some(Incarnation(4)));
        incarnations.seen(NodeId(last / 2), Incarnation(6));
        assert_eq!(of(&incarnations, last / 2), Some(Incarnation(6)));
    }
}
