//! `cargo xtask sim`: builds the simulator for speed and hands it the options.

use anyhow::Result;

use crate::run::Cargo;
use crate::workspace::Workspace;

/// Runs it; true if no seed failed. What options there are it says itself.
///
/// # Errors
/// When cargo cannot be run.
pub(crate) fn run(options: &[&str]) -> Result<bool> {
    let cargo = [
        "run",
        "--quiet",
        "--locked",
        "--profile",
        "sim",
        "--package",
        "sim",
        "--bin",
        "sim",
        "--",
    ];
    let arguments: Vec<&str> = cargo.iter().chain(options).copied().collect();
    Cargo::new(&Workspace::load()?).succeeds(&arguments)
}
