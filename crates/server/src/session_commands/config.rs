//! CONFIG: the settings of the node under Redis's names.

pub(super) mod parameters;

use commands::{Flags, Reply, Spec, glob};

use super::argument::{SYNTAX, bulk, refusal, shown};
use super::{HELP, SessionCommand, help, run_subcommand, specs};
use crate::server::CoreServer;
use crate::session::Session;

use parameters::{PARAMETERS, Parameter, Set};

const SUBCOMMAND: Spec = Spec {
    flags: Flags::ADMIN
        .with(Flags::NOSCRIPT)
        .with(Flags::LOADING)
        .with(Flags::STALE),
    group: "server",
    since: "2.0.0",
    ..Spec::EMPTY
};

pub(super) const COMMANDS: &[SessionCommand] = &[SessionCommand {
    spec: Spec {
        name: "config",
        arity: -2,
        group: "server",
        since: "2.0.0",
        summary: "Tells and changes settings of this node.",
        complexity: "Depends on the subcommand",
        subcommands: &specs::<{ SUBCOMMANDS.len() }>(SUBCOMMANDS),
        ..Spec::EMPTY
    },
    run: |session, args, server| run_subcommand(SUBCOMMANDS, session, args, server),
}];

const SUBCOMMANDS: &[SessionCommand] = &[
    SessionCommand {
        spec: Spec {
            name: "config|get",
            arity: -3,
            summary: "Tells the settings whose names match any of the patterns.",
            complexity: "O(N), N being the number of settings",
            syntax: "parameter [parameter ...]",
            ..SUBCOMMAND
        },
        run: get,
    },
    SessionCommand {
        spec: Spec {
            name: "config|help",
            group: "server",
            ..HELP
        },
        run: help,
    },
    SessionCommand {
        spec: Spec {
            name: "config|resetstat",
            arity: 2,
            summary: "Sets the counters of INFO to zero.",
            complexity: "O(1)",
            ..SUBCOMMAND
        },
        run: reset_stat,
    },
    SessionCommand {
        spec: Spec {
            name: "config|rewrite",
            arity: 2,
            since: "2.8.0",
            summary: "Is refused: a node never changes its configuration file.",
            complexity: "O(1)",
            ..SUBCOMMAND
        },
        run: rewrite,
    },
    SessionCommand {
        spec: Spec {
            name: "config|set",
            arity: -4,
            summary: "Changes settings, all of them or none, until the node stops.",
            complexity: "O(N), N being the number of settings given",
            syntax: "parameter value [parameter value ...]",
            tips: &["request_policy:all_nodes", "response_policy:all_succeeded"],
            ..SUBCOMMAND
        },
        run: set,
    },
];

fn parameter(name: &[u8]) -> Option<&'static Parameter> {
    PARAMETERS
        .iter()
        .find(|parameter| parameter.name.as_bytes().eq_ignore_ascii_case(name))
}

fn get(session: &mut Session, args: &[&[u8]], _: &CoreServer) -> Reply<'static> {
    let mut found: Vec<(Vec<u8>, &Parameter)> = Vec::new();
    let mut add = |name: &[u8], parameter: &'static Parameter| {
        if found.iter().all(|(_, there)| there.name != parameter.name) {
            found.push((name.to_vec(), parameter));
        }
    };
    for pattern in &args[2..] {
        if pattern.iter().any(|byte| b"*?[".contains(byte)) {
            let pattern = pattern.to_ascii_lowercase();
            PARAMETERS
                .iter()
                .filter(|parameter| glob::matches(&pattern, parameter.name.as_bytes()))
                .for_each(|parameter| add(parameter.name.as_bytes(), parameter));
        } else if let Some(parameter) = parameter(pattern) {
            // A name without wildcards comes back as it was written.
            add(pattern, parameter);
        }
    }
    let pairs = found.into_iter().map(|(name, parameter)| {
        let value = (parameter.get)(&session.shared);
        (bulk(name), bulk(value))
    });
    Reply::Map(pairs.collect())
}

fn set(session: &mut Session, args: &[&[u8]], _: &CoreServer) -> Reply<'static> {
    let (pairs, []) = args[2..].as_chunks::<2>() else {
        return SYNTAX;
    };
    let mut changes: Vec<(&Parameter, &[u8])> = Vec::new();
    for &[name, value] in pairs {
        let Some(parameter) = parameter(name) else {
            return Reply::error(format_args!(
                "ERR Unknown option or number of arguments for CONFIG SET - '{}'",
                shown(name)
            ));
        };
        let refused = if changes
            .iter()
            .any(|(there, _)| there.name == parameter.name)
        {
            Some("duplicate parameter".into())
        } else {
            match parameter.set {
                Set::Now { check, .. } => check(value).err(),
                Set::AtStart(key) => parameter.differs(&session.shared, value).then(|| {
                    format!(
                        "it takes effect at the start of a node, and its place is {key} in the \
                             configuration"
                    )
                }),
                Set::Never(why) => parameter
                    .differs(&session.shared, value)
                    .then(|| why.to_owned()),
            }
        };
        if let Some(why) = refused {
            return Reply::error(format_args!(
                "ERR CONFIG SET failed (possibly related to argument '{}') - {why}",
                parameter.name
            ));
        }
        changes.push((parameter, value));
    }
    for (parameter, value) in changes {
        if let Set::Now { apply, .. } = parameter.set {
            apply(&session.shared, value);
            tracing::info!(parameter = parameter.name, "a client changed a setting");
        }
    }
    Reply::Ok
}

fn reset_stat(session: &mut Session, _: &[&[u8]], _: &CoreServer) -> Reply<'static> {
    session.shared.reset_stats();
    Reply::Ok
}

fn rewrite(_: &mut Session, _: &[&[u8]], _: &CoreServer) -> Reply<'static> {
    refusal(
        "ERR CONFIG REWRITE is not supported: the configuration file belongs to the operator, and a \
         node never changes it. Write what is to last into it",
    )
}
