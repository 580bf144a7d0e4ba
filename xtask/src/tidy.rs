//! `cargo xtask tidy`: the house rules that no compiler checks, each with its reason.
//!
//! - [`arrows`]: the table of `ARCHITECTURE.md` is what cargo builds.
//! - [`lengths`]: a file holds one subject; those that grew too long may only shrink.
//! - [`words`]: what must not be left in the sources.
//! - [`links`]: documents point at files that are there.

mod arrows;
mod files;
mod lengths;
mod links;
mod words;

use std::fmt;
use std::fs;

use anyhow::{Context, Result};

use crate::report::Report;
use crate::workspace::Workspace;

/// A rule that is broken, and where.
#[derive(Debug, PartialEq, Eq)]
struct Violation {
    path: String,
    /// From 1; 0 where the whole file is meant.
    line: usize,
    /// What is wrong, and why it matters.
    message: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(f, "{}: {}", self.path, self.message),
            line => write!(f, "{}:{line}: {}", self.path, self.message),
        }
    }
}

/// Adds a check to the report for each family of rules.
pub(crate) fn run(workspace: &Workspace, report: &mut Report) {
    report.check("tidy: arrows", || {
        Ok(told(&arrows::check(
            &read(workspace, arrows::MAP)?,
            &workspace.members,
        )))
    });
    report.check("tidy: lengths", || {
        let sources = files::texts(&workspace.root, &["rs"])?;
        Ok(told(&lengths::check(
            &sources,
            &read(workspace, lengths::LIST)?,
        )))
    });
    report.check("tidy: words", || {
        let texts = files::texts(&workspace.root, &["rs", "py", "md", "toml", "sh", "txt"])?;
        Ok(told(&words::check(&texts)))
    });
    report.check("tidy: links", || {
        let documents = files::texts(&workspace.root, &["md"])?;
        Ok(told(&links::check(&documents, |path| {
            workspace.root.join(path).exists()
        })))
    });
}

fn read(workspace: &Workspace, path: &str) -> Result<String> {
    fs::read_to_string(workspace.root.join(path)).with_context(|| format!("cannot read {path}"))
}

/// Prints what is wrong. True if nothing is.
fn told(violations: &[Violation]) -> bool {
    for violation in violations {
        println!("{violation}");
    }
    violations.is_empty()
}
