//! Chance that follows from a seed.

use std::time::Duration;

/// SplitMix64 (Steele, Lea, Flood: Fast Splittable Pseudorandom Number Generators): small, fast, and
/// good enough to choose among faults.
#[derive(Clone, Debug)]
pub struct Chance(u64);

impl Chance {
    /// The sequence that the seed begins.
    pub fn new(seed: u64) -> Chance {
        Chance(seed)
    }

    /// A sequence of its own for each label, so that one more draw here changes nothing there.
    pub fn of(seed: u64, label: u64) -> Chance {
        let mut chance = Chance(seed ^ label.wrapping_mul(0xd134_2543_de82_ef95));
        Chance(chance.draw())
    }

    /// The next number.
    pub fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `bound`, which is not 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.draw()) * u128::from(bound)) >> 64) as u64
    }

    /// True that often in a thousand draws.
    pub fn per_mille(&mut self, odds: u32) -> bool {
        self.below(1000) < u64::from(odds)
    }

    /// A time from `least` to `most`.
    pub fn between(&mut self, least: Duration, most: Duration) -> Duration {
        let spread = most.saturating_sub(least).as_nanos() as u64;
        least + Duration::from_nanos(self.below(spread + 1))
    }

    /// Milliseconds from `least` to `most`.
    pub fn millis(&mut self, least: u64, most: u64) -> Duration {
        self.between(Duration::from_millis(least), Duration::from_millis(most))
    }

    /// One of them, which are not none.
    pub fn pick<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        &all[self.below(all.len() as u64) as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_repeat_for_a_seed_and_stay_within_bounds() {
        let draws = |seed| {
            let mut chance = Chance::new(seed);
            (0..100).map(|_| chance.below(10)).collect::<Vec<_>>()
        };
        assert_eq!(draws(1), draws(1));
        assert_ne!(draws(1), draws(2));
        for drawn in 0..10 {
            assert!(draws(1).contains(&drawn), "{drawn} never comes");
        }
        let (least, most) = (Duration::from_millis(3), Duration::from_millis(5));
        let mut chance = Chance::of(1, 2);
        for _ in 0..100 {
            assert!((least..=most).contains(&chance.between(least, most)));
        }
    }
}
