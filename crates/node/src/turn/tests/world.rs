//! A few nodes, each with the turn of one shard, joined by a network that does as it is told.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use base::{Db, Moment, NodeId, ReplicaId, ShardId, Timestamp};
use commands::Reply;
use keyspace::Keyspace;
use meta::{Member, Membership, Role};
use shard::{Commands, Config, Recovery, Refusal, Request, SnapshotMeta, Ticket};
use wal::WalError;

use crate::wire::{Item, Outcome, Parcel, items};
use crate::{FromPeer, Inputs, LogNumber, Order, Outputs, Outside, Turn, TurnConfig};

pub(super) const HEARTBEAT: Duration = Duration::from_millis(100);
pub(super) const ELECTION: Duration = Duration::from_millis(500);
pub(super) const PATIENCE: Duration = Duration::from_secs(2);
const SHARD: ShardId = ShardId(0);

/// The nodes are numbered from 0.
pub(super) type At = usize;

pub(super) struct World {
    pub(super) now: Duration,
    pub(super) nodes: Vec<Node>,
    /// Payloads on their way, oldest first.
    pub(super) mail: VecDeque<(At, Parcel)>,
    /// What goes from the first to the second is lost without a word.
    pub(super) swallowed: BTreeSet<(At, At)>,
    /// There is no connection between the two.
    pub(super) disconnected: BTreeSet<(At, At)>,
    /// How many outcomes of forwards were sent, from the first to the second.
    pub(super) told: BTreeMap<(At, At), usize>,
    last_ticket: u64,
}

pub(super) struct Node {
    pub(super) turn: Turn,
    pub(super) inputs: Inputs,
    pub(super) out: Outputs,
    pub(super) outside: FakeOutside,
    /// What became of requests of sessions here, each of which is answered once.
    pub(super) answers: BTreeMap<u64, Outcome>,
}

pub(super) struct FakeOutside {
    now: Duration,
    /// How far its wall clock is ahead of those of others.
    pub(super) ahead: Duration,
    pub(super) drawn: u64,
    pub(super) clock_reads: u32,
    keyspace: Keyspace,
    appended: u64,
    durable: u64,
    /// The log does not get durable by itself.
    pub(super) is_held: bool,
    pub(super) has_no_room: bool,
    pub(super) is_congested: bool,
    pub(super) failures: u32,
    pub(super) records: Vec<u8>,
}

impl FakeOutside {
    pub(super) fn keyspace(&self) -> &Keyspace {
        &self.keyspace
    }
}

impl Outside for FakeOutside {
    fn now(&mut self) -> Moment {
        self.clock_reads += 1;
        let wall = self.now + self.ahead;
        let wall = Timestamp::from_millis(1_000_000 + wall.as_millis() as u64);
        Moment {
            wall,
            monotonic: self.now,
        }
    }

    fn draw(&mut self) -> u64 {
        self.drawn += 1;
        self.drawn.wrapping_mul(0x9e37_79b9_7f4a_7c15)
    }

    fn append(&mut self, records: &mut Vec<u8>) -> Result<(LogNumber, bool), WalError> {
        if self.has_no_room {
            return Err(WalError::NoRoom {
                path: "log".into(),
                bytes: 1,
                source: std::io::Error::from(std::io::ErrorKind::StorageFull),
            });
        }
        self.records.append(records);
        self.appended += 1;
        Ok((LogNumber(self.appended), false))
    }

    fn durable(&self) -> LogNumber {
        LogNumber(self.durable)
    }

    fn has_room(&self, _: usize) -> bool {
        !self.has_no_room
    }

    fn is_full(&self) -> bool {
        self.has_no_room
    }

    fn is_congested(&self) -> bool {
        self.is_congested
    }

    fn fail(&mut self, _: &WalError) {
        self.failures += 1;
    }

    fn write_keyspace<R>(&mut self, work: impl FnOnce(&mut Keyspace) -> R) -> R {
        work(&mut self.keyspace)
    }

    fn read_keyspace<R>(&mut self, work: impl FnOnce(&Keyspace) -> R) -> R {
        work(&self.keyspace)
    }
}

pub(super) fn node_id(at: At) -> NodeId {
    NodeId(100 + at as u64)
}

fn at(node: NodeId) -> At {
    (node.0 - 100) as usize
}

pub(super) fn replica_id(at: At) -> ReplicaId {
    ReplicaId(1 + at as u64)
}

pub(super) fn turn_config(node: At) -> TurnConfig {
    TurnConfig {
        shard: SHARD,
        node: node_id(node),
        patience: PATIENCE,
        short_read_bytes: commands::SHORT_BYTES,
        heartbeat: HEARTBEAT,
        election: ELECTION,
        lease: true,
        hash_seed: 7,
        forward_limit_bytes: 10_000,
        catch_up_bytes: 1 << 20,
    }
}

/// The commands of one request.
pub(super) fn commands_of(calls: &[&[&str]]) -> Commands {
    let mut commands = Commands::default();
    for call in calls {
        let args: Vec<&[u8]> = call.iter().map(|arg| arg.as_bytes()).collect();
        let command = commands::by_name(args[0]).unwrap();
        commands.push(command, Db::default(), &args);
    }
    commands
}

impl World {
    /// So many nodes, of which the first so many have a voter each.
    pub(super) fn new(nodes: usize, voters: usize) -> World {
        let members = (0..voters).map(|at| Member {
            replica: replica_id(at),
            node: node_id(at),
            role: Role::Voter,
        });
        let membership = Membership::new(members);
        let meta = SnapshotMeta::founding(membership, None);
        let nodes = (0..nodes).map(|at| {
            let mut turn = Turn::new(turn_config(at));
            let mut keyspace = Keyspace::new(7);
            if at < voters {
                let config = Config {
                    shard: SHARD,
                    replica: replica_id(at),
                    node: node_id(at),
                    heartbeat: HEARTBEAT,
                    election: ELECTION,
                    patience: PATIENCE,
                    seed: 11 * at as u64,
                    lease: true,
                };
                let recovery = Recovery::new(config, &meta, keyspace);
                let (shard, recovered) = recovery.finish(Duration::ZERO).unwrap();
                turn.set_replica(shard);
                keyspace = recovered;
            }
            Node {
                turn,
                inputs: Inputs::default(),
                out: Outputs::default(),
                outside: FakeOutside {
                    now: Duration::ZERO,
                    ahead: Duration::ZERO,
                    drawn: 1000 * at as u64,
                    clock_reads: 0,
                    keyspace,
                    appended: 0,
                    durable: 0,
                    is_held: false,
                    has_no_room: false,
                    is_congested: false,
                    failures: 0,
                    records: Vec::new(),
                },
                answers: BTreeMap::new(),
            }
        });
        World {
            now: Duration::ZERO,
            nodes: nodes.collect(),
            mail: VecDeque::new(),
            swallowed: BTreeSet::new(),
            disconnected: BTreeSet::new(),
            told: BTreeMap::new(),
            last_ticket: 0,
        }
    }

    /// The same, with a leader that all know.
    pub(super) fn led(nodes: usize, voters: usize) -> (World, At) {
        let mut world = World::new(nodes, voters);
        let leader = world.elect();
        let placed: Vec<NodeId> = (0..voters).map(node_id).collect();
        for at in 0..nodes {
            world.order(at, Order::Placed(placed.clone()));
            world.order(
                at,
                Order::Hint {
                    leader: Some(node_id(leader)),
                },
            );
        }
        world.settle();
        (world, leader)
    }

    /// Lets time pass until there is a leader that the voters know of.
    pub(super) fn elect(&mut self) -> At {
        self.until("a leader that all voters know", |world| {
            let leaders = world.leaders();
            leaders.len() == 1
                && world.nodes.iter().all(|node| {
                    let known = node.turn.shard().map(|_| node.turn.leader());
                    known.is_none_or(|known| known == Some(node_id(leaders[0])))
                })
        });
        self.leaders()[0]
    }

    pub(super) fn leaders(&self) -> Vec<At> {
        let all = 0..self.nodes.len();
        all.filter(|at| self.nodes[*at].turn.leads()).collect()
    }

    /// One that has a voter and does not lead.
    pub(super) fn follower(&self) -> At {
        let mut all = self.nodes.iter();
        all.position(|node| node.turn.shard().is_some() && !node.turn.leads())
            .unwrap()
    }

    /// A session on that node asks for something; its ticket.
    pub(super) fn ask(&mut self, at: At, calls: &[&[&str]]) -> u64 {
        self.last_ticket += 1;
        let ticket = self.last_ticket;
        self.nodes[at].inputs.requests.push(Request {
            ticket: Ticket(ticket),
            commands: commands_of(calls),
        });
        ticket
    }

    pub(super) fn order(&mut self, at: At, order: Order) {
        self.nodes[at].inputs.orders.push(order);
    }

    pub(super) fn answer(&self, ticket: u64) -> Option<&Outcome> {
        self.nodes.iter().find_map(|node| node.answers.get(&ticket))
    }

    #[track_caller]
    pub(super) fn replies(&self, ticket: u64) -> &[Reply<'static>] {
        match self.answer(ticket) {
            Some(Ok(replies)) => replies,
            other => panic!("{other:?}"),
        }
    }

    #[track_caller]
    pub(super) fn refusal(&self, ticket: u64) -> Refusal {
        match self.answer(ticket) {
            Some(Err(refusal)) => *refusal,
            other => panic!("{other:?}"),
        }
    }

    /// The number stored under that key on a node.
    pub(super) fn number(&self, at: At, key: &str) -> u64 {
        let keyspace = &self.nodes[at].outside.keyspace;
        let entry = keyspace.get(Db::default(), key.as_bytes(), keyspace.stamp());
        entry.map_or(0, |entry| {
            std::str::from_utf8(entry.string().expect("all values are strings"))
                .unwrap()
                .parse()
                .unwrap()
        })
    }

    /// Has a node take one turn; whether it wants another.
    pub(super) fn turn(&mut self, from: At) -> bool {
        let node = &mut self.nodes[from];
        node.outside.now = self.now;
        let more = node
            .turn
            .run(&mut node.inputs, &mut node.outside, &mut node.out);
        for response in node.out.responses.drain(..) {
            assert!(response.commands.is_empty());
            let former = node.answers.insert(response.ticket.0, response.outcome);
            assert!(former.is_none(), "a request was answered twice");
        }
        let parcels: Vec<Parcel> = node.out.outbox.drain().collect();
        for parcel in parcels {
            let to = at(parcel.to);
            let outcomes = items(&parcel.payload)
                .unwrap()
                .filter(|item| matches!(item, Ok(Item::Forwarded { .. })));
            *self.told.entry((from, to)).or_default() += outcomes.count();
            if self.disconnected.contains(&pair(from, to)) {
                self.nodes[from].inputs.from_peers.push(FromPeer::Unsent {
                    to: parcel.to,
                    forwards: parcel.forwards,
                });
            } else if !self.swallowed.contains(&(from, to)) {
                self.mail.push_back((from, parcel));
            }
        }
        more
    }

    /// Delivers the oldest payload.
    pub(super) fn deliver(&mut self) -> bool {
        let Some((from, parcel)) = self.mail.pop_front() else {
            return false;
        };
        let inputs = &mut self.nodes[at(parcel.to)].inputs;
        for item in items(&parcel.payload).unwrap() {
            let (shard, news) = item.unwrap().for_shard(node_id(from)).unwrap().unwrap();
            assert_eq!(shard, SHARD);
            inputs.from_peers.push(news);
        }
        true
    }

    /// Has the nodes take turns and the network deliver, until nothing moves; no time passes.
    pub(super) fn settle(&mut self) {
        for _ in 0..10_000 {
            let mut moved = self.deliver();
            for at in 0..self.nodes.len() {
                moved |= self.turn(at);
                let outside = &mut self.nodes[at].outside;
                if outside.durable < outside.appended && !outside.is_held {
                    outside.durable = outside.appended;
                    moved = true;
                }
                let inputs = &self.nodes[at].inputs;
                moved |= !inputs.from_peers.is_empty();
            }
            if !moved && self.mail.is_empty() {
                return;
            }
        }
        panic!("it goes on for ever");
    }

    /// Half a heartbeat passes.
    pub(super) fn tick(&mut self) {
        self.now += HEARTBEAT / 2;
        for node in &mut self.nodes {
            node.inputs.tick = true;
        }
        self.settle();
    }

    pub(super) fn pass(&mut self, time: Duration) {
        let until = self.now + time;
        while self.now < until {
            self.tick();
        }
    }

    #[track_caller]
    pub(super) fn until(&mut self, what: &str, holds: impl Fn(&World) -> bool) {
        for _ in 0..1000 {
            if holds(self) {
                return;
            }
            self.tick();
        }
        panic!("in vain: {what}");
    }

    /// The connection between two nodes goes, with all that is on its way.
    pub(super) fn disconnect(&mut self, one: At, other: At) {
        self.disconnected.insert(pair(one, other));
        self.mail.retain(|(from, parcel)| {
            let to = at(parcel.to);
            pair(*from, to) != pair(one, other)
        });
        for (here, there) in [(one, other), (other, one)] {
            let lost = FromPeer::Lost(node_id(there));
            self.nodes[here].inputs.from_peers.push(lost);
        }
    }

    pub(super) fn connect(&mut self, one: At, other: At) {
        self.disconnected.remove(&pair(one, other));
        for (here, there) in [(one, other), (other, one)] {
            let greeted = FromPeer::Greeted(node_id(there));
            self.nodes[here].inputs.from_peers.push(greeted);
        }
    }

    /// Cuts a node off from all others.
    pub(super) fn isolate(&mut self, at: At) {
        for other in (0..self.nodes.len()).filter(|other| *other != at) {
            self.disconnect(at, other);
        }
    }
}

fn pair(one: At, other: At) -> (At, At) {
    (one.min(other), one.max(other))
}
