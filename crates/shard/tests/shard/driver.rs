//! Drives a shard as a node does, but with every step on its own.

use std::time::Duration;

use base::{Moment, NodeId, ReplicaId, ShardId, Timestamp};
use keyspace::{Keyspace, SnapshotLoader};
use meta::{Member, Membership, Role};
use shard::{
    Commands, Config, Effects, Mark, Recovery, RecoveryError, Replayed, Request, Response, Shard,
    SnapshotMeta, Ticket,
};
use wal::{Body, Record};

pub(crate) const SHARD: ShardId = ShardId(3);
pub(crate) const REPLICA: ReplicaId = ReplicaId(1);
const HASH_SEED: u64 = 11;

/// A shard, its keyspace and its disk.
pub(crate) struct Driver {
    pub(crate) shard: Shard,
    pub(crate) keyspace: Keyspace,
    pub(crate) disk: Disk,
    pub(crate) effects: Effects,
    /// What the last start replayed.
    pub(crate) replayed: Replayed,
    seed: u64,
    /// A snapshot that is being taken.
    snapshot: Option<(SnapshotMeta, Vec<u8>)>,
}

/// What was handed out to be persisted, in order. Like a block of the log, a batch is there as a
/// whole or not at all.
#[derive(Clone)]
pub(crate) struct Disk {
    batches: Vec<Batch>,
    /// So many batches are durable and known to be.
    persisted: usize,
    /// All batches since the founding, though some of them may have been cut off the log.
    history: Vec<Vec<u8>>,
    /// The newest finished snapshot.
    snapshot: Snapshot,
}

#[derive(Clone)]
struct Batch {
    /// None for what the driver itself, or an earlier start, wrote.
    mark: Option<Mark>,
    records: Vec<u8>,
}

#[derive(Clone)]
struct Snapshot {
    meta: SnapshotMeta,
    keyspace: Vec<u8>,
}

impl Disk {
    /// A replica as it is founded, alone or among others.
    pub(crate) fn founded(voters: &[u64]) -> Disk {
        Disk {
            batches: Vec::new(),
            persisted: 0,
            history: Vec::new(),
            snapshot: Snapshot {
                meta: SnapshotMeta::founding(members(voters), None),
                keyspace: bytes_of(&mut Keyspace::new(HASH_SEED)),
            },
        }
    }

    /// The same without any snapshot but that of the founding, and with the whole log.
    pub(crate) fn uncut(&self) -> Disk {
        let voters = self.snapshot.meta.membership.voters();
        let voters: Vec<u64> = voters.map(|voter| voter.replica.0).collect();
        let mut disk = Disk::founded(&voters);
        disk.batches = self.history.iter().cloned().map(Batch::own).collect();
        disk.persisted = disk.batches.len();
        disk.history.clone_from(&self.history);
        disk
    }

    /// How many batches may or may not survive a crash.
    pub(crate) fn unpersisted(&self) -> usize {
        self.batches.len() - self.persisted
    }

    /// The last entry that is durable.
    pub(crate) fn last_persisted(&self) -> u64 {
        let entries = self.batches[..self.persisted].iter().map(Batch::last_entry);
        entries.max().unwrap_or(0).max(self.snapshot.meta.index)
    }

    fn append(&mut self, batch: Batch) {
        self.history.push(batch.records.clone());
        self.batches.push(batch);
    }

    /// Forgets what is not durable, but for so many batches of it.
    fn lose(&mut self, kept: usize) {
        let lost = self.unpersisted().saturating_sub(kept);
        self.batches.truncate(self.batches.len() - lost);
        self.history.truncate(self.history.len() - lost);
        self.persisted = self.batches.len();
    }

    /// Cuts the log as far as the newest snapshot allows. What the removed part said last about
    /// other things than entries is repeated, as the log does it.
    fn cut(&mut self) {
        let index = self.snapshot.meta.index;
        let removable = self.batches[..self.persisted]
            .iter()
            .take_while(|batch| batch.last_entry() <= index)
            .count();
        let (mut hard_state, mut snapshot, mut purge) = (None, None, None);
        for batch in &self.batches[..removable] {
            for record in batch.records() {
                match record.body {
                    Body::HardState { .. } => hard_state = Some(record),
                    Body::Snapshot { .. } => snapshot = Some(record),
                    Body::Purge { .. } => purge = Some(record),
                    _ => {}
                }
            }
        }
        let mut head = Vec::new();
        for record in [hard_state, snapshot, purge].into_iter().flatten() {
            record.encode(&mut head);
        }
        self.batches.splice(..removable, [Batch::own(head)]);
        self.persisted = self.persisted - removable + 1;
    }
}

impl Batch {
    fn own(records: Vec<u8>) -> Batch {
        Batch {
            mark: None,
            records,
        }
    }

    fn records(&self) -> impl Iterator<Item = Record<'_>> {
        let mut rest = self.records.as_slice();
        std::iter::from_fn(move || {
            (!rest.is_empty()).then(|| Record::decode(&mut rest).expect("the shard encoded it"))
        })
    }

    fn last_entry(&self) -> u64 {
        let indexes = self.records().map(|record| match record.body {
            Body::Entry { index, .. } => index,
            _ => 0,
        });
        indexes.max().unwrap_or(0)
    }
}

impl Driver {
    /// A sole voter that was just founded and has become the leader.
    pub(crate) fn led() -> Driver {
        let mut driver = Driver::start(Disk::founded(&[REPLICA.0])).unwrap();
        driver.settle();
        assert!(may_read(&driver.shard));
        driver
    }

    /// Recovers from what the disk holds.
    pub(crate) fn start(disk: Disk) -> Result<Driver, RecoveryError> {
        let keyspace = load(&disk.snapshot.keyspace);
        let mut recovery = Recovery::new(config(), &disk.snapshot.meta, keyspace);
        for record in disk.batches.iter().flat_map(Batch::records) {
            assert_eq!((record.shard, record.replica), (SHARD, REPLICA));
            recovery.record(&record.body)?;
        }
        let replayed = recovery.replayed();
        let (shard, keyspace) = recovery.finish(Duration::ZERO)?;
        Ok(Driver {
            shard,
            keyspace,
            disk,
            effects: Effects::default(),
            replayed,
            seed: 0,
            snapshot: None,
        })
    }

    /// Proposes the requests as one entry.
    pub(crate) fn propose(&mut self, now: u64, requests: Vec<Request>) {
        self.seed += 1;
        let now = Moment {
            wall: Timestamp::from_millis(now),
            monotonic: Duration::ZERO,
        };
        self.shard
            .propose(now, self.seed, requests, &mut self.effects);
    }

    /// Takes what is to be written.
    pub(crate) fn advance(&mut self) {
        self.shard.advance(&mut self.effects);
        if let Some(mark) = self.effects.mark.take() {
            let records = std::mem::take(&mut self.effects.records);
            assert!(!records.is_empty(), "a mark stands for records");
            let mark = Some(mark);
            self.disk.append(Batch { mark, records });
        }
        assert!(
            self.effects.records.is_empty(),
            "what is to be written has a mark"
        );
    }

    /// The next batches, at most so many, become durable; the shard is told of the last of them.
    pub(crate) fn persist(&mut self, batches: usize) {
        let before = self.disk.persisted;
        self.disk.persisted = before.saturating_add(batches).min(self.disk.batches.len());
        let marks = &self.disk.batches[before..self.disk.persisted];
        if let Some(mark) = marks.iter().rev().find_map(|batch| batch.mark) {
            self.shard.persisted(mark);
        }
    }

    /// Applies what is committed.
    pub(crate) fn apply(&mut self) {
        if self.shard.has_committed() {
            let stamp = self.keyspace.stamp();
            self.shard.apply(&mut self.keyspace, &mut self.effects);
            assert!(self.keyspace.stamp() >= stamp, "the stamp went back");
        }
        assert!(
            self.shard.applied() <= self.disk.last_persisted(),
            "entry {} was applied before it was durable",
            self.shard.applied()
        );
    }

    /// Does all that there is to do.
    pub(crate) fn settle(&mut self) {
        loop {
            self.advance();
            self.persist(usize::MAX);
            self.advance();
            self.apply();
            if self.disk.unpersisted() == 0 && !self.shard.has_committed() {
                break;
            }
        }
    }

    /// What was answered since the last call.
    pub(crate) fn responses(&mut self) -> Vec<Response> {
        std::mem::take(&mut self.effects.responses)
    }

    /// Begins a snapshot of this moment, if none is being taken.
    pub(crate) fn begin_snapshot(&mut self) {
        if self.snapshot.is_none() {
            self.keyspace.begin_snapshot();
            self.snapshot = Some((self.shard.snapshot_meta().unwrap(), Vec::new()));
        }
    }

    /// Goes on with the snapshot. Once it is complete, the log says so and is cut.
    pub(crate) fn write_snapshot(&mut self, budget_bytes: usize) {
        let Some((_, bytes)) = &mut self.snapshot else {
            return;
        };
        if !self.keyspace.snapshot_step(budget_bytes, bytes) {
            return;
        }
        let (meta, keyspace) = self.snapshot.take().unwrap();
        let SnapshotMeta { term, index, .. } = meta;
        let mut records = Vec::new();
        for body in [Body::Snapshot { term, index }, Body::Purge { index }] {
            record(body).encode(&mut records);
        }
        self.disk.snapshot = Snapshot { meta, keyspace };
        self.disk.append(Batch::own(records));
    }

    /// Cuts the log behind the newest snapshot.
    pub(crate) fn cut(&mut self) {
        self.disk.cut();
    }

    /// Ends and starts again; so many of the batches that were not known to be durable are there
    /// nevertheless.
    pub(crate) fn restart(&mut self, kept: usize) -> Result<(), RecoveryError> {
        self.disk.lose(kept);
        *self = Driver::start(self.disk.clone())?;
        Ok(())
    }
}

pub(crate) fn config() -> Config {
    Config {
        shard: SHARD,
        replica: REPLICA,
        node: NodeId(REPLICA.0),
        heartbeat: Duration::from_millis(100),
        election: Duration::from_millis(500),
        patience: Duration::from_secs(2),
        seed: 1,
        lease: true,
    }
}

/// Voters, each on the node of its number.
pub(crate) fn members(voters: &[u64]) -> Membership {
    Membership::new(voters.iter().map(|&voter| Member {
        replica: ReplicaId(voter),
        node: NodeId(voter),
        role: Role::Voter,
    }))
}

/// Whether a sole voter's reads are linearizable.
pub(crate) fn may_read(shard: &Shard) -> bool {
    shard.lease_until() == Duration::MAX
}

pub(crate) fn record(body: Body<'_>) -> Record<'_> {
    Record {
        shard: SHARD,
        replica: REPLICA,
        body,
    }
}

/// A request of these commands in database 0.
pub(crate) fn request(ticket: u64, calls: &[&[&str]]) -> Request {
    let mut commands = Commands::default();
    for call in calls {
        let args: Vec<&[u8]> = call.iter().map(|arg| arg.as_bytes()).collect();
        let command = commands::by_name(args[0]).expect("tests use commands that exist");
        commands.push(command, base::Db::default(), &args);
    }
    Request {
        ticket: Ticket(ticket),
        commands,
    }
}

/// The keyspace as a snapshot has it.
pub(crate) fn bytes_of(keyspace: &mut Keyspace) -> Vec<u8> {
    let mut bytes = Vec::new();
    keyspace.begin_snapshot();
    while !keyspace.snapshot_step(usize::MAX, &mut bytes) {}
    bytes
}

fn load(bytes: &[u8]) -> Keyspace {
    let mut loader = SnapshotLoader::new();
    loader.feed(bytes).unwrap();
    loader.finish().unwrap()
}
