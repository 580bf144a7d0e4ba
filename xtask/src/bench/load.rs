//! The load generator: `piccolo bench`, in a process of its own, and what it found.

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::Bench;
use super::servers::Server;
use crate::run::{output, program};

/// Bytes of a value; keys have 16.
pub(super) const VALUE_BYTES: u64 = 64;

/// Runs it on both servers, Piccolo first, and gives what it printed.
///
/// # Errors
/// It fails; the message is its own.
pub(super) fn compare(
    bench: &Bench<'_>,
    piccolo: &Server,
    redis: &Server,
    keys: u64,
    arguments: &[&str],
) -> Result<Value> {
    let mut command = program(&bench.piccolo);
    command
        .args(["bench", "--json", "--address", &piccolo.address()])
        .args(["--vs", &redis.address()])
        .args(["--keys", &keys.to_string()])
        .args(["--value-size", &VALUE_BYTES.to_string()])
        .args(arguments);
    parse(&output(&mut command)?)
}

/// Sets each key once on one server.
pub(super) fn fill(bench: &Bench<'_>, server: &Server, keys: u64) -> Result<()> {
    let mut command = program(&bench.piccolo);
    command
        .args(["bench", "--json", "--op", "fill"])
        .args(["--address", &server.address()])
        .args(["--keys", &keys.to_string()])
        .args(["--value-size", &VALUE_BYTES.to_string()]);
    output(&mut command).map(|_| ())
}

fn parse(text: &str) -> Result<Value> {
    serde_json::from_str(text).context("piccolo bench does not print what is expected of it")
}

/// The number at a JSON pointer.
pub(super) fn figure(of: &Value, pointer: &str) -> Result<f64> {
    of.pointer(pointer)
        .and_then(Value::as_f64)
        .with_context(|| format!("piccolo bench did not tell {pointer}"))
}

/// A ratio of each round.
pub(super) fn ratios(of: &Value, name: &str) -> Result<Vec<f64>> {
    let rounds = of["ratios"].as_array().context("it told no ratios")?;
    rounds
        .iter()
        .map(|round| figure(round, &format!("/{name}")))
        .collect()
}

/// A comparison in which commands failed says nothing.
pub(super) fn must_be_served(of: &Value) -> Result<()> {
    for server in of["servers"].as_array().context("it told no servers")? {
        if let Some(error) = server["median"]["first_error"].as_str() {
            bail!("{} refused commands: {error}", server["server"]);
        }
    }
    Ok(())
}

/// Nor does one in which they read nothing.
pub(super) fn must_be_clean(of: &Value) -> Result<()> {
    must_be_served(of)?;
    for server in of["servers"].as_array().context("it told no servers")? {
        let median = &server["median"];
        if median["misses"].as_u64() != Some(0) {
            bail!(
                "{} lacks keys: {} misses",
                server["server"],
                median["misses"]
            );
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn ratios_of_rounds_are_read() {
        let result = json!({ "ratios": [{ "server_cpu": 0.5 }, { "server_cpu": 0.75 }] });
        assert_eq!(ratios(&result, "server_cpu").unwrap(), [0.5, 0.75]);
        let error = ratios(&result, "throughput").unwrap_err();
        assert!(error.to_string().contains("/throughput"), "{error}");
    }

    #[test]
    fn errors_and_misses_spoil_a_comparison() {
        let with = |error: Value, misses: u64| json!({ "servers": [{ "server": "a", "median": { "first_error": error, "misses": misses } }] });
        assert!(must_be_clean(&with(Value::Null, 0)).is_ok());
        assert!(must_be_clean(&with(Value::Null, 1)).is_err());
        assert!(must_be_clean(&with("ERR".into(), 0)).is_err());
    }
}
