//! The connections of a node: `peer`'s hub and sessions on the simulated network.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use base::{ClusterId, Moment, NodeId};
use peer::dialling::{Dialling, Next};
use peer::directory::ConnectionId;
use peer::greeting::Side;
use peer::hub::{Effect, Hub, Origin};
use peer::outbox::Outbox;
use peer::session::{Input, Session};
use peer::{Config, Event as PeerEvent, HangUp, HostAddr, LocalNode};

use crate::network::{EndId, Machine, Parcel};
use crate::newer;
use crate::scene::{Event, Scene};

/// How long a connection may take to be made.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);

/// What all addresses have for a port.
const PORT: u16 = 19919;

/// The address of a machine.
pub fn address(machine: Machine) -> HostAddr {
    format!("m{}:{PORT}", machine.0)
        .parse()
        .expect("it is an address")
}

/// The machine of an address.
fn machine_of(address: &HostAddr) -> Option<Machine> {
    address.host().strip_prefix('m')?.parse().ok().map(Machine)
}

/// See the module.
pub struct Peers {
    machine: Machine,
    process: u64,
    heartbeat: Duration,
    hub: Hub,
    effects: Vec<Effect>,
    wires: BTreeMap<ConnectionId, Wire>,
    ends: BTreeMap<EndId, ConnectionId>,
    dials: Vec<Dial>,
    /// Those with something to send.
    dirty: BTreeSet<ConnectionId>,
    is_newer: bool,
    /// What the owner is to hear.
    pub events: VecDeque<PeerEvent>,
    /// The number of the hub's changes when the plans were asked last.
    seen_changes: Option<u64>,
    /// No session and no plan has anything to do before this, if no connection or plan is new.
    quiet_until: Duration,
}

struct Wire {
    is_newer: bool,
    origin: Origin,
    session: Session,
    outbox: Outbox,
    end: EndId,
    dial: Option<usize>,
    peer: Option<NodeId>,
    greeted: Option<NodeId>,
}

struct Dial {
    plan: Dialling,
    state: DialState,
}

enum DialState {
    /// Until that time, or the hub changes.
    Waits(Option<Duration>),
    Connects(HostAddr),
    Speaks(HostAddr),
    Over,
}

impl Peers {
    /// Starts to dial.
    pub fn start(
        machine: Machine,
        process: u64,
        is_newer: bool,
        config: &Config,
        local: LocalNode,
    ) -> Peers {
        let mut peers = Peers {
            machine,
            process,
            heartbeat: config.heartbeat,
            hub: Hub::new(config.hosts.clone(), local),
            effects: Vec::new(),
            wires: BTreeMap::new(),
            ends: BTreeMap::new(),
            dials: Vec::new(),
            dirty: BTreeSet::new(),
            is_newer,
            events: VecDeque::new(),
            seen_changes: None,
            quiet_until: Duration::ZERO,
        };
        peers.hub.start(&mut peers.effects);
        peers
    }

    /// What is known of everybody.
    pub fn hub(&self) -> &Hub {
        &self.hub
    }

    /// Tells peers the cluster.
    pub fn set_cluster_id(&mut self, cluster: ClusterId, now: Moment, scene: &mut Scene) {
        if !self.hub.set_cluster_id(cluster) {
            return;
        }
        let ids: Vec<ConnectionId> = self.wires.keys().copied().collect();
        for id in ids {
            let Some(wire) = self.wires.get_mut(&id) else {
                continue;
            };
            let told = wire.session.set_cluster_id(cluster);
            self.dirty.insert(id);
            if let Err(why) = told {
                self.end(id, &why, now, scene);
            }
        }
    }

    /// Has a member dialled.
    pub fn dial(&mut self, node: NodeId, address: &str) {
        if let Ok(address) = address.parse() {
            self.hub.dial(node, address, &mut self.effects);
        }
    }

    /// Sends a payload; whether it could be queued.
    pub fn send(&mut self, parcel: node::wire::Parcel) -> bool {
        let node::wire::Parcel {
            to,
            mut payload,
            is_urgent,
            ..
        } = parcel;
        if self.is_newer {
            payload = newer::payload(&payload);
        }
        let Some(id) = self.hub.send(to) else {
            return false;
        };
        let Some(wire) = self.wires.get_mut(&id) else {
            return false;
        };
        match is_urgent {
            true => wire.outbox.push_urgent(&mut [payload].into()),
            false => wire.outbox.push_payload(payload),
        }
        self.dirty.insert(id);
        true
    }

    /// Somebody has dialled this node.
    pub fn accept(&mut self, end: EndId, now: Moment) {
        self.open(end, Side::Accepted, None, now);
    }

    fn open(&mut self, end: EndId, side: Side, dial: Option<usize>, now: Moment) {
        let id = self.hub.open(side, &mut self.effects);
        let expected = dial.and_then(|dial| self.dials[dial].plan.expected());
        let session = Session::new(self.hub.greeting(side), self.heartbeat, now);
        self.wires.insert(
            id,
            Wire {
                is_newer: self.is_newer,
                origin: Origin {
                    id,
                    side,
                    remote: None,
                    expected,
                },
                session,
                outbox: Outbox::default(),
                end,
                dial,
                peer: None,
                greeted: None,
            },
        );
        self.ends.insert(end, id);
        self.dirty.insert(id);
        self.quiet_until = Duration::ZERO;
    }

    /// Whether an end is one of this process.
    pub fn has(&self, end: EndId) -> bool {
        self.ends.contains_key(&end)
    }

    /// Takes in what has arrived at an end.
    pub fn arrived(&mut self, end: EndId, now: Moment, scene: &mut Scene) {
        let Some(&id) = self.ends.get(&end) else {
            return;
        };
        let (mut closed, mut came) = (false, false);
        let true_now = scene.now();
        let Some(wire) = self.wires.get_mut(&id) else {
            return;
        };
        while let Some(parcel) = scene.network.receive(true_now, end) {
            match parcel {
                Parcel::Bytes(bytes) => {
                    wire.session.read_buffer().extend_from_slice(&bytes);
                    came = true;
                }
                Parcel::Closed => closed = true,
            }
        }
        if came {
            wire.session.received(now);
            self.poll(id, now, scene);
        }
        if closed && let Some(wire) = self.wires.get(&id) {
            let why = wire.session.closed();
            self.end(id, &why, now, scene);
        }
        self.settle(now, scene);
    }

    fn poll(&mut self, id: ConnectionId, now: Moment, scene: &mut Scene) {
        loop {
            let Some(wire) = self.wires.get_mut(&id) else {
                return;
            };
            self.dirty.insert(id);
            let why = match wire.session.poll(now) {
                Ok(None) => return,
                Ok(Some(input)) => match self.take_in(id, input, now) {
                    Ok(()) => {
                        self.settle(now, scene);
                        continue;
                    }
                    Err(why) => why,
                },
                Err(why) => why,
            };
            self.end(id, &why, now, scene);
            return;
        }
    }

    fn take_in(&mut self, id: ConnectionId, input: Input, now: Moment) -> Result<(), HangUp> {
        let Some(wire) = self.wires.get_mut(&id) else {
            return Ok(());
        };
        let is_confirmation = input == Input::Confirmed;
        if let Input::Introduced(greeting) = &input {
            wire.peer = Some(greeting.node_id);
        }
        let Wire {
            origin, session, ..
        } = wire;
        self.hub
            .take_in(origin, session, input, now, &mut self.effects)?;
        if is_confirmation {
            wire.greeted = wire.peer;
            if let (Some(dial), Some(peer)) = (wire.dial, wire.peer) {
                let Dial { plan, state } = &mut self.dials[dial];
                if let DialState::Speaks(at) = state {
                    plan.greeted(&mut self.hub, at, peer, now);
                }
            }
        }
        Ok(())
    }

    /// Ends a connection for that reason.
    fn end(&mut self, id: ConnectionId, why: &HangUp, now: Moment, scene: &mut Scene) {
        let Some(mut wire) = self.wires.remove(&id) else {
            return;
        };
        self.ends.remove(&wire.end);
        self.dirty.remove(&id);
        self.hub.ended(id, why, &mut self.effects);
        let (machine, peer) = (self.machine, wire.peer);
        scene.note(|| format!("m{} hangs up on {peer:?}: {why}", machine.0));
        if wire.session.farewell(why) {
            flush(&mut wire, scene);
        }
        let now_true = scene.now();
        let due = scene.network.close(now_true, wire.end);
        scene.look_at(due);
        if let Some(dial) = wire.dial {
            let dial = &mut self.dials[dial];
            if let DialState::Speaks(at) =
                std::mem::replace(&mut dial.state, DialState::Waits(None))
            {
                dial.plan.ended(&mut self.hub, at, why, wire.greeted, now);
            }
            self.seen_changes = None;
        }
    }

    /// Carries out what the hub wants.
    fn settle(&mut self, now: Moment, scene: &mut Scene) {
        while !self.effects.is_empty() {
            for effect in std::mem::take(&mut self.effects) {
                match effect {
                    Effect::Tell(event) => self.events.push_back(event),
                    Effect::Introduce(id, others) => {
                        if let Some(wire) = self.wires.get_mut(&id) {
                            wire.session.introduce(&others);
                            self.dirty.insert(id);
                        }
                    }
                    Effect::HangUp(id, why) => self.end(id, &why, now, scene),
                    Effect::Dial(plan) => {
                        let state = DialState::Waits(Some(Duration::ZERO));
                        self.dials.push(Dial { plan, state });
                        self.seen_changes = None;
                    }
                }
            }
        }
    }

    /// Does what is due, and sends what waits.
    pub fn run(&mut self, now: Moment, scene: &mut Scene) {
        if now.monotonic >= self.quiet_until || self.seen_changes != Some(self.hub.changes()) {
            self.pass_time(now, scene);
        }
        for id in std::mem::take(&mut self.dirty) {
            if let Some(wire) = self.wires.get_mut(&id) {
                flush(wire, scene);
            }
        }
    }

    fn pass_time(&mut self, now: Moment, scene: &mut Scene) {
        let due: Vec<ConnectionId> = self
            .wires
            .iter()
            .filter(|(_, wire)| wire.session.deadline() <= now.monotonic)
            .map(|(&id, _)| id)
            .collect();
        for id in due {
            let Some(wire) = self.wires.get_mut(&id) else {
                continue;
            };
            self.dirty.insert(id);
            if let Err(why) = wire.session.tick(now) {
                self.end(id, &why, now, scene);
            }
        }
        self.settle(now, scene);
        loop {
            let changes = self.hub.changes();
            let has_changed = self.seen_changes != Some(changes);
            self.seen_changes = Some(changes);
            for index in 0..self.dials.len() {
                self.follow(index, has_changed, now, scene);
            }
            self.settle(now, scene);
            if self.seen_changes == Some(self.hub.changes()) {
                break;
            }
        }
        self.quiet_until = self.first_deadline();
    }

    /// Does what a plan is to do next, if it is to do anything.
    fn follow(&mut self, index: usize, has_changed: bool, now: Moment, scene: &mut Scene) {
        let dial = &mut self.dials[index];
        let DialState::Waits(until) = dial.state else {
            return;
        };
        if !has_changed && until.is_none_or(|until| now.monotonic < until) {
            return;
        }
        dial.state = match dial.plan.next(&mut self.hub, now) {
            Next::End => DialState::Over,
            Next::Wait(until) => DialState::Waits(until),
            Next::Connect(to) => {
                let machine = machine_of(&to);
                if machine == Some(self.machine) {
                    dial.plan.is_myself(&mut self.hub, to, now);
                    DialState::Waits(None)
                } else if let Some(to_machine) = machine {
                    let handshake = scene.network.handshake(self.machine, to_machine);
                    scene.after(
                        handshake.unwrap_or(CONNECT_TIMEOUT),
                        Event::Dialled {
                            machine: self.machine,
                            process: self.process,
                            dial: index,
                            to: to_machine,
                            passed: handshake.is_some(),
                        },
                    );
                    DialState::Connects(to)
                } else {
                    dial.plan
                        .failed(&mut self.hub, to, "no such machine", false, now);
                    DialState::Waits(Some(now.monotonic))
                }
            }
        };
    }

    /// A connection was made, at that end, or not.
    pub fn dialled(&mut self, index: usize, end: Option<EndId>, now: Moment) {
        let dial = &mut self.dials[index];
        let DialState::Connects(to) = std::mem::replace(&mut dial.state, DialState::Over) else {
            return;
        };
        match end {
            Some(end) => {
                dial.state = DialState::Speaks(to);
                self.open(end, Side::Dialled, Some(index), now);
            }
            None => {
                dial.state = DialState::Waits(Some(now.monotonic));
                dial.plan
                    .failed(&mut self.hub, to, "no connection", false, now);
            }
        }
        self.seen_changes = None;
    }

    /// Says goodbye to everybody.
    pub fn stop(&mut self, now: Moment, scene: &mut Scene) {
        self.hub.stop();
        let ids: Vec<ConnectionId> = self.wires.keys().copied().collect();
        for id in ids {
            if let Some(wire) = self.wires.get_mut(&id) {
                flush(wire, scene);
            }
            self.end(id, &HangUp::Stopping, now, scene);
        }
    }

    /// When something is to be done next.
    pub fn deadline(&self) -> Duration {
        match self.seen_changes == Some(self.hub.changes()) {
            true => self.quiet_until,
            false => Duration::ZERO,
        }
    }

    /// Deadlines of sessions only move away while they speak.
    fn first_deadline(&self) -> Duration {
        let sessions = self.wires.values().map(|wire| wire.session.deadline());
        let dials = self.dials.iter().filter_map(|dial| match dial.state {
            DialState::Waits(until) => until,
            _ => None,
        });
        sessions.chain(dials).min().unwrap_or(Duration::MAX)
    }
}

fn flush(wire: &mut Wire, scene: &mut Scene) {
    let mut said = wire.session.take_output();
    if wire.is_newer {
        said = newer::frames(&said);
    }
    wire.outbox.push_control(&said);
    while !wire.outbox.is_empty() {
        let bytes = wire.outbox.take(usize::MAX);
        let now = scene.now();
        let due = scene.network.send(now, wire.end, Parcel::Bytes(bytes));
        scene.look_at(due);
    }
}
