//! A server that was started here, and that ends with its handle.

use std::fs::{self, File};
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::atomic::{AtomicU16, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};

use super::Bench;
use super::ask::{Answer, Connection};
use crate::run::program;

/// How long one attempt to talk to a server that starts may take.
const ATTEMPT: Duration = Duration::from_millis(200);
/// How long to wait between two attempts: what a start is measured to.
const BETWEEN_ATTEMPTS: Duration = Duration::from_millis(2);
/// How long a server may take until it serves; five million keys take seconds.
const START: Duration = Duration::from_secs(300);
/// How long a server may take to stop in order.
const STOP: Duration = Duration::from_secs(60);

/// When a write is forced to the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fsync {
    Never,
    EverySecond,
    Always,
}

impl Fsync {
    /// The word for it, of both servers.
    pub(super) fn name(self) -> &'static str {
        match self {
            Fsync::Never => "never",
            Fsync::EverySecond => "everysec",
            Fsync::Always => "always",
        }
    }
}

/// How a server is ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stop {
    /// SIGTERM: in order.
    Term,
    /// SIGKILL.
    Kill,
}

/// How to start a server, as often as wanted, on the same folder.
#[derive(Clone, Debug)]
pub(super) struct Recipe {
    name: &'static str,
    program: PathBuf,
    pub(super) folder: PathBuf,
    arguments: Vec<String>,
    /// What the port for clients is appended to.
    port_arguments: Vec<String>,
}

impl Recipe {
    /// Redis without snapshots and without rewrites of its AOF; without an AOF where nothing is ever synced.
    pub(super) fn redis(bench: &Bench<'_>, folder: PathBuf, fsync: Fsync) -> Result<Recipe> {
        let mut arguments = words(&["--save", "", "--bind", "127.0.0.1", "--daemonize", "no"]);
        arguments.extend(words(&["--auto-aof-rewrite-percentage", "0"]));
        arguments.extend(match fsync {
            Fsync::Never => words(&["--appendonly", "no"]),
            _ => words(&["--appendonly", "yes", "--appendfsync", fsync.name()]),
        });
        Ok(Recipe {
            name: "redis",
            program: bench.redis()?.to_owned(),
            folder,
            arguments,
            port_arguments: words(&["--port", ""]),
        })
    }

    /// Piccolo with its defaults but for ports, folder and fsync.
    pub(super) fn piccolo(bench: &Bench<'_>, folder: PathBuf, fsync: Fsync) -> Result<Recipe> {
        // It names the folder of the node, so it stays the same through restarts.
        let peer_port = free_port()?;
        let settings = [
            "discovery.bind_host=127.0.0.1".to_owned(),
            format!("discovery.bind_port={peer_port}"),
            format!("discovery.hosts=[\"127.0.0.1:{peer_port}\"]"),
            "redis.bind_host=127.0.0.1".to_owned(),
            "node.data_dir=data".to_owned(),
            format!("storage.fsync={}", fsync.name()),
        ];
        let mut arguments = words(&["start"]);
        for setting in settings {
            arguments.extend(["--set".to_owned(), setting]);
        }
        Ok(Recipe {
            name: "piccolo",
            program: bench.piccolo.clone(),
            folder,
            arguments,
            port_arguments: words(&["--set", "redis.bind_port="]),
        })
    }

    /// The same with its files elsewhere.
    pub(super) fn with_folder(&self, folder: PathBuf) -> Recipe {
        let mut recipe = self.clone();
        recipe.folder = folder;
        recipe
    }

    fn command(&self, port: u16) -> Command {
        let mut command = program(&self.program);
        let (last, before) = self
            .port_arguments
            .split_last()
            .expect("a recipe says where the port goes");
        command
            .current_dir(&self.folder)
            .args(&self.arguments)
            .args(before)
            .arg(format!("{last}{port}"));
        command
    }

    /// Starts it, makes its folder if there is none, and waits until it serves exactly so many keys.
    ///
    /// # Errors
    /// It does not run, ends, serves another number of keys, or takes too long; with the end of its log.
    pub(super) fn start(&self, keys: u64) -> Result<Server> {
        fs::create_dir_all(&self.folder)
            .with_context(|| format!("cannot make {}", self.folder.display()))?;
        let port = free_port()?;
        let log_path = self.folder.join("server.log");
        let log = File::create(&log_path)
            .with_context(|| format!("cannot write {}", log_path.display()))?;
        let mut command = self.command(port);
        command.stdout(log.try_clone()?).stderr(log);
        let start = Instant::now();
        let child = command
            .spawn()
            .with_context(|| format!("cannot run {}", self.program.display()))?;
        let mut server = Server {
            name: self.name,
            port,
            started_in: Duration::ZERO,
            child,
        };
        let served = server.wait_until_it_serves(keys, start);
        served.with_context(|| {
            let name = self.name;
            format!(
                "starting {name}, whose log ends so:\n{}\n",
                end_of(&log_path)
            )
        })?;
        server.started_in = start.elapsed();
        server.is_the_one()?;
        Ok(server)
    }
}

/// A server that runs. It is killed when it is dropped.
pub(super) struct Server {
    name: &'static str,
    pub(super) port: u16,
    /// From its start until it served what it was to serve.
    pub(super) started_in: Duration,
    child: Child,
}

impl Server {
    pub(super) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Ends it and waits until it is gone.
    ///
    /// # Errors
    /// It does not stop in order when asked to.
    pub(super) fn stop(mut self, how: Stop) -> Result<()> {
        if how == Stop::Kill {
            self.child.kill()?;
            self.child.wait()?;
            return Ok(());
        }
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        kill_process(pid.context("a child has a process id")?, Signal::TERM)?;
        let deadline = Instant::now() + STOP;
        while Instant::now() < deadline {
            match self.child.try_wait()? {
                Some(status) if status.success() => return Ok(()),
                Some(status) => bail!("{} was asked to stop and ended with {status}", self.name),
                None => thread::sleep(BETWEEN_ATTEMPTS),
            }
        }
        bail!("{} does not stop in {} s", self.name, STOP.as_secs())
    }

    fn wait_until_it_serves(&mut self, keys: u64, start: Instant) -> Result<()> {
        let mut last = None;
        while start.elapsed() < START {
            if let Some(status) = self.child.try_wait()? {
                bail!("it ended with {status}");
            }
            match self.count_keys() {
                Ok(Some(count)) if count == keys => return Ok(()),
                Ok(Some(count)) => bail!("it serves {count} keys instead of {keys}"),
                Ok(None) => {}
                Err(error) => last = Some(error),
            }
            thread::sleep(BETWEEN_ATTEMPTS);
        }
        let last = last.map_or(String::new(), |error| format!(": {error:#}"));
        bail!("it does not serve after {} s{last}", START.as_secs())
    }

    /// PING and DBSIZE; none while it says that it is not ready.
    fn count_keys(&self) -> Result<Option<u64>> {
        let mut connection = Connection::open(self.port, ATTEMPT)?;
        if let Answer::Error(_) = connection.ask("PING")? {
            return Ok(None);
        }
        Ok(match connection.ask("DBSIZE")? {
            Answer::Integer(count) => Some(count),
            _ => None,
        })
    }

    /// Whoever answers at the port must be the process that was started.
    fn is_the_one(&self) -> Result<()> {
        let mut connection = Connection::open(self.port, STOP)?;
        let pid = connection.info("server", "process_id")?;
        let own = self.child.id();
        if pid != own.to_string() {
            bail!(
                "port {} is answered by process {pid} instead of {own}",
                self.port
            );
        }
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Both are fine on a child that has ended already.
        if let Err(error) = self.child.kill().and_then(|()| self.child.wait()) {
            let (name, pid) = (self.name, self.child.id());
            eprintln!("{name} (process {pid}) cannot be ended: {error}");
        }
    }
}

/// A port of the loopback that nobody listens on, each time another one. It is below the ports that the system
/// gives to outgoing connections, so that none of those takes it before its server does.
pub(super) fn free_port() -> Result<u16> {
    const FIRST: u16 = 21_000;
    const COUNT: u16 = 8_000;
    static NEXT: AtomicU16 = AtomicU16::new(0);
    // Two runs at the same time begin at different places.
    let offset = (std::process::id() % 797) as u16 * 10;
    for _ in 0..COUNT {
        let number = NEXT.fetch_add(1, Ordering::Relaxed).wrapping_add(offset);
        let port = FIRST + number % COUNT;
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return Ok(port);
        }
    }
    bail!("no port of the loopback from {FIRST} on is free")
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|&word| word.to_owned()).collect()
}

/// The last lines of a log.
pub(super) fn end_of(path: &Path) -> String {
    let text = fs::read_to_string(path).unwrap_or_else(|error| error.to_string());
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(10)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_differ() {
        let (one, two) = (free_port().unwrap(), free_port().unwrap());
        assert_ne!(one, two);
    }

    #[test]
    fn a_server_that_ends_at_once_is_told_with_its_log() {
        let folder = tempfile::tempdir().unwrap();
        let recipe = Recipe {
            name: "broken",
            program: "sh".into(),
            folder: folder.path().join("new"),
            arguments: words(&["-c", "echo no such luck; exit 3"]),
            port_arguments: words(&["--port", ""]),
        };
        let error = recipe.start(0).err().expect("it is no server");
        let text = format!("{error:#}");
        assert!(
            text.contains("no such luck") && text.contains("3"),
            "{text}"
        );
    }
}
