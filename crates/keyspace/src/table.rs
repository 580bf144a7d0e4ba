//! A table: extendible hashing over ordered subtables. One holds the entries of a slot and database;
//! another the elements of a large hash or set.
//!
//! A subtable that reaches [`SPLIT_AT`] entries is parted by the next bit of the hash, so that no
//! change of size ever moves more than that many, even where one hash tag holds millions of keys.
//! The directory maps the first bits of a hash to its subtable; the subtables stand in the order of
//! their prefixes, so that a walk over all of them is in the order of (hash, key). That order is
//! the same whatever the table went through. An empty table has no allocation.

#[cfg(test)]
mod tests;

use std::iter;

use crate::hasher::Hasher;
use crate::memory::size_class;
use crate::places::{Placed, Places};
use crate::subtable::Subtable;

/// A subtable of this many entries is parted before it takes another.
pub(crate) const SPLIT_AT: usize = 4096;

/// Two subtables with a common prefix are joined when they have this many entries together.
const MERGE_AT: usize = SPLIT_AT / 4;

/// The directory has at most this many prefixes for each subtable. With hashes that are not
/// forged, it never comes near; with forged ones, subtables grow instead.
const PREFIXES_PER_SUBTABLE: usize = 16;

/// The tag needs 16 bits after those of the prefix.
const MAX_DEPTH: u32 = 32;

/// See the module.
#[derive(Clone)]
pub(crate) enum Table<P> {
    One(Subtable<P>),
    Many(Box<Directory<P>>),
}

// Together with the index of expiries, a slot takes 32 bytes.
const _: () = assert!(size_of::<Table<Box<[u64]>>>() == 24);

/// The subtables of a large table.
#[derive(Clone)]
pub(crate) struct Directory<P> {
    depth: u32,
    /// For each prefix of `depth` bits, the number of its subtable.
    index: Vec<u32>,
    /// In the order of their prefixes.
    parts: Vec<Subtable<P>>,
    len: usize,
    /// The memory of the subtables.
    bytes: usize,
}

/// Where an entry is, or would be inserted; valid until the table changes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Spot {
    part: u32,
    at: u32,
}

impl Spot {
    fn new(part: usize, at: usize) -> Spot {
        // Both are far below 2^32: a table of that many places would take 32 GiB.
        Spot {
            part: part as u32,
            at: at as u32,
        }
    }
}

impl<P: Default> Default for Table<P> {
    fn default() -> Table<P> {
        Table::One(Subtable::default())
    }
}

impl<P: Places> Table<P> {
    pub(crate) fn len(&self) -> usize {
        match self {
            Table::One(part) => part.len(),
            Table::Many(directory) => directory.len,
        }
    }

    /// The memory of the table without its entries.
    pub(crate) fn bytes(&self) -> usize {
        match self {
            Table::One(part) => part.bytes(),
            Table::Many(directory) => {
                directory.bytes
                    + size_class(size_of::<Directory<P>>())
                    + size_class(directory.index.capacity() * size_of::<u32>())
                    + size_class(directory.parts.capacity() * size_of::<Subtable<P>>())
            }
        }
    }

    fn parts(&self) -> &[Subtable<P>] {
        match self {
            Table::One(part) => std::slice::from_ref(part),
            Table::Many(directory) => &directory.parts,
        }
    }

    fn part_of(&self, hash: u64) -> usize {
        match self {
            Table::One(_) => 0,
            Table::Many(directory) => directory.part_of(hash),
        }
    }

    fn part_mut(&mut self, part: u32) -> &mut Subtable<P> {
        match self {
            Table::One(only) => only,
            Table::Many(directory) => &mut directory.parts[part as usize],
        }
    }

    /// Changes one subtable and keeps the sums.
    fn change<R>(&mut self, part: u32, change: impl FnOnce(&mut Subtable<P>) -> R) -> R {
        match self {
            Table::One(only) => change(only),
            Table::Many(directory) => {
                let part = &mut directory.parts[part as usize];
                let (bytes, len) = (part.bytes(), part.len());
                let result = change(part);
                directory.bytes = directory.bytes - bytes + part.bytes();
                directory.len = directory.len - len + part.len();
                result
            }
        }
    }

    /// Where a key is, or else where it would be inserted.
    pub(crate) fn find(&self, hasher: Hasher, hash: u64, key: &[u8]) -> Result<Spot, Spot> {
        let part = self.part_of(hash);
        match self.parts()[part].search(hasher, hash, key) {
            Ok(at) => Ok(Spot::new(part, at)),
            Err(at) => Err(Spot::new(part, at)),
        }
    }

    /// Asks for the memory that a search for this hash begins with.
    pub(crate) fn prefetch_home(&self, hash: u64) {
        self.parts()[self.part_of(hash)].prefetch_home(hash);
    }

    /// The first item that may be the one of this hash.
    pub(crate) fn candidate(&self, hash: u64) -> Option<&P::Item> {
        self.parts()[self.part_of(hash)].candidate(hash)
    }

    pub(crate) fn item(&self, spot: Spot) -> &P::Item {
        self.parts()[spot.part as usize].item(spot.at as usize)
    }

    pub(crate) fn item_mut(&mut self, spot: Spot) -> &mut P::Item {
        self.part_mut(spot.part).item_mut(spot.at as usize)
    }

    /// Puts an absent key at the spot that [`Table::find`] gave for it.
    pub(crate) fn insert(&mut self, hasher: Hasher, hash: u64, spot: Spot, item: P::Item) {
        let mut spot = spot;
        while self.parts()[spot.part as usize].len() >= SPLIT_AT && self.split(hasher, hash) {
            spot = self
                .find(hasher, hash, item.key())
                .expect_err("the key that is inserted is absent");
        }
        self.change(spot.part, |part| {
            part.insert(hasher, hash, spot.at as usize, item)
        });
    }

    /// Takes out an entry, whose hash the caller knows.
    pub(crate) fn remove(&mut self, spot: Spot, hash: u64) -> P::Item {
        let item = self.change(spot.part, |part| {
            let item = part.remove(spot.at as usize);
            part.shrink_if_sparse();
            item
        });
        self.merge(hash);
        item
    }

    /// All that stood in the table, in order.
    pub(crate) fn into_items(self) -> impl Iterator<Item = P::Item> {
        let parts = match self {
            Table::One(part) => vec![part],
            Table::Many(directory) => directory.parts,
        };
        parts.into_iter().flat_map(Subtable::into_items)
    }

    /// Takes out the last subtable of a table that will not be searched any more.
    pub(crate) fn pop_part(&mut self) -> Subtable<P> {
        match self {
            Table::One(part) => std::mem::take(part),
            Table::Many(directory) => {
                let part = directory.parts.pop().unwrap_or_default();
                directory.bytes -= part.bytes();
                directory.len -= part.len();
                part
            }
        }
    }

    /// Makes room for that many entries in all, as far as one subtable takes them.
    pub(crate) fn reserve(&mut self, len: usize) {
        if let Table::One(part) = self {
            part.reserve(len.min(SPLIT_AT));
        }
    }

    /// Parts the subtable of a hash; false if that may not be.
    fn split(&mut self, hasher: Hasher, hash: u64) -> bool {
        if let Table::One(part) = self {
            let part = std::mem::take(part);
            let (bytes, len) = (part.bytes(), part.len());
            *self = Table::Many(Box::new(Directory {
                depth: 0,
                index: vec![0],
                parts: vec![part],
                len,
                bytes,
            }));
        }
        let Table::Many(directory) = self else {
            unreachable!("it was made so above")
        };
        directory.split(hasher, hash)
    }

    /// Joins the subtable of a hash with its other half while both are small.
    fn merge(&mut self, hash: u64) {
        let Table::Many(directory) = self else { return };
        while directory.merge(hash) {}
        if directory.depth == 0 {
            let part = directory.parts.pop().expect("a directory has a subtable");
            *self = Table::One(part);
        }
    }

    /// What has hashes from `low` to `high`, and where they are, in the order of (hash, key).
    pub(crate) fn range(
        &self,
        hasher: Hasher,
        low: u64,
        high: u64,
    ) -> impl Iterator<Item = (Spot, &P::Item)> {
        let (first, last) = (self.part_of(low), self.part_of(high));
        let parts = self.parts()[first..=last].iter().enumerate();
        parts.flat_map(move |(offset, part)| {
            let number = first + offset;
            let low_tag = if number == first { part.tag(low) } else { 0 };
            let high_tag = if number == last {
                part.tag(high)
            } else {
                u16::MAX
            };
            part.tagged(low_tag, high_tag)
                .filter_map(move |(at, item)| {
                    // Only next to the bounds do the 16 bits of the tag not decide.
                    let within = (low_tag < item.tag() && item.tag() < high_tag)
                        || (low..=high).contains(&hasher.hash(item.key()));
                    within.then_some((Spot::new(number, at), item))
                })
        })
    }

    /// All entries in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &P::Item> {
        self.parts()
            .iter()
            .flat_map(|part| part.tagged(0, u16::MAX))
            .map(|(_, item)| item)
    }

    /// What stands at a place and after it, with the places: those of part and offset.
    pub(crate) fn iter_from(
        &self,
        (part, at): (usize, usize),
    ) -> impl Iterator<Item = ((usize, usize), &P::Item)> {
        let parts = self.parts().iter().enumerate().skip(part);
        parts.flat_map(move |(number, subtable)| {
            let from = if number == part { at } else { 0 };
            subtable
                .iter_from(from)
                .map(move |(at, item)| ((number, at), item))
        })
    }

    /// The entry with that number in the order.
    pub(crate) fn nth(&self, index: usize) -> Option<&P::Item> {
        let mut index = index;
        for part in self.parts() {
            if index < part.len() {
                return part.nth(index).map(|(_, item)| item);
            }
            index -= part.len();
        }
        None
    }

    /// Asserts what the module states.
    #[cfg(test)]
    pub(crate) fn check(&self, hasher: Hasher) {
        for part in self.parts() {
            part.check(hasher);
        }
        let Table::Many(directory) = self else { return };
        assert_eq!(
            directory.len,
            directory.parts.iter().map(Subtable::len).sum::<usize>()
        );
        assert_eq!(
            directory.bytes,
            directory.parts.iter().map(Subtable::bytes).sum::<usize>()
        );
        assert_eq!(directory.index.len(), 1 << directory.depth);
        assert!(
            directory
                .parts
                .iter()
                .any(|part| part.depth() == directory.depth)
        );
        let mut prefixes = 0;
        for (number, part) in directory.parts.iter().enumerate() {
            let span = 1 << (directory.depth - part.depth());
            assert!(
                directory.index[prefixes..prefixes + span]
                    .iter()
                    .all(|&i| i as usize == number)
            );
            for (_, item) in part.tagged(0, u16::MAX) {
                let hash = hasher.hash(item.key());
                assert_eq!(
                    directory.part_of(hash),
                    number,
                    "an entry is in the part of its hash"
                );
            }
            prefixes += span;
        }
        assert_eq!(prefixes, directory.index.len());
    }
}

impl<P: Places> Directory<P> {
    fn part_of(&self, hash: u64) -> usize {
        // In two steps, for a shift by 64 is none.
        let prefix = (hash >> 1) >> (63 - self.depth);
        self.index[prefix as usize] as usize
    }

    fn split(&mut self, hasher: Hasher, hash: u64) -> bool {
        let number = self.part_of(hash);
        let depth = self.parts[number].depth();
        let room = self.parts.len() * PREFIXES_PER_SUBTABLE;
        if depth == MAX_DEPTH || (depth == self.depth && self.index.len() >= room) {
            return false;
        }
        let part = std::mem::take(&mut self.parts[number]);
        self.bytes -= part.bytes();
        let (left, right) = part.split(hasher);
        self.bytes += left.bytes() + right.bytes();
        self.parts[number] = left;
        self.parts.insert(number + 1, right);
        self.reindex();
        true
    }

    fn merge(&mut self, hash: u64) -> bool {
        let number = self.part_of(hash);
        let part = &self.parts[number];
        if part.depth() == 0 || part.len() > MERGE_AT {
            return false;
        }
        let is_right = (hash >> (64 - part.depth())) & 1 == 1;
        let left = if is_right { number - 1 } else { number };
        let joined = self.parts[left].len() + self.parts[left + 1].len();
        if self.parts[left].depth() != self.parts[left + 1].depth() || joined > MERGE_AT {
            return false;
        }
        let right = self.parts.remove(left + 1);
        let left_part = std::mem::take(&mut self.parts[left]);
        self.bytes -= left_part.bytes() + right.bytes();
        self.parts[left] = Subtable::merge(left_part, right);
        self.bytes += self.parts[left].bytes();
        self.reindex();
        true
    }

    /// Makes the directory anew from the subtables.
    fn reindex(&mut self) {
        self.depth = self
            .parts
            .iter()
            .map(Subtable::depth)
            .max()
            .expect("there is a subtable");
        self.index.clear();
        for (number, part) in self.parts.iter().enumerate() {
            self.index.extend(iter::repeat_n(
                number as u32,
                1 << (self.depth - part.depth()),
            ));
        }
    }
}
