//! `cargo xtask chaos`: the scenarios of `tests/test_chaos.py`, each for minutes instead of seconds; and
//! `check-history`, which judges what clients were told.

use anyhow::{Result, bail};

use crate::report::Report;
use crate::run::Cargo;
use crate::test::{self, CHECKER, Pytest};
use crate::tools::Tools;
use crate::workspace::Workspace;

const TESTS: &str = "tests/test_chaos.py";

/// How long, and what.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Options {
    /// For each kind of fault.
    minutes: f64,
    /// As `pytest -k` takes it.
    only: Option<String>,
}

impl Options {
    /// Reads what follows `chaos` on the command line.
    ///
    /// # Errors
    /// What is wrong, for the one who wrote it.
    pub(crate) fn parse(arguments: &[&str]) -> std::result::Result<Options, String> {
        let mut options = Options {
            minutes: 10.0,
            only: None,
        };
        let mut arguments = arguments.iter();
        while let Some(name) = arguments.next() {
            let mut value = || {
                arguments
                    .next()
                    .copied()
                    .ok_or_else(|| format!("{name} lacks its value"))
            };
            match *name {
                "--minutes" => {
                    let text = value()?;
                    let minutes = text
                        .parse()
                        .ok()
                        .filter(|minutes| (0.01..=10_000.0).contains(minutes));
                    options.minutes = minutes.ok_or_else(|| {
                        format!("--minutes is a number from 0.01 to 10000, not `{text}`")
                    })?;
                }
                "--only" => options.only = Some(value()?.to_owned()),
                other => return Err(format!("`{other}` is no option of it")),
            }
        }
        Ok(options)
    }
}

/// Runs the scenarios on a release build.
///
/// # Errors
/// Python or the binary is not to be had.
pub(crate) fn run(workspace: &Workspace, report: &mut Report, options: &Options) -> Result<()> {
    println!("\n=== tools for tests");
    let tools = Tools::bring(workspace);
    let cargo = Cargo::new(workspace);
    let built = report.check("release build", || {
        cargo.succeeds(&["build", "--release", "--package", "piccolo", "--locked"])
    });
    let checker = report.check("history checker", || test::build_checker(&cargo));
    let python = match &tools.python {
        Ok(python) if built && checker => python,
        Ok(_) => bail!("there is no binary to test, or nothing to judge its histories with"),
        Err(reason) => bail!("there is no Python: {reason}"),
    };
    let pytest = Pytest {
        workspace,
        tools: &tools,
        python,
        checker,
    };
    let mut arguments = vec!["-s", TESTS];
    if let Some(only) = &options.only {
        arguments.extend(["-k", only]);
    }
    let seconds = [(
        "PICCOLO_CHAOS_SECONDS",
        (options.minutes * 60.0).to_string(),
    )];
    report.count("chaos", || pytest.run(&arguments, &seconds));
    Ok(())
}

/// Judges histories. True if all of them can be explained.
///
/// # Errors
/// Cargo does not run.
pub(crate) fn check_history(files: &[&str]) -> Result<bool> {
    let workspace = Workspace::load()?;
    let mut arguments = vec![
        "run",
        "--quiet",
        "--package",
        "sim",
        "--bin",
        CHECKER,
        "--locked",
        "--",
    ];
    arguments.extend(files);
    Cargo::new(&workspace).succeeds(&arguments)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_read() {
        let options = Options::parse(&["--minutes", "0.5", "--only", "partition"]).unwrap();
        assert_eq!(
            (options.minutes, options.only.as_deref()),
            (0.5, Some("partition"))
        );
        for arguments in [
            &["--minutes", "0"][..],
            &["--minutes", "NaN"],
            &["--only"],
            &["--fast"],
        ] {
            assert!(Options::parse(arguments).is_err(), "{arguments:?}");
        }
    }
}
