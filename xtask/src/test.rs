//! `cargo xtask test`: every test there is.

use std::path::Path;

use anyhow::Result;

use crate::report::{Counts, Report};
use crate::run::{self, Cargo};
use crate::tools::{self, Tools};
use crate::workspace::Workspace;

/// Runs the tests of the workspace, then those that drive the real binary.
///
/// What they need is brought first; what cannot be had makes the tests that need it SKIPPED, by name.
pub(crate) fn run(workspace: &Workspace, report: &mut Report) -> Result<()> {
    println!("\n=== tools for tests");
    let tools = Tools::bring(workspace);
    let mut cargo = Cargo::new(workspace);
    for (variable, path) in tools.variables() {
        cargo = cargo.with(variable, path.display().to_string());
    }
    report.count("cargo test", || cargo_test(&cargo));
    let built = report.check("release build", || {
        cargo.succeeds(&["build", "--release", "--package", "piccolo", "--locked"])
    });
    match &tools.python {
        Err(reason) => {
            for name in tools::python::test_files(workspace)? {
                report.skip(&format!("tests/{name}"), reason);
            }
        }
        Ok(_) if !built => report.skip("pytest", "there is no binary to test"),
        Ok(python) => {
            let checker = report.check("history checker", || build_checker(&cargo));
            let pytest = Pytest {
                workspace,
                tools: &tools,
                python,
                checker,
            };
            report.count("pytest", || pytest.run(&["tests"], &[]));
        }
    }
    Ok(())
}

/// Builds what judges the histories of clusters.
pub(crate) fn build_checker(cargo: &Cargo<'_>) -> Result<bool> {
    cargo.succeeds(&["build", "--package", "sim", "--bin", CHECKER, "--locked"])
}

/// The program that judges histories, of the crate `sim`.
pub(crate) const CHECKER: &str = "check-history";

/// The tests that drive the release build.
pub(crate) struct Pytest<'a> {
    pub(crate) workspace: &'a Workspace,
    pub(crate) tools: &'a Tools,
    pub(crate) python: &'a Path,
    /// Whether the checker of histories is built.
    pub(crate) checker: bool,
}

impl Pytest<'_> {
    /// Runs it with these arguments and variables, and counts its results.
    pub(crate) fn run(&self, arguments: &[&str], variables: &[(&str, String)]) -> Result<Counts> {
        let target = &self.workspace.target;
        let mut command = run::program(self.python);
        command
            .current_dir(&self.workspace.root)
            .args(["-m", "pytest", "-p", "no:cacheprovider"])
            .args(arguments)
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .env("PYTHONUNBUFFERED", "1")
            .env("PYTHONUTF8", "1")
            .env("PICCOLO_BIN", target.join("release/piccolo"))
            .envs(self.tools.variables())
            .envs(variables.iter().map(|(name, value)| (name, value)));
        if self.checker {
            command.env("PICCOLO_CHECKER", target.join("debug").join(CHECKER));
        }
        let mut results = PytestResults::default();
        let status = run::streamed(&mut command, |line| results.read(line))?;
        Ok(results.counts(status.success()))
    }
}

fn cargo_test(cargo: &Cargo<'_>) -> Result<Counts> {
    // Without --show-output, what a test that passed has printed is lost, and its skips with it.
    let arguments = [
        "test",
        "--workspace",
        "--locked",
        "--no-fail-fast",
        "--",
        "--show-output",
        "--color=never",
    ];
    let mut results = CargoResults::default();
    let status = run::streamed(&mut cargo.command(&arguments), |line| results.read(line))?;
    Ok(results.counts(status.success()))
}

/// `SKIPPED name: reason`, as tests print it.
fn skip(line: &str) -> Option<(String, String)> {
    let (name, reason) = line
        .trim_start()
        .strip_prefix("SKIPPED ")?
        .split_once(": ")?;
    Some((name.to_owned(), reason.to_owned()))
}

/// What the test harness of Rust prints.
#[derive(Default)]
struct CargoResults {
    counts: Counts,
}

impl CargoResults {
    fn read(&mut self, line: &str) {
        if let Some(skip) = skip(line) {
            if !self.counts.skipped.contains(&skip) {
                self.counts.skipped.push(skip);
            }
        } else if let Some(result) = line.strip_prefix("test result: ") {
            self.counts.passed += count_before(result, " passed");
            let ignored = count_before(result, " ignored");
            if ignored > 0 {
                let reason = "marked as ignored".to_owned();
                self.counts
                    .skipped
                    .push((format!("{ignored} tests"), reason));
            }
        } else if let Some(rest) = line.strip_prefix("test ")
            && let Some(name) = rest.strip_suffix(" ... FAILED")
        {
            self.counts.failed.push(name.to_owned());
        }
    }

    /// A test that printed why it did nothing has passed for the harness, but not here.
    fn counts(mut self, success: bool) -> Counts {
        self.counts.passed = self.counts.passed.saturating_sub(self.counts.skipped.len());
        if !success && self.counts.failed.is_empty() {
            self.counts
                .failed
                .push("cargo test (it did not build, or a test ended its process)".into());
        }
        self.counts
    }
}

fn count_before(text: &str, what: &str) -> usize {
    let number = text
        .split(';')
        .find_map(|part| part.trim().strip_suffix(what));
    number
        .and_then(|number| number.rsplit(' ').next()?.parse().ok())
        .unwrap_or(0)
}

/// What `tests/conftest.py` prints at the end of a run: `PASSED name`, `FAILED name` and
/// `SKIPPED name: reason`, each at the start of a line.
#[derive(Default)]
struct PytestResults {
    counts: Counts,
}

impl PytestResults {
    fn read(&mut self, line: &str) {
        if let Some(skip) = skip(line) {
            self.counts.skipped.push(skip);
        } else if line.starts_with("PASSED ") {
            self.counts.passed += 1;
        } else if let Some(name) = line.strip_prefix("FAILED ") {
            self.counts.failed.push(name.to_owned());
        }
    }

    fn counts(mut self, success: bool) -> Counts {
        if !success && self.counts.failed.is_empty() {
            self.counts.failed.push("pytest (it could not run)".into());
        }
        self.counts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_of_cargo_are_summed_and_skips_are_not_passes() {
        let mut results = CargoResults::default();
        for line in "\
test slot::tests::one ... ok
test slot::tests::two ... FAILED
test slot::tests::three ... ok
---- slot::tests::three stdout ----
SKIPPED oracle: PICCOLO_ORACLE is not set
test result: FAILED. 2 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.01s
test result: ok. 30 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.01s
SKIPPED oracle: PICCOLO_ORACLE is not set"
            .lines()
        {
            results.read(line);
        }
        let counts = results.counts(false);
        assert_eq!(counts.passed, 30);
        assert_eq!(counts.failed, ["slot::tests::two"]);
        let names: Vec<&str> = counts
            .skipped
            .iter()
            .map(|(name, _)| name.as_str())
            .collect();
        assert_eq!(names, ["oracle", "1 tests"]);
    }

    #[test]
    fn a_run_that_broke_off_has_failed() {
        assert_eq!(CargoResults::default().counts(false).failed.len(), 1);
        assert_eq!(PytestResults::default().counts(false).failed.len(), 1);
        assert_eq!(PytestResults::default().counts(true), Counts::default());
    }

    #[test]
    fn results_of_pytest_are_read_by_name() {
        let mut results = PytestResults::default();
        for line in [
            "PASSED tests/a.py::one",
            "FAILED tests/a.py::two",
            "SKIPPED tests/a.py::three: no redis-cli",
            "== 1 failed, 1 passed ==",
        ] {
            results.read(line);
        }
        let counts = results.counts(false);
        assert_eq!((counts.passed, counts.failed.len()), (1, 1));
        assert_eq!(counts.skipped[0].1, "no redis-cli");
    }
}
