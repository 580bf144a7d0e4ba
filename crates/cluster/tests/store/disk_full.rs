//! A disk without room: writes are refused, reads go on, nothing acknowledged is lost.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use cluster::{Core, Fsync, Refusal};

use crate::node::{ALL_FSYNC, Node, call, increment, log_dir, settings, tick};

/// What is not answered within this time is taken to be held.
const HELD: Duration = Duration::from_secs(1);
/// Nothing here takes so long.
const LIMIT: Duration = Duration::from_secs(20);

/// A small file system in memory, there as long as this lives.
struct SmallDisk {
    dir: tempfile::TempDir,
}

impl SmallDisk {
    fn mount(size: &str) -> Option<SmallDisk> {
        let dir = tempfile::tempdir().unwrap();
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"]);
        let mounted = mount.arg(dir.path()).stderr(Stdio::null()).status();
        let mounted = mounted.is_ok_and(|status| status.success());
        mounted.then(|| SmallDisk { dir })
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("node")
    }

    fn ballast(&self) -> PathBuf {
        self.dir.path().join("ballast")
    }

    /// Takes all room that is left.
    fn fill(&self) {
        let mut ballast = File::create(self.ballast()).unwrap();
        while ballast.write_all(&[1; 4096]).is_ok() {}
    }

    fn make_room(&self) {
        fs::remove_file(self.ballast()).unwrap();
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let unmounted = Command::new("umount")
            .arg("-l")
            .arg(self.dir.path())
            .status();
        assert!(unmounted.is_ok_and(|status| status.success()));
    }
}

/// Runs the commands. One write may meet the full disk before the log knows of it: that one is held
/// until there is room, and nothing is said to it until then.
async fn try_call(core: &Core, calls: &[&[&str]]) -> Option<Result<(), Refusal>> {
    let outcome = tokio::time::timeout(HELD, call(core, calls)).await;
    outcome.ok().map(|outcome| outcome.map(drop))
}

/// Sets a number until that is refused; the last one that was taken.
async fn set_until_full(core: &Core) -> u64 {
    let padding = " ".repeat(10_000);
    let mut taken = 0;
    let full = async {
        for number in 1.. {
            let value = format!("{number}");
            let calls: [&[&str]; 2] = [&["set", "padding", &padding], &["set", "n", &value]];
            match try_call(core, &calls).await {
                Some(Ok(())) => taken = number,
                Some(Err(refusal)) => {
                    assert_eq!(refusal, Refusal::DiskFull);
                    break;
                }
                None => {}
            }
        }
    };
    let full = tokio::time::timeout(LIMIT, full).await;
    full.expect("the disk is never full");
    taken
}

/// Reads for a while. How often the log tried to make a file meanwhile, as far as can be seen.
async fn read_on(core: &Core, dir: &Path) -> usize {
    let changed = || fs::metadata(log_dir(dir)).unwrap().modified().unwrap();
    let started = Instant::now();
    let mut tries = BTreeSet::new();
    while started.elapsed() < Duration::from_millis(1500) {
        tries.insert(changed());
        assert!(core.store().read(0).is_some(), "reads go on");
        tokio::task::yield_now().await;
    }
    tries.len()
}

#[test]
fn a_full_disk_refuses_writes_until_there_is_room() {
    for fsync in ALL_FSYNC {
        let Some(disk) = SmallDisk::mount("6m") else {
            println!("SKIPPED a_full_disk_refuses_writes_until_there_is_room: no right to mount");
            return;
        };
        fill_and_make_room(&disk, fsync);
    }
}

fn fill_and_make_room(disk: &SmallDisk, fsync: Fsync) {
    let node = Node::found(&disk.path(), settings(fsync));
    let taken = node.run_one(async |core| {
        tick(&core);
        increment(&core, "n").await;
        disk.fill();
        let taken = set_until_full(&core).await;
        let tries = read_on(&core, &disk.path()).await;
        assert!(tries < 50, "{fsync}: {tries} tries to make a segment");
        taken
    });
    assert!(node.failures.lock().unwrap().is_empty());
    assert_eq!(node.number("n"), taken, "{fsync}");

    // It also starts on a full disk. What was held is gone then; it was never answered.
    let node = node.restart();
    node.contents();
    assert_eq!(node.number("n"), taken, "{fsync}");
    let last = node.run_one(async |core| {
        tick(&core);
        let large = "v".repeat(100_000);
        let refused = try_call(&core, &[&["set", "k", &large]]).await;
        assert!(
            matches!(refused, None | Some(Err(Refusal::DiskFull))),
            "{fsync}"
        );
        disk.make_room();
        let taken = async {
            loop {
                if let Some(Ok(())) = try_call(&core, &[&["set", "k", &large]]).await {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        let taken = tokio::time::timeout(LIMIT, taken).await;
        taken.expect("writes are never taken again");
        increment(&core, "n").await
    });
    assert_eq!(last as u64, taken + 1, "{fsync}");
    let before = node.contents();
    let node = node.restart();
    assert_eq!(node.contents(), before, "{fsync}");
    node.store.stop();
}
