//! Large lists: packed parts in a row, which grows and shrinks at either end without touching the rest.
//!
//! Where one part ends and the next one starts depends on how the list came to be, and decides when the list becomes
//! one packed run again; so it is part of the state, and pieces of a snapshot are whole parts.

use std::collections::VecDeque;
use std::ops::Range;

use crate::list::End;
use crate::memory::size_class;
use crate::object::Progress;
use crate::packed::{COUNT_BYTES, Element, Encoded, Packed};
use crate::part::{Part, PartLimit};
use crate::stream::{decode_length, encode_length, take};

/// See the module.
#[derive(Clone, Default)]
pub(crate) struct Elements {
    /// None is empty.
    parts: VecDeque<Part>,
    len: usize,
    /// The memory of the parts.
    bytes: usize,
}

/// A list of so many parts is one of many.
const MANY_PARTS: usize = 16;

impl Elements {
    /// The elements of a run, in as many parts as they take. Where it does not fit into one, the part at `end`,
    /// which is about to grow, is the one that is not full: so a list that shrinks again from either end ends
    /// up as one part.
    pub(crate) fn of_run(run: &[u8], end: End, limit: PartLimit) -> Elements {
        let mut elements = Elements::default();
        let packed = Packed::new(run);
        let mut add = |range: Range<usize>, len: usize| {
            let len = u16::try_from(len).expect("packed collections are bounded");
            elements.add_run(&[&len.to_le_bytes(), packed.bytes(range)].concat());
        };
        let (mut last, mut before) = (packed.end(), packed.len());
        if end == End::Head {
            (last, before) = (packed.start(), 0);
            let fits = |last, before| {
                limit.allows(COUNT_BYTES + packed.end() - last, packed.len() - before)
            };
            while last < packed.end() && !fits(last, before) {
                (last, before) = (packed.after(last), before + 1);
            }
        }
        let (mut start, mut len) = (packed.start(), 0);
        let mut offset = start;
        while offset < last {
            let next = packed.after(offset);
            if len > 0 && !limit.allows(COUNT_BYTES + next - start, len + 1) {
                add(start..offset, len);
                (start, len) = (offset, 0);
            }
            (offset, len) = (next, len + 1);
        }
        if len > 0 {
            add(start..last, len);
        }
        if before < packed.len() {
            add(last..packed.end(), packed.len() - before);
        }
        elements
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn memory_bytes(&self) -> usize {
        self.bytes + size_class(self.parts.capacity() * size_of::<Part>())
    }

    /// The only part, if there is but one.
    pub(crate) fn only_part(&self) -> Option<&Part> {
        self.parts.front().filter(|_| self.parts.len() == 1)
    }

    /// Adds a run, which is not empty, as a part at the tail.
    pub(crate) fn add_run(&mut self, run: &[u8]) {
        self.put(self.parts.len(), Part::of_run(run));
    }

    /// The part of that element, and its number there; from whichever end is nearer.
    fn locate(&self, index: usize) -> (usize, usize) {
        assert!(index < self.len, "the element is there");
        if index < self.len / 2 {
            let mut rest = index;
            for (at, part) in self.parts.iter().enumerate() {
                if rest < part.len() {
                    return (at, rest);
                }
                rest -= part.len();
            }
        } else {
            let mut start = self.len;
            for (at, part) in self.parts.iter().enumerate().rev() {
                start -= part.len();
                if start <= index {
                    return (at, index - start);
                }
            }
        }
        unreachable!("the lengths of the parts add up")
    }

    /// The runs from an element on, and the number of that element in the first one.
    pub(crate) fn runs_from(&self, index: usize) -> (impl Iterator<Item = Packed<'_>>, usize) {
        let (at, within) = self.locate(index);
        (self.parts.range(at..).map(Part::packed), within)
    }

    /// All runs in order; from behind if reversed.
    pub(crate) fn runs(&self) -> impl DoubleEndedIterator<Item = Packed<'_>> {
        self.parts.iter().map(Part::packed)
    }

    pub(crate) fn get(&self, index: usize) -> Element<'_> {
        let (at, within) = self.locate(index);
        let packed = self.parts[at].packed();
        packed.at(packed.offset_of(within)).0
    }

    pub(crate) fn push(&mut self, end: End, element: &Encoded<'_>, limit: PartLimit) {
        let (at, limit) = match (end, self.parts.len()) {
            (End::Head, MANY_PARTS..) => (0, limit.of_many()),
            (End::Head, _) => (0, limit),
            (End::Tail, count @ MANY_PARTS..) => (count - 1, limit.of_many()),
            (End::Tail, count) => (count.saturating_sub(1), limit),
        };
        match self.parts.get(at) {
            Some(part) if limit.takes(part, element.size(), 1) => self.add_at(at, end, element),
            _ if end == End::Head => self.put(0, Part::of_one(element)),
            _ => self.put(self.parts.len(), Part::of_one(element)),
        }
    }

    /// Takes the element at an end.
    pub(crate) fn pop(&mut self, end: End) -> Option<Vec<u8>> {
        let at = match end {
            End::Head => 0,
            End::Tail => self.parts.len().checked_sub(1)?,
        };
        let part = self.parts.get(at)?;
        let (packed, len) = (part.packed(), part.len());
        let start = match end {
            End::Head => packed.start(),
            End::Tail => packed.before(packed.end()),
        };
        let (element, next) = packed.at(start);
        let element = element.to_bytes().into_owned();
        if len == 1 {
            self.take(at);
        } else {
            self.change(at, |part| part.edit(start..next, &[], len - 1));
        }
        Some(element)
    }

    pub(crate) fn set(&mut self, index: usize, element: &Encoded<'_>, limit: PartLimit) {
        let (at, within) = self.locate(index);
        let part = &self.parts[at];
        let (packed, len) = (part.packed(), part.len());
        let start = packed.offset_of(within);
        let end = packed.after(start);
        let longer = element.size().saturating_sub(end - start);
        if len == 1 {
            self.take(at);
            self.put(at, Part::of_one(element));
        } else if longer == 0 || limit.takes(part, longer, 0) {
            let mut bytes = Vec::with_capacity(element.size());
            element.push(&mut bytes);
            self.change(at, |part| part.edit(start..end, &bytes, len));
        } else {
            self.change(at, |part| part.edit(start..end, &[], len - 1));
            self.insert(index, element, limit);
        }
    }

    /// Puts an element before the one of that number; behind all where there is none.
    pub(crate) fn insert(&mut self, index: usize, element: &Encoded<'_>, limit: PartLimit) {
        if index == 0 || index == self.len {
            let end = if index == 0 { End::Head } else { End::Tail };
            return self.push(end, element, limit);
        }
        let (at, within) = self.locate(index);
        let size = element.size();
        let takes = |part: &Part| limit.takes(part, size, 1);
        let (part, len) = (&self.parts[at], self.parts[at].len());
        let offset = part.packed().offset_of(within);
        if takes(part) {
            let mut bytes = Vec::with_capacity(size);
            element.push(&mut bytes);
            self.change(at, |part| part.edit(offset..offset, &bytes, len + 1));
        } else if within == 0 && takes(&self.parts[at - 1]) {
            self.add_at(at - 1, End::Tail, element);
        } else if within == 0 {
            self.put(at, Part::of_one(element));
        } else {
            let mut right = None;
            self.change(at, |part| right = Some(part.split_off(within, offset)));
            self.put(at + 1, right.expect("the part was split"));
            if takes(&self.parts[at]) {
                self.add_at(at, End::Tail, element);
            } else if takes(&self.parts[at + 1]) {
                self.add_at(at + 1, End::Head, element);
            } else {
                self.put(at + 1, Part::of_one(element));
            }
            // What the split left small goes to its neighbours, or many splits would make many parts.
            self.join(at + 1, limit);
            if at > 0 {
                self.join(at - 1, limit);
            }
        }
    }

    /// Removes the elements of that range.
    pub(crate) fn remove(&mut self, range: Range<usize>, limit: PartLimit) {
        if range.is_empty() {
            return;
        }
        let is_inside = range.start > 0 && range.end < self.len;
        let (first, from) = self.locate(range.start);
        let (last, to) = self.locate(range.end - 1);
        if first == last {
            self.cut(first, from..to + 1);
        } else {
            // From behind, so that places stay.
            self.cut(last, 0..to + 1);
            for part in self.parts.drain(first + 1..last) {
                self.len -= part.len();
                self.bytes -= part.memory_bytes();
            }
            let len = self.parts[first].len();
            self.cut(first, from..len);
        }
        if is_inside {
            self.join(if from > 0 { first } else { first - 1 }, limit);
        }
        self.shrink();
    }

    /// Removes at most that many elements that are equal to one, the first from that end on; how many.
    pub(crate) fn remove_equal(
        &mut self,
        sought: &Encoded<'_>,
        from: End,
        most: usize,
        limit: PartLimit,
    ) -> usize {
        let mut removed = 0;
        let count = self.parts.len();
        for number in 0..count {
            let at = match from {
                End::Head => number,
                End::Tail => count - 1 - number,
            };
            if removed == most {
                break;
            }
            let part = &self.parts[at];
            if let Some(cut) = Cut::equal(part.packed(), sought, from, most - removed) {
                let (len, used) = (part.len() - cut.removed, part.run().len());
                removed += cut.removed;
                self.change(at, |part| part.edit(cut.start..used, &cut.rest, len));
            }
        }
        if removed > 0 {
            self.join_all(limit);
        }
        removed
    }

    /// See [`Object::write_piece`](crate::object::Object::write_piece): a piece is whole parts, each with its length before it.
    pub(crate) fn write_piece(
        &self,
        (from, _): Progress,
        until: usize,
        out: &mut Vec<u8>,
    ) -> Option<Progress> {
        for (at, part) in self.parts.iter().enumerate().skip(from) {
            if at > from && out.len() >= until {
                return Some((at, 0));
            }
            encode_length(part.run().len(), out);
            out.extend_from_slice(part.run());
        }
        None
    }

    /// See [`Object::read_piece`](crate::object::Object::read_piece).
    pub(crate) fn read_piece(&mut self, mut piece: &[u8]) -> Result<(), &'static str> {
        while !piece.is_empty() {
            let len = decode_length(&mut piece)?;
            let run = take(&mut piece, len)?;
            if Packed::checked(run).is_none_or(|packed| packed.len() == 0) {
                return Err("a part of a list is no run of elements");
            }
            self.add_run(run);
        }
        Ok(())
    }

    /// Adds an element at an end of a part that takes it.
    fn add_at(&mut self, at: usize, end: End, element: &Encoded<'_>) {
        let mut bytes = Vec::with_capacity(element.size());
        element.push(&mut bytes);
        self.change(at, |part| {
            let packed = part.packed();
            let (offset, len) = match end {
                End::Head => (packed.start(), part.len()),
                End::Tail => (packed.end(), part.len()),
            };
            part.edit(offset..offset, &bytes, len + 1);
        });
    }

    /// Removes elements of a part, and the part with the last of them.
    fn cut(&mut self, at: usize, range: Range<usize>) {
        let (packed, len) = (self.parts[at].packed(), self.parts[at].len());
        if range.len() == len {
            self.take(at);
            return;
        }
        let start = packed.offset_of(range.start);
        let end = if range.end == len {
            packed.end()
        } else {
            packed.offset_of(range.end)
        };
        self.change(at, |part| part.edit(start..end, &[], len - range.len()));
    }

    /// Makes one of a part and the next one if it may hold what both do.
    fn join(&mut self, at: usize, limit: PartLimit) {
        if let (Some(left), Some(right)) = (self.parts.get(at), self.parts.get(at + 1))
            && limit.joins(left, right)
        {
            let right = self.take(at + 1);
            self.change(at, |left| left.append(&right));
        }
    }

    /// Joins all parts that may be joined, and drops those that are empty.
    fn join_all(&mut self, limit: PartLimit) {
        let parts = std::mem::take(self).parts;
        self.parts.reserve_exact(parts.len());
        for part in parts {
            let last = self.parts.len().wrapping_sub(1);
            match self.parts.get(last) {
                _ if part.len() == 0 => {}
                Some(left) if limit.joins(left, &part) => {
                    self.change(last, |left| left.append(&part));
                }
                _ => self.put(last.wrapping_add(1), part),
            }
        }
        self.shrink();
    }

    /// Changes a part and keeps the sums.
    fn change(&mut self, at: usize, change: impl FnOnce(&mut Part)) {
        let part = &mut self.parts[at];
        self.len -= part.len();
        self.bytes -= part.memory_bytes();
        change(part);
        self.len += part.len();
        self.bytes += part.memory_bytes();
    }

    fn put(&mut self, at: usize, part: Part) {
        if self.parts.len() == self.parts.capacity() {
            // An eighth more at a time is still constant for each, and leaves less unused than doubling.
            self.parts.reserve_exact(self.parts.len() / 8 + 2);
        }
        self.len += part.len();
        self.bytes += part.memory_bytes();
        self.parts.insert(at, part);
    }

    fn take(&mut self, at: usize) -> Part {
        let part = self.parts.remove(at).expect("the part is there");
        self.len -= part.len();
        self.bytes -= part.memory_bytes();
        self.shrink();
        part
    }

    /// Gives back the room for parts that are no more.
    fn shrink(&mut self) {
        if self.parts.capacity() / 4 > self.parts.len() {
            self.parts.shrink_to(self.parts.len() * 2);
        }
    }

    #[cfg(test)]
    pub(crate) fn check(&self) {
        let parts = || self.parts.iter();
        assert!(parts().all(|part| part.len() > 0 && Packed::checked(part.run()).is_some()));
        assert!(parts().all(|part| part.len() == part.packed().len()));
        assert_eq!(parts().map(Part::len).sum::<usize>(), self.len);
        assert_eq!(parts().map(Part::memory_bytes).sum::<usize>(), self.bytes);
        assert!(self.parts.capacity() <= self.parts.len() * 4 + 8);
    }
}

/// What is left of a run without some of its elements.
pub(crate) struct Cut {
    /// Up to here it stays as it is,
    pub(crate) start: usize,
    /// and this follows.
    pub(crate) rest: Vec<u8>,
    /// How many elements were removed.
    pub(crate) removed: usize,
}

impl Cut {
    /// A run without the first elements from that end on that are equal to one, at most that many; none if
    /// there is none.
    pub(crate) fn equal(
        packed: Packed<'_>,
        sought: &Encoded<'_>,
        from: End,
        most: usize,
    ) -> Option<Cut> {
        let mut offsets: Vec<usize> = packed.equal(sought).map(|(_, offset)| offset).collect();
        match from {
            End::Head => offsets.truncate(most),
            End::Tail => drop(offsets.drain(..offsets.len().saturating_sub(most))),
        }
        let start = *offsets.first()?;
        let mut rest = Vec::new();
        let ends = offsets.iter().skip(1).copied().chain([packed.end()]);
        for (&offset, end) in offsets.iter().zip(ends) {
            rest.extend_from_slice(packed.bytes(packed.after(offset)..end));
        }
        Some(Cut {
            start,
            rest,
            removed: offsets.len(),
        })
    }
}
