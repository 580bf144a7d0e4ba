//! INFO: the figures of the node, section by section.
//!
//! Only what is true here is told: a field of Redis that this node has no figure for is left out
//! rather than made up.

mod process;
mod sections;

use std::sync::Arc;

use commands::{Categories, Flags, Reply, Spec};

use super::SessionCommand;
use super::argument::is;
use crate::server::{CoreServer, Shared};
use crate::session::Session;

pub(super) const COMMANDS: &[SessionCommand] = &[SessionCommand {
    spec: Spec {
        name: "info",
        arity: -1,
        flags: Flags::LOADING.with(Flags::STALE),
        categories: Categories::DANGEROUS,
        group: "server",
        since: "1.0.0",
        summary: "Tells the figures of this node.",
        complexity: "O(1)",
        syntax: "[section [section ...]]",
        tips: &[
            "nondeterministic_output",
            "request_policy:all_shards",
            "response_policy:special",
        ],
        ..Spec::EMPTY
    },
    run: info,
}];

/// A part of the answer.
struct Section {
    /// What its head says; it is asked for by this name in any case.
    title: &'static str,
    /// Appends its fields.
    write: fn(&Shared, &mut Fields),
}

/// In the order of the answer. Each is part of `default`, `all` and `everything`.
const SECTIONS: &[Section] = &[
    Section {
        title: "Server",
        write: sections::server,
    },
    Section {
        title: "Clients",
        write: sections::clients,
    },
    Section {
        title: "Memory",
        write: sections::memory,
    },
    Section {
        title: "Persistence",
        write: sections::persistence,
    },
    Section {
        title: "Stats",
        write: sections::stats,
    },
    Section {
        title: "Replication",
        write: sections::replication,
    },
    Section {
        title: "CPU",
        write: sections::cpu,
    },
    Section {
        title: "Modules",
        write: |_, _| {},
    },
    Section {
        title: "Errorstats",
        write: sections::error_stats,
    },
    Section {
        title: "Cluster",
        write: sections::cluster,
    },
    Section {
        title: "Keyspace",
        write: sections::keyspace,
    },
    Section {
        title: "Piccolo",
        write: sections::piccolo,
    },
];

/// The text of an answer, in lines of `name:value`.
#[derive(Default)]
struct Fields(String);

impl Fields {
    /// Appends a field. Line ends in the value, which may come from another node, become spaces.
    fn put(&mut self, name: &str, value: impl std::fmt::Display) {
        let start = self.0.len() + name.len() + 1;
        self.0.push_str(&format!("{name}:{value}"));
        if self.0[start..].contains(['\r', '\n']) {
            let value = self.0.split_off(start);
            self.0.push_str(&value.replace(['\r', '\n'], " "));
        }
        self.0.push_str("\r\n");
    }
}

fn info(session: &mut Session, args: &[&[u8]], _: &CoreServer) -> Reply<'static> {
    let shared = Arc::clone(&session.shared);
    let wanted = |section: &&Section| {
        let names = [section.title, "default", "all", "everything"];
        args.len() == 1
            || args[1..]
                .iter()
                .any(|arg| names.iter().any(|name| is(arg, name)))
    };
    let mut fields = Fields::default();
    for section in SECTIONS.iter().filter(wanted) {
        if !fields.0.is_empty() {
            fields.0.push_str("\r\n");
        }
        fields.0.push_str(&format!("# {}\r\n", section.title));
        (section.write)(&shared, &mut fields);
    }
    Reply::Verbatim {
        format: *b"txt",
        text: fields.0,
    }
}
