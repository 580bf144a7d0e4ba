//! What developers and CI run: `cargo xtask verify`, `fix`, `test`, `tidy`, `bench`, `sim`, `chaos`
//! and `check-history`.

mod bench;
mod chaos;
mod report;
mod run;
mod sim;
mod test;
mod tidy;
mod tools;
mod workspace;

use std::process::ExitCode;

use anyhow::Result;

use crate::report::Report;
use crate::run::Cargo;
use crate::workspace::Workspace;

const USAGE: &str = "\
cargo xtask COMMAND

  verify   what CI runs, and changes nothing: formatting, clippy, tidy, docs, test
  test     every test; brings what they need: Python packages in a virtual environment and a
           redis-server as oracle, both under target/, nothing installed
  tidy     the house rules: the arrows of ARCHITECTURE.md, file lengths, words, links
  fix      rewrites: formatting, and what clippy can mend by itself
  sim      whole clusters in one thread each, from a seed, with faults; tells the first seed that fails, and
           the shortest run that fails in the same way
             --seeds N        how many [default: 1000]
             --seed S         the first of them [default: 1]
             --minutes M      no new one is begun after so long
             --trace          tells all that happens in the first
             --planted BUG    with a bug of crates/sim/src/planted.rs in it: a failure is expected
  chaos    faults on real clusters under load, each kind for a long time; as root, else without partitions
             --minutes N      how long each kind of fault [default: 10]
             --only WORDS     the kinds whose names have that in them, as pytest -k takes it
  check-history FILE...
           whether what clients of a cluster were told can have come from one copy of the data; the form of
           the file stands in crates/sim/src/history_file.rs
  bench    Piccolo against Redis and etcd, as tables for docs/benchmarks.md; on a quiet machine, 20 minutes
             --only WHAT      speed, memory, restart or cluster
             --rounds N       rounds of each comparison, of which the median counts [default: 5]
             --seconds S      how long a round of speed is [default: 3]
             --keys N         how many keys [default: 1000000; memory and restart: 5000000;
                              cluster: 20000]
             --binary PATH    a release build that is there, instead of building one

A check or a test that could not run is reported as SKIPPED, by name. The last line counts:
N passed, N failed, N skipped. Exit codes: 0 nothing failed, 1 something did, 2 usage.";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let result = match arguments[..] {
        ["verify"] => checked(verify),
        ["test"] => checked(test::run),
        ["tidy"] => checked(|workspace, report| {
            tidy::run(workspace, report);
            Ok(())
        }),
        ["fix"] => fix(),
        ["bench", ref options @ ..] => match bench::Options::parse(options) {
            Ok(options) => bench::run(&options).map(|()| true),
            Err(problem) => {
                eprintln!("xtask bench: {problem}\n\n{USAGE}");
                return ExitCode::from(2);
            }
        },
        ["sim", ref options @ ..] => sim::run(options),
        ["chaos", ref options @ ..] => match chaos::Options::parse(options) {
            Ok(options) => checked(|workspace, report| chaos::run(workspace, report, &options)),
            Err(problem) => {
                eprintln!("xtask chaos: {problem}\n\n{USAGE}");
                return ExitCode::from(2);
            }
        },
        ["check-history", ref files @ ..] if !files.is_empty() => chaos::check_history(files),
        ["help" | "--help" | "-h"] => {
            println!("{USAGE}");
            return ExitCode::SUCCESS;
        }
        _ => {
            eprintln!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Runs checks and prints what came of them. True if nothing failed.
fn checked(checks: impl FnOnce(&Workspace, &mut Report) -> Result<()>) -> Result<bool> {
    let workspace = Workspace::load()?;
    let mut report = Report::new();
    checks(&workspace, &mut report)?;
    println!("{report}");
    Ok(report.failed() == 0)
}

fn verify(workspace: &Workspace, report: &mut Report) -> Result<()> {
    let cargo = Cargo::new(workspace);
    report.check("formatting", || {
        cargo.succeeds(&["fmt", "--all", "--check"])
    });
    report.check("clippy", || {
        let lints = [
            "clippy",
            "--workspace",
            "--all-targets",
            "--locked",
            "--keep-going",
            "--",
            "-D",
            "warnings",
        ];
        cargo.succeeds(&lints)
    });
    tidy::run(workspace, report);
    report.check("docs", || {
        cargo.with("RUSTDOCFLAGS", "-D warnings").succeeds(&[
            "doc",
            "--workspace",
            "--no-deps",
            "--locked",
        ])
    });
    test::run(workspace, report)
}

fn fix() -> Result<bool> {
    let workspace = Workspace::load()?;
    let cargo = Cargo::new(&workspace);
    let mended = cargo.succeeds(&[
        "clippy",
        "--workspace",
        "--all-targets",
        "--fix",
        "--allow-dirty",
        "--allow-staged",
    ])?;
    let formatted = cargo.succeeds(&["fmt", "--all"])?;
    Ok(mended && formatted)
}
