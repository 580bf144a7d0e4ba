//! What is in several sets, sorted or not: ZUNION, ZINTER, ZDIFF, and what stores their results. A member of a plain set has
//! the score 1.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use base::{Db, Timestamp};
use keyspace::{Element, Keyspace, Kind, Set, SortedSet};

use super::{SORTED_SET, Scores, into_owned, members_reply, numbered, store};
use crate::argument::{Outcome, SYNTAX, WRONG_TYPE, integer, is};
use crate::score;
use crate::spec::{Flags, KeyFlags, KeySpec, Spec};
use crate::table::{reads, writes};
use crate::{Command, CommandId, ReadContext, Reply, WriteContext};

const UNION: &str = "O(N log N), N being the number of members of all sets";
const INTER: &str = "O(N*K + M log M), N being the number of members of the smallest of K sets and M that of the result";
const DIFFERENCE: &str = "O(N log N), N being the number of members of all sets";

pub(crate) const COMMANDS: &[Command] = &[
    Command {
        id: CommandId(145),
        spec: Spec {
            name: "zunion",
            arity: -3,
            flags: Flags::READONLY,
            keys: &[numbered(1, KeyFlags::RO.with(KeyFlags::ACCESS))],
            since: "6.2.0",
            summary: "Returns the members that any of the sets has, with their scores combined.",
            complexity: UNION,
            syntax: "numkeys key [key ...] [WEIGHTS weight [weight ...]] [AGGREGATE <SUM | MIN | MAX>] [WITHSCORES]",
            ..SORTED_SET
        },
        handler: reads!(zunion),
    },
    Command {
        id: CommandId(146),
        spec: Spec {
            name: "zunionstore",
            arity: -4,
            flags: Flags::WRITE.with(Flags::DENYOOM),
            keys: &[
                KeySpec::one(1, KeyFlags::OW.with(KeyFlags::UPDATE)),
                numbered(2, KeyFlags::RO.with(KeyFlags::ACCESS)),
            ],
            since: "2.0.0",
            summary: "Stores the members that any of the sets has, with their scores combined.",
            complexity: UNION,
            syntax: "destination numkeys key [key ...] [WEIGHTS weight [weight ...]] [AGGREGATE <SUM | MIN | MAX>]",
            ..SORTED_SET
        },
        handler: writes!(zunionstore),
    },
    Command {
        id: CommandId(147),
        spec: Spec {
            name: "zinter",
            arity: -3,
            flags: Flags::READONLY,
            keys: &[numbered(1, KeyFlags::RO.with(KeyFlags::ACCESS))],
            since: "6.2.0",
            summary: "Returns the members that all sets have, with their scores combined.",
            complexity: INTER,
            syntax: "numkeys key [key ...] [WEIGHTS weight [weight ...]] [AGGREGATE <SUM | MIN | MAX>] [WITHSCORES]",
            ..SORTED_SET
        },
        handler: reads!(zinter),
    },
    Command {
        id: CommandId(148),
        spec: Spec {
            name: "zinterstore",
            arity: -4,
            flags: Flags::WRITE.with(Flags::DENYOOM),
            keys: &[
                KeySpec::one(1, KeyFlags::OW.with(KeyFlags::UPDATE)),
                numbered(2, KeyFlags::RO.with(KeyFlags::ACCESS)),
            ],
            since: "2.0.0",
            summary: "Stores the members that all sets have, with their scores combined.",
            complexity: INTER,
            syntax: "destination numkeys key [key ...] [WEIGHTS weight [weight ...]] [AGGREGATE <SUM | MIN | MAX>]",
            ..SORTED_SET
        },
        handler: writes!(zinterstore),
    },
    Command {
        id: CommandId(149),
        spec: Spec {
            name: "zintercard",
            arity: -3,
            flags: Flags::READONLY,
            keys: &[numbered(1, KeyFlags::RO.with(KeyFlags::ACCESS))],
            since: "7.0.0",
            summary: "Counts the members that all sets have.",
            complexity: INTER,
            syntax: "numkeys key [key ...] [LIMIT limit]",
            ..SORTED_SET
        },
        handler: reads!(zintercard),
    },
    Command {
        id: CommandId(150),
        spec: Spec {
            name: "zdiff",
            arity: -3,
            flags: Flags::READONLY,
            keys: &[numbered(1, KeyFlags::RO.with(KeyFlags::ACCESS))],
            since: "6.2.0",
            summary: "Returns the members of the first set that no other set has.",
            complexity: DIFFERENCE,
            syntax: "numkeys key [key ...] [WITHSCORES]",
            ..SORTED_SET
        },
        handler: reads!(zdiff),
    },
    Command {
        id: CommandId(151),
        spec: Spec {
            name: "zdiffstore",
            arity: -4,
            flags: Flags::WRITE.with(Flags::DENYOOM),
            keys: &[
                KeySpec::one(1, KeyFlags::OW.with(KeyFlags::UPDATE)),
                numbered(2, KeyFlags::RO.with(KeyFlags::ACCESS)),
            ],
            since: "6.2.0",
            summary: "Stores the members of the first set that no other set has.",
            complexity: DIFFERENCE,
            syntax: "destination numkeys key [key ...]",
            ..SORTED_SET
        },
        handler: writes!(zdiffstore),
    },
];

/// A set that is combined with others.
#[derive(Clone, Copy)]
enum Source<'k> {
    Sorted(SortedSet<'k>),
    Plain(Set<'k>),
}

impl<'k> Source<'k> {
    fn at(
        keyspace: &'k Keyspace,
        db: Db,
        key: &[u8],
        now: Timestamp,
    ) -> Result<Option<Source<'k>>, Reply<'static>> {
        let kind = keyspace.get(db, key, now).map(|entry| entry.kind());
        Ok(match kind {
            None => None,
            Some(Kind::SortedSet) => keyspace.sorted_set(db, key, now)?.map(Source::Sorted),
            Some(Kind::Set) => keyspace.members(db, key, now)?.map(Source::Plain),
            Some(_) => return Err(WRONG_TYPE),
        })
    }

    fn len(&self) -> usize {
        match self {
            Source::Sorted(set) => set.len(),
            Source::Plain(set) => set.len(),
        }
    }

    fn score(&self, member: &[u8]) -> Option<f64> {
        match self {
            Source::Sorted(set) => set.score(member),
            Source::Plain(set) => set.contains(member).then_some(1.0),
        }
    }

    /// Visits all members until it is told to stop by `false`.
    fn visit(&self, visit: &mut dyn FnMut(Element<'k>, f64) -> bool) {
        match self {
            Source::Sorted(set) => set.visit(0..set.len(), false, visit),
            Source::Plain(set) => set.visit(&mut |member| visit(member, 1.0)),
        }
    }
}

/// How several scores of a member become one.
#[derive(Clone, Copy)]
enum Aggregate {
    Sum,
    Min,
    Max,
}

impl Aggregate {
    fn of(self, one: f64, other: f64) -> f64 {
        match self {
            Aggregate::Sum => not_nan(one + other),
            Aggregate::Min if other < one => other,
            Aggregate::Max if other > one => other,
            Aggregate::Min | Aggregate::Max => one,
        }
    }
}

/// Infinities that cancel out, and an infinity times 0, make 0.
fn not_nan(score: f64) -> f64 {
    if score.is_nan() { 0.0 } else { score }
}

/// What the command does with the sets.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Combination {
    Union,
    Inter,
    Difference,
}

/// What becomes of the result.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Purpose {
    Give,
    Store,
    Count,
}

/// A call: the sets, and what is to be done with them.
struct Call<'k> {
    combination: Combination,
    /// Those that are absent as none, each with the factor of its scores.
    sources: Vec<(Option<Source<'k>>, f64)>,
    aggregate: Aggregate,
    with_scores: bool,
    limit: usize,
}

impl<'k> Call<'k> {
    /// Reads what stands from the number of keys on.
    fn parse(
        keyspace: &'k Keyspace,
        name: &str,
        args: &[&[u8]],
        (db, now): (Db, Timestamp),
        (combination, purpose): (Combination, Purpose),
    ) -> Result<Call<'k>, Reply<'static>> {
        let number = integer(args[0])?;
        let number = usize::try_from(number).ok().filter(|number| *number > 0);
        let number = number.ok_or_else(|| {
            Reply::error(format_args!(
                "ERR at least 1 input key is needed for '{name}' command"
            ))
        })?;
        let (keys, mut options) = args[1..].split_at_checked(number).ok_or(SYNTAX)?;
        let mut sources = Vec::with_capacity(number);
        for key in keys {
            sources.push((Source::at(keyspace, db, key, now)?, 1.0));
        }
        let mut call = Call {
            combination,
            sources,
            aggregate: Aggregate::Sum,
            with_scores: false,
            limit: usize::MAX,
        };
        let combines = combination != Combination::Difference && purpose != Purpose::Count;
        while let [option, rest @ ..] = options {
            options = if combines && rest.len() >= number && is(option, "WEIGHTS") {
                let (weights, rest) = rest.split_at(number);
                for ((_, weight), arg) in call.sources.iter_mut().zip(weights) {
                    *weight = score::parse(arg)
                        .ok_or(Reply::refusal("ERR weight value is not a float"))?;
                }
                rest
            } else if combines
                && is(option, "AGGREGATE")
                && let [aggregate, rest @ ..] = rest
            {
                call.aggregate = if is(aggregate, "SUM") {
                    Aggregate::Sum
                } else if is(aggregate, "MIN") {
                    Aggregate::Min
                } else if is(aggregate, "MAX") {
                    Aggregate::Max
                } else {
                    return Err(SYNTAX);
                };
                rest
            } else if purpose == Purpose::Give && is(option, "WITHSCORES") {
                call.with_scores = true;
                rest
            } else if purpose == Purpose::Count
                && is(option, "LIMIT")
                && let [limit, rest @ ..] = rest
            {
                let limit = integer(limit).ok();
                let limit = limit.and_then(|limit| usize::try_from(limit).ok());
                call.limit = match limit.ok_or(Reply::refusal("ERR LIMIT can't be negative"))? {
                    0 => usize::MAX,
                    limit => limit,
                };
                rest
            } else {
                return Err(SYNTAX);
            };
        }
        // Sums of broken numbers depend on their order: that of the sizes.
        if combination != Combination::Difference {
            call.sources
                .sort_by_key(|(source, _)| source.map_or(0, |source| source.len()));
        }
        Ok(call)
    }

    /// The members of the result, in the order of a sorted set.
    fn members(&self) -> Scores<'k> {
        let mut members = match self.combination {
            Combination::Union => self.union(),
            Combination::Inter => {
                let mut members = Vec::new();
                self.visit_common(&mut |member, score| {
                    members.push((member, score));
                    true
                });
                members
            }
            Combination::Difference => self.difference(),
        };
        members.sort_by(|(member, score), (other, other_score)| {
            let scores = score.partial_cmp(other_score).expect("no score is NaN");
            scores.then_with(|| {
                member.with_bytes(|member| other.with_bytes(|other| member.cmp(other)))
            })
        });
        members
    }

    fn union(&self) -> Scores<'k> {
        let mut all: BTreeMap<Cow<'k, [u8]>, (Element<'k>, f64)> = BTreeMap::new();
        for (source, weight) in &self.sources {
            let Some(source) = source else { continue };
            source.visit(&mut |member, score| {
                let score = not_nan(score * weight);
                all.entry(member.to_bytes())
                    .and_modify(|(_, sum)| *sum = self.aggregate.of(*sum, score))
                    .or_insert((member, score));
                true
            });
        }
        all.into_values().collect()
    }

    /// Visits the members that all sets have, until it is told to stop by `false`.
    fn visit_common(&self, visit: &mut dyn FnMut(Element<'k>, f64) -> bool) {
        let present: Option<Vec<(Source<'k>, f64)>> = self
            .sources
            .iter()
            .map(|(source, weight)| Some(((*source)?, *weight)))
            .collect();
        let present = present.unwrap_or_default();
        let Some(((smallest, weight), others)) = present.split_first() else {
            return;
        };
        smallest.visit(&mut |member, score| {
            let combined = member.with_bytes(|member| {
                let first = not_nan(score * weight);
                others.iter().try_fold(first, |sum, (source, weight)| {
                    let score = source.score(member)?;
                    Some(self.aggregate.of(sum, score * weight))
                })
            });
            combined.is_none_or(|score| visit(member, score))
        });
    }

    fn difference(&self) -> Scores<'k> {
        let Some(((Some(first), _), others)) = self.sources.split_first() else {
            return Vec::new();
        };
        let others: Vec<Source<'k>> = others.iter().filter_map(|(source, _)| *source).collect();
        let mut rest = Vec::new();
        // Either each member is looked for in each set, or all that is in the others is gathered once.
        let gathered: usize = others.iter().map(Source::len).sum();
        if gathered < first.len().saturating_mul(others.len()) / 2 {
            let mut taken = BTreeSet::new();
            for source in &others {
                source.visit(&mut |member, _| {
                    taken.insert(member.to_bytes());
                    true
                });
            }
            first.visit(&mut |member, score| {
                if !member.with_bytes(|member| taken.contains(member)) {
                    rest.push((member, score));
                }
                true
            });
        } else {
            first.visit(&mut |member, score| {
                let is_in = |source: &Source<'k>| {
                    member.with_bytes(|member| source.score(member).is_some())
                };
                if !others.iter().any(is_in) {
                    rest.push((member, score));
                }
                true
            });
        }
        rest
    }
}

fn give<'k>(
    keyspace: &'k Keyspace,
    name: &str,
    args: &[&[u8]],
    context: ReadContext,
    combination: Combination,
) -> Outcome<'k> {
    let what = (combination, Purpose::Give);
    let call = Call::parse(keyspace, name, &args[1..], (context.db, context.now), what)?;
    Ok(members_reply(call.members(), call.with_scores))
}

fn keep(
    keyspace: &mut Keyspace,
    name: &'static str,
    args: &[&[u8]],
    context: WriteContext,
    combination: Combination,
) -> Outcome<'static> {
    let what = (combination, Purpose::Store);
    let call = Call::parse(
        keyspace,
        name,
        &args[2..],
        (context.db, context.stamp),
        what,
    )?;
    let members = into_owned(call.members());
    store(keyspace, context.db, args[1], &members, name)
}

fn zunion<'k>(keyspace: &'k Keyspace, args: &[&[u8]], context: ReadContext) -> Outcome<'k> {
    give(keyspace, "zunion", args, context, Combination::Union)
}

fn zinter<'k>(keyspace: &'k Keyspace, args: &[&[u8]], context: ReadContext) -> Outcome<'k> {
    give(keyspace, "zinter", args, context, Combination::Inter)
}

fn zdiff<'k>(keyspace: &'k Keyspace, args: &[&[u8]], context: ReadContext) -> Outcome<'k> {
    give(keyspace, "zdiff", args, context, Combination::Difference)
}

fn zunionstore(keyspace: &mut Keyspace, args: &[&[u8]], context: WriteContext) -> Outcome<'static> {
    keep(keyspace, "zunionstore", args, context, Combination::Union)
}

fn zinterstore(keyspace: &mut Keyspace, args: &[&[u8]], context: WriteContext) -> Outcome<'static> {
    keep(keyspace, "zinterstore", args, context, Combination::Inter)
}

fn zdiffstore(keyspace: &mut Keyspace, args: &[&[u8]], context: WriteContext) -> Outcome<'static> {
    keep(
        keyspace,
        "zdiffstore",
        args,
        context,
        Combination::Difference,
    )
}

fn zintercard<'k>(keyspace: &'k Keyspace, args: &[&[u8]], context: ReadContext) -> Outcome<'k> {
    let at = (context.db, context.now);
    let what = (Combination::Inter, Purpose::Count);
    let call = Call::parse(keyspace, "zintercard", &args[1..], at, what)?;
    let mut found = 0;
    call.visit_common(&mut |_, _| {
        found += 1;
        found < call.limit
    });
    Ok(found.into())
}
