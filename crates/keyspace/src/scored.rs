//! Members of large sorted sets: score and member in one allocation that several own.
//!
//! The table of members and the order by score each own every element, and so do the copies that snapshots and
//! COPY have made of their parts: an element is counted, never copied, and never changed. With `entry` and `member`, this
//! is the only module that keeps its data in allocations of its own; it shows no pointer.

// One allocation whose length stands in itself has no safe form.
#![allow(unsafe_code)]

use std::alloc::{Layout, alloc, dealloc, handle_alloc_error};
use std::ptr;
use std::slice;
use std::sync::atomic::{AtomicU32, Ordering, fence};

use crate::memory::size_class;
use crate::places::Placed;

/// A place of a table: nothing, or one of the owners of an element, and 16 bits of the hash of its member.
///
/// The tag stands in the high 16 bits, the address in the low 48; an empty place is 0. The allocation is a
/// [`Header`] and the member's bytes.
pub(crate) struct Scored(u64);

#[repr(C)]
struct Header {
    score: f64,
    owners: AtomicU32,
    len: u32,
}

const HEADER: usize = size_of::<Header>();

/// An element takes memory for each place of an owner, so this many cannot be reached by use.
const OWNERS_MAX: u32 = u32::MAX / 2;

const ADDRESS_BITS: u32 = 48;
const ADDRESS_MASK: u64 = (1 << ADDRESS_BITS) - 1;

impl Scored {
    /// An element with one owner and tag 0.
    ///
    /// # Panics
    /// If the member is 4 GiB or longer.
    pub(crate) fn new(score: f64, member: &[u8]) -> Scored {
        let header = Header {
            score,
            owners: AtomicU32::new(1),
            len: u32::try_from(member.len()).expect("members are shorter than 4 GiB"),
        };
        let layout = layout(member.len());
        // SAFETY: the layout has the header's bytes at the least.
        let at = unsafe { alloc(layout) };
        if at.is_null() {
            handle_alloc_error(layout);
        }
        // SAFETY: the header is at the start, which is aligned for it, the member ends within the layout, and
        // a fresh allocation overlaps nothing.
        unsafe {
            at.cast::<Header>().write(header);
            ptr::copy_nonoverlapping(member.as_ptr(), at.add(HEADER), member.len());
        }
        let address = at.expose_provenance() as u64;
        assert!(address & !ADDRESS_MASK == 0, "user addresses have 48 bits");
        Scored(address)
    }

    pub(crate) fn score(&self) -> f64 {
        self.header().score
    }

    pub(crate) fn member(&self) -> &[u8] {
        let len = self.header().len as usize;
        // SAFETY: `len` initialised bytes follow the header, and nothing changes them while there is an owner.
        unsafe { slice::from_raw_parts(self.at().add(HEADER), len) }
    }

    /// The memory of the element, whoever owns it.
    pub(crate) fn allocated_bytes(&self) -> usize {
        size_class(HEADER + self.header().len as usize)
    }

    fn at(&self) -> *mut u8 {
        assert!(self.0 != 0, "the place holds an element");
        ptr::with_exposed_provenance_mut((self.0 & ADDRESS_MASK) as usize)
    }

    fn header(&self) -> &Header {
        // SAFETY: an element's allocation starts with an initialised header and lives as long as an owner;
        // beside the count, which is atomic, it never changes.
        unsafe { &*self.at().cast::<Header>() }
    }
}

impl Placed for Scored {
    const EMPTY: Scored = Scored(0);

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
        self.member()
    }
}

impl Clone for Scored {
    /// One more owner of the same element.
    fn clone(&self) -> Scored {
        if !self.is_empty() {
            let owners = self.header().owners.fetch_add(1, Ordering::Relaxed);
            assert!(owners < OWNERS_MAX, "an element has fewer owners than that");
        }
        Scored(self.0)
    }
}

impl Drop for Scored {
    fn drop(&mut self) {
        if self.is_empty() || self.header().owners.fetch_sub(1, Ordering::Release) > 1 {
            return;
        }
        // What other threads did with the element as its owners comes before its end.
        fence(Ordering::Acquire);
        let layout = layout(self.header().len as usize);
        // SAFETY: this was the last owner, and the allocation was made with this layout.
        unsafe { dealloc(self.at(), layout) };
    }
}

fn layout(member_len: usize) -> Layout {
    Layout::from_size_align(size_class(HEADER + member_len), align_of::<Header>())
        .expect("an element is far smaller than the address space")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_element_lives_as_long_as_its_last_owner() {
        for len in [0, 1, 16, 17, 255, 70_000] {
            let member = vec![b'm'; len];
            let mut first = Scored::new(-1.5, &member);
            first.set_tag(0xabcd);
            let others = vec![first.clone(); 3];
            first.set_tag(1);
            let last = others[2].clone();
            drop(others);
            assert_eq!(first.header().owners.load(Ordering::Relaxed), 2);
            drop(first);
            assert_eq!((last.score(), last.member()), (-1.5, member.as_slice()));
            assert_eq!((last.key(), last.tag()), (member.as_slice(), 0xabcd));
        }
        assert!([Scored::EMPTY].to_vec()[0].is_empty());
    }

    #[test]
    #[expect(
        clippy::disallowed_methods,
        reason = "snapshots are freed on another thread"
    )]
    fn owners_on_other_threads_count() {
        let first = Scored::new(7.0, b"member");
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..1000 {
                        let own = first.clone();
                        assert_eq!(own.score().to_bits(), first.score().to_bits());
                    }
                });
            }
        });
        assert_eq!(first.header().owners.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn a_short_member_takes_16_bytes_beside_itself() {
        assert_eq!(Scored::new(0.0, &[b'x'; 16]).allocated_bytes(), 32);
    }
}
