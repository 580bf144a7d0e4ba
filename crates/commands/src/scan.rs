//! Finding keys: SCAN, KEYS, RANDOMKEY.

use keyspace::Keyspace;

use crate::argument::{Outcome, SYNTAX, integer, is, owned};
use crate::keys::kind_name;
use crate::spec::{Categories, Flags, Spec};
use crate::split::{Gather, Split};
use crate::table::reads;
use crate::{Command, CommandId, ReadContext, Reply, glob};

const GENERIC: Spec = Spec {
    flags: Flags::READONLY,
    categories: Categories::KEYSPACE,
    group: "generic",
    since: "1.0.0",
    ..Spec::EMPTY
};

pub(crate) const COMMANDS: &[Command] = &[
    Command {
        id: CommandId(41),
        spec: Spec {
            name: "scan",
            arity: -2,
            since: "2.8.0",
            summary: "Goes through the keys of the database, a part at each call.",
            complexity: "O(1) for each call, O(N) for all of them, N being the number of keys",
            syntax: "cursor [MATCH pattern] [COUNT count] [TYPE type]",
            tips: &["nondeterministic_output", "request_policy:special"],
            split: Split::ByCursor,
            ..GENERIC
        },
        handler: reads!(scan),
    },
    Command {
        id: CommandId(42),
        spec: Spec {
            name: "keys",
            arity: 2,
            categories: Categories::KEYSPACE.with(Categories::DANGEROUS),
            summary: "Lists all keys that match a pattern.",
            complexity: "O(N), N being the number of keys in the database",
            syntax: "pattern",
            tips: &["request_policy:all_shards", "nondeterministic_output_order"],
            split: Split::Everywhere(Gather::Append),
            ..GENERIC
        },
        handler: reads!(keys),
    },
    Command {
        id: CommandId(43),
        spec: Spec {
            name: "randomkey",
            arity: 1,
            summary: "Returns a key picked at random.",
            complexity: "O(1)",
            tips: &["request_policy:all_shards", "nondeterministic_output"],
            split: Split::Everywhere(Gather::AnyOne),
            ..GENERIC
        },
        handler: reads!(randomkey),
    },
];

/// What `strtoul` of C reads to the end of a C string: a sign, even a minus, is accepted, and so is
/// nothing at all.
pub(crate) fn parse_cursor(arg: &[u8]) -> Option<u64> {
    let text = &arg[..memchr::memchr(0, arg).unwrap_or(arg.len())];
    let (negative, digits) = match text {
        [] => return Some(0),
        [b'-', digits @ ..] => (true, digits),
        [b'+', digits @ ..] => (false, digits),
        _ => (false, text),
    };
    let is_number = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    let number: u64 = is_number.then(|| std::str::from_utf8(digits).ok()?.parse().ok())??;
    Some(if negative {
        number.wrapping_neg()
    } else {
        number
    })
}

/// A pattern that leaves something out.
fn pattern(arg: &[u8]) -> Option<&[u8]> {
    (arg != b"*").then_some(arg)
}

/// The cursor argument of SCAN and its kin.
pub(crate) fn cursor(arg: &[u8]) -> Result<u64, Reply<'static>> {
    parse_cursor(arg).ok_or(Reply::refusal("ERR invalid cursor"))
}

/// What follows the cursor of SCAN and its kin.
pub(crate) struct Options<'a> {
    /// About so many are wanted.
    pub(crate) count: usize,
    wanted: Option<&'a [u8]>,
    kind: Option<&'a [u8]>,
}

impl<'a> Options<'a> {
    /// The options of a walk through a collection, which has no types to choose.
    pub(crate) fn of_collection(args: &[&'a [u8]]) -> Result<Options<'a>, Reply<'static>> {
        let options = Options::parse(args)?;
        if options.kind.is_some() {
            return Err(SYNTAX);
        }
        Ok(options)
    }

    fn parse(args: &[&'a [u8]]) -> Result<Options<'a>, Reply<'static>> {
        let mut options = Options {
            count: 10,
            wanted: None,
            kind: None,
        };
        let mut rest = args;
        while let [option, value, tail @ ..] = rest {
            rest = tail;
            if is(option, "COUNT") {
                options.count = usize::try_from(integer(value)?)
                    .ok()
                    .filter(|&count| count > 0)
                    .ok_or(SYNTAX)?;
            } else if is(option, "MATCH") {
                options.wanted = pattern(value);
            } else if is(option, "TYPE") {
                options.kind = Some(*value);
            } else {
                return Err(SYNTAX);
            }
        }
        if !rest.is_empty() {
            return Err(SYNTAX);
        }
        Ok(options)
    }

    /// Whether a key or an element is wanted.
    pub(crate) fn wants(&self, name: &[u8]) -> bool {
        self.wanted.is_none_or(|wanted| glob::matches(wanted, name))
    }
}

/// What a call of SCAN or its kin answers.
pub(crate) fn page<'k>(next: u64, found: Vec<Reply<'k>>) -> Reply<'k> {
    let next = owned(itoa::Buffer::new().format(next));
    Reply::Array(vec![next, Reply::Array(found)])
}

fn scan<'k>(keyspace: &'k Keyspace, args: &[&[u8]], context: ReadContext) -> Outcome<'k> {
    let cursor = cursor(args[1])?;
    let options = Options::parse(&args[2..])?;
    let mut found = Vec::new();
    let next = keyspace.scan(
        context.db,
        cursor,
        options.count,
        context.now,
        &mut |entry| {
            let kind = options.kind;
            if options.wants(entry.key())
                && kind.is_none_or(|kind| is(kind, kind_name(entry.kind())))
            {
                found.push(owned(entry.key()));
            }
        },
    );
    Ok(page(next, found))
}

fn keys<'k>(keyspace: &'k Keyspace, args: &[&[u8]], context: ReadContext) -> Outcome<'k> {
    let wanted = pattern(args[1]);
    let mut found = Vec::new();
    keyspace.for_each(context.db, context.now, &mut |entry| {
        if wanted.is_none_or(|wanted| glob::matches(wanted, entry.key())) {
            found.push(owned(entry.key()));
        }
    });
    Ok(Reply::Array(found))
}

fn randomkey<'k>(keyspace: &'k Keyspace, _args: &[&[u8]], context: ReadContext) -> Outcome<'k> {
    let entry = keyspace.random(context.db, context.random, context.now);
    Ok(entry.map_or(Reply::Null, |entry| Reply::bulk(entry.key())))
}
