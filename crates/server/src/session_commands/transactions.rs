//! MULTI, EXEC, DISCARD, WATCH and UNWATCH. After MULTI, the session takes commands in another way
//! ([`Session::take_in_transaction`](crate::session)); here is what is left for them outside of it.

use commands::{Categories, Flags, KeyFlags, KeySpec, Reply, Spec};

use super::SessionCommand;
use super::argument::refusal;
use crate::server::CoreServer;
use crate::session::Session;

const TRANSACTION: Spec = Spec {
    arity: 1,
    flags: Flags::NOSCRIPT
        .with(Flags::LOADING)
        .with(Flags::STALE)
        .with(Flags::FAST)
        .with(Flags::ALLOW_BUSY),
    categories: Categories::TRANSACTION,
    group: "transactions",
    since: "2.2.0",
    complexity: "O(1)",
    ..Spec::EMPTY
};

pub(super) const COMMANDS: &[SessionCommand] = &[
    SessionCommand {
        spec: Spec {
            name: "multi",
            since: "1.2.0",
            summary: "Begins a transaction: what follows is queued until EXEC.",
            ..TRANSACTION
        },
        // The session takes it itself.
        run: |_, _, _| Reply::Ok,
    },
    SessionCommand {
        spec: Spec {
            name: "exec",
            flags: Flags::NOSCRIPT
                .with(Flags::LOADING)
                .with(Flags::STALE)
                .with(Flags::SKIP_SLOWLOG),
            since: "1.2.0",
            summary: "Runs what was queued, all or nothing.",
            complexity: "Depends on what was queued",
            ..TRANSACTION
        },
        run: |_, _, _| refusal("ERR EXEC without MULTI"),
    },
    SessionCommand {
        spec: Spec {
            name: "discard",
            since: "2.0.0",
            summary: "Ends a transaction without running what was queued.",
            complexity: "O(N), N being the number of queued commands",
            ..TRANSACTION
        },
        run: |session, _, _| {
            if session.in_transaction() {
                session.discard();
                Reply::Ok
            } else {
                refusal("ERR DISCARD without MULTI")
            }
        },
    },
    SessionCommand {
        spec: Spec {
            name: "watch",
            arity: -2,
            keys: &[KeySpec::range(1, -1, 1, KeyFlags::RO)],
            summary: "Has the next EXEC run nothing if one of the keys changes before it.",
            complexity: "O(1) for each key",
            syntax: "key [key ...]",
            ..TRANSACTION
        },
        run: watch,
    },
    SessionCommand {
        spec: Spec {
            name: "unwatch",
            summary: "Watches no key any more.",
            ..TRANSACTION
        },
        run: |session, _, _| {
            session.unwatch();
            Reply::Ok
        },
    },
];

/// How the keys stand is asked of their shard; until then there is no reply.
fn watch(session: &mut Session, args: &[&[u8]], server: &CoreServer) -> Reply<'static> {
    match session.begin_watching(args, server) {
        Ok(()) => Reply::Ok,
        Err(refusal) => refusal,
    }
}
