//! Where the keys of a command stand among its arguments.
//!
//! Source: Redis 7, "Command key specifications".

use super::KeyFlags;

/// One rule that finds keys. A command has one for each way in which it uses keys.
#[derive(Clone, Copy, Debug)]
pub struct KeySpec {
    /// What it does with these keys.
    pub flags: KeyFlags,
    /// Where the first one stands.
    pub begin: Begin,
    /// How the others follow.
    pub find: Find,
}

/// Where the search for keys begins.
#[derive(Clone, Copy, Debug)]
pub enum Begin {
    /// At that index.
    Index(u16),
    /// After a word, sought from that index on; a negative index counts from the end and the search
    /// goes backwards.
    Keyword(&'static str, i16),
}

/// How keys follow from where the search begins.
#[derive(Clone, Copy, Debug)]
pub enum Find {
    /// Every `step`th argument up to `last`.
    Range {
        /// Relative to the first key; where negative, counted from the last argument (-1).
        last: i16,
        /// The distance from key to key.
        step: u16,
        /// Where `last` is -1: 0 or 1 for all that is left, 2 for the first half of it, and so on.
        limit: u16,
    },
    /// An argument tells how many there are.
    KeyNum {
        /// Where the number stands, relative to the begin.
        number: u16,
        /// Where the first key stands, relative to the begin.
        first: u16,
        /// The distance from key to key.
        step: u16,
    },
}

impl KeySpec {
    /// One key at that index.
    pub const fn one(index: u16, flags: KeyFlags) -> KeySpec {
        KeySpec::range(index, 0, 1, flags)
    }

    /// Keys from that index to `last`, as [`Find::Range`] counts it.
    pub const fn range(index: u16, last: i16, step: u16, flags: KeyFlags) -> KeySpec {
        let find = Find::Range {
            last,
            step,
            limit: 0,
        };
        KeySpec {
            flags,
            begin: Begin::Index(index),
            find,
        }
    }

    /// The indices of the keys.
    pub(super) fn positions(&self, args: &[&[u8]]) -> impl Iterator<Item = usize> + use<> {
        let (first, count, step) = self.locate(args).unwrap_or((0, 0, 1));
        (0..count).map(move |nth| first + nth * step)
    }

    /// First key, number of keys, step.
    fn locate(&self, args: &[&[u8]]) -> Option<(usize, usize, usize)> {
        let begin = match self.begin {
            Begin::Index(index) => usize::from(index),
            Begin::Keyword(word, from) => {
                let is_word = |&index: &usize| {
                    args[index].eq_ignore_ascii_case(word.as_bytes()) && index + 1 < args.len()
                };
                1 + if from >= 0 {
                    (from as usize..args.len()).find(is_word)?
                } else {
                    let from = args.len().checked_sub(usize::from(from.unsigned_abs()))?;
                    (1..=from).rev().find(is_word)?
                }
            }
        };
        let (first, count, step) = match self.find {
            Find::Range { last, step, limit } => {
                let last = if last >= 0 {
                    begin + last as usize
                } else if limit <= 1 {
                    args.len().checked_sub(usize::from(last.unsigned_abs()))?
                } else {
                    let part = args.len().checked_sub(begin)? / usize::from(limit);
                    (begin + part).checked_sub(usize::from(last.unsigned_abs()))?
                };
                let step = usize::from(step);
                (begin, (last + step).checked_sub(begin)? / step, step)
            }
            Find::KeyNum {
                number,
                first,
                step,
            } => {
                let number = args.get(begin + usize::from(number))?;
                let count = std::str::from_utf8(number).ok()?.parse::<usize>().ok()?;
                // More keys than arguments: malformed, and no reason to overflow.
                if count > args.len() {
                    return None;
                }
                (begin + usize::from(first), count, usize::from(step))
            }
        };
        let fits = count == 0 || first + (count - 1) * step < args.len();
        fits.then_some((first, count, step))
    }

    /// Whether first, last and step cannot tell where these keys stand.
    pub(super) fn is_movable(&self) -> bool {
        !matches!(
            (self.begin, self.find),
            (Begin::Index(_), Find::Range { .. })
        ) || self.flags.contains(KeyFlags::INCOMPLETE)
    }
}

/// First, last and step over all rules that are plain ranges.
pub(super) fn legacy_range(specs: &[KeySpec]) -> (i32, i32, i32) {
    let mut range: Option<(i32, i32, i32)> = None;
    for spec in specs {
        let (Begin::Index(first), Find::Range { last, step, .. }) = (spec.begin, spec.find) else {
            continue;
        };
        let (first, mut last) = (i32::from(first), i32::from(last));
        if last >= 0 {
            last += first;
        }
        range = Some(match range {
            None => (first, last, i32::from(step)),
            // A negative end, counted from the last argument, is beyond all others.
            Some((least, most, step)) => (
                least.min(first),
                (most as u32).max(last as u32) as i32,
                step,
            ),
        });
    }
    range.unwrap_or((0, 0, 0))
}
