//! Several strings at once: MGET, MSET, MSETNX.

use keyspace::{Class, Expiry, Keyspace};

use crate::argument::{Outcome, string_of};
use crate::spec::{Categories, Flags, KeyFlags, KeySpec, Spec};
use crate::split::{Gather, Split};
use crate::table::{reads, writes};
use crate::{Command, CommandId, ReadContext, Reply, WriteContext};

const MANY: Spec = Spec {
    categories: Categories::STRING,
    group: "string",
    ..Spec::EMPTY
};

pub(crate) const COMMANDS: &[Command] = &[
    Command {
        id: CommandId(9),
        spec: Spec {
            name: "mget",
            arity: -2,
            flags: Flags::READONLY.with(Flags::FAST),
            keys: &[KeySpec::range(
                1,
                -1,
                1,
                KeyFlags::RO.with(KeyFlags::ACCESS),
            )],
            since: "1.0.0",
            summary: "Returns the strings at several keys.",
            complexity: "O(N), N being the number of keys",
            syntax: "key [key ...]",
            tips: &["request_policy:multi_shard"],
            split: Split::ByKey(Gather::InOrder),
            ..MANY
        },
        handler: reads!(mget),
    },
    Command {
        id: CommandId(10),
        spec: Spec {
            name: "mset",
            arity: -3,
            flags: Flags::WRITE.with(Flags::DENYOOM),
            keys: &[KeySpec::range(
                1,
                -1,
                2,
                KeyFlags::OW.with(KeyFlags::UPDATE),
            )],
            since: "1.0.1",
            summary: "Sets several keys to strings, all at one moment.",
            complexity: "O(N), N being the number of keys",
            syntax: "key value [key value ...]",
            tips: &[
                "request_policy:multi_shard",
                "response_policy:all_succeeded",
            ],
            ..MANY
        },
        handler: writes!(mset),
    },
    Command {
        id: CommandId(11),
        spec: Spec {
            name: "msetnx",
            arity: -3,
            flags: Flags::WRITE.with(Flags::DENYOOM),
            keys: &[KeySpec::range(
                1,
                -1,
                2,
                KeyFlags::OW.with(KeyFlags::INSERT),
            )],
            since: "1.0.1",
            summary: "Sets several keys to strings unless one of them exists.",
            complexity: "O(N), N being the number of keys",
            syntax: "key value [key value ...]",
            tips: &["request_policy:multi_shard", "response_policy:agg_min"],
            ..MANY
        },
        handler: writes!(msetnx),
    },
];

/// Keys that hold something else than a string count as absent.
fn mget<'k>(keyspace: &'k Keyspace, args: &[&[u8]], context: ReadContext) -> Outcome<'k> {
    let value = |key: &&[u8]| {
        let entry = keyspace.get(context.db, key, context.now)?;
        entry.touch(context.now);
        string_of(&entry).ok().map(Reply::bulk)
    };
    Ok(Reply::Array(
        args[1..]
            .iter()
            .map(|key| value(key).unwrap_or(Reply::Null))
            .collect(),
    ))
}

/// The pairs of key and value.
fn pairs<'a>(args: &'a [&'a [u8]], name: &str) -> Result<&'a [[&'a [u8]; 2]], Reply<'static>> {
    match args[1..].as_chunks() {
        (pairs, []) => Ok(pairs),
        _ => Err(Reply::error(format_args!(
            "ERR wrong number of arguments for '{name}' command"
        ))),
    }
}

fn set_all(keyspace: &mut Keyspace, pairs: &[[&[u8]; 2]], context: WriteContext) {
    for [key, value] in pairs {
        keyspace.set(context.db, key, value, Expiry::Clear);
        keyspace.notice(Class::String, "set", context.db, key);
    }
}

fn mset(keyspace: &mut Keyspace, args: &[&[u8]], context: WriteContext) -> Outcome<'static> {
    set_all(keyspace, pairs(args, "mset")?, context);
    Ok(Reply::Ok)
}

fn msetnx(keyspace: &mut Keyspace, args: &[&[u8]], context: WriteContext) -> Outcome<'static> {
    let pairs = pairs(args, "msetnx")?;
    if pairs
        .iter()
        .any(|[key, _]| keyspace.entry(context.db, key).is_some())
    {
        return Ok(Reply::ZERO);
    }
    set_all(keyspace, pairs, context);
    Ok(Reply::ONE)
}
