//! Large hashes and sets: a table of elements in hash order.
//!
//! The order is that of (hash, key), a function of the content alone, as in the tables of the keyspace:
//! SCAN cursors are positions in it and whatever picks at random picks by number in it. The parts of the table
//! are shared with snapshots and copies, so that a clone costs no more than counting the parts, and
//! the first change after it copies one part.

use crate::hasher::Hasher;
use crate::member::Member;
use crate::places::{Placed, Shared};
use crate::table::Table;

/// A cursor of HSCAN and its kin is this many of the first bits of a hash: some clients keep cursors
/// in a double.
const CURSOR_BITS: u32 = 53;

/// See the module.
#[derive(Clone, Default)]
pub(crate) struct Members {
    table: Table<Shared<Member>>,
    /// The memory of the elements.
    bytes: usize,
}

impl Members {
    pub(crate) fn len(&self) -> usize {
        self.table.len()
    }

    pub(crate) fn memory_bytes(&self) -> usize {
        self.table.bytes() + self.bytes
    }

    pub(crate) fn get(&self, hasher: Hasher, key: &[u8]) -> Option<&Member> {
        let spot = self.table.find(hasher, hasher.hash(key), key).ok()?;
        Some(self.table.item(spot))
    }

    /// Gives a key this value; true if the key is new.
    pub(crate) fn insert(&mut self, hasher: Hasher, key: &[u8], value: &[u8]) -> bool {
        let hash = hasher.hash(key);
        match self.table.find(hasher, hash, key) {
            Ok(spot) => {
                let member = self.table.item_mut(spot);
                let old = member.allocated_bytes();
                member.set_value(value);
                let new = member.allocated_bytes();
                self.bytes = self.bytes + new - old;
                false
            }
            Err(spot) => {
                let member = Member::new(key, value);
                self.bytes += member.allocated_bytes();
                self.table.insert(hasher, hash, spot, member);
                true
            }
        }
    }

    /// Takes out a key; none if it is absent.
    pub(crate) fn remove(&mut self, hasher: Hasher, key: &[u8]) -> Option<Member> {
        let hash = hasher.hash(key);
        let spot = self.table.find(hasher, hash, key).ok()?;
        let member = self.table.remove(spot, hash);
        self.bytes -= member.allocated_bytes();
        Some(member)
    }

    /// Makes room for that many elements in all, as far as one part takes them.
    pub(crate) fn reserve(&mut self, len: usize) {
        self.table.reserve(len);
    }

    /// All elements in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Member> {
        self.table.iter()
    }

    /// The element with that number in the order.
    pub(crate) fn nth(&self, index: usize) -> Option<&Member> {
        self.table.nth(index)
    }

    /// The elements from a place on, with the place of each. A place means something until the next change.
    pub(crate) fn iter_from(
        &self,
        place: (usize, usize),
    ) -> impl Iterator<Item = ((usize, usize), &Member)> {
        self.table.iter_from(place)
    }

    /// Visits about `count` elements from a cursor on, and gives the cursor to go on from; 0 stands for
    /// the start and for the end. Elements that were there from the first call to the last are visited exactly
    /// once.
    pub(crate) fn scan<'s>(
        &'s self,
        hasher: Hasher,
        cursor: u64,
        count: usize,
        visit: &mut dyn FnMut(&'s Member),
    ) -> u64 {
        scan_table(&self.table, hasher, cursor, count, visit)
    }

    #[cfg(test)]
    pub(crate) fn check(&self, hasher: Hasher) {
        self.table.check(hasher);
        let bytes = self.iter().map(Member::allocated_bytes).sum::<usize>();
        assert_eq!(bytes, self.bytes);
    }
}

/// [`Members::scan`] over any table of elements.
pub(crate) fn scan_table<'s, T: Placed + Clone>(
    table: &'s Table<Shared<T>>,
    hasher: Hasher,
    cursor: u64,
    count: usize,
    visit: &mut dyn FnMut(&'s T),
) -> u64 {
    if cursor >> CURSOR_BITS != 0 {
        return 0;
    }
    let low = cursor << (u64::BITS - CURSOR_BITS);
    let (mut work, mut last) = (0, None);
    for (_, element) in table.range(hasher, low, u64::MAX) {
        let position = hasher.hash(element.key()) >> (u64::BITS - CURSOR_BITS);
        // Elements that share a position share a call, or a cursor could not tell them apart.
        if work >= count.max(1) && last != Some(position) {
            return position;
        }
        work += 1;
        last = Some(position);
        visit(element);
    }
    0
}
