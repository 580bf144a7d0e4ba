//! The settings that CONFIG knows, each with its true value on this node.

use std::str::FromStr;

use base::Db;
use cluster::Fsync;
use resp::Limits;
use rustix::process::{Resource, getrlimit};

use crate::key_events::Wanted;
use crate::server::Shared;

/// One setting.
pub(crate) struct Parameter {
    /// Redis's name.
    pub(crate) name: &'static str,
    /// What is in force.
    pub(crate) get: fn(&Shared) -> String,
    pub(crate) set: Set,
}

/// What `CONFIG SET` does with a setting.
pub(crate) enum Set {
    /// It takes effect at once.
    Now {
        /// Says why a value is refused.
        check: fn(&[u8]) -> Result<(), String>,
        /// Puts a value in force that `check` has let pass.
        apply: fn(&Shared, &[u8]),
    },
    /// That key of the configuration decides it, when the node starts.
    AtStart(&'static str),
    /// It cannot be changed, for that reason.
    Never(&'static str),
}

impl Parameter {
    /// Whether the value is another one than that in force. Setting what is in force changes nothing
    /// and is always accepted.
    pub(super) fn differs(&self, shared: &Shared, value: &[u8]) -> bool {
        !(self.get)(shared)
            .as_bytes()
            .eq_ignore_ascii_case(value.trim_ascii())
    }
}

const NO_EVICTION: Set = Set::Never("this version does not limit the memory of the data");
const NO_SLOWLOG: Set = Set::Never("this version keeps no slow log");

/// All of them, by name.
pub(crate) const PARAMETERS: &[Parameter] = &[
    Parameter {
        name: "appendfsync",
        get: |shared| match shared.store().fsync() {
            Fsync::Always => "always".into(),
            Fsync::EverySec => "everysec".into(),
            Fsync::Never => "no".into(),
        },
        set: Set::AtStart("storage.fsync"),
    },
    Parameter {
        name: "appendonly",
        get: |_| "yes".into(),
        set: Set::Never("a node always keeps its log"),
    },
    Parameter {
        name: "bind",
        get: |shared| shared.facts.redis_address.ip().to_string(),
        set: Set::AtStart("redis.bind_host"),
    },
    Parameter {
        name: "client-output-buffer-limit",
        get: |shared| {
            let limit = shared.config.output_limit_bytes;
            let pubsub = shared.config.pubsub_limit_bytes;
            format!("normal {limit} 0 0 slave 0 0 0 pubsub {pubsub} 0 0")
        },
        set: Set::AtStart("redis.output_buffer_limit"),
    },
    Parameter {
        name: "client-query-buffer-limit",
        get: |shared| shared.config.query_limit_bytes.to_string(),
        set: Set::AtStart("redis.query_buffer_limit"),
    },
    Parameter {
        name: "cluster-enabled",
        get: |_| "no".into(),
        set: Set::Never("clients see a cluster as one Redis that stands alone"),
    },
    Parameter {
        name: "databases",
        get: |_| Db::COUNT.to_string(),
        set: Set::Never("the number of databases is fixed"),
    },
    Parameter {
        name: "lua-time-limit",
        get: |_| "5000".into(),
        set: Set::Never("this version runs no scripts"),
    },
    Parameter {
        name: "maxclients",
        get: |shared| shared.max_clients().to_string(),
        set: Set::Now {
            check: |value| max_clients(value).map(|_| ()),
            apply: |shared, value| {
                if let Ok(most) = max_clients(value) {
                    shared.set_max_clients(most);
                }
            },
        },
    },
    Parameter {
        name: "maxmemory",
        get: |_| "0".into(),
        set: NO_EVICTION,
    },
    Parameter {
        name: "maxmemory-policy",
        get: |_| "noeviction".into(),
        set: NO_EVICTION,
    },
    Parameter {
        name: "notify-keyspace-events",
        get: |shared| shared.key_events.wanted().to_string(),
        set: Set::Now {
            check: |value| events(value).map(drop),
            apply: |shared, value| {
                if let Ok(wanted) = events(value) {
                    shared.key_events.set_wanted(wanted, shared.store());
                }
            },
        },
    },
    Parameter {
        name: "port",
        get: |shared| shared.facts.redis_address.port().to_string(),
        set: Set::AtStart("redis.bind_port"),
    },
    Parameter {
        name: "protected-mode",
        get: |shared| {
            if shared.config.protected {
                "yes".into()
            } else {
                "no".into()
            }
        },
        set: Set::Never("it follows from redis.bind_host and redis.password in the configuration"),
    },
    Parameter {
        name: "proto-max-bulk-len",
        get: |_| Limits::default().bulk_bytes.to_string(),
        set: Set::Never("the length of a string is limited to 512 MiB"),
    },
    Parameter {
        name: "requirepass",
        get: |shared| shared.password().unwrap_or_default(),
        set: Set::Now {
            check: |value| password(value).map(|_| ()),
            apply: |shared, value| {
                if let Ok(password) = password(value) {
                    shared.set_password(password);
                }
            },
        },
    },
    Parameter {
        name: "save",
        get: |_| String::new(),
        set: Set::Never(
            "a node makes snapshots when its log has grown, see storage.snapshot_every in the \
             configuration",
        ),
    },
    Parameter {
        name: "slowlog-log-slower-than",
        get: |_| "-1".into(),
        set: NO_SLOWLOG,
    },
    Parameter {
        name: "slowlog-max-len",
        get: |_| "128".into(),
        set: NO_SLOWLOG,
    },
    Parameter {
        name: "tcp-keepalive",
        get: |_| "0".into(),
        set: Set::Never("this version sends no keep-alive probes"),
    },
    Parameter {
        name: "timeout",
        get: |_| "0".into(),
        set: Set::Never("this version does not end idle connections"),
    },
];

/// Files that a node needs beside its clients' connections.
const OTHER_FILES: u64 = 512;

fn max_clients(value: &[u8]) -> Result<usize, String> {
    let text = std::str::from_utf8(value).unwrap_or_default();
    let most = i128::from_str(text).map_err(|_| "argument couldn't be parsed into an integer")?;
    let most = u32::try_from(most)
        .ok()
        .filter(|most| *most > 0)
        .ok_or("argument must be between 1 and 4294967295 inclusive")?;
    let files = getrlimit(Resource::Nofile).current;
    if let Some(files) = files.filter(|files| u64::from(most) + OTHER_FILES > *files) {
        return Err(format!(
            "this process may open {files} files, and a node needs {OTHER_FILES} beside its \
             clients; try with {}, or raise the limit (ulimit -n) before the start",
            files.saturating_sub(OTHER_FILES).max(1)
        ));
    }
    Ok(most as usize)
}

fn events(value: &[u8]) -> Result<Wanted, String> {
    Wanted::parse(value)
        .ok_or_else(|| "Invalid event class character. Use 'Ag$lshzxeKEtmdn'.".into())
}

/// None for the empty one, which takes the password away.
fn password(value: &[u8]) -> Result<Option<String>, String> {
    let password =
        String::from_utf8(value.to_vec()).map_err(|_| "a password must be valid UTF-8")?;
    Ok((!password.is_empty()).then_some(password))
}
