//! Strings as numbers: INCR, DECR and their variants.

use keyspace::{Class, Expiry, Keyspace};

use crate::argument::{Outcome, integer, owned, string_of};
use crate::extended::Extended;
use crate::spec::{Categories, Flags, KeyFlags, KeySpec, Spec};
use crate::table::writes;
use crate::{Command, CommandId, Reply, WriteContext};

const COUNTER: Spec = Spec {
    flags: Flags::WRITE.with(Flags::DENYOOM).with(Flags::FAST),
    keys: &[KeySpec::one(
        1,
        KeyFlags::RW.with(KeyFlags::ACCESS).with(KeyFlags::UPDATE),
    )],
    categories: Categories::STRING,
    group: "string",
    since: "1.0.0",
    complexity: "O(1)",
    ..Spec::EMPTY
};

pub(crate) const COMMANDS: &[Command] = &[
    Command {
        id: CommandId(17),
        spec: Spec {
            name: "incr",
            arity: 2,
            summary: "Adds one to the whole number at a key.",
            syntax: "key",
            ..COUNTER
        },
        handler: writes!(incr),
    },
    Command {
        id: CommandId(18),
        spec: Spec {
            name: "decr",
            arity: 2,
            summary: "Takes one from the whole number at a key.",
            syntax: "key",
            ..COUNTER
        },
        handler: writes!(decr),
    },
    Command {
        id: CommandId(19),
        spec: Spec {
            name: "incrby",
            arity: 3,
            summary: "Adds to the whole number at a key.",
            syntax: "key increment",
            ..COUNTER
        },
        handler: writes!(incrby),
    },
    Command {
        id: CommandId(20),
        spec: Spec {
            name: "decrby",
            arity: 3,
            summary: "Takes from the whole number at a key.",
            syntax: "key decrement",
            ..COUNTER
        },
        handler: writes!(decrby),
    },
    Command {
        id: CommandId(21),
        spec: Spec {
            name: "incrbyfloat",
            arity: 3,
            since: "2.6.0",
            summary: "Adds to the decimal number at a key.",
            syntax: "key increment",
            ..COUNTER
        },
        handler: writes!(incrbyfloat),
    },
];

fn incr(keyspace: &mut Keyspace, args: &[&[u8]], context: WriteContext) -> Outcome<'static> {
    add(keyspace, args[1], 1, context)
}

fn decr(keyspace: &mut Keyspace, args: &[&[u8]], context: WriteContext) -> Outcome<'static> {
    add(keyspace, args[1], -1, context)
}

fn incrby(keyspace: &mut Keyspace, args: &[&[u8]], context: WriteContext) -> Outcome<'static> {
    add(keyspace, args[1], integer(args[2])?, context)
}

fn decrby(keyspace: &mut Keyspace, args: &[&[u8]], context: WriteContext) -> Outcome<'static> {
    let decrement = integer(args[2])?;
    let increment = decrement
        .checked_neg()
        .ok_or(Reply::refusal("ERR decrement would overflow"))?;
    add(keyspace, args[1], increment, context)
}

fn add(
    keyspace: &mut Keyspace,
    key: &[u8],
    increment: i64,
    context: WriteContext,
) -> Outcome<'static> {
    let before = match keyspace.entry(context.db, key) {
        Some(entry) => integer(string_of(&entry)?)?,
        None => 0,
    };
    let number = before
        .checked_add(increment)
        .ok_or(Reply::refusal("ERR increment or decrement would overflow"))?;
    let mut digits = itoa::Buffer::new();
    keyspace.set(
        context.db,
        key,
        digits.format(number).as_bytes(),
        Expiry::Keep,
    );
    keyspace.notice(Class::String, "incrby", context.db, key);
    Ok(Reply::Integer(number))
}

fn incrbyfloat(keyspace: &mut Keyspace, args: &[&[u8]], context: WriteContext) -> Outcome<'static> {
    let parse =
        |bytes| Extended::parse(bytes).ok_or(Reply::refusal("ERR value is not a valid float"));
    let before = match keyspace.entry(context.db, args[1]) {
        Some(entry) => parse(string_of(&entry)?)?,
        None => Extended::ZERO,
    };
    let sum = before.add(parse(args[2])?).ok_or(Reply::refusal(
        "ERR increment would produce NaN or Infinity",
    ))?;
    let digits = sum.to_string();
    keyspace.set(context.db, args[1], digits.as_bytes(), Expiry::Keep);
    keyspace.notice(Class::String, "incrbyfloat", context.db, args[1]);
    Ok(owned(digits))
}
