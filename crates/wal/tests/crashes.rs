//! Random work, random power cuts: what comes back is a prefix that holds everything synced.

#![allow(clippy::unwrap_used, reason = "a failure of a test is a panic")]

mod support;

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;
use support::{Seen, encode, entry, files, open, upkeep};
use wal::testing::MemDisk;
use wal::{Body, LogPosition, SyncJob};

#[derive(Clone, Debug)]
enum Step {
    Append { shard: u32, records: Vec<usize> },
    HardState { shard: u32 },
    Purge { shard: u32, behind: u64 },
    Sync,
    StartSync,
    EndSync,
    Mark,
    Upkeep,
    Kill,
    Crash(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let lengths = prop::collection::vec(prop_oneof![8 => 0..300usize, 1 => 300..9000usize], 1..4);
    prop_oneof![
        8 => (0..3u32, lengths).prop_map(|(shard, records)| Step::Append { shard, records }),
        2 => (0..3u32).prop_map(|shard| Step::HardState { shard }),
        2 => (0..3u32, 0..4u64).prop_map(|(shard, behind)| Step::Purge { shard, behind }),
        4 => Just(Step::Sync),
        2 => Just(Step::StartSync),
        2 => Just(Step::EndSync),
        2 => Just(Step::Mark),
        3 => Just(Step::Upkeep),
        1 => Just(Step::Kill),
        2 => any::<u64>().prop_map(Step::Crash),
    ]
}

/// One append: what it said, and where it ended.
struct Appended {
    end: LogPosition,
    seen: Seen,
}

#[derive(Default)]
struct Model {
    appended: Vec<Appended>,
    /// The next index of each shard.
    next: BTreeMap<u32, u64>,
    term: u64,
}

impl Model {
    fn expected(&self, upto: usize) -> Seen {
        let mut all = Seen::default();
        for appended in &self.appended[..upto] {
            all.entries.extend(appended.seen.entries.iter().cloned());
            all.hard_states.extend(&appended.seen.hard_states);
            for (&shard, &index) in &appended.seen.purges {
                let purge = all.purges.entry(shard).or_default();
                *purge = index.max(*purge);
            }
        }
        all
    }

    /// Finds the prefix that came back, which must hold all up to `synced`; the model forgets the rest.
    fn recovered(&mut self, seen: &Seen, synced: LogPosition) {
        let least = self
            .appended
            .iter()
            .filter(|appended| appended.end <= synced)
            .count();
        let found = (least..=self.appended.len())
            .rev()
            .find(|&upto| {
                let expected = self.expected(upto);
                expected.hard_states == seen.hard_states
                    && expected.purges == seen.purges
                    && ends_alike(&expected, seen)
            })
            .expect("what came back is a prefix that holds everything synced");
        self.appended.truncate(found);
        let expected = self.expected(found);
        for (shard, next) in &mut self.next {
            *next = expected.indexes(*shard).last().map_or(1, |last| last + 1);
        }
    }
}

/// Whether the entries that came back are the last ones of the expected, and those that are missing before
/// them were purged.
fn ends_alike(expected: &Seen, seen: &Seen) -> bool {
    let Some(missing) = expected.entries.len().checked_sub(seen.entries.len()) else {
        return false;
    };
    let (gone, kept) = expected.entries.split_at(missing);
    kept == seen.entries
        && gone.iter().all(|entry| {
            seen.purges
                .get(&entry.0)
                .is_some_and(|purge| entry.2 <= *purge)
        })
}

fn run(steps: &[Step]) {
    let disk = Arc::new(MemDisk::new());
    let mut model = Model::default();
    let (mut wal, _, _) = open(&disk).unwrap();
    let mut job: Option<SyncJob<MemDisk>> = None;
    for step in steps {
        match step {
            Step::Append { shard, records } => {
                let next = model.next.entry(*shard).or_insert(1);
                let mut batches = Vec::new();
                let mut seen = Seen::default();
                for &length in records {
                    batches.push(entry(*shard, *next, length));
                    *next += 1;
                }
                for batch in &batches {
                    seen.see(&wal::Record::decode(&mut &batch[..]).unwrap());
                }
                let end = wal.append(batches.iter().map(|batch| &batch[..])).unwrap();
                model.appended.push(Appended { end, seen });
            }
            Step::HardState { shard } => {
                model.term += 1;
                let state = Body::HardState {
                    term: model.term,
                    vote: 1,
                    commit: model.term,
                };
                append(&mut wal, &mut model, *shard, state);
            }
            Step::Purge { shard, behind } => {
                let next = model.next.get(shard).copied().unwrap_or(1);
                if next > behind + 1 {
                    append(
                        &mut wal,
                        &mut model,
                        *shard,
                        Body::Purge {
                            index: next - 1 - behind,
                        },
                    );
                }
            }
            Step::Sync => {
                let end = wal.end();
                assert_eq!(wal.sync().unwrap(), end);
            }
            Step::StartSync => job = wal.sync_job().unwrap(),
            Step::EndSync => {
                if let Some(job) = job.take() {
                    wal.synced(job.run().unwrap());
                }
            }
            Step::Mark => wal.mark_synced().unwrap(),
            Step::Upkeep => upkeep(&mut wal),
            Step::Kill | Step::Crash(_) => {
                job = None;
                let mut synced = wal.synced_upto();
                match step {
                    Step::Crash(seed) => disk.crash(*seed),
                    _ => {
                        synced = wal.end();
                        disk.kill();
                    }
                }
                let (reopened, _, seen) = open(&disk).unwrap();
                model.recovered(&seen, synced);
                assert_eq!(reopened.end(), reopened.synced_upto());
                wal = reopened;
                assert!(files(&disk).len() < 200);
            }
        }
    }
}

fn append(wal: &mut wal::Wal<MemDisk>, model: &mut Model, shard: u32, body: Body<'_>) {
    let bytes = encode(shard, body);
    let mut seen = Seen::default();
    seen.see(&wal::Record::decode(&mut &bytes[..]).unwrap());
    let end = wal.append([&bytes[..]]).unwrap();
    model.appended.push(Appended { end, seen });
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4000, ..ProptestConfig::default() })]

    #[test]
    fn a_crash_leaves_a_prefix_that_holds_everything_synced(
        steps in prop::collection::vec(step(), 1..80)
    ) {
        run(&steps);
    }
}
