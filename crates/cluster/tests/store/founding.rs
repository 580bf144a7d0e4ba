//! Founding, whole and in parts.

use std::fs;
use std::path::Path;

use base::ShardId;
use cluster::{DataError, Fsync, OpenError};

use crate::node::{Node, found, increment, log_dir, names, settings, snapshot_dir, try_found};

#[test]
fn founding_twice_is_founding_once() {
    let dir = tempfile::tempdir().unwrap();
    found(dir.path(), 3, 1);
    found(dir.path(), 3, 2);
    let node = Node::recover(dir.path(), settings(Fsync::Always)).unwrap();
    assert_eq!(node.store.shards(), 3);
    assert!(node.contents().is_empty());
    node.store.stop();
}

#[test]
fn a_founding_that_stopped_midway_is_made_good_by_the_next() {
    let dir = tempfile::tempdir().unwrap();
    let snapshots = snapshot_dir(dir.path());
    found(dir.path(), 3, 1);
    // The first shard is done, the second was being written, the third was not begun.
    let all = names(&snapshots);
    assert_eq!(all.len(), 3);
    let second = snapshots.join(&all[1]);
    fs::rename(&second, second.with_added_extension("tmp")).unwrap();
    fs::remove_file(snapshots.join(&all[2])).unwrap();
    found(dir.path(), 3, 2);
    assert_eq!(names(&snapshots), all);
    let node = Node::recover(dir.path(), settings(Fsync::Always)).unwrap();
    assert_eq!(node.store.shards(), 3);
    node.store.stop();
}

#[test]
fn a_founding_of_fewer_shards_leaves_none_of_an_earlier_one() {
    let dir = tempfile::tempdir().unwrap();
    found(dir.path(), 4, 1);
    found(dir.path(), 2, 2);
    let node = Node::recover(dir.path(), settings(Fsync::Always)).unwrap();
    assert_eq!(node.store.shards(), 2);
    node.store.stop();
}

#[test]
fn where_there_is_data_no_cluster_is_founded() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::found(dir.path(), settings(Fsync::Always));
    node.run_one(async |core| increment(&core, "n").await);
    node.store.stop();
    let refused = |dir: &Path| {
        let outcome = try_found(dir, 1, 9);
        assert!(matches!(
            outcome,
            Err(OpenError::Data(DataError::NotEmpty { .. }))
        ));
    };
    refused(dir.path());
    // A snapshot of a later state tells as well.
    let snapshots = snapshot_dir(dir.path());
    let founded = snapshots.join(&names(&snapshots)[0]);
    fs::rename(founded, snapshots.join("snapshot-0-1-2-9.snap")).unwrap();
    refused(dir.path());
    assert_eq!(names(&snapshots), ["snapshot-0-1-2-9.snap"]);
}

#[test]
fn a_log_that_is_gone_stops_the_start() {
    let dir = tempfile::tempdir().unwrap();
    found(dir.path(), 1, 1);
    fs::remove_dir_all(log_dir(dir.path())).unwrap();
    let error = Node::recover(dir.path(), settings(Fsync::Always)).err();
    assert!(matches!(
        error,
        Some(OpenError::Data(DataError::NoLog { .. }))
    ));
}

#[test]
fn a_node_that_was_not_founded_has_nothing_to_recover() {
    let dir = tempfile::tempdir().unwrap();
    let error = Node::recover(dir.path(), settings(Fsync::Always)).err();
    assert!(matches!(
        error,
        Some(OpenError::Data(DataError::NoLog { .. }))
    ));
    assert!(!log_dir(dir.path()).exists(), "nothing was begun");
}

#[test]
fn a_shard_without_its_snapshot_stops_the_start() {
    let dir = tempfile::tempdir().unwrap();
    let snapshots = snapshot_dir(dir.path());
    found(dir.path(), 3, 1);
    let node = Node::recover(dir.path(), settings(Fsync::Always)).unwrap();
    node.contents();
    node.store.stop();
    let all = names(&snapshots);
    let path = |number: usize| snapshots.join(&all[number]);
    let kept = fs::read(path(1)).unwrap();
    fs::remove_file(path(1)).unwrap();
    let error = Node::recover(dir.path(), settings(Fsync::Always)).err();
    let missing = |error: Option<OpenError>| match error {
        Some(OpenError::Data(DataError::NoSnapshot { shard, .. })) => Some(shard),
        _ => None,
    };
    assert_eq!(missing(error), Some(ShardId(1)));

    fs::write(path(1), kept).unwrap();
    fs::remove_file(path(2)).unwrap();
    let error = Node::recover(dir.path(), settings(Fsync::Always)).err();
    assert!(error.unwrap().to_string().contains("shard 2"));
}

#[test]
fn a_damaged_snapshot_stops_the_start() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::found(dir.path(), settings(Fsync::Always));
    node.run_one(async |core| increment(&core, "n").await);
    node.store.stop();
    let snapshots = snapshot_dir(dir.path());
    let path = snapshots.join(&names(&snapshots)[0]);
    let whole = fs::read(&path).unwrap();
    for place in (0..whole.len()).step_by(7) {
        let mut damaged = whole.clone();
        damaged[place] ^= 0x10;
        fs::write(&path, damaged).unwrap();
        let error = Node::recover(dir.path(), settings(Fsync::Always)).err();
        assert!(error.is_some(), "byte {place} of the snapshot");
    }
    fs::write(&path, whole).unwrap();
    let node = Node::recover(dir.path(), settings(Fsync::Always)).unwrap();
    node.contents();
    assert_eq!(node.number("n"), 1);
    node.store.stop();
}
