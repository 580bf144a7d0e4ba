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

    /// Adds it as the command that it is.
    pub fn push(self, key: u8, commands: &mut Commands) {
        let key = key_name(key);
        let text = |number: u64| number.to_string().into_bytes();
        let (name, args): (&str, Vec<Vec<u8>>) = match self {
            Op::Get => ("get", vec![]),
            Op::Set(value) => ("set", vec![text(value)]),
            Op::SetPx(value, ttl) => (
                "set",
                vec![text(value), b"px".to_vec(), text(u64::from(ttl))],
            ),
            Op::SetNx(value) => ("set", vec![text(value), b"nx".to_vec()]),
            Op::GetSet(value) => ("getset", vec![text(value)]),
            Op::Append(value) => ("append", vec![text(value)]),
            Op::Incr => ("incr", vec![]),
            Op::PExpire(ttl) => ("pexpire", vec![text(u64::from(ttl))]),
            Op::Del => ("del", vec![]),
        };
        let command = by_name(name.as_bytes()).expect("clients use commands that there are");
        let mut all: Vec<&[u8]> = vec![name.as_bytes(), &key];
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
