//! What a node leaves behind that ends at any moment: a process is stopped, its folder copied, and
//! the copy recovered.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use std::{env, fs};

use cluster::Fsync;
use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};
use tokio::task::spawn_local;

use crate::node::{ALL_FSYNC, Node, call, settings};

const DIR: &str = "PICCOLO_TEST_DIR";
const FSYNC: &str = "PICCOLO_TEST_FSYNC";
const IMAGES: usize = 6;
const LIMIT: Duration = Duration::from_secs(30);

fn small_settings(fsync: Fsync) -> cluster::Config {
    let mut settings = settings(fsync);
    settings.snapshot_every_bytes = Some(1);
    settings
}

/// The process that is stopped: it writes for ever and tells what was acknowledged. Does nothing
/// unless it is started by the test below.
#[test]
fn writer() {
    let Some(dir) = env::var_os(DIR) else { return };
    let fsync = env::var(FSYNC).unwrap();
    let fsync = ALL_FSYNC.into_iter().find(|one| one.to_string() == fsync);
    let node = Node::found(Path::new(&dir), small_settings(fsync.unwrap()));
    println!();
    node.run(|core| async move {
        let sessions: Vec<_> = (0..8)
            .map(|session| {
                let core = Rc::clone(&core);
                let (one, other) = (format!("one-{session}"), format!("other-{session}"));
                let large = format!("large-{session}");
                spawn_local(async move {
                    for round in 0_u64.. {
                        let value = format!("{round} ").repeat(300);
                        let calls: [&[&str]; 3] =
                            [&["incr", &one], &["set", &large, &value], &["incr", &other]];
                        let replies = call(&core, &calls).await.unwrap();
                        if let commands::Reply::Integer(number) = replies[0] {
                            let line = format!("{session} {number}\n");
                            std::io::stdout().lock().write_all(line.as_bytes()).unwrap();
                        }
                    }
                })
            })
            .collect();
        for session in sessions {
            session.await.unwrap();
        }
    });
}

/// The highest number that each session was told.
type Acknowledged = Arc<Mutex<BTreeMap<u64, u64>>>;

struct Writer {
    process: Child,
    acknowledged: Acknowledged,
}

impl Writer {
    fn start(dir: &Path, fsync: Fsync) -> Writer {
        let mut command = Command::new(env::current_exe().unwrap());
        command.args(["--exact", "crash_images::writer", "--nocapture"]);
        command.env(DIR, dir).env(FSYNC, fsync.to_string());
        let mut process = command.stdout(Stdio::piped()).spawn().unwrap();
        let output = BufReader::new(process.stdout.take().unwrap());
        let acknowledged = Acknowledged::default();
        let told = Arc::clone(&acknowledged);
        std::thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                let mut numbers = line.split(' ').map(str::parse);
                if let (Some(Ok(session)), Some(Ok(number))) = (numbers.next(), numbers.next()) {
                    let mut told = told.lock().unwrap();
                    let highest = told.entry(session).or_default();
                    *highest = number.max(*highest);
                }
            }
        });
        Writer {
            process,
            acknowledged,
        }
    }

    fn count(&self) -> u64 {
        self.acknowledged.lock().unwrap().values().sum()
    }

    /// Stops it at some moment and copies its folder; what was acknowledged until then.
    fn image(&self, from: &Path, to: &Path) -> BTreeMap<u64, u64> {
        let process = Pid::from_child(&self.process);
        kill_process(process, Signal::STOP).unwrap();
        waitpid(Some(process), WaitOptions::UNTRACED).unwrap();
        let acknowledged = self.acknowledged.lock().unwrap().clone();
        copy(from, to);
        kill_process(process, Signal::CONT).unwrap();
        acknowledged
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path: PathBuf = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy(&path, &target);
        } else {
            fs::copy(&path, &target).unwrap();
        }
    }
}

#[test]
fn what_was_acknowledged_is_in_every_image_of_the_folder() {
    for fsync in ALL_FSYNC {
        let dir = tempfile::tempdir().unwrap();
        let writer = Writer::start(dir.path(), fsync);
        for image in 1..=IMAGES {
            let started = Instant::now();
            let before = writer.count();
            while writer.count() < before + 500 {
                assert!(
                    started.elapsed() < LIMIT,
                    "{fsync}: nothing is acknowledged"
                );
                std::thread::sleep(Duration::from_millis(1));
            }
            let copied = tempfile::tempdir().unwrap();
            let acknowledged = writer.image(dir.path(), copied.path());
            let node = Node::recover(copied.path(), small_settings(fsync))
                .unwrap_or_else(|error| panic!("{fsync}, image {image}: {error}"));
            node.contents();
            for (session, told) in acknowledged {
                let found = node.number(&format!("one-{session}"));
                assert!(found >= told, "{fsync}, image {image}: {found} of {told}");
                let other = node.number(&format!("other-{session}"));
                assert_eq!(found, other, "{fsync}, image {image}: half a request");
            }
            node.store.stop();
        }
    }
}
