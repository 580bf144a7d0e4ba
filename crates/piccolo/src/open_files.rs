//! The limit of open files, of which every connection takes one.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tracing::{debug, warn};

/// What a node opens besides the connections of its clients: up to 1,024 connections of peers that it
/// accepted and those that it dialled, the log, snapshots, listeners and the runtime.
const OTHER_FILES: u64 = 1_200;

/// Raises this process's limit of open files to what `max_clients` connections need, as far as the
/// system lets it. Returns how many connections the limit allows for, at most `max_clients` and at
/// least 1, and says so where that is fewer.
pub(crate) fn allow(max_clients: u32) -> u32 {
    let wanted = u64::from(max_clients) + OTHER_FILES;
    let limit = getrlimit(Resource::Nofile);
    let Some(current) = limit.current.filter(|current| *current < wanted) else {
        return max_clients;
    };
    let raised = limit.maximum.map_or(wanted, |maximum| maximum.min(wanted));
    let new = Rlimit {
        current: Some(raised),
        maximum: limit.maximum,
    };
    let reached = match setrlimit(Resource::Nofile, new) {
        Ok(()) => raised,
        Err(_) => current,
    };
    debug!(from = current, to = reached, "limit of open files");
    let allowed = within(reached, max_clients);
    if allowed < max_clients {
        warn!(
            limit = reached,
            wanted,
            "the limit of open files is too low for redis.max_clients = {max_clients}: {allowed} \
             clients are let in; raise it (ulimit -n)"
        );
    }
    allowed
}

/// How many of `max_clients` connections fit into a limit of open files.
fn within(limit: u64, max_clients: u32) -> u32 {
    let room = limit.saturating_sub(OTHER_FILES).max(1);
    u32::try_from(room).map_or(max_clients, |room| room.min(max_clients))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_is_raised_as_far_as_it_goes() {
        let before = getrlimit(Resource::Nofile);
        allow(100);
        let allowed = allow(1_000_000);
        let after = getrlimit(Resource::Nofile);
        assert_eq!(after.maximum, before.maximum);
        let reachable = after
            .maximum
            .unwrap_or(u64::MAX)
            .min(1_000_000 + OTHER_FILES);
        assert!(after.current.is_none_or(|current| current >= reachable));
        assert_eq!(allowed, within(reachable, 1_000_000));
    }

    #[test]
    fn a_low_limit_lets_fewer_clients_in_but_always_one() {
        assert_eq!(within(OTHER_FILES + 10_000, 10_000), 10_000);
        assert_eq!(within(OTHER_FILES + 9_999, 10_000), 9_999);
        assert_eq!(within(u64::MAX, 10_000), 10_000);
        assert_eq!(within(OTHER_FILES, 10_000), 1);
        assert_eq!(within(256, 10_000), 1);
    }
}
