//! A command's record as COMMAND INFO and COMMAND DOCS tell it.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use commands::{Begin, Find, KeySpec, Reply, Spec};

use super::{arguments, every};
use crate::session_commands::argument::{statuses, word};

/// Name, arity, flags, first and last key and the step between them, ACL categories, tips, key
/// specifications, subcommands.
pub(super) fn info(spec: &'static Spec) -> Reply<'static> {
    let (first, last, step) = spec.key_range();
    Reply::Array(vec![
        word(spec.name),
        Reply::Integer(spec.arity.into()),
        statuses(spec.all_flags().names()),
        Reply::Integer(first.into()),
        Reply::Integer(last.into()),
        Reply::Integer(step.into()),
        statuses(spec.acl_categories().names().map(with_at)),
        Reply::Set(spec.tips.iter().map(|tip| word(tip)).collect()),
        Reply::Set(spec.keys.iter().map(key_spec).collect()),
        Reply::Array(spec.subcommands.iter().map(info).collect()),
    ])
}

/// The name of an ACL category with the `@` that rules write before it.
fn with_at(category: &'static str) -> &'static str {
    static NAMES: LazyLock<BTreeMap<&str, String>> = LazyLock::new(|| {
        every()
            .flat_map(|spec| spec.acl_categories().names())
            .map(|name| (name, format!("@{name}")))
            .collect()
    });
    &NAMES[category]
}

fn key_spec(spec: &KeySpec) -> Reply<'static> {
    let begin = match spec.begin {
        Begin::Index(index) => typed("index", vec![("index", Reply::Integer(index.into()))]),
        Begin::Keyword(keyword, from) => typed(
            "keyword",
            vec![
                ("keyword", word(keyword)),
                ("startfrom", Reply::Integer(from.into())),
            ],
        ),
    };
    let find = match spec.find {
        Find::Range { last, step, limit } => typed(
            "range",
            vec![
                ("lastkey", Reply::Integer(last.into())),
                ("keystep", Reply::Integer(step.into())),
                ("limit", Reply::Integer(limit.into())),
            ],
        ),
        Find::KeyNum {
            number,
            first,
            step,
        } => typed(
            "keynum",
            vec![
                ("keynumidx", Reply::Integer(number.into())),
                ("firstkey", Reply::Integer(first.into())),
                ("keystep", Reply::Integer(step.into())),
            ],
        ),
    };
    map(vec![
        ("flags", statuses(spec.flags.names())),
        ("begin_search", begin),
        ("find_keys", find),
    ])
}

fn typed(name: &'static str, fields: Vec<(&'static str, Reply<'static>)>) -> Reply<'static> {
    map(vec![("type", word(name)), ("spec", map(fields))])
}

/// What each command does, by name.
pub(super) fn docs(specs: impl Iterator<Item = &'static Spec>) -> Reply<'static> {
    Reply::Map(specs.map(|spec| (word(spec.name), doc(spec))).collect())
}

fn doc(spec: &'static Spec) -> Reply<'static> {
    let mut fields = vec![
        ("summary", word(spec.summary)),
        ("since", word(spec.since)),
        ("group", word(spec.group)),
        ("complexity", word(spec.complexity)),
    ];
    if let Some((since, instead)) = spec.deprecated {
        fields.push(("doc_flags", statuses(["deprecated"].into_iter())));
        fields.push(("deprecated_since", word(since)));
        fields.push(("replaced_by", word(instead)));
    }
    let arguments = arguments::of(spec);
    if !arguments.is_empty() {
        fields.push(("arguments", Reply::Array(arguments)));
    }
    if !spec.subcommands.is_empty() {
        fields.push(("subcommands", docs(spec.subcommands.iter())));
    }
    map(fields)
}

/// A map whose keys are constant words.
pub(super) fn map(fields: Vec<(&'static str, Reply<'static>)>) -> Reply<'static> {
    let pairs = fields.into_iter().map(|(name, value)| (word(name), value));
    Reply::Map(pairs.collect())
}
