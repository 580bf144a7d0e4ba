//! The rules of receiving, by name.

use std::io;
use std::path::Path;
use std::time::Duration;

use base::{NodeId, ShardId};
use node::transfer::{Chunk, Content, Received, Settings, TransferError};
use wal::Snapshots;
use wal::testing::{Fault, Operation};

use crate::world::{DIR, SENDER, World, content, expect_loaded, id, local, settings, wanted};

#[test]
fn a_snapshot_arrives_whole_and_replaces_the_older_one() {
    let mut world = World::new(settings());
    for index in [10, 30] {
        let mut keyspace = content(1500, index);
        world.make(id(0, index), &mut keyspace);
        world.want(wanted(id(0, index)));
        let received = world.finish();
        expect_loaded(received, id(0, index), &keyspace);
        assert_eq!(world.receiver_files.list().unwrap(), [local(id(0, index))]);
    }
}

#[test]
fn the_smallest_snapshot_arrives() {
    let mut world = World::new(Settings::default());
    let mut keyspace = content(0, 1);
    world.make(id(0, 10), &mut keyspace);
    world.want(wanted(id(0, 10)));
    let received = world.finish();
    expect_loaded(received, id(0, 10), &keyspace);
}

#[test]
fn no_more_than_the_window_is_asked_for() {
    let mut world = World::new(settings());
    world.make(id(0, 10), &mut content(1500, 1));
    world.want(wanted(id(0, 10)));
    let mut most = 0;
    while world.received.is_empty() {
        let in_flight = world.fetches.len() + world.chunks.len();
        most = most.max(in_flight);
        assert!(world.step());
    }
    assert_eq!(most, settings().window);
    let _all_came = world.finish();
}

#[test]
fn what_was_received_stays_when_the_connection_breaks() {
    let mut world = World::new(settings());
    let mut keyspace = content(1500, 1);
    world.make(id(0, 10), &mut keyspace);
    world.want(wanted(id(0, 10)));
    let began = world.now;
    let mut asked = 0;
    let mut pieces = 0;
    while world.received.is_empty() {
        if world.deliver_fetch() {
            asked += 1;
        } else if world.deliver_chunk() {
            pieces += 1;
            if pieces % 5 == 0 {
                let before: Vec<u64> = world.receiver.progress().map(|(_, bytes)| bytes).collect();
                world.cut();
                let after: Vec<u64> = world.receiver.progress().map(|(_, bytes)| bytes).collect();
                assert_eq!(before, after);
            }
        } else {
            world.wait();
        }
    }
    assert!(asked < 2 * pieces, "{asked} questions for {pieces} pieces");
    assert_eq!(world.now, began, "it is asked again at once");
    let received = world.finish();
    expect_loaded(received, id(0, 10), &keyspace);
}

#[test]
fn what_is_lost_without_a_word_is_asked_again_when_patience_ends() {
    let mut world = World::new(settings());
    let mut keyspace = content(300, 1);
    world.make(id(0, 10), &mut keyspace);
    let began = world.now;
    world.want(wanted(id(0, 10)));
    world.fetches.clear();
    assert!(world.wait());
    assert_eq!(world.now, began + settings().patience);
    let received = world.finish();
    expect_loaded(received, id(0, 10), &keyspace);
}

#[test]
fn a_sender_that_falls_silent_is_given_up() {
    let mut world = World::new(settings());
    world.make(id(0, 10), &mut content(1500, 1));
    world.want(wanted(id(0, 10)));
    for _ in 0..8 {
        world.step();
    }
    let began = world.now;
    while world.received.is_empty() {
        world.fetches.clear();
        world.chunks.clear();
        assert!(world.wait());
    }
    let waited = world.now - began;
    let give_up = settings().give_up;
    assert!(waited >= give_up && waited <= give_up + settings().patience);
    assert!(matches!(
        world.finish(),
        Received::Failed {
            error: TransferError::Silence(_),
            ..
        }
    ));
    assert!(world.names().is_empty(), "{:?}", world.names());
}

#[test]
fn a_snapshot_that_the_sender_has_no_more_fails_and_another_one_comes() {
    let mut world = World::new(settings());
    world.want(wanted(id(0, 10)));
    let outcome = world.finish();
    assert!(matches!(
        outcome,
        Received::Failed {
            error: TransferError::Gone,
            ..
        }
    ));
    assert!(world.damaged.is_empty(), "a missing file is no damage");
    // The driver tells what is wanted after every turn, also before the shard has heard of the failure.
    world.want(wanted(id(0, 10)));
    assert!(world.fetches.is_empty());
    let mut keyspace = content(10, 1);
    world.make(id(0, 20), &mut keyspace);
    world.want(wanted(id(0, 20)));
    let received = world.finish();
    expect_loaded(received, id(0, 20), &keyspace);
    // Wanted again after it was not wanted, the first one is asked for again.
    world.receiver.want(ShardId(0), None);
    world.want(wanted(id(0, 10)));
    assert_eq!(world.fetches.len(), 1);
}

#[test]
fn a_newer_offer_of_the_same_replica_does_not_end_what_is_under_way() {
    let mut world = World::new(settings());
    let mut keyspace = content(1500, 1);
    world.make(id(0, 10), &mut keyspace);
    world.want(wanted(id(0, 10)));
    for _ in 0..8 {
        world.step();
    }
    world.make(id(0, 20), &mut content(10, 2));
    world.want(wanted(id(0, 20)));
    let received = world.finish();
    expect_loaded(received, id(0, 10), &keyspace);
    world.want(wanted(id(0, 20)));
    assert!(
        world.fetches.is_empty(),
        "the shard has not heard of the first one yet"
    );
}

#[test]
fn the_newer_one_is_fetched_when_the_older_fails() {
    // With one question at a time, nothing comes after the answer that ends it.
    let mut world = World::new(Settings {
        window: 1,
        ..settings()
    });
    world.make(id(0, 10), &mut content(1500, 1));
    world.want(wanted(id(0, 10)));
    for _ in 0..8 {
        world.step();
    }
    world.sender_files.remove(id(0, 10)).unwrap();
    world.restart_sender();
    let mut keyspace = content(1000, 2);
    world.make(id(0, 20), &mut keyspace);
    world.want(wanted(id(0, 20)));
    let received = world.finish();
    expect_loaded(received, id(0, 20), &keyspace);
    assert_eq!(world.names().len(), 1);
}

#[test]
fn an_offer_of_another_node_ends_what_is_under_way() {
    let mut world = World::new(settings());
    world.make(id(0, 10), &mut content(1500, 1));
    world.want(wanted(id(0, 10)));
    for _ in 0..8 {
        world.step();
    }
    assert_eq!(world.names().len(), 1);
    world.fetches.clear();
    let mut elsewhere = wanted(id(0, 10));
    elsewhere.from = NodeId(3);
    world.receiver.want(ShardId(0), Some(elsewhere));
    assert!(world.names().is_empty());
    // What still comes from the first changes nothing.
    while let Some(letter) = world.chunks.pop_front() {
        world.receiver.chunk(SENDER, &letter.body).unwrap();
    }
    assert_eq!(
        world.receiver.progress().collect::<Vec<_>>(),
        [(elsewhere, 0)]
    );
}

#[test]
fn the_pieces_of_two_files_are_never_mixed() {
    let mut world = World::new(settings());
    world.make(id(0, 10), &mut content(1500, 1));
    world.want(wanted(id(0, 10)));
    for _ in 0..12 {
        world.step();
    }
    // Made anew, as after a restart, it has other bytes though it is of the same entry.
    let mut again = content(1500, 2);
    world.make(id(0, 10), &mut again);
    world.restart_sender();
    let received = world.finish();
    expect_loaded(received, id(0, 10), &again);
}

#[test]
fn pieces_that_are_not_what_the_sender_has_fail_together() {
    let mut world = World::new(settings());
    world.make(id(0, 10), &mut content(1500, 1));
    world.want(wanted(id(0, 10)));
    let mut pieces = 0;
    while world.received.is_empty() {
        // One byte changes before the checksum of its piece is made.
        if let Some(letter) = world.chunks.front_mut() {
            pieces += 1;
            if pieces == 5 {
                let chunk = Chunk::decode(&letter.body).unwrap();
                let Content::Piece {
                    length,
                    checksum,
                    bytes,
                } = chunk.content
                else {
                    panic!("it is a piece");
                };
                let mut bytes = bytes.to_vec();
                bytes[100] ^= 1;
                let content = Content::Piece {
                    length,
                    checksum,
                    bytes: &bytes,
                };
                let mut body = Vec::new();
                Chunk { content, ..chunk }.encode(&mut body);
                letter.body = body;
            }
        }
        assert!(world.deliver_chunk() || world.step());
    }
    assert!(matches!(
        world.finish(),
        Received::Failed {
            error: TransferError::Checksum,
            ..
        }
    ));
    assert!(world.names().is_empty());
}

#[test]
fn a_snapshot_that_cannot_be_loaded_is_never_visible() {
    let mut world = World::new(settings());
    let mut old = content(10, 1);
    world.make(id(0, 5), &mut old);
    world.want(wanted(id(0, 5)));
    expect_loaded(world.finish(), id(0, 5), &old);

    // Its checksums are right, but no keyspace is in it.
    let mut writer = world.sender_files.create(id(0, 10)).unwrap();
    writer.write(&[7; 100_000]).unwrap();
    writer.finish().unwrap();
    world.want(wanted(id(0, 10)));
    let outcome = world.finish();
    assert!(matches!(
        outcome,
        Received::Failed {
            error: TransferError::Load(_),
            ..
        }
    ));
    assert_eq!(world.receiver_files.list().unwrap(), [local(id(0, 5))]);
    assert_eq!(world.names().len(), 1);
}

#[test]
fn a_snapshot_of_another_entry_than_offered_is_refused() {
    let mut world = World::new(settings());
    let bytes = crate::world::encoded(id(0, 9), &mut content(10, 1));
    let mut writer = world.sender_files.create(id(0, 10)).unwrap();
    writer.write(&bytes).unwrap();
    writer.finish().unwrap();
    world.want(wanted(id(0, 10)));
    let outcome = world.finish();
    assert!(matches!(
        outcome,
        Received::Failed {
            error: TransferError::OtherEntry {
                offered: 10,
                found: 9
            },
            ..
        }
    ));
    assert!(world.names().is_empty());
}

#[test]
fn a_full_disk_is_told_and_tried_again_later() {
    let mut world = World::new(settings());
    let mut keyspace = content(1500, 1);
    world.make(id(0, 10), &mut keyspace);
    let mut old = content(10, 3);
    world.make(id(0, 5), &mut old);
    world.want(wanted(id(0, 5)));
    expect_loaded(world.finish(), id(0, 5), &old);

    world.receiver_disk.set_free_bytes(Some(300_000));
    world.want(wanted(id(0, 10)));
    let began = world.now;
    assert!(matches!(world.finish(), Received::NoRoom { .. }));
    assert_eq!(
        world.names().len(),
        1,
        "the unfinished file gave its room back"
    );
    assert!(matches!(world.finish(), Received::NoRoom { .. }));
    assert!(world.now >= began + Duration::from_secs(10));
    world.receiver_disk.set_free_bytes(None);
    let received = world.finish();
    expect_loaded(received, id(0, 10), &keyspace);
}

#[test]
fn any_other_failure_of_the_disk_fails_the_transfer_and_leaves_nothing() {
    for operation in [Operation::Create, Operation::Write, Operation::Sync] {
        for after in 0..4 {
            let mut world = World::new(settings());
            world.make(id(0, 10), &mut content(1500, 1));
            world.receiver_disk.inject(Fault {
                operation,
                after,
                kind: io::ErrorKind::Other,
            });
            world.want(wanted(id(0, 10)));
            match world.finish() {
                Received::Failed {
                    error: TransferError::Disk(_),
                    ..
                } => {}
                Received::Loaded { .. } => continue,
                _ => panic!("{operation:?} {after}"),
            }
            world.restart_receiver();
            let names = world.names();
            assert!(
                names.iter().all(|name| name.ends_with(".snap")),
                "{names:?}"
            );
        }
    }
}

#[test]
fn others_wait_while_enough_are_received_and_each_comes() {
    let mut world = World::new(settings());
    let mut contents: Vec<_> = (0..5).map(|shard| content(300, shard)).collect();
    for (shard, keyspace) in (0..).zip(&mut contents) {
        world.make(id(shard, 10), keyspace);
        world.want(wanted(id(shard, 10)));
    }
    let mut done = Vec::new();
    while done.len() < contents.len() {
        let started = world.receiver.progress().filter(|(_, bytes)| *bytes > 0);
        assert!(started.count() <= settings().receiving);
        assert!(world.step() || !world.received.is_empty());
        for received in world.received.drain(..) {
            let Received::Loaded { id, .. } = &received else {
                panic!("all come");
            };
            let shard = id.shard.0;
            expect_loaded(
                received,
                crate::world::id(shard, 10),
                &contents[shard as usize],
            );
            done.push(shard);
        }
    }
    assert_eq!(
        done[..2].iter().max(),
        Some(&1),
        "the first come first: {done:?}"
    );
}

#[test]
fn one_that_waits_begins_when_the_one_before_has_ended() {
    let mut world = World::new(Settings {
        receiving: 1,
        ..settings()
    });
    let mut keyspace = content(10, 1);
    world.make(id(1, 10), &mut keyspace);
    // The first is gone, which is the last that anybody hears.
    world.want(wanted(id(0, 10)));
    world.want(wanted(id(1, 10)));
    assert!(matches!(world.finish(), Received::Failed { .. }));
    let received = world.finish();
    expect_loaded(received, id(1, 10), &keyspace);
}

#[test]
fn answers_that_nobody_asked_for_change_nothing() {
    let lie = |offset, length, bytes: &[u8]| {
        let mut body = Vec::new();
        let content = Content::Piece {
            length,
            checksum: 7,
            bytes,
        };
        let id = id(0, 10);
        Chunk {
            id,
            offset,
            content,
        }
        .encode(&mut body);
        body
    };
    for body in [
        lie(5, 1 << 40, &[1; 100]),
        lie(0, 1 << 40, &[1; 100]),
        lie(0, 1 << 40, &[]),
        lie(0, 0, &[]),
        lie(0, 50, &[1; 51]),
        lie(u64::MAX, u64::MAX, &[1; 100]),
    ] {
        let mut world = World::new(settings());
        world.make(id(0, 10), &mut content(300, 1));
        world.want(wanted(id(0, 10)));
        world.receiver.chunk(SENDER, &body).unwrap();
        world.receiver.chunk(NodeId(8), &body).unwrap();
        world.poll_receiver();
        assert!(world.names().is_empty(), "nothing was written");
        assert!(world.receiver.chunk(SENDER, b"short").is_err());
        assert!(matches!(world.finish(), Received::Loaded { .. }));
    }
}

#[test]
fn an_unfinished_file_is_gone_after_a_restart() {
    let mut world = World::new(settings());
    world.make(id(0, 10), &mut content(1500, 1));
    world.want(wanted(id(0, 10)));
    for _ in 0..8 {
        world.step();
    }
    assert_eq!(world.names().len(), 1);
    let files = Snapshots::open(std::sync::Arc::clone(&world.receiver_disk), Path::new(DIR));
    assert!(files.unwrap().list().unwrap().is_empty());
    assert!(world.names().is_empty());
}
