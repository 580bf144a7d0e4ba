//! What tests need beyond Rust: Python packages, and the programs of Redis as oracle and as clients.
//!
//! All of it is kept under `target/test-tools` and nothing is installed into the machine. A tool is
//! made under another name first, so that one whose making broke off is never taken for whole.

pub(crate) mod python;
mod redis;

use std::path::PathBuf;

use anyhow::{Context, Result};

use crate::workspace::Workspace;

/// The tools that are there; for one that is not, why.
pub(crate) struct Tools {
    pub(crate) python: std::result::Result<PathBuf, String>,
    redis: Vec<(&'static str, PathBuf)>,
}

impl Tools {
    /// Finds or brings everything, and says what it found. What cannot be had is no error.
    pub(crate) fn bring(workspace: &Workspace) -> Tools {
        let folder = workspace.target.join("test-tools");
        let python = python::bring(workspace, &folder).map_err(|error| format!("{error:#}"));
        match &python {
            Ok(path) => println!("python: {}", path.display()),
            Err(reason) => println!("python: not to be had: {reason}"),
        }
        let redis = match redis::bring(&folder) {
            Ok(programs) => programs,
            Err(error) => {
                println!("redis-server: not to be had: {error:#}");
                Vec::new()
            }
        };
        for (variable, path) in &redis {
            println!("{variable}: {}", path.display());
        }
        Tools { python, redis }
    }

    /// The redis-server alone, found or brought; without it there is nothing to compare with.
    pub(crate) fn redis_server(workspace: &Workspace) -> Result<PathBuf> {
        let programs = redis::bring(&workspace.target.join("test-tools"))?;
        let (_, server) = programs
            .into_iter()
            .find(|(variable, _)| *variable == "PICCOLO_ORACLE")
            .context("there is no redis-server")?;
        Ok(server)
    }

    /// What tests find the programs of Redis by: `PICCOLO_ORACLE` (redis-server),
    /// `PICCOLO_REDIS_CLI`, `PICCOLO_REDIS_BENCHMARK`; each is set if its program is there.
    pub(crate) fn variables(&self) -> impl Iterator<Item = (&'static str, &PathBuf)> {
        self.redis.iter().map(|(variable, path)| (*variable, path))
    }
}
