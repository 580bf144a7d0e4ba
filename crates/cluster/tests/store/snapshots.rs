//! Snapshots while writes go on, and the log that is cut behind them.

use std::path::Path;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::task::spawn_local;

use crate::node::{ALL_FSYNC, Node, call, log_dir, names, settings, snapshot_dir, until};

/// Whether there is but one snapshot, not that of the founding, and the log does not begin at its
/// beginning any more.
fn is_cut(dir: &Path) -> bool {
    let snapshots = names(&snapshot_dir(dir));
    let log = names(&log_dir(dir));
    let begins = log.iter().find(|name| name.ends_with(".seg"));
    snapshots.len() == 1
        && snapshots[0] != "snapshot-0-1-1-1.snap"
        && begins.is_some_and(|name| name != "log-0000000001.seg")
}

#[test]
fn the_log_is_cut_while_writes_go_on() {
    for fsync in ALL_FSYNC {
        let dir = tempfile::tempdir().unwrap();
        let mut settings = settings(fsync);
        settings.snapshot_every_bytes = Some(1);
        let node = Node::found(dir.path(), settings);
        let ended = AtomicBool::new(false);
        node.run(|core| {
            let (ended, dir) = (&ended, dir.path());
            async move {
                if core.index() == 0 {
                    until(&format!("{fsync}: the log is cut"), || is_cut(dir)).await;
                    ended.store(true, Ordering::Relaxed);
                    return;
                }
                let mut round = 0_u64;
                while !ended.load(Ordering::Relaxed) {
                    let sessions: Vec<_> = (0..10)
                        .map(|session| {
                            let core = Rc::clone(&core);
                            let key = format!("{}", (round * 7 + session) % 300);
                            let value = format!("{round} ").repeat(200);
                            spawn_local(async move {
                                let calls: [&[&str]; 3] = [
                                    &["set", &key, &value],
                                    &["incr", "n"],
                                    &["append", "tail", "x"],
                                ];
                                call(&core, &calls).await.expect("it is taken");
                            })
                        })
                        .collect();
                    for session in sessions {
                        session.await.unwrap();
                    }
                    round += 1;
                }
            }
        });
        let before = node.contents();
        assert!(before.len() > 100);
        let node = node.restart();
        assert!(node.contents() == before, "{fsync}: the state differs");
        node.store.stop();
    }
}
