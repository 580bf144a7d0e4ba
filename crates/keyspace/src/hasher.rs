//! Where a key belongs.

use base::Slot;
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// The hash of a keyspace: XXH3 with its seed. The order of all walks is the order of these hashes,
/// so the seed is part of the state.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Hasher {
    pub(crate) seed: u64,
}

/// Where a key belongs, found once per operation.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    pub(crate) slot: Slot,
    pub(crate) hash: u64,
}

impl Hasher {
    pub(crate) fn hash(self, key: &[u8]) -> u64 {
        xxh3_64_with_seed(key, self.seed)
    }

    pub(crate) fn place(self, key: &[u8]) -> Place {
        Place {
            slot: Slot::of_key(key),
            hash: self.hash(key),
        }
    }
}
