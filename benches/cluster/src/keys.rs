//! Keys of one length, chosen uniformly, and a value.

/// Digits of a key's number, at its end. A key is at least so long.
pub(crate) const DIGITS: usize = 12;

/// The keys of a run: `kkkk...000000000000` and up.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Keys {
    count: u64,
    size: usize,
}

impl Keys {
    pub(crate) fn new(count: u64, size: usize) -> Keys {
        assert!(size >= DIGITS, "a key has room for its number");
        Keys { count, size }
    }

    pub(crate) fn count(self) -> u64 {
        self.count
    }

    pub(crate) fn first(self) -> Vec<u8> {
        let mut key = vec![b'k'; self.size];
        self.write(0, &mut key);
        key
    }

    /// Turns a key into that of another number.
    pub(crate) fn write(self, mut number: u64, key: &mut [u8]) {
        for digit in key[self.size - DIGITS..].iter_mut().rev() {
            *digit = b'0' + (number % 10) as u8;
            number /= 10;
        }
    }
}

pub(crate) fn value(size: usize) -> Vec<u8> {
    (0..size).map(|index| b'a' + (index % 26) as u8).collect()
}

/// SplitMix64: even, and the same for the same seed.
#[derive(Clone, Debug)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Random {
        let mut mixed = Random(seed);
        Random(mixed.next())
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// From 0 to `bound` - 1.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(bound)) >> 64) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_have_one_length_and_their_number_at_the_end() {
        let keys = Keys::new(1000, 20);
        let mut key = keys.first();
        assert_eq!(key, b"kkkkkkkk000000000000");
        keys.write(987, &mut key);
        assert_eq!(key, b"kkkkkkkk000000000987");
    }

    #[test]
    fn numbers_are_spread_over_all_keys() {
        let mut random = Random::new(7);
        let mut counts = [0; 10];
        for _ in 0..10_000 {
            counts[random.below(10) as usize] += 1;
        }
        assert!(
            counts.iter().all(|count| (800..1200).contains(count)),
            "{counts:?}"
        );
    }
}
