//! A log that can no longer be written ends the node, however it syncs.

use std::fs;
use std::rc::Rc;

use tokio::task::spawn_local;

use crate::node::{ALL_FSYNC, Node, call, increment, log_dir, settings, until};

#[test]
fn a_log_that_cannot_be_written_is_reported_and_acknowledges_nothing() {
    for fsync in ALL_FSYNC {
        let dir = tempfile::tempdir().unwrap();
        let node = Node::found(dir.path(), settings(fsync));
        node.run_one(async |core| {
            increment(&core, "n").await;
            // The next segments cannot be made.
            fs::remove_dir_all(log_dir(dir.path())).unwrap();
            let value = "v".repeat(50_000);
            let writer = Rc::clone(&core);
            let writing = spawn_local(async move {
                loop {
                    let taken = call(&writer, &[&["set", "k", &value]]).await;
                    taken.expect("the disk is not full");
                }
            });
            let failures = &node.failures;
            let reported = || !failures.lock().unwrap().is_empty();
            until(&format!("{fsync}: the failure is reported"), reported).await;
            assert!(!writing.is_finished());
            writing.abort();
        });
        node.store.stop();
    }
}
