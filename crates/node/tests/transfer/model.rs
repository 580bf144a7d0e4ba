//! A random link, which delivers in order but may break at any time and lose a message, random restarts of
//! both sides and random failures of the disk: in the end the snapshot is there, and before that
//! nothing that is not whole is visible.

use std::io;

use node::transfer::Received;
use proptest::prelude::*;
use wal::SnapshotId;
use wal::testing::{Fault, Operation};

use crate::world::{World, content, entries, expect_loaded, id, local, settings, wanted};

/// Enough for some pieces.
const KEYS: u32 = 250;

type Stored = Vec<(Vec<u8>, Vec<u8>)>;

#[derive(Clone, Copy, Debug)]
enum Event {
    Fetch,
    Chunk,
    Wait,
    Cut,
    LoseFetch,
    LoseChunk,
    RestartSender,
    KillReceiver,
    CrashReceiver(u64),
    /// The same entry, other bytes.
    MakeAgain,
    MakeNewer,
    RemoveAll,
    DiskFull(bool),
    DiskFails(Operation),
    /// Told again what is wanted.
    WantAgain,
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        40 => Just(Event::Fetch),
        40 => Just(Event::Chunk),
        8 => Just(Event::Wait),
        3 => Just(Event::Cut),
        2 => Just(Event::LoseFetch),
        2 => Just(Event::LoseChunk),
        1 => Just(Event::RestartSender),
        1 => Just(Event::KillReceiver),
        1 => any::<u64>().prop_map(Event::CrashReceiver),
        1 => Just(Event::MakeAgain),
        1 => Just(Event::MakeNewer),
        1 => Just(Event::RemoveAll),
        1 => any::<bool>().prop_map(Event::DiskFull),
        1 => prop_oneof![
            Just(Operation::Create),
            Just(Operation::Write),
            Just(Operation::Sync),
            Just(Operation::Name),
        ].prop_map(Event::DiskFails),
        3 => Just(Event::WantAgain),
    ]
}

/// What the leader's side offers, and how the follower's shard takes what comes.
struct Model {
    world: World,
    /// The index and the seed of the content of the newest snapshot.
    newest: (u64, u64),
    /// All contents that were ever offered, with their indexes.
    offered: Vec<(u64, Stored)>,
    /// The files that were looked at.
    judged: Vec<SnapshotId>,
    /// The highest that was installed.
    installed: u64,
}

impl Model {
    fn make(&mut self, index: u64) {
        let seed = self.newest.1 + 1;
        self.newest = (index, seed);
        let mut keyspace = content(KEYS, seed);
        self.offered.push((index, entries(&keyspace)));
        self.world.make(id(0, index), &mut keyspace);
    }

    fn want(&mut self) {
        self.world.want(wanted(id(0, self.newest.0)));
    }

    fn apply(&mut self, event: Event) {
        let world = &mut self.world;
        match event {
            Event::Fetch => drop(world.deliver_fetch()),
            Event::Chunk => drop(world.deliver_chunk()),
            Event::Wait => drop(world.wait()),
            Event::Cut => world.cut(),
            Event::LoseFetch => drop(world.fetches.pop_front()),
            Event::LoseChunk => drop(world.chunks.pop_front()),
            Event::RestartSender => world.restart_sender(),
            Event::KillReceiver => {
                world.receiver_disk.kill();
                world.restart_receiver();
            }
            Event::CrashReceiver(seed) => world.crash_receiver(seed),
            Event::MakeAgain => self.make(self.newest.0),
            Event::MakeNewer => self.make(self.newest.0 + 1),
            Event::RemoveAll => {
                for id in world.sender_files.list().unwrap() {
                    world.sender_files.remove(id).unwrap();
                }
            }
            Event::DiskFull(full) => {
                let free = full.then_some(20_000);
                world.receiver_disk.set_free_bytes(free);
            }
            Event::DiskFails(operation) => world.receiver_disk.inject(Fault {
                operation,
                after: 1,
                kind: io::ErrorKind::Other,
            }),
            Event::WantAgain => self.want(),
        }
        self.judge();
    }

    fn was_offered(&self, index: u64, found: &Stored) -> bool {
        let mut offered = self.offered.iter();
        offered.any(|(at, stored)| *at == index && stored == found)
    }

    /// Takes what has come, and looks at what is visible.
    fn judge(&mut self) {
        let mut heard = false;
        for received in std::mem::take(&mut self.world.received) {
            match received {
                Received::Loaded { id, keyspace, .. } => {
                    assert!(self.was_offered(id.index, &entries(&keyspace)));
                    self.installed = self.installed.max(id.index);
                    heard = true;
                }
                Received::Failed { .. } => heard = true,
                Received::NoRoom { .. } => {}
            }
        }
        if heard {
            self.world.receiver.want(base::ShardId(0), None);
        }
        let visible = self.world.receiver_files.list().unwrap();
        if visible != self.judged {
            for found in &visible {
                assert!(self.was_offered(found.index, &self.world.found(*found)));
            }
            self.judged = visible;
        }
        // What was installed stays visible, or something newer is, after whatever crash.
        if self.installed > 0 {
            let files = self.world.receiver_files.list().unwrap();
            let newest = files.last().map_or(0, |id| id.index);
            assert!(newest >= self.installed, "{newest} of {}", self.installed);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    #[test]
    fn it_arrives_whole_whatever_happens_on_the_way(
        events in prop::collection::vec(event(), 0..400)
    ) {
        let mut model = Model {
            world: World::new(settings()),
            newest: (10, 0),
            offered: Vec::new(),
            judged: Vec::new(),
            installed: 0,
        };
        model.make(10);
        model.want();
        for event in events {
            model.apply(event);
        }

        // The faults stop; the leader makes a snapshot and offers it until it was taken.
        model.world.receiver_disk.set_free_bytes(None);
        model.world.receiver_disk.kill();
        model.world.restart_receiver();
        model.make(model.newest.0 + 1);
        let expected = id(0, model.newest.0);
        let keyspace = content(KEYS, model.newest.1);
        model.want();
        let received = model.world.finish();
        expect_loaded(received, expected, &keyspace);
        prop_assert_eq!(model.world.receiver_files.list().unwrap(), [local(expected)]);
    }
}
