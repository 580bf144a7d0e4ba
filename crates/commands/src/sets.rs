//! Sets: SADD, SPOP and their kin on one set. What combines several is in `combining`.

pub(crate) mod combining;

use keyspace::{Absent, Class, Keyspace, Set};

use crate::argument::{Outcome, SYNTAX, length};
use crate::chance::{Chance, Picks};
use crate::scan::{self, Options};
use crate::spec::{Categories, Flags, KeyFlags, KeySpec, Spec};
use crate::table::{reads, writes};
use crate::{Command, CommandId, ReadContext, Reply, WriteContext};

const SET: Spec = Spec {
    categories: Categories::SET,
    group: "set",
    since: "1.0.0",
    complexity: "O(1)",
    ..Spec::EMPTY
};

/// What tells something of one member, or of the set.
const TELLING: Spec = Spec {
    flags: Flags::READONLY.with(Flags::FAST),
    keys: &[KeySpec::one(1, KeyFlags::RO)],
    ..SET
};

/// What gives members.
const GIVING: Spec = Spec {
    flags: Flags::READONLY,
    keys: &[KeySpec::one(1, KeyFlags::RO.with(KeyFlags::ACCESS))],
    ..SET
};

pub(crate) const COMMANDS: &[Command] = &[
    Command {
        id: CommandId(70),
        spec: Spec {
            name: "sadd",
            arity: -3,
            flags: Flags::WRITE.with(Flags::DENYOOM).with(Flags::FAST),
            keys: &[KeySpec::one(1, KeyFlags::RW.with(KeyFlags::INSERT))],
            summary: "Adds members to a set.",
            complexity: "O(N), N being the number of members that are added",
            syntax: "key member [member ...]",
            ..SET
        },
        handler: writes!(sadd),
    },
    Command {
        id: CommandId(71),
        spec: Spec {
            name: "srem",
            arity: -3,
            flags: Flags::WRITE.with(Flags::FAST),
            keys: &[KeySpec::one(1, KeyFlags::RW.with(KeyFlags::DELETE))],
            summary: "Removes members of a set.",
            complexity: "O(N), N being the number of members that are removed",
            syntax: "key member [member ...]",
            ..SET
        },
        handler: writes!(srem),
    },
    Command {
        id: CommandId(72),
        spec: Spec {
            name: "sismember",
            arity: 3,
            summary: "Tells whether a set has a member.",
            syntax: "key member",
            ..TELLING
        },
        handler: reads!(sismember),
    },
    Command {
        id: CommandId(73),
        spec: Spec {
            name: "smismember",
            arity: -3,
            keys: GIVING.keys,
            since: "6.2.0",
            summary: "Tells which members a set has.",
            complexity: "O(N), N being the number of members that are asked for",
            syntax: "key member [member ...]",
            ..TELLING
        },
        handler: reads!(smismember),
    },
    Command {
        id: CommandId(74),
        spec: Spec {
            name: "smembers",
            arity: 2,
            summary: "Returns all members of a set.",
            complexity: "O(N), N being the number of members",
            syntax: "key",
            tips: &["nondeterministic_output_order"],
            ..GIVING
        },
        handler: reads!(smembers),
    },
    Command {
        id: CommandId(75),
        spec: Spec {
            name: "scard",
            arity: 2,
            summary: "Counts the members of a set.",
            syntax: "key",
            ..TELLING
        },
        handler: reads!(scard),
    },
    Command {
        id: CommandId(76),
        spec: Spec {
            name: "spop",
            arity: -2,
            flags: Flags::WRITE.with(Flags::FAST),
            keys: &[KeySpec::one(
                1,
                KeyFlags::RW.with(KeyFlags::ACCESS).with(KeyFlags::DELETE),
            )],
            summary: "Removes members of a set, picked at random, and returns them.",
            complexity: "O(N), N being the number of members that are removed",
            syntax: "key [count]",
            tips: &["nondeterministic_output"],
            ..SET
        },
        handler: writes!(spop),
    },
    Command {
        id: CommandId(77),
        spec: Spec {
            name: "srandmember",
            arity: -2,
            summary: "Returns members of a set, picked at random.",
            complexity: "O(N), N being the number of members that are returned",
            syntax: "key [count]",
            tips: &["nondeterministic_output"],
            ..GIVING
        },
        handler: reads!(srandmember),
    },
    Command {
        id: CommandId(78),
        spec: Spec {
            name: "smove",
            arity: 4,
            flags: Flags::WRITE.with(Flags::FAST),
            keys: &[
                KeySpec::one(
                    1,
                    KeyFlags::RW.with(KeyFlags::ACCESS).with(KeyFlags::DELETE),
                ),
                KeySpec::one(2, KeyFlags::RW.with(KeyFlags::INSERT)),
            ],
            summary: "Moves a member from one set to another.",
            syntax: "source destination member",
            ..SET
        },
        handler: writes!(smove),
    },
    Command {
        id: CommandId(86),
        spec: Spec {
            name: "sscan",
            arity: -3,
            since: "2.8.0",
            summary: "Goes through the members of a set, a part at each call.",
            complexity: "O(1) for each call, O(N) for all of them, N being the number of members",
            syntax: "key cursor [MATCH pattern] [COUNT count]",
            tips: &["nondeterministic_output"],
            ..GIVING
        },
        handler: reads!(sscan),
    },
];

/// The set at the first argument, for a read.
fn set<'k>(
    keyspace: &'k Keyspace,
    args: &[&[u8]],
    context: ReadContext,
) -> Result<Option<Set<'k>>, Reply<'static>> {
    Ok(keyspace.members(context.db, args[1], context.now)?)
}

/// The same for a write that looks before it changes.
fn present<'k>(
    keyspace: &'k Keyspace,
    key: &[u8],
    context: WriteContext,
) -> Result<Option<Set<'k>>, Reply<'static>> {
    Ok(keyspace.members(context.db, key, context.stamp)?)
}

fn sadd(keyspace: &mut Keyspace, args: &[&[u8]], context: WriteContext) -> Outcome<'static> {
    let (key, members) = (args[1], &args[2..]);
    let set = present(keyspace, key, context)?;
    if set.is_some_and(|set| members.iter().all(|member| set.contains(member))) {
        return Ok(Reply::ZERO);
    }
    let added = keyspace.change_members(context.db, key, Absent::Make, |set| {
        set.expect(members.len(), members[0]);
        members.iter().filter(|member| set.add(member)).count()
    })?;
    keyspace.notice(Class::Set, "sadd", context.db, key);
    Ok(added.unwrap_or(0).into())
}

fn srem(keyspace: &mut Keyspace, args: &[&[u8]], context: WriteContext) -> Outcome<'static> {
    let (key, members) = (args[1], &args[2..]);
    let set = present(keyspace, key, context)?;
    if !set.is_some_and(|set| members.iter().any(|member| set.contains(member))) {
        return Ok(Reply::ZERO);
    }
    let removed = keyspace.change_members(context.db, key, Absent::Leave, |set| {
        members.iter().filter(|member| set.remove(member)).count()
    })?;
    keyspace.notice_change(Class::Set, "srem", context.db, key);
    Ok(removed.unwrap_or(0).into())
}

fn sismember<'k>(keyspace: &'k Keyspace, args: &[&[u8]], context: ReadContext) -> Outcome<'k> {
    let set = set(keyspace, args, context)?;
    Ok(set.is_some_and(|set| set.contains(args[2])).into())
}

fn smismember<'k>(keyspace: &'k Keyspace, args: &[&[u8]], context: ReadContext) -> Outcome<'k> {
    let set = set(keyspace, args, context)?;
    let is_in = |member: &&[u8]| set.is_some_and(|set| set.contains(member)).into();
    Ok(Reply::Array(args[2..].iter().map(is_in).collect()))
}

fn smembers<'k>(keyspace: &'k Keyspace, args: &[&[u8]], context: ReadContext) -> Outcome<'k> {
    let mut members = Vec::new();
    if let Some(set) = set(keyspace, args, context)? {
        members.reserve(set.len());
        set.for_each(&mut |member| members.push(member.into()));
    }
    Ok(Reply::Set(members))
}

fn scard<'k>(keyspace: &'k Keyspace, args: &[&[u8]], context: ReadContext) -> Outcome<'k> {
    let set = set(keyspace, args, context)?;
    Ok(set.map_or(0, |set| set.len()).into())
}

fn spop(keyspace: &mut Keyspace, args: &[&[u8]], context: WriteContext) -> Outcome<'static> {
    let (key, count) = match args {
        [_, key] => (*key, None),
        [_, key, count] => (*key, Some(length(count)?)),
        _ => return Err(SYNTAX),
    };
    let nothing = if count.is_some() {
        Reply::Set(Vec::new())
    } else {
        Reply::Null
    };
    let Some(set) = present(keyspace, key, context)? else {
        return Ok(nothing);
    };
    let mut chance = Chance::new(context.seed);
    let picked = chance.different(count.unwrap_or(1), set.len());
    if picked.is_empty() {
        return Ok(nothing);
    }
    let members = set.each(&picked).into_iter();
    let members: Vec<Vec<u8>> = members
        .map(|member| member.to_bytes().into_owned())
        .collect();
    if members.len() == set.len() {
        keyspace.remove(context.db, key);
    } else {
        keyspace.change_members(context.db, key, Absent::Leave, |set| {
            members.iter().for_each(|member| {
                set.remove(member);
            });
        })?;
    }
    keyspace.notice_change(Class::Set, "spop", context.db, key);
    let mut popped = members.into_iter().map(|member| Reply::Bulk(member.into()));
    Ok(match count {
        Some(_) => Reply::Set(popped.collect()),
        None => popped.next().unwrap_or(Reply::Null),
    })
}

fn srandmember<'k>(keyspace: &'k Keyspace, args: &[&[u8]], context: ReadContext) -> Outcome<'k> {
    let mut chance = Chance::new(context.random);
    let picks = match args {
        [_, _] => {
            let set = set(keyspace, args, context)?;
            return Ok(set.map_or(Reply::Null, |set| set.nth(chance.below(set.len())).into()));
        }
        [_, _, count] => Picks::parse(count)?,
        _ => return Err(SYNTAX),
    };
    let Some(set) = set(keyspace, args, context)? else {
        return Ok(Reply::Array(Vec::new()));
    };
    let picked = picks.pick(set.len(), &mut chance);
    let members = set.each(&picked).into_iter();
    Ok(Reply::Array(members.map(Reply::from).collect()))
}

fn smove(keyspace: &mut Keyspace, args: &[&[u8]], context: WriteContext) -> Outcome<'static> {
    let (from, to, member) = (args[1], args[2], args[3]);
    let Some(source) = present(keyspace, from, context)? else {
        return Ok(Reply::ZERO);
    };
    let destination = present(keyspace, to, context)?;
    if !source.contains(member) {
        return Ok(Reply::ZERO);
    }
    if from == to {
        return Ok(Reply::ONE);
    }
    let is_there = destination.is_some_and(|set| set.contains(member));
    keyspace.change_members(context.db, from, Absent::Leave, |set| set.remove(member))?;
    keyspace.notice_change(Class::Set, "srem", context.db, from);
    if !is_there {
        keyspace.change_members(context.db, to, Absent::Make, |set| set.add(member))?;
        keyspace.notice(Class::Set, "sadd", context.db, to);
    }
    Ok(Reply::ONE)
}

fn sscan<'k>(keyspace: &'k Keyspace, args: &[&[u8]], context: ReadContext) -> Outcome<'k> {
    let cursor = scan::cursor(args[2])?;
    let Some(set) = set(keyspace, args, context)? else {
        return Ok(scan::page(0, Vec::new()));
    };
    let options = Options::of_collection(&args[3..])?;
    let mut found = Vec::new();
    let next = set.scan(cursor, options.count, &mut |member| {
        if member.with_bytes(|member| options.wants(member)) {
            found.push(member.into());
        }
    });
    Ok(scan::page(next, found))
}
