//! Keys whatever they hold: DEL, EXISTS, TYPE, RENAME, COPY, MOVE...

use base::Db;
use keyspace::{Class, Keyspace, Kind};

use crate::argument::{NO_SUCH_KEY, Outcome, SAME_OBJECT, SYNTAX, is, small_integer};
use crate::spec::{Categories, Flags, KeyFlags, KeySpec, Spec};
use crate::split::{Gather, Split};
use crate::table::{reads, writes};
use crate::{Command, CommandId, ReadContext, Reply, WriteContext};

const GENERIC: Spec = Spec {
    categories: Categories::KEYSPACE,
    group: "generic",
    since: "1.0.0",
    complexity: "O(1)",
    ..Spec::EMPTY
};

/// What counts keys, each argument being one.
const COUNTING: Spec = Spec {
    arity: -2,
    complexity: "O(N), N being the number of keys",
    syntax: "key [key ...]",
    tips: &["request_policy:multi_shard", "response_policy:agg_sum"],
    split: Split::ByKey(Gather::Sum),
    ..GENERIC
};

pub(crate) const COMMANDS: &[Command] = &[
    Command {
        id: CommandId(23),
        spec: Spec {
            name: "del",
            flags: Flags::WRITE,
            keys: &[KeySpec::range(
                1,
                -1,
                1,
                KeyFlags::RM.with(KeyFlags::DELETE),
            )],
            summary: "Removes keys.",
            ..COUNTING
        },
        handler: writes!(del),
    },
    Command {
        id: CommandId(24),
        spec: Spec {
            name: "unlink",
            flags: Flags::WRITE.with(Flags::FAST),
            keys: &[KeySpec::range(
                1,
                -1,
                1,
                KeyFlags::RM.with(KeyFlags::DELETE),
            )],
            since: "4.0.0",
            summary: "Removes keys, like DEL.",
            ..COUNTING
        },
        handler: writes!(del),
    },
    Command {
        id: CommandId(25),
        spec: Spec {
            name: "exists",
            flags: Flags::READONLY.with(Flags::FAST),
            keys: &[KeySpec::range(1, -1, 1, KeyFlags::RO)],
            summary: "Counts how many of the keys exist.",
            ..COUNTING
        },
        handler: reads!(exists),
    },
    Command {
        id: CommandId(26),
        spec: Spec {
            name: "touch",
            flags: Flags::READONLY.with(Flags::FAST),
            keys: &[KeySpec::range(1, -1, 1, KeyFlags::RO)],
            since: "3.2.1",
            summary: "Notes an access to keys and counts how many exist.",
            ..COUNTING
        },
        // What EXISTS counts it touches as well.
        handler: reads!(exists),
    },
    Command {
        id: CommandId(27),
        spec: Spec {
            name: "type",
            arity: 2,
            flags: Flags::READONLY.with(Flags::FAST),
            keys: &[KeySpec::one(1, KeyFlags::RO)],
            summary: "Tells what kind of value a key holds.",
            syntax: "key",
            ..GENERIC
        },
        handler: reads!(kind),
    },
    Command {
        id: CommandId(28),
        spec: Spec {
            name: "rename",
            arity: 3,
            flags: Flags::WRITE,
            keys: &[
                KeySpec::one(
                    1,
                    KeyFlags::RW.with(KeyFlags::ACCESS).with(KeyFlags::DELETE),
                ),
                KeySpec::one(2, KeyFlags::OW.with(KeyFlags::UPDATE)),
            ],
            summary: "Renames a key, over another one if need be.",
            syntax: "key newkey",
            ..GENERIC
        },
        handler: writes!(rename),
    },
    Command {
        id: CommandId(29),
        spec: Spec {
            name: "renamenx",
            arity: 3,
            flags: Flags::WRITE.with(Flags::FAST),
            keys: &[
                KeySpec::one(
                    1,
                    KeyFlags::RW.with(KeyFlags::ACCESS).with(KeyFlags::DELETE),
                ),
                KeySpec::one(2, KeyFlags::OW.with(KeyFlags::INSERT)),
            ],
            summary: "Renames a key unless the new name exists.",
            syntax: "key newkey",
            ..GENERIC
        },
        handler: writes!(renamenx),
    },
    Command {
        id: CommandId(30),
        spec: Spec {
            name: "copy",
            arity: -3,
            flags: Flags::WRITE.with(Flags::DENYOOM),
            keys: &[
                KeySpec::one(1, KeyFlags::RO.with(KeyFlags::ACCESS)),
                KeySpec::one(2, KeyFlags::OW.with(KeyFlags::UPDATE)),
            ],
            since: "6.2.0",
            summary: "Copies a key with its expiry.",
            complexity: "O(N), N being the size of the value",
            syntax: "source destination [DB destination-db] [REPLACE]",
            ..GENERIC
        },
        handler: writes!(copy),
    },
    Command {
        id: CommandId(31),
        spec: Spec {
            name: "move",
            arity: 3,
            flags: Flags::WRITE.with(Flags::FAST),
            keys: &[KeySpec::one(
                1,
                KeyFlags::RW.with(KeyFlags::ACCESS).with(KeyFlags::UPDATE),
            )],
            summary: "Moves a key to another database unless it exists there.",
            syntax: "key db",
            ..GENERIC
        },
        handler: writes!(move_key),
    },
];

fn del(keyspace: &mut Keyspace, args: &[&[u8]], context: WriteContext) -> Outcome<'static> {
    let mut remove = |key: &&&[u8]| {
        let removed = keyspace.remove(context.db, key);
        if removed {
            keyspace.notice(Class::Generic, "del", context.db, key);
        }
        removed
    };
    Ok(args[1..].iter().filter(|key| remove(key)).count().into())
}

fn exists<'k>(keyspace: &'k Keyspace, args: &[&[u8]], context: ReadContext) -> Outcome<'k> {
    let found = |key: &&&[u8]| {
        let entry = keyspace.get(context.db, key, context.now);
        entry.inspect(|entry| entry.touch(context.now)).is_some()
    };
    Ok(args[1..].iter().filter(found).count().into())
}

/// The name of a kind, as TYPE tells it and `SCAN ... TYPE` takes it.
pub(crate) const fn kind_name(kind: Kind) -> &'static str {
    match kind {
        Kind::String => "string",
        Kind::List => "list",
        Kind::Set => "set",
        Kind::SortedSet => "zset",
        Kind::Hash => "hash",
        Kind::Stream => "stream",
    }
}

fn kind<'k>(keyspace: &'k Keyspace, args: &[&[u8]], context: ReadContext) -> Outcome<'k> {
    let entry = keyspace.get(context.db, args[1], context.now);
    Ok(Reply::Simple(
        entry.map_or("none", |entry| kind_name(entry.kind())),
    ))
}

fn rename(keyspace: &mut Keyspace, args: &[&[u8]], context: WriteContext) -> Outcome<'static> {
    // One name for both changes nothing, but the key must be there.
    let done = if args[1] == args[2] {
        keyspace.entry(context.db, args[1]).is_some()
    } else {
        rename_to(keyspace, args, context)
    };
    if done {
        Ok(Reply::Ok)
    } else {
        Err(NO_SUCH_KEY)
    }
}

fn renamenx(keyspace: &mut Keyspace, args: &[&[u8]], context: WriteContext) -> Outcome<'static> {
    if keyspace.entry(context.db, args[1]).is_none() {
        return Err(NO_SUCH_KEY);
    }
    if keyspace.entry(context.db, args[2]).is_some() {
        return Ok(Reply::ZERO);
    }
    Ok(rename_to(keyspace, args, context).into())
}

fn rename_to(keyspace: &mut Keyspace, args: &[&[u8]], context: WriteContext) -> bool {
    let (from, to) = (args[1], args[2]);
    let done = keyspace.rename(context.db, from, to);
    if done {
        keyspace.notice(Class::Generic, "rename_from", context.db, from);
        keyspace.notice(Class::Generic, "rename_to", context.db, to);
    }
    done
}

/// The database of that number.
fn database(arg: &[u8]) -> Result<Db, Reply<'static>> {
    u8::try_from(small_integer(arg)?)
        .ok()
        .and_then(|number| Db::new(number).ok())
        .ok_or(Reply::refusal("ERR DB index is out of range"))
}

fn copy(keyspace: &mut Keyspace, args: &[&[u8]], context: WriteContext) -> Outcome<'static> {
    let (from, to) = (args[1], args[2]);
    let (mut to_db, mut replace) = (context.db, false);
    let mut rest = &args[3..];
    while let [arg, tail @ ..] = rest {
        rest = tail;
        if is(arg, "REPLACE") {
            replace = true;
        } else if is(arg, "DB")
            && let [number, tail @ ..] = rest
        {
            to_db = database(number)?;
            rest = tail;
        } else {
            return Err(SYNTAX);
        }
    }
    if to_db == context.db && from == to {
        return Err(SAME_OBJECT);
    }
    if !replace && keyspace.entry(to_db, to).is_some() {
        return Ok(Reply::ZERO);
    }
    let done = keyspace.copy(context.db, from, to_db, to);
    if done {
        keyspace.notice(Class::Generic, "copy_to", to_db, to);
    }
    Ok(done.into())
}

fn move_key(keyspace: &mut Keyspace, args: &[&[u8]], context: WriteContext) -> Outcome<'static> {
    let (key, to_db) = (args[1], database(args[2])?);
    if to_db == context.db {
        return Err(SAME_OBJECT);
    }
    if keyspace.entry(to_db, key).is_some() {
        return Ok(Reply::ZERO);
    }
    let moved = keyspace.copy(context.db, key, to_db, key);
    if moved {
        keyspace.remove(context.db, key);
        keyspace.notice(Class::Generic, "move_from", context.db, key);
        keyspace.notice(Class::Generic, "move_to", to_db, key);
    }
    Ok(moved.into())
}
