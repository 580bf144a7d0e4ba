//! CLIENT LIST and CLIENT INFO: clients in Redis's own lines.

use std::fmt::Write;
use std::sync::Arc;

use base::Timestamp;
use commands::Reply;

use crate::clients::Client;
use crate::server::CoreServer;
use crate::session::Session;
use crate::session_commands::argument::{SYNTAX, is, parse_integer, refusal, shown};
use crate::session_commands::authentication::USER;

/// The kinds of clients that Redis knows.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum ClientType {
    Normal,
    PubSub,
    /// No client here is of one of those.
    Other,
}

impl ClientType {
    /// That of a client.
    pub(super) fn of(client: &Client) -> ClientType {
        match client.subscriptions() {
            [0, 0, 0] => ClientType::Normal,
            _ => ClientType::PubSub,
        }
    }

    /// The type of that name.
    ///
    /// # Errors
    /// The refusal of an unknown one.
    pub(super) fn by_name(name: &[u8]) -> Result<ClientType, Reply<'static>> {
        if is(name, "normal") {
            return Ok(ClientType::Normal);
        }
        if is(name, "pubsub") {
            return Ok(ClientType::PubSub);
        }
        if ["replica", "slave", "master"]
            .iter()
            .any(|other| is(name, other))
        {
            return Ok(ClientType::Other);
        }
        Err(Reply::error(format_args!(
            "ERR Unknown client type '{}'",
            shown(name)
        )))
    }
}

pub(super) fn info(session: &mut Session, _: &[&[u8]], _: &CoreServer) -> Reply<'static> {
    listing(&[session.client()], session.shared.now())
}

pub(super) fn list(session: &mut Session, args: &[&[u8]], _: &CoreServer) -> Reply<'static> {
    let shared = Arc::clone(&session.shared);
    let mut clients = shared.clients.list();
    match args[2..] {
        [] => {}
        [option, name] if is(option, "type") => match ClientType::by_name(name) {
            Ok(wanted) => clients.retain(|client| wanted == ClientType::of(client)),
            Err(refusal) => return refusal,
        },
        [option, ref ids @ ..] if is(option, "id") && !ids.is_empty() => {
            let ids: Option<Vec<i64>> = ids.iter().map(|id| parse_integer(id)).collect();
            let Some(ids) = ids else {
                return refusal("ERR Invalid client ID");
            };
            clients.retain(|client| i64::try_from(client.id()).is_ok_and(|id| ids.contains(&id)));
        }
        _ => return SYNTAX,
    }
    listing(&clients, shared.now())
}

fn listing(clients: &[Arc<Client>], now: Timestamp) -> Reply<'static> {
    let mut text = String::new();
    for client in clients {
        append_line(client, now, &mut text);
    }
    Reply::Verbatim {
        format: *b"txt",
        text,
    }
}

/// What is zero here, a node neither has nor counts per client: buffers.
fn append_line(client: &Client, now: Timestamp, text: &mut String) {
    let described = client.described().clone();
    let [sub, psub, ssub] = client.subscriptions();
    let mut flags = String::new();
    if ClientType::of(client) == ClientType::PubSub {
        flags.push('P');
    }
    for (set, flag) in [(described.no_evict, 'e'), (described.no_touch, 'T')] {
        if set {
            flags.push(flag);
        }
    }
    if flags.is_empty() {
        flags.push('N');
    }
    let command = match described.last_command {
        "" => "NULL",
        name => name,
    };
    writeln!(
        text,
        "id={id} addr={address} laddr={local_address} fd={fd} name={name} age={age} idle={idle} \
         flags={flags} db={db} sub={sub} psub={psub} ssub={ssub} multi=-1 qbuf=0 qbuf-free=0 argv-mem=0 multi-mem=0 \
         rbs=0 rbp=0 obl=0 oll=0 omem=0 tot-mem=0 events=r cmd={command} user={USER} redir=-1 \
         resp={resp} lib-name={library} lib-ver={library_version}",
        id = client.id(),
        address = client.address(),
        local_address = client.local_address(),
        fd = client.descriptor(),
        name = described.name,
        age = now.since(client.since()).as_secs(),
        idle = now.since(client.active()).as_secs(),
        db = client.db(),
        resp = if described.resp3 { 3 } else { 2 },
        library = described.library_name,
        library_version = described.library_version,
    )
    .expect("writing to a String does not fail");
}
