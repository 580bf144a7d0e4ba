//! The log: `tracing` events to standard error, as text or as one JSON object a line.

use std::io::{self, IsTerminal};

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::ParseError;

use crate::config::{Log, LogFormat};

/// `RUST_LOG` does not read as a filter.
#[derive(Debug, thiserror::Error)]
#[error(
    "RUST_LOG={value}: {source}, expected levels such as `debug` or `info,peer=debug`, or nothing"
)]
pub(crate) struct FilterError {
    value: String,
    source: ParseError,
}

/// Sends events to standard error from now on. To be called once, before the first event.
///
/// # Errors
/// [`FilterError`] if `RUST_LOG` is set to something that is no filter.
pub(crate) fn start(log: Log) -> Result<(), FilterError> {
    let filter = filter(log, std::env::var("RUST_LOG").ok())?;
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        // A closed standard error must not end a node that could go on.
        .log_internal_errors(false);
    match log.format {
        LogFormat::Text => {
            let colours = io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
            subscriber.with_ansi(colours).init();
        }
        LogFormat::Json => subscriber.json().flatten_event(true).init(),
    }
    Ok(())
}

fn filter(log: Log, variable: Option<String>) -> Result<EnvFilter, FilterError> {
    match variable.filter(|value| !value.trim().is_empty()) {
        Some(value) => EnvFilter::builder()
            .parse(&value)
            .map_err(|source| FilterError { value, source }),
        None => Ok(EnvFilter::new(log.level.name())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::LogLevel;

    fn shown(level: LogLevel, variable: Option<&str>) -> Result<String, String> {
        let log = Log {
            level,
            format: LogFormat::Text,
        };
        filter(log, variable.map(str::to_owned))
            .map(|filter| filter.to_string())
            .map_err(|error| error.to_string())
    }

    #[test]
    fn the_environment_goes_over_the_configuration() {
        assert_eq!(shown(LogLevel::Debug, None).unwrap(), "debug");
        assert_eq!(shown(LogLevel::Debug, Some("")).unwrap(), "debug");
        assert_eq!(shown(LogLevel::Debug, Some("warn")).unwrap(), "warn");
    }

    #[test]
    fn a_filter_that_makes_no_sense_is_refused() {
        let error = shown(LogLevel::Info, Some("peer=loud")).unwrap_err();
        assert!(error.starts_with("RUST_LOG=peer=loud: "), "{error}");
    }
}
