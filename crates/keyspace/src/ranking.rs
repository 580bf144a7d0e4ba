//! Large sorted sets: the table of members beside their order.
//!
//! Both own the same elements. The order is that of scores, and of the members' bytes where scores are equal
//! (0 and -0 are); it is a function of the content. The table answers for a member, and its hash order is what
//! ZSCAN's cursors stand on.

use std::cmp::Ordering;
use std::ops::Range;

use crate::hasher::Hasher;
use crate::members::scan_table;
use crate::order::{Keyed, Order};
use crate::places::{Placed, Shared};
use crate::scored::Scored;
use crate::table::{Spot, Table};

/// An element, with its score at hand.
#[derive(Clone)]
pub(crate) struct Ranked {
    pub(crate) score: f64,
    pub(crate) scored: Scored,
}

impl Ranked {
    pub(crate) fn new(scored: Scored) -> Ranked {
        Ranked {
            score: scored.score(),
            scored,
        }
    }
}

impl Keyed for Ranked {
    type Key = Ranked;

    fn key(&self) -> &Ranked {
        self
    }
}

/// See the module.
#[derive(Clone, Default)]
pub(crate) struct Ranking {
    table: Table<Shared<Scored>>,
    order: Order<Ranked>,
    /// The memory of the elements.
    bytes: usize,
}

/// How one element stands to another in a sorted set.
pub(crate) fn compare(score: f64, member: &[u8], other_score: f64, other: &[u8]) -> Ordering {
    let scores = score.partial_cmp(&other_score).expect("no score is NaN");
    scores.then_with(|| member.cmp(other))
}

impl Ranking {
    pub(crate) fn len(&self) -> usize {
        self.order.len()
    }

    pub(crate) fn memory_bytes(&self) -> usize {
        self.table.bytes() + self.order.bytes() + self.bytes
    }

    pub(crate) fn order(&self) -> &Order<Ranked> {
        &self.order
    }

    pub(crate) fn score(&self, hasher: Hasher, member: &[u8]) -> Option<f64> {
        let spot = self.table.find(hasher, hasher.hash(member), member).ok()?;
        Some(self.table.item(spot).score())
    }

    /// The rank that an element has, or would have.
    pub(crate) fn rank_of(&self, score: f64, member: &[u8]) -> usize {
        self.order.partition_point(|item| {
            compare(item.score, item.scored.member(), score, member) == Ordering::Less
        })
    }

    /// Gives a member this score; the one that it had.
    pub(crate) fn set(&mut self, hasher: Hasher, member: &[u8], score: f64) -> Option<f64> {
        let hash = hasher.hash(member);
        match self.table.find(hasher, hash, member) {
            Ok(spot) => {
                let old = self.table.item(spot).score();
                if old != score {
                    self.move_to(spot, score);
                }
                Some(old)
            }
            Err(spot) => {
                let scored = Scored::new(score, member);
                self.bytes += scored.allocated_bytes();
                let rank = self.rank_of(score, member);
                self.order.insert(rank, Ranked::new(scored.clone()));
                self.table.insert(hasher, hash, spot, scored);
                None
            }
        }
    }

    /// Gives the element at a spot another score: elements never change, so it is another element.
    fn move_to(&mut self, spot: Spot, score: f64) {
        let old = self.table.item(spot);
        let rank = self.rank_of(old.score(), old.member());
        let scored = Scored::new(score, old.member());
        self.order.take(rank);
        let rank = self.rank_of(score, scored.member());
        self.order.insert(rank, Ranked::new(scored.clone()));
        let place = self.table.item_mut(spot);
        let tag = place.tag();
        *place = scored;
        place.set_tag(tag);
    }

    /// Takes out a member; the score that it had.
    pub(crate) fn remove(&mut self, hasher: Hasher, member: &[u8]) -> Option<f64> {
        let hash = hasher.hash(member);
        let spot = self.table.find(hasher, hash, member).ok()?;
        let scored = self.table.remove(spot, hash);
        let rank = self.rank_of(scored.score(), member);
        self.order.take(rank);
        self.bytes -= scored.allocated_bytes();
        Some(scored.score())
    }

    /// Takes out the members of these ranks.
    pub(crate) fn remove_ranks(&mut self, hasher: Hasher, ranks: Range<usize>) {
        let (mut left, mut removed) = (ranks.len(), Vec::new());
        while left > 0 {
            // Leaf by leaf, so that a long range takes time in proportion to its length.
            self.order
                .remove(ranks.start..ranks.start + left, &mut removed);
            left -= removed.len();
            for Ranked { scored, .. } in removed.drain(..) {
                let hash = hasher.hash(scored.member());
                let spot = self.table.find(hasher, hash, scored.member());
                let spot = spot.expect("what has a rank is in the table");
                self.table.remove(spot, hash);
                self.bytes -= scored.allocated_bytes();
            }
        }
    }

    /// Appends an element with a member that is new, and that comes after all others; false if it is not so.
    pub(crate) fn push(&mut self, hasher: Hasher, score: f64, member: &[u8]) -> bool {
        let is_after = self.len().checked_sub(1).is_none_or(|last| {
            let last = self.order.get(last);
            compare(last.score, last.scored.member(), score, member) == Ordering::Less
        });
        is_after && self.set(hasher, member, score).is_none()
    }

    /// Makes room for that many elements in all, as far as one part takes them.
    pub(crate) fn reserve(&mut self, len: usize) {
        self.table.reserve(len);
    }

    /// As [`Members::scan`](crate::members::Members::scan).
    pub(crate) fn scan<'s>(
        &'s self,
        hasher: Hasher,
        cursor: u64,
        count: usize,
        visit: &mut dyn FnMut(&'s Scored),
    ) -> u64 {
        scan_table(&self.table, hasher, cursor, count, visit)
    }

    /// Asserts what the module states.
    #[cfg(test)]
    pub(crate) fn check(&self, hasher: Hasher) {
        self.table.check(hasher);
        self.order.check(|one, other| {
            one.score.to_bits() == other.score.to_bits()
                && one.scored.member() == other.scored.member()
        });
        assert_eq!(self.table.len(), self.order.len());
        let (mut bytes, mut last): (usize, Option<&Ranked>) = (0, None);
        for item in self.order.range(0..self.len()) {
            let member = item.scored.member();
            assert_eq!(item.score.to_bits(), item.scored.score().to_bits());
            if let Some(last) = last {
                let order = compare(last.score, last.scored.member(), item.score, member);
                assert_eq!(
                    order,
                    Ordering::Less,
                    "the order is that of scores and members"
                );
            }
            last = Some(item);
            let spot = self.table.find(hasher, hasher.hash(member), member);
            let score = self.table.item(spot.expect("it is in the table")).score();
            assert_eq!(score.to_bits(), item.score.to_bits());
            bytes += item.scored.allocated_bytes();
        }
        assert_eq!(bytes, self.bytes);
    }
}
