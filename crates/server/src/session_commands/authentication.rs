//! HELLO, AUTH and ACL WHOAMI. There is one user, `default`.

use commands::{Categories, Flags, Reply, Spec};
use resp::Protocol;
use subtle::ConstantTimeEq;

use super::argument::{SYNTAX, is, parse_integer, refusal, shown, word};
use super::client::name_refusal;
use super::{REDIS_VERSION, SessionCommand, run_subcommand, specs};
use crate::server::CoreServer;
use crate::session::Session;

/// The name of the only user.
pub(super) const USER: &str = "default";

const WRONG_PASSWORD: Reply<'static> =
    refusal("WRONGPASS invalid username-password pair or user is disabled.");

const HANDSHAKE: Spec = Spec {
    flags: Flags::NOSCRIPT
        .with(Flags::LOADING)
        .with(Flags::STALE)
        .with(Flags::FAST)
        .with(Flags::NO_AUTH)
        .with(Flags::ALLOW_BUSY),
    categories: Categories::CONNECTION,
    group: "connection",
    ..Spec::EMPTY
};

pub(super) const COMMANDS: &[SessionCommand] = &[
    SessionCommand {
        spec: Spec {
            name: "hello",
            arity: -1,
            since: "6.0.0",
            summary: "Chooses the protocol version, and may authenticate and name the client.",
            complexity: "O(1)",
            syntax: "[protover [AUTH username password] [SETNAME clientname]]",
            ..HANDSHAKE
        },
        run: hello,
    },
    SessionCommand {
        spec: Spec {
            name: "auth",
            arity: -2,
            since: "1.0.0",
            summary: "Shows the password.",
            complexity: "O(N), N being the length of the password",
            syntax: "[username] password",
            ..HANDSHAKE
        },
        run: auth,
    },
    SessionCommand {
        spec: Spec {
            name: "acl",
            arity: -2,
            group: "server",
            since: "6.0.0",
            summary: "Tells about users.",
            complexity: "Depends on the subcommand",
            subcommands: &specs::<{ ACL.len() }>(ACL),
            ..Spec::EMPTY
        },
        run: |session, args, server| run_subcommand(ACL, session, args, server),
    },
];

const ACL: &[SessionCommand] = &[SessionCommand {
    spec: Spec {
        name: "acl|whoami",
        arity: 2,
        flags: Flags::NOSCRIPT.with(Flags::LOADING).with(Flags::STALE),
        group: "server",
        since: "6.0.0",
        summary: "Tells the user of this connection.",
        complexity: "O(1)",
        ..Spec::EMPTY
    },
    run: |_, _, _| word(USER),
}];

fn hello(session: &mut Session, args: &[&[u8]], _: &CoreServer) -> Reply<'static> {
    let mut protocol = session.protocol;
    let mut options = args.get(2..).unwrap_or_default();
    if let Some(version) = args.get(1) {
        protocol = match parse_integer(version) {
            Some(2) => Protocol::Resp2,
            Some(3) => Protocol::Resp3,
            Some(_) => return refusal("NOPROTO unsupported protocol version"),
            None => return refusal("ERR Protocol version is not an integer or out of range"),
        };
    }
    let mut credentials = None;
    let mut name = None;
    // All options are looked at before any takes effect.
    loop {
        options = match options {
            [] => break,
            [option, user, password, rest @ ..] if is(option, "auth") => {
                credentials = Some((*user, *password));
                rest
            }
            [option, value, rest @ ..] if is(option, "setname") => {
                if let Some(refusal) = name_refusal(value) {
                    return refusal;
                }
                name = Some(*value);
                rest
            }
            [option, ..] => {
                return Reply::error(format_args!(
                    "ERR Syntax error in HELLO option '{}'",
                    shown(option)
                ));
            }
        };
    }
    if let Some((user, password)) = credentials
        && !authenticate(session, user, password)
    {
        return WRONG_PASSWORD;
    }
    if !session.is_authenticated() {
        return refusal(
            "NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO \
             AUTH <user> <pass> option can be used to authenticate the client and select the RESP \
             protocol version at the same time",
        );
    }
    if let Some(name) = name {
        session.client().described().name = shown(name).into_owned();
    }
    session.set_protocol(protocol);
    let version = match protocol {
        Protocol::Resp2 => 2,
        Protocol::Resp3 => 3,
    };
    let id = i64::try_from(session.client().id()).expect("no node sees 2^63 clients");
    Reply::Map(vec![
        (word("server"), word("redis")),
        (word("version"), word(REDIS_VERSION)),
        (word("proto"), Reply::Integer(version)),
        (word("id"), Reply::Integer(id)),
        (word("mode"), word("standalone")),
        (word("role"), word("master")),
        (word("modules"), Reply::Array(Vec::new())),
    ])
}

fn auth(session: &mut Session, args: &[&[u8]], _: &CoreServer) -> Reply<'static> {
    let (user, password) = match args {
        [_, _] if !session.shared.needs_password() => {
            return refusal(
                "ERR AUTH <password> called without any password configured for the default user. \
                 Are you sure your configuration is correct?",
            );
        }
        [_, password] => (USER.as_bytes(), *password),
        [_, user, password] => (*user, *password),
        _ => return SYNTAX,
    };
    if authenticate(session, user, password) {
        Reply::Ok
    } else {
        WRONG_PASSWORD
    }
}

/// Whether user and password are right; then the session is authenticated. A failure takes nothing
/// from a session that was authenticated before.
fn authenticate(session: &mut Session, user: &[u8], password: &[u8]) -> bool {
    let right = match session.shared.password() {
        // The time that this takes tells the length of the password at most.
        Some(expected) => bool::from(expected.as_bytes().ct_eq(password)),
        None => true,
    };
    // As in Redis, the name of the user is compared as it stands; it is no secret.
    let right = right && user == USER.as_bytes();
    session.authenticated |= right;
    right
}
