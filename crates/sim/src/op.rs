//! What clients ask for, and what they are told.

use std::time::Duration;

use base::Db;
use commands::{Reply, by_name};
use shard::Commands;

/// One command on one key. Values are numbers that no two operations of a run share, so that a value
/// that is read tells who wrote it, and so that a counter can be set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Op {
    /// GET.
    Get,
    /// SET to the value.
    Set(u64),
    /// SET to the value, with an expiry in that many milliseconds.
    SetPx(u64, u32),
    /// SET NX to the value.
    SetNx(u64),
    /// GETSET to the value.
    GetSet(u64),
    /// APPEND of the value.
    Append(u64),
    /// INCR.
    Incr,
    /// PEXPIRE in that many milliseconds.
    PExpire(u32),
    /// DEL.
    Del,
}

/// What a client was told.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Answer {
    /// `OK`.
    Ok,
    /// Nothing there, or not set.
    Nil,
    /// A number.
    Number(i64),
    /// A value.
    Value(Vec<u8>),
    /// A refusal of the command itself, such as INCR of what is no number.
    Refused,
}

impl Op {
    /// Whether it changes nothing, whatever is there.
    pub fn is_read(self) -> bool {
        self == Op::Get
    }

    /// The value that no other operation has, if it writes one.
    pub fn value(self) -> Option<u64> {
        match self {
            Op::Set(value)
            | Op::SetPx(value, _)
            | Op::SetNx(value)
            | Op::GetSet(value)
            | Op::Append(value) => Some(value),
            Op::Get | Op::Incr | Op::PExpire(_) | Op::Del => None,
        }
    }

    /// The time to live that it gives, if any.
    pub fn ttl(self) -> Option<Duration> {
        match self {
            Op::SetPx(_, millis) | Op::PExpire(millis) => {
                Some(Duration::from_millis(u64::from(millis)))
            }
            _ => None,
        }
    }

    /// The command that it is, in small letters.
    pub fn name(self) -> &'static str {
        match self {
            Op::Get => "get",
            Op::Set(_) | Op::SetPx(..) | Op::SetNx(_) => "set",
            Op::GetSet(_) => "getset",
            Op::Append(_) => "append",
            Op::Incr => "incr",
            Op::PExpire(_) => "pexpire",
            Op::Del => "del",
        }
    }

    /// The arguments after the key.
    pub fn args(self) -> Vec<Vec<u8>> {
        let text = |number: u64| number.to_string().into_bytes();
        match self {
            Op::Get | Op::Incr | Op::Del => Vec::new(),
            Op::Set(value) | Op::GetSet(value) | Op::Append(value) => vec![text(value)],
            Op::SetPx(value, ttl) => {
                vec![text(value), b"px".to_vec(), text(u64::from(ttl))]
            }
            Op::SetNx(value) => vec![text(value), b"nx".to_vec()],
            Op::PExpire(ttl) => vec![text(u64::from(ttl))],
        }
    }

    /// Adds it as the command that it is.
    ///
    /// # Panics
    /// If there is no such command.
    pub fn push(self, key: u8, commands: &mut Commands) {
        let (key, args) = (key_name(key), self.args());
        let command = by_name(self.name().as_bytes()).expect("clients use commands that there are");
        let mut all: Vec<&[u8]> = vec![self.name().as_bytes(), &key];
        all.extend(args.iter().map(Vec::as_slice));
        commands.push(command, Db::default(), &all);
    }
}

/// What the keys of a run are called.
pub fn key_name(key: u8) -> Vec<u8> {
    format!("key-{key}").into_bytes()
}

impl Answer {
    /// Reads a reply; `None` for one that no operation here can get.
    pub fn of(reply: &Reply<'_>) -> Option<Answer> {
        Some(match reply {
            Reply::Ok => Answer::Ok,
            Reply::Null => Answer::Nil,
            Reply::Integer(number) => Answer::Number(*number),
            Reply::Bulk(bytes) => Answer::Value(bytes.to_vec()),
            Reply::Error(_) => Answer::Refused,
            _ => return None,
        })
    }
}
