//! COMMAND GETKEYS and COMMAND GETKEYSANDFLAGS.

use std::slice;

use commands::{KeyFlags, KeySpec, Reply, Spec};

use super::by_name;
use crate::session_commands::argument::{bulk, is, refusal, statuses};

/// The keys of a call, and if wanted what the command does with each.
pub(super) fn keys(call: &[&[u8]], with_flags: bool) -> Reply<'static> {
    let Some(spec) = called(call) else {
        return refusal("ERR Invalid command specified");
    };
    if spec.keys.is_empty() {
        return refusal("ERR The command has no key arguments");
    }
    if !spec.arity_matches(call.len()) {
        return refusal("ERR Invalid number of arguments specified for command");
    }
    let mut keys = Vec::new();
    for rule in spec.keys {
        // The record with this rule alone, to tell whose keys are whose.
        let alone = Spec {
            keys: slice::from_ref(rule),
            subcommands: &[],
            ..*spec
        };
        for index in alone.key_positions(call) {
            let key = bulk(call[index]);
            keys.push(if with_flags {
                let flags = flags_of(spec, rule, call);
                Reply::Array(vec![key, statuses(flags.names())])
            } else {
                key
            });
        }
    }
    if keys.is_empty() && !spec.flags.contains(commands::Flags::NO_MANDATORY_KEYS) {
        return refusal("ERR Invalid arguments specified for command");
    }
    Reply::Array(keys)
}

/// The record that a call falls under.
fn called(call: &[&[u8]]) -> Option<&'static Spec> {
    let spec = by_name(call[0]).filter(|spec| !spec.name.contains('|'))?;
    match call.get(1) {
        Some(name) if !spec.subcommands.is_empty() => spec.subcommand(name),
        _ => Some(spec),
    }
}

/// What this call does with its keys, where that depends on its options.
fn flags_of(spec: &Spec, rule: &KeySpec, call: &[&[u8]]) -> KeyFlags {
    if spec.name != "set" {
        return rule.flags;
    }
    if call[3..].iter().any(|option| is(option, "get")) {
        KeyFlags::RW.with(KeyFlags::ACCESS).with(KeyFlags::UPDATE)
    } else {
        KeyFlags::OW.with(KeyFlags::UPDATE)
    }
}
