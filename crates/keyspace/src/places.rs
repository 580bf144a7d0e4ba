//! What a table keeps: things with a key, in places that one owner has or several share.

use std::ops::Deref;
use std::sync::Arc;

use crate::memory::size_class;

/// A place of a table: nothing, or something with a key, and 16 bits of that key's hash.
pub(crate) trait Placed: Sized {
    /// Nothing.
    const EMPTY: Self;

    fn is_empty(&self) -> bool;

    /// The bits of the hash.
    fn tag(&self) -> u16;

    /// Changes the bits of one that is not empty.
    fn set_tag(&mut self, tag: u16);

    /// The key of one that is not empty.
    fn key(&self) -> &[u8];
}

/// A run of places.
pub(crate) trait Places: Default + Deref<Target = [Self::Item]> {
    type Item: Placed;

    fn of(items: Vec<Self::Item>) -> Self;

    /// The places for change; what others share is copied first.
    fn own(&mut self) -> &mut [Self::Item];

    fn into_items(self) -> Vec<Self::Item>;

    /// The memory of the places themselves.
    fn bytes(&self) -> usize;
}

/// Places of one owner.
impl<T: Placed> Places for Box<[T]> {
    type Item = T;

    fn of(items: Vec<T>) -> Box<[T]> {
        items.into_boxed_slice()
    }

    fn own(&mut self) -> &mut [T] {
        self
    }

    fn into_items(self) -> Vec<T> {
        self.into_vec()
    }

    fn bytes(&self) -> usize {
        size_class(size_of_val::<[T]>(self))
    }
}

/// Places that a snapshot or a copy may share: cloning them is counting one more owner, and the
/// first change after that copies them.
pub(crate) struct Shared<T>(Option<Arc<[T]>>);

/// The two counters of an `Arc`.
const COUNTERS_BYTES: usize = 16;

impl<T> Clone for Shared<T> {
    fn clone(&self) -> Shared<T> {
        Shared(self.0.clone())
    }
}

impl<T> Default for Shared<T> {
    fn default() -> Shared<T> {
        Shared(None)
    }
}

impl<T> Deref for Shared<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        self.0.as_deref().unwrap_or_default()
    }
}

impl<T: Placed + Clone> Places for Shared<T> {
    type Item = T;

    fn of(items: Vec<T>) -> Shared<T> {
        Shared((!items.is_empty()).then(|| Arc::from(items)))
    }

    fn own(&mut self) -> &mut [T] {
        self.0.as_mut().map(Arc::make_mut).unwrap_or_default()
    }

    fn into_items(mut self) -> Vec<T> {
        let items = self.own().iter_mut();
        items
            .map(|item| std::mem::replace(item, T::EMPTY))
            .collect()
    }

    fn bytes(&self) -> usize {
        match &self.0 {
            Some(items) => size_class(COUNTERS_BYTES + size_of_val::<[T]>(items)),
            None => 0,
        }
    }
}
