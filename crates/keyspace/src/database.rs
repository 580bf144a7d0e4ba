//! One database: a table for each slot, and the sums over them.
//!
//! Each database has tables of its own, so that flushing one is a move of 128 pointers whatever the
//! others hold, walks meet no strangers, and the number need not stand in each entry.

use base::{Slot, Timestamp};

use crate::entry::{Entry, Item};
use crate::expiry::{BLOCK_SLOTS, BLOCKS, Due, Mark, Marks};
use crate::hasher::{Hasher, Place};
use crate::memory::size_class;
use crate::table::{SPLIT_AT, Spot, Table};

/// See the module. A database that was never used takes no allocation.
#[derive(Default)]
pub(crate) struct Database {
    blocks: Vec<Option<Box<Block>>>,
    due: Due,
    keys: usize,
    expiring: usize,
    /// The memory of entries, tables and marks.
    memory: usize,
}

struct Block {
    keys: usize,
    slots: [SlotTable; BLOCK_SLOTS],
}

/// What one slot of a database holds.
#[derive(Default)]
pub(crate) struct SlotTable {
    pub(crate) table: Table<Box<[Item]>>,
    marks: Marks,
}

const _: () = assert!(size_of::<SlotTable>() == 32);

impl SlotTable {
    fn bytes(&self) -> usize {
        self.table.bytes() + self.marks.bytes()
    }
}

impl Database {
    pub(crate) fn len(&self) -> usize {
        self.keys
    }

    pub(crate) fn expiring_len(&self) -> usize {
        self.expiring
    }

    pub(crate) fn memory_used(&self) -> usize {
        let blocks = self.blocks.iter().filter(|block| block.is_some()).count();
        self.memory
            + self.due.bytes()
            + size_class(self.blocks.capacity() * size_of::<Option<Box<Block>>>())
            + blocks * size_class(size_of::<Block>())
    }

    /// The earliest expiry, exactly.
    pub(crate) fn earliest(&self) -> Option<Timestamp> {
        self.due.earliest()
    }

    /// The lowest slot that has the earliest expiry.
    pub(crate) fn earliest_slot(&self) -> Option<Slot> {
        self.due.first_slot()
    }

    pub(crate) fn slot(&self, slot: Slot) -> Option<&SlotTable> {
        let block = self.blocks.get(slot.index() / BLOCK_SLOTS)?.as_ref()?;
        Some(&block.slots[slot.index() % BLOCK_SLOTS])
    }

    fn block_mut(&mut self, slot: Slot) -> &mut Block {
        if self.blocks.is_empty() {
            self.blocks.resize_with(BLOCKS, || None);
        }
        self.blocks[slot.index() / BLOCK_SLOTS].get_or_insert_with(|| {
            Box::new(Block {
                keys: 0,
                slots: std::array::from_fn(|_| SlotTable::default()),
            })
        })
    }

    fn slot_mut(&mut self, slot: Slot) -> &mut SlotTable {
        &mut self.block_mut(slot).slots[slot.index() % BLOCK_SLOTS]
    }

    /// The slots from that number on that hold something, ascending.
    pub(crate) fn slots_from(&self, from: usize) -> impl Iterator<Item = (Slot, &SlotTable)> {
        let first = from / BLOCK_SLOTS;
        let blocks = self.blocks.iter().enumerate().skip(first);
        blocks
            .filter_map(|(number, block)| Some((number, block.as_ref()?)))
            .filter(|(_, block)| block.keys > 0)
            .flat_map(move |(number, block)| {
                let skipped = if number == first {
                    from % BLOCK_SLOTS
                } else {
                    0
                };
                let slots = block.slots.iter().enumerate().skip(skipped);
                slots.map(move |(slot, table)| (number * BLOCK_SLOTS + slot, table))
            })
            .filter(|(_, table)| table.table.len() > 0)
            .map(|(slot, table)| (Slot::new(slot as u16), table))
    }

    /// Where a key is, or else where it would be inserted.
    pub(crate) fn find(&self, hasher: Hasher, place: Place, key: &[u8]) -> Result<Spot, Spot> {
        match self.slot(place.slot) {
            Some(slot) => slot.table.find(hasher, place.hash, key),
            None => Err(Spot::default()),
        }
    }

    pub(crate) fn get(&self, hasher: Hasher, place: Place, key: &[u8]) -> Option<Entry<'_>> {
        let slot = self.slot(place.slot)?;
        let spot = slot.table.find(hasher, place.hash, key).ok()?;
        slot.table.item(spot).entry()
    }

    /// The item at a spot that [`Database::find`] gave.
    pub(crate) fn item(&self, place: Place, spot: Spot) -> &Item {
        self.slot(place.slot)
            .expect("the slot of an entry is there")
            .table
            .item(spot)
    }

    /// Puts an absent key at the spot that [`Database::find`] gave for it.
    pub(crate) fn insert(&mut self, hasher: Hasher, place: Place, spot: Spot, item: Item) {
        let entry = item.occupied();
        let (bytes, expires_at) = (entry.allocated_bytes(), entry.expires_at());
        let block = self.block_mut(place.slot);
        block.keys += 1;
        let slot = &mut block.slots[place.slot.index() % BLOCK_SLOTS];
        let table_bytes = slot.table.bytes();
        slot.table.insert(hasher, place.hash, spot, item);
        let added = bytes + slot.table.bytes();
        self.memory = self.memory + added - table_bytes;
        self.keys += 1;
        self.expiry_changed(hasher, place, None, expires_at);
    }

    /// Takes out an entry.
    pub(crate) fn remove(&mut self, hasher: Hasher, place: Place, spot: Spot) -> Item {
        let block = self.block_mut(place.slot);
        block.keys -= 1;
        let slot = &mut block.slots[place.slot.index() % BLOCK_SLOTS];
        let table_bytes = slot.table.bytes();
        let item = slot.table.remove(spot, place.hash);
        let entry = item.occupied();
        let kept = slot.table.bytes();
        self.memory = self.memory + kept - table_bytes - entry.allocated_bytes();
        self.keys -= 1;
        self.expiry_changed(hasher, place, entry.expires_at(), None);
        item
    }

    /// Changes an item and keeps sums and marks; the key stays.
    pub(crate) fn update<R>(
        &mut self,
        hasher: Hasher,
        place: Place,
        spot: Spot,
        change: impl FnOnce(&mut Item) -> R,
    ) -> R {
        let item = self.slot_mut(place.slot).table.item_mut(spot);
        let entry = item.occupied();
        let (old_bytes, old_expiry) = (entry.allocated_bytes(), entry.expires_at());
        let result = change(item);
        let entry = item.occupied();
        let (bytes, expiry) = (entry.allocated_bytes(), entry.expires_at());
        self.memory = self.memory + bytes - old_bytes;
        self.expiry_changed(hasher, place, old_expiry, expiry);
        result
    }

    /// Brings count, marks and minima in line after the expiry of an entry has changed.
    fn expiry_changed(
        &mut self,
        hasher: Hasher,
        place: Place,
        old: Option<Timestamp>,
        new: Option<Timestamp>,
    ) {
        if old == new {
            return;
        }
        self.expiring = self.expiring + usize::from(new.is_some()) - usize::from(old.is_some());
        let slot = self.slot_mut(place.slot);
        let bytes = slot.marks.bytes();
        if let Some(mark) = old.and_then(|at| Mark::new(at, place.hash)) {
            // Another entry may have the same mark; then it stays.
            if slot.marked(hasher, mark).is_none() {
                slot.marks.remove(mark);
            }
        }
        if let Some(mark) = new.and_then(|at| Mark::new(at, place.hash)) {
            slot.marks.insert(mark);
        }
        let (kept, first) = (slot.marks.bytes(), slot.marks.first());
        self.memory = self.memory + kept - bytes;
        self.due.set(place.slot, first.map(Mark::expires_at));
    }

    /// Takes out the entry of a slot that expires first; of those that expire together, the one with the least
    /// (hash, key).
    pub(crate) fn remove_earliest(&mut self, hasher: Hasher, slot: Slot) -> Option<Item> {
        let table = self.slot(slot)?;
        let (spot, entry) = table.marked(hasher, table.marks.first()?)?;
        let place = Place {
            slot,
            hash: hasher.hash(entry.key()),
        };
        Some(self.remove(hasher, place, spot))
    }

    /// Frees a whole slot, but for large values, which go to `large`.
    pub(crate) fn free_slot(&mut self, slot: Slot, large: &mut Vec<Item>) {
        let items = self.take_slot(slot).table.into_items();
        large.extend(items.filter(|item| item.occupied().is_large()));
    }

    /// Takes out a whole slot.
    fn take_slot(&mut self, slot: Slot) -> SlotTable {
        if self.slot(slot).is_none_or(|slot| slot.table.len() == 0) {
            return SlotTable::default();
        }
        let taken = std::mem::take(self.slot_mut(slot));
        let entries = taken.table.iter().map(Item::occupied);
        let (bytes, expiring) = entries.fold((taken.bytes(), 0), |(bytes, expiring), entry| {
            let expires = usize::from(entry.expires_at().is_some());
            (bytes + entry.allocated_bytes(), expiring + expires)
        });
        self.memory -= bytes;
        self.expiring -= expiring;
        self.keys -= taken.table.len();
        self.block_mut(slot).keys -= taken.table.len();
        self.due.set(slot, None);
        taken
    }

    /// Frees some entries, at most about [`SPLIT_AT`] of them, but for large values, which go to `large`; false when
    /// there are none. Only for a database that is not searched any more.
    pub(crate) fn free_some(&mut self, large: &mut Vec<Item>) -> bool {
        let Some((slot, table)) = self.slots_from(0).next() else {
            return false;
        };
        if table.table.len() <= SPLIT_AT {
            self.free_slot(slot, large);
            return true;
        }
        let block = self.block_mut(slot);
        let table = &mut block.slots[slot.index() % BLOCK_SLOTS].table;
        let bytes = table.bytes();
        let part = table.pop_part();
        let freed = bytes - table.bytes();
        let entries = part
            .tagged(0, u16::MAX)
            .map(|(_, item)| item.occupied().allocated_bytes());
        let freed = freed + entries.sum::<usize>();
        block.keys -= part.len();
        self.keys -= part.len();
        self.memory -= freed;
        let items = part.into_items();
        large.extend(items.filter(|item| item.occupied().is_large()));
        true
    }

    /// Makes room for that many more entries of a slot.
    pub(crate) fn reserve(&mut self, slot: Slot, additional: usize) {
        let table = &mut self.slot_mut(slot).table;
        let old = table.bytes();
        table.reserve(table.len() + additional);
        let new = table.bytes();
        self.memory = self.memory + new - old;
    }

    /// The entry with that number in the order of (slot, hash, key), and where it is.
    pub(crate) fn nth(&self, index: usize) -> Option<(Slot, Entry<'_>)> {
        let mut index = index;
        for (number, block) in self.blocks.iter().enumerate() {
            let Some(block) = block else { continue };
            if index >= block.keys {
                index -= block.keys;
                continue;
            }
            for (slot, table) in block.slots.iter().enumerate() {
                if index < table.table.len() {
                    let slot = Slot::new((number * BLOCK_SLOTS + slot) as u16);
                    return table.table.nth(index).map(|item| (slot, item.occupied()));
                }
                index -= table.table.len();
            }
        }
        None
    }

    /// Asserts that tables, sums and marks agree.
    #[cfg(test)]
    pub(crate) fn check(&self, hasher: Hasher) {
        let (mut keys, mut expiring, mut memory) = (0, 0, 0);
        for (slot, table) in self.slots_from(0) {
            table.table.check(hasher);
            keys += table.table.len();
            memory += table.bytes();
            let mut marks = Vec::new();
            for entry in table.table.iter().map(Item::occupied) {
                assert_eq!(Slot::of_key(entry.key()), slot);
                memory += entry.allocated_bytes();
                if let Some(object) = entry.object() {
                    object.check(hasher);
                }
                if let Some(at) = entry.expires_at() {
                    expiring += 1;
                    marks.extend(Mark::new(at, hasher.hash(entry.key())));
                }
            }
            marks.sort();
            marks.dedup();
            assert_eq!(
                table.marks.iter().collect::<Vec<_>>(),
                marks,
                "marks are exact"
            );
        }
        assert_eq!(
            (keys, expiring, memory),
            (self.keys, self.expiring, self.memory)
        );
        for (number, block) in self.blocks.iter().enumerate() {
            let Some(block) = block else { continue };
            assert_eq!(
                block.keys,
                block
                    .slots
                    .iter()
                    .map(|slot| slot.table.len())
                    .sum::<usize>()
            );
            for (slot, table) in block.slots.iter().enumerate() {
                assert!(
                    table.table.len() > 0 || table.bytes() == 0,
                    "{number} {slot} is empty"
                );
            }
        }
        let earliest = self
            .slots_from(0)
            .filter_map(|(_, table)| table.marks.first())
            .min();
        assert_eq!(
            self.earliest(),
            earliest.map(Mark::expires_at),
            "the minimum is exact"
        );
    }
}

impl SlotTable {
    /// The first entry, in the order of (hash, key), that a mark stands for.
    fn marked(&self, hasher: Hasher, mark: Mark) -> Option<(Spot, Entry<'_>)> {
        let (low, high) = mark.hashes();
        let expires_at = Some(mark.expires_at());
        self.table
            .range(hasher, low, high)
            .map(|(spot, item)| (spot, item.occupied()))
            .find(|(_, entry)| entry.expires_at() == expires_at)
    }
}
