//! Several controls in memory: machines with disks, connections between them, messages under way, and
//! [`Toy`] shards.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use base::{ClusterId, Incarnation, Moment, NodeId, ReplicaId, ShardId, Timestamp};
use meta::{ClusterMap, Founder, NodeStatus};
use serde_json::Value;
use shard::Ticket;

use super::toy::{Toy, World};
use crate::control::chance::Chance;
use crate::control::{
    Action, AdminCommand, ClusterState, Control, ControlConfig, ControlInput, HostState, HostView,
    META, PeerInfo, Restored, ShardOrder,
};

/// What survives a crash.
#[derive(Clone, Debug)]
pub(super) struct Disk {
    pub(super) node: NodeId,
    pub(super) incarnation: u64,
    pub(super) cluster: Option<ClusterId>,
    pub(super) founding: Option<Vec<u8>>,
    pub(super) map: Option<ClusterMap>,
    pub(super) replicas: BTreeSet<(ShardId, ReplicaId)>,
}

/// A machine with an address, and what runs there.
pub(super) struct Machine {
    pub(super) address: String,
    pub(super) hosts: Vec<String>,
    pub(super) disk: Disk,
    pub(super) control: Option<Control>,
    pub(super) forming: String,
    pub(super) states: Vec<ClusterState>,
    pub(super) stopped: Option<String>,
    pub(super) log: Vec<String>,
    pub(super) hints: BTreeMap<ShardId, Option<NodeId>>,
    replies: BTreeMap<u64, Result<String, String>>,
    /// The power goes after so many more actions.
    pub(super) crash_after: Option<usize>,
}

pub(super) struct Network {
    pub(super) now: Duration,
    pub(super) machines: Vec<Machine>,
    connected: BTreeSet<(usize, usize)>,
    cut: BTreeSet<(usize, usize)>,
    pub(super) under_way: VecDeque<(NodeId, NodeId, Vec<u8>)>,
    pub(super) toy: Option<Toy>,
    /// Half of the messages get lost.
    pub(super) lossy: bool,
    pub(super) shards: u32,
    inputs: VecDeque<(usize, ControlInput)>,
    is_performing: bool,
    chance: Chance,
    next_node: u64,
    next_ticket: u64,
    next_second: Duration,
}

pub(super) const DOWN_AFTER: Duration = Duration::from_secs(60);

struct Seen<'a> {
    machines: &'a [Machine],
    connected: &'a BTreeSet<(usize, usize)>,
}

impl<'a> Seen<'a> {
    fn of(machines: &'a [Machine], connected: &'a BTreeSet<(usize, usize)>) -> Seen<'a> {
        Seen {
            machines,
            connected,
        }
    }

    fn index(&self, node: NodeId) -> Option<usize> {
        self.machines
            .iter()
            .position(|machine| machine.disk.node == node && machine.control.is_some())
    }
}

impl World for Seen<'_> {
    fn has(&self, node: NodeId, shard: ShardId, replica: ReplicaId) -> bool {
        self.index(node)
            .is_some_and(|at| self.machines[at].disk.replicas.contains(&(shard, replica)))
    }

    fn reaches(&self, one: NodeId, other: NodeId) -> bool {
        match (self.index(one), self.index(other)) {
            (Some(one), Some(other)) => one == other || self.connected.contains(&pair(one, other)),
            _ => false,
        }
    }
}

fn pair(one: usize, other: usize) -> (usize, usize) {
    (one.min(other), one.max(other))
}

pub(super) fn address(at: usize) -> String {
    format!("host-{at}:19919")
}

impl Network {
    /// Machines that are off, with empty disks, and the first `founders` of them for hosts.
    pub(super) fn new(machines: usize, founders: usize) -> Network {
        let mut network = Network {
            now: Duration::from_secs(1000),
            machines: Vec::new(),
            connected: BTreeSet::new(),
            cut: BTreeSet::new(),
            under_way: VecDeque::new(),
            toy: None,
            lossy: false,
            shards: 1,
            inputs: VecDeque::new(),
            is_performing: false,
            chance: Chance::new(7),
            next_node: 0,
            next_ticket: 0,
            next_second: Duration::ZERO,
        };
        for at in 0..machines {
            let disk = network.empty_disk();
            network.machines.push(Machine {
                address: address(at),
                hosts: (0..founders).map(address).collect(),
                disk,
                control: None,
                forming: String::new(),
                states: Vec::new(),
                stopped: None,
                log: Vec::new(),
                hints: BTreeMap::new(),
                replies: BTreeMap::new(),
                crash_after: None,
            });
        }
        network
    }

    /// All on and connected, and some time passed.
    pub(super) fn started(machines: usize, founders: usize, shards: u32) -> Network {
        let mut network = Network::new(machines, founders);
        network.shards = shards;
        (0..machines).for_each(|at| network.start(at));
        network.run(5);
        network
    }

    fn empty_disk(&mut self) -> Disk {
        self.next_node += 1;
        // Ids in no order.
        let node = NodeId(self.next_node.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        Disk {
            node,
            incarnation: 0,
            cluster: None,
            founding: None,
            map: None,
            replicas: BTreeSet::new(),
        }
    }

    pub(super) fn node(&self, at: usize) -> NodeId {
        self.machines[at].disk.node
    }

    pub(super) fn is_on(&self, at: usize) -> bool {
        self.machines[at].control.is_some()
    }

    pub(super) fn moment(&self) -> Moment {
        Moment {
            wall: Timestamp::from_millis(1),
            monotonic: self.now,
        }
    }

    pub(super) fn local(&self, at: usize) -> Founder {
        let machine = &self.machines[at];
        Founder {
            node: machine.disk.node,
            incarnation: Incarnation(machine.disk.incarnation),
            name: format!("node-{at}"),
            address: machine.address.clone(),
            redis: format!("host-{at}:6379"),
            version: "1.2.3".into(),
            formats: 1,
        }
    }

    /// The node starts and is connected to all that are on.
    pub(super) fn start(&mut self, at: usize) {
        self.start_alone(at);
        for other in 0..self.machines.len() {
            self.connect(at, other);
        }
    }

    pub(super) fn start_alone(&mut self, at: usize) {
        assert!(!self.is_on(at));
        self.machines[at].disk.incarnation += 1;
        let config = ControlConfig {
            local: self.local(at),
            hosts: self.machines[at].hosts.clone(),
            shards: self.shards,
            replicas: 3,
            down_after: DOWN_AFTER,
            seed: self.node(at).0 ^ self.machines[at].disk.incarnation,
        };
        let disk = self.machines[at].disk.clone();
        let restored = Restored {
            cluster: disk.cluster,
            founding: disk.founding,
            map: disk.map,
        };
        let control = Control::new(config, restored, self.moment()).unwrap();
        let machine = &mut self.machines[at];
        machine.control = Some(control);
        machine.stopped = None;
        machine.forming = String::new();
        machine.hints.clear();
        self.tell_hosts(at);
        self.tell_status(at);
        self.tell_map(at);
    }

    /// The power goes.
    pub(super) fn crash(&mut self, at: usize) {
        self.machines[at].control = None;
        self.machines[at].crash_after = None;
        for other in 0..self.machines.len() {
            self.disconnect(at, other);
        }
    }

    /// The disk is replaced by an empty one, or the folder moved away.
    pub(super) fn wipe(&mut self, at: usize) {
        self.crash(at);
        self.machines[at].disk = self.empty_disk();
    }

    pub(super) fn connect(&mut self, one: usize, other: usize) {
        let is_possible = one != other
            && self.is_on(one)
            && self.is_on(other)
            && !self.cut.contains(&pair(one, other));
        if !is_possible || !self.connected.insert(pair(one, other)) {
            return;
        }
        for (at, other) in [(one, other), (other, one)] {
            let machine = &self.machines[other];
            let info = PeerInfo {
                node: machine.disk.node,
                name: format!("node-{other}"),
                address: machine.address.clone(),
                incarnation: Incarnation(machine.disk.incarnation),
                cluster: machine.disk.cluster,
            };
            self.handle(at, ControlInput::Greeted(info));
            self.tell_hosts(at);
        }
    }

    pub(super) fn disconnect(&mut self, one: usize, other: usize) {
        if self.connected.remove(&pair(one, other)) {
            for (at, other) in [(one, other), (other, one)] {
                let node = self.node(other);
                self.handle(at, ControlInput::Lost(node));
                self.tell_hosts(at);
            }
        }
    }

    /// They cannot be connected until it is mended.
    pub(super) fn cut(&mut self, one: usize, other: usize) {
        self.cut.insert(pair(one, other));
        self.disconnect(one, other);
    }

    pub(super) fn mend(&mut self) {
        self.cut.clear();
        for one in 0..self.machines.len() {
            for other in 0..one {
                self.connect(one, other);
            }
        }
    }

    pub(super) fn tell_hosts(&mut self, at: usize) {
        let views = self.machines[at].hosts.iter().map(|host| {
            let there = self
                .machines
                .iter()
                .position(|machine| machine.address == *host);
            let state = match there {
                Some(there) if there == at => HostState::IsSelf,
                Some(there) if self.connected.contains(&pair(at, there)) => {
                    HostState::Greeted(self.node(there))
                }
                _ => HostState::Failed("connection refused".into()),
            };
            HostView {
                host: host.clone(),
                state,
            }
        });
        let views = views.collect();
        self.handle(at, ControlInput::Hosts(views));
    }

    /// What the replicas of a node say, if it has a cluster.
    pub(super) fn tell_status(&mut self, at: usize) {
        let (Some(toy), Some(_)) = (&self.toy, self.machines[at].disk.cluster) else {
            return;
        };
        let seen = Seen::of(&self.machines, &self.connected);
        let disk = &self.machines[at].disk;
        let status = NodeStatus {
            epoch: 0,
            incarnation: Incarnation(disk.incarnation),
            disk_free_bytes: 10,
            disk_total_bytes: 20,
            memory_bytes: 5,
            refuses_writes: false,
            replicas: disk
                .replicas
                .iter()
                .map(|&(shard, replica)| toy.status(&seen, disk.node, shard, replica))
                .collect(),
        };
        self.handle(at, ControlInput::Status(status));
    }

    /// The map of the toy, where a replica of shard 0 is that has it.
    fn tell_map(&mut self, at: usize) {
        let Some(toy) = &self.toy else { return };
        let seen = Seen::of(&self.machines, &self.connected);
        let node = self.node(at);
        let follows = toy.shards[&META]
            .membership
            .of_node(node)
            .is_some_and(|member| seen.has(node, META, member.replica))
            && toy
                .leader_node(META)
                .is_some_and(|leader| seen.reaches(node, leader));
        if follows {
            let map = toy.map.clone();
            self.handle(at, ControlInput::Map(map));
        }
    }

    fn elect(&mut self) {
        if let Some(toy) = &mut self.toy {
            toy.elect(&Seen::of(&self.machines, &self.connected));
        }
    }

    /// Hands the input over, once all actions of those before it are performed.
    pub(super) fn handle(&mut self, at: usize, input: ControlInput) {
        self.inputs.push_back((at, input));
        if self.is_performing {
            return;
        }
        self.is_performing = true;
        while let Some((at, input)) = self.inputs.pop_front() {
            let moment = self.moment();
            let Some(control) = &mut self.machines[at].control else {
                continue;
            };
            let mut actions = Vec::new();
            control.handle(moment, input, &mut actions);
            for action in actions {
                match &mut self.machines[at].crash_after {
                    Some(0) => self.crash(at),
                    Some(left) => *left -= 1,
                    None => {}
                }
                if self.is_on(at) {
                    self.perform(at, action);
                }
            }
        }
        self.is_performing = false;
    }

    fn perform(&mut self, at: usize, action: Action) {
        let node = self.node(at);
        match action {
            Action::PersistFounding(bytes) => self.machines[at].disk.founding = Some(bytes),
            Action::Found { map } => {
                let disk = &mut self.machines[at].disk;
                disk.replicas = map
                    .shard_ids()
                    .filter_map(|shard| Some((shard, map.placed_on(shard, node)?.0)))
                    .collect();
                disk.cluster = Some(map.cluster);
                let toy = self.toy.get_or_insert_with(|| Toy::new(map.clone()));
                if toy.map.cluster != map.cluster {
                    // All that had the first one is gone, or the invariant is broken: see `check`.
                    self.toy = Some(Toy::new(map));
                }
            }
            Action::Joined { cluster, map } => {
                assert!(map.nodes.contains_key(&node));
                self.machines[at].disk.cluster = Some(cluster);
            }
            Action::KeepMap(map) => self.machines[at].disk.map = Some(map),
            Action::SetCluster(cluster) => {
                for other in 0..self.machines.len() {
                    if self.connected.contains(&pair(at, other)) {
                        self.handle(other, ControlInput::PeerCluster { node, cluster });
                    }
                }
                self.tell_status(at);
                self.tell_map(at);
            }
            Action::Send { to, bytes } => self.under_way.push_back((node, to, bytes)),
            Action::Dial { node, address } => {
                // What the map says of a node is true once it has joined again.
                let there = self
                    .machines
                    .iter()
                    .find(|machine| machine.disk.node == node);
                assert!(there.is_none_or(|there| there.address == address));
            }
            Action::Forming(reason) => self.machines[at].forming = reason,
            Action::State(state) => self.machines[at].states.push(state),
            Action::Shard { shard, order } => self.order(at, shard, order),
            Action::AdminReply { ticket, answer } => {
                self.machines[at].replies.insert(ticket.0, answer);
            }
            Action::Stop(why) => {
                self.crash(at);
                self.machines[at].stopped = Some(why);
            }
            Action::Log { text, .. } => self.machines[at].log.push(text),
        }
    }

    fn order(&mut self, at: usize, shard: ShardId, order: ShardOrder) {
        let node = self.node(at);
        self.elect();
        let seen = Seen::of(&self.machines, &self.connected);
        let toy = self.toy.as_mut().unwrap();
        let leads = toy.leader_node(shard) == Some(node);
        match order {
            ShardOrder::Create { replica } => {
                let is_new = self.machines[at].disk.replicas.insert((shard, replica));
                assert!(is_new);
            }
            ShardOrder::Destroy { replica } => {
                assert!(self.machines[at].disk.replicas.remove(&(shard, replica)));
            }
            ShardOrder::Hint { leader } => {
                self.machines[at].hints.insert(shard, leader);
            }
            ShardOrder::Placed(_) => {}
            ShardOrder::Change { ticket, change } => {
                assert_eq!(shard, META);
                let outcome = if leads {
                    Ok(toy.change(&change))
                } else {
                    Err(shard::Refusal::NotLeader { leader: None })
                };
                for other in 0..self.machines.len() {
                    self.tell_map(other);
                }
                self.handle(at, ControlInput::ChangeDone { ticket, outcome });
            }
            order if leads => toy.order(&seen, shard, &order),
            _ => {}
        }
    }

    /// Delivers the message that is first under way.
    pub(super) fn deliver(&mut self) {
        let Some((from, to, bytes)) = self.under_way.pop_front() else {
            return;
        };
        if self.lossy && self.chance.draw().is_multiple_of(2) {
            return;
        }
        let receiver = self
            .machines
            .iter()
            .position(|machine| machine.disk.node == to);
        if let Some(at) = receiver {
            self.handle(at, ControlInput::Message { from, bytes });
        }
    }

    /// Lets time pass.
    pub(super) fn run(&mut self, seconds: u64) {
        let until = self.now + Duration::from_secs(seconds);
        while self.now < until {
            self.step();
        }
    }

    /// A heartbeat passes, and all messages arrive.
    pub(super) fn step(&mut self) {
        self.now += Duration::from_millis(100);
        self.elect();
        if self.now >= self.next_second {
            self.next_second = self.now + Duration::from_secs(1);
            for at in 0..self.machines.len() {
                self.tell_map(at);
                self.tell_status(at);
            }
        }
        for at in 0..self.machines.len() {
            self.handle(at, ControlInput::Tick);
        }
        let mut delivered = 0;
        while !self.under_way.is_empty() {
            self.deliver();
            delivered += 1;
            assert!(delivered < 10_000, "messages without end");
        }
        self.check();
    }

    /// Runs until it is so.
    pub(super) fn run_until(&mut self, what: &str, is_so: impl Fn(&Network) -> bool) {
        let until = self.now + Duration::from_secs(300);
        while !is_so(self) {
            assert!(self.now < until, "it never came about: {what}");
            self.step();
        }
    }

    /// No disk that is left belongs to another cluster than the others.
    pub(super) fn check(&self) {
        let clusters: BTreeSet<ClusterId> = self
            .machines
            .iter()
            .filter_map(|machine| machine.disk.cluster)
            .collect();
        assert!(clusters.len() <= 1, "two clusters: {clusters:?}");
    }

    pub(super) fn clusters(&self) -> Vec<Option<ClusterId>> {
        self.machines
            .iter()
            .map(|machine| machine.disk.cluster)
            .collect()
    }

    pub(super) fn all_have_clusters(&self) -> bool {
        self.clusters().iter().all(Option::is_some)
    }

    pub(super) fn map(&self, at: usize) -> &ClusterMap {
        let control = self.machines[at].control.as_ref().expect("it is on");
        control.map().expect("it has a map")
    }

    /// The voters of each shard, by machine.
    pub(super) fn voters(&self, shard: u32) -> Vec<usize> {
        let toy = self.toy.as_ref().unwrap();
        let voters = toy.shards[&ShardId(shard)].membership.voters();
        let mut voters: Vec<usize> = voters
            .filter_map(|voter| {
                self.machines
                    .iter()
                    .position(|machine| machine.disk.node == voter.node)
            })
            .collect();
        voters.sort_unstable();
        voters
    }

    /// Which machine leads.
    pub(super) fn leader(&self, shard: u32) -> Option<usize> {
        let node = self.toy.as_ref()?.leader_node(ShardId(shard))?;
        self.machines
            .iter()
            .position(|machine| machine.disk.node == node)
    }

    /// The answer to a command, once it has come.
    pub(super) fn reply(&mut self, at: usize, ticket: u64) -> Option<Result<String, String>> {
        self.machines[at].replies.remove(&ticket)
    }

    /// What an operator gets for a command.
    pub(super) fn ask(&mut self, at: usize, command: AdminCommand) -> Result<Value, String> {
        self.next_ticket += 1;
        let ticket = self.next_ticket;
        self.handle(
            at,
            ControlInput::Admin {
                ticket: Ticket(ticket),
                command,
            },
        );
        self.run_until("an answer", |network| {
            network.machines[at].replies.contains_key(&ticket)
        });
        let answer = self.machines[at].replies.remove(&ticket).unwrap();
        answer.map(|json| serde_json::from_str(&json).unwrap())
    }

    /// Asks until it is done, and gives all answers.
    pub(super) fn insist(&mut self, at: usize, command: &AdminCommand) -> Vec<Value> {
        let mut answers: Vec<Value> = Vec::new();
        while answers.last().is_none_or(|last| last["done"] != true) {
            assert!(answers.len() < 100, "it is never done: {answers:?}");
            answers.push(self.ask(at, command.clone()).unwrap());
            self.run(1);
        }
        answers
    }
}
