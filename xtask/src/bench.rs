//! `cargo xtask bench`: the targets of `docs/benchmarks.md`, each as a ratio to a Redis 7, or for a
//! cluster to an etcd, that ran in the same minutes on the same machine.
//!
//! Servers are fresh for each comparison, in folders under `target/bench` that go when it ends, well or not. The
//! load comes from `piccolo bench`, or for a cluster from `benches/cluster`, and alternates both servers round by round. What is printed to the standard
//! output is Markdown, a row as soon as it is measured; what goes on is told on standard error. A target that is
//! missed is a result, not a failure.
//!
//! - [`speed`], [`memory`], [`restart`], [`cluster`], [`types`]: the comparisons.
//! - [`servers`]: starting and ending servers. [`load`]: the load generator. [`ask`]: questions to a server.
//! - [`machine`]: what the figures depend on. [`table`]: medians and cells.

mod ask;
mod cluster;
mod load;
mod machine;
mod memory;
mod restart;
mod servers;
mod speed;
mod table;
mod types;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use tempfile::TempDir;

use crate::run::{Cargo, output, program};
use crate::tools::Tools;
use crate::workspace::Workspace;

/// What to measure, and how long.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Options {
    /// None: all of them.
    only: Option<Subject>,
    rounds: u32,
    /// Of a round of the comparison of speed.
    seconds: f64,
    /// None: as many as the target says.
    keys: Option<u64>,
    /// None: it is built.
    binary: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Subject {
    Speed,
    Memory,
    Restart,
    Cluster,
    Types,
}

impl Options {
    /// Reads what follows `bench` on the command line.
    ///
    /// # Errors
    /// What is wrong, for the one who wrote it.
    pub(crate) fn parse(arguments: &[&str]) -> std::result::Result<Options, String> {
        let mut options = Options {
            only: None,
            rounds: 5,
            seconds: 3.0,
            keys: None,
            binary: None,
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
                "--only" => {
                    options.only = Some(match value()? {
                        "speed" => Subject::Speed,
                        "memory" => Subject::Memory,
                        "restart" => Subject::Restart,
                        "cluster" => Subject::Cluster,
                        "types" => Subject::Types,
                        other => {
                            return Err(format!(
                                "--only is speed, memory, restart, cluster or types, not `{other}`"
                            ));
                        }
                    });
                }
                "--rounds" => {
                    options.rounds = number(name, value()?, |rounds| *rounds > 0)?;
                }
                "--seconds" => {
                    let range = 0.01..=86_400.0;
                    options.seconds = number(name, value()?, |seconds| range.contains(seconds))?;
                }
                "--keys" => options.keys = Some(number(name, value()?, |keys| *keys > 0)?),
                "--binary" => options.binary = Some(value()?.into()),
                other => return Err(format!("`{other}` is no option of it")),
            }
        }
        Ok(options)
    }

    fn wants(&self, subject: Subject) -> bool {
        self.only.is_none_or(|only| only == subject)
    }
}

fn number<T: std::str::FromStr>(
    name: &str,
    text: &str,
    fits: impl Fn(&T) -> bool,
) -> std::result::Result<T, String> {
    let number = text.parse().ok().filter(fits);
    number.ok_or_else(|| format!("{name} is a number above zero, not `{text}`"))
}

/// What all comparisons need.
struct Bench<'a> {
    options: &'a Options,
    /// The server and the load generator.
    piccolo: PathBuf,
    /// None where nothing is compared with it.
    redis: Option<PathBuf>,
    /// Holds the folder of each comparison.
    home: PathBuf,
}

impl Bench<'_> {
    /// A folder that goes when it is dropped.
    fn folder(&self) -> Result<TempDir> {
        tempfile::Builder::new()
            .prefix("run-")
            .tempdir_in(&self.home)
            .with_context(|| format!("cannot make a folder in {}", self.home.display()))
    }

    fn redis(&self) -> Result<&Path> {
        let redis = self.redis.as_deref();
        redis.context("redis-server was not looked for")
    }

    fn keys(&self, default: u64) -> u64 {
        self.options.keys.unwrap_or(default)
    }
}

/// Measures and prints.
///
/// # Errors
/// There is no Redis to compare with, Piccolo does not build, or a server does not do what it was started for.
pub(crate) fn run(options: &Options) -> Result<()> {
    let workspace = Workspace::load()?;
    let redis = match options.only {
        Some(Subject::Cluster) => None,
        _ => Some(Tools::redis_server(&workspace).context("redis-server is not to be had")?),
    };
    let piccolo = match &options.binary {
        Some(path) => fs::canonicalize(path)
            .with_context(|| format!("there is no binary {}", path.display()))?,
        None => built(&workspace)?,
    };
    let home = workspace.target.join("bench");
    fs::create_dir_all(&home).with_context(|| format!("cannot make {}", home.display()))?;
    let bench = Bench {
        options,
        piccolo,
        redis,
        home,
    };
    println!("{}", machine::facts(&bench, &commit(&workspace.root))?);
    let touched = machine::touch_memory();
    println!(
        "- memory: {:.1} GiB were touched once and freed before anything was measured, so that no server is charged for \
         pages that the host has yet to provide\n",
        touched as f64 / f64::from(1 << 30)
    );
    for (subject, measure) in [
        (Subject::Speed, speed::run as fn(&Bench<'_>) -> Result<()>),
        (Subject::Memory, memory::run),
        (Subject::Restart, restart::run),
        (Subject::Cluster, cluster::run),
        (Subject::Types, types::run),
    ] {
        if options.wants(subject) {
            measure(&bench)?;
            println!();
        }
    }
    Ok(())
}

fn built(workspace: &Workspace) -> Result<PathBuf> {
    let arguments = ["build", "--release", "--package", "piccolo", "--locked"];
    if !Cargo::new(workspace).succeeds(&arguments)? {
        bail!("piccolo does not build");
    }
    Ok(workspace.target.join("release/piccolo"))
}

/// The commit that is checked out, for the record; sources without git have none.
fn commit(root: &Path) -> String {
    let mut git = program("git");
    git.arg("-C").arg(root);
    output(git.args(["describe", "--always", "--dirty", "--exclude=*"])).map_or_else(
        |_| "of an unknown commit".to_owned(),
        |commit| commit.trim().to_owned(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_read() {
        let options = Options::parse(&[
            "--only",
            "memory",
            "--rounds",
            "2",
            "--seconds",
            "0.5",
            "--keys",
            "10",
            "--binary",
            "a/b",
        ]);
        let expected = Options {
            only: Some(Subject::Memory),
            rounds: 2,
            seconds: 0.5,
            keys: Some(10),
            binary: Some("a/b".into()),
        };
        assert_eq!(options, Ok(expected));
        let options = Options::parse(&[]).unwrap();
        assert!(options.wants(Subject::Speed) && options.wants(Subject::Restart));
    }

    #[test]
    fn wrong_options_are_told() {
        for (arguments, told) in [
            (&["--only", "disk"][..], "`disk`"),
            (&["--rounds", "0"], "`0`"),
            (&["--seconds", "NaN"], "`NaN`"),
            (&["--keys"], "lacks"),
            (&["--fast"], "`--fast`"),
        ] {
            let problem = Options::parse(arguments).unwrap_err();
            assert!(problem.contains(told), "{problem}");
        }
    }
}
