//! Sorted sets: ZADD, ZSCORE, ZRANK and their kin on members that are named. Ranges are in `ranges`, what pops in `popping`,
//! what combines several sets in `combining`.

pub(crate) mod combining;
pub(crate) mod popping;
pub(crate) mod ranges;

use base::Db;
use keyspace::{Absent, Class, Element, Keyspace, SortedSet};

use crate::argument::{Outcome, SYNTAX, is, owned};
use crate::chance::{Chance, Picks};
use crate::scan::{self, Options};
use crate::score::{self, LexRange, ScoreRange};
use crate::spec::{Begin, Categories, Find, Flags, KeyFlags, KeySpec, Spec};
use crate::table::{reads, writes};
use crate::{Command, CommandId, ReadContext, Reply, WriteContext};

const SORTED_SET: Spec = Spec {
    categories: Categories::SORTEDSET,
    group: "sorted-set",
    ..Spec::EMPTY
};

/// Keys whose number stands at that index, before them.
const fn numbered(index: u16, flags: KeyFlags) -> KeySpec {
    KeySpec {
        flags,
        begin: Begin::Index(index),
        find: Find::KeyNum {
            number: 0,
            first: 1,
            step: 1,
        },
    }
}

pub(crate) const COMMANDS: &[Command] = &[
    Command {
        id: CommandId(120),
        spec: Spec {
            name: "zadd",
            arity: -4,
            flags: Flags::WRITE.with(Flags::DENYOOM).with(Flags::FAST),
            keys: &[KeySpec::one(1, KeyFlags::RW.with(KeyFlags::UPDATE))],
            since: "1.2.0",
            summary: "Adds members with scores to a sorted set, or changes their scores.",
            complexity: "O(log N) for each member, N being the number of members",
            syntax: "key [NX | XX] [GT | LT] [CH] [INCR] score member [score member ...]",
            ..SORTED_SET
        },
        handler: writes!(zadd),
    },
    Command {
        id: CommandId(121),
        spec: Spec {
            name: "zincrby",
            arity: 4,
            flags: Flags::WRITE.with(Flags::DENYOOM).with(Flags::FAST),
            keys: &[KeySpec::one(
                1,
                KeyFlags::RW.with(KeyFlags::ACCESS).with(KeyFlags::UPDATE),
            )],
            since: "1.2.0",
            summary: "Adds to the score of a member.",
            complexity: "O(log N), N being the number of members",
            syntax: "key increment member",
            ..SORTED_SET
        },
        handler: writes!(zincrby),
    },
    Command {
        id: CommandId(122),
        spec: Spec {
            name: "zrem",
            arity: -3,
            flags: Flags::WRITE.with(Flags::FAST),
            keys: &[KeySpec::one(1, KeyFlags::RW.with(KeyFlags::DELETE))],
            since: "1.2.0",
            summary: "Removes members of a sorted set.",
            complexity: "O(M log N), M being the number of members that are removed and N that of all",
            syntax: "key member [member ...]",
            ..SORTED_SET
        },
        handler: writes!(zrem),
    },
    Command {
        id: CommandId(123),
        spec: Spec {
            name: "zscore",
            arity: 3,
            flags: Flags::READONLY.with(Flags::FAST),
            keys: &[KeySpec::one(1, KeyFlags::RO.with(KeyFlags::ACCESS))],
            since: "1.2.0",
            summary: "Returns the score of a member.",
            complexity: "O(1)",
            syntax: "key member",
            ..SORTED_SET
        },
        handler: reads!(zscore),
    },
    Command {
        id: CommandId(124),
        spec: Spec {
            name: "zmscore",
            arity: -3,
            flags: Flags::READONLY.with(Flags::FAST),
            keys: &[KeySpec::one(1, KeyFlags::RO.with(KeyFlags::ACCESS))],
            since: "6.2.0",
            summary: "Returns the scores of several members.",
            complexity: "O(N), N being the number of members that are asked for",
            syntax: "key member [member ...]",
            ..SORTED_SET
        },
        handler: reads!(zmscore),
    },
    Command {
        id: CommandId(125),
        spec: Spec {
            name: "zcard",
            arity: 2,
            flags: Flags::READONLY.with(Flags::FAST),
            keys: &[KeySpec::one(1, KeyFlags::RO)],
            since: "1.2.0",
            summary: "Counts the members of a sorted set.",
            complexity: "O(1)",
            syntax: "key",
            ..SORTED_SET
        },
        handler: reads!(zcard),
    },
    Command {
        id: CommandId(126),
        spec: Spec {
            name: "zcount",
            arity: 4,
            flags: Flags::READONLY.with(Flags::FAST),
            keys: &[KeySpec::one(1, KeyFlags::RO.with(KeyFlags::ACCESS))],
            since: "2.0.0",
            summary: "Counts the members with scores in a range.",
            complexity: "O(log N), N being the number of members",
            syntax: "key min-score max-score",
            ..SORTED_SET
        },
        handler: reads!(zcount),
    },
    Command {
        id: CommandId(127),
        spec: Spec {
            name: "zlexcount",
            arity: 4,
            flags: Flags::READONLY.with(Flags::FAST),
            keys: &[KeySpec::one(1, KeyFlags::RO.with(KeyFlags::ACCESS))],
            since: "2.8.9",
            summary: "Counts the members in a range of names, all having one score.",
            complexity: "O(log N), N being the number of members",
            syntax: "key min max",
            ..SORTED_SET
        },
        handler: reads!(zlexcount),
    },
    Command {
        id: CommandId(128),
        spec: Spec {
            name: "zrank",
            arity: -3,
            flags: Flags::READONLY.with(Flags::FAST),
            keys: &[KeySpec::one(1, KeyFlags::RO.with(KeyFlags::ACCESS))],
            since: "2.0.0",
            summary: "Returns the rank of a member, counted from the least score.",
            complexity: "O(log N), N being the number of members",
            syntax: "key member [WITHSCORE]",
            ..SORTED_SET
        },
        handler: reads!(zrank),
    },
    Command {
        id: CommandId(129),
        spec: Spec {
            name: "zrevrank",
            arity: -3,
            flags: Flags::READONLY.with(Flags::FAST),
            keys: &[KeySpec::one(1, KeyFlags::RO.with(KeyFlags::ACCESS))],
            since: "2.0.0",
            summary: "Returns the rank of a member, counted from the highest score.",
            complexity: "O(log N), N being the number of members",
            syntax: "key member [WITHSCORE]",
            ..SORTED_SET
        },
        handler: reads!(zrevrank),
    },
    Command {
        id: CommandId(143),
        spec: Spec {
            name: "zrandmember",
            arity: -2,
            flags: Flags::READONLY,
            keys: &[KeySpec::one(1, KeyFlags::RO.with(KeyFlags::ACCESS))],
            since: "6.2.0",
            summary: "Returns members that are picked at random.",
            complexity: "O(M log N), M being the number of members that are picked and N that of all",
            syntax: "key [count [WITHSCORES]]",
            tips: &["nondeterministic_output"],
            ..SORTED_SET
        },
        handler: reads!(zrandmember),
    },
    Command {
        id: CommandId(144),
        spec: Spec {
            name: "zscan",
            arity: -3,
            flags: Flags::READONLY,
            keys: &[KeySpec::one(1, KeyFlags::RO.with(KeyFlags::ACCESS))],
            since: "2.8.0",
            summary: "Goes through the members with their scores, a part at each call.",
            complexity: "O(1) for each call, O(N) for all of them, N being the number of members",
            syntax: "key cursor [MATCH pattern] [COUNT count]",
            tips: &["nondeterministic_output"],
            ..SORTED_SET
        },
        handler: reads!(zscan),
    },
];

/// The set at the first key.
fn set<'k>(
    keyspace: &'k Keyspace,
    args: &[&[u8]],
    context: ReadContext,
) -> Result<Option<SortedSet<'k>>, Reply<'static>> {
    Ok(keyspace.sorted_set(context.db, args[1], context.now)?)
}

/// Members with their scores, as they stand in the keyspace.
type Scores<'k> = Vec<(Element<'k>, f64)>;

/// A reply of members, with their scores if these are wanted.
fn members_reply<'k>(members: Scores<'k>, with_scores: bool) -> Reply<'k> {
    let members = members.into_iter();
    if with_scores {
        let pair = |(member, score): (Element<'k>, f64)| (member.into(), Reply::Double(score));
        Reply::Pairs(members.map(pair).collect())
    } else {
        Reply::Array(members.map(|(member, _)| member.into()).collect())
    }
}

/// Puts these members in the place of whatever is at a key; how many they are.
fn store(
    keyspace: &mut Keyspace,
    db: Db,
    key: &[u8],
    members: &[(Vec<u8>, f64)],
    event: &'static str,
) -> Outcome<'static> {
    let removed = keyspace.remove(db, key);
    if removed && members.is_empty() {
        keyspace.notice(Class::Generic, "del", db, key);
    }
    if !members.is_empty() {
        keyspace.change_sorted_set(db, key, Absent::Make, |set| {
            for (member, score) in members {
                set.set(member, *score);
            }
        })?;
        keyspace.notice(Class::SortedSet, event, db, key);
    }
    Ok(members.len().into())
}

/// The same members, borrowing nothing: the destination may be one of the sources.
fn into_owned(members: Scores<'_>) -> Vec<(Vec<u8>, f64)> {
    members
        .into_iter()
        .map(|(member, score)| (member.to_bytes().into_owned(), score))
        .collect()
}

/// What ZADD is told to do.
#[derive(Clone, Copy, Default)]
struct Adding {
    only_new: bool,
    only_present: bool,
    only_greater: bool,
    only_less: bool,
    count_changes: bool,
    increment: bool,
}

impl Adding {
    /// Takes the options from the front of the arguments after the key.
    fn parse<'a>(args: &'a [&'a [u8]], increment: bool) -> (Adding, &'a [&'a [u8]]) {
        let mut adding = Adding {
            increment,
            ..Adding::default()
        };
        let mut rest = args;
        while let [option, tail @ ..] = rest {
            let flag = if is(option, "NX") {
                &mut adding.only_new
            } else if is(option, "XX") {
                &mut adding.only_present
            } else if is(option, "GT") {
                &mut adding.only_greater
            } else if is(option, "LT") {
                &mut adding.only_less
            } else if is(option, "CH") {
                &mut adding.count_changes
            } else if is(option, "INCR") {
                &mut adding.increment
            } else {
                break;
            };
            *flag = true;
            rest = tail;
        }
        (adding, rest)
    }

    fn check(self, pairs: usize) -> Result<(), Reply<'static>> {
        let refusal = if self.only_new && self.only_present {
            "ERR XX and NX options at the same time are not compatible"
        } else if (self.only_greater && (self.only_new || self.only_less))
            || (self.only_less && self.only_new)
        {
            "ERR GT, LT, and/or NX options at the same time are not compatible"
        } else if self.increment && pairs > 1 {
            "ERR INCR option supports a single increment-element pair"
        } else {
            return Ok(());
        };
        Err(Reply::refusal(refusal))
    }

    /// The score that a member is to have; none if it is to stay as it is.
    fn score(self, old: Option<f64>, given: f64) -> Result<Option<f64>, Reply<'static>> {
        let Some(old) = old else {
            return Ok((!self.only_present).then_some(given));
        };
        if self.only_new {
            return Ok(None);
        }
        let new = if self.increment { old + given } else { given };
        if new.is_nan() {
            return Err(Reply::refusal("ERR resulting score is not a number (NaN)"));
        }
        let stays = (self.only_less && new >= old) || (self.only_greater && new <= old);
        Ok((!stays).then_some(new))
    }
}

fn zadd(keyspace: &mut Keyspace, args: &[&[u8]], context: WriteContext) -> Outcome<'static> {
    add(keyspace, args, context, false)
}

fn zincrby(keyspace: &mut Keyspace, args: &[&[u8]], context: WriteContext) -> Outcome<'static> {
    add(keyspace, args, context, true)
}

fn add(
    keyspace: &mut Keyspace,
    args: &[&[u8]],
    context: WriteContext,
    increment: bool,
) -> Outcome<'static> {
    let (adding, rest) = Adding::parse(&args[2..], increment);
    let (pairs, []) = rest.as_chunks::<2>() else {
        return Err(SYNTAX);
    };
    if pairs.is_empty() {
        return Err(SYNTAX);
    }
    adding.check(pairs.len())?;
    let scores: Vec<f64> = pairs
        .iter()
        .map(|[score, _]| score::score(score))
        .collect::<Result<_, _>>()?;
    let absent = if adding.only_present {
        Absent::Leave
    } else {
        Absent::Make
    };
    let done = keyspace.change_sorted_set(context.db, args[1], absent, |set| {
        set.expect(pairs.len(), pairs[0][1]);
        let (mut added, mut changed, mut last) = (0_usize, 0, None);
        for ([_, member], given) in pairs.iter().zip(scores) {
            let old = set.score(member);
            last = adding.score(old, given)?;
            if let Some(score) = last {
                set.set(member, score);
                added += usize::from(old.is_none());
                changed += usize::from(old != Some(score));
            }
        }
        Ok::<_, Reply<'static>>((added, changed, last))
    })?;
    let (added, changed, last) = done.unwrap_or(Ok((0, 0, None)))?;
    if changed > 0 {
        let event = if adding.increment { "zincr" } else { "zadd" };
        keyspace.notice(Class::SortedSet, event, context.db, args[1]);
    }
    Ok(if adding.increment {
        last.map_or(Reply::Null, Reply::Double)
    } else if adding.count_changes {
        changed.into()
    } else {
        added.into()
    })
}

fn zrem(keyspace: &mut Keyspace, args: &[&[u8]], context: WriteContext) -> Outcome<'static> {
    let Some(set) = keyspace.sorted_set(context.db, args[1], context.stamp)? else {
        return Ok(Reply::ZERO);
    };
    if args[2..].iter().all(|member| set.score(member).is_none()) {
        return Ok(Reply::ZERO);
    }
    let removed = keyspace.change_sorted_set(context.db, args[1], Absent::Leave, |set| {
        let removed = args[2..]
            .iter()
            .filter(|member| set.remove(member).is_some());
        removed.count()
    })?;
    keyspace.notice_change(Class::SortedSet, "zrem", context.db, args[1]);
    Ok(removed.unwrap_or(0).into())
}

fn zscore<'k>(keyspace: &'k Keyspace, args: &[&[u8]], context: ReadContext) -> Outcome<'k> {
    let score = set(keyspace, args, context)?.and_then(|set| set.score(args[2]));
    Ok(score.map_or(Reply::Null, Reply::Double))
}

fn zmscore<'k>(keyspace: &'k Keyspace, args: &[&[u8]], context: ReadContext) -> Outcome<'k> {
    let set = set(keyspace, args, context)?;
    let score = |member: &&[u8]| set.and_then(|set| set.score(member));
    let scores = args[2..].iter().map(score);
    Ok(Reply::Array(
        scores
            .map(|score| score.map_or(Reply::Null, Reply::Double))
            .collect(),
    ))
}

fn zcard<'k>(keyspace: &'k Keyspace, args: &[&[u8]], context: ReadContext) -> Outcome<'k> {
    Ok(set(keyspace, args, context)?
        .map_or(0, |set| set.len())
        .into())
}

fn zcount<'k>(keyspace: &'k Keyspace, args: &[&[u8]], context: ReadContext) -> Outcome<'k> {
    let range = ScoreRange::parse(args[2], args[3])?;
    let set = set(keyspace, args, context)?;
    Ok(set
        .map_or(0, |set| ranges::of_scores(set, &range).len())
        .into())
}

fn zlexcount<'k>(keyspace: &'k Keyspace, args: &[&[u8]], context: ReadContext) -> Outcome<'k> {
    let range = LexRange::parse(args[2], args[3])?;
    let set = set(keyspace, args, context)?;
    Ok(set
        .map_or(0, |set| ranges::of_members(set, &range).len())
        .into())
}

fn zrank<'k>(keyspace: &'k Keyspace, args: &[&[u8]], context: ReadContext) -> Outcome<'k> {
    rank(keyspace, args, context, false)
}

fn zrevrank<'k>(keyspace: &'k Keyspace, args: &[&[u8]], context: ReadContext) -> Outcome<'k> {
    rank(keyspace, args, context, true)
}

fn rank<'k>(
    keyspace: &'k Keyspace,
    args: &[&[u8]],
    context: ReadContext,
    reversed: bool,
) -> Outcome<'k> {
    let with_score = match args[3..] {
        [] => false,
        [option] if is(option, "WITHSCORE") => true,
        [_] => return Err(SYNTAX),
        _ => {
            let name = if reversed { "zrevrank" } else { "zrank" };
            return Err(Reply::error(format_args!(
                "ERR wrong number of arguments for '{name}' command"
            )));
        }
    };
    let set = set(keyspace, args, context)?;
    let Some((set, (rank, score))) = set.and_then(|set| Some((set, set.rank(args[2])?))) else {
        return Ok(if with_score {
            Reply::NullArray
        } else {
            Reply::Null
        });
    };
    let rank = if reversed { set.len() - 1 - rank } else { rank };
    Ok(if with_score {
        Reply::Array(vec![rank.into(), Reply::Double(score)])
    } else {
        rank.into()
    })
}

fn zrandmember<'k>(keyspace: &'k Keyspace, args: &[&[u8]], context: ReadContext) -> Outcome<'k> {
    let mut chance = Chance::new(context.random);
    let Some(count) = args.get(2..).filter(|options| !options.is_empty()) else {
        let set = set(keyspace, args, context)?;
        return Ok(set.map_or(Reply::Null, |set| set.nth(chance.below(set.len())).0.into()));
    };
    let (picks, with_scores) = Picks::parse_with(count, "WITHSCORES")?;
    let Some(set) = set(keyspace, args, context)? else {
        return Ok(Reply::Array(Vec::new()));
    };
    let mut members = Vec::new();
    match picks {
        Picks::Different(count) if count >= set.len() => {
            set.for_each(0..set.len(), false, &mut |member, score| {
                members.push((member, score));
            });
        }
        _ => {
            let picked = picks.pick(set.len(), &mut chance);
            members.extend(picked.into_iter().map(|rank| set.nth(rank)));
        }
    }
    Ok(members_reply(members, with_scores))
}

fn zscan<'k>(keyspace: &'k Keyspace, args: &[&[u8]], context: ReadContext) -> Outcome<'k> {
    let cursor = scan::cursor(args[2])?;
    let Some(set) = set(keyspace, args, context)? else {
        return Ok(scan::page(0, Vec::new()));
    };
    let options = Options::of_collection(&args[3..])?;
    let mut found = Vec::new();
    let next = set.scan(cursor, options.count, &mut |member, score| {
        if member.with_bytes(|member| options.wants(member)) {
            found.extend([member.into(), owned(score::format(score))]);
        }
    });
    Ok(scan::page(next, found))
}
