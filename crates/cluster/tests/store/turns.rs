//! Many sessions on several cores, one shard.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};

use base::Db;
use cluster::{Core, Refusal};
use tokio::task::spawn_local;

use crate::node::{ALL_FSYNC, Node, call, commands_of, found, increment, settings, tick, until};

const SESSIONS: u64 = 20;
const ROUNDS: u64 = 25;
const KEYS: [&str; 3] = ["a", "b", "c"];

/// Each of many sessions increments the keys in turn; what they were told.
async fn many_increments(core: Rc<Core>) -> Vec<(&'static str, i64)> {
    let sessions: Vec<_> = (0..SESSIONS)
        .map(|_| {
            let core = Rc::clone(&core);
            spawn_local(async move {
                let mut told = Vec::new();
                for key in KEYS.iter().cycle().take(ROUNDS as usize * KEYS.len()) {
                    told.push((*key, increment(&core, key).await));
                }
                told
            })
        })
        .collect();
    let mut told = Vec::new();
    for session in sessions {
        told.extend(session.await.unwrap());
    }
    told
}

#[test]
fn every_increment_counts_once() {
    for fsync in ALL_FSYNC {
        let dir = tempfile::tempdir().unwrap();
        let mut settings = settings(fsync);
        settings.cores = 3;
        let node = Node::found(dir.path(), settings);
        let told = node.run(many_increments);
        let mut replies: BTreeMap<&str, Vec<i64>> = BTreeMap::new();
        for (key, number) in told.into_iter().flatten() {
            replies.entry(key).or_default().push(number);
        }
        let total = (3 * SESSIONS * ROUNDS) as i64;
        for key in KEYS {
            let replies = replies.get_mut(key).unwrap();
            replies.sort_unstable();
            assert!(replies.iter().copied().eq(1..=total), "{fsync}, {key}");
        }
        let before = node.contents();
        let node = node.restart();
        assert_eq!(node.contents(), before, "{fsync}");
        assert_eq!(node.number("a"), total as u64);
        node.store.stop();
    }
}

#[test]
fn shards_share_a_log() {
    const SHARDS: usize = 5;
    for fsync in ALL_FSYNC {
        let dir = tempfile::tempdir().unwrap();
        let mut settings = settings(fsync);
        settings.snapshot_every_bytes = Some(1);
        found(dir.path(), SHARDS as u32, 3);
        let node = Node::recover(dir.path(), settings).unwrap();
        node.run(|core| async move {
            let sessions: Vec<_> = (0..20)
                .map(|session| {
                    let core = Rc::clone(&core);
                    spawn_local(async move {
                        for round in 0..200 {
                            let shard = (session + round) % SHARDS;
                            let mark = format!("{shard} {round} ").repeat(20);
                            let key = format!("{session}");
                            let calls = commands_of(&[&["incr", "n"], &["set", &key, &mark]]);
                            let response = core.submit(shard, calls).await;
                            response.outcome.expect("it is taken");
                        }
                    })
                })
                .collect();
            for session in sessions {
                session.await.unwrap();
            }
        });
        let before = node.contents();
        let count = |shard| {
            let of_shard = before.iter().filter(|stored| stored.0 == shard);
            let n = of_shard.filter(|stored| stored.2 == b"n");
            n.map(|stored| stored.3.clone()).collect::<Vec<_>>()
        };
        for shard in 0..SHARDS {
            assert_eq!(count(shard), [b"1600"], "{fsync}");
        }
        let node = node.restart();
        assert!(node.contents() == before, "{fsync}: the state differs");
        node.store.stop();
    }
}

#[test]
fn what_has_expired_is_swept_without_requests() {
    for fsync in ALL_FSYNC {
        let dir = tempfile::tempdir().unwrap();
        let node = Node::found(dir.path(), settings(fsync));
        let keys = || node.store.read_for_status(0).unwrap().len(Db::default());
        node.run_one(async |core| {
            let names: Vec<String> = (0..20_000).map(|number| number.to_string()).collect();
            let calls: Vec<[&str; 5]> = names
                .iter()
                .map(|name| ["set", name, "v", "px", "50"])
                .collect();
            let calls: Vec<&[&str]> = calls.iter().map(|call| &call[..]).collect();
            call(&core, &[&["set", "kept", "v"]]).await.unwrap();
            call(&core, &calls).await.unwrap();
            tick(&core);
            until(&format!("{fsync}: they are swept"), || keys() == 1).await;
        });
        let before = node.contents();
        let node = node.restart();
        assert_eq!(node.contents(), before);
        assert_eq!(node.store.read(0).unwrap().len(Db::default()), 1);
        node.store.stop();
    }
}

#[test]
fn a_session_that_leaves_is_not_missed() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::found(dir.path(), settings(cluster::Fsync::Always));
    node.run_one(async |core| {
        for round in 1..100 {
            // One leaves before it queues anything, one while it waits.
            drop(core.submit(0, commands_of(&[&["incr", "none"]])));
            tokio::select! {
                biased;
                _ = core.submit(0, commands_of(&[&["incr", "left"]])) => panic!("that was fast"),
                () = std::future::ready(()) => {}
            }
            let replies = call(&core, &[&["incr", "stayed"], &["get", "left"]]).await;
            let left = format!("{round}");
            assert_eq!(
                replies.unwrap(),
                [
                    commands::Reply::Integer(round),
                    commands::Reply::Bulk(left.into_bytes().into()),
                ]
            );
        }
    });
    assert_eq!([node.number("none"), node.number("left")], [0, 99]);
    node.store.stop();
}

#[test]
fn who_looks_at_the_status_keeps_no_session_waiting() {
    let dir = tempfile::tempdir().unwrap();
    let mut settings = settings(cluster::Fsync::Never);
    settings.cores = 1;
    let node = Node::found(dir.path(), settings);
    let ended = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !ended.load(Ordering::Relaxed) {
                assert_eq!(node.store.statuses().len(), 1);
            }
        });
        let _end = SetOnDrop(&ended);
        node.run_one(async |core| {
            for _ in 0..20_000 {
                increment(&core, "n").await;
            }
        });
    });
    let status = node.store.statuses()[0];
    assert!(status.led && status.applied > 20_000);
    node.store.stop();
}

/// Ends a thread even when the test fails.
struct SetOnDrop<'b>(&'b AtomicBool);

impl Drop for SetOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn large_writes_share_the_room_there_is() {
    // All of them together are larger than a segment, each is smaller.
    for fsync in ALL_FSYNC {
        let dir = tempfile::tempdir().unwrap();
        let node = Node::found(dir.path(), settings(fsync));
        let value = "v".repeat(50_000);
        let outcomes = node.run(|core| {
            let value = &value;
            async move {
                let sessions: Vec<_> = (0..20)
                    .map(|session| {
                        let core = Rc::clone(&core);
                        let key = format!("{}-{session}", core.index());
                        let value = value.clone();
                        spawn_local(async move {
                            let mut outcomes = Vec::new();
                            for _ in 0..5 {
                                let outcome = call(&core, &[&["set", &key, &value]]).await;
                                outcomes.push(outcome.map(drop));
                            }
                            outcomes
                        })
                    })
                    .collect();
                let mut outcomes = Vec::new();
                for session in sessions {
                    outcomes.extend(session.await.unwrap());
                }
                outcomes
            }
        });
        let refused = outcomes.into_iter().flatten();
        let refused: Vec<Refusal> = refused.filter_map(Result::err).collect();
        assert!(refused.is_empty(), "{fsync}: {} refused", refused.len());
        let before = node.contents();
        assert_eq!(before.len(), 40);
        let node = node.restart();
        assert_eq!(node.contents(), before, "{fsync}");
        node.store.stop();
    }
}
