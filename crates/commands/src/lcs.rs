//! LCS: the longest common subsequence of two strings.

use keyspace::Keyspace;

use crate::argument::{Outcome, STRING_BYTES_MAX, SYNTAX, integer, is, owned, string_of};
use crate::spec::{Categories, Flags, KeyFlags, KeySpec, Spec};
use crate::table::reads;
use crate::{Command, CommandId, ReadContext, Reply};

pub(crate) const COMMANDS: &[Command] = &[Command {
    id: CommandId(22),
    spec: Spec {
        name: "lcs",
        arity: -3,
        flags: Flags::READONLY,
        keys: &[KeySpec::range(1, 1, 1, KeyFlags::RO.with(KeyFlags::ACCESS))],
        categories: Categories::STRING,
        group: "string",
        since: "7.0.0",
        summary: "Finds the longest common subsequence of two strings.",
        complexity: "O(N*M), N and M being the lengths of the strings",
        syntax: "key1 key2 [LEN] [IDX] [MINMATCHLEN len] [WITHMATCHLEN]",
        ..Spec::EMPTY
    },
    handler: reads!(lcs),
}];

#[derive(Default)]
struct Options {
    length_only: bool,
    ranges: bool,
    least_length: u64,
    with_lengths: bool,
}

impl Options {
    fn parse(mut args: &[&[u8]]) -> Result<Options, Reply<'static>> {
        let mut options = Options::default();
        while let [arg, rest @ ..] = args {
            args = rest;
            if is(arg, "IDX") {
                options.ranges = true;
            } else if is(arg, "LEN") {
                options.length_only = true;
            } else if is(arg, "WITHMATCHLEN") {
                options.with_lengths = true;
            } else if is(arg, "MINMATCHLEN")
                && let [length, rest @ ..] = args
            {
                options.least_length = u64::try_from(integer(length)?).unwrap_or(0);
                args = rest;
            } else {
                return Err(SYNTAX);
            }
        }
        if options.ranges && options.length_only {
            return Err(Reply::refusal(
                "ERR If you want both the length and indexes, please just use IDX.",
            ));
        }
        Ok(options)
    }
}

fn lcs<'k>(keyspace: &'k Keyspace, args: &[&[u8]], context: ReadContext) -> Outcome<'k> {
    let string = |key: &[u8]| match keyspace.get(context.db, key, context.now) {
        Some(entry) => {
            entry.touch(context.now);
            string_of(&entry)
                .map_err(|_| Reply::refusal("ERR The specified keys must contain string values"))
        }
        None => Ok(&b""[..]),
    };
    let (a, b) = (string(args[1])?, string(args[2])?);
    let options = Options::parse(&args[3..])?;
    // Redis keeps a table of 32-bit numbers and limits its size; the work grows with it.
    let table_bytes = (a.len() as u128 + 1) * (b.len() as u128 + 1) * 4;
    if table_bytes > STRING_BYTES_MAX as u128 {
        return Err(Reply::refusal(
            "ERR Insufficient memory, transient memory for LCS exceeds proto-max-bulk-len",
        ));
    }
    let table = Table::fill(a, b, !options.length_only);
    if options.length_only {
        return Ok(table.length.into());
    }
    if !options.ranges {
        let mut common = Vec::with_capacity(table.length);
        table.walk(a, b, |i, _| common.push(a[i]));
        common.reverse();
        return Ok(owned(common));
    }
    let mut ranges = Ranges::default();
    table.walk(a, b, |i, j| ranges.push(i, j));
    let matches = ranges
        .found
        .iter()
        .filter(|range| range.length as u64 >= options.least_length)
        .map(|range| range.reply(options.with_lengths))
        .collect();
    Ok(Reply::Map(vec![
        (Reply::bulk(b"matches"), Reply::Array(matches)),
        (Reply::bulk(b"len"), table.length.into()),
    ]))
}

/// The table of the textbook, of which only what the way back asks for is kept: one bit for each pair
/// of places, whether the longer of both remainders is the one with less of `a`.
struct Table {
    length: usize,
    shorten_a: Vec<u64>,
    /// The number of places in one row of bits, and whether rows go along `a`.
    row: usize,
    along_a: bool,
}

impl Table {
    fn fill(a: &[u8], b: &[u8], keep_way: bool) -> Table {
        // Rows go along the shorter string, so that one is small.
        let along_a = a.len() < b.len();
        let (outer, inner) = if along_a { (b, a) } else { (a, b) };
        let bits = if keep_way {
            outer.len() * inner.len()
        } else {
            0
        };
        let mut table = Table {
            length: 0,
            shorten_a: vec![0; bits.div_ceil(64)],
            row: inner.len(),
            along_a,
        };
        let mut lengths = vec![0_u32; inner.len() + 1];
        for (at, outer_byte) in outer.iter().enumerate() {
            let mut diagonal = 0;
            for (column, inner_byte) in inner.iter().enumerate() {
                let without_outer = lengths[column + 1];
                let without_inner = lengths[column];
                lengths[column + 1] = if outer_byte == inner_byte {
                    diagonal + 1
                } else {
                    let (without_a, without_b) = if along_a {
                        (without_inner, without_outer)
                    } else {
                        (without_outer, without_inner)
                    };
                    if keep_way && without_a > without_b {
                        let bit = at * inner.len() + column;
                        table.shorten_a[bit / 64] |= 1 << (bit % 64);
                    }
                    without_a.max(without_b)
                };
                diagonal = without_outer;
            }
        }
        table.length = lengths[inner.len()] as usize;
        table
    }

    /// Calls `matched` with the places of each common byte, the last one first.
    fn walk(&self, a: &[u8], b: &[u8], mut matched: impl FnMut(usize, usize)) {
        let (mut i, mut j) = (a.len(), b.len());
        while i > 0 && j > 0 {
            if a[i - 1] == b[j - 1] {
                i -= 1;
                j -= 1;
                matched(i, j);
                continue;
            }
            let (outer, inner) = if self.along_a {
                (j - 1, i - 1)
            } else {
                (i - 1, j - 1)
            };
            let bit = outer * self.row + inner;
            if self.shorten_a[bit / 64] >> (bit % 64) & 1 == 1 {
                i -= 1;
            } else {
                j -= 1;
            }
        }
    }
}

/// Places where both strings go on alike.
struct Range {
    a: usize,
    b: usize,
    length: usize,
}

impl Range {
    fn reply(&self, with_length: bool) -> Reply<'static> {
        let ends =
            |start: usize| Reply::Array(vec![start.into(), (start + self.length - 1).into()]);
        let mut parts = vec![ends(self.a), ends(self.b)];
        if with_length {
            parts.push(self.length.into());
        }
        Reply::Array(parts)
    }
}

#[derive(Default)]
struct Ranges {
    found: Vec<Range>,
}

impl Ranges {
    /// Adds a place before all others to the last range, if it touches it.
    fn push(&mut self, a: usize, b: usize) {
        match self.found.last_mut() {
            Some(range) if range.a == a + 1 && range.b == b + 1 => {
                *range = Range {
                    a,
                    b,
                    length: range.length + 1,
                };
            }
            _ => self.found.push(Range { a, b, length: 1 }),
        }
    }
}
