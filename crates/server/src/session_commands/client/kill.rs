//! CLIENT KILL.

use std::sync::Arc;
use std::time::Duration;

use base::Timestamp;
use commands::Reply;

use super::list::ClientType;
use crate::clients::Client;
use crate::server::CoreServer;
use crate::session::Session;
use crate::session_commands::argument::{SYNTAX, is, parse_integer, refusal, shown};
use crate::session_commands::authentication::USER;

/// Which clients are meant: those that pass every filter that is there.
#[derive(Default)]
struct Filters<'a> {
    id: Option<u64>,
    address: Option<&'a [u8]>,
    local_address: Option<&'a [u8]>,
    client_type: Option<ClientType>,
    least_age: Option<Duration>,
    spare_self: bool,
}

impl<'a> Filters<'a> {
    /// Reads `ID 7 ADDR 127.0.0.1:5000...`.
    fn parse(mut options: &'a [&'a [u8]]) -> Result<Filters<'a>, Reply<'static>> {
        let mut filters = Filters {
            spare_self: true,
            ..Filters::default()
        };
        while let [option, rest @ ..] = options {
            let [value, rest @ ..] = rest else {
                return Err(SYNTAX);
            };
            options = rest;
            match option {
                _ if is(option, "id") => filters.id = Some(id(value)?),
                _ if is(option, "type") => {
                    filters.client_type = Some(ClientType::by_name(value)?);
                }
                _ if is(option, "addr") => filters.address = Some(value),
                _ if is(option, "laddr") => filters.local_address = Some(value),
                // There is but one, so this leaves nobody out.
                _ if is(option, "user") && *value == USER.as_bytes() => {}
                _ if is(option, "user") => {
                    return Err(Reply::error(format_args!(
                        "ERR No such user '{}'",
                        shown(value)
                    )));
                }
                _ if is(option, "skipme") && is(value, "yes") => filters.spare_self = true,
                _ if is(option, "skipme") && is(value, "no") => filters.spare_self = false,
                _ if is(option, "maxage") => filters.least_age = Some(age(value)?),
                _ => return Err(SYNTAX),
            }
        }
        Ok(filters)
    }

    fn pass(&self, client: &Client, now: Timestamp) -> bool {
        let is_at = |wanted: Option<&[u8]>, address: String| {
            wanted.is_none_or(|wanted| wanted == address.as_bytes())
        };
        self.id.is_none_or(|id| id == client.id())
            && is_at(self.address, client.address().to_string())
            && is_at(self.local_address, client.local_address().to_string())
            && self
                .client_type
                .is_none_or(|wanted| wanted == ClientType::of(client))
            && self
                .least_age
                .is_none_or(|least| now.since(client.since()) >= least)
    }
}

fn id(value: &[u8]) -> Result<u64, Reply<'static>> {
    let id = parse_integer(value).and_then(|id| u64::try_from(id).ok());
    id.filter(|id| *id > 0)
        .ok_or(refusal("ERR client-id should be greater than 0"))
}

fn age(value: &[u8]) -> Result<Duration, Reply<'static>> {
    let age =
        parse_integer(value).ok_or(refusal("ERR maxage is not an integer or out of range"))?;
    match u64::try_from(age) {
        Ok(seconds) if seconds > 0 => Ok(Duration::from_secs(seconds)),
        _ => Err(refusal("ERR maxage should be greater than 0")),
    }
}

pub(super) fn kill(session: &mut Session, args: &[&[u8]], _: &CoreServer) -> Reply<'static> {
    if let [_, _, address] = args {
        let filters = Filters {
            address: Some(address),
            ..Filters::default()
        };
        return match kill_all(session, &filters) {
            0 => refusal("ERR No such client"),
            _ => Reply::Ok,
        };
    }
    match Filters::parse(&args[2..]) {
        Ok(filters) => kill_all(session, &filters).into(),
        Err(refusal) => refusal,
    }
}

/// Ends those connections and tells how many; that of this session only after its reply.
fn kill_all(session: &mut Session, filters: &Filters<'_>) -> usize {
    let shared = Arc::clone(&session.shared);
    let own = session.client().id();
    let now = shared.now();
    let mut killed = 0;
    for client in shared.clients.list() {
        let is_own = client.id() == own;
        if (is_own && filters.spare_self) || !filters.pass(&client, now) {
            continue;
        }
        if is_own {
            session.closing = Some("it was killed by its own command");
        } else {
            shared.clients.kill(&client);
        }
        killed += 1;
    }
    killed
}
