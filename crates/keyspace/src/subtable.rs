//! A table of up to some thousand entries, in hash order.
//!
//! Open addressing without wrapping: an item with tag `t` stands at its home, `t * homes >> 16`, or
//! after it, with no empty place between, and all items stand in the order of (hash, key). So an
//! unsuccessful search ends at the first greater tag, a walk in memory order is a walk in hash
//! order, and the order says nothing of the table's past. Some places after the last home take
//! those that the homes at the end displace.

use std::cmp::Ordering;
use std::mem;

use crate::hasher::Hasher;
use crate::memory::size_class;
use crate::places::{Placed, Places};
use crate::prefetch::prefetch;

/// A run of places in hash order; see the module.
#[derive(Clone, Default)]
pub(crate) struct Subtable<P> {
    items: P,
    len: u32,
    /// How many of the hash's first bits all entries share; the tag is the 16 bits after them.
    depth: u32,
}

/// Up to this many places stand in one cache line: all have the first place as their home, and all
/// may be taken.
const DENSE: usize = 8;

/// So many places are counted together.
const COUNTED_AT_ONCE: usize = 64;

/// A place is one word.
const PLACE_BYTES: usize = 8;

fn homes(total: usize) -> usize {
    if total <= DENSE {
        1
    } else {
        total - (total / 16).clamp(2, 24)
    }
}

/// How many entries that many places take.
fn limit(total: usize) -> usize {
    if total <= DENSE {
        total
    } else {
        total - total / 8
    }
}

/// The next larger number of places whose memory the allocator has a size class for.
fn next_total(total: usize) -> usize {
    size_class(total * PLACE_BYTES + 1) / PLACE_BYTES
}

/// The least number of places for that many entries.
fn total_for(len: usize) -> usize {
    let mut total = size_class(len * PLACE_BYTES) / PLACE_BYTES;
    while limit(total) < len {
        total = next_total(total);
    }
    total
}

impl<P: Places> Subtable<P> {
    pub(crate) fn len(&self) -> usize {
        self.len as usize
    }

    pub(crate) fn depth(&self) -> u32 {
        self.depth
    }

    /// The memory of the places.
    pub(crate) fn bytes(&self) -> usize {
        self.items.bytes()
    }

    /// The 16 bits of a hash by which this table is ordered first.
    pub(crate) fn tag(&self, hash: u64) -> u16 {
        ((hash << self.depth) >> 48) as u16
    }

    fn home(&self, tag: u16) -> usize {
        (usize::from(tag) * homes(self.items.len())) >> 16
    }

    pub(crate) fn item(&self, at: usize) -> &P::Item {
        &self.items[at]
    }

    pub(crate) fn item_mut(&mut self, at: usize) -> &mut P::Item {
        &mut self.items.own()[at]
    }

    /// Asks for the memory that a search for this hash begins with.
    pub(crate) fn prefetch_home(&self, hash: u64) {
        if let Some(item) = self.items.get(self.home(self.tag(hash))) {
            prefetch(item);
        }
    }

    /// The first item whose tag is that of this hash.
    pub(crate) fn candidate(&self, hash: u64) -> Option<&P::Item> {
        let tag = self.tag(hash);
        let mut items = self.items.get(self.home(tag)..)?.iter();
        items
            .find(|item| item.is_empty() || item.tag() >= tag)
            .filter(|item| item.tag() == tag)
    }

    /// Where a key is, or else where it would be inserted.
    pub(crate) fn search(&self, hasher: Hasher, hash: u64, key: &[u8]) -> Result<usize, usize> {
        let tag = self.tag(hash);
        let home = self.home(tag);
        for (offset, item) in self.items[home..].iter().enumerate() {
            if item.is_empty() {
                return Err(home + offset);
            }
            match item.tag().cmp(&tag) {
                Ordering::Less => {}
                Ordering::Greater => return Err(home + offset),
                Ordering::Equal => {
                    let found = item.key();
                    if found == key {
                        return Ok(home + offset);
                    }
                    if (hasher.hash(found), found) > (hash, key) {
                        return Err(home + offset);
                    }
                }
            }
        }
        Err(self.items.len())
    }

    /// Puts an absent key at the place that [`Subtable::search`] gave for it; where it is now.
    pub(crate) fn insert(
        &mut self,
        hasher: Hasher,
        hash: u64,
        at: usize,
        mut item: P::Item,
    ) -> usize {
        item.set_tag(self.tag(hash));
        let mut at = at;
        let gap = loop {
            if self.len() < limit(self.items.len())
                && let Some(offset) = self.items[at..].iter().position(P::Item::is_empty)
            {
                break at + offset;
            }
            self.rebuild(next_total(self.items.len()));
            at = self
                .search(hasher, hash, item.key())
                .expect_err("the key that is inserted is absent");
        };
        let items = self.items.own();
        items[at..=gap].rotate_right(1);
        items[at] = item;
        self.len += 1;
        at
    }

    /// Takes out the entry at a place; those after it close up.
    pub(crate) fn remove(&mut self, at: usize) -> P::Item {
        let homes = homes(self.items.len());
        let displaced = self.items[at + 1..]
            .iter()
            .enumerate()
            .take_while(|(offset, item)| {
                !item.is_empty() && (usize::from(item.tag()) * homes) >> 16 <= at + offset
            })
            .count();
        let items = self.items.own();
        items[at..=at + displaced].rotate_left(1);
        self.len -= 1;
        mem::replace(&mut items[at + displaced], P::Item::EMPTY)
    }

    /// Gives memory back when most places are empty.
    pub(crate) fn shrink_if_sparse(&mut self) {
        if self.len == 0 {
            self.items = P::default();
        } else if self.len() * 5 < self.items.len() * 2 && self.items.len() > 2 {
            self.rebuild(total_for(self.len() + self.len() / 4));
        }
    }

    /// All that stood in the table, in order.
    pub(crate) fn into_items(self) -> impl Iterator<Item = P::Item> {
        let items = self.items.into_items().into_iter();
        items.filter(|item| !item.is_empty())
    }

    /// Makes room for that many entries in all.
    pub(crate) fn reserve(&mut self, len: usize) {
        if limit(self.items.len()) < len {
            self.rebuild(total_for(len));
        }
    }

    /// Moves all items to a table of at least `total` places.
    fn rebuild(&mut self, total: usize) {
        let tags = || {
            self.items
                .iter()
                .filter(|item| !item.is_empty())
                .map(P::Item::tag)
        };
        let total = total_that_fits(total, tags);
        self.items = placed(total, mem::take(&mut self.items).into_items());
    }

    /// A table of items that are in order and tagged for `depth`.
    fn from_sorted(depth: u32, items: Vec<P::Item>) -> Subtable<P> {
        let total = total_for(items.len() + items.len() / 8);
        let total = total_that_fits(total, || items.iter().map(P::Item::tag));
        let len = u32::try_from(items.len()).expect("a subtable has fewer than 2^32 entries");
        Subtable {
            items: placed(total, items),
            len,
            depth,
        }
    }

    /// Parts the entries by the first bit of the hash that they do not all share.
    pub(crate) fn split(self, hasher: Hasher) -> (Subtable<P>, Subtable<P>) {
        let depth = self.depth + 1;
        let mut halves = [Vec::new(), Vec::new()];
        for mut item in self
            .items
            .into_items()
            .into_iter()
            .filter(|item| !item.is_empty())
        {
            let half = usize::from(item.tag() >> 15);
            item.set_tag(((hasher.hash(item.key()) << depth) >> 48) as u16);
            halves[half].push(item);
        }
        let [left, right] = halves;
        (
            Subtable::from_sorted(depth, left),
            Subtable::from_sorted(depth, right),
        )
    }

    /// Undoes a split.
    pub(crate) fn merge(left: Subtable<P>, right: Subtable<P>) -> Subtable<P> {
        let depth = left.depth - 1;
        let mut items = Vec::with_capacity(left.len() + right.len());
        for (half, table) in [(0, left), (1 << 15, right)] {
            for mut item in table
                .items
                .into_items()
                .into_iter()
                .filter(|item| !item.is_empty())
            {
                item.set_tag(half | item.tag() >> 1);
                items.push(item);
            }
        }
        Subtable::from_sorted(depth, items)
    }

    /// The entries with tags from `low` to `high`, and where they are, in order.
    pub(crate) fn tagged(&self, low: u16, high: u16) -> impl Iterator<Item = (usize, &P::Item)> {
        let home = self.home(low);
        let rest = self.items[home..].iter().enumerate();
        rest.filter(|(_, item)| !item.is_empty())
            .skip_while(move |(_, item)| item.tag() < low)
            .take_while(move |(_, item)| item.tag() <= high)
            .map(move |(offset, item)| (home + offset, item))
    }

    /// What stands at a place and after it, and where it is.
    pub(crate) fn iter_from(&self, at: usize) -> impl Iterator<Item = (usize, &P::Item)> {
        let items = self.items.iter().enumerate().skip(at);
        items.filter(|(_, item)| !item.is_empty())
    }

    /// The entry with that number in the order.
    pub(crate) fn nth(&self, index: usize) -> Option<(usize, &P::Item)> {
        let (mut index, mut start) = (index, 0);
        // Counting a whole run has no branches, so most of the way is short.
        for run in self.items.chunks(COUNTED_AT_ONCE) {
            let occupied = run.iter().filter(|item| !item.is_empty()).count();
            if index < occupied {
                break;
            }
            index -= occupied;
            start += run.len();
        }
        self.iter_from(start).nth(index)
    }

    /// Asserts what the module states.
    #[cfg(test)]
    pub(crate) fn check(&self, hasher: Hasher) {
        let mut len = 0;
        let mut last: Option<(u64, Vec<u8>)> = None;
        for (at, item) in self.items.iter().enumerate() {
            if item.is_empty() {
                continue;
            }
            len += 1;
            let key = item.key();
            let hash = hasher.hash(key);
            assert_eq!(item.tag(), self.tag(hash), "the tag is that of the hash");
            let home = self.home(item.tag());
            assert!(home <= at, "an item never stands before its home");
            assert!(
                self.items[home..at].iter().all(|item| !item.is_empty()),
                "no gap after home"
            );
            let this = (hash, key.to_vec());
            assert!(
                last.as_ref().is_none_or(|last| *last < this),
                "items are in hash order"
            );
            last = Some(this);
        }
        assert_eq!(len, self.len());
        assert!(len <= limit(self.items.len()));
    }
}

/// The least number of places from `total` on in which items with these tags find room.
fn total_that_fits<T: Iterator<Item = u16>>(mut total: usize, tags: impl Fn() -> T) -> usize {
    loop {
        let homes = homes(total);
        let end = tags().fold(0, |next, tag| {
            next.max((usize::from(tag) * homes) >> 16) + 1
        });
        if end <= total {
            return total;
        }
        total = next_total(total);
    }
}

/// Puts items that are in order at their places among `total`.
fn placed<P: Places>(total: usize, items: Vec<P::Item>) -> P {
    let mut places: Vec<P::Item> = Vec::new();
    places.resize_with(total, || P::Item::EMPTY);
    let homes = homes(total);
    let mut next = 0;
    for item in items.into_iter().filter(|item| !item.is_empty()) {
        let at = next.max((usize::from(item.tag()) * homes) >> 16);
        places[at] = item;
        next = at + 1;
    }
    P::of(places)
}
