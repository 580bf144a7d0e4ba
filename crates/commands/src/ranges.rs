//! Parts of strings: APPEND, STRLEN, GETRANGE, SETRANGE.

use keyspace::{Class, Expiry, Keyspace};

use crate::argument::{Outcome, STRING_BYTES_MAX, TOO_LONG, integer, string_of};
use crate::spec::{Categories, Flags, KeyFlags, KeySpec, Spec};
use crate::table::{reads, writes};
use crate::{Command, CommandId, ReadContext, Reply, WriteContext};

const STRING: Spec = Spec {
    categories: Categories::STRING,
    group: "string",
    ..Spec::EMPTY
};

const GETRANGE: Spec = Spec {
    name: "getrange",
    arity: 4,
    flags: Flags::READONLY,
    keys: &[KeySpec::one(1, KeyFlags::RO.with(KeyFlags::ACCESS))],
    since: "2.4.0",
    summary: "Returns a part of the string at a key.",
    complexity: "O(N), N being the length of the part",
    syntax: "key start end",
    ..STRING
};

pub(crate) const COMMANDS: &[Command] = &[
    Command {
        id: CommandId(12),
        spec: Spec {
            name: "append",
            arity: 3,
            flags: Flags::WRITE.with(Flags::DENYOOM).with(Flags::FAST),
            keys: &[KeySpec::one(1, KeyFlags::RW.with(KeyFlags::INSERT))],
            since: "2.0.0",
            summary: "Appends to the string at a key, which it creates if need be.",
            complexity: "O(1) amortized, for tails that are small",
            syntax: "key value",
            ..STRING
        },
        handler: writes!(append),
    },
    Command {
        id: CommandId(13),
        spec: Spec {
            name: "strlen",
            arity: 2,
            flags: Flags::READONLY.with(Flags::FAST),
            keys: &[KeySpec::one(1, KeyFlags::RO)],
            since: "2.2.0",
            summary: "Returns the length of the string at a key.",
            complexity: "O(1)",
            syntax: "key",
            ..STRING
        },
        handler: reads!(strlen),
    },
    Command {
        id: CommandId(14),
        spec: GETRANGE,
        handler: reads!(getrange),
    },
    Command {
        id: CommandId(15),
        spec: Spec {
            name: "substr",
            since: "1.0.0",
            deprecated: Some(("2.0.0", "`GETRANGE`")),
            ..GETRANGE
        },
        handler: reads!(getrange),
    },
    Command {
        id: CommandId(16),
        spec: Spec {
            name: "setrange",
            arity: 4,
            flags: Flags::WRITE.with(Flags::DENYOOM),
            keys: &[KeySpec::one(1, KeyFlags::RW.with(KeyFlags::UPDATE))],
            since: "2.2.0",
            summary: "Writes over a part of the string at a key, padding with zero bytes.",
            complexity: "O(N), N being the length of the value",
            syntax: "key offset value",
            ..STRING
        },
        handler: writes!(setrange),
    },
];

fn append(keyspace: &mut Keyspace, args: &[&[u8]], context: WriteContext) -> Outcome<'static> {
    let (key, tail) = (args[1], args[2]);
    let Some(entry) = keyspace.entry(context.db, key) else {
        keyspace.set(context.db, key, tail, Expiry::Clear);
        keyspace.notice(Class::String, "append", context.db, key);
        return Ok(tail.len().into());
    };
    if string_of(&entry)?.len().saturating_add(tail.len()) > STRING_BYTES_MAX {
        return Err(TOO_LONG);
    }
    let len = keyspace.append(context.db, key, tail)?;
    keyspace.notice(Class::String, "append", context.db, key);
    Ok(len.into())
}

fn strlen<'k>(keyspace: &'k Keyspace, args: &[&[u8]], context: ReadContext) -> Outcome<'k> {
    let Some(entry) = keyspace.get(context.db, args[1], context.now) else {
        return Ok(Reply::ZERO);
    };
    entry.touch(context.now);
    Ok(string_of(&entry)?.len().into())
}

fn getrange<'k>(keyspace: &'k Keyspace, args: &[&[u8]], context: ReadContext) -> Outcome<'k> {
    let (start, end) = (integer(args[2])?, integer(args[3])?);
    let Some(entry) = keyspace.get(context.db, args[1], context.now) else {
        return Ok(Reply::EMPTY_BULK);
    };
    entry.touch(context.now);
    Ok(Reply::bulk(part(string_of(&entry)?, start, end)))
}

/// The bytes from `start` to `end`, both included; negative ones count from the last byte, -1.
fn part(string: &[u8], start: i64, end: i64) -> &[u8] {
    // Both before the first byte would otherwise meet there and give it.
    if start < 0 && end < 0 && start > end {
        return b"";
    }
    let index = |position: i64| {
        if position < 0 {
            let back = usize::try_from(position.unsigned_abs()).unwrap_or(usize::MAX);
            string.len().saturating_sub(back)
        } else {
            usize::try_from(position).unwrap_or(usize::MAX)
        }
    };
    let end = index(end).saturating_add(1).min(string.len());
    string.get(index(start)..end).unwrap_or(b"")
}

fn setrange(keyspace: &mut Keyspace, args: &[&[u8]], context: WriteContext) -> Outcome<'static> {
    let (key, bytes) = (args[1], args[3]);
    let offset = usize::try_from(integer(args[2])?)
        .map_err(|_| Reply::refusal("ERR offset is out of range"))?;
    if bytes.is_empty() {
        return match keyspace.entry(context.db, key) {
            Some(entry) => Ok(string_of(&entry)?.len().into()),
            None => Ok(Reply::ZERO),
        };
    }
    if let Some(entry) = keyspace.entry(context.db, key) {
        string_of(&entry)?;
    }
    if offset.saturating_add(bytes.len()) > STRING_BYTES_MAX {
        return Err(TOO_LONG);
    }
    let len = keyspace.set_range(context.db, key, offset, bytes)?;
    keyspace.notice(Class::String, "setrange", context.db, key);
    Ok(len.into())
}
