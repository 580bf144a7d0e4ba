//! Commands over several lists: LMOVE, RPOPLPUSH, LMPOP.

use keyspace::{Absent, Class, End, Keyspace};

use super::{LIST, pop_one, pop_several, popped_from, pushed};
use crate::argument::{Outcome, SYNTAX, integer, is, owned};
use crate::spec::{Begin, Find, Flags, KeyFlags, KeySpec, Spec};
use crate::table::writes;
use crate::{Command, CommandId, Reply, WriteContext};

/// What takes an element from one list and puts it into another one.
const MOVING: Spec = Spec {
    flags: Flags::WRITE.with(Flags::DENYOOM),
    keys: &[
        KeySpec::one(
            1,
            KeyFlags::RW.with(KeyFlags::ACCESS).with(KeyFlags::DELETE),
        ),
        KeySpec::one(2, KeyFlags::RW.with(KeyFlags::INSERT)),
    ],
    complexity: "O(1)",
    ..LIST
};

pub(crate) const COMMANDS: &[Command] = &[
    Command {
        id: CommandId(104),
        spec: Spec {
            name: "lmove",
            arity: 5,
            since: "6.2.0",
            summary: "Takes an element from a list and puts it into another one.",
            syntax: "source destination <LEFT | RIGHT> <LEFT | RIGHT>",
            ..MOVING
        },
        handler: writes!(lmove),
    },
    Command {
        id: CommandId(105),
        spec: Spec {
            name: "rpoplpush",
            arity: 3,
            since: "1.2.0",
            summary: "Takes the last element from a list and puts it at the head of another one.",
            syntax: "source destination",
            deprecated: Some(("6.2.0", "`LMOVE` with the `RIGHT` and `LEFT` arguments")),
            ..MOVING
        },
        handler: writes!(rpoplpush),
    },
    Command {
        id: CommandId(106),
        spec: Spec {
            name: "lmpop",
            arity: -4,
            since: "7.0.0",
            flags: Flags::WRITE,
            keys: &[KeySpec {
                flags: KeyFlags::RW.with(KeyFlags::ACCESS).with(KeyFlags::DELETE),
                begin: Begin::Index(1),
                find: Find::KeyNum {
                    number: 0,
                    first: 1,
                    step: 1,
                },
            }],
            summary: "Takes elements from the first of several lists that is there.",
            complexity: "O(N+M), N being the number of keys, M that of elements that are taken",
            syntax: "numkeys key [key ...] <LEFT | RIGHT> [COUNT count]",
            ..LIST
        },
        handler: writes!(lmpop),
    },
];

fn end(arg: &[u8]) -> Result<End, Reply<'static>> {
    if is(arg, "LEFT") {
        Ok(End::Head)
    } else if is(arg, "RIGHT") {
        Ok(End::Tail)
    } else {
        Err(SYNTAX)
    }
}

fn move_one(
    keyspace: &mut Keyspace,
    [source, destination]: [&[u8]; 2],
    context: WriteContext,
    from: End,
    to: End,
) -> Outcome<'static> {
    let WriteContext { db, stamp, .. } = context;
    if keyspace.list(db, source, stamp)?.is_none() {
        return Ok(Reply::Null);
    }
    // Nothing is taken that cannot be put.
    keyspace.list(db, destination, stamp)?;
    let moved = if source == destination {
        let moved = keyspace.change_list(db, source, Absent::Leave, |list| {
            let element = list.pop(from)?;
            list.push(to, &[&element]);
            Some(element)
        })?;
        moved.flatten()
    } else {
        let element = pop_one(keyspace, source, context, from)?;
        if let Some(element) = &element {
            keyspace.change_list(db, destination, Absent::Make, |list| {
                list.push(to, &[element]);
            })?;
        }
        element
    };
    if moved.is_some() {
        keyspace.notice(Class::List, pushed(to), db, destination);
        keyspace.notice_change(Class::List, popped_from(from), db, source);
    }
    Ok(moved.map_or(Reply::Null, owned))
}

fn lmove(keyspace: &mut Keyspace, args: &[&[u8]], context: WriteContext) -> Outcome<'static> {
    let (from, to) = (end(args[3])?, end(args[4])?);
    move_one(keyspace, [args[1], args[2]], context, from, to)
}

fn rpoplpush(keyspace: &mut Keyspace, args: &[&[u8]], context: WriteContext) -> Outcome<'static> {
    move_one(keyspace, [args[1], args[2]], context, End::Tail, End::Head)
}

/// A whole number above 0.
fn positive(arg: &[u8], refusal: &'static str) -> Result<usize, Reply<'static>> {
    match integer(arg) {
        Ok(number @ 1..) => Ok(usize::try_from(number).unwrap_or(usize::MAX)),
        _ => Err(Reply::refusal(refusal)),
    }
}

fn lmpop(keyspace: &mut Keyspace, args: &[&[u8]], context: WriteContext) -> Outcome<'static> {
    let count = positive(args[1], "ERR numkeys should be greater than 0")?;
    let Some((keys, [from, options @ ..])) = args[2..].split_at_checked(count) else {
        return Err(SYNTAX);
    };
    let from = end(from)?;
    let count = match options {
        [] => 1,
        [option, count] if is(option, "COUNT") => {
            positive(count, "ERR count should be greater than 0")?
        }
        [option, count, ..] if is(option, "COUNT") => {
            positive(count, "ERR count should be greater than 0")?;
            return Err(SYNTAX);
        }
        _ => return Err(SYNTAX),
    };
    for key in keys {
        if let Some(popped) = pop_several(keyspace, key, context, from, count)? {
            return Ok(Reply::Array(vec![owned(*key), Reply::Array(popped)]));
        }
    }
    Ok(Reply::NullArray)
}
