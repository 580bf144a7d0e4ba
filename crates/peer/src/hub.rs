//! What a node makes of its connections: who is admitted, who is alive, which connection carries payloads, when the
//! owner hears of it, who is introduced to whom, and who is dialled.
//!
//! It is a function of what it is handed: it knows no sockets, tasks or clocks, and equal calls have equal
//! results and effects. Two drivers use it: `shared` with sockets, and simulations. What a driver does:
//! - It starts a [`Dialling`] for each [`Effect::Dial`]; [`Hub::start`] has the first.
//! - For a connection, whichever side made it, it takes an id from [`Hub::open`] and makes a
//!   [`Session`] that says [`Hub::greeting`]. It hands each [`Input`] of that session to [`Hub::take_in`],
//!   and the reason of its end, whatever the reason, to [`Hub::ended`], once.
//! - It carries out effects in their order, before it calls the hub again.
//!
//! A loss is never silent: when a connection ends and payloads may be lost with it, the owner gets
//! [`Event::Lost`], and [`Event::Greeted`] right after it if the peer is alive by another connection. Nothing
//! is lost of what the other side sent if it said goodbye, because a goodbye comes after all else, nor of
//! what this side sent if it sent nothing. A peer that says that it stops is lost once, with its last connection.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;

use base::{ClusterId, Incarnation, Moment, NodeId};
use tracing::{Level, debug, info, warn};

use crate::HostAddr;
use crate::dialling::{Aim, Dialling};
use crate::directory::{Admission, Confirmation, ConnectionId, Directory, PEERS_LIMIT};
use crate::greeting::{Greeting, Side};
use crate::hang_up::HangUp;
use crate::message::Introduction;
use crate::session::{Input, Session};
use crate::status::{Event, HostState, LocalNode, PeerState, PeerStatus};

/// How many accepted connections may wait for a greeting; then the oldest of them goes.
pub const UNGREETED_LIMIT: usize = 128;

/// How many nodes are dialled that are neither hosts nor given to [`Hub::dial`] but were heard of.
pub const LEARNED_LIMIT: usize = 256;

/// How many nodes are dialled that were given to [`Hub::dial`].
pub const DIALLED_LIMIT: usize = PEERS_LIMIT;

/// What a driver is to do.
#[derive(Debug)]
pub enum Effect {
    /// Tell the owner.
    Tell(Event),
    /// Call [`Session::introduce`] of that connection. One that is ending needs no introductions.
    Introduce(ConnectionId, Vec<Introduction>),
    /// End that connection for that reason: nothing of it is taken in any more.
    HangUp(ConnectionId, HangUp),
    /// Follow that plan.
    Dial(Dialling),
}

/// Where a connection comes from.
#[derive(Clone, Copy, Debug)]
pub struct Origin {
    /// Of [`Hub::open`].
    pub id: ConnectionId,
    /// This node's.
    pub side: Side,
    /// The other end, for people.
    pub remote: Option<SocketAddr>,
    /// Who has to answer: [`Dialling::expected`].
    pub expected: Option<NodeId>,
}

#[derive(Debug)]
struct Dial {
    /// Of the plan that dials it. Another plan for the same node has another number.
    serial: u64,
    address: HostAddr,
    /// Given to [`Hub::dial`].
    is_given: bool,
}

/// See the module.
#[derive(Debug)]
pub struct Hub {
    local: LocalNode,
    hosts_hash: u64,
    directory: Directory,
    /// Accepted and not admitted, oldest first.
    ungreeted: VecDeque<ConnectionId>,
    dials: BTreeMap<NodeId, Dial>,
    next_serial: u64,
    next_connection: u64,
    is_stopping: bool,
    changes: u64,
}

impl Hub {
    /// Of a node without connections; the hosts are those of `discovery.hosts`.
    pub fn new(hosts: Vec<HostAddr>, local: LocalNode) -> Hub {
        Hub {
            hosts_hash: HostAddr::list_hash(&hosts),
            directory: Directory::new(hosts),
            ungreeted: VecDeque::new(),
            dials: BTreeMap::new(),
            next_serial: 0,
            next_connection: 0,
            is_stopping: false,
            changes: 0,
            local,
        }
    }

    /// Dials the hosts.
    pub fn start(&mut self, effects: &mut Vec<Effect>) {
        let hosts = self.directory.hosts().len();
        effects.extend(
            (0..hosts).map(|host| Effect::Dial(Dialling::host(host, self.local.run_nonce))),
        );
    }

    /// No peer that goes is dialled again, and nobody is admitted. The driver hangs up on all connections for
    /// [`HangUp::Stopping`].
    pub fn stop(&mut self) {
        self.is_stopping = true;
        self.changes += 1;
    }

    /// Whether [`Hub::stop`] was called.
    pub fn is_stopping(&self) -> bool {
        self.is_stopping
    }

    /// The table of peers.
    pub fn directory(&self) -> &Directory {
        &self.directory
    }

    /// How often the table or who is to be dialled has changed, but for measurements: a [`Dialling`] that
    /// waits for a change waits for another number.
    pub fn changes(&self) -> u64 {
        self.changes
    }

    /// What this node says of itself.
    pub fn greeting(&self, side: Side) -> Greeting {
        Greeting::of(&self.local, self.local.cluster_id, self.hosts_hash, side)
    }

    /// This node belongs to that cluster by now. The driver calls [`Session::set_cluster_id`] of all sessions.
    /// Whether that is news.
    ///
    /// # Panics
    /// When it belongs to another one.
    pub fn set_cluster_id(&mut self, cluster_id: ClusterId) -> bool {
        if let Some(known) = self.local.cluster_id {
            assert_eq!(known, cluster_id, "a node never changes its cluster");
            return false;
        }
        info!(cluster = %cluster_id, "telling peers the cluster");
        self.local.cluster_id = Some(cluster_id);
        true
    }

    /// Gives a new connection its id.
    pub fn open(&mut self, side: Side, effects: &mut Vec<Effect>) -> ConnectionId {
        let id = ConnectionId(self.next_connection);
        self.next_connection += 1;
        if side == Side::Accepted {
            self.ungreeted.push_back(id);
            if self.ungreeted.len() > UNGREETED_LIMIT
                && let Some(oldest) = self.ungreeted.pop_front()
            {
                effects.push(Effect::HangUp(oldest, HangUp::Crowded));
            }
        }
        id
    }

    /// Takes in what the session of a connection gave.
    ///
    /// # Errors
    /// The reason to hang up on that connection.
    pub fn take_in(
        &mut self,
        origin: &Origin,
        session: &mut Session,
        input: Input,
        now: Moment,
        effects: &mut Vec<Effect>,
    ) -> Result<(), HangUp> {
        let id = origin.id;
        match input {
            Input::Introduced(greeting) => {
                self.admit(origin, &greeting, effects)?;
                session.admit(now);
            }
            Input::Confirmed => self.confirm(origin, effects),
            Input::Payload(bytes) => {
                if let Some(from) = self.directory.node_of(id) {
                    effects.push(Effect::Tell(Event::Payload { from, bytes }));
                }
            }
            Input::ClusterId(cluster_id) => {
                self.directory.set_cluster_id(id, cluster_id);
                self.changes += 1;
            }
            Input::Introductions(others) => {
                for other in others {
                    self.learn(other.node_id, other.address, effects);
                }
            }
            Input::Measured => self.directory.measured(id, session.link()),
        }
        Ok(())
    }

    fn admit(
        &mut self,
        origin: &Origin,
        greeting: &Greeting,
        effects: &mut Vec<Effect>,
    ) -> Result<(), HangUp> {
        let found = greeting.node_id;
        if self.is_stopping {
            return Err(HangUp::Stopping);
        }
        if let Some(expected) = origin.expected.filter(|&expected| expected != found) {
            self.learn(found, greeting.advertised.clone(), effects);
            return Err(HangUp::OtherNode { expected, found });
        }
        let before = self.directory.status(found);
        let (id, side) = (origin.id, origin.side);
        let admission = self.directory.admit(id, side, greeting, origin.remote)?;
        self.ungreeted.retain(|&waiting| waiting != id);
        self.changes += 1;
        if let Admission::Restarted { former, was_alive } = admission {
            let hang_up = |&former: &ConnectionId| Effect::HangUp(former, HangUp::Restarted);
            effects.extend(former.iter().map(hang_up));
            if let Some(before) = before.filter(|_| was_alive) {
                self.lose(&before, &HangUp::Restarted, effects);
            }
        }
        Ok(())
    }

    fn confirm(&mut self, origin: &Origin, effects: &mut Vec<Effect>) {
        let id = origin.id;
        let confirmation = self.directory.confirm(id);
        let status = self
            .directory
            .node_of(id)
            .and_then(|node_id| self.directory.status(node_id));
        let (Some(confirmation), Some(status)) = (confirmation, status) else {
            return;
        };
        self.changes += 1;
        let (node_id, name) = (status.node_id, status.name.as_str());
        match confirmation {
            Confirmation::Further(given_up) => {
                debug!(connection = id.0, node = %node_id, name, "greeted on one more connection");
                let hang_up = |&other: &ConnectionId| Effect::HangUp(other, HangUp::Superseded);
                effects.extend(given_up.iter().map(hang_up));
                if !given_up.is_empty() && !self.is_stopping {
                    self.lose(&status, &HangUp::Superseded, effects);
                    effects.push(Effect::Tell(Event::Greeted(status)));
                }
            }
            Confirmation::Came => {
                info!(
                    connection = id.0, node = %node_id, name, address = %status.address,
                    version = status.version.as_str(), side = ?origin.side,
                    incarnation = status.incarnation.0, "greeted"
                );
                self.introduce(&status, effects);
                effects.push(Effect::Tell(Event::Greeted(status)));
            }
        }
    }

    /// Introduces a newcomer to those who are alive, and them to it.
    fn introduce(&self, newcomer: &PeerStatus, effects: &mut Vec<Effect>) {
        let others = self.directory.others_alive(newcomer.node_id);
        for other in &others {
            if let Some(route) = self.directory.route(other.node_id) {
                let newcomer = Introduction {
                    node_id: newcomer.node_id,
                    address: newcomer.address.clone(),
                };
                effects.push(Effect::Introduce(route, vec![newcomer]));
            }
        }
        if let Some(route) = self.directory.route(newcomer.node_id)
            && !others.is_empty()
        {
            effects.push(Effect::Introduce(route, others));
        }
    }

    /// Takes in that a connection has ended and why. Whether it was greeted or not.
    pub fn ended(&mut self, id: ConnectionId, why: &HangUp, effects: &mut Vec<Effect>) {
        self.ungreeted.retain(|&waiting| waiting != id);
        if matches!(why, HangUp::Goodbye(goodbye) if goodbye.is_stop()) {
            self.directory.set_stopping(id);
        }
        let Some(removal) = self.directory.remove(id) else {
            return;
        };
        self.changes += 1;
        let status = removal.status;
        if !removal.was_alive {
            return;
        }
        if status.state == PeerState::Lost {
            self.lose(&status, why, effects);
            if !removal.is_forgotten {
                self.learn(status.node_id, status.address, effects);
            }
            return;
        }
        let is_harmless = matches!(why, HangUp::Goodbye(_)) && !removal.has_sent;
        if !is_harmless && !removal.is_stopping && !self.is_stopping {
            self.lose(&status, why, effects);
            effects.push(Effect::Tell(Event::Greeted(status)));
        }
    }

    fn lose(&self, peer: &PeerStatus, why: &HangUp, effects: &mut Vec<Effect>) {
        let level = match why {
            HangUp::Stopping => Level::DEBUG,
            HangUp::Goodbye(goodbye) if goodbye.is_stop() => Level::INFO,
            _ => Level::WARN,
        };
        let (node_id, why) = (peer.node_id, why.to_string());
        let (name, address) = (peer.name.as_str(), &peer.address);
        if self.directory.is_alive(node_id) {
            log_at!(level, node = %node_id, name, %address, why,
                "lost a connection to a peer and what it carried, another goes on");
        } else {
            log_at!(level, node = %node_id, name, %address, why, "lost a peer");
        }
        effects.push(Effect::Tell(Event::Lost { node_id, why }));
    }

    /// The connection that a payload to that peer takes, if it is alive: it is sent there now.
    pub fn send(&mut self, to: NodeId) -> Option<ConnectionId> {
        self.directory.send(to)
    }

    /// Notes how dialling a host goes.
    ///
    /// # Panics
    /// When there is no such host.
    pub(crate) fn set_host(&mut self, index: usize, state: HostState) {
        if self.directory.set_host(index, state) {
            self.changes += 1;
        }
    }

    /// See [`Peers::know`](crate::Peers::know).
    pub fn know(&mut self, node_id: NodeId, incarnation: Incarnation, effects: &mut Vec<Effect>) {
        let former = self.directory.know(node_id, incarnation);
        let hang_up = |former| Effect::HangUp(former, HangUp::Restarted);
        effects.extend(former.into_iter().map(hang_up));
    }

    /// See [`Peers::dial`](crate::Peers::dial).
    pub fn dial(&mut self, node_id: NodeId, address: HostAddr, effects: &mut Vec<Effect>) {
        if node_id == self.local.node_id || self.is_stopping {
            return;
        }
        self.directory.set_forgotten(node_id, false);
        let given = self.dials.values().filter(|dial| dial.is_given).count();
        let known = self.dials.get_mut(&node_id);
        if given == DIALLED_LIMIT && known.as_ref().is_none_or(|dial| !dial.is_given) {
            warn!(node = %node_id, %address, "not dialled: {DIALLED_LIMIT} others are already");
            return;
        }
        match known {
            Some(dial) if dial.is_given && dial.address == address => {}
            Some(dial) => {
                dial.is_given = true;
                dial.address = address;
                self.changes += 1;
            }
            None => self.add_dial(node_id, address, true, effects),
        }
    }

    /// See [`Peers::forget`](crate::Peers::forget).
    pub fn forget(&mut self, node_id: NodeId) {
        self.dials.remove(&node_id);
        self.directory.set_forgotten(node_id, true);
        self.changes += 1;
    }

    /// Sees to it that somebody who was heard of is dialled, unless it is alive or dialled already.
    pub(crate) fn learn(&mut self, node_id: NodeId, address: HostAddr, effects: &mut Vec<Effect>) {
        if node_id == self.local.node_id
            || self.is_stopping
            || self.directory.is_alive(node_id)
            || self.directory.is_host(node_id)
            || self.dials.contains_key(&node_id)
        {
            return;
        }
        let learned = self.dials.values().filter(|dial| !dial.is_given).count();
        if learned == LEARNED_LIMIT {
            debug!(node = %node_id, %address, "not dialled: {LEARNED_LIMIT} others are already");
            return;
        }
        self.add_dial(node_id, address, false, effects);
    }

    fn add_dial(
        &mut self,
        node_id: NodeId,
        address: HostAddr,
        is_given: bool,
        effects: &mut Vec<Effect>,
    ) {
        let serial = self.next_serial;
        self.next_serial += 1;
        let dial = Dial {
            serial,
            address,
            is_given,
        };
        self.dials.insert(node_id, dial);
        let plan = Dialling::node(node_id, serial, self.local.run_nonce);
        effects.push(Effect::Dial(plan));
    }

    /// What the plan of that number is to do about that node; `None` when it is to end.
    pub(crate) fn aim(&self, node_id: NodeId, serial: u64) -> Option<Aim> {
        let dial = self.dial_of(node_id, serial)?;
        if self.directory.is_alive(node_id) {
            return Some(Aim::Wait);
        }
        if dial.is_given {
            let is_dialled_as_host = self
                .directory
                .hosts()
                .iter()
                .any(|host| host.host == dial.address && host.state != HostState::IsSelf);
            return Some(match is_dialled_as_host {
                true => Aim::Wait,
                false => Aim::Connect(dial.address.clone()),
            });
        }
        let known = self.directory.status(node_id).map(|peer| peer.address);
        Some(Aim::Connect(known.unwrap_or_else(|| dial.address.clone())))
    }

    fn dial_of(&self, node_id: NodeId, serial: u64) -> Option<&Dial> {
        self.dials
            .get(&node_id)
            .filter(|dial| dial.serial == serial)
    }

    /// Ends the plan of that number, unless the owner has given the node to be dialled. Whether it does.
    pub(crate) fn give_up(&mut self, node_id: NodeId, serial: u64) -> bool {
        match self.dial_of(node_id, serial) {
            Some(dial) if dial.is_given => false,
            Some(_) => {
                self.dials.remove(&node_id);
                true
            }
            None => true,
        }
    }
}

#[cfg(test)]
mod tests;
