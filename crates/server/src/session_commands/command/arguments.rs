//! The arguments of a command as COMMAND DOCS tells them, read out of [`Spec::syntax`].
//!
//! A syntax is a sequence of
//! - `name`: an argument;
//! - `TOKEN`: a word to be written as it stands; the arguments up to the next token or bracket are
//!   its own: `EX seconds`;
//! - `[...]`: what may be left out;
//! - `[name ...]`: more of what stands before it: `key [key ...]`, `key value [key value ...]`;
//!
//! and `|` between sequences means one of them.

use commands::{Reply, Spec};

use super::describe::map;
use crate::session_commands::argument::{bulk, statuses, word};

/// The arguments of a command in order; none where the syntax cannot be read.
pub(super) fn of(spec: &Spec) -> Vec<Reply<'static>> {
    let mut words = tokenize(spec.syntax).peekable();
    let Some(choice) = parse(&mut words) else {
        return Vec::new();
    };
    if words.next().is_some() {
        return Vec::new();
    }
    let mut keys = Keys {
        met: 0,
        rules: spec.keys.len(),
    };
    arguments(&choice)
        .into_iter()
        .map(|argument| argument.into_reply(&mut keys))
        .collect()
}

/// Brackets, bars and words.
fn tokenize(syntax: &'static str) -> impl Iterator<Item = &'static str> {
    syntax.split(' ').flat_map(|part| {
        let inner = part.trim_start_matches('[').trim_end_matches(']');
        let opened = part.len() - part.trim_start_matches('[').len();
        let closed = part.len() - part.trim_end_matches(']').len();
        std::iter::repeat_n("[", opened)
            .chain((!inner.is_empty()).then_some(inner))
            .chain(std::iter::repeat_n("]", closed))
    })
}

/// Sequences of which one is to be chosen.
type Choice = Vec<Vec<Item>>;

enum Item {
    Name(&'static str),
    Token(&'static str),
    Optional(Choice),
    /// So many of the names before it may be repeated.
    More(usize),
}

/// Reads up to a closing bracket, which it leaves, or the end.
fn parse(words: &mut std::iter::Peekable<impl Iterator<Item = &'static str>>) -> Option<Choice> {
    let mut choice: Choice = vec![Vec::new()];
    while let Some(word) = words.next_if(|word| *word != "]") {
        let sequence = choice.last_mut()?;
        match word {
            "|" => choice.push(Vec::new()),
            "..." => sequence.push(Item::More(0)),
            "[" => {
                let mut inner = parse(words)?;
                words.next_if_eq(&"]")?;
                sequence.push(match repeated(&mut inner) {
                    Some(names) => Item::More(names),
                    None => Item::Optional(inner),
                });
            }
            token if token.bytes().all(|byte| !byte.is_ascii_lowercase()) => {
                sequence.push(Item::Token(token));
            }
            name => sequence.push(Item::Name(name)),
        }
    }
    Some(choice)
}

/// The number of names in `[name ...]`.
fn repeated(choice: &mut Choice) -> Option<usize> {
    let [sequence] = choice.as_slice() else {
        return None;
    };
    let (Item::More(0), names) = sequence.split_last()? else {
        return None;
    };
    names
        .iter()
        .all(|item| matches!(item, Item::Name(_)))
        .then_some(names.len())
}

#[derive(Default)]
struct Argument {
    name: String,
    /// `oneof` where `arguments` are alternatives.
    is_choice: bool,
    token: Option<&'static str>,
    /// Nothing is written but the token.
    is_token: bool,
    optional: bool,
    multiple: bool,
    /// The parts of a block, or alternatives.
    arguments: Vec<Argument>,
}

/// One argument of all these, if they are not one already.
fn block(mut arguments: Vec<Argument>) -> Argument {
    if arguments.len() == 1 {
        return arguments.remove(0);
    }
    Argument {
        name: joined(&arguments),
        arguments,
        ..Argument::default()
    }
}

fn joined(arguments: &[Argument]) -> String {
    let names: Vec<&str> = arguments.iter().map(|part| &*part.name).collect();
    names.join("-")
}

fn arguments(choice: &Choice) -> Vec<Argument> {
    match choice.as_slice() {
        [sequence] => in_sequence(sequence),
        alternatives => {
            let arguments: Vec<Argument> = alternatives
                .iter()
                .map(|sequence| block(in_sequence(sequence)))
                .collect();
            vec![Argument {
                name: joined(&arguments),
                is_choice: true,
                arguments,
                ..Argument::default()
            }]
        }
    }
}

fn in_sequence(mut items: &[Item]) -> Vec<Argument> {
    let mut arguments = Vec::new();
    while let Some((item, rest)) = items.split_first() {
        items = rest;
        match item {
            Item::Name(name) => arguments.push(Argument {
                name: (*name).to_owned(),
                ..Argument::default()
            }),
            Item::Optional(choice) => {
                let mut argument = block(self::arguments(choice));
                argument.optional = true;
                arguments.push(argument);
            }
            Item::More(names) => {
                let first = arguments.len().saturating_sub(*names);
                let mut argument = block(arguments.split_off(first));
                argument.multiple = true;
                arguments.push(argument);
            }
            Item::Token(token) => {
                let own = |item: &Item| matches!(item, Item::Name(_) | Item::More(_));
                let length = items.iter().take_while(|item| own(item)).count();
                let (operands, rest) = items.split_at(length);
                items = rest;
                let mut argument = block(in_sequence(operands));
                argument.token = Some(token);
                argument.is_token = operands.is_empty();
                if argument.is_token {
                    argument.name = token.to_ascii_lowercase();
                }
                arguments.push(argument);
            }
        }
    }
    arguments
}

/// Which rule of [`Spec::keys`] the next argument that is a key falls under.
struct Keys {
    met: usize,
    rules: usize,
}

impl Argument {
    fn into_reply(self, keys: &mut Keys) -> Reply<'static> {
        let kind = self.kind(keys);
        let mut fields = vec![("name", bulk(self.name)), ("type", word(kind))];
        if kind == "key" {
            let rule = keys.met.min(keys.rules - 1);
            fields.push(("key_spec_index", rule.into()));
            keys.met += 1;
        }
        if let Some(token) = self.token {
            fields.push(("token", word(token)));
        }
        let flags = [(self.optional, "optional"), (self.multiple, "multiple")];
        let flags: Vec<&str> = flags
            .into_iter()
            .filter_map(|(set, flag)| set.then_some(flag))
            .collect();
        if !flags.is_empty() {
            fields.push(("flags", statuses(flags.into_iter())));
        }
        if !self.arguments.is_empty() {
            let arguments = self.arguments.into_iter();
            let arguments = arguments.map(|part| part.into_reply(keys)).collect();
            fields.push(("arguments", Reply::Array(arguments)));
        }
        map(fields)
    }

    fn kind(&self, keys: &Keys) -> &'static str {
        if self.is_choice {
            return "oneof";
        }
        if !self.arguments.is_empty() {
            return "block";
        }
        if self.is_token {
            return "pure-token";
        }
        match &*self.name {
            "key" | "newkey" | "key1" | "key2" | "source" | "destination" if keys.rules > 0 => {
                "key"
            }
            "pattern" => "pattern",
            "unix-time-seconds" | "unix-time-milliseconds" => "unix-time",
            "seconds" | "milliseconds" | "cursor" | "count" | "offset" | "start" | "end"
            | "len" | "db" | "destination-db" | "index" | "index1" | "index2" | "decrement"
            | "protover" | "id" => "integer",
            _ => "string",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `name:type` with token, `?` if optional, `+` if repeated, and parts in parentheses.
    fn shown(reply: &Reply<'_>) -> String {
        let Reply::Map(fields) = reply else {
            panic!("{reply:?}")
        };
        let mut text = String::new();
        for (name, value) in fields {
            let Reply::Bulk(name) = name else {
                panic!("{name:?}")
            };
            match (&**name, value) {
                (b"name", Reply::Bulk(name)) => text.push_str(&String::from_utf8_lossy(name)),
                (b"type", Reply::Bulk(kind)) => {
                    text.push(':');
                    text.push_str(&String::from_utf8_lossy(kind));
                }
                (b"key_spec_index", Reply::Integer(index)) => text.push_str(&index.to_string()),
                (b"token", Reply::Bulk(token)) => {
                    text = format!("{} {text}", String::from_utf8_lossy(token));
                }
                (b"flags", Reply::Set(flags)) => {
                    for flag in flags {
                        text.push_str(match flag {
                            Reply::Simple("optional") => "?",
                            Reply::Simple("multiple") => "+",
                            other => panic!("{other:?}"),
                        });
                    }
                }
                (b"arguments", Reply::Array(parts)) => {
                    let parts: Vec<String> = parts.iter().map(shown).collect();
                    text.push_str(&format!("({})", parts.join(", ")));
                }
                other => panic!("{other:?}"),
            }
        }
        text
    }

    fn told(name: &str) -> String {
        let spec = super::super::by_name(name.as_bytes()).unwrap();
        let all: Vec<String> = of(spec).iter().map(shown).collect();
        all.join(", ")
    }

    #[test]
    fn a_syntax_becomes_arguments() {
        assert_eq!(told("get"), "key:key0");
        assert_eq!(told("copy").split(", ").next(), Some("source:key0"));
        assert!(told("copy").contains("destination:key1"));
        assert_eq!(told("del"), "key:key0+");
        assert_eq!(told("mset"), "key-value:block+(key:key0, value:string)");
        assert_eq!(
            told("expire"),
            "key:key0, seconds:integer, nx-xx-gt-lt:oneof?(NX nx:pure-token, XX xx:pure-token, \
             GT gt:pure-token, LT lt:pure-token)"
        );
        assert_eq!(
            told("scan"),
            "cursor:integer, MATCH pattern:pattern?, COUNT count:integer?, TYPE type:string?"
        );
        assert_eq!(
            told("client|list"),
            "type-id:oneof?(TYPE type:string, ID id:integer+)"
        );
        assert_eq!(
            told("hello"),
            "protover-username-password-clientname:block?(protover:integer, \
             AUTH username-password:block?(username:string, password:string), \
             SETNAME clientname:string?)"
        );
        assert_eq!(told("ping"), "message:string?");
        assert_eq!(told("time"), "");
    }

    #[test]
    fn every_syntax_can_be_read() {
        for spec in super::super::every() {
            assert_eq!(of(spec).is_empty(), spec.syntax.is_empty(), "{}", spec.name);
        }
    }
}
