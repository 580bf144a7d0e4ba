//! Commands about the connection itself.

use std::borrow::Cow;

use commands::{Categories, Flags, Reply, Spec};

use super::SessionCommand;
use crate::server::CoreServer;
use crate::session::Session;

pub(crate) const COMMANDS: &[SessionCommand] = &[SessionCommand {
    spec: Spec {
        name: "ping",
        arity: -1,
        flags: Flags::FAST,
        categories: Categories::CONNECTION,
        group: "connection",
        since: "1.0.0",
        summary: "Answers PONG, or what it was given.",
        complexity: "O(1)",
        syntax: "[message]",
        ..Spec::EMPTY
    },
    before_authentication: false,
    run: ping,
}];

fn ping(_: &mut Session, args: &[&[u8]], _: &CoreServer) -> Reply<'static> {
    match args {
        [_] => Reply::Simple("PONG"),
        [_, message] => Reply::Bulk(Cow::Owned(message.to_vec())),
        _ => Reply::error("ERR wrong number of arguments for 'ping' command"),
    }
}
