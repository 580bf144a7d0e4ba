//! Which reads may take long.
//!
//! Nothing is written to a keyspace while it is read, and whatever the thread that reads does besides has to
//! wait. So a driver has reads that may take long run elsewhere. What one takes is not known before it has run:
//! what it looks at, by the memory that this takes, is a bound that costs nothing to know.

use base::Db;
use keyspace::Keyspace;

use crate::argument::is;
use crate::{Flags, Spec};

/// What looks at no more than this is read within a few milliseconds.
pub const SHORT_BYTES: usize = 4 << 20;

/// So little does not count.
const SMALL_BYTES: usize = 4 << 10;

/// A part of a collection with so many elements is short.
const SHORT_COUNT: u64 = 10_000;

/// How many bytes of the data a read may look at, 0 if they are few at any rate. `args[0]` is the name.
#[inline]
pub fn effort(spec: &Spec, args: &[&[u8]], keyspace: &Keyspace, db: Db) -> usize {
    match spec.flags.contains(Flags::FAST) {
        true => 0,
        false => looked_at(spec, args, keyspace, db),
    }
}

fn looked_at(spec: &Spec, args: &[&[u8]], keyspace: &Keyspace, db: Db) -> usize {
    let mut last_key = 0;
    let keys = spec.key_positions(args).inspect(|at| last_key = *at);
    let entries = keys.filter_map(|key| keyspace.entry(db, args[key]));
    let sizes = entries.map(|entry| entry.memory_bytes());
    let bytes = match spec.name {
        // It compares each byte of the one with each of the other.
        "lcs" => sizes.fold(1, usize::saturating_mul),
        _ => sizes.fold(0, usize::saturating_add),
    };
    let bytes = if last_key > 0 {
        bytes
    } else {
        keyspace.memory_used()
    };
    if bytes <= SMALL_BYTES || is_bounded(spec.name, args, last_key) {
        0
    } else {
        bytes
    }
}

/// Whether the arguments say that it looks at a small part only.
fn is_bounded(name: &str, args: &[&[u8]], last_key: usize) -> bool {
    let number =
        |at: usize| -> Option<i64> { std::str::from_utf8(args.get(at)?).ok()?.parse().ok() };
    let is_small = |number: Option<i64>| number.is_some_and(|n| n.unsigned_abs() <= SHORT_COUNT);
    let after = |word: &str| {
        let mut options = args.iter().skip(last_key + 1);
        options
            .rposition(|arg| is(arg, word))
            .map(|at| last_key + 1 + at)
    };
    match name {
        "randomkey" | "object" | "memory" | "watch" | "lindex" => true,
        "hrandfield" | "srandmember" | "zrandmember" => args.len() == 2 || is_small(number(2)),
        "scan" | "hscan" | "sscan" | "zscan" | "xrange" | "xrevrange" => match after("count") {
            Some(at) => is_small(number(at + 1)),
            None => name.ends_with("scan"),
        },
        "sintercard" | "zintercard" => after("limit").is_some_and(|at| is_small(number(at + 1))),
        _ => match after("limit") {
            Some(at) => is_small(number(at + 1)) && is_small(number(at + 2)),
            None => {
                let by_index = matches!(name, "lrange" | "zrevrange" | "getrange" | "substr")
                    || name == "zrange"
                        && !args
                            .iter()
                            .any(|arg| is(arg, "byscore") || is(arg, "bylex"));
                by_index && is_short_span(number(2), number(3))
            }
        },
    }
}

/// Whether a range is short whatever the length of what it is taken from.
fn is_short_span(first: Option<i64>, last: Option<i64>) -> bool {
    match (first, last) {
        (Some(first), Some(last)) if (first < 0) == (last < 0) => {
            first > last || first.abs_diff(last) < SHORT_COUNT
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{WriteContext, apply, by_name};

    const LIMIT: usize = 64 << 10;

    fn is_long(keyspace: &Keyspace, call: &str, limit: usize) -> bool {
        let args: Vec<&[u8]> = call.split(' ').map(str::as_bytes).collect();
        let command = by_name(args[0]).expect("the command is known");
        effort(&command.spec, &args, keyspace, Db::default()) > limit
    }

    fn filled() -> Keyspace {
        let mut keyspace = Keyspace::new(1);
        let mut run = |args: &[&[u8]]| {
            let context = WriteContext {
                db: Db::default(),
                stamp: keyspace.stamp(),
                seed: 0,
            };
            let command = by_name(args[0]).expect("the command is known");
            apply(&mut keyspace, command, args, context);
        };
        for member in 0..10_000 {
            let member = format!("member:{member}");
            run(&[b"zadd", b"zset", b"1", member.as_bytes()]);
            run(&[b"hset", b"hash", member.as_bytes(), b"1"]);
        }
        run(&[b"sadd", b"small", b"a", b"b"]);
        for _ in 0..10_000 {
            run(&[b"rpush", b"limit", b"an element of a list"]);
        }
        run(&[b"set", b"string", &[b'x'; 4_000]]);
        keyspace
    }

    #[test]
    fn what_looks_at_much_is_long() {
        let keyspace = filled();
        let long = |call: &str, limit: usize| is_long(&keyspace, call, limit);
        for call in [
            "keys *",
            "hgetall hash",
            "scan 0 count 1000000",
            "zrange zset 0 -1",
            "zrange zset (1 5 byscore",
            "zrange zset 1 5 byscore",
            "zrangebyscore zset -inf +inf limit 0 -20000",
            "hrandfield hash -100000",
            "zunion 2 small zset",
            "lcs string string",
            // Keys that are called as options are.
            "sintercard 2 zset limit 5",
            "lrange limit 0 -1",
        ] {
            assert!(long(call, LIMIT), "{call}");
            assert!(!long(call, 64 << 20), "{call}");
        }
        for call in [
            "hget hash a",
            "dbsize",
            "scan 0",
            "hscan hash 0 count 100",
            "randomkey",
            "zrange zset 0 99 withscores",
            "zrevrange zset -10 -1",
            "zrangebyscore zset -inf +inf limit 0 10",
            "hrandfield hash",
            "srandmember small -3",
            "smembers small",
            "object encoding hash",
            "lcs absent absent",
        ] {
            assert!(!long(call, 0), "{call}");
        }
    }
}
