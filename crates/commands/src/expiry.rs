//! Expiry: EXPIRE, TTL and their variants, PERSIST.

use base::Timestamp;
use keyspace::{Class, Keyspace};

use crate::argument::{Outcome, integer, is};
use crate::lifetime::{Unit, absolute, invalid_expire_time};
use crate::spec::{Categories, Flags, KeyFlags, KeySpec, Spec, lossy};
use crate::table::{reads, writes};
use crate::{Command, CommandId, ReadContext, Reply, WriteContext};

const GENERIC: Spec = Spec {
    categories: Categories::KEYSPACE,
    group: "generic",
    complexity: "O(1)",
    ..Spec::EMPTY
};

const SETTING: Spec = Spec {
    arity: -3,
    flags: Flags::WRITE.with(Flags::FAST),
    keys: &[KeySpec::one(1, KeyFlags::RW.with(KeyFlags::UPDATE))],
    ..GENERIC
};

const TELLING: Spec = Spec {
    arity: 2,
    flags: Flags::READONLY.with(Flags::FAST),
    keys: &[KeySpec::one(1, KeyFlags::RO.with(KeyFlags::ACCESS))],
    syntax: "key",
    ..GENERIC
};

pub(crate) const COMMANDS: &[Command] = &[
    Command {
        id: CommandId(32),
        spec: Spec {
            name: "expire",
            since: "1.0.0",
            summary: "Lets a key expire after that many seconds.",
            syntax: "key seconds [NX | XX | GT | LT]",
            ..SETTING
        },
        handler: writes!(expire),
    },
    Command {
        id: CommandId(33),
        spec: Spec {
            name: "pexpire",
            since: "2.6.0",
            summary: "Lets a key expire after that many milliseconds.",
            syntax: "key milliseconds [NX | XX | GT | LT]",
            ..SETTING
        },
        handler: writes!(pexpire),
    },
    Command {
        id: CommandId(34),
        spec: Spec {
            name: "expireat",
            since: "1.2.0",
            summary: "Lets a key expire at a Unix time in seconds.",
            syntax: "key unix-time-seconds [NX | XX | GT | LT]",
            ..SETTING
        },
        handler: writes!(expireat),
    },
    Command {
        id: CommandId(35),
        spec: Spec {
            name: "pexpireat",
            since: "2.6.0",
            summary: "Lets a key expire at a Unix time in milliseconds.",
            syntax: "key unix-time-milliseconds [NX | XX | GT | LT]",
            ..SETTING
        },
        handler: writes!(pexpireat),
    },
    Command {
        id: CommandId(36),
        spec: Spec {
            name: "ttl",
            since: "1.0.0",
            summary: "Tells in how many seconds a key expires.",
            tips: &["nondeterministic_output"],
            ..TELLING
        },
        handler: reads!(ttl),
    },
    Command {
        id: CommandId(37),
        spec: Spec {
            name: "pttl",
            since: "2.6.0",
            summary: "Tells in how many milliseconds a key expires.",
            tips: &["nondeterministic_output"],
            ..TELLING
        },
        handler: reads!(pttl),
    },
    Command {
        id: CommandId(38),
        spec: Spec {
            name: "expiretime",
            since: "7.0.0",
            summary: "Tells at what Unix time in seconds a key expires.",
            ..TELLING
        },
        handler: reads!(expiretime),
    },
    Command {
        id: CommandId(39),
        spec: Spec {
            name: "pexpiretime",
            since: "7.0.0",
            summary: "Tells at what Unix time in milliseconds a key expires.",
            ..TELLING
        },
        handler: reads!(pexpiretime),
    },
    Command {
        id: CommandId(40),
        spec: Spec {
            name: "persist",
            arity: 2,
            since: "2.2.0",
            summary: "Lets a key expire no more.",
            syntax: "key",
            ..SETTING
        },
        handler: writes!(persist),
    },
];

fn expire(keyspace: &mut Keyspace, args: &[&[u8]], context: WriteContext) -> Outcome<'static> {
    set_expiry(keyspace, args, Unit::Seconds, "expire", context)
}

fn pexpire(keyspace: &mut Keyspace, args: &[&[u8]], context: WriteContext) -> Outcome<'static> {
    set_expiry(keyspace, args, Unit::Millis, "pexpire", context)
}

fn expireat(keyspace: &mut Keyspace, args: &[&[u8]], context: WriteContext) -> Outcome<'static> {
    set_expiry(keyspace, args, Unit::UnixSeconds, "expireat", context)
}

fn pexpireat(keyspace: &mut Keyspace, args: &[&[u8]], context: WriteContext) -> Outcome<'static> {
    set_expiry(keyspace, args, Unit::UnixMillis, "pexpireat", context)
}

/// Under which present expiry a new one is set.
#[derive(Default)]
struct Condition {
    none: bool,
    some: bool,
    earlier: bool,
    later: bool,
}

impl Condition {
    fn parse(args: &[&[u8]]) -> Result<Condition, Reply<'static>> {
        let mut condition = Condition::default();
        for arg in args {
            if is(arg, "NX") {
                condition.none = true;
            } else if is(arg, "XX") {
                condition.some = true;
            } else if is(arg, "GT") {
                condition.earlier = true;
            } else if is(arg, "LT") {
                condition.later = true;
            } else {
                let option = lossy(arg, usize::MAX);
                return Err(Reply::error(format_args!(
                    "ERR Unsupported option {option}"
                )));
            }
        }
        if condition.none && (condition.some || condition.earlier || condition.later) {
            return Err(Reply::refusal(
                "ERR NX and XX, GT or LT options at the same time are not compatible",
            ));
        }
        if condition.earlier && condition.later {
            return Err(Reply::refusal(
                "ERR GT and LT options at the same time are not compatible",
            ));
        }
        Ok(condition)
    }

    /// Whether it holds for the present expiry. No expiry counts as later than any.
    fn holds(&self, present: Option<Timestamp>, at: i64) -> bool {
        let present = present.map(|at| i128::from(at.millis()));
        let at = i128::from(at);
        !(self.none && present.is_some()
            || self.some && present.is_none()
            || self.earlier && present.is_none_or(|present| at <= present)
            || self.later && present.is_some_and(|present| at >= present))
    }
}

fn set_expiry(
    keyspace: &mut Keyspace,
    args: &[&[u8]],
    unit: Unit,
    command: &str,
    context: WriteContext,
) -> Outcome<'static> {
    let key = args[1];
    let condition = Condition::parse(&args[3..])?;
    let time = integer(args[2])?;
    let at = absolute(unit, time, context.stamp).ok_or_else(|| invalid_expire_time(command))?;
    let Some(entry) = keyspace.entry(context.db, key) else {
        return Ok(Reply::ZERO);
    };
    if !condition.holds(entry.expires_at(), at) {
        return Ok(Reply::ZERO);
    }
    // A moment before 1970 is as past as 1970 is: the key goes at once.
    let expires_at = Timestamp::from_millis(u64::try_from(at).unwrap_or(0));
    Ok(change(keyspace, key, Some(expires_at), context).into())
}

/// Sets the expiry of a key, which goes at once if that is past, and says so.
pub(crate) fn change(
    keyspace: &mut Keyspace,
    key: &[u8],
    expires_at: Option<Timestamp>,
    context: WriteContext,
) -> bool {
    let done = keyspace.set_expiry(context.db, key, expires_at);
    if done {
        let event = match expires_at {
            Some(at) if at <= context.stamp => "del",
            Some(_) => "expire",
            None => "persist",
        };
        keyspace.notice(Class::Generic, event, context.db, key);
    }
    done
}

/// Lets a key expire no more, if it would have; whether it would.
pub(crate) fn lift(keyspace: &mut Keyspace, key: &[u8], context: WriteContext) -> bool {
    let entry = keyspace.entry(context.db, key);
    entry.is_some_and(|entry| entry.expires_at().is_some()) && change(keyspace, key, None, context)
}

fn persist(keyspace: &mut Keyspace, args: &[&[u8]], context: WriteContext) -> Outcome<'static> {
    Ok(lift(keyspace, args[1], context).into())
}

/// -2 without the key, -1 without an expiry, else what `answer` makes of it.
fn tell(
    keyspace: &Keyspace,
    key: &[u8],
    context: ReadContext,
    answer: impl Fn(u64) -> u64,
) -> Outcome<'static> {
    let number = match keyspace.get(context.db, key, context.now) {
        None => -2,
        Some(entry) => match entry.expires_at() {
            None => -1,
            Some(at) => {
                i64::try_from(answer(at.millis())).expect("an expiry was given as a signed number")
            }
        },
    };
    Ok(Reply::Integer(number))
}

/// To the nearest second, halves upwards.
fn in_seconds(millis: u64) -> u64 {
    (millis + 500) / 1000
}

fn ttl<'k>(keyspace: &'k Keyspace, args: &[&[u8]], context: ReadContext) -> Outcome<'k> {
    tell(keyspace, args[1], context, |at| {
        in_seconds(at - context.now.millis())
    })
}

fn pttl<'k>(keyspace: &'k Keyspace, args: &[&[u8]], context: ReadContext) -> Outcome<'k> {
    tell(keyspace, args[1], context, |at| at - context.now.millis())
}

fn expiretime<'k>(keyspace: &'k Keyspace, args: &[&[u8]], context: ReadContext) -> Outcome<'k> {
    tell(keyspace, args[1], context, in_seconds)
}

fn pexpiretime<'k>(keyspace: &'k Keyspace, args: &[&[u8]], context: ReadContext) -> Outcome<'k> {
    tell(keyspace, args[1], context, |at| at)
}
