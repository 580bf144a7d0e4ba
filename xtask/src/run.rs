//! Running other programs: without standard input, and without what the caller's environment would
//! change about the result.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read};
use std::process::{Command, ExitStatus, Stdio};

use anyhow::{Context, Result};

use crate::workspace::{Workspace, cargo};

/// Variables that would change what a test sees.
const UNWANTED: [&str; 12] = [
    "RUST_LOG",
    "NO_COLOR",
    "CARGO_MANIFEST_DIR",
    "PYTHONPATH",
    "PYTHONHOME",
    "PYTHONSTARTUP",
    "PYTEST_ADDOPTS",
    "PYTEST_PLUGINS",
    "VIRTUAL_ENV",
    "PICCOLO_ORACLE",
    "PICCOLO_REDIS_CLI",
    "PICCOLO_REDIS_BENCHMARK",
];

/// A program without standard input and without unwanted variables.
pub(crate) fn program(name: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(name);
    command.stdin(Stdio::null());
    for variable in UNWANTED {
        command.env_remove(variable);
    }
    command
}

/// Runs it with its output going where this program's goes. True if it succeeded.
pub(crate) fn succeeds(command: &mut Command) -> Result<bool> {
    let status = command
        .status()
        .with_context(|| format!("cannot run {}", shown(command)))?;
    Ok(status.success())
}

/// Runs it and hands each line of its standard output to `line`, after it was printed.
pub(crate) fn streamed(command: &mut Command, mut line: impl FnMut(&str)) -> Result<ExitStatus> {
    command.stdout(Stdio::piped());
    let mut child = command
        .spawn()
        .with_context(|| format!("cannot run {}", shown(command)))?;
    let output = child
        .stdout
        .take()
        .context("its standard output was asked for")?;
    let mut output = BufReader::new(output);
    let mut bytes = Vec::new();
    while output.by_ref().read_until(b'\n', &mut bytes)? > 0 {
        let text = String::from_utf8_lossy(&bytes);
        let text = text.trim_end();
        println!("{text}");
        line(text);
        bytes.clear();
    }
    Ok(child.wait()?)
}

/// Runs it and gives what it wrote to standard output, or what it wrote to standard error as an error.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let output = command
        .output()
        .with_context(|| format!("cannot run {}", shown(command)))?;
    if !output.status.success() {
        let error = String::from_utf8_lossy(&output.stderr);
        let last = error
            .lines()
            .rev()
            .find(|line| !line.trim().is_empty())
            .unwrap_or("no message");
        anyhow::bail!("{} failed: {}", shown(command), last.trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn shown(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words
        .map(|word| word.to_string_lossy())
        .collect::<Vec<_>>()
        .join(" ")
}

/// Cargo in the workspace.
pub(crate) struct Cargo<'w> {
    workspace: &'w Workspace,
    variables: Vec<(&'static str, String)>,
}

impl<'w> Cargo<'w> {
    pub(crate) fn new(workspace: &'w Workspace) -> Cargo<'w> {
        Cargo {
            workspace,
            variables: Vec::new(),
        }
    }

    /// The same with a variable set.
    pub(crate) fn with(&self, name: &'static str, value: impl Into<String>) -> Cargo<'w> {
        let mut variables = self.variables.clone();
        variables.push((name, value.into()));
        Cargo {
            workspace: self.workspace,
            variables,
        }
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = program(cargo());
        command.current_dir(&self.workspace.root).args(arguments);
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        command
    }

    pub(crate) fn succeeds(&self, arguments: &[&str]) -> Result<bool> {
        succeeds(&mut self.command(arguments))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_handed_on_as_they_come() {
        let mut lines = Vec::new();
        let status = streamed(
            program("sh").args(["-c", "echo one; printf 'tw\\377o'; cat"]),
            |line| {
                lines.push(line.to_owned());
            },
        );
        assert!(status.unwrap().success(), "without input, cat ends");
        assert_eq!(lines, ["one", "tw\u{fffd}o"]);
    }

    #[test]
    fn a_failure_is_told_by_its_last_line() {
        let failure = output(program("sh").args(["-c", "echo why >&2; exit 3"])).unwrap_err();
        assert!(failure.to_string().ends_with("failed: why"), "{failure}");
        assert!(output(&mut program("no-such-program-at-all")).is_err());
    }
}
