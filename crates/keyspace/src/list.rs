//! Lists: elements in the order in which they were put.
//!
//! A small one is one packed run; a large one is packed parts in a row (`elements`). It becomes large when it
//! would exceed `list-max-listpack-size`, and small again when it has shrunk to one part of half that size.

use std::ops::{ControlFlow, Range};

use base::{Db, Timestamp};

use crate::collection::{Absent, ValueMut};
use crate::elements::{Cut, Elements};
use crate::entry::Entry;
use crate::keyspace::Keyspace;
use crate::object::Object;
use crate::packed::{Element, Encoded, Packed};
use crate::part::PartLimit;
use crate::value::{Encoding, Kind, WrongKind};

/// One end of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Where the first element is; LEFT in Redis.
    Head,
    /// Where the last one is; RIGHT.
    Tail,
}

/// A list, to be read. It is never empty.
#[derive(Clone, Copy)]
pub struct List<'k>(Form<'k>);

#[derive(Clone, Copy)]
enum Form<'k> {
    Packed(Packed<'k>),
    Parts(&'k Elements),
}

impl<'k> List<'k> {
    fn of(entry: Entry<'k>) -> List<'k> {
        List(match entry.object() {
            Some(Object::List(elements)) => Form::Parts(elements),
            _ => Form::Packed(Packed::new(entry.run().expect("a small list is packed"))),
        })
    }

    /// How many elements it has.
    #[expect(clippy::len_without_is_empty, reason = "a list is never empty")]
    pub fn len(&self) -> usize {
        match self.0 {
            Form::Packed(packed) => packed.len(),
            Form::Parts(elements) => elements.len(),
        }
    }

    /// The element of that number, if there are so many.
    pub fn get(&self, index: usize) -> Option<Element<'k>> {
        if index >= self.len() {
            return None;
        }
        Some(match self.0 {
            Form::Packed(packed) => packed.at(packed.offset_of(index)).0,
            Form::Parts(elements) => elements.get(index),
        })
    }

    /// Visits the elements of a range, in order.
    ///
    /// # Panics
    /// If there are not so many.
    pub fn range(&self, range: Range<usize>, visit: &mut dyn FnMut(Element<'k>)) {
        assert!(range.end <= self.len(), "the elements are there");
        if range.is_empty() {
            return;
        }
        let mut left = range.len();
        let mut run = |packed: Packed<'k>, from: usize| {
            let mut offset = packed.offset_of(from);
            while left > 0 && offset < packed.end() {
                let (element, next) = packed.at(offset);
                visit(element);
                (offset, left) = (next, left - 1);
            }
            left > 0
        };
        match self.0 {
            Form::Packed(packed) => {
                run(packed, range.start);
            }
            Form::Parts(elements) => {
                let (runs, mut from) = elements.runs_from(range.start);
                for packed in runs {
                    if !run(packed, std::mem::take(&mut from)) {
                        break;
                    }
                }
            }
        }
    }

    /// Visits the numbers of the elements that are equal to one, from an end on, as far as `visit` wants to
    /// go; of all elements, at most `most` are looked at.
    pub fn positions(
        &self,
        sought: &[u8],
        from: End,
        most: usize,
        visit: &mut dyn FnMut(usize) -> ControlFlow<()>,
    ) {
        let sought = Encoded::of(sought);
        let (len, most) = (self.len(), most.min(self.len()));
        match (self.0, from) {
            (Form::Packed(packed), End::Head) => from_head([packed], &sought, most, visit),
            (Form::Packed(packed), End::Tail) => from_tail([packed], &sought, len, most, visit),
            (Form::Parts(elements), End::Head) => from_head(elements.runs(), &sought, most, visit),
            (Form::Parts(elements), End::Tail) => {
                from_tail(elements.runs().rev(), &sought, len, most, visit);
            }
        }
    }

    /// The number of the first element that is equal to one.
    pub fn position(&self, sought: &[u8]) -> Option<usize> {
        let mut found = None;
        self.positions(sought, End::Head, usize::MAX, &mut |index| {
            found = Some(index);
            ControlFlow::Break(())
        });
        found
    }
}

fn from_head<'k>(
    runs: impl IntoIterator<Item = Packed<'k>>,
    sought: &Encoded<'_>,
    most: usize,
    visit: &mut dyn FnMut(usize) -> ControlFlow<()>,
) {
    let mut start = 0;
    for packed in runs {
        for (index, _) in packed.equal(sought) {
            if start + index >= most || visit(start + index).is_break() {
                return;
            }
        }
        start += packed.len();
        if start >= most {
            return;
        }
    }
}

/// The runs come from behind.
fn from_tail<'k>(
    runs: impl IntoIterator<Item = Packed<'k>>,
    sought: &Encoded<'_>,
    len: usize,
    most: usize,
    visit: &mut dyn FnMut(usize) -> ControlFlow<()>,
) {
    let mut index = len;
    for packed in runs {
        let mut end = packed.end();
        while end > packed.start() {
            if len - index == most {
                return;
            }
            end = packed.before(end);
            index -= 1;
            if packed.is_at(end, sought) && visit(index).is_break() {
                return;
            }
        }
    }
}

/// A list that is being changed; see [`Keyspace::change_list`].
pub struct ListMut<'a>(ValueMut<'a>);

impl ListMut<'_> {
    fn read(&self) -> List<'_> {
        List(match self.0.object() {
            Some(Object::List(elements)) => Form::Parts(elements),
            _ => Form::Packed(self.0.packed()),
        })
    }

    /// How many elements it has.
    pub fn len(&self) -> usize {
        self.read().len()
    }

    /// Whether it has none. If so at the end, the key is removed.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Puts elements at an end, one after another: the last of them ends up outermost.
    pub fn push(&mut self, end: End, elements: &[&[u8]]) {
        let limit = self.make_room(end, elements);
        if let Some(list) = self.parts_mut() {
            for element in elements {
                list.push(end, &Encoded::of(element), limit);
            }
            return;
        }
        let encoded = || elements.iter().map(|element| Encoded::of(element));
        let mut bytes = Vec::with_capacity(encoded().map(|element| element.size()).sum());
        let packed = self.0.packed();
        let offset = match end {
            End::Head => {
                encoded().rev().for_each(|element| element.push(&mut bytes));
                packed.start()
            }
            End::Tail => {
                encoded().for_each(|element| element.push(&mut bytes));
                packed.end()
            }
        };
        self.0.edit(offset..offset, 0, &bytes, elements.len());
    }

    /// Takes the element at an end.
    pub fn pop(&mut self, end: End) -> Option<Vec<u8>> {
        let popped = match self.parts_mut() {
            Some(list) => list.pop(end),
            None => {
                let packed = self.0.packed();
                if packed.len() == 0 {
                    return None;
                }
                let start = match end {
                    End::Head => packed.start(),
                    End::Tail => packed.before(packed.end()),
                };
                let (element, next) = packed.at(start);
                let element = element.to_bytes().into_owned();
                self.0.edit(start..next, 1, &[], 0);
                Some(element)
            }
        };
        self.settle();
        popped
    }

    /// Puts an element in the place of another one.
    ///
    /// # Panics
    /// If there are not so many.
    pub fn set(&mut self, index: usize, element: &[u8]) {
        let limit = self.make_room(End::Tail, &[element]);
        let element = Encoded::of(element);
        if let Some(list) = self.parts_mut() {
            list.set(index, &element, limit);
        } else {
            let packed = self.0.packed();
            let start = packed.offset_of(index);
            let end = packed.after(start);
            let mut bytes = Vec::with_capacity(element.size());
            element.push(&mut bytes);
            self.0.edit(start..end, 1, &bytes, 1);
        }
        self.settle();
    }

    /// Puts an element before the one of that number, or behind all of them.
    ///
    /// # Panics
    /// If there are not so many.
    pub fn insert(&mut self, index: usize, element: &[u8]) {
        let limit = self.make_room(End::Tail, &[element]);
        let element = Encoded::of(element);
        if let Some(list) = self.parts_mut() {
            list.insert(index, &element, limit);
            return;
        }
        let packed = self.0.packed();
        let offset = if index == packed.len() {
            packed.end()
        } else {
            packed.offset_of(index)
        };
        let mut bytes = Vec::with_capacity(element.size());
        element.push(&mut bytes);
        self.0.edit(offset..offset, 0, &bytes, 1);
    }

    /// Removes the elements of a range.
    ///
    /// # Panics
    /// If there are not so many.
    pub fn remove(&mut self, range: Range<usize>) {
        assert!(range.end <= self.len(), "the elements are there");
        if range.is_empty() {
            return;
        }
        let limit = PartLimit::of(self.0.limits);
        if let Some(list) = self.parts_mut() {
            list.remove(range, limit);
        } else {
            let packed = self.0.packed();
            let start = packed.offset_of(range.start);
            let end = if range.end == packed.len() {
                packed.end()
            } else {
                packed.offset_of(range.end)
            };
            self.0.edit(start..end, range.len(), &[], 0);
        }
        self.settle();
    }

    /// Removes elements that are equal to one, at most that many, the first ones from an end on; how many.
    pub fn remove_equal(&mut self, sought: &[u8], from: End, most: usize) -> usize {
        let limit = PartLimit::of(self.0.limits);
        let sought = Encoded::of(sought);
        let removed = if let Some(list) = self.parts_mut() {
            list.remove_equal(&sought, from, most, limit)
        } else {
            let packed = self.0.packed();
            let end = packed.end();
            let Some(cut) = Cut::equal(packed, &sought, from, most) else {
                return 0;
            };
            self.0.edit(cut.start..end, cut.removed, &cut.rest, 0);
            cut.removed
        };
        self.settle();
        removed
    }

    fn parts_mut(&mut self) -> Option<&mut Elements> {
        match self.0.object_mut() {
            Some(Object::List(elements)) => Some(elements),
            _ => None,
        }
    }

    /// Makes parts of a packed list that may not take these elements more, at that end as far as is known;
    /// what parts may hold.
    fn make_room(&mut self, end: End, elements: &[&[u8]]) -> PartLimit {
        let limit = PartLimit::of(self.0.limits);
        if let Some(run) = self.0.run() {
            let bytes = elements.iter().map(|element| element.len()).sum();
            if !limit.keeps_packed(run, bytes, elements.len()) {
                let parts = Elements::of_run(run, end, limit);
                self.0.set_object(Encoding::Quicklist, Object::List(parts));
            }
        }
        limit
    }

    /// Makes one run of parts that have become few elements.
    fn settle(&mut self) {
        let limit = PartLimit::of(self.0.limits);
        if let Some(list) = self.parts_mut()
            && let Some(part) = list.only_part()
            && limit.packs(part)
        {
            let part = part.clone();
            self.0.set_run(Encoding::Listpack, part.run());
        }
    }
}

impl Keyspace {
    /// The list at a key; none if it is absent at `now`.
    ///
    /// # Errors
    /// When the key holds something else.
    pub fn list(&self, db: Db, key: &[u8], now: Timestamp) -> Result<Option<List<'_>>, WrongKind> {
        let entry = self.collection(db, key, Kind::List, now)?;
        Ok(entry.map(|entry| {
            entry.touch(now);
            List::of(entry)
        }))
    }

    /// Changes the list at a key; none if it is absent and left so. A list that is empty afterwards is
    /// removed. Whoever may find nothing to change looks first, with [`Keyspace::list`].
    ///
    /// # Errors
    /// When the key holds something else.
    pub fn change_list<R>(
        &mut self,
        db: Db,
        key: &[u8],
        absent: Absent,
        change: impl FnOnce(&mut ListMut<'_>) -> R,
    ) -> Result<Option<R>, WrongKind> {
        self.change_collection(db, key, Kind::List, absent, |value| {
            change(&mut ListMut(value))
        })
    }
}
