//! PICCOLO: what an administrator asks of the cluster. It is carried out by the owner of the node.

use commands::{Categories, Flags, Reply, Spec};

use super::argument::{SYNTAX, is, refusal};
use super::{HELP, SessionCommand, help, run_subcommand, specs};
use crate::admin::AdminRequest;
use crate::server::CoreServer;
use crate::session::{Asked, Session};

const SUBCOMMAND: Spec = Spec {
    arity: 2,
    flags: Flags::ADMIN
        .with(Flags::NOSCRIPT)
        .with(Flags::LOADING)
        .with(Flags::STALE),
    categories: Categories::DANGEROUS,
    group: "server",
    since: "7.2.0",
    complexity: "O(N), N being the number of nodes and shards",
    ..Spec::EMPTY
};

pub(super) const COMMANDS: &[SessionCommand] = &[SessionCommand {
    spec: Spec {
        name: "piccolo",
        arity: -2,
        group: "server",
        since: "7.2.0",
        summary: "Tells how the cluster stands, and changes it.",
        complexity: "Depends on the subcommand",
        subcommands: &specs::<{ SUBCOMMANDS.len() }>(SUBCOMMANDS),
        ..Spec::EMPTY
    },
    run: |session, args, server| run_subcommand(SUBCOMMANDS, session, args, server),
}];

const SUBCOMMANDS: &[SessionCommand] = &[
    SessionCommand {
        spec: Spec {
            name: "piccolo|help",
            group: "server",
            ..HELP
        },
        run: help,
    },
    SessionCommand {
        spec: Spec {
            name: "piccolo|node",
            arity: 4,
            summary: "Moves everything off a node and removes it, or moves its leaders off, or ends that.",
            syntax: "REMOVE node | DRAIN node | UNDRAIN node",
            ..SUBCOMMAND
        },
        run: node,
    },
    SessionCommand {
        spec: Spec {
            name: "piccolo|shard",
            arity: -5,
            summary: "Moves a replica of a shard from node to node, or has a node lead it.",
            syntax: "MOVE shard from-node to-node | LEAD shard node",
            ..SUBCOMMAND
        },
        run: shard,
    },
    SessionCommand {
        spec: Spec {
            name: "piccolo|status",
            summary: "Tells how nodes and shards stand, in JSON.",
            ..SUBCOMMAND
        },
        run: |session, _, _| ask(session, AdminRequest::Status),
    },
];

/// The answer is that of the owner; this reply is not shown.
fn ask(session: &mut Session, request: AdminRequest) -> Reply<'static> {
    session.asked = Some(Asked::Admin(request));
    Reply::Ok
}

fn node(session: &mut Session, args: &[&[u8]], _: &CoreServer) -> Reply<'static> {
    let request = match args[2] {
        word if is(word, "remove") => AdminRequest::NodeRemove,
        word if is(word, "drain") => AdminRequest::NodeDrain,
        word if is(word, "undrain") => AdminRequest::NodeUndrain,
        _ => return SYNTAX,
    };
    match name(args[3]) {
        Ok(name) => ask(session, request(name)),
        Err(refusal) => refusal,
    }
}

fn shard(session: &mut Session, args: &[&[u8]], _: &CoreServer) -> Reply<'static> {
    let request = || match args[2..] {
        [word, shard, from, to] if is(word, "move") => Ok(AdminRequest::ShardMove {
            shard: number(shard)?,
            from: name(from)?,
            to: name(to)?,
        }),
        [word, shard, node] if is(word, "lead") => Ok(AdminRequest::ShardLead {
            shard: number(shard)?,
            node: name(node)?,
        }),
        _ => Err(SYNTAX),
    };
    match request() {
        Ok(request) => ask(session, request),
        Err(refusal) => refusal,
    }
}

/// The name or the id of a node.
fn name(arg: &[u8]) -> Result<String, Reply<'static>> {
    const MOST_BYTES: usize = 1024;
    std::str::from_utf8(arg)
        .ok()
        .filter(|name| !name.is_empty() && name.len() <= MOST_BYTES)
        .map(str::to_owned)
        .ok_or(refusal("ERR a node is told by its name or its id"))
}

/// The number of a shard.
fn number(arg: &[u8]) -> Result<u32, Reply<'static>> {
    std::str::from_utf8(arg)
        .ok()
        .and_then(|number| number.parse().ok())
        .ok_or(refusal("ERR a shard is told by its number, from 0 on"))
}
