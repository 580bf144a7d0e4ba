//! Bringing memory nearer before it is needed.
//!
//! With a million keys, finding one waits for memory twice: for its place in the table and for its
//! entry. A batch of commands asks for all its keys first, so that these waits overlap.

#![allow(unsafe_code, reason = "the processor's prefetch is an intrinsic")]

use base::Db;

use crate::keyspace::Keyspace;

/// Asks the processor to load the cache line at that address. Only a hint.
pub(crate) fn prefetch<T>(address: *const T) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a prefetch neither reads nor writes as far as the program can tell, and an address
    // that is not mapped is ignored.
    unsafe {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        _mm_prefetch::<_MM_HINT_T0>(address.cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = address;
}

/// So many keys are asked for at once: about as many loads as a core keeps in flight.
const AT_ONCE: usize = 16;

impl Keyspace {
    /// Brings the entries of these keys nearer. What follows is the same without it, only slower.
    pub fn prefetch<'a>(&self, keys: impl IntoIterator<Item = (Db, &'a [u8])>) {
        let mut keys = keys.into_iter();
        loop {
            let mut tables = [None; AT_ONCE];
            let mut asked = 0;
            for (kept, (db, key)) in tables.iter_mut().zip(keys.by_ref()) {
                let place = self.hasher.place(key);
                let slot = self.database(db).slot(place.slot);
                if let Some(slot) = slot {
                    slot.table.prefetch_home(place.hash);
                    *kept = Some((&slot.table, place.hash));
                }
                asked += 1;
            }
            for (table, hash) in tables.into_iter().flatten() {
                if let Some(item) = table.candidate(hash) {
                    item.prefetch();
                }
            }
            if asked < AT_ONCE {
                return;
            }
        }
    }
}
