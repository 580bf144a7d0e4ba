//! What a few commands do, said once more in the simplest way.

use std::borrow::Cow;
use std::collections::BTreeMap;

use commands::Reply;
use proptest::prelude::*;
use shard::Request;

use crate::driver::request;

/// A call of a command on one of a few keys.
#[derive(Clone, Debug)]
pub(crate) enum Call {
    Set(u8, u16),
    SetFor(u8, u16, u16),
    Increment(u8),
    Append(u8, u8),
    Remove(u8),
    Get(u8),
    Length(u8),
}

impl Call {
    pub(crate) fn write() -> impl Strategy<Value = Call> {
        let key = 0..4_u8;
        prop_oneof![
            1 => (key.clone(), any::<u16>()).prop_map(|(key, value)| Call::Set(key, value)),
            1 => (key.clone(), any::<u16>(), 1..300_u16)
                .prop_map(|(key, value, millis)| Call::SetFor(key, value, millis)),
            3 => key.clone().prop_map(Call::Increment),
            2 => (key.clone(), 0..10_u8).prop_map(|(key, digit)| Call::Append(key, digit)),
            1 => key.prop_map(Call::Remove),
        ]
    }

    pub(crate) fn any() -> impl Strategy<Value = Call> {
        prop_oneof![
            Call::write(),
            (0..4_u8).prop_map(Call::Get),
            (0..4_u8).prop_map(Call::Length),
        ]
    }

    fn words(&self) -> Vec<String> {
        let text: String = match self {
            Call::Set(key, value) => format!("set {key} {value}"),
            Call::SetFor(key, value, millis) => format!("set {key} {value} px {millis}"),
            Call::Increment(key) => format!("incr {key}"),
            Call::Append(key, digit) => format!("append {key} {digit}"),
            Call::Remove(key) => format!("del {key}"),
            Call::Get(key) => format!("get {key}"),
            Call::Length(key) => format!("strlen {key}"),
        };
        text.split(' ').map(str::to_owned).collect()
    }
}

pub(crate) fn request_of(ticket: u64, calls: &[Call]) -> Request {
    let words: Vec<Vec<String>> = calls.iter().map(Call::words).collect();
    let calls: Vec<Vec<&str>> = words
        .iter()
        .map(|words| words.iter().map(String::as_str).collect())
        .collect();
    request(ticket, &calls.iter().map(Vec::as_slice).collect::<Vec<_>>())
}

/// Values with the moment they expire at, by key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Model {
    values: BTreeMap<u8, (String, Option<u64>)>,
}

impl Model {
    /// Does what the call does and gives its reply.
    pub(crate) fn run(&mut self, call: &Call, stamp: u64) -> Reply<'static> {
        self.values
            .retain(|_, (_, expires_at)| expires_at.is_none_or(|at| at > stamp));
        match *call {
            Call::Set(key, value) => {
                self.values.insert(key, (value.to_string(), None));
                Reply::Ok
            }
            Call::SetFor(key, value, millis) => {
                let expires_at = stamp + u64::from(millis);
                self.values
                    .insert(key, (value.to_string(), Some(expires_at)));
                Reply::Ok
            }
            Call::Increment(key) => {
                let (value, _) = self.values.entry(key).or_insert(("0".into(), None));
                let number = value.parse::<i64>().ok();
                // "007" is no number of Redis.
                let number = number.filter(|number| number.to_string() == *value);
                match number.and_then(|number| number.checked_add(1)) {
                    Some(number) => {
                        *value = number.to_string();
                        Reply::Integer(number)
                    }
                    None => {
                        Reply::Error(Cow::Borrowed("ERR value is not an integer or out of range"))
                    }
                }
            }
            Call::Append(key, digit) => {
                let (value, _) = self.values.entry(key).or_default();
                value.push_str(&digit.to_string());
                Reply::from(value.len())
            }
            Call::Remove(key) => Reply::from(self.values.remove(&key).is_some()),
            Call::Get(key) => self.values.get(&key).map_or(Reply::Null, |(value, _)| {
                Reply::Bulk(Cow::Owned(value.clone().into_bytes()))
            }),
            Call::Length(key) => {
                Reply::from(self.values.get(&key).map_or(0, |(value, _)| value.len()))
            }
        }
    }

    /// The keys with their values and expiries at that moment.
    pub(crate) fn at(&self, stamp: u64) -> Vec<(Vec<u8>, Vec<u8>, Option<u64>)> {
        self.values
            .iter()
            .filter(|(_, (_, expires_at))| expires_at.is_none_or(|at| at > stamp))
            .map(|(key, (value, expires_at))| {
                let key = key.to_string().into_bytes();
                (key, value.clone().into_bytes(), *expires_at)
            })
            .collect()
    }
}
