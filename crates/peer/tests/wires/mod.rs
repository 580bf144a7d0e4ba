//! A driver without sockets, tasks or clocks: nodes in one thread, joined by wires that the test cuts, in time that the
//! test moves. It decides nothing itself: it is what a simulation needs to be, and no more.

use std::collections::BTreeMap;
use std::time::Duration;

use base::{Incarnation, Moment, NodeId, Timestamp};
use peer::dialling::{Dialling, Next};
use peer::directory::ConnectionId;
use peer::greeting::Side;
use peer::hub::{Effect, Hub, Origin};
use peer::outbox::Outbox;
use peer::session::{Input, Session};
use peer::{Config, Event, HangUp, HostAddr, LocalNode};

/// How long bytes take from one end to the other.
const STEP: Duration = Duration::from_millis(1);

/// One end of a connection: whose, and which of its connections.
type End = (usize, ConnectionId);

struct Line {
    origin: Origin,
    session: Session,
    outbox: Outbox,
    greeted: Option<NodeId>,
    /// The plan that made it, and the address that it dialled.
    plan: Option<(usize, HostAddr)>,
    far: End,
    /// The other side has closed it, which is noticed when all that it sent was read.
    is_closed: bool,
    /// Bytes vanish on their way from here.
    is_dead: bool,
}

struct Plan {
    dialling: Dialling,
    /// Its connection is there.
    is_busy: bool,
}

pub(crate) struct Node {
    pub(crate) hub: Hub,
    address: HostAddr,
    lines: BTreeMap<ConnectionId, Line>,
    plans: Vec<Plan>,
    effects: Vec<Effect>,
    /// What the owner was told, in short.
    told: Vec<String>,
}

/// Nodes 0, 1, ... with the ids 1, 2, ...
pub(crate) struct World {
    now: Moment,
    pub(crate) nodes: Vec<Node>,
}

pub(crate) fn id(node: usize) -> NodeId {
    NodeId(node as u64 + 1)
}

pub(crate) fn address(node: usize) -> HostAddr {
    format!("host-{}:1", id(node).0)
        .parse()
        .expect("an address")
}

impl Node {
    /// Has effects carried out that the test made.
    pub(crate) fn take(&mut self, effects: Vec<Effect>) {
        self.effects.extend(effects);
    }
}

impl World {
    /// One node for each list of the nodes that it has as hosts.
    pub(crate) fn new(hosts: &[&[usize]]) -> World {
        let nodes = hosts.iter().enumerate().map(|(node, hosts)| {
            let local = LocalNode {
                node_id: id(node),
                run_nonce: 100 + node as u64,
                incarnation: Incarnation(1),
                cluster_id: None,
                name: format!("node-{node}"),
                advertised: address(node),
                version: String::new(),
            };
            let mut hub = Hub::new(hosts.iter().map(|&host| address(host)).collect(), local);
            let mut effects = Vec::new();
            hub.start(&mut effects);
            Node {
                hub,
                address: address(node),
                lines: BTreeMap::new(),
                plans: Vec::new(),
                effects,
                told: Vec::new(),
            }
        });
        World {
            now: Moment {
                wall: Timestamp::from_millis(1_000_000),
                monotonic: Duration::ZERO,
            },
            nodes: nodes.collect(),
        }
    }

    /// Lets that much time pass.
    pub(crate) fn run(&mut self, time: Duration) {
        let end = self.now.monotonic + time;
        while self.now.monotonic < end {
            self.now.monotonic += STEP;
            for node in 0..self.nodes.len() {
                self.carry_out(node);
                self.dial(node);
                let ids: Vec<_> = self.nodes[node].lines.keys().copied().collect();
                for id in ids {
                    self.serve((node, id));
                }
            }
        }
    }

    /// What the owner of that node was told since the last call.
    pub(crate) fn told(&mut self, node: usize) -> Vec<String> {
        std::mem::take(&mut self.nodes[node].told)
    }

    /// Sends a payload, and gives the connection that carries it.
    pub(crate) fn send(&mut self, from: usize, to: usize, payload: &[u8]) -> Option<ConnectionId> {
        let node = &mut self.nodes[from];
        let route = node.hub.send(id(to))?;
        let line = node.lines.get_mut(&route).expect("routes are alive");
        line.outbox.push_payload(payload.to_vec());
        Some(route)
    }

    /// Breaks a connection at both ends at once; what is on its way is lost.
    pub(crate) fn cut(&mut self, end: End) {
        let far = self.line(end).expect("it is there").far;
        for end in [end, far] {
            self.end(end, &HangUp::Broken(std::io::ErrorKind::ConnectionReset));
        }
    }

    /// From now on nothing comes through a connection, either way, and nobody is told.
    pub(crate) fn deaden(&mut self, end: End) {
        let far = self.line(end).expect("it is there").far;
        for end in [end, far] {
            self.line(end).expect("it is there").is_dead = true;
        }
    }

    fn line(&mut self, (node, id): End) -> Option<&mut Line> {
        self.nodes[node].lines.get_mut(&id)
    }

    fn carry_out(&mut self, node: usize) {
        while !self.nodes[node].effects.is_empty() {
            for effect in std::mem::take(&mut self.nodes[node].effects) {
                let this = &mut self.nodes[node];
                match effect {
                    Effect::Tell(event) => this.told.push(match event {
                        Event::Greeted(status) => format!("greeted {}", status.node_id.0),
                        Event::Lost { node_id, .. } => format!("lost {}", node_id.0),
                        Event::Payload { from, bytes } => {
                            format!("{} says {}", from.0, String::from_utf8_lossy(&bytes))
                        }
                    }),
                    Effect::Introduce(id, others) => {
                        if let Some(line) = this.lines.get_mut(&id) {
                            line.session.introduce(&others);
                        }
                    }
                    Effect::HangUp(id, why) => self.end((node, id), &why),
                    Effect::Dial(dialling) => this.plans.push(Plan {
                        dialling,
                        is_busy: false,
                    }),
                }
            }
        }
    }

    fn dial(&mut self, node: usize) {
        for index in 0..self.nodes[node].plans.len() {
            let this = &mut self.nodes[node];
            let plan = &mut this.plans[index];
            if plan.is_busy {
                continue;
            }
            let Next::Connect(to) = plan.dialling.next(&mut this.hub, self.now) else {
                continue;
            };
            let expected = plan.dialling.expected();
            match self.nodes.iter().position(|node| node.address == to) {
                Some(far) => self.connect(node, far, (index, to), expected),
                None => {
                    let this = &mut self.nodes[node];
                    let plan = &mut this.plans[index].dialling;
                    plan.failed(&mut this.hub, to, "refused", false, self.now);
                }
            }
        }
    }

    fn connect(
        &mut self,
        node: usize,
        far: usize,
        plan: (usize, HostAddr),
        expected: Option<NodeId>,
    ) {
        self.nodes[node].plans[plan.0].is_busy = true;
        let mut open = |node: usize, side| {
            let Node { hub, effects, .. } = &mut self.nodes[node];
            (node, hub.open(side, effects))
        };
        let (near_end, far_end) = (open(node, Side::Dialled), open(far, Side::Accepted));
        let ends = [
            (near_end, far_end, Side::Dialled, expected, Some(plan)),
            (far_end, near_end, Side::Accepted, None, None),
        ];
        for ((node, id), far, side, expected, plan) in ends {
            let this = &mut self.nodes[node];
            let own = this.hub.greeting(side);
            let line = Line {
                origin: Origin {
                    id,
                    side,
                    remote: None,
                    expected,
                },
                session: Session::new(own, Config::DEFAULT_HEARTBEAT, self.now),
                outbox: Outbox::default(),
                greeted: None,
                plan,
                far,
                is_closed: false,
                is_dead: false,
            };
            this.lines.insert(id, line);
        }
    }

    /// Has one end act on what came and carries what it says to the other.
    fn serve(&mut self, end: End) {
        let result = self.take_turn(end);
        self.carry(end);
        if let Err(why) = result {
            self.end(end, &why);
        }
        self.carry_out(end.0);
    }

    fn take_turn(&mut self, (node, id): End) -> Result<(), HangUp> {
        let Node {
            hub,
            lines,
            plans,
            effects,
            ..
        } = &mut self.nodes[node];
        let Some(line) = lines.get_mut(&id) else {
            return Ok(());
        };
        if line.session.deadline() <= self.now.monotonic {
            line.session.tick(self.now)?;
        }
        while let Some(input) = line.session.poll(self.now)? {
            let is_confirmation = input == Input::Confirmed;
            hub.take_in(&line.origin, &mut line.session, input, self.now, effects)?;
            if is_confirmation {
                line.greeted = hub.directory().node_of(id);
            }
            if let (true, Some(greeted), Some((plan, at))) =
                (is_confirmation, line.greeted, &line.plan)
            {
                plans[*plan].dialling.greeted(hub, at, greeted, self.now);
            }
        }
        match line.is_closed {
            true => Err(line.session.closed()),
            false => Ok(()),
        }
    }

    fn carry(&mut self, end: End) {
        let now = self.now;
        let Some(line) = self.line(end) else {
            return;
        };
        line.outbox.push_control(&line.session.take_output());
        let bytes = line.outbox.take(usize::MAX);
        let (far, is_dead) = (line.far, line.is_dead);
        if let Some(far) = self.line(far)
            && !is_dead
            && !bytes.is_empty()
        {
            far.session.feed(&bytes, now);
        }
    }

    fn end(&mut self, end: End, why: &HangUp) {
        let Some(line) = self.line(end) else {
            return;
        };
        line.session.farewell(why);
        self.carry(end);
        let (node, id) = end;
        let this = &mut self.nodes[node];
        let Some(line) = this.lines.remove(&id) else {
            return;
        };
        this.hub.ended(id, why, &mut this.effects);
        if let Some((plan, at)) = line.plan {
            let plan = &mut this.plans[plan];
            plan.is_busy = false;
            plan.dialling
                .ended(&mut this.hub, at, why, line.greeted, self.now);
        }
        if let Some(far) = self.line(line.far)
            && !line.is_dead
        {
            far.is_closed = true;
        }
    }
}
