//! Entries: a key and its value in one allocation, and the word that owns it.
//!
//! Unsafe code is in this module, its child and [`crate::member`] alone, and they show no pointer. [`Item`] owns an allocation as a
//! `Box` would; [`Entry`] borrows one. What changes through a shared reference (the access time and
//! the snapshot's epoch) is atomic.

// One allocation whose lengths stand in itself has no safe form.
#![allow(unsafe_code)]

mod collection;
mod item;
#[cfg(test)]
mod tests;

use std::marker::PhantomData;
use std::ptr::NonNull;
use std::slice;
use std::sync::atomic::{AtomicU8, AtomicU32, Ordering::Relaxed};

use base::Timestamp;

use crate::memory::size_class;
use crate::object::{Object, Progress};
use crate::stream::SLICE_BYTES;
use crate::value::{Encoding, Kind};

pub(crate) use item::Item;

/// The key length that says that a `u32` with the real one follows.
const LONG_KEY: u8 = u8::MAX;

/// Flag: an expiry stands after the header.
const EXPIRING: u8 = 1;
/// Flag: the value is a pointer to an [`Object`].
const BOXED: u8 = 2;

/// The start of an entry's allocation. After it come, without padding:
///
/// | bytes | what | when |
/// | --- | --- | --- |
/// | 8 | `expires_at` in ms | flag `EXPIRING` |
/// | 4 | the key's length | `key_len` is 255 |
/// | | the key | |
/// | `value_len` | the value | not `BOXED` |
/// | 8 | `*mut Object`, owned | flag `BOXED`; `value_len` is 8 |
///
/// The allocation's size is the size class of all this, so that an overwrite that stays in the class
/// stays in place.
#[repr(C)]
struct Header {
    /// The kind in the high half (0: string), the encoding in the low one.
    form: u8,
    flags: u8,
    /// The last snapshot that has written this entry or need not, modulo 256.
    epoch: AtomicU8,
    key_len: u8,
    value_len: u32,
    /// Seconds since 1970; not part of the state.
    accessed: AtomicU32,
    /// What the last change of the key drew; see [`crate::versions`].
    version: u32,
}

const HEADER: usize = size_of::<Header>();
const _: () = assert!(HEADER == 16 && align_of::<Header>() == 4);

/// What an entry has beside its value.
pub(crate) struct Head<'a> {
    pub(crate) key: &'a [u8],
    pub(crate) kind: Kind,
    pub(crate) encoding: Encoding,
    pub(crate) expires_at: Option<Timestamp>,
    pub(crate) epoch: u8,
    pub(crate) accessed: u32,
    pub(crate) version: u32,
}

/// A key and what it holds, borrowed from the keyspace.
#[derive(Clone, Copy)]
pub struct Entry<'k> {
    at: NonNull<Header>,
    owner: PhantomData<&'k Item>,
}

// SAFETY: an entry is a shared borrow of an allocation in which only atomics change meanwhile.
unsafe impl Send for Entry<'_> {}
// SAFETY: as above.
unsafe impl Sync for Entry<'_> {}

impl<'k> Entry<'k> {
    /// The key.
    pub fn key(&self) -> &'k [u8] {
        let (at, len) = self.key_range();
        self.bytes(at, len)
    }

    /// What the key holds.
    pub fn kind(&self) -> Kind {
        Kind::of_number(self.header().form >> 4).expect("the kind was written by this module")
    }

    /// The bytes of a string; none if the key holds something else.
    pub fn string(&self) -> Option<&'k [u8]> {
        (self.header().form >> 4 == Kind::String as u8)
            .then(|| self.run().expect("a string is a run of bytes"))
    }

    /// How the value is kept.
    pub fn encoding(&self) -> Encoding {
        Encoding::of_number(self.header().form & 0x0f)
            .expect("the encoding was written by this module")
    }

    /// Visits the value, of whatever kind, as the bytes that it takes in a snapshot, one bounded piece after another.
    /// Equal states give the same pieces.
    pub fn for_each_piece(&self, visit: &mut dyn FnMut(&[u8])) {
        let Some(object) = self.object().filter(|object| object.has_parts()) else {
            visit(self.run().expect("what has no parts is a run"));
            return;
        };
        let (mut progress, mut piece) = (Some(Progress::default()), Vec::new());
        while let Some(from) = progress {
            piece.clear();
            progress = object.write_piece(from, SLICE_BYTES, &mut piece);
            visit(&piece);
        }
    }

    /// The value where it is one run of bytes: a string, or a packed collection. None if it is made
    /// of parts.
    pub(crate) fn run(&self) -> Option<&'k [u8]> {
        match self.object() {
            Some(Object::String(bytes) | Object::Packed(bytes)) => Some(bytes),
            Some(_) => None,
            None => Some(self.inline()),
        }
    }

    /// The value's bytes in the entry itself; those of a pointer where the value is boxed.
    fn inline(&self) -> &'k [u8] {
        self.bytes(self.value_at(), self.header().value_len as usize)
    }

    /// When the key expires, if it does.
    pub fn expires_at(&self) -> Option<Timestamp> {
        if self.header().flags & EXPIRING == 0 {
            return None;
        }
        // SAFETY: with the flag, 8 initialised bytes with the expiry follow the header.
        let millis = unsafe { self.base().add(HEADER).cast::<u64>().read_unaligned() };
        Some(Timestamp::from_millis(millis))
    }

    /// The memory that the key and its value take, by allocation size, with their place in the
    /// table.
    pub fn memory_bytes(&self) -> usize {
        self.allocated_bytes() + size_of::<Item>()
    }

    /// Notes an access at `now`, to the second. Not part of the state.
    pub fn touch(&self, now: Timestamp) {
        let accessed = &self.header().accessed;
        let seconds = seconds_of(now);
        // A store that changes nothing would still take the cache line from other readers.
        if accessed.load(Relaxed) != seconds {
            accessed.store(seconds, Relaxed);
        }
    }

    /// The last access that was noted, or the last write; to the second. Not part of the state.
    pub fn accessed_at(&self) -> Timestamp {
        Timestamp::from_millis(u64::from(self.header().accessed.load(Relaxed)) * 1000)
    }

    /// Whether the entry is there for a reader at `now`.
    pub(crate) fn is_live(&self, now: Timestamp) -> bool {
        self.expires_at().is_none_or(|at| at > now)
    }

    /// What the last change of the key drew.
    pub(crate) fn version(&self) -> u32 {
        self.header().version
    }

    /// The last snapshot that has written this entry or need not, modulo 256.
    pub(crate) fn epoch(&self) -> u8 {
        self.header().epoch.load(Relaxed)
    }

    pub(crate) fn set_epoch(&self, epoch: u8) {
        self.header().epoch.store(epoch, Relaxed);
    }

    /// Whether freeing the value takes so long that others would notice.
    pub(crate) fn is_large(&self) -> bool {
        self.object().is_some_and(Object::is_large)
    }

    /// The memory of the entry and its object.
    pub(crate) fn allocated_bytes(&self) -> usize {
        size_class(self.size()) + self.object().map_or(0, Object::memory_bytes)
    }

    /// All beside the value.
    pub(crate) fn head(&self) -> Head<'k> {
        Head {
            key: self.key(),
            kind: self.kind(),
            encoding: self.encoding(),
            expires_at: self.expires_at(),
            epoch: self.epoch(),
            accessed: self.header().accessed.load(Relaxed),
            version: self.version(),
        }
    }

    fn is_boxed(&self) -> bool {
        self.header().flags & BOXED != 0
    }

    pub(crate) fn object(&self) -> Option<&'k Object> {
        // SAFETY: the entry owns the object, and the entry is borrowed for `'k`.
        self.object_ptr().map(|object| unsafe { object.as_ref() })
    }

    fn object_ptr(&self) -> Option<NonNull<Object>> {
        if !self.is_boxed() {
            return None;
        }
        // SAFETY: with the flag, the value is a pointer from `Box::into_raw`.
        let object = unsafe { self.base().add(self.value_at()).cast::<*mut Object>() };
        // SAFETY: as above.
        NonNull::new(unsafe { object.read_unaligned() })
    }

    fn header(&self) -> &'k Header {
        // SAFETY: an item that is not empty owns an allocation that starts with a header, and it is
        // borrowed for `'k`.
        unsafe { self.at.as_ref() }
    }

    fn base(&self) -> *mut u8 {
        self.at.as_ptr().cast()
    }

    /// Where the key starts, and its length.
    fn key_range(&self) -> (usize, usize) {
        let header = self.header();
        let at = HEADER + if header.flags & EXPIRING != 0 { 8 } else { 0 };
        if header.key_len != LONG_KEY {
            return (at, usize::from(header.key_len));
        }
        // SAFETY: with that key length, 4 initialised bytes with the real one stand here.
        let len = unsafe { self.base().add(at).cast::<u32>().read_unaligned() };
        (at + 4, len as usize)
    }

    fn value_at(&self) -> usize {
        let (at, len) = self.key_range();
        at + len
    }

    fn size(&self) -> usize {
        self.value_at() + self.header().value_len as usize
    }

    /// Part of the allocation; the caller names the key's or the inline value's range.
    fn bytes(&self, at: usize, len: usize) -> &'k [u8] {
        // SAFETY: both ranges lie in the allocation, are initialised, and do not change while the
        // item is borrowed.
        unsafe { slice::from_raw_parts(self.base().add(at), len) }
    }
}

/// The seconds of a moment, as entries keep them (until 2106).
pub(crate) fn seconds_of(now: Timestamp) -> u32 {
    u32::try_from(now.seconds()).unwrap_or(u32::MAX)
}
