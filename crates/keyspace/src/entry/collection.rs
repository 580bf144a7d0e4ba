//! How the value of a collection changes in its entry.

// See the parent module.
#![allow(unsafe_code)]

use std::ops::Range;
use std::ptr;

use super::item::{Body, INLINE_BYTES, Item, form};
use crate::memory::size_class;
use crate::object::Object;
use crate::places::Placed;
use crate::value::Encoding;

impl Item {
    /// Puts these bytes in the place of a part of a packed collection; without an allocation where the
    /// entry stays in its size class.
    ///
    /// # Panics
    /// If the value is no packed collection, or the range goes beyond it.
    pub(crate) fn splice(&mut self, range: Range<usize>, with: &[u8]) {
        if let Some(object) = self.object_mut() {
            let Object::Packed(run) = object else {
                unreachable!("a packed collection is one run of bytes")
            };
            let len = run.len() - range.len() + with.len();
            if len > run.capacity() {
                // As much as the allocator would give anyhow.
                run.reserve_exact(size_class(len) - run.len());
            }
            run.splice(range, with.iter().copied());
            if run.capacity() / 2 > len {
                run.shrink_to(size_class(len));
            }
            return;
        }
        let entry = self.occupied();
        let (run, value_at) = (entry.inline(), entry.value_at());
        let (before, after) = (&run[..range.start], &run[range.end..]);
        let len = run.len() - range.len() + with.len();
        if len <= INLINE_BYTES && size_class(value_at + len) == size_class(entry.size()) {
            let moved = after.len();
            let at = self.at();
            // SAFETY: the value is inline, `range` lies in it, and its new end lies within the size
            // class, which is the allocation's size; `with` is no part of it, for `self` is borrowed
            // mutably.
            unsafe {
                let start = at.add(value_at + range.start);
                ptr::copy(at.add(value_at + range.end), start.add(with.len()), moved);
                ptr::copy_nonoverlapping(with.as_ptr(), start, with.len());
            }
            self.header_mut().value_len = len as u32;
            return;
        }
        let body = if len <= INLINE_BYTES {
            Body::Joined([before, with, after])
        } else {
            let mut run = Vec::with_capacity(size_class(len));
            for part in [before, with, after] {
                run.extend_from_slice(part);
            }
            Body::Boxed(Box::new(Object::Packed(run)))
        };
        let new = Item::build(&entry.head(), body);
        self.become_tagged(new);
    }

    /// Writes over bytes of a packed collection.
    ///
    /// # Panics
    /// As [`Item::splice`].
    pub(crate) fn overwrite(&mut self, at: usize, with: &[u8]) {
        self.splice(at..at + with.len(), with);
    }

    /// Puts a packed collection in the place of the value, with that encoding.
    pub(crate) fn set_packed(&mut self, encoding: Encoding, run: &[u8]) {
        let mut head = self.occupied().head();
        head.encoding = encoding;
        let new = Item::packed(&head, run);
        self.become_tagged(new);
    }

    /// Puts an object in the place of the value, with that encoding.
    pub(crate) fn set_object(&mut self, encoding: Encoding, object: Object) {
        let kind = self.occupied().kind();
        if let Some(old) = self.object_mut() {
            *old = object;
            self.header_mut().form = form(kind, encoding);
            return;
        }
        let mut head = self.occupied().head();
        head.encoding = encoding;
        let new = Item::boxed(&head, object);
        self.become_tagged(new);
    }

    fn become_tagged(&mut self, mut new: Item) {
        new.set_tag(self.tag());
        *self = new;
    }
}
