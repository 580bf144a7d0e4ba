//! How long to wait before dialling again.

use std::time::Duration;

/// Doubles from 100 ms to 2 s, each with jitter, so that nodes that lost the same peer do not all dial
/// it in the same moment.
#[derive(Clone, Debug)]
pub struct Backoff {
    failures: u32,
    random: u64,
}

impl Backoff {
    /// The mean of the first wait.
    pub const FIRST: Duration = Duration::from_millis(100);

    /// No wait is longer.
    pub const LONGEST: Duration = Duration::from_secs(2);

    /// The jitter follows from `seed`.
    pub fn new(seed: u64) -> Backoff {
        Backoff {
            failures: 0,
            random: seed,
        }
    }

    /// How long to wait after one more failure: between three quarters and five quarters of the doubled
    /// time, and never longer than [`Backoff::LONGEST`].
    pub fn next_wait(&mut self) -> Duration {
        let doubled = Backoff::FIRST * 2_u32.pow(self.failures.min(5));
        self.failures = self.failures.saturating_add(1);
        let longest = (doubled * 5 / 4).min(Backoff::LONGEST);
        let least = longest * 3 / 5;
        let spread = (longest - least).as_nanos() as u64;
        least + Duration::from_nanos(self.draw() % (spread + 1))
    }

    /// Starts from the first wait again.
    pub fn reset(&mut self) {
        self.failures = 0;
    }

    /// SplitMix64 (Steele, Lea, Flood: Fast Splittable Pseudorandom Number Generators).
    fn draw(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.random ^ (self.random >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn waits_double_to_their_limit_within_bounds(seed: u64) {
            let mut backoff = Backoff::new(seed);
            for _ in 0..2 {
                for doubled in [100, 200, 400, 800] {
                    let wait = backoff.next_wait().as_millis();
                    prop_assert!((doubled * 3 / 4..=doubled * 5 / 4).contains(&wait), "{doubled}: {wait}");
                }
                for _ in 0..50 {
                    let wait = backoff.next_wait();
                    prop_assert!(wait <= Backoff::LONGEST && wait >= Backoff::LONGEST * 3 / 5, "{wait:?}");
                }
                backoff.reset();
            }
        }
    }

    #[test]
    fn waits_differ_between_seeds_and_repeat_for_one() {
        let waits = |seed| {
            let mut backoff = Backoff::new(seed);
            (0..8).map(|_| backoff.next_wait()).collect::<Vec<_>>()
        };
        assert_eq!(waits(1), waits(1));
        assert_ne!(waits(1), waits(2));
    }
}
