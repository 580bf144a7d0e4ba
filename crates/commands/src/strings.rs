//! Strings as a whole: GET, SET and their variants.

use keyspace::{Class, Expiry, Keyspace};

use crate::argument::{Outcome, owned, string_of};
use crate::expiry;
use crate::lifetime::{Condition, Lifetime, SetOptions, Unit, positive_expiry};
use crate::spec::{Categories, Flags, KeyFlags, KeySpec, Spec};
use crate::table::{reads, writes};
use crate::{Command, CommandId, ReadContext, Reply, WriteContext};

const STRING: Spec = Spec {
    categories: Categories::STRING,
    group: "string",
    since: "1.0.0",
    complexity: "O(1)",
    ..Spec::EMPTY
};

const READ_WRITE: KeyFlags = KeyFlags::RW.with(KeyFlags::ACCESS).with(KeyFlags::UPDATE);

pub(crate) const COMMANDS: &[Command] = &[
    Command {
        id: CommandId(1),
        spec: Spec {
            name: "get",
            arity: 2,
            flags: Flags::READONLY.with(Flags::FAST),
            keys: &[KeySpec::one(1, KeyFlags::RO.with(KeyFlags::ACCESS))],
            summary: "Returns the string at a key.",
            syntax: "key",
            ..STRING
        },
        handler: reads!(get),
    },
    Command {
        id: CommandId(2),
        spec: Spec {
            name: "set",
            arity: -3,
            flags: Flags::WRITE.with(Flags::DENYOOM),
            keys: &[KeySpec::one(1, READ_WRITE.with(KeyFlags::VARIABLE_FLAGS))],
            summary: "Sets a key to a string, whatever it held.",
            syntax: "key value [NX | XX] [GET] [EX seconds | PX milliseconds | \
                     EXAT unix-time-seconds | PXAT unix-time-milliseconds | KEEPTTL]",
            ..STRING
        },
        handler: writes!(set),
    },
    Command {
        id: CommandId(3),
        spec: Spec {
            name: "setnx",
            arity: 3,
            flags: Flags::WRITE.with(Flags::DENYOOM).with(Flags::FAST),
            keys: &[KeySpec::one(1, KeyFlags::OW.with(KeyFlags::INSERT))],
            summary: "Sets a key to a string unless the key exists.",
            syntax: "key value",
            ..STRING
        },
        handler: writes!(setnx),
    },
    Command {
        id: CommandId(4),
        spec: Spec {
            name: "setex",
            arity: 4,
            flags: Flags::WRITE.with(Flags::DENYOOM),
            keys: &[KeySpec::one(1, KeyFlags::OW.with(KeyFlags::UPDATE))],
            since: "2.0.0",
            summary: "Sets a key to a string that expires after that many seconds.",
            syntax: "key seconds value",
            ..STRING
        },
        handler: writes!(setex),
    },
    Command {
        id: CommandId(5),
        spec: Spec {
            name: "psetex",
            arity: 4,
            flags: Flags::WRITE.with(Flags::DENYOOM),
            keys: &[KeySpec::one(1, KeyFlags::OW.with(KeyFlags::UPDATE))],
            since: "2.6.0",
            summary: "Sets a key to a string that expires after that many milliseconds.",
            syntax: "key milliseconds value",
            ..STRING
        },
        handler: writes!(psetex),
    },
    Command {
        id: CommandId(6),
        spec: Spec {
            name: "getex",
            arity: -2,
            flags: Flags::WRITE.with(Flags::FAST),
            keys: &[KeySpec::one(1, READ_WRITE)],
            since: "6.2.0",
            summary: "Returns the string at a key and sets when it expires.",
            syntax: "key [EX seconds | PX milliseconds | EXAT unix-time-seconds | \
                     PXAT unix-time-milliseconds | PERSIST]",
            ..STRING
        },
        handler: writes!(getex),
    },
    Command {
        id: CommandId(7),
        spec: Spec {
            name: "getdel",
            arity: 2,
            flags: Flags::WRITE.with(Flags::FAST),
            keys: &[KeySpec::one(
                1,
                KeyFlags::RW.with(KeyFlags::ACCESS).with(KeyFlags::DELETE),
            )],
            since: "6.2.0",
            summary: "Returns the string at a key and removes the key.",
            syntax: "key",
            ..STRING
        },
        handler: writes!(getdel),
    },
    Command {
        id: CommandId(8),
        spec: Spec {
            name: "getset",
            arity: 3,
            flags: Flags::WRITE.with(Flags::DENYOOM).with(Flags::FAST),
            keys: &[KeySpec::one(1, READ_WRITE)],
            summary: "Sets a key to a string and returns the one before.",
            syntax: "key value",
            deprecated: Some(("6.2.0", "`SET` with the `!GET` argument")),
            ..STRING
        },
        handler: writes!(getset),
    },
];

fn get<'k>(keyspace: &'k Keyspace, args: &[&[u8]], context: ReadContext) -> Outcome<'k> {
    let Some(entry) = keyspace.get(context.db, args[1], context.now) else {
        return Ok(Reply::Null);
    };
    entry.touch(context.now);
    Ok(Reply::bulk(string_of(&entry)?))
}

/// What GET would answer, for commands that then change the key.
fn current(
    keyspace: &Keyspace,
    key: &[u8],
    context: WriteContext,
) -> Result<Option<Reply<'static>>, Reply<'static>> {
    let Some(entry) = keyspace.entry(context.db, key) else {
        return Ok(None);
    };
    entry.touch(context.stamp);
    string_of(&entry).map(|value| Some(owned(value)))
}

/// Sets a key, and says so.
fn put(keyspace: &mut Keyspace, key: &[u8], value: &[u8], expiry: Expiry, context: WriteContext) {
    keyspace.set(context.db, key, value, expiry);
    keyspace.notice(Class::String, "set", context.db, key);
    if let Expiry::At(at) = expiry {
        keyspace.notice(Class::Generic, "expire", context.db, key);
        if at <= context.stamp {
            keyspace.notice(Class::Expired, "expired", context.db, key);
        }
    }
}

fn set(keyspace: &mut Keyspace, args: &[&[u8]], context: WriteContext) -> Outcome<'static> {
    let (key, value) = (args[1], args[2]);
    // The common call, without options.
    if args.len() == 3 {
        put(keyspace, key, value, Expiry::Clear, context);
        return Ok(Reply::Ok);
    }
    let options = SetOptions::parse(&args[3..])?;
    let expiry = match options.lifetime {
        Some(Lifetime::Until(unit, time)) => {
            Expiry::At(positive_expiry(unit, time, context.stamp, "set")?)
        }
        Some(Lifetime::Keep) => Expiry::Keep,
        Some(Lifetime::Persist) | None => Expiry::Clear,
    };
    let (reply, otherwise) = if options.get {
        let before = current(keyspace, key, context)?.unwrap_or(Reply::Null);
        (before.clone(), before)
    } else {
        (Reply::Ok, Reply::Null)
    };
    if let Some(condition) = options.condition {
        let present = keyspace.entry(context.db, key).is_some();
        if present != (condition == Condition::Present) {
            return Ok(otherwise);
        }
    }
    put(keyspace, key, value, expiry, context);
    Ok(reply)
}

fn setnx(keyspace: &mut Keyspace, args: &[&[u8]], context: WriteContext) -> Outcome<'static> {
    if keyspace.entry(context.db, args[1]).is_some() {
        return Ok(Reply::ZERO);
    }
    put(keyspace, args[1], args[2], Expiry::Clear, context);
    Ok(Reply::ONE)
}

fn setex(keyspace: &mut Keyspace, args: &[&[u8]], context: WriteContext) -> Outcome<'static> {
    let expires_at = positive_expiry(Unit::Seconds, args[2], context.stamp, "setex")?;
    put(keyspace, args[1], args[3], Expiry::At(expires_at), context);
    Ok(Reply::Ok)
}

fn psetex(keyspace: &mut Keyspace, args: &[&[u8]], context: WriteContext) -> Outcome<'static> {
    let expires_at = positive_expiry(Unit::Millis, args[2], context.stamp, "psetex")?;
    put(keyspace, args[1], args[3], Expiry::At(expires_at), context);
    Ok(Reply::Ok)
}

fn getex(keyspace: &mut Keyspace, args: &[&[u8]], context: WriteContext) -> Outcome<'static> {
    let lifetime = Lifetime::of_getex(&args[2..])?;
    let Some(value) = current(keyspace, args[1], context)? else {
        return Ok(Reply::Null);
    };
    match lifetime {
        Some(Lifetime::Until(unit, time)) => {
            let expires_at = positive_expiry(unit, time, context.stamp, "getex")?;
            expiry::change(keyspace, args[1], Some(expires_at), context);
        }
        Some(Lifetime::Persist) => {
            expiry::lift(keyspace, args[1], context);
        }
        Some(Lifetime::Keep) | None => {}
    }
    Ok(value)
}

fn getdel(keyspace: &mut Keyspace, args: &[&[u8]], context: WriteContext) -> Outcome<'static> {
    let Some(value) = current(keyspace, args[1], context)? else {
        return Ok(Reply::Null);
    };
    keyspace.remove(context.db, args[1]);
    keyspace.notice(Class::Generic, "del", context.db, args[1]);
    Ok(value)
}

fn getset(keyspace: &mut Keyspace, args: &[&[u8]], context: WriteContext) -> Outcome<'static> {
    let before = current(keyspace, args[1], context)?.unwrap_or(Reply::Null);
    put(keyspace, args[1], args[2], Expiry::Clear, context);
    Ok(before)
}
