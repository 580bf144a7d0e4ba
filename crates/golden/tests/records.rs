//! What the records of the commands tell against what a real Redis tells of its own.

#![allow(clippy::unwrap_used, reason = "a test ends at what it did not expect")]

mod redis;

use commands::{Argument, ArgumentKind, Begin, COMMANDS, Find, KeySpec, Spec};
use golden::Value;
use golden::socket::Client;
use redis::Redis;

fn bulk(text: &str) -> Value {
    Value::bulk(text)
}

fn status(text: &str) -> Value {
    Value::Simple(text.to_owned())
}

fn number(number: impl Into<i64>) -> Value {
    Value::Integer(number.into())
}

/// `COMMAND INFO` of one command, in RESP3.
fn info(spec: &Spec) -> Value {
    let (first, last, step) = spec.key_range();
    let categories = spec
        .acl_categories()
        .names()
        .map(|name| status(&format!("@{name}")));
    Value::Array(vec![
        bulk(spec.name),
        number(spec.arity),
        Value::Set(spec.all_flags().names().map(status).collect()),
        number(first),
        number(last),
        number(step),
        Value::Set(categories.collect()),
        Value::Set(spec.tips.iter().map(|tip| bulk(tip)).collect()),
        Value::Set(spec.keys.iter().map(key_spec).collect()),
        // Redis has a set where there are none and an array else.
        match spec.subcommands {
            [] => Value::Set(Vec::new()),
            subcommands => Value::Array(subcommands.iter().map(info).collect()),
        },
    ])
}

fn key_spec(keys: &KeySpec) -> Value {
    let (begin, begin_spec) = match keys.begin {
        Begin::Index(index) => ("index", vec![(bulk("index"), number(index))]),
        Begin::Keyword(word, from) => (
            "keyword",
            vec![
                (bulk("keyword"), bulk(word)),
                (bulk("startfrom"), number(from)),
            ],
        ),
    };
    let (find, find_spec) = match keys.find {
        Find::Range { last, step, limit } => (
            "range",
            vec![
                (bulk("lastkey"), number(last)),
                (bulk("keystep"), number(step)),
                (bulk("limit"), number(limit)),
            ],
        ),
        Find::KeyNum {
            number: at,
            first,
            step,
        } => (
            "keynum",
            vec![
                (bulk("keynumidx"), number(at)),
                (bulk("firstkey"), number(first)),
                (bulk("keystep"), number(step)),
            ],
        ),
    };
    let part = |kind: &str, spec| {
        Value::Map(vec![
            (bulk("type"), bulk(kind)),
            (bulk("spec"), Value::Map(spec)),
        ])
    };
    Value::Map(vec![
        (
            bulk("flags"),
            Value::Set(keys.flags.names().map(status).collect()),
        ),
        (bulk("begin_search"), part(begin, begin_spec)),
        (bulk("find_keys"), part(find, find_spec)),
    ])
}

/// The same without the notes on keys, which our records have not, and with subcommands by name.
fn without_notes(value: Value) -> Value {
    match value {
        Value::Set(values) => Value::Set(values.into_iter().map(without_notes).collect()),
        Value::Array(values) => {
            let mut values: Vec<Value> = values.into_iter().map(without_notes).collect();
            if values.iter().all(|value| matches!(value, Value::Array(_))) {
                values.sort_by_key(ToString::to_string);
            }
            Value::Array(values)
        }
        Value::Map(pairs) => Value::Map(
            pairs
                .into_iter()
                .filter(|(key, _)| *key != bulk("notes"))
                .map(|(key, value)| (key, without_notes(value)))
                .collect(),
        ),
        other => other,
    }
}

/// The record as Redis 7.0, the oracle, has it: what 7.2 added is taken away.
fn of_oracle(spec: Spec) -> Spec {
    match spec.name {
        "zrank" | "zrevrank" => Spec {
            arity: 3,
            syntax: "key member",
            ..spec
        },
        _ => spec,
    }
}

#[test]
fn command_info_is_that_of_redis() {
    let Some(redis) = Redis::start() else { return };
    let mut client = Client::connect(redis.address).unwrap();
    client.hello(3).unwrap();
    for command in COMMANDS {
        let name = command.spec.name;
        let theirs = without_notes(client.call(&["COMMAND", "INFO", name]).unwrap());
        let ours = Value::Array(vec![info(&of_oracle(command.spec))]);
        assert_eq!(ours.to_string(), theirs.to_string(), "{name}");
    }
}

fn get<'a>(map: &'a Value, field: &str) -> Option<&'a Value> {
    let Value::Map(pairs) = map else {
        panic!("{field} of {map}")
    };
    pairs
        .iter()
        .find(|(key, _)| *key == bulk(field))
        .map(|(_, value)| value)
}

fn text(map: &Value, field: &str) -> Option<String> {
    get(map, field).map(|value| match value {
        Value::Bulk(bytes) => String::from_utf8(bytes.clone()).unwrap(),
        other => panic!("{field} is {other}"),
    })
}

/// Kinds, tokens and flags of arguments. Names may differ, and so may kinds of numbers.
fn outline(arguments: &Value) -> String {
    let Value::Array(arguments) = arguments else {
        panic!("{arguments}")
    };
    let each = arguments.iter().map(|argument| {
        let kind = text(argument, "type").unwrap();
        let token = text(argument, "token").unwrap_or_default();
        let flags = match get(argument, "flags") {
            Some(Value::Set(flags) | Value::Array(flags)) => {
                flags.iter().map(ToString::to_string).collect()
            }
            _ => Vec::new(),
        };
        let rule = get(argument, "key_spec_index")
            .map(ToString::to_string)
            .unwrap_or_default();
        let inner = get(argument, "arguments").map(outline).unwrap_or_default();
        let kind = if kind == "double" {
            "integer".to_owned()
        } else {
            kind
        };
        format!("({kind} {token} {} {rule} {inner})", flags.join(","))
    });
    each.collect()
}

fn our_outline(arguments: &[Argument]) -> String {
    let each = arguments.iter().map(|argument| {
        let mut flags = Vec::new();
        flags.extend(argument.optional.then_some("optional"));
        flags.extend(argument.multiple.then_some("multiple"));
        let (rule, inner) = match &argument.kind {
            ArgumentKind::Key(rule) => (format!("(integer) {rule}"), String::new()),
            ArgumentKind::OneOf(inner) | ArgumentKind::Block(inner) => {
                (String::new(), our_outline(inner))
            }
            _ => (String::new(), String::new()),
        };
        let (kind, token) = (argument.kind.name(), argument.token.unwrap_or_default());
        format!("({kind} {token} {} {rule} {inner})", flags.join(","))
    });
    each.collect()
}

#[test]
fn command_docs_are_those_of_redis() {
    let Some(redis) = Redis::start() else { return };
    let mut client = Client::connect(redis.address).unwrap();
    client.hello(3).unwrap();
    for command in COMMANDS {
        let spec = &command.spec;
        let docs = client.call(&["COMMAND", "DOCS", spec.name]).unwrap();
        let docs = get(&docs, spec.name).unwrap();
        for spec in [spec].into_iter().chain(spec.subcommands) {
            let name = spec.name;
            let docs = match get(docs, "subcommands") {
                Some(subcommands) if name.contains('|') => get(subcommands, name).unwrap(),
                _ => docs,
            };
            assert_eq!(text(docs, "since").as_deref(), Some(spec.since), "{name}");
            assert_eq!(text(docs, "group").as_deref(), Some(spec.group), "{name}");
            let deprecated = text(docs, "deprecated_since").zip(text(docs, "replaced_by"));
            let ours = spec
                .deprecated
                .map(|(since, by)| (since.to_owned(), by.to_owned()));
            assert_eq!(ours, deprecated, "{name}");
            let theirs = get(docs, "arguments").map(outline).unwrap_or_default();
            assert_eq!(our_outline(&of_oracle(*spec).arguments()), theirs, "{name}");
        }
    }
}
