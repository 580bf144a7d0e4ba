//! Rot and torn tails: the last segment damaged at every byte.

#![allow(clippy::unwrap_used, reason = "a failure of a test is a panic")]

mod support;

use std::path::Path;
use std::sync::Arc;

use support::{SMALL, Seen, dir, entry, files, open, segment};
use wal::testing::MemDisk;
use wal::{Body, Record, Wal, WalError};

/// A log of some segments, and what it must and may still hold after damage to the last one.
struct Victim {
    disk: MemDisk,
    last: u64,
    written: Seen,
    /// How many of the entries were synced.
    synced: usize,
}

fn victim(records: u64, synced: u64) -> Victim {
    let disk = Arc::new(MemDisk::new());
    let (mut wal, _, _) = open(&disk).unwrap();
    let hard_state = support::encode(
        0,
        Body::HardState {
            term: 3,
            vote: 7,
            commit: 0,
        },
    );
    wal.append([&hard_state[..]]).unwrap();
    for index in 1..=records {
        let bytes = entry(index as u32 % 3, index, 40 + index as usize * 97 % 400);
        wal.append([&bytes[..]]).unwrap();
        if index <= synced {
            wal.sync().unwrap();
        }
    }
    wal.mark_synced().unwrap();
    drop(wal);
    disk.kill();
    let last = files(&disk).len() as u64;
    let (wal, recovery, written) = open(&Arc::new(disk.duplicate())).unwrap();
    assert_eq!(written.entries.len() as u64, records);
    assert_eq!(recovery.torn, None);
    drop(wal);
    Victim {
        disk: disk.duplicate(),
        last,
        written,
        synced: synced as usize,
    }
}

/// Opens the damaged log; whether that was refused. Whatever it tells must be true.
fn examine(victim: &Victim, what: &str, damage: impl Fn(&MemDisk, &Path)) -> bool {
    let disk = Arc::new(victim.disk.duplicate());
    damage(&disk, &segment(victim.last));
    match open(&disk) {
        Ok((wal, _, seen)) => {
            assert!(
                victim.written.entries.starts_with(&seen.entries),
                "{what}: invented"
            );
            assert!(
                seen.entries.len() >= victim.synced,
                "{what}: a synced record is lost"
            );
            assert_eq!(seen.hard_states, victim.written.hard_states, "{what}");
            drop(wal);
            // What was said once stays so, even if the power goes now.
            disk.crash(u64::from(what.len() as u32));
            let (_, recovery, again) = open(&disk).unwrap();
            assert_eq!(again, seen, "{what}: changed");
            assert_eq!(recovery.torn, None, "{what}: cut twice");
            false
        }
        Err(WalError::Corrupt { path, offset, .. }) => {
            assert_eq!(path, segment(victim.last), "{what}");
            assert!(offset <= SMALL.segment_size_bytes, "{what}");
            true
        }
        Err(other) => panic!("{what}: {other}"),
    }
}

fn damage_every_byte(victim: &Victim) -> [usize; 3] {
    let size = SMALL.segment_size_bytes as usize;
    let mut refused = [0; 3];
    for offset in 0..size {
        let mask = [0x01, 0x80, 0xff][offset % 3];
        let flip = |disk: &MemDisk, path: &Path| disk.flip(path, offset, mask);
        refused[0] += usize::from(examine(victim, &format!("flipped at {offset}"), flip));
        let cut = |disk: &MemDisk, path: &Path| {
            let bytes = disk.contents(path);
            disk.set_contents(path, &bytes[..offset]);
        };
        refused[2] += usize::from(examine(victim, &format!("cut at {offset}"), cut));
    }
    refused[1] = zero_every_tail(victim, 0);
    assert_eq!(
        refused[2], size,
        "a shortened file is never taken for a torn tail"
    );
    refused
}

/// From each place on that is not below `lowest`.
fn zero_every_tail(victim: &Victim, lowest: usize) -> usize {
    let zero = |offset: usize| {
        move |disk: &MemDisk, path: &Path| {
            let mut bytes = disk.contents(path);
            bytes[offset..].fill(0);
            disk.set_contents(path, &bytes);
        }
    };
    (lowest..SMALL.segment_size_bytes as usize)
        .filter(|&offset| examine(victim, &format!("zeroed from {offset}"), zero(offset)))
        .count()
}

#[test]
fn at_rest_no_damage_to_any_byte_loses_or_invents_a_record() {
    let victim = victim(40, 40);
    assert!(victim.last >= 3);
    let [flipped, zeroed, _] = damage_every_byte(&victim);
    // Each byte of a block is seen, and some of the header's.
    assert!(
        flipped > 1000 && zeroed > 12_288 + 1000,
        "{flipped} {zeroed}"
    );
}

/// A log whose last segment is a recycled file with old blocks behind the new ones.
fn recycled_victim() -> Victim {
    let disk = Arc::new(MemDisk::new());
    let (mut wal, _, _) = open(&disk).unwrap();
    let mut index = 0;
    let mut append = |wal: &mut Wal<MemDisk>, length| {
        index += 1;
        wal.append([&entry(0, index, length)[..]]).unwrap();
        index
    };
    for _ in 0..60 {
        let index = append(&mut wal, 500);
        wal.append([&support::encode(
            0,
            Body::Purge {
                index: index.saturating_sub(3),
            },
        )[..]])
            .unwrap();
        wal.sync().unwrap();
        support::upkeep(&mut wal);
    }
    // Some way into a segment, so that old bytes remain behind it.
    let turned = wal.log_bytes();
    while wal.log_bytes() == turned {
        append(&mut wal, 500);
    }
    for length in [20, 300, 50] {
        append(&mut wal, length);
        wal.sync().unwrap();
    }
    wal.mark_synced().unwrap();
    let place = wal.end();
    drop(wal);
    disk.kill();
    let (_, _, written) = open(&Arc::new(disk.duplicate())).unwrap();
    let name = files(&disk)
        .into_iter()
        .rfind(|name| name.starts_with("log-"))
        .unwrap();
    let last: u64 = name[4..14].parse().unwrap();
    let bytes = disk.contents(&segment(last));
    assert_eq!(bytes[12], 1, "recycled");
    let offset = (place.0 - (last - 1) * SMALL.segment_size_bytes) as usize;
    assert!(
        bytes[offset..].windows(4).any(|bytes| bytes == b"pBlk"),
        "old blocks are there"
    );
    let synced = written.entries.len();
    Victim {
        disk: disk.duplicate(),
        last,
        written,
        synced,
    }
}

#[test]
fn in_a_recycled_segment_no_damage_to_any_byte_loses_or_invents_a_record() {
    let [flipped, zeroed, _] = damage_every_byte(&recycled_victim());
    assert!(flipped > 900 && zeroed > 12_288 + 900, "{flipped} {zeroed}");
}

#[test]
fn with_an_unsynced_tail_no_damage_to_any_byte_loses_a_synced_record() {
    let victim = victim(40, 35);
    let size = SMALL.segment_size_bytes as usize;
    let mut refused = 0;
    for offset in 0..size {
        for mask in [0x02, 0x40] {
            let flip = |disk: &MemDisk, path: &Path| disk.flip(path, offset, mask);
            refused += usize::from(examine(&victim, &format!("flipped at {offset}"), flip));
        }
    }
    assert!(refused > 0);
    // A power cut leaves zeros where nothing was synced.
    let end = synced_end(&victim);
    assert_eq!(zero_every_tail(&victim, end), 0, "an honest tail is cut");
}

/// Where in the last segment the synced part ends.
fn synced_end(victim: &Victim) -> usize {
    let disk = Arc::new(MemDisk::new());
    let (mut wal, _, _) = open(&disk).unwrap();
    let hard_state = support::encode(
        0,
        Body::HardState {
            term: 3,
            vote: 7,
            commit: 0,
        },
    );
    wal.append([&hard_state[..]]).unwrap();
    for (shard, _, index, payload) in &victim.written.entries[..victim.synced] {
        wal.append([&entry(*shard, *index, payload.len())[..]])
            .unwrap();
    }
    (wal.end().0 - (victim.last - 1) * SMALL.segment_size_bytes) as usize
}

#[test]
fn damage_before_the_last_segment_is_refused_with_its_place() {
    let victim = victim(40, 40);
    for offset in [20, 12_288, 12_300, 13_000, 16_000] {
        let disk = Arc::new(victim.disk.duplicate());
        disk.flip(&segment(2), offset, 4);
        match open(&disk).err() {
            Some(WalError::Corrupt {
                path,
                offset: found,
                ..
            }) => {
                assert_eq!(path, segment(2));
                assert!(found as usize <= offset);
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_missing_or_misplaced_segment_is_refused() {
    let victim = victim(40, 40);
    let missing = Arc::new(victim.disk.duplicate());
    wal::Disk::remove(&*missing, &segment(2)).unwrap();
    assert!(
        matches!(open(&missing).err(), Some(WalError::Corrupt { path, .. }) if path == segment(2))
    );

    let misplaced = Arc::new(victim.disk.duplicate());
    misplaced.set_contents(&segment(2), &victim.disk.contents(&segment(3)));
    assert!(matches!(
        open(&misplaced).err(),
        Some(WalError::Corrupt { .. })
    ));
}

/// Sets a byte of the version of the first segment.
fn set_version(disk: &MemDisk, at: usize, byte: u8) {
    let mut bytes = disk.contents(&segment(1));
    bytes[at] = byte;
    let crc = crc32c_of(&bytes[..40]);
    bytes[40..44].copy_from_slice(&crc.to_le_bytes());
    disk.set_contents(&segment(1), &bytes);
}

#[test]
fn a_later_minor_format_is_read_without_what_it_adds() {
    let disk = Arc::new(MemDisk::new());
    let (mut wal, _, _) = open(&disk).unwrap();
    let kind = Record::OPTIONAL_KINDS;
    let other = support::encode(
        0,
        Body::Other {
            kind,
            bytes: b"new",
        },
    );
    let (term, vote, commit) = (3, 1, 0);
    let hard_state = support::encode(0, Body::HardState { term, vote, commit });
    wal.append([&other[..], &hard_state[..]]).unwrap();
    wal.sync().unwrap();
    drop(wal);
    disk.kill();
    set_version(&disk, 10, 7);
    let (_, _, seen) = open(&disk).unwrap();
    assert_eq!(seen.hard_states[&0], (term, vote, commit));
}

#[test]
fn a_later_format_is_refused_as_such() {
    let victim = victim(1, 1);
    set_version(&victim.disk, 8, 2);
    let refused = open(&Arc::new(victim.disk)).err();
    assert!(
        matches!(
            refused,
            Some(WalError::Version {
                found: 2,
                supported: 1,
                ..
            })
        ),
        "{refused:?}"
    );
}

/// Bit by bit: an implementation that shares nothing with the one under test.
fn crc32c_of(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0u32, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| {
            (crc >> 1) ^ (0x82f6_3b78 & (crc & 1).wrapping_neg())
        })
    })
}

#[test]
fn a_block_written_to_the_wrong_place_is_not_believed() {
    let disk = Arc::new(MemDisk::new());
    let (mut wal, _, _) = open(&disk).unwrap();
    for index in 1..=4 {
        wal.append([&entry(0, index, 100)[..]]).unwrap();
    }
    wal.sync().unwrap();
    drop(wal);
    disk.kill();
    // All four blocks have one size: the second comes to stand where the third was.
    let size = entry(0, 1, 100).len() + 36;
    let mut bytes = disk.contents(&segment(1));
    bytes.copy_within(12_288 + size..12_288 + 2 * size, 12_288 + 2 * size);
    disk.set_contents(&segment(1), &bytes);
    let result = open(&disk);
    assert!(matches!(result, Ok((_, _, seen)) if seen.indexes(0) == [1, 2]));
}

#[test]
fn a_refused_replay_says_where() {
    let victim = victim(4, 4);
    let mut replay = |record: wal::Record<'_>| match record.body {
        Body::Entry { index: 3, .. } => Err("no room for three".into()),
        _ => Ok(()),
    };
    let disk = Arc::new(victim.disk);
    let refused = Wal::open(disk, dir(), SMALL, &mut replay, &mut |_| {})
        .err()
        .unwrap();
    assert!(matches!(&refused, WalError::Replay { path, offset, .. }
        if *path == segment(1) && *offset > 12_288));
    assert!(refused.to_string().contains("no room for three"));
}

/// What came before was let go because this block was durable.
#[test]
fn the_oldest_segment_is_never_believed_to_be_empty_unless_it_is_the_first() {
    let disk = Arc::new(MemDisk::new());
    let (mut wal, _, _) = open(&disk).unwrap();
    wal.append([
        &entry(0, 1, 3000)[..],
        &support::encode(0, Body::Purge { index: 1 })[..],
    ])
    .unwrap();
    wal.sync().unwrap();
    wal.append([&entry(0, 2, 3000)[..]]).unwrap();
    wal.sync().unwrap();
    support::upkeep(&mut wal);
    drop(wal);
    disk.kill();
    assert!(!files(&disk).contains(&"log-0000000001.seg".to_owned()));
    assert_eq!(open(&Arc::new(disk.duplicate())).unwrap().2.indexes(0), [2]);
    let mut bytes = disk.contents(&segment(2));
    bytes[12_288..].fill(0);
    disk.set_contents(&segment(2), &bytes);
    let refused = open(&disk).err();
    assert!(
        matches!(&refused, Some(WalError::Corrupt { path, offset: 12_288, .. })
        if *path == segment(2)),
        "{refused:?}"
    );
}
