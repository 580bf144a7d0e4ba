//! Two nodes: one has snapshots, the other needs them.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use base::{Db, NodeId, ReplicaId, ShardId, Timestamp};
use keyspace::{Expiry, Keyspace, SnapshotLoader};
use meta::Membership;
use node::transfer::{Kind, Letter, Received, Receiver, Sender, Settings, Wanted};
use shard::SnapshotMeta;
use wal::testing::MemDisk;
use wal::{SnapshotError, SnapshotId, Snapshots};

pub(crate) const SENDER: NodeId = NodeId(1);
pub(crate) const RECEIVER: NodeId = NodeId(2);
pub(crate) const DIR: &str = "snapshots";

/// Pieces that do not fit evenly into anything.
pub(crate) fn settings() -> Settings {
    Settings {
        chunk_bytes: 20_011,
        ..Settings::default()
    }
}

pub(crate) fn id(shard: u32, index: u64) -> SnapshotId {
    SnapshotId {
        shard: ShardId(shard),
        replica: ReplicaId(11),
        term: 2,
        index,
    }
}

pub(crate) fn wanted(id: SnapshotId) -> Wanted {
    Wanted {
        replica: ReplicaId(22),
        from: SENDER,
        id,
    }
}

pub(crate) fn local(id: SnapshotId) -> SnapshotId {
    SnapshotId {
        replica: ReplicaId(22),
        ..id
    }
}

/// So many keys, with values that differ from one seed to the next.
pub(crate) fn content(keys: u32, seed: u64) -> Keyspace {
    let mut keyspace = Keyspace::new(seed);
    keyspace.set_stamp(Timestamp::from_millis(seed));
    for key in 0..keys {
        let value = format!("{seed} {key} ").repeat(60);
        let key = format!("key {key}");
        keyspace.set(
            Db::default(),
            key.as_bytes(),
            value.as_bytes(),
            Expiry::Clear,
        );
    }
    keyspace
}

pub(crate) fn encoded(id: SnapshotId, keyspace: &mut Keyspace) -> Vec<u8> {
    let mut bytes = Vec::new();
    head(id).encode(&mut bytes);
    keyspace.begin_snapshot();
    while !keyspace.snapshot_step(usize::MAX, &mut bytes) {}
    bytes
}

pub(crate) fn entries(keyspace: &Keyspace) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut all = Vec::new();
    keyspace.for_each(Db::default(), Timestamp::ZERO, &mut |entry| {
        all.push((entry.key().to_vec(), entry.string().unwrap().to_vec()));
    });
    all.sort();
    all
}

pub(crate) struct World {
    pub(crate) now: Duration,
    pub(crate) settings: Settings,
    pub(crate) sender_disk: Arc<MemDisk>,
    pub(crate) receiver_disk: Arc<MemDisk>,
    pub(crate) sender_files: Arc<Snapshots<MemDisk>>,
    pub(crate) receiver_files: Arc<Snapshots<MemDisk>>,
    pub(crate) sender: Sender<MemDisk>,
    pub(crate) receiver: Receiver<MemDisk>,
    /// What is on its way, oldest first.
    pub(crate) fetches: VecDeque<Letter>,
    pub(crate) chunks: VecDeque<Letter>,
    pub(crate) received: Vec<Received>,
    pub(crate) damaged: Vec<(SnapshotId, SnapshotError)>,
    /// When the two want to be called again.
    pub(crate) sender_due: Option<Duration>,
    pub(crate) receiver_due: Option<Duration>,
    waits: u32,
}

fn open(disk: &Arc<MemDisk>) -> Arc<Snapshots<MemDisk>> {
    Arc::new(Snapshots::open(Arc::clone(disk), Path::new(DIR)).unwrap())
}

impl World {
    pub(crate) fn new(settings: Settings) -> World {
        let (sender_disk, receiver_disk) = (Arc::new(MemDisk::new()), Arc::new(MemDisk::new()));
        let (sender_files, receiver_files) = (open(&sender_disk), open(&receiver_disk));
        World {
            now: Duration::from_secs(100),
            settings,
            sender: Sender::new(Arc::clone(&sender_files), settings),
            receiver: Receiver::new(Arc::clone(&receiver_files), settings),
            sender_disk,
            receiver_disk,
            sender_files,
            receiver_files,
            fetches: VecDeque::new(),
            chunks: VecDeque::new(),
            received: Vec::new(),
            damaged: Vec::new(),
            sender_due: None,
            receiver_due: None,
            waits: 0,
        }
    }

    /// The sender's replica has made a snapshot.
    pub(crate) fn make(&self, id: SnapshotId, keyspace: &mut Keyspace) {
        let bytes = encoded(id, keyspace);
        let mut writer = self.sender_files.create(id).unwrap();
        writer.write(&bytes).unwrap();
        writer.finish().unwrap();
    }

    pub(crate) fn want(&mut self, wanted: Wanted) {
        self.receiver.want(wanted.id.shard, Some(wanted));
        self.poll_receiver();
    }

    pub(crate) fn poll_receiver(&mut self) {
        let mut letters = Vec::new();
        self.receiver_due = self
            .receiver
            .poll(self.now, &mut letters, &mut self.received);
        for letter in letters {
            assert_eq!((letter.to, letter.kind), (SENDER, Kind::Fetch));
            self.fetches.push_back(letter);
        }
    }

    pub(crate) fn poll_sender(&mut self) {
        let mut letters = Vec::new();
        self.sender_due = self.sender.poll(self.now, &mut letters, &mut self.damaged);
        for letter in letters {
            assert_eq!((letter.to, letter.kind), (RECEIVER, Kind::Chunk));
            self.chunks.push_back(letter);
        }
    }

    pub(crate) fn deliver_fetch(&mut self) -> bool {
        let Some(letter) = self.fetches.pop_front() else {
            return false;
        };
        self.sender.fetch(RECEIVER, &letter.body).unwrap();
        self.poll_sender();
        true
    }

    pub(crate) fn deliver_chunk(&mut self) -> bool {
        let Some(letter) = self.chunks.pop_front() else {
            return false;
        };
        self.receiver.chunk(SENDER, &letter.body).unwrap();
        self.poll_receiver();
        true
    }

    /// The connection breaks; another one is there at once.
    pub(crate) fn cut(&mut self) {
        self.fetches.clear();
        self.chunks.clear();
        self.sender.lost(RECEIVER);
        self.receiver.greeted(SENDER);
        self.poll_receiver();
    }

    /// Time passes to the next moment at which somebody wants to be called.
    pub(crate) fn wait(&mut self) -> bool {
        let due = [self.sender_due, self.receiver_due];
        let Some(next) = due.into_iter().flatten().min() else {
            return false;
        };
        self.waits += 1;
        assert!(self.waits < 100_000, "it comes to no end");
        self.now = self.now.max(next);
        self.poll_sender();
        self.poll_receiver();
        true
    }

    /// One step of a link that works; false when nothing is left to do.
    pub(crate) fn step(&mut self) -> bool {
        self.deliver_fetch() || self.deliver_chunk() || self.wait()
    }

    /// Lets it come to its end: what came of it.
    pub(crate) fn finish(&mut self) -> Received {
        for _ in 0..100_000 {
            if let Some(received) = self.received.pop() {
                return received;
            }
            assert!(self.step(), "nobody wants anything any more");
        }
        panic!("it does not come to its end");
    }

    /// Power is cut at the receiver, and comes back.
    pub(crate) fn crash_receiver(&mut self, seed: u64) {
        self.receiver_disk.crash(seed);
        self.restart_receiver();
    }

    pub(crate) fn restart_receiver(&mut self) {
        self.receiver_files = open(&self.receiver_disk);
        self.receiver = Receiver::new(Arc::clone(&self.receiver_files), self.settings);
        self.received.clear();
        self.receiver_due = None;
        self.cut();
    }

    /// The sender's process ends and starts again.
    pub(crate) fn restart_sender(&mut self) {
        self.sender = Sender::new(Arc::clone(&self.sender_files), self.settings);
        self.sender_due = None;
        self.cut();
    }

    /// The names in the receiver's folder.
    pub(crate) fn names(&self) -> Vec<String> {
        wal::Disk::list(&*self.receiver_disk, Path::new(DIR)).unwrap()
    }

    /// What the receiver would find after a restart right now.
    pub(crate) fn found(&self, id: SnapshotId) -> Vec<(Vec<u8>, Vec<u8>)> {
        let mut reader = self.receiver_files.read(id).unwrap();
        let mut bytes = Vec::new();
        while let Some(chunk) = reader.next_chunk().unwrap() {
            bytes.extend_from_slice(chunk);
        }
        let (_, head) = SnapshotMeta::decode(&bytes).unwrap();
        let mut loader = SnapshotLoader::new();
        loader.feed(&bytes[head..]).unwrap();
        entries(&loader.finish().unwrap())
    }
}

/// What came, which must be that snapshot with that content.
pub(crate) fn expect_loaded(received: Received, expected: SnapshotId, keyspace: &Keyspace) {
    match received {
        Received::Loaded {
            id,
            meta: found,
            keyspace: loaded,
            ..
        } => {
            assert_eq!(id, local(expected));
            assert_eq!(found, head(expected));
            assert_eq!(entries(&loaded), entries(keyspace));
            assert_eq!(loaded.stamp(), keyspace.stamp());
        }
        Received::Failed { error, .. } => panic!("{error}"),
        Received::NoRoom { error, .. } => panic!("{error}"),
    }
}

fn head(id: SnapshotId) -> SnapshotMeta {
    SnapshotMeta {
        term: id.term,
        index: id.index,
        ..SnapshotMeta::founding(Membership::default(), None)
    }
}
