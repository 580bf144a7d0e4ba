//! OBJECT: how a value is kept.

use keyspace::{Encoding, Entry, Keyspace};

use crate::argument::{Outcome, is, parse_integer};
use crate::spec::{Categories, Flags, KeyFlags, KeySpec, Spec};
use crate::table::reads;
use crate::{Command, CommandId, ReadContext, Reply};

const SUBCOMMAND: Spec = Spec {
    arity: 3,
    flags: Flags::READONLY,
    keys: &[KeySpec::one(2, KeyFlags::RO)],
    categories: Categories::KEYSPACE,
    group: "generic",
    since: "2.2.3",
    complexity: "O(1)",
    syntax: "key",
    tips: &["nondeterministic_output"],
    ..Spec::EMPTY
};

pub(crate) const COMMANDS: &[Command] = &[Command {
    id: CommandId(44),
    spec: Spec {
        name: "object",
        arity: -2,
        group: "generic",
        since: "2.2.3",
        summary: "Tells how values are kept.",
        complexity: "Depends on the subcommand",
        subcommands: &[
            Spec {
                name: "object|encoding",
                summary: "Tells the encoding of the value at a key.",
                ..SUBCOMMAND
            },
            Spec {
                name: "object|freq",
                since: "4.0.0",
                summary: "Tells how often a key was used lately.",
                ..SUBCOMMAND
            },
            Spec {
                name: "object|help",
                arity: 2,
                flags: Flags::LOADING.with(Flags::STALE),
                keys: &[],
                since: "6.2.0",
                summary: "Lists the subcommands.",
                syntax: "",
                tips: &[],
                ..SUBCOMMAND
            },
            Spec {
                name: "object|idletime",
                summary: "Tells how many seconds ago a key was last used.",
                ..SUBCOMMAND
            },
            Spec {
                name: "object|refcount",
                summary: "Tells how many references there are to the value at a key.",
                ..SUBCOMMAND
            },
        ],
        ..Spec::EMPTY
    },
    handler: reads!(object),
}];

pub(crate) const HELP: [&str; 15] = [
    "OBJECT <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
    "ENCODING <key>",
    "    Return the kind of internal representation used in order to store the value",
    "    associated with a <key>.",
    "FREQ <key>",
    "    Return the access frequency index of the <key>. The returned integer is",
    "    proportional to the logarithm of the recent access frequency of the key.",
    "IDLETIME <key>",
    "    Return the idle time of the <key>, that is the approximated number of",
    "    seconds elapsed since the last access to the key.",
    "REFCOUNT <key>",
    "    Return the number of references of the value associated with the specified",
    "    <key>.",
    "HELP",
    "    Prints this help.",
];

fn object<'k>(keyspace: &'k Keyspace, args: &[&[u8]], context: ReadContext) -> Outcome<'k> {
    let subcommand = args[1];
    let Some(key) = args.get(2) else {
        return Ok(Reply::Array(HELP.map(Reply::Simple).to_vec()));
    };
    let Some(entry) = keyspace.get(context.db, key, context.now) else {
        return Ok(Reply::Null);
    };
    if is(subcommand, "ENCODING") {
        Ok(Reply::bulk(entry.encoding().name().as_bytes()))
    } else if is(subcommand, "IDLETIME") {
        let idle = context
            .now
            .seconds()
            .saturating_sub(entry.accessed_at().seconds());
        Ok(Reply::Integer(i64::try_from(idle).unwrap_or(i64::MAX)))
    } else if is(subcommand, "REFCOUNT") {
        Ok(Reply::Integer(if is_shared(&entry) {
            i64::from(i32::MAX)
        } else {
            1
        }))
    } else {
        Err(Reply::refusal(
            "ERR An LFU maxmemory policy is not selected, access frequency not tracked. Please note \
             that when switching between policies at runtime LRU and LFU data will take some time to \
             adjust.",
        ))
    }
}

/// Whether Redis would not store this number but point to one of the 10,000 that it keeps.
fn is_shared(entry: &Entry<'_>) -> bool {
    entry.encoding() == Encoding::Int
        && entry
            .string()
            .and_then(parse_integer)
            .is_some_and(|number| (0..10_000).contains(&number))
}
