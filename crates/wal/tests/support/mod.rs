//! What the tests of the log share: a small log in memory, and its contents as a test sees them.
#![allow(dead_code, reason = "each test file uses a part of it")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use base::{ReplicaId, ShardId};
use wal::testing::MemDisk;
use wal::{Body, Disk, Options, Record, Recovery, Wal, WalError};

/// The smallest segments there are: 4 KiB for blocks.
pub(crate) const SMALL: Options = Options {
    segment_size_bytes: 16 << 10,
};

pub(crate) fn dir() -> &'static Path {
    Path::new("log")
}

pub(crate) fn segment(sequence: u64) -> PathBuf {
    dir().join(format!("log-{sequence:010}.seg"))
}

/// The names in the folder of the log.
pub(crate) fn files(disk: &MemDisk) -> Vec<String> {
    disk.list(dir()).unwrap()
}

/// What a replay saw, as a user of the log would keep it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Seen {
    /// Entries in the order in which they came: (shard, term, index, payload).
    pub(crate) entries: Vec<(u32, u64, u64, Vec<u8>)>,
    /// The last of each by shard.
    pub(crate) hard_states: BTreeMap<u32, (u64, u64, u64)>,
    pub(crate) snapshots: BTreeMap<u32, (u64, u64)>,
    pub(crate) purges: BTreeMap<u32, u64>,
    pub(crate) truncates: Vec<(u32, u64)>,
}

impl Seen {
    pub(crate) fn see(&mut self, record: &Record<'_>) {
        let shard = record.shard.0;
        match record.body {
            Body::Entry {
                term,
                index,
                payload,
            } => {
                self.entries.push((shard, term, index, payload.to_vec()));
            }
            Body::HardState { term, vote, commit } => {
                self.hard_states.insert(shard, (term, vote, commit));
            }
            Body::Snapshot { term, index } => {
                self.snapshots.insert(shard, (term, index));
            }
            Body::Purge { index } => {
                let highest = self.purges.entry(shard).or_default();
                *highest = index.max(*highest);
            }
            Body::Truncate { index } => self.truncates.push((shard, index)),
            Body::Forget => {
                self.hard_states.remove(&shard);
                self.snapshots.remove(&shard);
                self.purges.remove(&shard);
            }
            Body::Other { .. } => {}
        }
    }

    /// The indexes of a shard's entries.
    pub(crate) fn indexes(&self, shard: u32) -> Vec<u64> {
        self.entries
            .iter()
            .filter(|entry| entry.0 == shard)
            .map(|entry| entry.2)
            .collect()
    }
}

pub(crate) type Opened<D> = Result<(Wal<D>, Recovery, Seen), WalError>;

pub(crate) fn open(disk: &Arc<MemDisk>) -> Opened<MemDisk> {
    open_with(disk, SMALL)
}

pub(crate) fn open_with<D: Disk>(disk: &Arc<D>, options: Options) -> Opened<D> {
    let mut seen = Seen::default();
    let mut replay = |record: Record<'_>| {
        seen.see(&record);
        Ok(())
    };
    let (wal, recovery) = Wal::open(Arc::clone(disk), dir(), options, &mut replay, &mut |_| {})?;
    Ok((wal, recovery, seen))
}

pub(crate) fn encode(shard: u32, body: Body<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    Record {
        shard: ShardId(shard),
        replica: ReplicaId(7),
        body,
    }
    .encode(&mut bytes);
    bytes
}

pub(crate) fn entry(shard: u32, index: u64, length: usize) -> Vec<u8> {
    let payload: Vec<u8> = (0..length)
        .map(|place| (index as usize * 31 + place) as u8)
        .collect();
    encode(
        shard,
        Body::Entry {
            term: 1,
            index,
            payload: &payload,
        },
    )
}

/// Does all the upkeep there is.
pub(crate) fn upkeep<D: Disk>(wal: &mut Wal<D>) {
    if let Some(work) = wal.upkeep() {
        work.run().unwrap();
    }
}
