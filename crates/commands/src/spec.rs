//! What is known about a command without running it: the record that dispatch, `COMMAND` and the
//! documentation share.

mod arguments;
mod flags;
mod keys;

use std::borrow::Cow;
use std::fmt::Write;

pub use arguments::{Argument, ArgumentKind};
pub use flags::{Categories, Flags, KeyFlags};
pub use keys::{Begin, Find, KeySpec};

use crate::Reply;
use crate::split::Split;

/// A command or a subcommand as Redis 7 describes it.
///
/// Records are constants that end in `..Spec::EMPTY`.
#[derive(Clone, Copy, Debug)]
pub struct Spec {
    /// The name in lower case; that of a subcommand includes its container: `object|encoding`.
    pub name: &'static str,
    /// The number of arguments, with the name (and for a subcommand with the container's name);
    /// where negative, the least number.
    pub arity: i16,
    /// What `COMMAND INFO` lists as flags; `movablekeys` is derived by [`Spec::all_flags`].
    pub flags: Flags,
    /// Where the keys stand.
    pub keys: &'static [KeySpec],
    /// The explicit categories; [`Spec::acl_categories`] adds the derived ones.
    pub categories: Categories,
    /// The group in the documentation: `string`, `generic`, `server`, `connection`...
    pub group: &'static str,
    /// The version of Redis that first had it.
    pub since: &'static str,
    /// One line about what it does.
    pub summary: &'static str,
    /// The time that it takes.
    pub complexity: &'static str,
    /// The arguments after the name as the documentation writes them:
    /// `key value [NX | XX] [EX seconds | KEEPTTL]`.
    pub syntax: &'static str,
    /// The version since which something else is better, and what.
    pub deprecated: Option<(&'static str, &'static str)>,
    /// Hints for proxies and clients, such as `request_policy:multi_shard`.
    pub tips: &'static [&'static str],
    /// What becomes of a call whose data lies in several shards.
    pub split: Split,
    /// What a container holds; their names all start with its name and `|`.
    pub subcommands: &'static [Spec],
}

impl Spec {
    /// What a record leaves out: no flags, no keys, no categories, no subcommands.
    pub const EMPTY: Spec = Spec {
        name: "",
        arity: 0,
        flags: Flags::NONE,
        keys: &[],
        categories: Categories::NONE,
        group: "",
        since: "",
        summary: "",
        complexity: "",
        syntax: "",
        deprecated: None,
        tips: &[],
        split: Split::Never,
        subcommands: &[],
    };

    /// Whether a call with that many arguments, the name among them, has as many as it needs.
    pub const fn arity_matches(&self, argc: usize) -> bool {
        if self.arity < 0 {
            argc >= self.arity.unsigned_abs() as usize
        } else {
            argc == self.arity as usize
        }
    }

    /// The subcommand of that name (without the container's), in any case.
    pub fn subcommand(&self, name: &[u8]) -> Option<&'static Spec> {
        self.subcommands.iter().find(|spec| {
            let (_, short) = spec.name.split_once('|').unwrap_or(("", spec.name));
            short.as_bytes().eq_ignore_ascii_case(name)
        })
    }

    /// The record that a call falls under: that of the subcommand, or this one.
    ///
    /// # Errors
    /// Redis's own refusal when the number of arguments is wrong or a container has no such
    /// subcommand. Every call passes here before its handler sees it.
    pub fn check(&'static self, args: &[&[u8]]) -> Result<&'static Spec, Reply<'static>> {
        let mut spec = self;
        if !self.subcommands.is_empty()
            && let Some(&name) = args.get(1)
        {
            spec = self.subcommand(name).ok_or_else(|| {
                Reply::error(format_args!(
                    "ERR unknown subcommand '{}'. Try {} HELP.",
                    lossy(name, 128),
                    lossy(args[0], usize::MAX).to_ascii_uppercase(),
                ))
            })?;
        }
        if spec.arity_matches(args.len()) {
            Ok(spec)
        } else {
            Err(spec.arity_error())
        }
    }

    /// The refusal of a call with the wrong number of arguments.
    pub fn arity_error(&self) -> Reply<'static> {
        Reply::error(format_args!(
            "ERR wrong number of arguments for '{}' command",
            self.name
        ))
    }

    /// The indices of the keys among the arguments of a call that [`Spec::check`] accepted, in the
    /// order of [`Spec::keys`]. A malformed number of keys counts as none.
    pub fn key_positions<'a>(&self, args: &'a [&'a [u8]]) -> impl Iterator<Item = usize> + use<'a> {
        let mut keys = self.keys;
        if !self.subcommands.is_empty()
            && let Some(spec) = args.get(1).and_then(|name| self.subcommand(name))
        {
            keys = spec.keys;
        }
        keys.iter().flat_map(|spec| spec.positions(args))
    }

    /// The arguments as a tree, read from [`Spec::syntax`].
    pub fn arguments(&self) -> Vec<Argument> {
        arguments::parse(self.syntax, self.keys.len())
    }

    /// First key, last key and step as `COMMAND INFO` prints them; zeros when there are no keys at
    /// fixed places.
    pub fn key_range(&self) -> (i32, i32, i32) {
        keys::legacy_range(self.keys)
    }

    /// The flags, with `movablekeys` where the places of the keys depend on the arguments.
    pub fn all_flags(&self) -> Flags {
        let movable = self.keys.iter().any(KeySpec::is_movable);
        if movable {
            self.flags.with(Flags::MOVABLEKEYS)
        } else {
            self.flags
        }
    }

    /// The ACL categories, with those that follow from the flags.
    pub const fn acl_categories(&self) -> Categories {
        let mut all = self.categories;
        if self.flags.contains(Flags::WRITE) {
            all = all.with(Categories::WRITE);
        }
        if self.flags.contains(Flags::READONLY) && !all.contains(Categories::SCRIPTING) {
            all = all.with(Categories::READ);
        }
        if self.flags.contains(Flags::ADMIN) {
            all = all.with(Categories::ADMIN).with(Categories::DANGEROUS);
        }
        if self.flags.contains(Flags::PUBSUB) {
            all = all.with(Categories::PUBSUB);
        }
        if self.flags.contains(Flags::BLOCKING) {
            all = all.with(Categories::BLOCKING);
        }
        all.with(if self.flags.contains(Flags::FAST) {
            Categories::FAST
        } else {
            Categories::SLOW
        })
    }
}

/// The refusal of a call whose name no command has, as Redis words it.
pub fn unknown_command(args: &[&[u8]]) -> Reply<'static> {
    let (name, rest) = args
        .split_first()
        .map_or((&b""[..], args), |(name, rest)| (*name, rest));
    let mut text = format!(
        "ERR unknown command '{}', with args beginning with: ",
        lossy(name, 128)
    );
    let mut shown = 0;
    for arg in rest {
        if shown >= 128 {
            break;
        }
        let arg = lossy(arg, 128 - shown);
        shown += arg.len() + 3;
        write!(text, "'{arg}' ").expect("writing to a String does not fail");
    }
    Reply::error(text)
}

/// At most `limit` bytes, up to the first NUL: what `%.*s` prints in Redis.
pub(crate) fn lossy(bytes: &[u8], limit: usize) -> Cow<'_, str> {
    let bytes = &bytes[..bytes.len().min(limit)];
    let end = memchr::memchr(0, bytes).unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::by_name;

    fn check(call: &str) -> Result<&'static str, String> {
        let args: Vec<&[u8]> = call.split(' ').map(str::as_bytes).collect();
        let spec = &by_name(args[0]).unwrap().spec;
        match spec.check(&args) {
            Ok(spec) => Ok(spec.name),
            Err(Reply::Error(text)) => Err(text.into_owned()),
            Err(other) => panic!("{other:?}"),
        }
    }

    #[test]
    fn calls_are_checked_down_to_the_subcommand() {
        assert_eq!(check("get k"), Ok("get"));
        assert_eq!(check("OBJECT Freq k"), Ok("object|freq"));
        let error = |text: &str| Err(text.to_owned());
        assert_eq!(
            check("GET"),
            error("ERR wrong number of arguments for 'get' command")
        );
        assert_eq!(
            check("object"),
            error("ERR wrong number of arguments for 'object' command")
        );
        assert_eq!(
            check("object freq"),
            error("ERR wrong number of arguments for 'object|freq' command")
        );
        assert_eq!(
            check("object no"),
            error("ERR unknown subcommand 'no'. Try OBJECT HELP.")
        );
    }

    fn positions(call: &str) -> Vec<usize> {
        let args: Vec<&[u8]> = call.split(' ').map(str::as_bytes).collect();
        by_name(args[0])
            .unwrap()
            .spec
            .key_positions(&args)
            .collect()
    }

    #[test]
    fn keys_are_found() {
        assert_eq!(positions("get k"), [1]);
        assert_eq!(positions("mget a b c"), [1, 2, 3]);
        assert_eq!(positions("mset a 1 b 2"), [1, 3]);
        assert_eq!(positions("rename a b"), [1, 2]);
        assert_eq!(positions("lcs a b IDX"), [1, 2]);
        assert_eq!(positions("object encoding k"), [2]);
        assert_eq!(positions("object help"), []);
        assert_eq!(positions("dbsize"), []);
    }

    #[test]
    fn keys_may_follow_a_word_or_a_number() {
        const KEYS: &[KeySpec] = &[
            KeySpec {
                flags: KeyFlags::RO,
                begin: Begin::Keyword("STREAMS", 1),
                find: Find::Range {
                    last: -1,
                    step: 1,
                    limit: 2,
                },
            },
            KeySpec {
                flags: KeyFlags::RO,
                begin: Begin::Index(2),
                find: Find::KeyNum {
                    number: 0,
                    first: 1,
                    step: 1,
                },
            },
        ];
        let spec = Spec {
            name: "x",
            arity: -1,
            keys: KEYS,
            ..Spec::EMPTY
        };
        let positions = |call: &str| -> Vec<usize> {
            let args: Vec<&[u8]> = call.split(' ').map(str::as_bytes).collect();
            spec.key_positions(&args).collect()
        };
        assert_eq!(positions("xread COUNT 1 streams a b 0 0"), [4, 5, 3]);
        assert_eq!(positions("eval script 2 a b c"), [3, 4]);
        for malformed in [
            "x s 3 a b",
            "x s -1 a",
            "x s 18446744073709551615 a",
            "x s",
            "x",
        ] {
            assert_eq!(positions(malformed), [], "{malformed}");
        }
        assert!(spec.all_flags().contains(Flags::MOVABLEKEYS));
        assert_eq!(spec.key_range(), (0, 0, 0));
    }

    #[test]
    fn an_unknown_command_shows_its_first_arguments() {
        let Reply::Error(text) = unknown_command(&[b"no\r\nway", b"a", b"b\0c"]) else {
            panic!()
        };
        assert_eq!(
            text,
            "ERR unknown command 'no  way', with args beginning with: 'a' 'b' "
        );
        let long = [b'x'; 500];
        let Reply::Error(text) = unknown_command(&[&long, &long, &long]) else {
            panic!()
        };
        assert_eq!(
            text.len(),
            "ERR unknown command '', with args beginning with: '' ".len() + 256
        );
    }
}
