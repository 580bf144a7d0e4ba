//! From the start of the process to the first answer, with many keys on disk.
//!
//! Each start has before it exactly what the load left: what a start itself writes (a snapshot, say) does not make
//! the next one faster. So Piccolo's folder is restored, and synced, before each of its starts; Redis writes
//! nothing while it loads. All files are in the page cache.

use std::fs::{self, File};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::Bench;
use super::ask::{Answer, Connection};
use super::load;
use super::servers::{Fsync, Recipe, Server, Stop};
use super::table::{Target, median, thousands};

const KEYS: u64 = 5_000_000;
const TARGET: Target = Target::Below(1.0);
/// How long Redis may take to rewrite its AOF.
const REWRITE: Duration = Duration::from_secs(300);
const PATIENCE: Duration = Duration::from_secs(10);

/// A server that holds the keys, and how long it took to start in each round.
struct Subject {
    name: &'static str,
    recipe: Recipe,
    /// What is restored before each start.
    restored_from: Option<std::path::PathBuf>,
    seconds: Vec<f64>,
}

impl Subject {
    fn new(name: &'static str, recipe: Recipe) -> Subject {
        Subject {
            name,
            recipe,
            restored_from: None,
            seconds: Vec::new(),
        }
    }

    /// A start in a copy of its folder.
    fn restored(name: &'static str, recipe: &Recipe) -> Subject {
        let folder = recipe.folder.with_extension("copy");
        Subject {
            restored_from: Some(recipe.folder.clone()),
            ..Subject::new(name, recipe.with_folder(folder))
        }
    }

    fn start(&mut self, keys: u64) -> Result<()> {
        if let Some(from) = &self.restored_from {
            let folder = &self.recipe.folder;
            if folder.exists() {
                fs::remove_dir_all(folder)?;
            }
            copy(from, folder)
                .with_context(|| format!("copying {} to {}", from.display(), folder.display()))?;
        }
        let server = self.recipe.start(keys).context(self.name)?;
        self.seconds.push(server.started_in.as_secs_f64());
        server.stop(Stop::Kill)
    }
}

/// Prints the table.
pub(super) fn run(bench: &Bench<'_>) -> Result<()> {
    let keys = bench.keys(KEYS);
    println!(
        "{} keys of 16 B with values of {} B; fsync `everysec` for both; from the start of the process until PING and \
         DBSIZE are answered with all keys there; {} rounds, alternating: medians, and the least and the greatest ratio.\n",
        thousands(keys),
        load::VALUE_BYTES,
        bench.options.rounds
    );
    let folder = bench.folder()?;
    let [mut plain, mut preamble] = redis(bench, folder.path(), keys)?;
    let [mut stopped, mut killed] = piccolo(bench, folder.path(), keys)?;
    for round in 1..=bench.options.rounds {
        eprintln!("restart: round {round}");
        let mut order = [&mut plain, &mut stopped, &mut killed, &mut preamble];
        if round % 2 == 0 {
            order.reverse();
        }
        for subject in order {
            subject.start(keys)?;
        }
    }
    println!("| Piccolo | Redis | Piccolo, s | Redis, s | ratio | target | reached |");
    println!("| --- | --- | --: | --: | --: | --- | --- |");
    for redis in [&plain, &preamble] {
        for piccolo in [&stopped, &killed] {
            println!("{}", row(piccolo, redis));
        }
    }
    Ok(())
}

fn row(piccolo: &Subject, redis: &Subject) -> String {
    let rounds = piccolo.seconds.iter().zip(&redis.seconds);
    let ratios: Vec<f64> = rounds.map(|(piccolo, redis)| piccolo / redis).collect();
    let middle = |subject: &Subject| median(&subject.seconds).unwrap_or(f64::NAN);
    format!(
        "| {} | {} | {:.2} | {:.2} | {} |",
        piccolo.name,
        redis.name,
        middle(piccolo),
        middle(redis),
        TARGET.cells(&ratios)
    )
}

/// A Redis whose AOF holds the commands as they came, and one whose AOF was rewritten: its snapshot, so to speak.
fn redis(bench: &Bench<'_>, home: &Path, keys: u64) -> Result<[Subject; 2]> {
    eprintln!("restart: filling redis");
    let recipe = Recipe::redis(bench, home.join("redis-plain"), Fsync::EverySecond)?;
    let server = recipe.start(0)?;
    load::fill(bench, &server, keys)?;
    server.stop(Stop::Term)?;
    eprintln!("restart: rewriting the AOF of another one");
    let rewritten = recipe.with_folder(home.join("redis-preamble"));
    copy(&recipe.folder, &rewritten.folder)?;
    let server = rewritten.start(keys)?;
    rewrite(&server)?;
    server.stop(Stop::Term)?;
    Ok([
        Subject::new("AOF of commands", recipe),
        Subject::new("AOF rewritten, with RDB preamble", rewritten),
    ])
}

fn rewrite(server: &Server) -> Result<()> {
    let mut connection = Connection::open(server.port, PATIENCE)?;
    if let Answer::Error(error) = connection.ask("BGREWRITEAOF")? {
        bail!("redis does not rewrite its AOF: {error}");
    }
    let deadline = Instant::now() + REWRITE;
    while connection.info("persistence", "aof_rewrite_in_progress")? != "0"
        || connection.info("persistence", "aof_rewrite_scheduled")? != "0"
    {
        if Instant::now() > deadline {
            bail!(
                "redis is not done with its AOF after {} s",
                REWRITE.as_secs()
            );
        }
        thread::sleep(Duration::from_millis(50));
    }
    let status = connection.info("persistence", "aof_last_bgrewrite_status")?;
    if status != "ok" {
        bail!("redis could not rewrite its AOF: {status}");
    }
    Ok(())
}

/// One that was stopped in order after the load, and one that was killed.
fn piccolo(bench: &Bench<'_>, home: &Path, keys: u64) -> Result<[Subject; 2]> {
    let mut subjects = Vec::new();
    for (name, folder, stop) in [
        ("after SIGTERM", "piccolo-stopped", Stop::Term),
        ("after `kill -9`", "piccolo-killed", Stop::Kill),
    ] {
        eprintln!("restart: filling piccolo, to start it {name}");
        let recipe = Recipe::piccolo(bench, home.join(folder), Fsync::EverySecond)?;
        let server = recipe.start(0)?;
        load::fill(bench, &server, keys)?;
        server.stop(stop)?;
        subjects.push(Subject::restored(name, &recipe));
    }
    let subjects: [Subject; 2] = subjects.try_into().ok().context("there are two")?;
    Ok(subjects)
}

/// Copies a folder with all that is in it, and syncs the files: what is still to be written would be written while
/// the start is measured.
fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), &target)?;
            File::options().write(true).open(&target)?.sync_all()?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_holds_everything() {
        let home = tempfile::tempdir().unwrap();
        let from = home.path().join("from");
        fs::create_dir_all(from.join("a/b")).unwrap();
        fs::write(from.join("a/b/c"), "deep").unwrap();
        let to = home.path().join("to");
        copy(&from, &to).unwrap();
        assert_eq!(fs::read_to_string(to.join("a/b/c")).unwrap(), "deep");
    }
}
