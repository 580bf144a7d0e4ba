//! A server that is measured, and what it says of itself.

use std::collections::HashMap;

use anyhow::Result;

use super::process::Process;
use crate::control::{Control, Target};

/// A server, and what it says of itself.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) target: Target,
    /// Such as `redis 7.0.15`.
    pub(crate) name: String,
    /// Its process, when that is known and on this machine.
    pub(crate) process: Option<Process>,
}

impl Server {
    /// Connects for the first time.
    pub(crate) fn reach(target: Target) -> Result<Server> {
        let mut control = Control::connect(&target)?;
        let info = control.info("server")?;
        let loopback = control.is_local()?;
        let process = info
            .get("process_id")
            .filter(|_| loopback)
            .and_then(|pid| pid.parse().ok())
            .and_then(Process::of_server);
        Ok(Server {
            target,
            name: server_name(&info),
            process,
        })
    }
}

/// What a server calls itself, by the most telling field that it has.
fn server_name(info: &HashMap<String, String>) -> String {
    for name in ["piccolo", "valkey", "dragonfly", "redis"] {
        if let Some(version) = info.get(&format!("{name}_version")) {
            return format!("{name} {version}");
        }
    }
    "a server that does not tell its name".to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_called_by_its_most_telling_field() {
        let info = |names: &[&str]| {
            names
                .iter()
                .map(|name| (format!("{name}_version"), "7.0.15".to_owned()))
                .collect()
        };
        assert_eq!(server_name(&info(&["redis"])), "redis 7.0.15");
        assert_eq!(server_name(&info(&["redis", "piccolo"])), "piccolo 7.0.15");
        assert!(server_name(&info(&[])).contains("not tell"));
    }
}
