//! Commands that Redis has for replication: READONLY, READWRITE, WAIT.

use commands::{Categories, Flags, Reply, Spec};

use super::SessionCommand;
use super::argument::{NOT_AN_INTEGER, parse_integer, refusal};
use crate::server::CoreServer;
use crate::session::Session;

const MODE: Spec = Spec {
    arity: 1,
    flags: Flags::LOADING.with(Flags::STALE).with(Flags::FAST),
    categories: Categories::CONNECTION,
    group: "cluster",
    since: "3.0.0",
    complexity: "O(1)",
    ..Spec::EMPTY
};

pub(super) const COMMANDS: &[SessionCommand] = &[
    SessionCommand {
        spec: Spec {
            name: "readonly",
            summary: "Lets reads of this connection be served by any replica; they may miss the latest \
                      writes.",
            ..MODE
        },
        run: |session, _, _| {
            session.stale = true;
            Reply::Ok
        },
    },
    SessionCommand {
        spec: Spec {
            name: "readwrite",
            summary: "Has reads of this connection see the latest writes again.",
            ..MODE
        },
        run: |session, _, _| {
            session.stale = false;
            Reply::Ok
        },
    },
    SessionCommand {
        spec: Spec {
            name: "wait",
            arity: 3,
            flags: Flags::BLOCKING,
            categories: Categories::CONNECTION,
            group: "generic",
            since: "3.0.0",
            summary: "Tells how many other nodes hold what this connection has written, at once.",
            complexity: "O(1)",
            syntax: "numreplicas timeout",
            tips: &["request_policy:all_shards", "response_policy:agg_min"],
            ..Spec::EMPTY
        },
        run: wait,
    },
];

/// A write is answered once a majority of the voters hold it, the leader among them. So there is nothing to
/// wait for, and what is told is what is certain: that more of them have it by now may well be.
fn wait(_: &mut Session, args: &[&[u8]], server: &CoreServer) -> Reply<'static> {
    let (Some(_), Some(timeout)) = (parse_integer(args[1]), parse_integer(args[2])) else {
        return NOT_AN_INTEGER;
    };
    if timeout < 0 {
        return refusal("ERR timeout is negative");
    }
    (server.shared().cluster().voters / 2).into()
}
