//! What removes the ends of sorted sets and returns them: ZPOPMIN, ZPOPMAX, ZMPOP.

use base::Db;
use keyspace::{Absent, Class, Keyspace, SortedSet};

use super::{SORTED_SET, into_owned, numbered};
use crate::argument::{Outcome, SYNTAX, integer, is, owned};
use crate::spec::{Flags, KeyFlags, KeySpec, Spec};
use crate::table::writes;
use crate::{Command, CommandId, Reply, WriteContext};

pub(crate) const COMMANDS: &[Command] = &[
    Command {
        id: CommandId(140),
        spec: Spec {
            name: "zpopmin",
            arity: -2,
            flags: Flags::WRITE.with(Flags::FAST),
            keys: &[KeySpec::one(
                1,
                KeyFlags::RW.with(KeyFlags::ACCESS).with(KeyFlags::DELETE),
            )],
            since: "5.0.0",
            summary: "Removes and returns members with the least scores.",
            complexity: "O(M log N), M being the number of members that are popped and N that of all",
            syntax: "key [count]",
            ..SORTED_SET
        },
        handler: writes!(zpopmin),
    },
    Command {
        id: CommandId(141),
        spec: Spec {
            name: "zpopmax",
            arity: -2,
            flags: Flags::WRITE.with(Flags::FAST),
            keys: &[KeySpec::one(
                1,
                KeyFlags::RW.with(KeyFlags::ACCESS).with(KeyFlags::DELETE),
            )],
            since: "5.0.0",
            summary: "Removes and returns members with the highest scores.",
            complexity: "O(M log N), M being the number of members that are popped and N that of all",
            syntax: "key [count]",
            ..SORTED_SET
        },
        handler: writes!(zpopmax),
    },
    Command {
        id: CommandId(142),
        spec: Spec {
            name: "zmpop",
            arity: -4,
            flags: Flags::WRITE,
            keys: &[numbered(
                1,
                KeyFlags::RW.with(KeyFlags::ACCESS).with(KeyFlags::DELETE),
            )],
            since: "7.0.0",
            summary: "Pops members from the first sorted set that has some.",
            complexity: "O(K) + O(M log N), K being the number of keys, M that of the members that are popped and N that of all",
            syntax: "numkeys key [key ...] <MIN | MAX> [COUNT count]",
            ..SORTED_SET
        },
        handler: writes!(zmpop),
    },
];

/// An end of a sorted set.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// Where the scores are least.
    Min,
    /// Where they are highest.
    Max,
}

/// Takes up to `count` members from an end of the set at a key, which is not empty if it is there.
pub(crate) fn pop(
    keyspace: &mut Keyspace,
    db: Db,
    key: &[u8],
    end: End,
    count: usize,
) -> Result<Vec<(Vec<u8>, f64)>, Reply<'static>> {
    let Some(set) = keyspace.sorted_set(db, key, keyspace.stamp())? else {
        return Ok(Vec::new());
    };
    let count = count.min(set.len());
    if count == 0 {
        return Ok(Vec::new());
    }
    let ranks = match end {
        End::Min => 0..count,
        End::Max => set.len() - count..set.len(),
    };
    let mut members = Vec::with_capacity(count);
    set.for_each(ranks.clone(), end == End::Max, &mut |member, score| {
        members.push((member, score));
    });
    let members = into_owned(members);
    keyspace.change_sorted_set(db, key, Absent::Leave, |set| set.remove_ranks(ranks))?;
    let event = match end {
        End::Min => "zpopmin",
        End::Max => "zpopmax",
    };
    keyspace.notice_change(Class::SortedSet, event, db, key);
    Ok(members)
}

fn pair((member, score): (Vec<u8>, f64)) -> (Reply<'static>, Reply<'static>) {
    (owned(member), Reply::Double(score))
}

fn zpopmin(keyspace: &mut Keyspace, args: &[&[u8]], context: WriteContext) -> Outcome<'static> {
    pop_one(keyspace, args, context, End::Min)
}

fn zpopmax(keyspace: &mut Keyspace, args: &[&[u8]], context: WriteContext) -> Outcome<'static> {
    pop_one(keyspace, args, context, End::Max)
}

fn pop_one(
    keyspace: &mut Keyspace,
    args: &[&[u8]],
    context: WriteContext,
    end: End,
) -> Outcome<'static> {
    let count = match args[2..] {
        [] => None,
        [count] => Some(positive(
            count,
            0,
            "ERR value is out of range, must be positive",
        )?),
        _ => return Err(SYNTAX),
    };
    let members = pop(keyspace, context.db, args[1], end, count.unwrap_or(1))?;
    let pairs = members.into_iter().map(pair);
    Ok(if count.is_some() {
        Reply::Pairs(pairs.collect())
    } else {
        // One pair stands alone, in either protocol.
        let flat = pairs.flat_map(|(member, score)| [member, score]);
        Reply::Array(flat.collect())
    })
}

/// A whole number of at least that.
fn positive(arg: &[u8], least: i64, refusal: &'static str) -> Result<usize, Reply<'static>> {
    let number = integer(arg).ok().filter(|number| *number >= least);
    let number = number.ok_or(Reply::refusal(refusal))?;
    Ok(usize::try_from(number).unwrap_or(usize::MAX))
}

fn zmpop(keyspace: &mut Keyspace, args: &[&[u8]], context: WriteContext) -> Outcome<'static> {
    let number = positive(args[1], 1, "ERR numkeys should be greater than 0")?;
    let Some((keys, [end, options @ ..])) = args[2..].split_at_checked(number) else {
        return Err(SYNTAX);
    };
    let end = if is(end, "MIN") {
        End::Min
    } else if is(end, "MAX") {
        End::Max
    } else {
        return Err(SYNTAX);
    };
    let count = match options {
        [] => 1,
        [option, count] if is(option, "COUNT") => {
            positive(count, 1, "ERR count should be greater than 0")?
        }
        [option, count, _, ..] if is(option, "COUNT") => {
            positive(count, 1, "ERR count should be greater than 0")?;
            return Err(SYNTAX);
        }
        _ => return Err(SYNTAX),
    };
    for key in keys {
        let set: Option<SortedSet<'_>> = keyspace.sorted_set(context.db, key, context.stamp)?;
        if set.is_some() {
            let members = pop(keyspace, context.db, key, end, count)?;
            let pairs = members.into_iter().map(pair);
            let pairs = pairs.map(|(member, score)| Reply::Array(vec![member, score]));
            let pairs = Reply::Array(pairs.collect());
            return Ok(Reply::Array(vec![owned(*key), pairs]));
        }
    }
    Ok(Reply::NullArray)
}
