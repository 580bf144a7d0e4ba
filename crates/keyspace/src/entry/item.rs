//! The word that owns an entry.

// See the parent module.
#![allow(unsafe_code)]

use std::alloc::{Layout, alloc, dealloc, handle_alloc_error};
use std::marker::PhantomData;
use std::ptr::{self, NonNull};
use std::slice;
use std::sync::atomic::{AtomicU8, AtomicU32};

use base::Timestamp;

use super::{BOXED, EXPIRING, Entry, HEADER, Head, Header, LONG_KEY};
use crate::memory::size_class;
use crate::object::Object;
use crate::places::Placed;
use crate::prefetch::prefetch;
use crate::value::{Encoding, Kind};

/// A value that APPEND or SETRANGE lengthens beyond this gets an allocation of its own, which grows
/// in proportion; up to this the entry is written anew, which costs no more than a constant.
const GROWN_INLINE_BYTES: usize = 128;

/// A longer value stands in an allocation of its own.
pub(super) const INLINE_BYTES: usize = 16 << 10;

pub(super) enum Body<'a> {
    /// These bytes, and zeros up to that length.
    Inline(&'a [u8], usize),
    /// These runs of bytes, one after another.
    Joined([&'a [u8]; 3]),
    Boxed(Box<Object>),
}

/// A place of a table: nothing, or an entry that it owns, and 16 bits of the entry's hash.
///
/// The tag stands in the high 16 bits, the address in the low 48; an empty place is 0.
pub(crate) struct Item(u64);

const ADDRESS_BITS: u32 = 48;
const ADDRESS_MASK: u64 = (1 << ADDRESS_BITS) - 1;

impl Placed for Item {
    const EMPTY: Item = Item(0);

    fn is_empty(&self) -> bool {
        self.0 == 0
    }

    fn tag(&self) -> u16 {
        (self.0 >> ADDRESS_BITS) as u16
    }

    fn set_tag(&mut self, tag: u16) {
        debug_assert!(!self.is_empty());
        self.0 = u64::from(tag) << ADDRESS_BITS | self.0 & ADDRESS_MASK;
    }

    fn key(&self) -> &[u8] {
        self.occupied().key()
    }
}

impl Item {
    /// Asks for the memory of the entry, as far as a small one reaches.
    pub(crate) fn prefetch(&self) {
        let entry = (self.0 & ADDRESS_MASK) as usize as *const u8;
        prefetch(entry);
        prefetch(entry.wrapping_add(64));
    }

    /// A string entry with tag 0.
    ///
    /// # Panics
    /// If the key or the value is 4 GiB or longer.
    pub(crate) fn string(head: &Head<'_>, value: &[u8]) -> Item {
        if value.len() > INLINE_BYTES {
            Item::build(head, Body::Boxed(Box::new(Object::String(value.to_vec()))))
        } else {
            Item::build(head, Body::Inline(value, value.len()))
        }
    }

    /// An entry of a packed collection, with tag 0.
    pub(crate) fn packed(head: &Head<'_>, run: &[u8]) -> Item {
        if run.len() > INLINE_BYTES {
            Item::build(head, Body::Boxed(Box::new(Object::Packed(run.to_vec()))))
        } else {
            Item::build(head, Body::Inline(run, run.len()))
        }
    }

    /// An entry of an object, with tag 0.
    pub(crate) fn boxed(head: &Head<'_>, object: Object) -> Item {
        Item::build(head, Body::Boxed(Box::new(object)))
    }

    pub(super) fn build(head: &Head<'_>, body: Body<'_>) -> Item {
        let key_len = u32::try_from(head.key.len()).expect("keys are shorter than 4 GiB");
        let short_key = u8::try_from(key_len).ok().filter(|&len| len != LONG_KEY);
        let value_len = match &body {
            Body::Inline(value, len) => *len.max(&value.len()),
            Body::Joined(runs) => runs.iter().map(|run| run.len()).sum(),
            Body::Boxed(_) => size_of::<*mut Object>(),
        };
        let expiring = head.expires_at.is_some();
        let header = Header {
            form: form(head.kind, head.encoding),
            flags: if expiring { EXPIRING } else { 0 }
                | if matches!(body, Body::Boxed(_)) {
                    BOXED
                } else {
                    0
                },
            epoch: AtomicU8::new(head.epoch),
            key_len: short_key.unwrap_or(LONG_KEY),
            value_len: u32::try_from(value_len).expect("values are shorter than 4 GiB"),
            accessed: AtomicU32::new(head.accessed),
            version: head.version,
        };
        let expiry_at = HEADER;
        let key_len_at = expiry_at + if expiring { 8 } else { 0 };
        let key_at = key_len_at + if short_key.is_none() { 4 } else { 0 };
        let value_at = key_at + head.key.len();
        let layout = layout(value_at + value_len);

        // SAFETY: the layout has at least the header's 16 bytes.
        let at = unsafe { alloc(layout) };
        if at.is_null() {
            handle_alloc_error(layout);
        }
        // SAFETY: all offsets lie within `value_at + value_len` bytes, which the allocation has; the
        // header is at its start, which is aligned for it, the rest is written unaligned or as
        // bytes; a fresh allocation overlaps nothing.
        unsafe {
            at.cast::<Header>().write(header);
            if let Some(expires_at) = head.expires_at {
                at.add(expiry_at)
                    .cast::<u64>()
                    .write_unaligned(expires_at.millis());
            }
            if short_key.is_none() {
                at.add(key_len_at).cast::<u32>().write_unaligned(key_len);
            }
            ptr::copy_nonoverlapping(head.key.as_ptr(), at.add(key_at), head.key.len());
            match body {
                Body::Inline(value, _) => {
                    let value_at = at.add(value_at);
                    ptr::copy_nonoverlapping(value.as_ptr(), value_at, value.len());
                    value_at
                        .add(value.len())
                        .write_bytes(0, value_len - value.len());
                }
                Body::Joined(runs) => {
                    let mut end = at.add(value_at);
                    for run in runs {
                        ptr::copy_nonoverlapping(run.as_ptr(), end, run.len());
                        end = end.add(run.len());
                    }
                }
                Body::Boxed(object) => {
                    at.add(value_at)
                        .cast::<*mut Object>()
                        .write_unaligned(Box::into_raw(object));
                }
            }
        }
        let address = at.expose_provenance() as u64;
        assert!(address & !ADDRESS_MASK == 0, "user addresses have 48 bits");
        Item(address)
    }

    pub(crate) fn entry(&self) -> Option<Entry<'_>> {
        let at = NonNull::new(ptr::with_exposed_provenance_mut(
            (self.0 & ADDRESS_MASK) as usize,
        ))?;
        Some(Entry {
            at,
            owner: PhantomData,
        })
    }

    /// The entry of an item that is not empty.
    pub(crate) fn occupied(&self) -> Entry<'_> {
        self.entry().expect("the item holds an entry")
    }

    /// Puts another string in the place of this one; without an allocation where the new one has
    /// the size class of the old.
    pub(crate) fn set_string(&mut self, value: &[u8], head: &Head<'_>) {
        let entry = self.occupied();
        let same_shape = entry.kind() == Kind::String
            && entry.expires_at().is_some() == head.expires_at.is_some();
        let boxed = entry.is_boxed();
        let value_at = entry.value_at();
        let in_place = same_shape
            && boxed == (value.len() > INLINE_BYTES)
            && (boxed || size_class(value_at + value.len()) == size_class(entry.size()));
        if !in_place {
            let mut new = Item::string(
                &Head {
                    key: entry.key(),
                    ..*head
                },
                value,
            );
            new.set_tag(self.tag());
            *self = new;
            return;
        }
        if boxed {
            let bytes = self.string_object();
            bytes.clear();
            bytes.extend_from_slice(value);
            if bytes.capacity() / 2 > bytes.len() {
                bytes.shrink_to_fit();
            }
        } else {
            // SAFETY: the value is inline and the new one ends within the same size class, which
            // is the allocation's size; `value` is not part of it, for `self` is borrowed mutably.
            unsafe {
                ptr::copy_nonoverlapping(value.as_ptr(), self.at().add(value_at), value.len());
            }
            self.header_mut().value_len = value.len() as u32;
        }
        let header = self.header_mut();
        header.form = form(Kind::String, head.encoding);
        *header.epoch.get_mut() = head.epoch;
        *header.accessed.get_mut() = head.accessed;
        header.version = head.version;
        if let Some(expires_at) = head.expires_at {
            self.write_expiry(expires_at);
        }
    }

    /// Makes the string at least `len` bytes long, filled up with zeros, and gives it for change; it
    /// is `Raw` from now on. Repeated lengthening costs amortised what is added.
    pub(crate) fn string_mut(&mut self, len: usize) -> &mut [u8] {
        let entry = self.occupied();
        let string = entry.string().expect("the value is a string");
        let (old_len, value_at) = (string.len(), entry.value_at());
        if !entry.is_boxed() && old_len < len {
            if size_class(value_at + len) == size_class(entry.size()) && len <= INLINE_BYTES {
                // SAFETY: the value is inline and its new end lies within the same size class,
                // which is the allocation's size.
                let added = unsafe { self.at().add(value_at + old_len) };
                // SAFETY: as above.
                unsafe { added.write_bytes(0, len - old_len) };
                self.header_mut().value_len = len as u32;
            } else {
                let body = if len <= GROWN_INLINE_BYTES {
                    Body::Inline(string, len)
                } else {
                    let mut bytes = Vec::with_capacity(len);
                    bytes.extend_from_slice(string);
                    Body::Boxed(Box::new(Object::String(bytes)))
                };
                let mut new = Item::build(&entry.head(), body);
                new.set_tag(self.tag());
                *self = new;
            }
        }
        self.header_mut().form = form(Kind::String, Encoding::Raw);
        let at = self.at();
        let entry = self.occupied();
        let (boxed, inline_len) = (entry.is_boxed(), entry.header().value_len as usize);
        if boxed {
            let bytes = self.string_object();
            if bytes.len() < len {
                bytes.resize(len, 0);
            }
            return bytes;
        }
        // SAFETY: an inline value is `value_len` initialised bytes at `value_at`, and `self` is
        // borrowed mutably for as long as the slice lives. A rebuilt entry has the same shape but
        // for the value's end, so `value_at` still holds.
        unsafe { slice::from_raw_parts_mut(at.add(value_at), inline_len) }
    }

    /// The key has changed.
    pub(crate) fn set_version(&mut self, version: u32) {
        self.header_mut().version = version;
    }

    /// Sets or clears the expiry.
    pub(crate) fn set_expires_at(&mut self, expires_at: Option<Timestamp>) {
        let entry = self.occupied();
        match (entry.expires_at(), expires_at) {
            (None, None) => {}
            (Some(_), Some(at)) => self.write_expiry(at),
            _ => {
                let tag = self.tag();
                let old = std::mem::replace(self, Item::EMPTY);
                *self = old.moved(None, Some(expires_at));
                self.set_tag(tag);
            }
        }
    }

    /// The same value under another key, with tag 0.
    pub(crate) fn renamed(self, key: &[u8]) -> Item {
        self.moved(Some(key), None)
    }

    /// Builds the entry anew with some of its parts replaced; an object moves along.
    fn moved(mut self, key: Option<&[u8]>, expires_at: Option<Option<Timestamp>>) -> Item {
        let object = self.take_object();
        let entry = self.occupied();
        let mut head = entry.head();
        head.key = key.unwrap_or(head.key);
        head.expires_at = expires_at.unwrap_or(head.expires_at);
        let body = match object {
            Some(object) => Body::Boxed(object),
            None => Body::Inline(entry.inline(), 0),
        };
        Item::build(&head, body)
    }

    /// The bytes of a boxed string.
    fn string_object(&mut self) -> &mut Vec<u8> {
        match self.object_mut() {
            Some(Object::String(bytes)) => bytes,
            _ => unreachable!("a boxed string is a string"),
        }
    }

    /// Takes the object out of a boxed entry and leaves 8 meaningless bytes as its inline value.
    fn take_object(&mut self) -> Option<Box<Object>> {
        let object = self.occupied().object_ptr()?;
        self.header_mut().flags &= !BOXED;
        // SAFETY: the pointer came from `Box::into_raw`; without the flag, nobody else frees it.
        Some(unsafe { Box::from_raw(object.as_ptr()) })
    }

    /// The object of a boxed entry, for change.
    pub(crate) fn object_mut(&mut self) -> Option<&mut Object> {
        let mut object = self.occupied().object_ptr()?;
        // SAFETY: the entry owns the object, and `self` is borrowed mutably meanwhile.
        Some(unsafe { object.as_mut() })
    }

    pub(super) fn at(&mut self) -> *mut u8 {
        ptr::with_exposed_provenance_mut((self.0 & ADDRESS_MASK) as usize)
    }

    pub(super) fn header_mut(&mut self) -> &mut Header {
        assert!(!self.is_empty(), "the item holds an entry");
        // SAFETY: an item that is not empty owns an allocation that starts with a header, and it is
        // borrowed mutably meanwhile.
        unsafe { &mut *self.at().cast::<Header>() }
    }

    fn write_expiry(&mut self, expires_at: Timestamp) {
        assert!(
            self.header_mut().flags & EXPIRING != 0,
            "the entry has room for an expiry"
        );
        // SAFETY: with the flag, 8 bytes for the expiry follow the header.
        let expiry = unsafe { self.at().add(HEADER).cast::<u64>() };
        // SAFETY: as above.
        unsafe { expiry.write_unaligned(expires_at.millis()) };
    }

    /// The value of `entry` with another head.
    pub(crate) fn copy_of(entry: Entry<'_>, head: &Head<'_>) -> Item {
        match entry.object() {
            Some(object) => Item::build(head, Body::Boxed(Box::new(object.clone()))),
            None => Item::build(head, Body::Inline(entry.inline(), 0)),
        }
    }
}

impl Drop for Item {
    fn drop(&mut self) {
        let Some(entry) = self.entry() else { return };
        let layout = layout(entry.size());
        drop(self.take_object());
        // SAFETY: the item owns the allocation, which was made with this layout: whatever changes
        // the size in place keeps the size class, and taking the object out keeps the size.
        unsafe { dealloc(self.at(), layout) };
    }
}

/// Kind and encoding as the header has them.
pub(super) fn form(kind: Kind, encoding: Encoding) -> u8 {
    (kind as u8) << 4 | encoding as u8
}

fn layout(size: usize) -> Layout {
    Layout::from_size_align(size_class(size), align_of::<u64>())
        .expect("an entry is far smaller than the address space")
}
