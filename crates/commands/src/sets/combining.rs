//! What is in several sets: SINTER, SUNION, SDIFF, and what stores their results.

use std::borrow::Cow;
use std::collections::BTreeSet;

use base::{Db, Timestamp};
use keyspace::{Absent, Class, Element, Keyspace, Set};

use crate::argument::{Outcome, SYNTAX, integer, is, non_negative};
use crate::spec::{Begin, Find, Flags, KeyFlags, KeySpec, Spec};
use crate::table::{reads, writes};
use crate::{Command, CommandId, ReadContext, Reply, WriteContext};

/// What answers with the members.
const GIVING: Spec = Spec {
    arity: -2,
    flags: Flags::READONLY,
    keys: &[KeySpec::range(1, -1, 1, READ)],
    syntax: "key [key ...]",
    tips: &["nondeterministic_output_order"],
    ..super::SET
};

/// What stores them.
const STORING: Spec = Spec {
    arity: -3,
    flags: Flags::WRITE.with(Flags::DENYOOM),
    keys: &[
        KeySpec::one(1, KeyFlags::OW.with(KeyFlags::UPDATE)),
        KeySpec::range(2, -1, 1, READ),
    ],
    syntax: "destination key [key ...]",
    ..super::SET
};

const READ: KeyFlags = KeyFlags::RO.with(KeyFlags::ACCESS);

const ALL_MEMBERS: &str = "O(N log N), N being the number of members of all sets";
const EACH_SET: &str =
    "O(N*M), N being the number of members of the smallest set and M that of the sets";

pub(crate) const COMMANDS: &[Command] = &[
    Command {
        id: CommandId(79),
        spec: Spec {
            name: "sinter",
            summary: "Returns the members that all sets have.",
            complexity: EACH_SET,
            ..GIVING
        },
        handler: reads!(sinter),
    },
    Command {
        id: CommandId(80),
        spec: Spec {
            name: "sintercard",
            arity: -3,
            keys: &[KeySpec {
                flags: READ,
                begin: Begin::Index(1),
                find: Find::KeyNum {
                    number: 0,
                    first: 1,
                    step: 1,
                },
            }],
            since: "7.0.0",
            summary: "Counts the members that all sets have.",
            complexity: EACH_SET,
            syntax: "numkeys key [key ...] [LIMIT limit]",
            tips: &[],
            ..GIVING
        },
        handler: reads!(sintercard),
    },
    Command {
        id: CommandId(81),
        spec: Spec {
            name: "sinterstore",
            keys: &[
                KeySpec::one(1, KeyFlags::RW.with(KeyFlags::UPDATE)),
                STORING.keys[1],
            ],
            summary: "Stores the members that all sets have.",
            complexity: EACH_SET,
            ..STORING
        },
        handler: writes!(sinterstore),
    },
    Command {
        id: CommandId(82),
        spec: Spec {
            name: "sunion",
            summary: "Returns the members that any of the sets has.",
            complexity: ALL_MEMBERS,
            ..GIVING
        },
        handler: reads!(sunion),
    },
    Command {
        id: CommandId(83),
        spec: Spec {
            name: "sunionstore",
            summary: "Stores the members that any of the sets has.",
            complexity: ALL_MEMBERS,
            ..STORING
        },
        handler: writes!(sunionstore),
    },
    Command {
        id: CommandId(84),
        spec: Spec {
            name: "sdiff",
            summary: "Returns the members of the first set that no other set has.",
            complexity: ALL_MEMBERS,
            ..GIVING
        },
        handler: reads!(sdiff),
    },
    Command {
        id: CommandId(85),
        spec: Spec {
            name: "sdiffstore",
            summary: "Stores the members of the first set that no other set has.",
            complexity: ALL_MEMBERS,
            ..STORING
        },
        handler: writes!(sdiffstore),
    },
];

/// The sets at keys, absent ones as none.
fn sets<'k>(
    keyspace: &'k Keyspace,
    db: Db,
    keys: &[&[u8]],
    now: Timestamp,
) -> Result<Vec<Option<Set<'k>>>, Reply<'static>> {
    let set = |key: &&[u8]| Ok(keyspace.members(db, key, now)?);
    keys.iter().map(set).collect()
}

/// A way to make one set of several.
type Combine = for<'k> fn(&[Option<Set<'k>>]) -> Vec<Element<'k>>;

/// Visits the members that all sets have, until it is told to stop by `false`.
fn visit_common<'k>(sets: &[Option<Set<'k>>], visit: &mut dyn FnMut(Element<'k>) -> bool) {
    let present: Option<Vec<Set<'k>>> = sets.iter().copied().collect();
    let Some(mut present) = present else { return };
    present.sort_by_key(Set::len);
    let Some((smallest, others)) = present.split_first() else {
        return;
    };
    smallest.visit(&mut |member| {
        let everywhere = others
            .iter()
            .all(|set| member.with_bytes(|member| set.contains(member)));
        !everywhere || visit(member)
    });
}

fn intersection<'k>(sets: &[Option<Set<'k>>]) -> Vec<Element<'k>> {
    let mut common = Vec::new();
    visit_common(sets, &mut |member| {
        common.push(member);
        true
    });
    common
}

fn union<'k>(sets: &[Option<Set<'k>>]) -> Vec<Element<'k>> {
    let mut all = Vec::new();
    let mut seen = BTreeSet::new();
    let several = sets.iter().flatten().count() > 1;
    for set in sets.iter().flatten() {
        set.for_each(&mut |member| {
            if !several || seen.insert(member.to_bytes()) {
                all.push(member);
            }
        });
    }
    all
}

fn difference<'k>(sets: &[Option<Set<'k>>]) -> Vec<Element<'k>> {
    let Some((Some(first), others)) = sets.split_first() else {
        return Vec::new();
    };
    let others: Vec<&Set<'k>> = others.iter().flatten().collect();
    let mut rest = Vec::new();
    // Either each member is looked for in each set, or all that is in the others is gathered once.
    let gathered: usize = others.iter().map(|set| set.len()).sum();
    if gathered < first.len().saturating_mul(others.len()) / 2 {
        let mut taken: BTreeSet<Cow<'_, [u8]>> = BTreeSet::new();
        for set in others {
            set.for_each(&mut |member| {
                taken.insert(member.to_bytes());
            });
        }
        first.for_each(&mut |member| {
            if !member.with_bytes(|member| taken.contains(member)) {
                rest.push(member);
            }
        });
    } else {
        first.for_each(&mut |member| {
            let is_in = |set: &&Set<'k>| member.with_bytes(|member| set.contains(member));
            if !others.iter().any(is_in) {
                rest.push(member);
            }
        });
    }
    rest
}

fn give<'k>(
    keyspace: &'k Keyspace,
    args: &[&[u8]],
    context: ReadContext,
    combine: Combine,
) -> Outcome<'k> {
    let sets = sets(keyspace, context.db, &args[1..], context.now)?;
    Ok(Reply::Set(
        combine(&sets).into_iter().map(Reply::from).collect(),
    ))
}

fn store(
    keyspace: &mut Keyspace,
    args: &[&[u8]],
    context: WriteContext,
    event: &'static str,
    combine: Combine,
) -> Outcome<'static> {
    let sets = sets(keyspace, context.db, &args[2..], context.stamp)?;
    let members = combine(&sets).into_iter();
    // The destination may be one of the sets.
    let members: Vec<Vec<u8>> = members
        .map(|member| member.to_bytes().into_owned())
        .collect();
    let removed = keyspace.remove(context.db, args[1]);
    if removed && members.is_empty() {
        keyspace.notice(Class::Generic, "del", context.db, args[1]);
    }
    if !members.is_empty() {
        keyspace.change_members(context.db, args[1], Absent::Make, |set| {
            set.expect(members.len(), &members[0]);
            members.iter().for_each(|member| {
                set.add(member);
            });
        })?;
        keyspace.notice(Class::Set, event, context.db, args[1]);
    }
    Ok(members.len().into())
}

fn sinter<'k>(keyspace: &'k Keyspace, args: &[&[u8]], context: ReadContext) -> Outcome<'k> {
    give(keyspace, args, context, intersection)
}

fn sunion<'k>(keyspace: &'k Keyspace, args: &[&[u8]], context: ReadContext) -> Outcome<'k> {
    give(keyspace, args, context, union)
}

fn sdiff<'k>(keyspace: &'k Keyspace, args: &[&[u8]], context: ReadContext) -> Outcome<'k> {
    give(keyspace, args, context, difference)
}

fn sinterstore(keyspace: &mut Keyspace, args: &[&[u8]], context: WriteContext) -> Outcome<'static> {
    store(keyspace, args, context, "sinterstore", intersection)
}

fn sunionstore(keyspace: &mut Keyspace, args: &[&[u8]], context: WriteContext) -> Outcome<'static> {
    store(keyspace, args, context, "sunionstore", union)
}

fn sdiffstore(keyspace: &mut Keyspace, args: &[&[u8]], context: WriteContext) -> Outcome<'static> {
    store(keyspace, args, context, "sdiffstore", difference)
}

fn sintercard<'k>(keyspace: &'k Keyspace, args: &[&[u8]], context: ReadContext) -> Outcome<'k> {
    let none = Reply::refusal("ERR numkeys should be greater than 0");
    let count = match integer(args[1]) {
        Ok(count @ 1..) => usize::try_from(count).unwrap_or(usize::MAX),
        _ => return Err(none),
    };
    let Some((keys, mut options)) = args[2..].split_at_checked(count) else {
        return Err(Reply::refusal(
            "ERR Number of keys can't be greater than number of args",
        ));
    };
    let mut limit = usize::MAX;
    while let [option, rest @ ..] = options {
        let [value, rest @ ..] = rest else {
            return Err(SYNTAX);
        };
        if !is(option, "LIMIT") {
            return Err(SYNTAX);
        }
        limit = match non_negative(value, "ERR LIMIT can't be negative")? {
            0 => usize::MAX,
            number => number,
        };
        options = rest;
    }
    let sets = sets(keyspace, context.db, keys, context.now)?;
    let mut found = 0;
    visit_common(&sets, &mut |_| {
        found += 1;
        found < limit
    });
    Ok(found.into())
}
