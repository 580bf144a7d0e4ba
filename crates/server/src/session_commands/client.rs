//! CLIENT: what a client says about itself, and what others may see of it and do to it.

mod kill;
mod list;

use commands::{Categories, Flags, Reply, Spec};

use super::argument::{SYNTAX, bulk, is, on_off, refusal, shown};
use super::{HELP, SessionCommand, help, run_subcommand, specs};
use crate::server::CoreServer;
use crate::session::{Session, Silence};

const NAME_REFUSED: Reply<'static> =
    refusal("ERR Client names cannot contain spaces, newlines or special characters.");
const NAME_TOO_LONG: Reply<'static> = refusal("ERR Client names have at most 1024 bytes.");

const SUBCOMMAND: Spec = Spec {
    arity: 2,
    flags: Flags::NOSCRIPT.with(Flags::LOADING).with(Flags::STALE),
    categories: Categories::CONNECTION,
    group: "connection",
    complexity: "O(1)",
    ..Spec::EMPTY
};

const ADMINISTRATION: Flags = SUBCOMMAND.flags.with(Flags::ADMIN);

pub(super) const COMMANDS: &[SessionCommand] = &[SessionCommand {
    spec: Spec {
        name: "client",
        arity: -2,
        group: "connection",
        since: "2.4.0",
        summary: "Tells about clients and what they say about themselves.",
        complexity: "Depends on the subcommand",
        subcommands: &specs::<{ SUBCOMMANDS.len() }>(SUBCOMMANDS),
        ..Spec::EMPTY
    },
    run: |session, args, server| run_subcommand(SUBCOMMANDS, session, args, server),
}];

const SUBCOMMANDS: &[SessionCommand] = &[
    SessionCommand {
        spec: Spec {
            name: "client|getname",
            since: "2.6.9",
            summary: "Tells the name of this connection.",
            ..SUBCOMMAND
        },
        run: get_name,
    },
    SessionCommand {
        spec: Spec {
            name: "client|help",
            categories: Categories::CONNECTION,
            group: "connection",
            ..HELP
        },
        run: help,
    },
    SessionCommand {
        spec: Spec {
            name: "client|id",
            since: "5.0.0",
            summary: "Tells the number of this connection.",
            ..SUBCOMMAND
        },
        run: id,
    },
    SessionCommand {
        spec: Spec {
            name: "client|info",
            since: "6.2.0",
            summary: "Tells about this connection.",
            tips: &["nondeterministic_output"],
            ..SUBCOMMAND
        },
        run: list::info,
    },
    SessionCommand {
        spec: Spec {
            name: "client|kill",
            arity: -3,
            flags: ADMINISTRATION,
            since: "2.4.0",
            summary: "Ends connections: that from an address, or all that pass each filter.",
            complexity: "O(N), N being the number of connections",
            syntax: "address | [ID id] [ADDR address] [LADDR address] [TYPE type] [USER user] \
                     [MAXAGE seconds] [SKIPME yes/no]",
            ..SUBCOMMAND
        },
        run: kill::kill,
    },
    SessionCommand {
        spec: Spec {
            name: "client|list",
            arity: -2,
            flags: ADMINISTRATION,
            since: "2.4.0",
            summary: "Tells about all connections, or those of a type or with these numbers.",
            complexity: "O(N), N being the number of connections",
            syntax: "[TYPE type | ID id [id ...]]",
            tips: &["nondeterministic_output"],
            ..SUBCOMMAND
        },
        run: list::list,
    },
    SessionCommand {
        spec: Spec {
            name: "client|no-evict",
            arity: 3,
            flags: ADMINISTRATION,
            since: "7.0.0",
            summary: "Notes that this connection is to be spared. None is ever evicted.",
            syntax: "ON | OFF",
            ..SUBCOMMAND
        },
        run: no_evict,
    },
    SessionCommand {
        spec: Spec {
            name: "client|no-touch",
            arity: 3,
            since: "7.2.0",
            summary: "Notes that reads of this connection are not to count as uses of a key.",
            syntax: "ON | OFF",
            ..SUBCOMMAND
        },
        run: no_touch,
    },
    SessionCommand {
        spec: Spec {
            name: "client|reply",
            arity: 3,
            since: "3.2.0",
            summary: "Turns replies on or off, or leaves out the next one.",
            syntax: "ON | OFF | SKIP",
            ..SUBCOMMAND
        },
        run: reply,
    },
    SessionCommand {
        spec: Spec {
            name: "client|setinfo",
            arity: 4,
            since: "7.2.0",
            summary: "Notes the library that the client uses, or its version.",
            syntax: "LIB-NAME name | LIB-VER version",
            tips: &["request_policy:all_nodes", "response_policy:all_succeeded"],
            ..SUBCOMMAND
        },
        run: set_info,
    },
    SessionCommand {
        spec: Spec {
            name: "client|setname",
            arity: 3,
            since: "2.6.9",
            summary: "Names this connection.",
            syntax: "name",
            ..SUBCOMMAND
        },
        run: set_name,
    },
];

/// The most bytes of what a client says about itself; all of it is kept for as long as the connection.
const WORD_BYTES: usize = 1024;

/// The refusal of a name that a client may not have.
pub(super) fn name_refusal(name: &[u8]) -> Option<Reply<'static>> {
    if name.len() > WORD_BYTES {
        return Some(NAME_TOO_LONG);
    }
    (!is_plain(name)).then_some(NAME_REFUSED)
}

/// Whether a word is fit for `CLIENT LIST`: nothing but visible ASCII.
fn is_plain(word: &[u8]) -> bool {
    word.iter().all(u8::is_ascii_graphic)
}

fn id(session: &mut Session, _: &[&[u8]], _: &CoreServer) -> Reply<'static> {
    Reply::Integer(i64::try_from(session.client().id()).expect("no node sees 2^63 clients"))
}

fn get_name(session: &mut Session, _: &[&[u8]], _: &CoreServer) -> Reply<'static> {
    let client = session.client();
    let described = client.described();
    if described.name.is_empty() {
        Reply::Null
    } else {
        bulk(described.name.as_str())
    }
}

fn set_name(session: &mut Session, args: &[&[u8]], _: &CoreServer) -> Reply<'static> {
    if let Some(refusal) = name_refusal(args[2]) {
        return refusal;
    }
    session.client().described().name = shown(args[2]).into_owned();
    Reply::Ok
}

fn set_info(session: &mut Session, args: &[&[u8]], _: &CoreServer) -> Reply<'static> {
    let (attribute, value) = (args[2], args[3]);
    let client = session.client();
    let mut described = client.described();
    let noted = match attribute {
        _ if is(attribute, "lib-name") => &mut described.library_name,
        _ if is(attribute, "lib-ver") => &mut described.library_version,
        _ => {
            return Reply::error(format_args!(
                "ERR Unrecognized option '{}'",
                shown(attribute)
            ));
        }
    };
    if value.len() > WORD_BYTES {
        return Reply::error(format_args!(
            "ERR {} has at most {WORD_BYTES} bytes.",
            shown(attribute)
        ));
    }
    if !is_plain(value) {
        return Reply::error(format_args!(
            "ERR {} cannot contain spaces, newlines or special characters.",
            shown(attribute)
        ));
    }
    *noted = shown(value).into_owned();
    Reply::Ok
}

fn no_evict(session: &mut Session, args: &[&[u8]], _: &CoreServer) -> Reply<'static> {
    match on_off(args[2]) {
        Ok(on) => session.client().described().no_evict = on,
        Err(refusal) => return refusal,
    }
    Reply::Ok
}

fn no_touch(session: &mut Session, args: &[&[u8]], _: &CoreServer) -> Reply<'static> {
    match on_off(args[2]) {
        Ok(on) => session.client().described().no_touch = on,
        Err(refusal) => return refusal,
    }
    Reply::Ok
}

/// What this decides holds for its own reply as well.
fn reply(session: &mut Session, args: &[&[u8]], _: &CoreServer) -> Reply<'static> {
    match args[2] {
        mode if is(mode, "on") => session.silence(Silence::None),
        mode if is(mode, "off") => session.silence(Silence::All),
        mode if is(mode, "skip") => session.silence(Silence::Next),
        _ => return SYNTAX,
    }
    Reply::Ok
}
