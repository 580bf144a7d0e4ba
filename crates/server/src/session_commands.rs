//! Commands of the connection and of the node: those that no keyspace answers.

mod connection;

use commands::{Reply, Spec};

use crate::server::CoreServer;
use crate::session::Session;

/// A command that the session answers itself. Adding one touches the file of its subject alone.
pub(crate) struct SessionCommand {
    /// What `COMMAND` and the documentation tell.
    pub(crate) spec: Spec,
    /// Whether a client that has yet to show its password may use it.
    pub(crate) before_authentication: bool,
    /// Runs it; the number of arguments is right.
    pub(crate) run: fn(&mut Session, &[&[u8]], &CoreServer) -> Reply<'static>,
}

/// All of them, by subject.
pub(crate) const SUBJECTS: &[&[SessionCommand]] = &[connection::COMMANDS];

/// The command of that name, in any case.
pub(crate) fn by_name(name: &[u8]) -> Option<&'static SessionCommand> {
    all().find(|command| command.spec.name.as_bytes().eq_ignore_ascii_case(name))
}

/// Every session command.
pub(crate) fn all() -> impl Iterator<Item = &'static SessionCommand> {
    SUBJECTS.iter().copied().flatten()
}
