//! Elements of large collections: a key and what belongs to it in one allocation, and the word that
//! owns it.
//!
//! With `entry` and `scored`, this is the only module that keeps its data in allocations of its own; it shows no pointer.
//! [`Member`] owns its allocation as a `Box` would.

// One allocation whose lengths stand in itself has no safe form.
#![allow(unsafe_code)]

use std::alloc::{Layout, alloc, dealloc, handle_alloc_error};
use std::ptr;
use std::slice;

use crate::memory::size_class;
use crate::places::Placed;

/// A place of a collection's table: nothing, or an element that it owns, and 16 bits of the hash of its
/// key.
///
/// The tag stands in the high 16 bits, the address in the low 48; an empty place is 0. The
/// allocation is:
///
/// | bytes | what |
/// | --- | --- |
/// | 1 or 5 | the key's length: below 255 in one byte, else that byte and 4 more |
/// | 1 or 5 | the value's length, likewise |
/// | | the key |
/// | | the value |
///
/// It has the size class of all this, so that a value that stays in the class is changed in place.
pub(crate) struct Member(u64);

const ADDRESS_BITS: u32 = 48;
const ADDRESS_MASK: u64 = (1 << ADDRESS_BITS) - 1;

/// The byte that says that a `u32` with the real length follows.
const LONG: u8 = u8::MAX;

/// How many bytes a length takes.
fn length_bytes(len: usize) -> usize {
    if len < usize::from(LONG) { 1 } else { 5 }
}

/// Where things are in an allocation.
#[derive(Clone, Copy)]
struct Shape {
    key_at: usize,
    key_len: usize,
    value_len: usize,
}

impl Shape {
    fn of(key: &[u8], value: &[u8]) -> Shape {
        Shape {
            key_at: length_bytes(key.len()) + length_bytes(value.len()),
            key_len: key.len(),
            value_len: value.len(),
        }
    }

    fn value_at(self) -> usize {
        self.key_at + self.key_len
    }

    fn size(self) -> usize {
        self.value_at() + self.value_len
    }
}

impl Member {
    /// An element with tag 0.
    ///
    /// # Panics
    /// If the key or the value is 4 GiB or longer.
    pub(crate) fn new(key: &[u8], value: &[u8]) -> Member {
        let shape = Shape::of(key, value);
        let layout = layout(shape.size());
        // SAFETY: the layout has two bytes at the least.
        let at = unsafe { alloc(layout) };
        if at.is_null() {
            handle_alloc_error(layout);
        }
        let mut end = 0;
        for len in [key.len(), value.len()] {
            // SAFETY: the lengths take `key_at` bytes, which the allocation has.
            end += unsafe { write_length(at.add(end), len) };
        }
        debug_assert_eq!(end, shape.key_at);
        // SAFETY: key and value end within `size` bytes, and a fresh allocation overlaps nothing.
        unsafe {
            ptr::copy_nonoverlapping(key.as_ptr(), at.add(shape.key_at), key.len());
            ptr::copy_nonoverlapping(value.as_ptr(), at.add(shape.value_at()), value.len());
        }
        let address = at.expose_provenance() as u64;
        assert!(address & !ADDRESS_MASK == 0, "user addresses have 48 bits");
        Member(address)
    }

    /// What belongs to the key.
    pub(crate) fn value(&self) -> &[u8] {
        let shape = self.shape();
        self.bytes(shape.value_at(), shape.value_len)
    }

    /// Puts another value in the place of this one; without an allocation where it has the size class of
    /// the old.
    pub(crate) fn set_value(&mut self, value: &[u8]) {
        let old = self.shape();
        let new = Shape::of(self.key(), value);
        if old.key_at == new.key_at && size_class(old.size()) == size_class(new.size()) {
            let at = self.at();
            // SAFETY: the new value ends within the size class, which is the allocation's size, the length takes
            // as many bytes as before, and `value` is no part of it, for `self` is borrowed mutably.
            unsafe {
                write_length(at.add(length_bytes(old.key_len)), value.len());
                ptr::copy_nonoverlapping(value.as_ptr(), at.add(new.value_at()), value.len());
            }
        } else {
            let mut other = Member::new(self.key(), value);
            other.set_tag(self.tag());
            *self = other;
        }
    }

    /// The memory that the element takes beside its place.
    pub(crate) fn allocated_bytes(&self) -> usize {
        size_class(self.shape().size())
    }

    fn at(&self) -> *mut u8 {
        assert!(self.0 != 0, "the place holds an element");
        ptr::with_exposed_provenance_mut((self.0 & ADDRESS_MASK) as usize)
    }

    fn length_at(&self, offset: usize) -> usize {
        // SAFETY: a length starts here: one initialised byte, and four more if that is `LONG`.
        unsafe {
            let at = self.at().add(offset);
            match at.read() {
                LONG => at.add(1).cast::<u32>().read_unaligned() as usize,
                len => usize::from(len),
            }
        }
    }

    fn shape(&self) -> Shape {
        let key_len = self.length_at(0);
        let value_len = self.length_at(length_bytes(key_len));
        Shape {
            key_at: length_bytes(key_len) + length_bytes(value_len),
            key_len,
            value_len,
        }
    }

    fn bytes(&self, at: usize, len: usize) -> &[u8] {
        // SAFETY: the caller names the range of the key or of the value, which lie in the allocation, are
        // initialised, and do not change while the member is borrowed.
        unsafe { slice::from_raw_parts(self.at().add(at), len) }
    }
}

impl Placed for Member {
    const EMPTY: Member = Member(0);

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
        let shape = self.shape();
        self.bytes(shape.key_at, shape.key_len)
    }
}

impl Clone for Member {
    fn clone(&self) -> Member {
        if self.is_empty() {
            return Member::EMPTY;
        }
        let mut other = Member::new(self.key(), self.value());
        other.set_tag(self.tag());
        other
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        if self.is_empty() {
            return;
        }
        let layout = layout(self.shape().size());
        // SAFETY: the member owns the allocation, which was made with this layout: what changes the
        // size in place keeps the size class.
        unsafe { dealloc(self.at(), layout) };
    }
}

fn layout(size: usize) -> Layout {
    Layout::from_size_align(size_class(size), 1)
        .expect("an element is far smaller than the address space")
}

/// Writes a length, and tells how many bytes it takes.
///
/// # Safety
/// So many bytes from `at` on are the caller's to write.
unsafe fn write_length(at: *mut u8, len: usize) -> usize {
    match u8::try_from(len) {
        Ok(short) if short != LONG => {
            // SAFETY: the caller has the byte.
            unsafe { at.write(short) };
        }
        _ => {
            let long = u32::try_from(len).expect("elements are shorter than 4 GiB");
            // SAFETY: the caller has the five bytes.
            unsafe {
                at.write(LONG);
                at.add(1).cast::<u32>().write_unaligned(long);
            }
        }
    }
    length_bytes(len)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_and_values_of_any_length_are_kept_and_changed() {
        let lengths = [0, 1, 13, 200, 254, 255, 256, 300, 70_000];
        for key_len in lengths {
            let key = vec![b'k'; key_len];
            for old in lengths {
                for new in lengths {
                    let mut member = Member::new(&key, &vec![1; old]);
                    member.set_tag(0xabcd);
                    let copy = member.clone();
                    member.set_value(&vec![2; new]);
                    assert_eq!((member.key(), member.tag()), (key.as_slice(), 0xabcd));
                    assert_eq!(member.value(), vec![2; new]);
                    assert_eq!((copy.key(), copy.value()), (key.as_slice(), &*vec![1; old]));
                    assert_eq!(copy.tag(), 0xabcd);
                }
            }
        }
        assert!([Member::EMPTY].to_vec()[0].is_empty());
    }

    #[test]
    fn a_short_member_takes_two_bytes_beside_itself() {
        assert_eq!(Member::new(&[b'x'; 14], b"").allocated_bytes(), 16);
        assert_eq!(Member::new(&[b'x'; 14], &[b'y'; 16]).allocated_bytes(), 32);
    }
}
