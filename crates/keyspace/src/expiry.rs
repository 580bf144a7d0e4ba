//! Which keys expire when, exactly.
//!
//! Each slot of a database keeps the set of its marks, (`expires_at`, first bits of the hash); above the
//! sets stands the earliest expiry of each slot, of each block of slots and of the database, so that
//! "is anything due" is one comparison. A mark is there if and only if an entry with that expiry
//! and those bits is: nothing here depends on what the keyspace went through.

use std::collections::BTreeSet;

use base::{Slot, Timestamp};

use crate::memory::size_class;

/// Slots are grouped in blocks, which are allocated when first used.
pub(crate) const BLOCK_SLOTS: usize = 128;
pub(crate) const BLOCKS: usize = Slot::COUNT / BLOCK_SLOTS;

/// An expiry, in the high 44 bits, with the first bits of the hash of a key that has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Mark(u64);

impl Mark {
    const HASH_BITS: u32 = 20;

    /// The first moment that no mark can tell: in the year 2527. What expires then or later is
    /// absent once it has expired, as always, but no sweep removes it.
    pub(crate) const HORIZON: Timestamp =
        Timestamp::from_millis((1 << (u64::BITS - Mark::HASH_BITS)) - 1);

    pub(crate) fn new(expires_at: Timestamp, hash: u64) -> Option<Mark> {
        let hash = hash >> (u64::BITS - Mark::HASH_BITS);
        (expires_at < Mark::HORIZON).then(|| Mark(expires_at.millis() << Mark::HASH_BITS | hash))
    }

    pub(crate) fn expires_at(self) -> Timestamp {
        Timestamp::from_millis(self.0 >> Mark::HASH_BITS)
    }

    /// The first and the last hash with the bits of this mark.
    pub(crate) fn hashes(self) -> (u64, u64) {
        let low = self.0 << (u64::BITS - Mark::HASH_BITS);
        (low, low | (u64::MAX >> Mark::HASH_BITS))
    }
}

/// The marks of one slot; without an allocation while there are none.
#[derive(Default)]
#[expect(
    clippy::box_collection,
    reason = "a slot without marks takes 8 bytes for them, not 24"
)]
pub(crate) struct Marks(Option<Box<BTreeSet<Mark>>>);

impl Marks {
    /// What a mark takes in the set's nodes, which hold 11 and are two thirds full as a rule.
    const MARK_BYTES: usize = 16;

    pub(crate) fn insert(&mut self, mark: Mark) {
        self.0.get_or_insert_default().insert(mark);
    }

    pub(crate) fn remove(&mut self, mark: Mark) {
        if let Some(marks) = &mut self.0 {
            marks.remove(&mark);
            if marks.is_empty() {
                self.0 = None;
            }
        }
    }

    pub(crate) fn first(&self) -> Option<Mark> {
        self.0.as_ref().and_then(|marks| marks.first().copied())
    }

    pub(crate) fn bytes(&self) -> usize {
        self.0.as_ref().map_or(0, |marks| {
            size_class(size_of::<BTreeSet<Mark>>()) + marks.len() * Marks::MARK_BYTES
        })
    }

    #[cfg(test)]
    pub(crate) fn iter(&self) -> impl Iterator<Item = Mark> {
        self.0.iter().flat_map(|marks| marks.iter().copied())
    }
}

/// The earliest expiry of each slot, each block and the whole of a database.
pub(crate) struct Due {
    earliest: u64,
    blocks: Vec<DueBlock>,
}

struct DueBlock {
    earliest: u64,
    slots: Option<Box<[u64; BLOCK_SLOTS]>>,
}

const NEVER: u64 = u64::MAX;

impl Default for Due {
    fn default() -> Due {
        Due {
            earliest: NEVER,
            blocks: Vec::new(),
        }
    }
}

impl Due {
    /// The earliest expiry, exactly.
    pub(crate) fn earliest(&self) -> Option<Timestamp> {
        (self.earliest != NEVER).then(|| Timestamp::from_millis(self.earliest))
    }

    /// The lowest slot that has the earliest expiry.
    pub(crate) fn first_slot(&self) -> Option<Slot> {
        if self.earliest == NEVER {
            return None;
        }
        let block = self
            .blocks
            .iter()
            .position(|block| block.earliest == self.earliest)?;
        let slots = self.blocks[block].slots.as_ref()?;
        let slot = slots.iter().position(|&due| due == self.earliest)?;
        Some(Slot::new((block * BLOCK_SLOTS + slot) as u16))
    }

    /// Sets the earliest expiry of a slot.
    pub(crate) fn set(&mut self, slot: Slot, due: Option<Timestamp>) {
        let due = due.map_or(NEVER, Timestamp::millis);
        if self.blocks.is_empty() {
            if due == NEVER {
                return;
            }
            self.blocks.resize_with(BLOCKS, || DueBlock {
                earliest: NEVER,
                slots: None,
            });
        }
        let block = &mut self.blocks[slot.index() / BLOCK_SLOTS];
        if block.slots.is_none() && due == NEVER {
            return;
        }
        let slots = block
            .slots
            .get_or_insert_with(|| Box::new([NEVER; BLOCK_SLOTS]));
        let old = std::mem::replace(&mut slots[slot.index() % BLOCK_SLOTS], due);
        if due == old {
            return;
        }
        let old_block = block.earliest;
        if due <= block.earliest {
            block.earliest = due;
        } else if old == block.earliest {
            block.earliest = least(slots.iter());
        }
        let block = block.earliest;
        if block <= self.earliest {
            self.earliest = block;
        } else if old_block == self.earliest && block != old_block {
            self.earliest = least(self.blocks.iter().map(|block| &block.earliest));
        }
    }

    pub(crate) fn bytes(&self) -> usize {
        let slots = self
            .blocks
            .iter()
            .filter(|block| block.slots.is_some())
            .count();
        size_class(self.blocks.capacity() * size_of::<DueBlock>())
            + slots * size_of::<[u64; BLOCK_SLOTS]>()
    }
}

fn least<'d>(due: impl Iterator<Item = &'d u64>) -> u64 {
    due.copied().min().unwrap_or(NEVER)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_knows_its_expiry_and_its_hashes() {
        let at = Timestamp::from_millis(1_700_000_000_123);
        let hash = 0x1234_5678_9abc_def0;
        let mark = Mark::new(at, hash).expect("the expiry is before the horizon");
        assert_eq!(mark.expires_at(), at);
        assert_eq!(
            mark.hashes(),
            (0x1234_5000_0000_0000, 0x1234_5fff_ffff_ffff)
        );
        assert_eq!(Mark::new(Mark::HORIZON, hash), None);
        assert!(Mark::new(Timestamp::from_millis(Mark::HORIZON.millis() - 1), hash).is_some());
    }

    #[test]
    fn the_earliest_is_exact_at_every_level() {
        let mut due = Due::default();
        let mut model = vec![NEVER; Slot::COUNT];
        let mut state = 1_u64;
        for _ in 0..20_000 {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(99);
            let slot = Slot::new((state >> 40) as u16 % 300 * 50);
            let at = (state >> 20) % 50;
            let at = (at > 10).then(|| Timestamp::from_millis(at));
            due.set(slot, at);
            model[slot.index()] = at.map_or(NEVER, Timestamp::millis);
            let least = *model.iter().min().expect("there are slots");
            assert_eq!(due.earliest().map_or(NEVER, Timestamp::millis), least);
            let first = model.iter().position(|&at| at == least && least != NEVER);
            assert_eq!(due.first_slot().map(Slot::index), first);
        }
    }
}
