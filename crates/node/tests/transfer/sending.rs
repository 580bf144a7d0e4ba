//! The rules of sending, by name.

use std::path::Path;
use std::time::Duration;

use base::NodeId;
use node::transfer::{Chunk, Content, Fetch, Received, Settings, TransferError};

use crate::world::{DIR, RECEIVER, World, content, expect_loaded, id, settings, wanted};

#[test]
fn a_snapshot_that_is_removed_while_it_is_sent_still_arrives() {
    let mut world = World::new(settings());
    let mut keyspace = content(1500, 1);
    world.make(id(0, 10), &mut keyspace);
    world.want(wanted(id(0, 10)));
    for _ in 0..8 {
        world.step();
    }
    world.sender_files.remove(id(0, 10)).unwrap();
    let received = world.finish();
    expect_loaded(received, id(0, 10), &keyspace);
}

#[test]
fn a_damaged_file_is_told_on_one_side_and_gone_on_the_other() {
    let mut world = World::new(settings());
    world.make(id(0, 10), &mut content(1500, 1));
    let path = Path::new(DIR).join("snapshot-0-11-2-10.snap");
    world.sender_disk.flip(&path, 400_000, 1);
    world.want(wanted(id(0, 10)));
    let outcome = world.finish();
    assert!(matches!(
        outcome,
        Received::Failed {
            error: TransferError::Gone,
            ..
        }
    ));
    assert!(!world.damaged.is_empty());
    assert!(
        world
            .damaged
            .iter()
            .all(|(damaged, _)| *damaged == id(0, 10))
    );
    assert!(world.names().is_empty());
}

#[test]
fn one_who_comes_when_enough_are_served_waits_until_a_file_is_closed() {
    let mut settings = settings();
    settings.sending = 1;
    let mut world = World::new(settings);
    let mut keyspace = content(300, 1);
    world.make(id(0, 10), &mut keyspace);
    // Another node has begun, and then fell silent.
    let mut body = Vec::new();
    Fetch {
        id: id(0, 10),
        offset: 0,
        bytes: 1000,
    }
    .encode(&mut body);
    world.sender.fetch(NodeId(9), &body).unwrap();
    world
        .sender
        .poll(world.now, &mut Vec::new(), &mut Vec::new());
    let began = world.now;
    world.want(wanted(id(0, 10)));
    let received = world.finish();
    expect_loaded(received, id(0, 10), &keyspace);
    assert!(world.now >= began + settings.idle);
}

#[test]
fn a_limit_of_bytes_per_second_holds() {
    let mut settings = settings();
    settings.bytes_per_second = 100_000;
    let mut world = World::new(settings);
    let mut keyspace = content(1500, 1);
    world.make(id(0, 10), &mut keyspace);
    let began = world.now;
    world.want(wanted(id(0, 10)));
    let Received::Loaded { bytes, .. } = world.finish() else {
        panic!("it comes");
    };
    let least = Duration::from_secs_f64((bytes - u64::from(settings.chunk_bytes)) as f64 / 1e5);
    let took = world.now - began;
    assert!(took >= least, "{bytes} bytes in {took:?}");
    assert!(took < 2 * least, "{bytes} bytes in {took:?}");
}

#[test]
fn a_piece_is_never_larger_than_the_limit_and_ends_with_the_file() {
    let mut world = World::new(settings());
    world.make(id(0, 10), &mut content(1500, 1));
    let length = world.sender_files.read(id(0, 10)).unwrap().length();
    let mut piece = |offset, bytes| {
        let mut body = Vec::new();
        let id = id(0, 10);
        Fetch { id, offset, bytes }.encode(&mut body);
        world.sender.fetch(RECEIVER, &body).unwrap();
        let mut letters = Vec::new();
        world.sender.poll(world.now, &mut letters, &mut Vec::new());
        match Chunk::decode(&letters[0].body).unwrap().content {
            Content::Piece { bytes, .. } => bytes.len() as u64,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(piece(0, u32::MAX), u64::from(Settings::CHUNK_BYTES_MAX));
    assert_eq!(piece(250_000, 60_000), 60_000);
    assert_eq!(piece(length - 10, 60_000), 10);
    assert_eq!(piece(length, 60_000), 0);
    assert_eq!(piece(u64::MAX, 60_000), 0);
}

#[test]
fn what_was_asked_on_a_connection_that_is_gone_is_not_answered() {
    let mut world = World::new(Settings {
        bytes_per_second: 100_000,
        ..settings()
    });
    world.make(id(0, 10), &mut content(1500, 1));
    for offset in [0, 1000, 2000] {
        let mut body = Vec::new();
        let (id, bytes) = (id(0, 10), 1000);
        Fetch { id, offset, bytes }.encode(&mut body);
        world.sender.fetch(RECEIVER, &body).unwrap();
    }
    world.poll_sender();
    assert_eq!(world.chunks.len(), 1, "the limit holds the others back");
    world.sender.lost(RECEIVER);
    world.now += Duration::from_secs(1);
    world.poll_sender();
    assert_eq!(world.chunks.len(), 1);
}

#[test]
fn a_file_is_closed_after_its_last_piece_so_that_the_next_one_need_not_wait() {
    let mut settings = settings();
    settings.sending = 1;
    let mut world = World::new(settings);
    let (mut first, mut second) = (content(300, 1), content(300, 2));
    world.make(id(0, 10), &mut first);
    world.make(id(1, 10), &mut second);
    let began = world.now;
    world.want(wanted(id(0, 10)));
    let received = world.finish();
    expect_loaded(received, id(0, 10), &first);
    world.want(wanted(id(1, 10)));
    let received = world.finish();
    expect_loaded(received, id(1, 10), &second);
    assert!(world.now < began + settings.idle);
}
