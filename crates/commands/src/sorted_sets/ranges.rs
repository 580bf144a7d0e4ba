//! Ranges of sorted sets by rank, score or name: ZRANGE, what stores one, what removes one.

use std::ops::Range;

use keyspace::{Absent, Class, Keyspace, SortedSet};

use super::{SORTED_SET, into_owned, members_reply, store};
use crate::argument::{Outcome, SYNTAX, integer, is};
use crate::score::{LexRange, ScoreRange};
use crate::spec::{Flags, KeyFlags, KeySpec, Spec};
use crate::table::{reads, writes};
use crate::{Command, CommandId, ReadContext, Reply, WriteContext};

const RANGE: &str = "O(log N + M), N being the number of members and M that of those in the range";

pub(crate) const COMMANDS: &[Command] = &[
    Command {
        id: CommandId(130),
        spec: Spec {
            name: "zrange",
            arity: -4,
            flags: Flags::READONLY,
            keys: &[KeySpec::one(1, KeyFlags::RO.with(KeyFlags::ACCESS))],
            since: "1.2.0",
            summary: "Returns a range of members by rank, by score or by name.",
            complexity: RANGE,
            syntax: "key min max [BYSCORE | BYLEX] [REV] [LIMIT offset count] [WITHSCORES]",
            ..SORTED_SET
        },
        handler: reads!(zrange),
    },
    Command {
        id: CommandId(131),
        spec: Spec {
            name: "zrangestore",
            arity: -5,
            flags: Flags::WRITE.with(Flags::DENYOOM),
            keys: &[
                KeySpec::one(1, KeyFlags::OW.with(KeyFlags::UPDATE)),
                KeySpec::one(2, KeyFlags::RO.with(KeyFlags::ACCESS)),
            ],
            since: "6.2.0",
            summary: "Stores a range of members by rank, by score or by name.",
            complexity: RANGE,
            syntax: "destination source min max [BYSCORE | BYLEX] [REV] [LIMIT offset count]",
            ..SORTED_SET
        },
        handler: writes!(zrangestore),
    },
    Command {
        id: CommandId(132),
        spec: Spec {
            name: "zrangebyscore",
            arity: -4,
            flags: Flags::READONLY,
            keys: &[KeySpec::one(1, KeyFlags::RO.with(KeyFlags::ACCESS))],
            since: "1.0.5",
            summary: "Returns the members with scores in a range.",
            complexity: RANGE,
            syntax: "key min-score max-score [WITHSCORES] [LIMIT offset count]",
            deprecated: Some(("6.2.0", "`ZRANGE` with the `BYSCORE` argument")),
            ..SORTED_SET
        },
        handler: reads!(zrangebyscore),
    },
    Command {
        id: CommandId(133),
        spec: Spec {
            name: "zrevrangebyscore",
            arity: -4,
            flags: Flags::READONLY,
            keys: &[KeySpec::one(1, KeyFlags::RO.with(KeyFlags::ACCESS))],
            since: "2.2.0",
            summary: "Returns the members with scores in a range, the highest first.",
            complexity: RANGE,
            syntax: "key max-score min-score [WITHSCORES] [LIMIT offset count]",
            deprecated: Some(("6.2.0", "`ZRANGE` with the `REV` and `BYSCORE` arguments")),
            ..SORTED_SET
        },
        handler: reads!(zrevrangebyscore),
    },
    Command {
        id: CommandId(134),
        spec: Spec {
            name: "zrangebylex",
            arity: -4,
            flags: Flags::READONLY,
            keys: &[KeySpec::one(1, KeyFlags::RO.with(KeyFlags::ACCESS))],
            since: "2.8.9",
            summary: "Returns the members in a range of names, all having one score.",
            complexity: RANGE,
            syntax: "key min max [LIMIT offset count]",
            deprecated: Some(("6.2.0", "`ZRANGE` with the `BYLEX` argument")),
            ..SORTED_SET
        },
        handler: reads!(zrangebylex),
    },
    Command {
        id: CommandId(135),
        spec: Spec {
            name: "zrevrangebylex",
            arity: -4,
            flags: Flags::READONLY,
            keys: &[KeySpec::one(1, KeyFlags::RO.with(KeyFlags::ACCESS))],
            since: "2.8.9",
            summary: "Returns the members in a range of names, the last first.",
            complexity: RANGE,
            syntax: "key max min [LIMIT offset count]",
            deprecated: Some(("6.2.0", "`ZRANGE` with the `REV` and `BYLEX` arguments")),
            ..SORTED_SET
        },
        handler: reads!(zrevrangebylex),
    },
    Command {
        id: CommandId(136),
        spec: Spec {
            name: "zrevrange",
            arity: -4,
            flags: Flags::READONLY,
            keys: &[KeySpec::one(1, KeyFlags::RO.with(KeyFlags::ACCESS))],
            since: "1.2.0",
            summary: "Returns a range of members by rank, the highest score first.",
            complexity: RANGE,
            syntax: "key start stop [WITHSCORES]",
            deprecated: Some(("6.2.0", "`ZRANGE` with the `REV` argument")),
            ..SORTED_SET
        },
        handler: reads!(zrevrange),
    },
    Command {
        id: CommandId(137),
        spec: Spec {
            name: "zremrangebyrank",
            arity: 4,
            flags: Flags::WRITE,
            keys: &[KeySpec::one(1, KeyFlags::RW.with(KeyFlags::DELETE))],
            since: "2.0.0",
            summary: "Removes a range of members by rank.",
            complexity: RANGE,
            syntax: "key start stop",
            ..SORTED_SET
        },
        handler: writes!(zremrangebyrank),
    },
    Command {
        id: CommandId(138),
        spec: Spec {
            name: "zremrangebyscore",
            arity: 4,
            flags: Flags::WRITE,
            keys: &[KeySpec::one(1, KeyFlags::RW.with(KeyFlags::DELETE))],
            since: "1.2.0",
            summary: "Removes the members with scores in a range.",
            complexity: RANGE,
            syntax: "key min-score max-score",
            ..SORTED_SET
        },
        handler: writes!(zremrangebyscore),
    },
    Command {
        id: CommandId(139),
        spec: Spec {
            name: "zremrangebylex",
            arity: 4,
            flags: Flags::WRITE,
            keys: &[KeySpec::one(1, KeyFlags::RW.with(KeyFlags::DELETE))],
            since: "2.8.9",
            summary: "Removes the members in a range of names, all having one score.",
            complexity: RANGE,
            syntax: "key min max",
            ..SORTED_SET
        },
        handler: writes!(zremrangebylex),
    },
];

/// The ranks of the members with these scores.
pub(super) fn of_scores(set: SortedSet<'_>, range: &ScoreRange) -> Range<usize> {
    let start = set.count_before(|_, score| range.is_after(score));
    let end = set.count_before(|_, score| range.ends_after(score));
    start..end.max(start)
}

/// The ranks of the members between these; their scores are taken for equal.
pub(super) fn of_members(set: SortedSet<'_>, range: &LexRange<'_>) -> Range<usize> {
    let start = set.count_before(|member, _| range.is_after(member));
    let end = set.count_before(|member, _| range.ends_after(member));
    start..end.max(start)
}

/// The ranks from one to another among `len`, where negative ones are counted from the end.
fn of_ranks(len: usize, start: i64, stop: i64) -> Range<usize> {
    let len = i64::try_from(len).expect("no set has 2^63 members");
    let from_start = |rank: i64| if rank < 0 { rank + len } else { rank };
    let start = from_start(start).clamp(0, len);
    let end = from_start(stop).saturating_add(1).clamp(start, len);
    start as usize..end as usize
}

/// The ranks of the members that stand there when they are counted from the other end.
fn reversed(len: usize, ranks: &Range<usize>) -> Range<usize> {
    len - ranks.end..len - ranks.start
}

/// By what a range is bounded.
#[derive(Clone, Copy, PartialEq, Eq)]
enum By {
    Rank,
    Score,
    Name,
}

enum Bounds<'a> {
    Ranks(i64, i64),
    Scores(ScoreRange),
    Names(LexRange<'a>),
}

/// What a command of the family asks for.
struct Query<'a> {
    bounds: Bounds<'a>,
    is_reversed: bool,
    offset: i64,
    limit: i64,
    with_scores: bool,
}

impl<'a> Query<'a> {
    /// Reads the bounds and what follows them. What the command's name has not told may be told by an option.
    fn parse(
        args: &[&'a [u8]],
        by: Option<By>,
        is_reversed: Option<bool>,
        is_stored: bool,
    ) -> Result<Query<'a>, Reply<'static>> {
        let (mut by, mut is_reversed) = (by, is_reversed);
        let (mut offset, mut limit, mut with_scores) = (0, -1, false);
        let mut rest = &args[2..];
        while let [option, tail @ ..] = rest {
            rest = tail;
            if !is_stored && is(option, "WITHSCORES") {
                with_scores = true;
            } else if is(option, "LIMIT")
                && let [first, count, tail @ ..] = rest
            {
                (offset, limit) = (integer(first)?, integer(count)?);
                rest = tail;
            } else if is_reversed.is_none() && is(option, "REV") {
                is_reversed = Some(true);
            } else if by.is_none() && is(option, "BYLEX") {
                by = Some(By::Name);
            } else if by.is_none() && is(option, "BYSCORE") {
                by = Some(By::Score);
            } else {
                return Err(SYNTAX);
            }
        }
        let (by, is_reversed) = (by.unwrap_or(By::Rank), is_reversed.unwrap_or(false));
        if limit != -1 && by == By::Rank {
            return Err(Reply::refusal(
                "ERR syntax error, LIMIT is only supported in combination with either BYSCORE or BYLEX",
            ));
        }
        if with_scores && by == By::Name {
            return Err(Reply::refusal(
                "ERR syntax error, WITHSCORES not supported in combination with BYLEX",
            ));
        }
        let (min, max) = if is_reversed && by != By::Rank {
            (args[1], args[0])
        } else {
            (args[0], args[1])
        };
        let bounds = match by {
            By::Rank => Bounds::Ranks(integer(min)?, integer(max)?),
            By::Score => Bounds::Scores(ScoreRange::parse(min, max)?),
            By::Name => Bounds::Names(LexRange::parse(min, max)?),
        };
        Ok(Query {
            bounds,
            is_reversed,
            offset,
            limit,
            with_scores,
        })
    }

    /// The ranks that are asked for, counted from the least score.
    fn ranks(&self, set: SortedSet<'_>) -> Range<usize> {
        let found = match &self.bounds {
            Bounds::Ranks(start, stop) => {
                let ranks = of_ranks(set.len(), *start, *stop);
                return if self.is_reversed {
                    reversed(set.len(), &ranks)
                } else {
                    ranks
                };
            }
            Bounds::Scores(range) => of_scores(set, range),
            Bounds::Names(range) => of_members(set, range),
        };
        // A negative offset is beyond all, a negative limit is none.
        let offset = usize::try_from(self.offset).unwrap_or(usize::MAX);
        let limit = usize::try_from(self.limit).unwrap_or(usize::MAX);
        let offset = offset.min(found.len());
        let count = limit.min(found.len() - offset);
        if self.is_reversed {
            let end = found.end - offset;
            end - count..end
        } else {
            let start = found.start + offset;
            start..start + count
        }
    }

    fn members<'k>(&self, set: Option<SortedSet<'k>>) -> super::Scores<'k> {
        let Some(set) = set else { return Vec::new() };
        let ranks = self.ranks(set);
        let mut members = Vec::with_capacity(ranks.len());
        set.for_each(ranks, self.is_reversed, &mut |member, score| {
            members.push((member, score));
        });
        members
    }
}

fn range<'k>(
    keyspace: &'k Keyspace,
    args: &[&[u8]],
    context: ReadContext,
    by: Option<By>,
    is_reversed: Option<bool>,
) -> Outcome<'k> {
    let query = Query::parse(&args[2..], by, is_reversed, false)?;
    let members = query.members(super::set(keyspace, args, context)?);
    Ok(members_reply(members, query.with_scores))
}

fn zrange<'k>(keyspace: &'k Keyspace, args: &[&[u8]], context: ReadContext) -> Outcome<'k> {
    range(keyspace, args, context, None, None)
}

fn zrevrange<'k>(keyspace: &'k Keyspace, args: &[&[u8]], context: ReadContext) -> Outcome<'k> {
    range(keyspace, args, context, Some(By::Rank), Some(true))
}

fn zrangebyscore<'k>(keyspace: &'k Keyspace, args: &[&[u8]], context: ReadContext) -> Outcome<'k> {
    range(keyspace, args, context, Some(By::Score), Some(false))
}

fn zrevrangebyscore<'k>(
    keyspace: &'k Keyspace,
    args: &[&[u8]],
    context: ReadContext,
) -> Outcome<'k> {
    range(keyspace, args, context, Some(By::Score), Some(true))
}

fn zrangebylex<'k>(keyspace: &'k Keyspace, args: &[&[u8]], context: ReadContext) -> Outcome<'k> {
    range(keyspace, args, context, Some(By::Name), Some(false))
}

fn zrevrangebylex<'k>(keyspace: &'k Keyspace, args: &[&[u8]], context: ReadContext) -> Outcome<'k> {
    range(keyspace, args, context, Some(By::Name), Some(true))
}

fn zrangestore(keyspace: &mut Keyspace, args: &[&[u8]], context: WriteContext) -> Outcome<'static> {
    let query = Query::parse(&args[3..], None, None, true)?;
    let source = keyspace.sorted_set(context.db, args[2], context.stamp)?;
    let members = into_owned(query.members(source));
    store(keyspace, context.db, args[1], &members, "zrangestore")
}

/// Removes the members of the ranks that `ranks` tells.
fn remove(
    keyspace: &mut Keyspace,
    args: &[&[u8]],
    context: WriteContext,
    event: &'static str,
    ranks: impl FnOnce(SortedSet<'_>) -> Range<usize>,
) -> Outcome<'static> {
    let Some(set) = keyspace.sorted_set(context.db, args[1], context.stamp)? else {
        return Ok(Reply::ZERO);
    };
    let ranks = ranks(set);
    let count = ranks.len();
    if count > 0 {
        keyspace.change_sorted_set(context.db, args[1], Absent::Leave, |set| {
            set.remove_ranks(ranks);
        })?;
        keyspace.notice_change(Class::SortedSet, event, context.db, args[1]);
    }
    Ok(count.into())
}

fn zremrangebyrank(
    keyspace: &mut Keyspace,
    args: &[&[u8]],
    context: WriteContext,
) -> Outcome<'static> {
    let (start, stop) = (integer(args[2])?, integer(args[3])?);
    remove(keyspace, args, context, "zremrangebyrank", |set| {
        of_ranks(set.len(), start, stop)
    })
}

fn zremrangebyscore(
    keyspace: &mut Keyspace,
    args: &[&[u8]],
    context: WriteContext,
) -> Outcome<'static> {
    let range = ScoreRange::parse(args[2], args[3])?;
    remove(keyspace, args, context, "zremrangebyscore", |set| {
        of_scores(set, &range)
    })
}

fn zremrangebylex(
    keyspace: &mut Keyspace,
    args: &[&[u8]],
    context: WriteContext,
) -> Outcome<'static> {
    let range = LexRange::parse(args[2], args[3])?;
    remove(keyspace, args, context, "zremrangebylex", |set| {
        of_members(set, &range)
    })
}
