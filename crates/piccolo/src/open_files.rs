//! The limit of open files, of which every connection takes one.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tracing::{debug, warn};

/// What a node opens besides the connections of its clients: log, snapshots, peers, listeners.
const OTHER_FILES: u64 = 512;

/// Raises this process's limit of open files to what `max_clients` connections need, as far as the
/// system lets it, and says so where that is not enough.
pub(crate) fn allow(max_clients: u32) {
    let wanted = u64::from(max_clients) + OTHER_FILES;
    let limit = getrlimit(Resource::Nofile);
    let Some(current) = limit.current.filter(|current| *current < wanted) else {
        return;
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
    if reached < wanted {
        warn!(
            limit = reached,
            wanted,
            "the limit of open files is too low for redis.max_clients = {max_clients}; raise it \
             (ulimit -n), or connections beyond it are refused"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_is_raised_as_far_as_it_goes() {
        let before = getrlimit(Resource::Nofile);
        allow(100);
        allow(1_000_000);
        let after = getrlimit(Resource::Nofile);
        assert_eq!(after.maximum, before.maximum);
        let reachable = after
            .maximum
            .unwrap_or(u64::MAX)
            .min(1_000_000 + OTHER_FILES);
        assert!(after.current.is_none_or(|current| current >= reachable));
    }
}
