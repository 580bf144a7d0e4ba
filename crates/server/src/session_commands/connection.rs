//! Commands about the connection itself: PING, ECHO, SELECT, QUIT, RESET.

use base::Db;
use commands::{Categories, Flags, Reply, Spec};

use super::SessionCommand;
use super::argument::{NOT_AN_INTEGER, bulk, parse_integer, refusal};
use crate::server::CoreServer;
use crate::session::Session;

const CONNECTION: Spec = Spec {
    categories: Categories::CONNECTION,
    group: "connection",
    since: "1.0.0",
    complexity: "O(1)",
    ..Spec::EMPTY
};

/// What may be said before the password.
const UNGUARDED: Flags = Flags::NOSCRIPT
    .with(Flags::LOADING)
    .with(Flags::STALE)
    .with(Flags::FAST)
    .with(Flags::NO_AUTH)
    .with(Flags::ALLOW_BUSY);

pub(super) const COMMANDS: &[SessionCommand] = &[
    SessionCommand {
        spec: Spec {
            name: "ping",
            arity: -1,
            flags: Flags::FAST,
            summary: "Answers PONG, or what it was given.",
            syntax: "[message]",
            tips: &["request_policy:all_shards", "response_policy:all_succeeded"],
            ..CONNECTION
        },
        run: ping,
    },
    SessionCommand {
        spec: Spec {
            name: "echo",
            arity: 2,
            flags: Flags::LOADING.with(Flags::STALE).with(Flags::FAST),
            summary: "Answers what it was given.",
            syntax: "message",
            ..CONNECTION
        },
        run: echo,
    },
    SessionCommand {
        spec: Spec {
            name: "select",
            arity: 2,
            flags: Flags::LOADING.with(Flags::STALE).with(Flags::FAST),
            summary: "Chooses the database for what follows on this connection.",
            syntax: "index",
            ..CONNECTION
        },
        run: select,
    },
    SessionCommand {
        spec: Spec {
            name: "quit",
            arity: -1,
            flags: UNGUARDED,
            summary: "Ends the connection.",
            ..CONNECTION
        },
        run: quit,
    },
    SessionCommand {
        spec: Spec {
            name: "reset",
            arity: 1,
            flags: UNGUARDED,
            since: "6.2.0",
            summary: "Brings the connection back to the state of a new one.",
            ..CONNECTION
        },
        run: reset,
    },
];

fn ping(session: &mut Session, args: &[&[u8]], _: &CoreServer) -> Reply<'static> {
    match args {
        // What a subscriber gets in RESP2 looks like a message.
        [_, rest @ ..] if session.listens_only() && rest.len() < 2 => {
            let message = rest.first().copied().unwrap_or_default();
            Reply::Array(vec![bulk(*b"pong"), bulk(message)])
        }
        [_] => Reply::Simple("PONG"),
        [_, message] => bulk(*message),
        _ => refusal("ERR wrong number of arguments for 'ping' command"),
    }
}

fn echo(_: &mut Session, args: &[&[u8]], _: &CoreServer) -> Reply<'static> {
    bulk(args[1])
}

fn select(session: &mut Session, args: &[&[u8]], _: &CoreServer) -> Reply<'static> {
    match selected(args[1]) {
        Ok(db) => {
            session.db = db;
            Reply::Ok
        }
        Err(refusal) => refusal,
    }
}

/// The database that SELECT with that argument chooses.
///
/// # Errors
/// Its refusal.
pub(crate) fn selected(arg: &[u8]) -> Result<Db, Reply<'static>> {
    let number = parse_integer(arg).ok_or(NOT_AN_INTEGER)?;
    if i32::try_from(number).is_err() {
        return Err(refusal(
            "ERR value is out of range, value must between -2147483648 and 2147483647",
        ));
    }
    match u8::try_from(number).map(Db::new) {
        Ok(Ok(db)) => Ok(db),
        _ => Err(refusal("ERR DB index is out of range")),
    }
}

fn quit(session: &mut Session, _: &[&[u8]], _: &CoreServer) -> Reply<'static> {
    session.closing = Some("the client quit");
    Reply::Ok
}

fn reset(session: &mut Session, _: &[&[u8]], _: &CoreServer) -> Reply<'static> {
    session.reset();
    Reply::Simple("RESET")
}
