//! Values that are too large or too lively to stand in their entry.
//!
//! Those made of parts (see [`Object::has_parts`]) share them: a clone, for a snapshot or for COPY, takes time and
//! memory in proportion to the number of parts, and a change after it copies the part that it touches. They
//! stand in snapshots as pieces of a bounded size.

use crate::elements::Elements;
use crate::hasher::Hasher;
use crate::members::Members;
use crate::memory::size_class;
use crate::places::Placed;
use crate::ranking::Ranking;
use crate::stream::{decode_length, encode_length, take};
use crate::stream_log::Log;
use crate::value::{Encoding, Kind};

/// See the module.
#[derive(Clone)]
pub(crate) enum Object {
    String(Vec<u8>),
    /// A packed collection or a set of numbers, with the layout that it has in an entry.
    Packed(Vec<u8>),
    /// A hash, or a set: then the values are empty.
    Members(Members),
    SortedSet(Box<Ranking>),
    List(Elements),
    Stream(Box<Log>),
}

/// A collection of more memory is not freed on the way.
const FREED_AT_ONCE_BYTES: usize = 64 << 10;

/// Nor is a single run of bytes that is longer.
pub(crate) const RUN_FREED_AT_ONCE_BYTES: usize = 4 << 20;

/// Where in an object of parts the next piece starts: what the two numbers mean is the object's
/// affair. The start is (0, 0).
pub(crate) type Progress = (usize, usize);

impl Object {
    /// An object of parts that holds nothing yet; none if there is none of that form.
    pub(crate) fn with_parts(kind: Kind, encoding: Encoding) -> Option<Object> {
        match (kind, encoding) {
            (Kind::Hash | Kind::Set, Encoding::Hashtable) => {
                Some(Object::Members(Members::default()))
            }
            (Kind::SortedSet, Encoding::Skiplist) => Some(Object::SortedSet(Box::default())),
            (Kind::List, Encoding::Quicklist) => Some(Object::List(Elements::default())),
            (Kind::Stream, Encoding::Stream) => Some(Object::Stream(Box::default())),
            _ => None,
        }
    }

    /// Whether it is made of parts.
    pub(crate) fn has_parts(&self) -> bool {
        match self {
            Object::String(_) | Object::Packed(_) => false,
            Object::Members(_) | Object::SortedSet(_) | Object::List(_) | Object::Stream(_) => true,
        }
    }

    /// Whether freeing it takes so long that others would notice.
    pub(crate) fn is_large(&self) -> bool {
        let most = if self.has_parts() {
            FREED_AT_ONCE_BYTES
        } else {
            RUN_FREED_AT_ONCE_BYTES
        };
        self.memory_bytes() > most
    }

    /// The memory that it takes, in constant time. What it shares with others counts as its own.
    pub(crate) fn memory_bytes(&self) -> usize {
        size_class(size_of::<Object>())
            + match self {
                Object::String(bytes) | Object::Packed(bytes) => size_class(bytes.capacity()),
                Object::Members(members) => members.memory_bytes(),
                Object::SortedSet(ranking) => {
                    size_class(size_of::<Ranking>()) + ranking.memory_bytes()
                }
                Object::List(elements) => elements.memory_bytes(),
                Object::Stream(log) => log.memory_bytes(),
            }
    }

    /// Appends elements from `from` on until `out` has reached `until` bytes, and at least one; where
    /// the next piece starts, or none at the end. Where pieces end is a function of the content.
    ///
    /// # Panics
    /// If it has no parts.
    pub(crate) fn write_piece(
        &self,
        from: Progress,
        until: usize,
        out: &mut Vec<u8>,
    ) -> Option<Progress> {
        match self {
            Object::String(_) | Object::Packed(_) => unreachable!("only what has parts is parted"),
            Object::Members(members) => {
                let mut written = false;
                for (place, member) in members.iter_from(from) {
                    if written && out.len() >= until {
                        return Some(place);
                    }
                    let (key, value) = (member.key(), member.value());
                    encode_length(key.len(), out);
                    encode_length(value.len(), out);
                    out.extend_from_slice(key);
                    out.extend_from_slice(value);
                    written = true;
                }
                None
            }
            Object::SortedSet(ranking) => {
                let len = ranking.len();
                for (rank, item) in (from.0..len).zip(ranking.order().range(from.0..len)) {
                    if rank > from.0 && out.len() >= until {
                        return Some((rank, 0));
                    }
                    let member = item.scored.member();
                    encode_length(member.len(), out);
                    out.extend_from_slice(&item.score.to_le_bytes());
                    out.extend_from_slice(member);
                }
                None
            }
            Object::List(elements) => elements.write_piece(from, until, out),
            Object::Stream(log) => log.write_piece(from, until, out),
        }
    }

    /// Adds the elements of the next piece; what is wrong with it if it is none.
    pub(crate) fn read_piece(
        &mut self,
        hasher: Hasher,
        mut piece: &[u8],
    ) -> Result<(), &'static str> {
        match self {
            Object::String(_) | Object::Packed(_) => Err("only what has parts is parted"),
            Object::Members(members) => {
                while !piece.is_empty() {
                    let key_len = decode_length(&mut piece)?;
                    let value_len = decode_length(&mut piece)?;
                    let key = take(&mut piece, key_len)?;
                    let value = take(&mut piece, value_len)?;
                    if !members.insert(hasher, key, value) {
                        return Err("an element stands twice");
                    }
                }
                Ok(())
            }
            Object::SortedSet(ranking) => {
                while !piece.is_empty() {
                    let member_len = decode_length(&mut piece)?;
                    let score = take(&mut piece, size_of::<f64>())?;
                    let score = f64::from_le_bytes(score.try_into().expect("the length is so"));
                    let member = take(&mut piece, member_len)?;
                    if score.is_nan() {
                        return Err("a score is no number");
                    }
                    if !ranking.push(hasher, score, member) {
                        return Err("members are not in the order of their scores");
                    }
                }
                Ok(())
            }
            Object::List(elements) => elements.read_piece(piece),
            Object::Stream(log) => log.read_piece(piece),
        }
    }

    /// Whether it holds nothing. Such a collection is none: its key is absent. A stream may be without entries.
    pub(crate) fn is_empty(&self) -> bool {
        match self {
            Object::String(_) | Object::Packed(_) | Object::Stream(_) => false,
            Object::Members(members) => members.len() == 0,
            Object::SortedSet(ranking) => ranking.len() == 0,
            Object::List(elements) => elements.len() == 0,
        }
    }

    /// Asserts what the modules of the parts state.
    #[cfg(test)]
    pub(crate) fn check(&self, hasher: Hasher) {
        match self {
            Object::String(_) | Object::Packed(_) => {}
            Object::Members(members) => members.check(hasher),
            Object::SortedSet(ranking) => ranking.check(hasher),
            Object::List(elements) => elements.check(),
            Object::Stream(log) => log.check(),
        }
    }
}
