//! A run of a stream's entries.
//!
//! | bytes | what |
//! | --- | --- |
//! | number | how many bytes the names take, with their count |
//! | number | how many names |
//! | | the names: the fields of the first entry that the node ever had |
//! | | the entries, in ascending order of their ids |
//!
//! An entry is:
//!
//! | bytes | what |
//! | --- | --- |
//! | number | how many bytes follow |
//! | number | the ms of its id, less those of the node's first |
//! | number | the seq of its id; less that of the node's first if their ms are equal |
//! | number | how many fields; 0 if they are those of the node |
//! | | the values; each after its field if those are not the node's |
//!
//! Numbers are LEB128 in the shortest form. Names and values stand as the elements of packed collections do
//! (`packed`), without their tails.

use std::ops::Range;
use std::sync::Arc;

use super::id::StreamId;
use crate::limits::Limits;
use crate::memory::size_class;
use crate::order::Keyed;
use crate::packed::{Element, Encoded, element_at};
use crate::stream::{decode_number, encode_number};

/// A node takes no further entry that would bring it beyond this, whatever is configured: a write to a shared
/// node copies it.
const NODE_BYTES_MAX: usize = 64 << 10;

/// The two counters of the `Arc`, pointer, length and capacity.
const HEAD_BYTES: usize = size_class(16 + size_of::<Vec<u8>>());

/// See the module.
#[derive(Clone)]
pub(crate) struct Node {
    /// The id of the first entry that it ever had; the others are told in relation to it.
    pub(super) first: StreamId,
    /// The id of the last entry that it was given, which may be deleted.
    pub(super) last: StreamId,
    /// How many entries it has.
    pub(super) live: u32,
    /// How many it had that were deleted.
    pub(super) deleted: u32,
    /// The bytes that its entries, deleted ones too, would take in a node of Redis. They decide when a
    /// new node begins, so that trimming by whole nodes takes what Redis would take.
    pub(super) weight: u32,
    bytes: Arc<Vec<u8>>,
}

impl Keyed for Node {
    type Key = StreamId;

    fn key(&self) -> &StreamId {
        &self.first
    }
}

/// An entry of a stream.
#[derive(Clone, Copy)]
pub struct StreamEntry<'k> {
    /// Its id.
    pub id: StreamId,
    /// Its fields with their values.
    pub fields: Fields<'k>,
}

/// The fields of an entry, each with its value, in the order in which they were given.
#[derive(Clone, Copy)]
pub struct Fields<'k> {
    /// The names, where they stand apart from the values.
    names: Option<&'k [u8]>,
    rest: &'k [u8],
    left: usize,
}

impl Fields<'_> {
    /// How many are left.
    pub fn len(&self) -> usize {
        self.left
    }

    /// Whether none is left.
    pub fn is_empty(&self) -> bool {
        self.left == 0
    }
}

impl<'k> Iterator for Fields<'k> {
    type Item = (Element<'k>, Element<'k>);

    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        let names = self.names.as_mut().unwrap_or(&mut self.rest);
        let name = whole(take_element(names));
        let value = whole(take_element(&mut self.rest));
        Some((name, value))
    }
}

/// Takes an element from the front; none if it is cut short.
fn take_element<'b>(bytes: &mut &'b [u8]) -> Option<Element<'b>> {
    let (element, len) = element_at(bytes)?;
    *bytes = &bytes[len..];
    Some(element)
}

fn whole<T>(part: Option<T>) -> T {
    part.expect("nodes are whole")
}

fn take_number(bytes: &mut &[u8]) -> u64 {
    decode_number(bytes).expect("nodes are whole")
}

/// What stands at the start of an entry, and where it ends.
struct Head {
    id: StreamId,
    end: usize,
}

impl Node {
    /// A node of one entry.
    pub(super) fn new(id: StreamId, fields: &[&[u8]]) -> Node {
        let mut names = Vec::new();
        let (pairs, _) = fields.as_chunks::<2>();
        encode_number(pairs.len() as u64, &mut names);
        let mut weight =
            listpack::EMPTY + listpack::number(pairs.len() as i64) + listpack::number(0);
        for [name, _] in pairs {
            Encoded::of(name).push_body(&mut names);
            weight += listpack::element(name);
        }
        let mut bytes = Vec::new();
        encode_number(names.len() as u64, &mut bytes);
        bytes.extend_from_slice(&names);
        let mut node = Node {
            first: id,
            last: id,
            live: 0,
            deleted: 0,
            weight: u32::try_from(weight).unwrap_or(u32::MAX),
            bytes: Arc::new(bytes),
        };
        node.push(id, fields);
        node
    }

    /// Whether an entry whose fields and values are of so many bytes goes into this node.
    pub(super) fn takes(&self, limits: &Limits, entry_bytes: usize) -> bool {
        let most_bytes = match limits.stream_node_max_bytes {
            0 => NODE_BYTES_MAX,
            most => most.min(NODE_BYTES_MAX),
        };
        let count = self.live as usize + self.deleted as usize;
        let counters = listpack::number(self.live.into()) + listpack::number(self.deleted.into());
        let weight = self.weight as usize + counters;
        weight.saturating_add(entry_bytes) < most_bytes
            && (limits.stream_node_max_entries == 0 || count < limits.stream_node_max_entries)
    }

    /// Appends an entry. Its id comes after those of all entries.
    pub(super) fn push(&mut self, id: StreamId, fields: &[&[u8]]) {
        let (pairs, _) = fields.as_chunks::<2>();
        let (names, count) = self.names();
        let is_same = count == pairs.len() && {
            let mut rest = names;
            pairs.iter().all(|[name, _]| {
                let name = Encoded::of(name);
                let same = name.starts(rest);
                rest = rest.get(name.body_len()..).unwrap_or_default();
                same
            })
        };
        let mut entry = Vec::new();
        let ms = id.ms - self.first.ms;
        encode_number(ms, &mut entry);
        let seq = if ms == 0 {
            id.seq - self.first.seq
        } else {
            id.seq
        };
        encode_number(seq, &mut entry);
        encode_number(if is_same { 0 } else { pairs.len() as u64 }, &mut entry);
        // Flags, and the differences of the id.
        let mut weight = listpack::number(0)
            + listpack::number(ms as i64)
            + listpack::number(id.seq.wrapping_sub(self.first.seq) as i64);
        let mut elements = 3 + pairs.len();
        if !is_same {
            weight += listpack::number(pairs.len() as i64);
            elements += pairs.len() + 1;
        }
        for [name, value] in pairs {
            if !is_same {
                Encoded::of(name).push_body(&mut entry);
                weight += listpack::element(name);
            }
            Encoded::of(value).push_body(&mut entry);
            weight += listpack::element(value);
        }
        weight += listpack::number(elements as i64);
        let bytes = Arc::make_mut(&mut self.bytes);
        let len = bytes.len() + entry.len() + 5;
        if len > bytes.capacity() {
            // As much as the allocator would give anyhow.
            bytes.reserve_exact(size_class(len) - bytes.len());
        }
        encode_number(entry.len() as u64, bytes);
        bytes.extend_from_slice(&entry);
        self.last = id;
        self.live += 1;
        self.weight = self
            .weight
            .saturating_add(u32::try_from(weight).unwrap_or(u32::MAX));
    }

    /// The memory beside the node's place in the tree.
    pub(super) fn memory_bytes(&self) -> usize {
        HEAD_BYTES + size_class(self.bytes.capacity())
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The names, encoded, and how many they are.
    fn names(&self) -> (&[u8], usize) {
        let mut rest = self.bytes.as_slice();
        let len = take_number(&mut rest) as usize;
        let mut names = &rest[..len];
        let count = take_number(&mut names);
        (names, count as usize)
    }

    /// Where the first entry starts.
    fn start(&self) -> usize {
        let mut rest = self.bytes.as_slice();
        let len = take_number(&mut rest) as usize;
        self.bytes.len() - rest.len() + len
    }

    /// The start of the entry at an offset, and what follows that start.
    fn head(&self, at: usize) -> (Head, &[u8]) {
        let mut rest = &self.bytes[at..];
        let len = take_number(&mut rest) as usize;
        let end = self.bytes.len() - rest.len() + len;
        let mut body = &rest[..len];
        let ms = take_number(&mut body);
        let seq = take_number(&mut body);
        let id = self.id_of(ms, seq).expect("nodes are whole");
        (Head { id, end }, body)
    }

    fn id_of(&self, ms: u64, seq: u64) -> Option<StreamId> {
        let base = if ms == 0 { self.first.seq } else { 0 };
        Some(StreamId {
            ms: self.first.ms.checked_add(ms)?,
            seq: base.checked_add(seq)?,
        })
    }

    /// The entry at an offset, and where the next one starts.
    fn entry(&self, at: usize) -> (StreamEntry<'_>, usize) {
        let (Head { id, end }, mut body) = self.head(at);
        let own = take_number(&mut body) as usize;
        let (names, count) = if own == 0 {
            let (names, count) = self.names();
            (Some(names), count)
        } else {
            (None, own)
        };
        let fields = Fields {
            names,
            rest: body,
            left: count,
        };
        (StreamEntry { id, fields }, end)
    }

    /// The offsets of the entries, and the ids.
    fn places(&self) -> impl Iterator<Item = (Range<usize>, StreamId)> + '_ {
        let mut at = self.start();
        std::iter::from_fn(move || {
            (at < self.bytes.len()).then(|| {
                let (Head { id, end }, _) = self.head(at);
                (std::mem::replace(&mut at, end)..end, id)
            })
        })
    }

    /// All entries, in order.
    pub(super) fn entries(&self) -> impl Iterator<Item = StreamEntry<'_>> {
        self.places().map(|(place, _)| self.entry(place.start).0)
    }

    /// The same from the last to the first.
    pub(super) fn entries_reversed(&self) -> impl Iterator<Item = StreamEntry<'_>> {
        let starts: Vec<usize> = self.places().map(|(place, _)| place.start).collect();
        starts.into_iter().rev().map(|start| self.entry(start).0)
    }

    /// The id of the first entry.
    pub(super) fn first_live(&self) -> Option<StreamId> {
        self.places().next().map(|(_, id)| id)
    }

    fn place_of(&self, sought: StreamId) -> Option<Range<usize>> {
        let mut places = self.places().skip_while(|(_, id)| *id < sought);
        places
            .next()
            .filter(|(_, id)| *id == sought)
            .map(|(place, _)| place)
    }

    /// The entry of an id.
    pub(super) fn get(&self, id: StreamId) -> Option<StreamEntry<'_>> {
        Some(self.entry(self.place_of(id)?.start).0)
    }

    /// How many entries have a lesser id.
    pub(super) fn count_before(&self, id: StreamId) -> usize {
        self.places().take_while(|(_, other)| *other < id).count()
    }

    /// Deletes an entry; false if there is none of that id.
    pub(super) fn delete(&mut self, id: StreamId) -> bool {
        let Some(place) = self.place_of(id) else {
            return false;
        };
        self.cut(place, 1);
        true
    }

    /// Deletes that many entries from the first on.
    pub(super) fn delete_first(&mut self, count: usize) {
        let start = self.start();
        let end = self
            .places()
            .take(count)
            .last()
            .map_or(start, |(place, _)| place.end);
        self.cut(start..end, count as u32);
    }

    /// Takes out bytes that so many entries are.
    fn cut(&mut self, range: Range<usize>, count: u32) {
        self.live -= count;
        self.deleted += count;
        let bytes = Arc::make_mut(&mut self.bytes);
        bytes.drain(range);
        if bytes.capacity() / 2 > bytes.len() {
            bytes.shrink_to(size_class(bytes.len()));
        }
    }

    /// A node from outside; none if these bytes are not what this module writes for so many entries.
    pub(super) fn checked(
        first: StreamId,
        last: StreamId,
        [live, deleted, weight]: [u32; 3],
        bytes: &[u8],
    ) -> Option<Node> {
        let node = Node {
            first,
            last,
            live,
            deleted,
            weight,
            bytes: Arc::new(bytes.to_vec()),
        };
        let mut rest = bytes;
        let len = usize::try_from(decode_number(&mut rest).ok()?).ok()?;
        let mut names = rest.split_off(..len)?;
        let count = decode_number(&mut names).ok()?;
        check_elements(names, Some(count))?;
        let (mut found, mut before) = (0, None);
        while !rest.is_empty() {
            let len = usize::try_from(decode_number(&mut rest).ok()?).ok()?;
            let mut body = rest.split_off(..len)?;
            let (ms, seq) = (
                decode_number(&mut body).ok()?,
                decode_number(&mut body).ok()?,
            );
            let id = node.id_of(ms, seq)?;
            let own = decode_number(&mut body).ok()?;
            let elements = if own == 0 {
                Some(count)
            } else {
                own.checked_mul(2)
            };
            check_elements(body, elements)?;
            if before.is_some_and(|before| before >= id) || id < first || id > last {
                return None;
            }
            before = Some(id);
            found += 1;
        }
        (count > 0 && live > 0 && found == live).then_some(node)
    }

    /// The last id of an entry.
    pub(super) fn last_live(&self) -> Option<StreamId> {
        self.places().last().map(|(_, id)| id)
    }
}

/// Whether these bytes are so many elements and nothing else.
fn check_elements(mut bytes: &[u8], count: Option<u64>) -> Option<()> {
    let mut again = Vec::new();
    for _ in 0..count? {
        let before = bytes;
        again.clear();
        take_element(&mut bytes)?.with_bytes(|element| Encoded::of(element).push_body(&mut again));
        before
            .strip_prefix(again.as_slice())
            .filter(|rest| *rest == bytes)?;
    }
    bytes.is_empty().then_some(())
}

/// What elements take in a listpack of Redis.
mod listpack {
    use crate::packed::Encoded;

    /// Head and end.
    pub(super) const EMPTY: usize = 7;

    const SHORT: usize = 1 << 6;
    const MEDIUM: usize = 1 << 12;

    pub(super) fn element(bytes: &[u8]) -> usize {
        let encoded = Encoded::of(bytes);
        with_tail(if encoded.is_number() {
            encoded.body_len()
        } else {
            bytes.len()
                + match bytes.len() {
                    0..SHORT => 1,
                    SHORT..MEDIUM => 2,
                    _ => 5,
                }
        })
    }

    pub(super) fn number(number: i64) -> usize {
        with_tail(Encoded::of_number(number).body_len())
    }

    fn with_tail(body: usize) -> usize {
        body + match body {
            0..128 => 1,
            128..16_383 => 2,
            16_383..2_097_151 => 3,
            2_097_151..268_435_455 => 4,
            _ => 5,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(ms: u64, seq: u64) -> StreamId {
        StreamId { ms, seq }
    }

    fn node() -> Node {
        let mut node = Node::new(id(5, 10), &[b"a", b"1", b"b", b"two"]);
        node.push(id(5, 11), &[b"a", b"2", b"b", b""]);
        node.push(id(7, 0), &[b"a", b"3"]);
        node.push(id(u64::MAX, u64::MAX), &[b"b", b"1", b"a", b"-77777"]);
        node
    }

    type Shown = (StreamId, Vec<(Vec<u8>, Vec<u8>)>);

    fn shown(entry: StreamEntry<'_>) -> Shown {
        let bytes = |element: Element<'_>| element.to_bytes().into_owned();
        (
            entry.id,
            entry
                .fields
                .map(|(name, value)| (bytes(name), bytes(value)))
                .collect(),
        )
    }

    fn pairs(pairs: &[(&str, &str)]) -> Vec<(Vec<u8>, Vec<u8>)> {
        let pairs = pairs.iter();
        pairs
            .map(|(name, value)| (name.as_bytes().to_vec(), value.as_bytes().to_vec()))
            .collect()
    }

    #[test]
    fn entries_read_back_from_either_end() {
        let node = node();
        let expected = [
            (id(5, 10), pairs(&[("a", "1"), ("b", "two")])),
            (id(5, 11), pairs(&[("a", "2"), ("b", "")])),
            (id(7, 0), pairs(&[("a", "3")])),
            (StreamId::MAX, pairs(&[("b", "1"), ("a", "-77777")])),
        ];
        assert!(node.entries().map(shown).eq(expected.clone()));
        assert!(
            node.entries_reversed()
                .map(shown)
                .eq(expected.clone().into_iter().rev())
        );
        assert_eq!(node.get(id(7, 0)).map(shown), Some(expected[2].clone()));
        assert!(node.get(id(7, 1)).is_none() && node.get(id(5, 9)).is_none());
        assert_eq!(node.count_before(id(7, 0)), 2);
    }

    #[test]
    fn what_is_deleted_is_gone_and_is_counted() {
        let mut node = node();
        assert!(!node.delete(id(6, 0)));
        assert!(node.delete(id(5, 10)) && !node.delete(id(5, 10)));
        node.delete_first(1);
        assert_eq!((node.live, node.deleted), (2, 2));
        assert_eq!(node.first_live(), Some(id(7, 0)));
        assert_eq!(node.last_live(), Some(StreamId::MAX));
        assert_eq!(node.first, id(5, 10));
        let left: Vec<Shown> = node.entries().map(shown).collect();
        assert_eq!(left.len(), 2);
        assert_eq!(left[0].1, pairs(&[("a", "3")]));
    }

    #[test]
    fn a_node_from_outside_is_what_is_written_or_refused() {
        let node = node();
        let read = |bytes: &[u8], live| {
            Node::checked(node.first, node.last, [live, 0, node.weight], bytes).is_some()
        };
        assert!(read(node.bytes(), 4));
        assert!(!read(node.bytes(), 3) && !read(node.bytes(), 5));
        for len in 0..node.bytes().len() {
            assert!(!read(&node.bytes()[..len], 4), "{len} bytes");
        }
        // Whatever a changed byte makes of it, it can be read.
        for at in 0..node.bytes().len() {
            for bit in 0..8 {
                let mut bytes = node.bytes().to_vec();
                bytes[at] ^= 1 << bit;
                if let Some(node) = Node::checked(node.first, node.last, [4, 0, 0], &bytes) {
                    assert_eq!(node.entries().map(shown).count(), 4);
                }
            }
        }
        assert!(Node::checked(node.first, id(7, 0), [4, 0, 0], node.bytes()).is_none());
    }
}
