//! The way of requests to a leader on another node.
//!
//! A request is either *waiting* for a leader to become known, or *outstanding* at the node that was
//! thought to lead. Rules:
//! - What writes is sent a second time only where it is certain that the first was not taken: the node
//!   said so, or the payload never left.
//! - Where that is not certain (the connection was lost, or no answer comes) the session is told so.
//! - What only reads is sent again as often as need be.
//! - A leader that is kept busy for long says so; then neither of these is in a hurry.
//! - Once its patience is over a request that is certainly not taken is refused as unreachable.
//! - Without a leader known, one request is sent to one of the nodes that have replicas, as a probe; the
//!   others wait for what comes of it. A request is passed on a few times at once, then at the next tick:
//!   so two nodes that think of each other as leader do not keep each other busy.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;
use std::time::Duration;

use base::{NodeId, ShardId};
use shard::{Refusal, Request, Response, Ticket};

use crate::turn::TurnConfig;
use crate::wire::{Outbox, Outcome};

/// So often a request is passed on between two ticks.
const HOPS: u8 = 3;

#[derive(Debug)]
pub(super) struct Routes {
    shard: ShardId,
    node: NodeId,
    patience: Duration,
    /// What writes is given up as uncertain after so long without an answer: more than a leader takes to
    /// find out that it no longer leads, and to say so.
    silence: Duration,
    /// What reads is sent again after so long.
    read_silence: Duration,
    limit_bytes: usize,
    waiting: VecDeque<Waiting>,
    outstanding: BTreeMap<u64, Outstanding>,
    /// What the commands of both take.
    bytes: usize,
    next_id: Option<u64>,
    /// The node that is thought to lead; another than this one.
    leader: Option<NodeId>,
    /// The nodes that may know who leads; others than this one.
    placed: Vec<NodeId>,
    /// Which of them is asked next, and how many may still be before the next tick.
    guess: usize,
    guesses_left: usize,
    probe: Option<u64>,
    /// Something has changed that lets those that wait hope.
    is_due: bool,
    /// Until when those have patience that waited and then were taken by the replica here.
    taken_here: BTreeMap<u64, Duration>,
}

#[derive(Debug)]
struct Waiting {
    request: Request,
    until: Duration,
    hops: u8,
}

#[derive(Debug)]
struct Outstanding {
    waiting: Waiting,
    to: NodeId,
    sent: Duration,
}

impl Routes {
    pub(super) fn new(config: &TurnConfig) -> Routes {
        Routes {
            shard: config.shard,
            node: config.node,
            patience: config.patience,
            silence: config.patience + 3 * config.election,
            read_silence: 2 * config.election,
            limit_bytes: config.forward_limit_bytes,
            waiting: VecDeque::new(),
            outstanding: BTreeMap::new(),
            bytes: 0,
            next_id: None,
            leader: None,
            placed: Vec::new(),
            guess: 0,
            guesses_left: 0,
            probe: None,
            is_due: false,
            taken_here: BTreeMap::new(),
        }
    }

    /// The node that is thought to lead, if it is another than this one.
    pub(super) fn leader(&self) -> Option<NodeId> {
        self.leader
    }

    /// Whether requests wait for a leader.
    pub(super) fn has_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Whether there is something to send, perhaps.
    pub(super) fn is_due(&self) -> bool {
        self.is_due && !self.waiting.is_empty()
    }

    /// Takes a request of a session here.
    pub(super) fn add(&mut self, request: Request, now: Duration, responses: &mut Vec<Response>) {
        if self.bytes > self.limit_bytes {
            responses.push(refused(request, Refusal::Busy));
            return;
        }
        let until = now + self.patience;
        self.wait(request, until);
    }

    /// Takes a request back that the replica here took and then certainly lost.
    pub(super) fn take_back(&mut self, request: Request, now: Duration) {
        let known = self.taken_here.remove(&request.ticket.0);
        self.wait(request, known.unwrap_or(now + self.patience));
    }

    fn wait(&mut self, request: Request, until: Duration) {
        self.bytes += request.commands.size_bytes();
        self.is_due = true;
        self.waiting.push_back(Waiting {
            request,
            until,
            hops: 0,
        });
    }

    /// The replica here leads: it gets all that waits.
    pub(super) fn give_to_replica(&mut self, requests: &mut Vec<Request>) {
        for Waiting { request, until, .. } in self.waiting.drain(..) {
            self.bytes -= request.commands.size_bytes();
            self.taken_here.insert(request.ticket.0, until);
            requests.push(request);
        }
    }

    /// The replica here has answered a session.
    pub(super) fn answered_here(&mut self, ticket: Ticket) {
        if !self.taken_here.is_empty() {
            self.taken_here.remove(&ticket.0);
        }
    }

    /// News of the leader: that node, or none is known.
    pub(super) fn believe(&mut self, leader: Option<NodeId>) {
        let leader = leader.filter(|leader| *leader != self.node);
        if leader == self.leader {
            return;
        }
        self.leader = leader;
        if let Some(leader) = leader {
            self.is_due = true;
            let left_behind = |_: &u64, outstanding: &mut Outstanding| {
                outstanding.to != leader && !outstanding.waiting.writes()
            };
            let reads = self.outstanding.extract_if(.., left_behind);
            self.waiting.extend(reads.map(|(_, read)| read.waiting));
        }
    }

    /// That node does not lead, and says who does.
    fn deny(&mut self, node: NodeId, leader: Option<NodeId>) {
        // What was heard since of another is newer.
        if self.leader.is_none() || self.leader == Some(node) {
            self.believe(leader.filter(|leader| *leader != node));
        }
        self.is_due = true;
    }

    /// The nodes that have replicas.
    pub(super) fn set_placed(&mut self, mut nodes: Vec<NodeId>) {
        nodes.retain(|node| *node != self.node);
        if nodes != self.placed {
            self.placed = nodes;
            self.guesses_left = self.placed.len();
            self.is_due = true;
        }
    }

    /// There is a connection to a node.
    pub(super) fn greeted(&mut self) {
        for waiting in &mut self.waiting {
            waiting.hops = 0;
        }
        self.is_due = true;
    }

    /// A connection is gone. What is outstanding at the node may have been taken or not.
    pub(super) fn lost(&mut self, node: NodeId, responses: &mut Vec<Response>) {
        if self.leader == Some(node) {
            self.leader = None;
        }
        let there = |_: &u64, outstanding: &mut Outstanding| outstanding.to == node;
        for (_, outstanding) in self.outstanding.extract_if(.., there) {
            if outstanding.waiting.writes() {
                let request = outstanding.waiting.request;
                self.bytes -= request.commands.size_bytes();
                responses.push(refused(request, Refusal::Uncertain));
            } else {
                self.waiting.push_back(outstanding.waiting);
            }
        }
        self.is_due = true;
    }

    /// A payload never left.
    pub(super) fn unsent(&mut self, to: NodeId, forwards: Range<u64>) {
        if self.leader == Some(to) {
            self.leader = None;
        }
        let of_node = |_: &u64, outstanding: &mut Outstanding| outstanding.to == to;
        let unsent = self.outstanding.extract_if(forwards, of_node);
        self.waiting
            .extend(unsent.map(|(_, unsent)| unsent.waiting));
        self.is_due = true;
    }

    /// An answer has come.
    pub(super) fn forwarded(
        &mut self,
        from: NodeId,
        id: u64,
        outcome: Outcome,
        responses: &mut Vec<Response>,
    ) {
        // One that was given up is answered already; its answer comes too late.
        let outstanding = self.outstanding.get(&id);
        if outstanding.is_none_or(|outstanding| outstanding.to != from) {
            return;
        }
        let Some(Outstanding { waiting, .. }) = self.outstanding.remove(&id) else {
            return;
        };
        match outcome {
            Err(Refusal::NotLeader { leader }) => {
                self.deny(from, leader);
                self.waiting.push_back(waiting);
            }
            Err(Refusal::Uncertain) if !waiting.writes() => self.waiting.push_back(waiting),
            outcome => {
                if outcome.is_ok() && self.leader.is_none() {
                    self.believe(Some(from));
                }
                let request = waiting.request;
                self.bytes -= request.commands.size_bytes();
                responses.push(answered(request, outcome));
            }
        }
    }

    /// What is outstanding there takes long: its time begins anew.
    pub(super) fn working(&mut self, node: NodeId, now: Duration) {
        let all = self.outstanding.values_mut();
        for outstanding in all.filter(|outstanding| outstanding.to == node) {
            outstanding.sent = now;
            let until = &mut outstanding.waiting.until;
            *until = (*until).max(now + self.read_silence);
        }
    }

    /// Time has passed.
    pub(super) fn tick(&mut self, now: Duration, has_replica: bool, responses: &mut Vec<Response>) {
        // A replica here hears of a leader by itself, unless it was forgotten.
        self.guesses_left = if has_replica { 1 } else { self.placed.len() };
        if self.waiting.is_empty() && self.outstanding.is_empty() {
            return;
        }
        self.is_due = true;
        let (silence, read_silence) = (self.silence, self.read_silence);
        let is_silent = |_: &u64, outstanding: &mut Outstanding| {
            let since = now.saturating_sub(outstanding.sent);
            match outstanding.waiting.writes() {
                true => since >= silence,
                false => since >= read_silence || outstanding.waiting.until <= now,
            }
        };
        for (_, outstanding) in self.outstanding.extract_if(.., is_silent) {
            if outstanding.waiting.writes() {
                let request = outstanding.waiting.request;
                self.bytes -= request.commands.size_bytes();
                responses.push(refused(request, Refusal::Uncertain));
            } else {
                self.waiting.push_back(outstanding.waiting);
            }
        }
        for _ in 0..self.waiting.len() {
            let Some(mut waiting) = self.waiting.pop_front() else {
                break;
            };
            if waiting.until <= now {
                self.bytes -= waiting.request.commands.size_bytes();
                responses.push(refused(waiting.request, Refusal::Unreachable));
            } else {
                waiting.hops = 0;
                self.waiting.push_back(waiting);
            }
        }
    }

    /// Sends what waits to the leader, if one is known; otherwise a probe to somebody who may know.
    /// `first_id` is drawn at random: so an answer to another process that this node was is none to this.
    pub(super) fn send(
        &mut self,
        now: Duration,
        first_id: impl FnOnce() -> u64,
        outbox: &mut Outbox,
    ) {
        self.is_due = false;
        if self.next_id.is_none() {
            // Far from where it would start anew at zero.
            self.next_id = Some(first_id() >> 1);
        }
        if let Some(leader) = self.leader {
            for _ in 0..self.waiting.len() {
                let Some(waiting) = self.waiting.pop_front() else {
                    break;
                };
                if waiting.hops < HOPS {
                    self.send_one(waiting, leader, now, outbox);
                } else {
                    self.waiting.push_back(waiting);
                }
            }
            return;
        }
        let is_probing = self
            .probe
            .is_some_and(|probe| self.outstanding.contains_key(&probe));
        if is_probing || self.guesses_left == 0 || self.placed.is_empty() {
            return;
        }
        if let Some(waiting) = self.waiting.pop_front() {
            self.guesses_left -= 1;
            self.guess = (self.guess + 1) % self.placed.len();
            self.probe = self.next_id;
            self.send_one(waiting, self.placed[self.guess], now, outbox);
        }
    }

    fn send_one(&mut self, mut waiting: Waiting, to: NodeId, now: Duration, outbox: &mut Outbox) {
        let Some(id) = self.next_id else { return };
        self.next_id = Some(id + 1);
        outbox.put_forward(to, self.shard, id, &waiting.request.commands);
        waiting.hops += 1;
        let outstanding = Outstanding {
            waiting,
            to,
            sent: now,
        };
        self.outstanding.insert(id, outstanding);
    }
}

impl Waiting {
    fn writes(&self) -> bool {
        self.request.commands.has_writes()
    }
}

/// A request's answer.
fn answered(request: Request, outcome: Outcome) -> Response {
    let mut commands = request.commands;
    commands.clear();
    Response {
        ticket: request.ticket,
        outcome,
        commands,
    }
}

/// A request's answer, if that is a refusal.
pub(super) fn refused(request: Request, refusal: Refusal) -> Response {
    answered(request, Err(refusal))
}
