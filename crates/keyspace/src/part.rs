//! A part of a large list: some elements in one packed run, in an allocation that copies and snapshots
//! share.

use std::iter;
use std::ops::Range;
use std::sync::Arc;

use crate::limits::Limits;
use crate::memory::size_class;
use crate::packed::{COUNT_BYTES, Encoded, Packed};

/// See the module. The first change to one that is shared copies it.
#[derive(Clone)]
pub(crate) struct Part {
    /// The run, and room behind it.
    bytes: Arc<[u8]>,
    used: u32,
    /// As the run tells it: who passes over a part need not touch it.
    len: u32,
}

/// The two counters of an `Arc`.
const COUNTERS_BYTES: usize = 16;

/// The bytes that an allocation for such a run has room for.
fn capacity_for(used: usize) -> usize {
    size_class(COUNTERS_BYTES + used) - COUNTERS_BYTES
}

impl Part {
    /// A part of a run that is not empty.
    pub(crate) fn of_run(run: &[u8]) -> Part {
        Part {
            bytes: joined([run, &[], &[]], capacity_for(run.len())),
            used: length(run.len()),
            len: length(Packed::new(run).len()),
        }
    }

    /// A part of one element.
    pub(crate) fn of_one(element: &Encoded<'_>) -> Part {
        let mut run = Vec::with_capacity(COUNT_BYTES + element.size());
        run.extend_from_slice(&1_u16.to_le_bytes());
        element.push(&mut run);
        Part::of_run(&run)
    }

    pub(crate) fn run(&self) -> &[u8] {
        &self.bytes[..self.used as usize]
    }

    pub(crate) fn packed(&self) -> Packed<'_> {
        Packed::new(self.run())
    }

    /// How many elements it has.
    pub(crate) fn len(&self) -> usize {
        self.len as usize
    }

    /// The memory of the allocation, as if it were not shared.
    pub(crate) fn memory_bytes(&self) -> usize {
        size_class(COUNTERS_BYTES + self.bytes.len())
    }

    /// Puts elements, encoded, in the place of a range; `len` are there afterwards.
    pub(crate) fn edit(&mut self, range: Range<usize>, with: &[u8], len: usize) {
        let count = u16::try_from(len).expect("packed runs are bounded");
        let before = self.used as usize;
        let used = before - range.len() + with.len();
        let capacity = capacity_for(used);
        if used > self.bytes.len() || capacity <= self.bytes.len() / 2 {
            let run = self.run();
            let parts = [&run[..range.start], with, &run[range.end..]];
            self.bytes = joined(parts, capacity);
        } else {
            let bytes = Arc::make_mut(&mut self.bytes);
            bytes.copy_within(range.end..before, range.start + with.len());
            bytes[range.start..][..with.len()].copy_from_slice(with);
        }
        let bytes = Arc::get_mut(&mut self.bytes).expect("it was copied if it was shared");
        bytes[..COUNT_BYTES].copy_from_slice(&count.to_le_bytes());
        self.used = length(used);
        self.len = u32::from(count);
    }

    /// Takes the elements from one on, which starts at that offset, into a part of their own.
    pub(crate) fn split_off(&mut self, index: usize, offset: usize) -> Part {
        let run = self.run();
        let count = u16::try_from(self.len() - index).expect("packed runs are bounded");
        let mut right = count.to_le_bytes().to_vec();
        right.extend_from_slice(&run[offset..]);
        self.edit(offset..run.len(), &[], index);
        Part::of_run(&right)
    }

    /// Adds all elements of another one at the end.
    pub(crate) fn append(&mut self, other: &Part) {
        let end = self.used as usize;
        self.edit(
            end..end,
            &other.run()[COUNT_BYTES..],
            self.len() + other.len(),
        );
    }
}

/// Three runs of bytes one after another, in an allocation of that capacity.
fn joined(runs: [&[u8]; 3], capacity: usize) -> Arc<[u8]> {
    let mut bytes: Arc<[u8]> = iter::repeat_n(0, capacity).collect();
    let mut rest = Arc::get_mut(&mut bytes).expect("nobody else has it yet");
    for run in runs {
        let (start, end) = rest.split_at_mut(run.len());
        start.copy_from_slice(run);
        rest = end;
    }
    bytes
}

fn length(len: usize) -> u32 {
    u32::try_from(len).expect("elements are shorter than 4 GiB")
}

/// How much a part, or a list that is one packed run, may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PartLimit {
    /// The bytes of a run as Redis counts them, or of a part with all that it takes.
    bytes: usize,
    /// Elements.
    len: usize,
    /// Whether elements are what the configuration limits.
    by_len: bool,
}

/// Redis's runs have this many more bytes at their ends.
const REDIS_ENDS_BYTES: usize = 5;

impl PartLimit {
    /// What `list-max-listpack-size` asks for. As in Redis, a limit of elements goes with one of 8 KiB.
    pub(crate) fn of(limits: &Limits) -> PartLimit {
        let size = limits.list_max_listpack_size;
        match usize::try_from(size) {
            Ok(len) => PartLimit {
                bytes: 8 << 10,
                len: len.clamp(1, Limits::PACKED_ELEMENTS_MAX),
                by_len: true,
            },
            Err(_) => PartLimit {
                bytes: (2 << 10) << size.unsigned_abs().min(5),
                len: Limits::PACKED_ELEMENTS_MAX,
                by_len: false,
            },
        }
    }

    /// Whether a list that is one run stays so with these elements more, whose bytes are those that users see.
    pub(crate) fn keeps_packed(&self, run: &[u8], added_bytes: usize, added: usize) -> bool {
        run.len() + REDIS_ENDS_BYTES + added_bytes <= self.bytes
            && Packed::new(run).len() + added <= self.len
    }

    /// Whether a list that has shrunk to this part becomes one run again: with half of what it may hold, so that
    /// it does not go to and fro.
    pub(crate) fn packs(&self, part: &Part) -> bool {
        let bytes = if self.by_len {
            self.bytes
        } else {
            self.bytes / 2
        };
        part.run().len() + REDIS_ENDS_BYTES <= bytes && part.len() <= self.len / 2
    }

    /// Whether a part takes so many bytes and elements more.
    pub(crate) fn takes(&self, part: &Part, bytes: usize, len: usize) -> bool {
        self.allows(part.run().len() + bytes, part.len() + len)
    }

    /// Whether a run of so many bytes and elements may be a part, though it be of several.
    pub(crate) fn allows(&self, bytes: usize, len: usize) -> bool {
        COUNTERS_BYTES + bytes <= self.bytes && len <= self.len
    }

    /// The limit in a list of many parts: a quarter more, so that what a part takes beside its elements weighs less than
    /// in Redis. Lists of few parts keep to the limit itself, on which their encoding hangs.
    pub(crate) fn of_many(self) -> PartLimit {
        PartLimit {
            bytes: self.bytes + self.bytes / 4,
            ..self
        }
    }

    /// Whether two parts may be one.
    pub(crate) fn joins(&self, left: &Part, right: &Part) -> bool {
        self.takes(left, right.run().len() - COUNT_BYTES, right.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packed::pack;

    fn limit(list_max_listpack_size: i32) -> PartLimit {
        PartLimit::of(&Limits {
            list_max_listpack_size,
            ..Limits::default()
        })
    }

    #[test]
    fn sizes_are_those_of_redis() {
        for (size, bytes, len) in [
            (-1, 4096, 16_384),
            (-2, 8192, 16_384),
            (-5, 65_536, 16_384),
            (-6, 65_536, 16_384),
            (i32::MIN, 65_536, 16_384),
            (0, 8192, 1),
            (3, 8192, 3),
            (i32::MAX, 8192, 16_384),
        ] {
            let limit = limit(size);
            assert_eq!((limit.bytes, limit.len), (bytes, len), "{size}");
        }
    }

    #[test]
    fn a_shared_part_stays_as_it_was() {
        let mut part = Part::of_run(&pack([&b"a"[..], b"b"]));
        let copy = part.clone();
        part.append(&copy);
        assert_eq!(part.run(), pack([&b"a"[..], b"b", b"a", b"b"]));
        assert_eq!(copy.run(), pack([&b"a"[..], b"b"]));
        let offset = part.packed().offset_of(3);
        let right = part.split_off(3, offset);
        assert_eq!(part.run(), pack([&b"a"[..], b"b", b"a"]));
        assert_eq!(right.run(), pack([&b"b"[..]]));
    }

    #[test]
    fn room_follows_what_is_used() {
        let mut part = Part::of_one(&Encoded::of(&[b'x'; 5000]));
        assert_eq!(part.memory_bytes(), 5120);
        part.edit(COUNT_BYTES..part.run().len(), &[1, 1, 2, 1], 2);
        assert_eq!(part.memory_bytes(), 32);
        assert_eq!(part.run(), pack([&b"1"[..], b"2"]));
    }
}
