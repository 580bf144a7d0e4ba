//! The arguments of a command as `COMMAND DOCS` tells them, read from the line in which the
//! documentation writes them ([`Spec::syntax`](super::Spec::syntax)).
//!
//! Words in capitals are tokens, which stand for themselves; a token and the words after it, up to
//! the next one, are one argument. `[...]` is optional, `|` separates choices, `<...>` holds them where one must be
//! made, and
//! `key value [key value ...]` is one or more of what stands before the brackets.

/// One argument.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Argument {
    /// Its name.
    pub name: String,
    /// What it is.
    pub kind: ArgumentKind,
    /// The word that announces it, or that it is.
    pub token: Option<&'static str>,
    /// Whether it may be left out.
    pub optional: bool,
    /// Whether it may come again.
    pub multiple: bool,
}

/// What an argument is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ArgumentKind {
    /// Bytes.
    String,
    /// A whole number.
    Integer,
    /// A moment as a whole number.
    UnixTime,
    /// A glob pattern.
    Pattern,
    /// A key, found by the rule of that index.
    Key(usize),
    /// Nothing beside its token.
    PureToken,
    /// One of these.
    OneOf(Vec<Argument>),
    /// All of these.
    Block(Vec<Argument>),
}

impl ArgumentKind {
    /// The name that `COMMAND DOCS` has for it.
    pub const fn name(&self) -> &'static str {
        match self {
            ArgumentKind::String => "string",
            ArgumentKind::Integer => "integer",
            ArgumentKind::UnixTime => "unix-time",
            ArgumentKind::Pattern => "pattern",
            ArgumentKind::Key(_) => "key",
            ArgumentKind::PureToken => "pure-token",
            ArgumentKind::OneOf(_) => "oneof",
            ArgumentKind::Block(_) => "block",
        }
    }
}

impl Argument {
    fn new(name: &str, kind: ArgumentKind) -> Argument {
        Argument {
            name: name.to_owned(),
            kind,
            token: None,
            optional: false,
            multiple: false,
        }
    }

    fn of_word(word: &str, rules: usize, keys: &mut usize) -> Argument {
        let kind = match word {
            "key" | "newkey" | "source" | "destination" | "key1" | "key2" => {
                // Each key has its rule, until the last one finds all that are left.
                let rule = (*keys).min(rules.saturating_sub(1));
                *keys += 1;
                ArgumentKind::Key(rule)
            }
            "pattern" => ArgumentKind::Pattern,
            "index" | "rank" | "num-matches" | "seconds" | "milliseconds" | "offset" | "start"
            | "end" | "count" | "cursor" | "len" | "increment" | "decrement" | "numkeys"
            | "limit" | "stop" | "score" | "min-score" | "max-score" | "weight" | "db"
            | "destination-db" | "index1" | "index2" => ArgumentKind::Integer,
            _ if word.starts_with("unix-time") => ArgumentKind::UnixTime,
            _ => ArgumentKind::String,
        };
        Argument::new(word, kind)
    }
}

/// All arguments of a line; `rules` is the number of rules that find keys.
pub(super) fn parse(syntax: &'static str, rules: usize) -> Vec<Argument> {
    let mut parser = Parser {
        words: words(syntax),
        at: 0,
        rules,
        keys: 0,
    };
    let mut choices = parser.choices();
    assert!(
        parser.at == parser.words.len() && choices.len() == 1,
        "unbalanced: {syntax}"
    );
    choices.remove(0)
}

fn words(syntax: &'static str) -> Vec<&'static str> {
    let mut words = Vec::new();
    for mut word in syntax.split_ascii_whitespace() {
        while word.starts_with(['[', '<']) {
            words.push(&word[..1]);
            word = &word[1..];
        }
        let inner = word.trim_end_matches([']', '>']);
        words.extend((!inner.is_empty()).then_some(inner));
        words.extend((inner.len()..word.len()).map(|at| &word[at..=at]));
    }
    words
}

struct Parser {
    words: Vec<&'static str>,
    at: usize,
    rules: usize,
    keys: usize,
}

impl Parser {
    /// What is separated by `|`, each a sequence, up to a closing bracket or the end.
    fn choices(&mut self) -> Vec<Vec<Argument>> {
        let mut choices = vec![Vec::new()];
        while let Some(&word) = self.words.get(self.at) {
            let sequence = choices.last_mut().expect("there is one from the start");
            match word {
                "]" | ">" => break,
                "|" => choices.push(Vec::new()),
                "[" => {
                    self.at += 1;
                    self.bracket(sequence);
                }
                "<" => {
                    let argument = self.choice();
                    sequence.push(argument);
                }
                _ if is_token(word) => {
                    let argument = self.token(word);
                    sequence.push(argument);
                }
                _ => sequence.push(Argument::of_word(word, self.rules, &mut self.keys)),
            }
            self.at += 1;
        }
        choices
    }

    /// A token and its words; ends on the last of them.
    fn token(&mut self, token: &'static str) -> Argument {
        let mut values = Vec::new();
        while let Some(&word) = self.words.get(self.at + 1)
            && !is_token(word)
            && !["[", "]", "<", ">", "|"].contains(&word)
        {
            values.push(Argument::of_word(word, self.rules, &mut self.keys));
            self.at += 1;
        }
        let mut argument = match values.len() {
            0 if self.words.get(self.at + 1) == Some(&"<") => {
                self.at += 1;
                self.choice()
            }
            0 => Argument::new(&token.to_ascii_lowercase(), ArgumentKind::PureToken),
            1 => values.remove(0),
            _ => Argument::new(&token.to_ascii_lowercase(), ArgumentKind::Block(values)),
        };
        argument.token = Some(token);
        argument
    }

    /// What stands between angle brackets, from the opening one to the closing one.
    fn choice(&mut self) -> Argument {
        self.at += 1;
        one_of(self.choices())
    }

    /// What follows an opening bracket; ends on the closing one.
    fn bracket(&mut self, before: &mut Vec<Argument>) {
        let start = self.at;
        let end = start
            + self.words[start..]
                .iter()
                .take_while(|word| **word != "]")
                .count();
        let is_flat = !self.words[start..end].contains(&"[");
        if end > start && is_flat && self.words[end - 1] == "..." {
            // The same words again: no further keys.
            self.at = end;
            let repeated = before.split_off(before.len().saturating_sub(end - 1 - start));
            before.push(Argument {
                multiple: true,
                ..one(repeated)
            });
            return;
        }
        let choices = self.choices();
        let argument = if let [_] = choices[..] {
            one(choices.into_iter().flatten().collect())
        } else {
            one_of(choices)
        };
        before.push(Argument {
            optional: true,
            ..argument
        });
    }
}

fn is_token(word: &str) -> bool {
    word.bytes().all(|byte| byte.is_ascii_uppercase())
}

/// One of several sequences as an argument.
fn one_of(choices: Vec<Vec<Argument>>) -> Argument {
    let choices = choices.into_iter().map(one).collect();
    Argument::new("choice", ArgumentKind::OneOf(choices))
}

/// A sequence as one argument.
fn one(mut sequence: Vec<Argument>) -> Argument {
    if sequence.len() == 1 {
        return sequence.remove(0);
    }
    let names: Vec<&str> = sequence
        .iter()
        .map(|argument| argument.name.as_str())
        .collect();
    Argument::new(&names.join("_"), ArgumentKind::Block(sequence))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Back to a line, with the kinds after the names.
    fn show(arguments: &[Argument]) -> String {
        let each = arguments.iter().map(|argument| {
            let inner = match &argument.kind {
                ArgumentKind::OneOf(choices) => {
                    let choices: Vec<_> = choices
                        .iter()
                        .map(|choice| show(std::slice::from_ref(choice)))
                        .collect();
                    format!("({})", choices.join("|"))
                }
                ArgumentKind::Block(parts) => format!("({})", show(parts)),
                ArgumentKind::PureToken => String::new(),
                ArgumentKind::Key(rule) => format!("{}:key{rule}", argument.name),
                kind => format!("{}:{}", argument.name, kind.name()),
            };
            let mut text = [argument.token.unwrap_or(""), &inner]
                .join(" ")
                .trim()
                .to_owned();
            if argument.multiple {
                text.push('+');
            }
            if argument.optional {
                format!("[{text}]")
            } else {
                text
            }
        });
        each.collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn lines_are_read() {
        for (syntax, rules, expected) in [
            ("", 0, ""),
            ("key", 1, "key:key0"),
            ("key newkey", 2, "key:key0 newkey:key1"),
            ("key1 key2 [LEN]", 1, "key1:key0 key2:key0 [LEN]"),
            ("key [key ...]", 1, "key:key0+"),
            ("key value [key value ...]", 1, "(key:key0 value:string)+"),
            (
                "key value [NX | XX] [GET]",
                1,
                "key:key0 value:string [(NX|XX)] [GET]",
            ),
            (
                "key [EX seconds | PERSIST]",
                1,
                "key:key0 [(EX seconds:integer|PERSIST)]",
            ),
            (
                "[WEIGHTS weight [weight ...]]",
                0,
                "[WEIGHTS weight:integer+]",
            ),
            (
                "key <MIN | MAX> [BY <A | B>]",
                1,
                "key:key0 (MIN|MAX) [BY (A|B)]",
            ),
            (
                "numkeys key [key ...] <LEFT | RIGHT> [COUNT count]",
                1,
                "numkeys:integer key:key0+ (LEFT|RIGHT) [COUNT count:integer]",
            ),
            (
                "cursor [MATCH pattern]",
                0,
                "cursor:integer [MATCH pattern:pattern]",
            ),
        ] {
            assert_eq!(show(&parse(syntax, rules)), expected, "{syntax}");
        }
    }

    #[test]
    fn every_line_of_the_table_is_read() {
        for command in crate::COMMANDS {
            for spec in [&command.spec].into_iter().chain(command.spec.subcommands) {
                spec.arguments();
            }
        }
    }
}
