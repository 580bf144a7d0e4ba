//! COMMAND: what there is to know about commands, from their records.

mod arguments;
mod describe;
mod keys;

use commands::{Categories, Flags, Reply, Spec, glob};

use super::argument::{SYNTAX, bulk, is};
use super::{HELP, SessionCommand, all, help, run_subcommand, specs};
use crate::server::CoreServer;
use crate::session::Session;

const SUBCOMMAND: Spec = Spec {
    flags: Flags::LOADING.with(Flags::STALE),
    categories: Categories::CONNECTION,
    group: "server",
    since: "7.0.0",
    complexity: "O(N), N being the number of commands",
    ..Spec::EMPTY
};

const ANY_ORDER: &[&str] = &["nondeterministic_output_order"];

pub(super) const COMMANDS: &[SessionCommand] = &[SessionCommand {
    spec: Spec {
        name: "command",
        arity: -1,
        since: "2.8.13",
        summary: "Tells how each command is called.",
        tips: ANY_ORDER,
        subcommands: &specs::<{ SUBCOMMANDS.len() }>(SUBCOMMANDS),
        ..SUBCOMMAND
    },
    run: |session, args, server| match args {
        [_] => Reply::Array(top_level().map(describe::info).collect()),
        _ => run_subcommand(SUBCOMMANDS, session, args, server),
    },
}];

const SUBCOMMANDS: &[SessionCommand] = &[
    SessionCommand {
        spec: Spec {
            name: "command|count",
            arity: 2,
            since: "2.8.13",
            summary: "Counts the commands.",
            complexity: "O(1)",
            ..SUBCOMMAND
        },
        run: |_, _, _| top_level().count().into(),
    },
    SessionCommand {
        spec: Spec {
            name: "command|docs",
            arity: -2,
            summary: "Tells what commands do.",
            syntax: "[command-name [command-name ...]]",
            tips: ANY_ORDER,
            ..SUBCOMMAND
        },
        run: docs,
    },
    SessionCommand {
        spec: Spec {
            name: "command|getkeys",
            arity: -4,
            since: "2.8.13",
            summary: "Tells the keys of a call.",
            complexity: "O(N), N being the number of arguments of the call",
            syntax: "command [arg [arg ...]]",
            ..SUBCOMMAND
        },
        run: |_, args, _| keys::keys(&args[2..], false),
    },
    SessionCommand {
        spec: Spec {
            name: "command|getkeysandflags",
            arity: -4,
            summary: "Tells the keys of a call, and what it does with each.",
            complexity: "O(N), N being the number of arguments of the call",
            syntax: "command [arg [arg ...]]",
            ..SUBCOMMAND
        },
        run: |_, args, _| keys::keys(&args[2..], true),
    },
    SessionCommand {
        spec: Spec {
            name: "command|help",
            categories: Categories::CONNECTION,
            group: "server",
            ..HELP
        },
        run: help,
    },
    SessionCommand {
        spec: Spec {
            name: "command|info",
            arity: -2,
            since: "2.8.13",
            summary: "Tells how commands are called.",
            syntax: "[command-name [command-name ...]]",
            tips: ANY_ORDER,
            ..SUBCOMMAND
        },
        run: info,
    },
    SessionCommand {
        spec: Spec {
            name: "command|list",
            arity: -2,
            summary: "Tells the names of commands.",
            syntax: "[FILTERBY MODULE module-name | FILTERBY ACLCAT category | \
                     FILTERBY PATTERN pattern]",
            tips: ANY_ORDER,
            ..SUBCOMMAND
        },
        run: list,
    },
];

/// Every command of this node without its subcommands.
fn top_level() -> impl Iterator<Item = &'static Spec> {
    let of_data = commands::COMMANDS.iter().map(|command| &command.spec);
    of_data.chain(all().map(|command| &command.spec))
}

/// Every command, each followed by its subcommands.
fn every() -> impl Iterator<Item = &'static Spec> {
    top_level().flat_map(|spec| std::iter::once(spec).chain(spec.subcommands))
}

/// The command of that name, or the subcommand: `object|encoding`.
fn by_name(name: &[u8]) -> Option<&'static Spec> {
    every().find(|spec| spec.name.as_bytes().eq_ignore_ascii_case(name))
}

fn info(_: &mut Session, args: &[&[u8]], _: &CoreServer) -> Reply<'static> {
    let names = &args[2..];
    Reply::Array(if names.is_empty() {
        top_level().map(describe::info).collect()
    } else {
        let found = names.iter().map(|name| by_name(name));
        found
            .map(|spec| spec.map_or(Reply::Null, describe::info))
            .collect()
    })
}

fn docs(_: &mut Session, args: &[&[u8]], _: &CoreServer) -> Reply<'static> {
    let names = &args[2..];
    if names.is_empty() {
        return describe::docs(top_level());
    }
    describe::docs(names.iter().filter_map(|name| by_name(name)))
}

fn list(_: &mut Session, args: &[&[u8]], _: &CoreServer) -> Reply<'static> {
    let name = |spec: &Spec| bulk(spec.name);
    let (kind, wanted) = match args[2..] {
        [] => return Reply::Array(top_level().map(name).collect()),
        [word, kind, wanted] if is(word, "filterby") => (kind, wanted),
        _ => return SYNTAX,
    };
    let names = every();
    Reply::Array(match kind {
        // There are none.
        _ if is(kind, "module") => Vec::new(),
        _ if is(kind, "aclcat") => match Categories::by_name(wanted) {
            Some(category) => names
                .filter(|spec| spec.acl_categories().contains(category))
                .map(name)
                .collect(),
            None => Vec::new(),
        },
        _ if is(kind, "pattern") => {
            let pattern = wanted.to_ascii_lowercase();
            names
                .filter(|spec| glob::matches(&pattern, spec.name.as_bytes()))
                .map(name)
                .collect()
        }
        _ => return SYNTAX,
    })
}
