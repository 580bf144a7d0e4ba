//! Histories of real clusters, as files: what `cargo xtask check-history` reads.
//!
//! A line is a call, as a JSON object. Lines may have any order; times are of one monotonic clock.
//!
//! | field | meaning |
//! | --- | --- |
//! | `client` | a number; it has one call under way at a time |
//! | `key` | a text; each key is judged by itself, and begins with no value |
//! | `op` | `get`, `set`, `setnx`, `getset`, `append`, `incr`, `del`, `setpx` or `pexpire` |
//! | `value` | what `set`, `setnx`, `getset`, `append` and `setpx` write: a number that no other call has |
//! | `ttl_ms` | the time to live of `setpx` and `pexpire` |
//! | `called_us` | when it was sent, or before |
//! | `outcome` | `answered`; `unknown`: it may take effect at any later time, or never; `not_taken`: it never does |
//! | `returned_us` | when it was answered, or after |
//! | `answer` | `"ok"`, `"nil"`, `{"number": 1}`, `{"value": "12"}`, or `"refused"` for INCR of what is no number |

use std::collections::BTreeMap;
use std::io::{self, BufRead};
use std::time::Duration;

use serde_json::Value;
use thiserror::Error;

use crate::history::{Call, Outcome};
use crate::op::{Answer, Op};

/// Why a file is no history.
#[derive(Debug, Error)]
pub enum ReadError {
    /// It cannot be read.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// A line is no JSON.
    #[error("line {0}: {1}")]
    Json(usize, serde_json::Error),
    /// A line is no call.
    #[error("line {0}: `{1}` is missing or wrong")]
    Field(usize, &'static str),
}

/// Reads the calls, by key, in the order of their lines.
///
/// # Errors
/// [`ReadError`], with the number of the line.
pub fn read(lines: impl BufRead) -> Result<BTreeMap<String, Vec<Call>>, ReadError> {
    let mut keys: BTreeMap<String, Vec<Call>> = BTreeMap::new();
    for (index, line) in lines.lines().enumerate() {
        let line = line?;
        if line.is_empty() {
            continue;
        }
        let number = index + 1;
        let value: Value =
            serde_json::from_str(&line).map_err(|error| ReadError::Json(number, error))?;
        let (key, call) = call(&value).map_err(|field| ReadError::Field(number, field))?;
        keys.entry(key).or_default().push(call);
    }
    Ok(keys)
}

fn call(line: &Value) -> Result<(String, Call), &'static str> {
    let key = line["key"].as_str().ok_or("key")?.to_owned();
    let client = line["client"]
        .as_u64()
        .and_then(|client| client.try_into().ok());
    let outcome = match line["outcome"].as_str() {
        Some("answered") => Outcome::Answered(
            micros(line, "returned_us")?,
            answer(&line["answer"]).ok_or("answer")?,
        ),
        Some("unknown") => Outcome::Unknown,
        Some("not_taken") => Outcome::NotTaken,
        _ => return Err("outcome"),
    };
    let call = Call {
        client: client.ok_or("client")?,
        key: 0,
        op: op(line)?,
        called: micros(line, "called_us")?,
        outcome,
    };
    match call.returned() {
        Some(returned) if returned < call.called => Err("returned_us"),
        _ => Ok((key, call)),
    }
}

fn op(line: &Value) -> Result<Op, &'static str> {
    let value = || line["value"].as_u64().ok_or("value");
    let ttl = || {
        let ttl = line["ttl_ms"].as_u64().and_then(|ttl| ttl.try_into().ok());
        ttl.ok_or("ttl_ms")
    };
    Ok(match line["op"].as_str() {
        Some("get") => Op::Get,
        Some("set") => Op::Set(value()?),
        Some("setpx") => Op::SetPx(value()?, ttl()?),
        Some("setnx") => Op::SetNx(value()?),
        Some("getset") => Op::GetSet(value()?),
        Some("append") => Op::Append(value()?),
        Some("incr") => Op::Incr,
        Some("pexpire") => Op::PExpire(ttl()?),
        Some("del") => Op::Del,
        _ => return Err("op"),
    })
}

fn answer(value: &Value) -> Option<Answer> {
    Some(match value {
        Value::String(word) => match word.as_str() {
            "ok" => Answer::Ok,
            "nil" => Answer::Nil,
            "refused" => Answer::Refused,
            _ => return None,
        },
        other => match (&other["number"], &other["value"]) {
            (Value::Number(number), Value::Null) => Answer::Number(number.as_i64()?),
            (Value::Null, Value::String(text)) => Answer::Value(text.clone().into_bytes()),
            _ => return None,
        },
    })
}

fn micros(line: &Value, field: &'static str) -> Result<Duration, &'static str> {
    line[field].as_u64().map(Duration::from_micros).ok_or(field)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_read_by_key() {
        let text = r#"
{"client": 1, "key": "a", "op": "set", "value": 7, "called_us": 10, "outcome": "answered", "returned_us": 20, "answer": "ok"}
{"client": 2, "key": "b", "op": "incr", "called_us": 11, "outcome": "unknown"}
{"client": 1, "key": "a", "op": "get", "called_us": 21, "outcome": "answered", "returned_us": 21, "answer": {"value": "7"}}
{"client": 1, "key": "a", "op": "pexpire", "ttl_ms": 5, "called_us": 22, "outcome": "not_taken"}
"#;
        let keys = read(text.as_bytes()).unwrap();
        assert_eq!(keys["a"].len(), 3);
        assert_eq!(keys["b"][0].outcome, Outcome::Unknown);
        let call = &keys["a"][1];
        assert_eq!((call.op, call.called), (Op::Get, Duration::from_micros(21)));
        let answer = Answer::Value(b"7".to_vec());
        assert_eq!(
            call.outcome,
            Outcome::Answered(Duration::from_micros(21), answer)
        );
    }

    #[test]
    fn what_is_wrong_is_told_with_its_line() {
        let good =
            r#"{"client": 1, "key": "a", "op": "get", "called_us": 5, "outcome": "unknown"}"#;
        for (line, told) in [
            ("{", "line 2"),
            (r#"{"client": 1}"#, "`key`"),
            (
                r#"{"client": 1, "key": "a", "op": "zadd", "called_us": 5, "outcome": "unknown"}"#,
                "`op`",
            ),
            (
                r#"{"client": 1, "key": "a", "op": "set", "called_us": 5, "outcome": "unknown"}"#,
                "`value`",
            ),
            (
                r#"{"client": 1, "key": "a", "op": "get", "called_us": 5, "outcome": "answered", "returned_us": 4, "answer": "nil"}"#,
                "`returned_us`",
            ),
            (
                r#"{"client": 1, "key": "a", "op": "get", "called_us": 5, "outcome": "answered", "returned_us": 6, "answer": "yes"}"#,
                "`answer`",
            ),
        ] {
            let error = read(format!("{good}\n{line}\n").as_bytes())
                .unwrap_err()
                .to_string();
            assert!(error.contains("line 2") && error.contains(told), "{error}");
        }
    }
}
