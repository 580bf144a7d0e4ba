//! Dialling, without the dialling: whom to connect to, and when.
//!
//! One plan for each configured host and for each node that was given to be dialled or heard of. A driver asks
//! it what is [`next`](Dialling::next), connects, speaks on the connection until that ends, tells the plan
//! how it went, and asks again.
//!
//! Hosts and nodes that were given are dialled for ever; nodes that were only heard of until they are long gone
//! or another node answers in their place. A node is dialled while it is not alive; a host unless it leads to
//! a node that this one has dialled already.

use std::time::Duration;

use base::{Moment, NodeId};
use tracing::{Level, debug, info};

use crate::HostAddr;
use crate::backoff::Backoff;
use crate::hang_up::HangUp;
use crate::hub::Hub;
use crate::outage::Outage;
use crate::status::HostState;

/// How long a host is left alone that leads to a node which is connected already: by then the name may
/// lead elsewhere.
const ALIAS_CHECK: Duration = Duration::from_secs(30);

/// For how long a node that was only heard of is dialled in vain.
const LEARNED_PATIENCE: Duration = Duration::from_secs(3600);

/// What a driver is to do next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// Connect there, and say how it went.
    Connect(HostAddr),
    /// Ask again at that time, if there is one, or when [`Hub::changes`] is another number.
    Wait(Option<Duration>),
    /// Nothing any more.
    End,
}

/// What the hub says about a node.
#[derive(Debug)]
pub(crate) enum Aim {
    Wait,
    Connect(HostAddr),
}

#[derive(Clone, Copy, Debug)]
enum Target {
    /// The index of a configured one.
    Host(usize),
    Node {
        node_id: NodeId,
        serial: u64,
    },
}

/// See the module.
#[derive(Clone, Debug)]
pub struct Dialling {
    target: Target,
    backoff: Backoff,
    outage: Outage,
    /// Not before that time, as long as the address is that one.
    rest: Option<(HostAddr, Duration)>,
    /// The host leads to that node, which is connected; look again at that time.
    alias: Option<(NodeId, Duration)>,
    is_over: bool,
}

impl Dialling {
    /// Of the configured host of that index. The jitter follows from `seed`.
    pub(crate) fn host(index: usize, seed: u64) -> Dialling {
        Dialling::new(Target::Host(index), seed.wrapping_add(index as u64))
    }

    /// Of a node; `serial` is the hub's number for this plan.
    pub(crate) fn node(node_id: NodeId, serial: u64, seed: u64) -> Dialling {
        let target = Target::Node { node_id, serial };
        Dialling::new(target, seed.wrapping_add(node_id.0))
    }

    fn new(target: Target, seed: u64) -> Dialling {
        Dialling {
            target,
            backoff: Backoff::new(seed),
            outage: Outage::default(),
            rest: None,
            alias: None,
            is_over: false,
        }
    }

    /// Who has to answer: another node is hung up on.
    pub fn expected(&self) -> Option<NodeId> {
        match self.target {
            Target::Host(_) => None,
            Target::Node { node_id, .. } => Some(node_id),
        }
    }

    /// Whether the latest attempt failed: then the next is not worth a line in the log.
    pub fn is_failing(&self) -> bool {
        self.outage.running().is_some()
    }

    /// What to do next.
    pub fn next(&mut self, hub: &mut Hub, now: Moment) -> Next {
        if self.is_over || hub.is_stopping() {
            return Next::End;
        }
        let address = match self.target {
            Target::Host(index) => hub.directory().hosts()[index].host.clone(),
            Target::Node { node_id, serial } => match hub.aim(node_id, serial) {
                None => return Next::End,
                Some(Aim::Wait) => return Next::Wait(None),
                Some(Aim::Connect(address)) => address,
            },
        };
        if let Some((node_id, until)) = self.alias
            && now.monotonic < until
            && hub.directory().is_dialled(node_id)
        {
            return Next::Wait(Some(until));
        }
        if let Some((rested, until)) = &self.rest {
            if *rested == address && now.monotonic < *until {
                return Next::Wait(Some(*until));
            }
            if *rested != address {
                self.backoff.reset();
            }
        }
        self.rest = None;
        self.alias = None;
        if let Target::Host(index) = self.target {
            hub.set_host(index, HostState::Dialling);
        }
        Next::Connect(address)
    }

    /// Takes in that no connection was made and why; `alarming` if somebody should see to it.
    pub fn failed(&mut self, hub: &mut Hub, to: HostAddr, why: &str, alarming: bool, now: Moment) {
        let again_in = self.backoff.next_wait();
        let level = match self.outage.failed(now.monotonic, why) {
            true if alarming => Level::WARN,
            true => Level::INFO,
            false => Level::DEBUG,
        };
        let failures = self.outage.running().map_or(0, |(failures, _)| failures);
        log_at!(level, host = %to, why, failures, ?again_in, "could not connect");
        if self.has_lasted(LEARNED_PATIENCE, now)
            && let Target::Node { node_id, .. } = self.target
            && self.give_up(hub)
        {
            info!(node = %node_id, address = %to, "not dialled any more, it is long gone");
        }
        self.rest(hub, to, why, again_in, now);
    }

    /// Takes in that the node greeted on the connection that was made.
    pub fn greeted(&mut self, hub: &mut Hub, at: &HostAddr, node_id: NodeId, now: Moment) {
        self.backoff.reset();
        if let Some((failures, since)) = self.outage.ended() {
            let down_for = now.monotonic.saturating_sub(since);
            info!(host = %at, node = %node_id, failures, ?down_for, "reconnected");
        }
        if let Target::Host(index) = self.target {
            hub.set_host(index, HostState::Greeted(node_id));
        }
    }

    /// Takes in that the connection ended, after [`Dialling::greeted`] with that node or before. The hub
    /// knows already ([`Hub::ended`]).
    pub fn ended(
        &mut self,
        hub: &mut Hub,
        at: HostAddr,
        why: &HangUp,
        greeted: Option<NodeId>,
        now: Moment,
    ) {
        match (why, greeted) {
            (HangUp::Stopping, _) => self.is_over = true,
            (HangUp::Myself, _) => self.is_myself(hub, at, now),
            (HangUp::Duplicate(node_id), _) => {
                debug!(host = %at, node = %node_id, "leads to a node that is connected already");
                if let Target::Host(index) = self.target {
                    hub.set_host(index, HostState::Greeted(*node_id));
                    self.alias = Some((*node_id, now.monotonic + ALIAS_CHECK));
                }
            }
            (HangUp::OtherNode { .. }, _) => {
                self.give_up(hub);
                self.failed(hub, at, &why.to_string(), true, now);
            }
            (why, None) => {
                let is_passing = matches!(
                    why,
                    HangUp::Closed | HangUp::Truncated | HangUp::Broken(_) | HangUp::Goodbye(_)
                );
                self.failed(hub, at, &why.to_string(), !is_passing, now);
            }
            (why, Some(node_id)) => {
                let again_in = self.backoff.next_wait();
                let why = why.to_string();
                info!(host = %at, node = %node_id, why, ?again_in,
                    "hung up, reconnecting");
                self.rest(hub, at, &why, again_in, now);
            }
        }
    }

    /// Takes in that the address is this node's own.
    pub fn is_myself(&mut self, hub: &mut Hub, at: HostAddr, now: Moment) {
        match self.target {
            Target::Host(index) => {
                info!(host = %at, "that is this node itself");
                hub.set_host(index, HostState::IsSelf);
                self.is_over = true;
            }
            Target::Node { .. } => {
                self.give_up(hub);
                self.failed(hub, at, &HangUp::Myself.to_string(), true, now);
            }
        }
    }

    fn rest(&mut self, hub: &mut Hub, at: HostAddr, why: &str, wait: Duration, now: Moment) {
        self.rest = Some((at, now.monotonic + wait));
        if let Target::Host(index) = self.target {
            hub.set_host(index, HostState::Failed { why: why.into() });
        }
    }

    /// Ends the plan if it is for a node that was only heard of. Whether it does.
    fn give_up(&mut self, hub: &mut Hub) -> bool {
        if let Target::Node { node_id, serial } = self.target {
            self.is_over = hub.give_up(node_id, serial);
        }
        self.is_over
    }

    /// Whether the present run of failures has lasted that long.
    fn has_lasted(&self, long: Duration, now: Moment) -> bool {
        let running = self.outage.running();
        running.is_some_and(|(_, since)| now.monotonic.saturating_sub(since) >= long)
    }
}

#[cfg(test)]
mod tests;
