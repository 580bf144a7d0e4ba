//! Commands about the node as a whole: TIME.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use commands::{Flags, Reply, Spec};

use super::SessionCommand;
use super::argument::bulk;
use crate::server::CoreServer;
use crate::session::Session;

pub(super) const COMMANDS: &[SessionCommand] = &[SessionCommand {
    spec: Spec {
        name: "time",
        arity: 1,
        flags: Flags::LOADING.with(Flags::STALE).with(Flags::FAST),
        group: "server",
        since: "2.6.0",
        summary: "Tells the time of this node: seconds, and microseconds of the present one.",
        complexity: "O(1)",
        tips: &["nondeterministic_output"],
        ..Spec::EMPTY
    },
    run: time,
}];

fn time(_: &mut Session, _: &[&[u8]], _: &CoreServer) -> Reply<'static> {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or(Duration::ZERO);
    let parts = [
        since.as_secs().to_string(),
        since.subsec_micros().to_string(),
    ];
    Reply::Array(parts.map(bulk).into())
}
