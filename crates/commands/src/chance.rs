//! Picking at random: a stream of numbers that follows from the seed of an entry or of a read.

use std::collections::BTreeSet;

use crate::Reply;
use crate::argument::{SYNTAX, integer, negatable};

/// SplitMix64.
pub(crate) struct Chance(u64);

impl Chance {
    pub(crate) fn new(seed: u64) -> Chance {
        Chance(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `end`, each with the same chance.
    ///
    /// # Panics
    /// If `end` is 0.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        assert!(end > 0, "there is something to pick");
        ((u128::from(self.next()) * end as u128) >> 64) as usize
    }

    /// `count` different numbers below `end`, or all of them if there are fewer; ascending. Each choice has the same
    /// chance.
    pub(crate) fn different(&mut self, count: usize, end: usize) -> Vec<usize> {
        if count >= end {
            return (0..end).collect();
        }
        // Floyd's algorithm: draws no number in vain, however many are taken.
        let mut taken = BTreeSet::new();
        for last in end - count..end {
            let number = self.below(last + 1);
            if !taken.insert(number) {
                taken.insert(last);
            }
        }
        taken.into_iter().collect()
    }
}

/// How many elements are to be picked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Picks {
    /// So many different ones.
    Different(usize),
    /// So many, where the same one may come again.
    Any(usize),
}

/// So many elements are picked at most where the same may come again: a reply has to fit the memory.
const ANY_MAX: u64 = 4 << 20;

impl Picks {
    /// The count of SRANDMEMBER and its kin: negative where the same element may come again.
    pub(crate) fn parse(arg: &[u8]) -> Result<Picks, Reply<'static>> {
        let number = negatable(arg)?;
        let count = number.unsigned_abs();
        if number >= 0 {
            return Ok(Picks::Different(
                usize::try_from(count).unwrap_or(usize::MAX),
            ));
        }
        if count > ANY_MAX {
            return Err(Reply::error(format_args!(
                "ERR value is out of range, at most {ANY_MAX} elements may be picked with repetition: ask several times"
            )));
        }
        Ok(Picks::Any(count as usize))
    }

    /// The same where each pick is a pair and an option says so.
    pub(crate) fn parse_with(
        args: &[&[u8]],
        option: &str,
    ) -> Result<(Picks, bool), Reply<'static>> {
        let number = integer(args[0])?;
        let in_pairs = match args {
            [_] => false,
            [_, word] if crate::argument::is(word, option) && number != i64::MIN => true,
            [_, _, ..] if number != i64::MIN => return Err(SYNTAX),
            _ => false,
        };
        if in_pairs && number.unsigned_abs() > i64::MAX as u64 / 2 {
            return Err(Reply::refusal("ERR value is out of range"));
        }
        Ok((Picks::parse(args[0])?, in_pairs))
    }

    /// The numbers of the elements that are picked among `len`.
    pub(crate) fn pick(self, len: usize, chance: &mut Chance) -> Vec<usize> {
        match self {
            Picks::Different(count) => chance.different(count, len),
            Picks::Any(count) => (0..count).map(|_| chance.below(len)).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn picks_are_different_and_even() {
        let mut drawn = [0; 10];
        let mut chance = Chance::new(1);
        for _ in 0..10_000 {
            let picked = chance.different(3, 10);
            assert!(picked.is_sorted_by(|one, other| one < other) && picked.len() == 3);
            picked.into_iter().for_each(|number| drawn[number] += 1);
        }
        assert!(
            drawn.iter().all(|&count| (2800..3200).contains(&count)),
            "{drawn:?}"
        );
        assert_eq!(chance.different(12, 10), (0..10).collect::<Vec<_>>());
        assert!(chance.different(0, 10).is_empty());
    }

    #[test]
    fn the_same_may_come_again_where_that_is_asked_for() {
        let mut chance = Chance::new(1);
        assert_eq!(
            Picks::parse(b"-40").map(|picks| picks.pick(3, &mut chance).len()),
            Ok(40)
        );
        assert_eq!(
            Picks::parse(b"40").map(|picks| picks.pick(3, &mut chance).len()),
            Ok(3)
        );
        assert!(Picks::parse(b"-9223372036854775808").is_err());
        assert!(Picks::parse(b"-4194305").is_err());
    }
}
