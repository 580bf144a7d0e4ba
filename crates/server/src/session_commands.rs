//! Commands of the connection and of the node: those that no keyspace answers.

mod argument;
mod authentication;
mod client;

mod command;
mod config;
mod connection;
mod info;
mod node;
mod piccolo;
mod pubsub;
mod replicas;
#[cfg(test)]
mod tests;
mod transactions;

use std::collections::BTreeMap;
use std::sync::LazyLock;

use commands::{Flags, Reply, Spec};

use crate::server::CoreServer;
use crate::session::Session;

pub(crate) use connection::selected;

/// The version of Redis whose behaviour clients may count on; they decide by it what to use.
pub(crate) const REDIS_VERSION: &str = "7.2.5";

/// What runs a command: a call that [`Spec::check`] has accepted.
type Run = fn(&mut Session, &[&[u8]], &CoreServer) -> Reply<'static>;

/// A command, or a subcommand, that the session answers itself. Adding one touches the file of its
/// subject alone.
#[derive(Clone, Copy)]
pub(crate) struct SessionCommand {
    /// What `COMMAND` and the documentation tell. `no_auth` among its flags lets a client that has
    /// yet to show its password use it.
    pub(crate) spec: Spec,
    /// Runs it.
    pub(crate) run: Run,
}

/// All of them, by subject.
const SUBJECTS: &[&[SessionCommand]] = &[
    connection::COMMANDS,
    authentication::COMMANDS,
    client::COMMANDS,
    info::COMMANDS,
    config::COMMANDS,
    command::COMMANDS,
    node::COMMANDS,
    replicas::COMMANDS,
    transactions::COMMANDS,
    piccolo::COMMANDS,
    pubsub::COMMANDS,
];

/// The command of that name, in any case.
pub(crate) fn by_name(name: &[u8]) -> Option<&'static SessionCommand> {
    all().find(|command| command.spec.name.as_bytes().eq_ignore_ascii_case(name))
}

/// Every session command.
pub(crate) fn all() -> impl Iterator<Item = &'static SessionCommand> {
    SUBJECTS.iter().copied().flatten()
}

/// Whether that command publishes something.
pub(crate) fn publishes(name: &[u8]) -> bool {
    [&b"publish"[..], b"spublish"]
        .iter()
        .any(|word| name.eq_ignore_ascii_case(word))
}

/// Whether this is the first line or a header of an HTTP request. A web page can make a browser send
/// such to this port, with commands in what follows.
pub(crate) fn is_http(name: &[u8]) -> bool {
    [&b"post"[..], b"host:"]
        .iter()
        .any(|word| name.eq_ignore_ascii_case(word))
}

/// The records of what a container holds, for [`Spec::subcommands`].
const fn specs<const COUNT: usize>(subcommands: &[SessionCommand]) -> [Spec; COUNT] {
    assert!(subcommands.len() == COUNT);
    let mut specs = [Spec::EMPTY; COUNT];
    let mut index = 0;
    while index < COUNT {
        specs[index] = subcommands[index].spec;
        index += 1;
    }
    specs
}

/// Runs the one of `subcommands` that a call of their container names.
fn run_subcommand(
    subcommands: &[SessionCommand],
    session: &mut Session,
    args: &[&[u8]],
    server: &CoreServer,
) -> Reply<'static> {
    let named = |command: &&SessionCommand| {
        let (_, name) = command.spec.name.split_once('|').unwrap_or_default();
        name.as_bytes().eq_ignore_ascii_case(args[1])
    };
    let command = subcommands
        .iter()
        .find(named)
        .expect("`Spec::check` lets no other subcommand pass");
    (command.run)(session, args, server)
}

/// The record of a container's `HELP`; name, group and version are to be added.
const HELP: Spec = Spec {
    arity: 2,
    flags: Flags::LOADING.with(Flags::STALE),
    since: "5.0.0",
    summary: "Lists the subcommands.",
    complexity: "O(1)",
    ..Spec::EMPTY
};

/// `HELP` of any container: its subcommands with their arguments and what they do.
fn help(_: &mut Session, args: &[&[u8]], _: &CoreServer) -> Reply<'static> {
    static LINES: LazyLock<BTreeMap<&str, Vec<String>>> = LazyLock::new(|| {
        let containers = all().filter(|command| !command.spec.subcommands.is_empty());
        containers
            .map(|command| (command.spec.name, help_lines(&command.spec)))
            .collect()
    });
    let container = by_name(args[0]).expect("it was just found by this name");
    let lines = &LINES[container.spec.name];
    Reply::Array(lines.iter().map(|line| Reply::Simple(line)).collect())
}

fn help_lines(container: &Spec) -> Vec<String> {
    let mut lines = vec![format!(
        "{} <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
        container.name.to_uppercase()
    )];
    for spec in container.subcommands {
        let (_, name) = spec.name.split_once('|').unwrap_or_default();
        let call = format!("{} {}", name.to_uppercase(), spec.syntax);
        lines.push(call.trim_end().to_owned());
        lines.push(format!("    {}", spec.summary));
    }
    lines
}
