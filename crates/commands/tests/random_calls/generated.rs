//! Random calls of any command of the table, with arguments made from what its record says of them: a
//! new command takes part without a line here.

use commands::{Argument, ArgumentKind, COMMANDS, Spec};

use super::{FLOATS, RandomCalls};

/// One word for each group whose keys hold values of its own kind.
const GROUPS: &[&str] = &["string", "hash", "set", "list", "sorted-set", "stream"];

/// How long an element may be and stay in a small collection.
const SMALL_BYTES: usize = 64;

impl RandomCalls {
    /// A call of any command that `wanted` accepts.
    pub(crate) fn generated(&mut self, wanted: impl Fn(&Spec) -> bool) -> Vec<Vec<u8>> {
        let spec = loop {
            let spec = &COMMANDS[self.random.below(COMMANDS.len())].spec;
            let flushes = spec.name.starts_with("flush");
            if wanted(spec) && (!flushes || self.random.one_in(20)) {
                break spec;
            }
        };
        let mut args = vec![self.any_case(spec.name)];
        let mut called = spec;
        if !spec.subcommands.is_empty() {
            called = &spec.subcommands[self.random.below(spec.subcommands.len())];
            let (_, name) = called.name.split_once('|').unwrap_or(("", called.name));
            args.push(self.any_case(name));
        }
        let mut call = Call {
            group: self.group(called.group),
            keys: None,
        };
        for argument in called.arguments() {
            self.argument(&argument, &mut call, &mut args);
        }
        // A part of a large collection is not the same part everywhere.
        if called.name.ends_with("scan") {
            args.extend([b"COUNT".to_vec(), b"1000000".to_vec()]);
        }
        match self.random.below(40) {
            0 => args.push(self.element()),
            1 if args.len() > 1 => drop(args.pop()),
            _ => {}
        }
        args
    }

    /// The group whose keys a call is about: that of the command as a rule.
    fn group(&mut self, of_command: &'static str) -> &'static str {
        if GROUPS.contains(&of_command) && !self.random.one_in(20) {
            of_command
        } else {
            self.random.pick(GROUPS)
        }
    }

    fn argument(&mut self, argument: &Argument, call: &mut Call, args: &mut Vec<Vec<u8>>) {
        if argument.optional && !self.random.one_in(3) {
            return;
        }
        let mut times = 1;
        if argument.multiple {
            let few = self.random.below(4) + 1;
            times = if self.random.one_in(30) {
                few * 100
            } else {
                few
            };
        }
        if let (ArgumentKind::Key(_), Some(keys)) = (&argument.kind, call.keys.take()) {
            times = keys;
        }
        if let Some(token) = argument.token {
            args.push(self.any_case(token));
        }
        for _ in 0..times {
            match &argument.kind {
                ArgumentKind::Key(_) => args.push(self.key_of(call.group)),
                ArgumentKind::Integer if argument.name == "numkeys" => {
                    let keys = self.random.below(4);
                    call.keys = Some(keys);
                    args.push(if self.random.one_in(20) {
                        self.integer()
                    } else {
                        keys.to_string().into_bytes()
                    });
                }
                ArgumentKind::Integer => {
                    let number = self.number(&argument.name);
                    args.push(number);
                }
                ArgumentKind::UnixTime => args.push(self.moment()),
                ArgumentKind::Pattern => args.push(self.pattern()),
                ArgumentKind::String => {
                    let word = self.word(&argument.name);
                    args.push(word);
                }
                ArgumentKind::PureToken => {}
                ArgumentKind::OneOf(choices) => {
                    let choice = &choices[self.random.below(choices.len())];
                    self.argument(&required(choice), call, args);
                }
                ArgumentKind::Block(parts) => {
                    for part in parts {
                        self.argument(part, call, args);
                    }
                }
            }
        }
    }

    fn key_of(&mut self, group: &str) -> Vec<u8> {
        format!("{group}:{}", self.random.below(3)).into_bytes()
    }

    /// A number that is mostly of use for an argument of that name.
    fn number(&mut self, name: &str) -> Vec<u8> {
        match name {
            "cursor" => b"0".to_vec(),
            "db" | "destination-db" => self.database(),
            "seconds" | "milliseconds" => self.span(),
            "count" if self.random.one_in(20) => b"100000".to_vec(),
            "increment" | "decrement" if self.random.one_in(2) => self.random.pick(FLOATS).into(),
            _ if self.random.one_in(20) => self.integer(),
            _ => self.small(),
        }
    }

    fn small(&mut self) -> Vec<u8> {
        (self.random.below(14) as i64 - 4).to_string().into_bytes()
    }

    fn word(&mut self, name: &str) -> Vec<u8> {
        match name {
            "type" => self.random.pick(&["string", "hash", "SET", "list"]).into(),
            "value" if self.random.one_in(2) => self.value(),
            _ => self.element(),
        }
    }

    /// An element of a collection: few, so that they meet; some too long for a small collection.
    fn element(&mut self) -> Vec<u8> {
        match self.random.below(40) {
            0 => vec![b'l'; SMALL_BYTES + self.random.below(3)],
            1 => self.value(),
            2..=10 => format!("m{}", self.random.below(700)).into_bytes(),
            11..=15 => self.integer(),
            16..=22 => self.random.below(700).to_string().into_bytes(),
            _ => format!("m{}", self.random.below(12)).into_bytes(),
        }
    }
}

/// What the arguments of one call share.
struct Call {
    group: &'static str,
    /// How many keys `numkeys` has announced.
    keys: Option<usize>,
}

/// The same argument, which may not be left out.
fn required(argument: &Argument) -> Argument {
    Argument {
        optional: false,
        ..argument.clone()
    }
}
