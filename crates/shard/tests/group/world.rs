//! Replicas, each on a node of its number, with disks that keep what they are told at once unless they
//! are held, and a network that the test can cut.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use base::{ClusterId, Db, Incarnation, Moment, NodeId, ReplicaId, ShardId, Timestamp};
use commands::{Reply, SHORT_BYTES};
use keyspace::{Keyspace, SnapshotLoader};
use meta::{ClusterMap, Founder, Membership};
use shard::{
    Commands, Config, Effects, Mark, Recovery, Refusal, Request, Response, Shard, SnapshotMeta,
    Ticket,
};
use wal::{Body, Record};

pub(crate) const HEARTBEAT: Duration = Duration::from_millis(100);
pub(crate) const ELECTION: Duration = Duration::from_millis(500);
pub(crate) const PATIENCE: Duration = Duration::from_secs(2);
/// How far the clock moves at a time.
const STEP: Duration = Duration::from_millis(10);

pub(crate) struct Replica {
    pub(crate) shard: Shard,
    pub(crate) keyspace: Keyspace,
    pub(crate) effects: Effects,
    /// Records that are durable.
    log: Vec<u8>,
    /// Records that are not, each batch with its mark.
    pending: VecDeque<(Mark, Vec<u8>)>,
    /// Nothing becomes durable.
    pub(crate) disk_held: bool,
    snapshot: (SnapshotMeta, Vec<u8>),
    pub(crate) responses: Vec<Response>,
    pub(crate) changes: Vec<(Ticket, shard::ChangeOutcome)>,
    /// How far its clock is behind; a paused one stands still.
    pub(crate) paused: bool,
}

pub(crate) struct World {
    pub(crate) now: Duration,
    pub(crate) replicas: BTreeMap<u64, Replica>,
    wire: VecDeque<(u64, u64, Vec<u8>)>,
    /// From, to.
    pub(crate) cut: BTreeSet<(u64, u64)>,
    seed: u64,
}

pub(crate) fn config(replica: u64) -> Config {
    Config {
        shard: ShardId(0),
        replica: ReplicaId(replica),
        node: NodeId(replica),
        heartbeat: HEARTBEAT,
        election: ELECTION,
        patience: PATIENCE,
        seed: replica * 77,
        lease: true,
    }
}

pub(crate) fn founding_map(nodes: u64) -> ClusterMap {
    let founders: Vec<Founder> = (1..=nodes)
        .map(|node| Founder {
            node: NodeId(node),
            incarnation: Incarnation(1),
            name: format!("n{node}"),
            address: format!("127.0.0.1:{node}"),
            redis: format!("127.0.0.1:{}", 1000 + node),
            version: "0".into(),
            formats: 1,
        })
        .collect();
    ClusterMap::founding(ClusterId(9), &founders, 1, nodes as u32, 5)
}

impl World {
    /// That many voters, founded together.
    pub(crate) fn founded(voters: u64) -> World {
        let map = founding_map(voters);
        let members = map.membership_at_founding(ShardId(0));
        let mut world = World {
            now: Duration::from_secs(100),
            replicas: BTreeMap::new(),
            wire: VecDeque::new(),
            cut: BTreeSet::new(),
            seed: 0,
        };
        for member in members.members() {
            let meta = SnapshotMeta::founding(members.clone(), Some(map.clone()));
            let keyspace = bytes_of(&mut Keyspace::new(5));
            world.start(member.replica.0, (meta, keyspace), Vec::new());
        }
        world
    }

    /// The same, once one of them leads and serves.
    pub(crate) fn led(voters: u64) -> (World, u64) {
        let mut world = World::founded(voters);
        let leader = world.elect();
        (world, leader)
    }

    /// Waits for a leader that may read.
    pub(crate) fn elect(&mut self) -> u64 {
        for _ in 0..500 {
            self.step();
            let now = self.now;
            let serves = |(_, replica): &(&u64, &Replica)| replica.shard.lease_until() > now;
            if let Some((&leader, _)) = self.replicas.iter().find(serves) {
                return leader;
            }
        }
        panic!("nobody was elected in 5 s");
    }

    fn start(&mut self, id: u64, snapshot: (SnapshotMeta, Vec<u8>), log: Vec<u8>) {
        let mut recovery = Recovery::new(config(id), &snapshot.0, load(&snapshot.1));
        let mut rest = log.as_slice();
        while !rest.is_empty() {
            let record = Record::decode(&mut rest).unwrap();
            recovery.record(&record.body).unwrap();
        }
        let (shard, keyspace) = recovery.finish(self.now).unwrap();
        self.insert(id, shard, keyspace, snapshot, log);
    }

    fn insert(
        &mut self,
        id: u64,
        shard: Shard,
        keyspace: Keyspace,
        snapshot: (SnapshotMeta, Vec<u8>),
        log: Vec<u8>,
    ) {
        let replica = Replica {
            shard,
            keyspace,
            effects: Effects::default(),
            log,
            pending: VecDeque::new(),
            disk_held: false,
            snapshot,
            responses: Vec::new(),
            changes: Vec::new(),
            paused: false,
        };
        self.replicas.insert(id, replica);
    }

    /// A replica that has nothing yet.
    pub(crate) fn add_empty(&mut self, id: u64) {
        let shard = Shard::empty(config(id), self.now);
        let nothing = SnapshotMeta {
            term: 0,
            index: 0,
            membership: Membership::default(),
            map: None,
        };
        let keyspace = bytes_of(&mut Keyspace::new(5));
        self.insert(id, shard, load(&keyspace), (nothing, keyspace), Vec::new());
    }

    /// Ends a replica; the others see its connections close.
    pub(crate) fn kill(&mut self, id: u64) -> Replica {
        let gone = self.replicas.remove(&id).unwrap();
        self.wire.retain(|(from, to, _)| *from != id && *to != id);
        let now = self.now;
        for replica in self.replicas.values_mut() {
            replica.shard.lost(now, NodeId(id));
        }
        gone
    }

    /// Starts it again with what its disk has kept.
    pub(crate) fn restart(&mut self, id: u64, gone: Replica) {
        self.start(id, gone.snapshot, gone.log);
    }

    /// A bit of time passes.
    pub(crate) fn step(&mut self) {
        self.now += STEP;
        let now = self.now;
        for replica in self.replicas.values_mut() {
            if !replica.paused {
                replica.shard.tick(now, &mut replica.effects);
            }
        }
        self.settle();
    }

    pub(crate) fn run(&mut self, time: Duration) {
        let until = self.now + time;
        while self.now < until {
            self.step();
        }
    }

    /// Everything that can be done without the clock is.
    pub(crate) fn settle(&mut self) {
        loop {
            let ids: Vec<u64> = self.replicas.keys().copied().collect();
            for id in ids {
                self.turn(id);
            }
            let Some((from, to, bytes)) = self.wire.pop_front() else {
                return;
            };
            if !self.cut.contains(&(from, to))
                && let Some(replica) = self.replicas.get_mut(&to)
                && !replica.paused
            {
                replica.shard.step(self.now, NodeId(from), &bytes).unwrap();
            }
        }
    }

    fn turn(&mut self, id: u64) {
        let wall = Timestamp::from_millis(self.now.as_millis() as u64);
        let replica = self.replicas.get_mut(&id).unwrap();
        if replica.paused {
            return;
        }
        let Replica {
            shard,
            keyspace,
            effects,
            ..
        } = replica;
        loop {
            shard.advance(effects);
            if let Some(mark) = effects.mark.take() {
                let records = std::mem::take(&mut effects.records);
                replica.pending.push_back((mark, records));
            }
            assert!(effects.records.is_empty());
            let mut progress = false;
            if !replica.disk_held {
                while let Some((mark, mut records)) = replica.pending.pop_front() {
                    replica.log.append(&mut records);
                    shard.persisted(mark);
                    progress = true;
                }
            }
            if shard.has_committed() {
                shard.apply(keyspace, effects);
                progress = true;
            }
            if shard.has_reads() {
                let monotonic = self.now;
                let now = Moment { wall, monotonic };
                shard.answer_reads(now, keyspace, 1, SHORT_BYTES, effects);
                shard.confirm_reads(self.now, effects);
                shard.advance(effects);
            }
            if !progress {
                break;
            }
        }
        replica.responses.append(&mut effects.responses);
        replica.changes.append(&mut effects.changes);
        for (to, bytes) in effects.messages.drain(..) {
            self.wire.push_back((id, to.0, bytes));
        }
    }

    pub(crate) fn replica(&mut self, id: u64) -> &mut Replica {
        self.replicas.get_mut(&id).unwrap()
    }

    /// Hands a request to a replica and lets things settle.
    pub(crate) fn write(&mut self, id: u64, ticket: u64, call: &[&str]) {
        self.seed += 1;
        let now = Moment {
            wall: Timestamp::from_millis(self.now.as_millis() as u64),
            monotonic: self.now,
        };
        let seed = self.seed;
        let replica = self.replica(id);
        let requests = vec![request(ticket, call)];
        replica
            .shard
            .propose(now, seed, requests, &mut replica.effects);
        self.settle();
    }

    pub(crate) fn read(&mut self, id: u64, ticket: u64, call: &[&str]) {
        let replica = self.replica(id);
        let requests = vec![request(ticket, call)];
        replica.shard.read(requests, &mut replica.effects);
        self.settle();
    }

    /// What became of a request, once that is known.
    pub(crate) fn outcome(
        &mut self,
        id: u64,
        ticket: u64,
    ) -> Option<Result<Vec<Reply<'static>>, Refusal>> {
        let responses = &mut self.replica(id).responses;
        let place = responses
            .iter()
            .position(|response| response.ticket == Ticket(ticket))?;
        Some(responses.remove(place).outcome)
    }

    /// Takes a snapshot of a replica as its driver does.
    pub(crate) fn make_snapshot(&mut self, id: u64) {
        let replica = self.replica(id);
        let meta = replica.shard.snapshot_meta().unwrap();
        let bytes = bytes_of(&mut replica.keyspace);
        replica.shard.note_snapshot(&meta, bytes.len() as u64);
        let (term, index) = (meta.term, meta.index);
        replica.snapshot = (meta, bytes);
        let body = Body::Snapshot { term, index };
        record(id, body).encode(&mut replica.log);
    }

    /// Brings a snapshot that a replica needs, if it is the newest of its leader.
    pub(crate) fn fetch(&mut self, id: u64) -> bool {
        let Some(incoming) = self.replica(id).shard.incoming() else {
            return false;
        };
        let (meta, bytes) = self.replicas[&incoming.from.0].snapshot.clone();
        assert_eq!((meta.term, meta.index), (incoming.term, incoming.index));
        let now = self.now;
        let replica = self.replica(id);
        replica.snapshot = (meta.clone(), bytes.clone());
        let keyspace = Box::new(load(&bytes));
        let size = bytes.len() as u64;
        let taken = replica
            .shard
            .install(now, meta, size, keyspace, &mut replica.effects);
        self.settle();
        taken
    }

    pub(crate) fn leaders(&self) -> Vec<u64> {
        let leaders = self.replicas.iter().filter(|(_, r)| r.shard.is_leader());
        leaders.map(|(id, _)| *id).collect()
    }

    pub(crate) fn assert_equal(&mut self) {
        let mut states = BTreeSet::new();
        for replica in self.replicas.values_mut() {
            states.insert((replica.shard.applied(), bytes_of(&mut replica.keyspace)));
        }
        assert_eq!(states.len(), 1, "all replicas are equal");
    }

    pub(crate) fn isolate(&mut self, id: u64) {
        for &other in self.replicas.keys().filter(|other| **other != id) {
            self.cut.insert((id, other));
            self.cut.insert((other, id));
        }
    }
}

fn record(id: u64, body: Body<'_>) -> Record<'_> {
    Record {
        shard: ShardId(0),
        replica: ReplicaId(id),
        body,
    }
}

pub(crate) fn request(ticket: u64, call: &[&str]) -> Request {
    let args: Vec<&[u8]> = call.iter().map(|arg| arg.as_bytes()).collect();
    let command = commands::by_name(args[0]).expect("tests use commands that exist");
    let mut commands = Commands::default();
    commands.push(command, Db::default(), &args);
    Request {
        ticket: Ticket(ticket),
        commands,
    }
}

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
