//! Lists: LPUSH, LPOP, LRANGE and their kin.

pub(crate) mod moving;

use std::ops::{ControlFlow, Range};

use keyspace::{Absent, Class, End, Keyspace, List};

use crate::argument::{
    NO_SUCH_KEY, Outcome, SYNTAX, integer, is, length, negatable, non_negative, owned,
};
use crate::spec::{Categories, Flags, KeyFlags, KeySpec, Spec};
use crate::table::{reads, writes};
use crate::{Command, CommandId, ReadContext, Reply, WriteContext};

const LIST: Spec = Spec {
    categories: Categories::LIST,
    group: "list",
    since: "1.0.0",
    ..Spec::EMPTY
};

/// What puts elements at an end.
const PUSHING: Spec = Spec {
    arity: -3,
    flags: Flags::WRITE.with(Flags::DENYOOM).with(Flags::FAST),
    keys: &[KeySpec::one(1, KeyFlags::RW.with(KeyFlags::INSERT))],
    complexity: "O(N), N being the number of elements that are put",
    syntax: "key element [element ...]",
    ..LIST
};

/// What takes elements from an end.
const POPPING: Spec = Spec {
    arity: -2,
    flags: Flags::WRITE.with(Flags::FAST),
    keys: &[KeySpec::one(
        1,
        KeyFlags::RW.with(KeyFlags::ACCESS).with(KeyFlags::DELETE),
    )],
    complexity: "O(N), N being the number of elements that are taken",
    syntax: "key [count]",
    ..LIST
};

/// What gives elements.
const GIVING: Spec = Spec {
    flags: Flags::READONLY,
    keys: &[KeySpec::one(1, KeyFlags::RO.with(KeyFlags::ACCESS))],
    ..LIST
};

/// What removes elements wherever they are.
const REMOVING: Spec = Spec {
    arity: 4,
    flags: Flags::WRITE,
    keys: &[KeySpec::one(1, KeyFlags::RW.with(KeyFlags::DELETE))],
    ..LIST
};

pub(crate) const COMMANDS: &[Command] = &[
    Command {
        id: CommandId(90),
        spec: Spec {
            name: "lpush",
            summary: "Puts elements at the head of a list.",
            ..PUSHING
        },
        handler: writes!(lpush),
    },
    Command {
        id: CommandId(91),
        spec: Spec {
            name: "rpush",
            summary: "Puts elements at the tail of a list.",
            ..PUSHING
        },
        handler: writes!(rpush),
    },
    Command {
        id: CommandId(92),
        spec: Spec {
            name: "lpushx",
            since: "2.2.0",
            summary: "Puts elements at the head of a list if there is one.",
            ..PUSHING
        },
        handler: writes!(lpushx),
    },
    Command {
        id: CommandId(93),
        spec: Spec {
            name: "rpushx",
            since: "2.2.0",
            summary: "Puts elements at the tail of a list if there is one.",
            ..PUSHING
        },
        handler: writes!(rpushx),
    },
    Command {
        id: CommandId(94),
        spec: Spec {
            name: "lpop",
            summary: "Takes elements from the head of a list.",
            ..POPPING
        },
        handler: writes!(lpop),
    },
    Command {
        id: CommandId(95),
        spec: Spec {
            name: "rpop",
            summary: "Takes elements from the tail of a list.",
            ..POPPING
        },
        handler: writes!(rpop),
    },
    Command {
        id: CommandId(96),
        spec: Spec {
            name: "llen",
            arity: 2,
            flags: Flags::READONLY.with(Flags::FAST),
            keys: &[KeySpec::one(1, KeyFlags::RO)],
            summary: "Counts the elements of a list.",
            complexity: "O(1)",
            syntax: "key",
            ..LIST
        },
        handler: reads!(llen),
    },
    Command {
        id: CommandId(97),
        spec: Spec {
            name: "lrange",
            arity: 4,
            summary: "Returns a range of a list.",
            complexity: "O(S+N), S being the distance from the nearer end in runs of elements, N the length of the range",
            syntax: "key start stop",
            ..GIVING
        },
        handler: reads!(lrange),
    },
    Command {
        id: CommandId(98),
        spec: Spec {
            name: "lindex",
            arity: 3,
            summary: "Returns the element of a list at an index.",
            complexity: "O(N), N being the distance from the nearer end in runs of elements",
            syntax: "key index",
            ..GIVING
        },
        handler: reads!(lindex),
    },
    Command {
        id: CommandId(99),
        spec: Spec {
            name: "lset",
            arity: 4,
            flags: Flags::WRITE.with(Flags::DENYOOM),
            keys: &[KeySpec::one(1, KeyFlags::RW.with(KeyFlags::UPDATE))],
            summary: "Sets the element of a list at an index.",
            complexity: "O(N), N being the distance from the nearer end in runs of elements",
            syntax: "key index element",
            ..LIST
        },
        handler: writes!(lset),
    },
    Command {
        id: CommandId(100),
        spec: Spec {
            name: "linsert",
            arity: 5,
            since: "2.2.0",
            flags: Flags::WRITE.with(Flags::DENYOOM),
            keys: &[KeySpec::one(1, KeyFlags::RW.with(KeyFlags::INSERT))],
            summary: "Puts an element before or behind another one of a list.",
            complexity: "O(N), N being the number of elements before the other one",
            syntax: "key <BEFORE | AFTER> pivot element",
            ..LIST
        },
        handler: writes!(linsert),
    },
    Command {
        id: CommandId(101),
        spec: Spec {
            name: "lrem",
            summary: "Removes elements of a list that are equal to one.",
            complexity: "O(N), N being the length of the list",
            syntax: "key count element",
            ..REMOVING
        },
        handler: writes!(lrem),
    },
    Command {
        id: CommandId(102),
        spec: Spec {
            name: "ltrim",
            summary: "Removes what is outside of a range of a list.",
            complexity: "O(N), N being the number of elements that are removed",
            syntax: "key start stop",
            ..REMOVING
        },
        handler: writes!(ltrim),
    },
    Command {
        id: CommandId(103),
        spec: Spec {
            name: "lpos",
            arity: -3,
            since: "6.0.6",
            summary: "Returns where in a list elements are that are equal to one.",
            complexity: "O(N), N being the number of elements that are looked at",
            syntax: "key element [RANK rank] [COUNT num-matches] [MAXLEN len]",
            ..GIVING
        },
        handler: reads!(lpos),
    },
];

/// The list at the first argument, for a read.
fn list<'k>(
    keyspace: &'k Keyspace,
    args: &[&[u8]],
    context: ReadContext,
) -> Result<Option<List<'k>>, Reply<'static>> {
    Ok(keyspace.list(context.db, args[1], context.now)?)
}

/// The list at the first argument, for a write that may find nothing to change.
fn present<'k>(
    keyspace: &'k Keyspace,
    args: &[&[u8]],
    context: WriteContext,
) -> Result<Option<List<'k>>, Reply<'static>> {
    Ok(keyspace.list(context.db, args[1], context.stamp)?)
}

fn push(
    keyspace: &mut Keyspace,
    args: &[&[u8]],
    context: WriteContext,
    end: End,
    absent: Absent,
) -> Outcome<'static> {
    let len = keyspace.change_list(context.db, args[1], absent, |list| {
        list.push(end, &args[2..]);
        list.len()
    })?;
    if len.is_some() {
        keyspace.notice(Class::List, pushed(end), context.db, args[1]);
    }
    Ok(len.unwrap_or(0).into())
}

fn lpush(keyspace: &mut Keyspace, args: &[&[u8]], context: WriteContext) -> Outcome<'static> {
    push(keyspace, args, context, End::Head, Absent::Make)
}

fn rpush(keyspace: &mut Keyspace, args: &[&[u8]], context: WriteContext) -> Outcome<'static> {
    push(keyspace, args, context, End::Tail, Absent::Make)
}

fn lpushx(keyspace: &mut Keyspace, args: &[&[u8]], context: WriteContext) -> Outcome<'static> {
    push(keyspace, args, context, End::Head, Absent::Leave)
}

fn rpushx(keyspace: &mut Keyspace, args: &[&[u8]], context: WriteContext) -> Outcome<'static> {
    push(keyspace, args, context, End::Tail, Absent::Leave)
}

/// Takes up to `count` elements from an end, outermost first. None if there is no list.
fn pop_several(
    keyspace: &mut Keyspace,
    key: &[u8],
    context: WriteContext,
    end: End,
    count: usize,
) -> Result<Option<Vec<Reply<'static>>>, Reply<'static>> {
    let Some(list) = keyspace.list(context.db, key, context.stamp)? else {
        return Ok(None);
    };
    let (len, count) = (list.len(), count.min(list.len()));
    let range = match end {
        End::Head => 0..count,
        End::Tail => len - count..len,
    };
    let mut popped = Vec::with_capacity(count);
    list.range(range.clone(), &mut |element| {
        popped.push(Reply::from(element).into_owned());
    });
    if end == End::Tail {
        popped.reverse();
    }
    if count == len {
        keyspace.remove(context.db, key);
    } else if count > 0 {
        keyspace.change_list(context.db, key, Absent::Leave, |list| list.remove(range))?;
    }
    if count > 0 {
        keyspace.notice_change(Class::List, popped_from(end), context.db, key);
    }
    Ok(Some(popped))
}

/// What a push is called.
fn pushed(end: End) -> &'static str {
    match end {
        End::Head => "lpush",
        End::Tail => "rpush",
    }
}

/// What a pop is called.
fn popped_from(end: End) -> &'static str {
    match end {
        End::Head => "lpop",
        End::Tail => "rpop",
    }
}

/// Takes the element at an end, and says nothing of it. None if there is no list.
fn pop_one(
    keyspace: &mut Keyspace,
    key: &[u8],
    context: WriteContext,
    end: End,
) -> Result<Option<Vec<u8>>, Reply<'static>> {
    let popped = keyspace.change_list(context.db, key, Absent::Leave, |list| list.pop(end))?;
    Ok(popped.flatten())
}

fn pop(
    keyspace: &mut Keyspace,
    args: &[&[u8]],
    context: WriteContext,
    end: End,
    name: &str,
) -> Outcome<'static> {
    match args {
        [_, key] => {
            let popped = pop_one(keyspace, key, context, end)?;
            if popped.is_some() {
                keyspace.notice_change(Class::List, popped_from(end), context.db, key);
            }
            Ok(popped.map_or(Reply::Null, owned))
        }
        [_, key, count] => {
            let popped = pop_several(keyspace, key, context, end, length(count)?)?;
            Ok(popped.map_or(Reply::NullArray, Reply::Array))
        }
        _ => Err(Reply::error(format_args!(
            "ERR wrong number of arguments for '{name}' command"
        ))),
    }
}

fn lpop(keyspace: &mut Keyspace, args: &[&[u8]], context: WriteContext) -> Outcome<'static> {
    pop(keyspace, args, context, End::Head, "lpop")
}

fn rpop(keyspace: &mut Keyspace, args: &[&[u8]], context: WriteContext) -> Outcome<'static> {
    pop(keyspace, args, context, End::Tail, "rpop")
}

fn llen<'k>(keyspace: &'k Keyspace, args: &[&[u8]], context: ReadContext) -> Outcome<'k> {
    let list = list(keyspace, args, context)?;
    Ok(list.map_or(0, |list| list.len()).into())
}

/// The elements from one index to another, both included; negative ones count from behind.
fn range(start: i64, stop: i64, len: usize) -> Range<usize> {
    let len = i64::try_from(len).expect("no length reaches 2^63");
    let from_head = |index: i64| if index < 0 { index + len } else { index };
    let (start, stop) = (from_head(start).max(0), from_head(stop).min(len - 1));
    if start > stop {
        return 0..0;
    }
    start as usize..stop as usize + 1
}

/// The element that an index means.
fn place(index: i64, len: usize) -> Option<usize> {
    let from_head = usize::try_from(index).ok();
    let place = from_head.or_else(|| len.checked_sub(usize::try_from(index.unsigned_abs()).ok()?));
    place.filter(|&place| place < len)
}

fn lrange<'k>(keyspace: &'k Keyspace, args: &[&[u8]], context: ReadContext) -> Outcome<'k> {
    let (start, stop) = (integer(args[2])?, integer(args[3])?);
    let mut elements = Vec::new();
    if let Some(list) = list(keyspace, args, context)? {
        let range = range(start, stop, list.len());
        elements.reserve(range.len());
        list.range(range, &mut |element| elements.push(element.into()));
    }
    Ok(Reply::Array(elements))
}

fn lindex<'k>(keyspace: &'k Keyspace, args: &[&[u8]], context: ReadContext) -> Outcome<'k> {
    let Some(list) = list(keyspace, args, context)? else {
        return Ok(Reply::Null);
    };
    let place = place(integer(args[2])?, list.len());
    let element = place.and_then(|place| list.get(place));
    Ok(element.map_or(Reply::Null, Reply::from))
}

fn lset(keyspace: &mut Keyspace, args: &[&[u8]], context: WriteContext) -> Outcome<'static> {
    let list = present(keyspace, args, context)?.ok_or(NO_SUCH_KEY)?;
    let place = place(integer(args[2])?, list.len());
    let place = place.ok_or(Reply::refusal("ERR index out of range"))?;
    keyspace.change_list(context.db, args[1], Absent::Leave, |list| {
        list.set(place, args[3]);
    })?;
    keyspace.notice(Class::List, "lset", context.db, args[1]);
    Ok(Reply::Ok)
}

fn linsert(keyspace: &mut Keyspace, args: &[&[u8]], context: WriteContext) -> Outcome<'static> {
    let behind = if is(args[2], "AFTER") {
        1
    } else if is(args[2], "BEFORE") {
        0
    } else {
        return Err(SYNTAX);
    };
    let Some(list) = present(keyspace, args, context)? else {
        return Ok(Reply::ZERO);
    };
    let Some(pivot) = list.position(args[3]) else {
        return Ok(Reply::Integer(-1));
    };
    let len = keyspace.change_list(context.db, args[1], Absent::Leave, |list| {
        list.insert(pivot + behind, args[4]);
        list.len()
    })?;
    keyspace.notice(Class::List, "linsert", context.db, args[1]);
    Ok(len.unwrap_or(0).into())
}

fn lrem(keyspace: &mut Keyspace, args: &[&[u8]], context: WriteContext) -> Outcome<'static> {
    let count = integer(args[2])?;
    let from = if count < 0 { End::Tail } else { End::Head };
    let most = match usize::try_from(count.unsigned_abs()) {
        Ok(0) | Err(_) => usize::MAX,
        Ok(most) => most,
    };
    let found = present(keyspace, args, context)?.and_then(|list| list.position(args[3]));
    if found.is_none() {
        return Ok(Reply::ZERO);
    }
    let removed = keyspace.change_list(context.db, args[1], Absent::Leave, |list| {
        list.remove_equal(args[3], from, most)
    })?;
    keyspace.notice_change(Class::List, "lrem", context.db, args[1]);
    Ok(removed.unwrap_or(0).into())
}

fn ltrim(keyspace: &mut Keyspace, args: &[&[u8]], context: WriteContext) -> Outcome<'static> {
    let (start, stop) = (integer(args[2])?, integer(args[3])?);
    let Some(list) = present(keyspace, args, context)? else {
        return Ok(Reply::Ok);
    };
    let len = list.len();
    let kept = range(start, stop, len);
    if kept.is_empty() {
        keyspace.remove(context.db, args[1]);
    } else if kept.len() < len {
        keyspace.change_list(context.db, args[1], Absent::Leave, |list| {
            list.remove(kept.end..len);
            list.remove(0..kept.start);
        })?;
    }
    keyspace.notice_change(Class::List, "ltrim", context.db, args[1]);
    Ok(Reply::Ok)
}

fn lpos<'k>(keyspace: &'k Keyspace, args: &[&[u8]], context: ReadContext) -> Outcome<'k> {
    let (mut rank, mut count, mut most) = (1, None, usize::MAX);
    let mut options = &args[3..];
    while let [option, value, rest @ ..] = options {
        options = rest;
        if is(option, "RANK") {
            rank = negatable(value)?;
            if rank == 0 {
                return Err(Reply::refusal(
                    "ERR RANK can't be zero: use 1 to start from the first match, 2 from the second ... or use negative to start from the end of the list",
                ));
            }
        } else if is(option, "COUNT") {
            count = Some(non_negative(value, "ERR COUNT can't be negative")?);
        } else if is(option, "MAXLEN") {
            most = non_negative(value, "ERR MAXLEN can't be negative")?;
        } else {
            return Err(SYNTAX);
        }
    }
    if !options.is_empty() {
        return Err(SYNTAX);
    }
    // Of both, 0 stands for all.
    let all = |limit: usize| if limit == 0 { usize::MAX } else { limit };
    let wanted = count.map_or(1, all);
    let mut found = Vec::new();
    if let Some(list) = list(keyspace, args, context)? {
        let from = if rank < 0 { End::Tail } else { End::Head };
        let mut passed = rank.unsigned_abs() - 1;
        list.positions(args[2], from, all(most), &mut |index| {
            if passed > 0 {
                passed -= 1;
                return ControlFlow::Continue(());
            }
            found.push(Reply::from(index));
            if found.len() == wanted {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        });
    }
    Ok(match count {
        Some(_) => Reply::Array(found),
        None => found.pop().unwrap_or(Reply::Null),
    })
}
