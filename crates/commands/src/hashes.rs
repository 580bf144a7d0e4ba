//! Hashes: HSET, HGET and their kin.

use keyspace::{Absent, Class, Element, Hash, Keyspace};

use crate::argument::{Outcome, integer, owned};
use crate::chance::{Chance, Picks};
use crate::extended::Extended;
use crate::scan::{self, Options};
use crate::spec::{Categories, Flags, KeyFlags, KeySpec, Spec};
use crate::table::{reads, writes};
use crate::{Command, CommandId, ReadContext, Reply, WriteContext};

const HASH: Spec = Spec {
    categories: Categories::HASH,
    group: "hash",
    since: "2.0.0",
    complexity: "O(1)",
    ..Spec::EMPTY
};

/// What tells something of one field, or of the hash.
const TELLING: Spec = Spec {
    flags: Flags::READONLY.with(Flags::FAST),
    keys: &[KeySpec::one(1, KeyFlags::RO)],
    ..HASH
};

/// What gives all of a hash.
const WHOLE: Spec = Spec {
    arity: 2,
    flags: Flags::READONLY,
    keys: &[KeySpec::one(1, KeyFlags::RO.with(KeyFlags::ACCESS))],
    complexity: "O(N), N being the number of fields",
    syntax: "key",
    tips: &["nondeterministic_output_order"],
    ..HASH
};

/// What sets fields.
const SETTING: Spec = Spec {
    arity: -4,
    flags: Flags::WRITE.with(Flags::DENYOOM).with(Flags::FAST),
    keys: &[KeySpec::one(1, KeyFlags::RW.with(KeyFlags::UPDATE))],
    complexity: "O(N), N being the number of fields that are set",
    syntax: "key field value [field value ...]",
    ..HASH
};

/// What counts in a field.
const COUNTING: Spec = Spec {
    arity: 4,
    keys: &[KeySpec::one(
        1,
        KeyFlags::RW.with(KeyFlags::ACCESS).with(KeyFlags::UPDATE),
    )],
    complexity: "O(1)",
    syntax: "key field increment",
    ..SETTING
};

pub(crate) const COMMANDS: &[Command] = &[
    Command {
        id: CommandId(49),
        spec: Spec {
            name: "hset",
            summary: "Sets fields of a hash.",
            ..SETTING
        },
        handler: writes!(hset),
    },
    Command {
        id: CommandId(50),
        spec: Spec {
            name: "hsetnx",
            arity: 4,
            keys: &[KeySpec::one(1, KeyFlags::RW.with(KeyFlags::INSERT))],
            summary: "Sets a field of a hash unless the field exists.",
            complexity: "O(1)",
            syntax: "key field value",
            ..SETTING
        },
        handler: writes!(hsetnx),
    },
    Command {
        id: CommandId(51),
        spec: Spec {
            name: "hmset",
            summary: "Sets fields of a hash.",
            deprecated: Some(("4.0.0", "`HSET` with multiple field-value pairs")),
            ..SETTING
        },
        handler: writes!(hmset),
    },
    Command {
        id: CommandId(52),
        spec: Spec {
            name: "hget",
            arity: 3,
            keys: &[KeySpec::one(1, KeyFlags::RO.with(KeyFlags::ACCESS))],
            summary: "Returns a field of a hash.",
            syntax: "key field",
            ..TELLING
        },
        handler: reads!(hget),
    },
    Command {
        id: CommandId(53),
        spec: Spec {
            name: "hmget",
            arity: -3,
            keys: &[KeySpec::one(1, KeyFlags::RO.with(KeyFlags::ACCESS))],
            summary: "Returns fields of a hash.",
            complexity: "O(N), N being the number of fields that are asked for",
            syntax: "key field [field ...]",
            ..TELLING
        },
        handler: reads!(hmget),
    },
    Command {
        id: CommandId(54),
        spec: Spec {
            name: "hgetall",
            summary: "Returns all fields of a hash with their values.",
            ..WHOLE
        },
        handler: reads!(hgetall),
    },
    Command {
        id: CommandId(55),
        spec: Spec {
            name: "hkeys",
            summary: "Returns all fields of a hash.",
            ..WHOLE
        },
        handler: reads!(hkeys),
    },
    Command {
        id: CommandId(56),
        spec: Spec {
            name: "hvals",
            summary: "Returns all values of a hash.",
            ..WHOLE
        },
        handler: reads!(hvals),
    },
    Command {
        id: CommandId(57),
        spec: Spec {
            name: "hlen",
            arity: 2,
            summary: "Counts the fields of a hash.",
            syntax: "key",
            ..TELLING
        },
        handler: reads!(hlen),
    },
    Command {
        id: CommandId(58),
        spec: Spec {
            name: "hstrlen",
            arity: 3,
            since: "3.2.0",
            summary: "Tells the length of a field's value.",
            syntax: "key field",
            ..TELLING
        },
        handler: reads!(hstrlen),
    },
    Command {
        id: CommandId(59),
        spec: Spec {
            name: "hexists",
            arity: 3,
            summary: "Tells whether a hash has a field.",
            syntax: "key field",
            ..TELLING
        },
        handler: reads!(hexists),
    },
    Command {
        id: CommandId(60),
        spec: Spec {
            name: "hdel",
            arity: -3,
            flags: Flags::WRITE.with(Flags::FAST),
            keys: &[KeySpec::one(1, KeyFlags::RW.with(KeyFlags::DELETE))],
            summary: "Removes fields of a hash.",
            complexity: "O(N), N being the number of fields that are removed",
            syntax: "key field [field ...]",
            ..HASH
        },
        handler: writes!(hdel),
    },
    Command {
        id: CommandId(61),
        spec: Spec {
            name: "hincrby",
            summary: "Adds to the whole number in a field.",
            ..COUNTING
        },
        handler: writes!(hincrby),
    },
    Command {
        id: CommandId(62),
        spec: Spec {
            name: "hincrbyfloat",
            since: "2.6.0",
            summary: "Adds to the decimal number in a field.",
            ..COUNTING
        },
        handler: writes!(hincrbyfloat),
    },
    Command {
        id: CommandId(63),
        spec: Spec {
            name: "hscan",
            arity: -3,
            since: "2.8.0",
            summary: "Goes through the fields of a hash, a part at each call.",
            complexity: "O(1) for each call, O(N) for all of them, N being the number of fields",
            syntax: "key cursor [MATCH pattern] [COUNT count]",
            tips: &["nondeterministic_output"],
            ..WHOLE
        },
        handler: reads!(hscan),
    },
    Command {
        id: CommandId(64),
        spec: Spec {
            name: "hrandfield",
            arity: -2,
            since: "6.2.0",
            summary: "Returns fields of a hash, picked at random.",
            complexity: "O(N), N being the number of fields that are returned",
            syntax: "key [count [WITHVALUES]]",
            tips: &["nondeterministic_output"],
            ..WHOLE
        },
        handler: reads!(hrandfield),
    },
];

/// The hash at the first argument, for a read.
fn hash<'k>(
    keyspace: &'k Keyspace,
    args: &[&[u8]],
    context: ReadContext,
) -> Result<Option<Hash<'k>>, Reply<'static>> {
    Ok(keyspace.hash(context.db, args[1], context.now)?)
}

/// Sets all pairs that follow the key; how many fields are new.
fn set_all(
    keyspace: &mut Keyspace,
    args: &[&[u8]],
    context: WriteContext,
    name: &str,
) -> Result<usize, Reply<'static>> {
    let (pairs, []) = args[2..].as_chunks::<2>() else {
        return Err(Reply::error(format_args!(
            "ERR wrong number of arguments for '{name}' command"
        )));
    };
    let new = keyspace.change_hash(context.db, args[1], Absent::Make, |hash| {
        let new = |&&[field, value]: &&[&[u8]; 2]| hash.set(field, value);
        pairs.iter().filter(new).count()
    })?;
    keyspace.notice(Class::Hash, "hset", context.db, args[1]);
    Ok(new.expect("an absent hash is made"))
}

fn hset(keyspace: &mut Keyspace, args: &[&[u8]], context: WriteContext) -> Outcome<'static> {
    Ok(set_all(keyspace, args, context, "hset")?.into())
}

fn hmset(keyspace: &mut Keyspace, args: &[&[u8]], context: WriteContext) -> Outcome<'static> {
    set_all(keyspace, args, context, "hmset")?;
    Ok(Reply::Ok)
}

/// What a field holds, for a write that changes it.
fn field<'k>(
    keyspace: &'k Keyspace,
    args: &[&[u8]],
    context: WriteContext,
) -> Result<Option<Element<'k>>, Reply<'static>> {
    let hash = keyspace.hash(context.db, args[1], context.stamp)?;
    Ok(hash.and_then(|hash| hash.get(args[2])))
}

fn set_one(
    keyspace: &mut Keyspace,
    args: &[&[u8]],
    value: &[u8],
    event: &'static str,
    context: WriteContext,
) -> Result<(), Reply<'static>> {
    keyspace.change_hash(context.db, args[1], Absent::Make, |hash| {
        hash.set(args[2], value);
    })?;
    keyspace.notice(Class::Hash, event, context.db, args[1]);
    Ok(())
}

fn hsetnx(keyspace: &mut Keyspace, args: &[&[u8]], context: WriteContext) -> Outcome<'static> {
    if field(keyspace, args, context)?.is_some() {
        return Ok(Reply::ZERO);
    }
    set_one(keyspace, args, args[3], "hset", context)?;
    Ok(Reply::ONE)
}

fn hget<'k>(keyspace: &'k Keyspace, args: &[&[u8]], context: ReadContext) -> Outcome<'k> {
    let value = hash(keyspace, args, context)?.and_then(|hash| hash.get(args[2]));
    Ok(value.map_or(Reply::Null, Reply::from))
}

fn hmget<'k>(keyspace: &'k Keyspace, args: &[&[u8]], context: ReadContext) -> Outcome<'k> {
    let hash = hash(keyspace, args, context)?;
    let value = |field: &&[u8]| hash.and_then(|hash| hash.get(field));
    let values = args[2..].iter().map(value);
    Ok(Reply::Array(
        values
            .map(|value| value.map_or(Reply::Null, Reply::from))
            .collect(),
    ))
}

fn hgetall<'k>(keyspace: &'k Keyspace, args: &[&[u8]], context: ReadContext) -> Outcome<'k> {
    let mut pairs = Vec::new();
    if let Some(hash) = hash(keyspace, args, context)? {
        pairs.reserve(hash.len());
        hash.for_each(&mut |(field, value)| pairs.push((field.into(), value.into())));
    }
    Ok(Reply::Map(pairs))
}

fn hkeys<'k>(keyspace: &'k Keyspace, args: &[&[u8]], context: ReadContext) -> Outcome<'k> {
    let mut fields = Vec::new();
    if let Some(hash) = hash(keyspace, args, context)? {
        fields.reserve(hash.len());
        hash.for_each(&mut |(field, _)| fields.push(field.into()));
    }
    Ok(Reply::Array(fields))
}

fn hvals<'k>(keyspace: &'k Keyspace, args: &[&[u8]], context: ReadContext) -> Outcome<'k> {
    let mut values = Vec::new();
    if let Some(hash) = hash(keyspace, args, context)? {
        values.reserve(hash.len());
        hash.for_each(&mut |(_, value)| values.push(value.into()));
    }
    Ok(Reply::Array(values))
}

fn hlen<'k>(keyspace: &'k Keyspace, args: &[&[u8]], context: ReadContext) -> Outcome<'k> {
    let hash = hash(keyspace, args, context)?;
    Ok(hash.map_or(0, |hash| hash.len()).into())
}

fn hstrlen<'k>(keyspace: &'k Keyspace, args: &[&[u8]], context: ReadContext) -> Outcome<'k> {
    let value = hash(keyspace, args, context)?.and_then(|hash| hash.get(args[2]));
    Ok(value.map_or(0, Element::len).into())
}

fn hexists<'k>(keyspace: &'k Keyspace, args: &[&[u8]], context: ReadContext) -> Outcome<'k> {
    let value = hash(keyspace, args, context)?.and_then(|hash| hash.get(args[2]));
    Ok(value.is_some().into())
}

fn hdel(keyspace: &mut Keyspace, args: &[&[u8]], context: WriteContext) -> Outcome<'static> {
    let hash = keyspace.hash(context.db, args[1], context.stamp)?;
    let is_there = |field: &&[u8]| hash.is_some_and(|hash| hash.get(field).is_some());
    if !args[2..].iter().any(is_there) {
        return Ok(Reply::ZERO);
    }
    let removed = keyspace.change_hash(context.db, args[1], Absent::Leave, |hash| {
        args[2..].iter().filter(|field| hash.remove(field)).count()
    })?;
    keyspace.notice_change(Class::Hash, "hdel", context.db, args[1]);
    Ok(removed.unwrap_or(0).into())
}

fn hincrby(keyspace: &mut Keyspace, args: &[&[u8]], context: WriteContext) -> Outcome<'static> {
    let increment = integer(args[3])?;
    let before = match field(keyspace, args, context)? {
        Some(Element::Number(number)) => number,
        Some(Element::Bytes(bytes)) => {
            integer(bytes).map_err(|_| Reply::refusal("ERR hash value is not an integer"))?
        }
        None => 0,
    };
    let number = before
        .checked_add(increment)
        .ok_or(Reply::refusal("ERR increment or decrement would overflow"))?;
    let mut digits = itoa::Buffer::new();
    let digits = digits.format(number).as_bytes();
    set_one(keyspace, args, digits, "hincrby", context)?;
    Ok(Reply::Integer(number))
}

fn hincrbyfloat(
    keyspace: &mut Keyspace,
    args: &[&[u8]],
    context: WriteContext,
) -> Outcome<'static> {
    let increment =
        Extended::parse(args[3]).ok_or(Reply::refusal("ERR value is not a valid float"))?;
    if increment == Extended::Infinite {
        return Err(Reply::refusal("ERR value is NaN or Infinity"));
    }
    let before = match field(keyspace, args, context)? {
        Some(value) => value
            .with_bytes(Extended::parse)
            .ok_or(Reply::refusal("ERR hash value is not a float"))?,
        None => Extended::ZERO,
    };
    let sum = before.add(increment).ok_or(Reply::refusal(
        "ERR increment would produce NaN or Infinity",
    ))?;
    let digits = sum.to_string();
    set_one(keyspace, args, digits.as_bytes(), "hincrbyfloat", context)?;
    Ok(owned(digits))
}

fn hscan<'k>(keyspace: &'k Keyspace, args: &[&[u8]], context: ReadContext) -> Outcome<'k> {
    let cursor = scan::cursor(args[2])?;
    let Some(hash) = hash(keyspace, args, context)? else {
        return Ok(scan::page(0, Vec::new()));
    };
    let options = Options::of_collection(&args[3..])?;
    let mut found = Vec::new();
    let next = hash.scan(cursor, options.count, &mut |(field, value)| {
        if field.with_bytes(|field| options.wants(field)) {
            found.extend([field.into(), value.into()]);
        }
    });
    Ok(scan::page(next, found))
}

fn hrandfield<'k>(keyspace: &'k Keyspace, args: &[&[u8]], context: ReadContext) -> Outcome<'k> {
    let mut chance = Chance::new(context.random);
    let Some(count) = args.get(2..).filter(|options| !options.is_empty()) else {
        let hash = hash(keyspace, args, context)?;
        return Ok(hash.map_or(Reply::Null, |hash| {
            hash.nth(chance.below(hash.len())).0.into()
        }));
    };
    let (picks, with_values) = Picks::parse_with(count, "WITHVALUES")?;
    let Some(hash) = hash(keyspace, args, context)? else {
        return Ok(Reply::Array(Vec::new()));
    };
    let picked = picks.pick(hash.len(), &mut chance);
    let pairs = hash.each(&picked);
    Ok(if with_values {
        let pairs = pairs.into_iter();
        Reply::Pairs(
            pairs
                .map(|(field, value)| (field.into(), value.into()))
                .collect(),
        )
    } else {
        Reply::Array(pairs.into_iter().map(|(field, _)| field.into()).collect())
    })
}
