//! The turns that a shard takes on this node: its replica, if it has one, and the way to the leader.
//!
//! A driver gathers [`Inputs`] and calls [`Turn::run`]; what is to be done elsewhere is in [`Outputs`],
//! and log, keyspace, clock and chance are reached through [`Outside`].
//!
//! The life of a request:
//! 1. A session of this node has it in [`Inputs::requests`], or another node forwarded it:
//!    [`FromPeer::Forward`].
//! 2. If the replica here leads, it is proposed with all others that came, or waits there for the lease
//!    or a majority if it only reads. Its answer is in [`Outputs::responses`], or goes back to the node
//!    that it came from.
//! 3. If not, one of another node is refused: that node is told who leads. One of a session here goes to
//!    that leader; the rules are those of `routes`.
//!
//! Invariants:
//! - Each request of a session gets one response.
//! - A request that writes is handed to a log once at most. Whether it was is never guessed.

mod guests;
mod hand_over;
mod inputs;
mod orders;
mod outside;
mod requests;
mod routes;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::time::Duration;

use base::{NodeId, ReplicaId, ShardId};
use keyspace::Classes;
use meta::{ReplicaProgress, ReplicaStatus};
use shard::{Effects, Mark, Refusal, Request, Response, Shard};
use wal::WalError;

use crate::transfer::Wanted;

use guests::{Guests, is_guest};
use hand_over::HandOver;
pub use inputs::{FromPeer, Inputs, Order};
use outside::TurnClock;
pub use outside::{LogNumber, Outputs, Outside};
use routes::Routes;

/// What a turn is told when it is made.
#[derive(Clone, Debug)]
pub struct TurnConfig {
    /// Which shard this is.
    pub shard: ShardId,
    /// The node that this is.
    pub node: NodeId,
    /// So long a request waits for a leader, as long as it is certain that it was not taken.
    pub patience: Duration,
    /// The heartbeat of replicas.
    pub heartbeat: Duration,
    /// The least election timeout.
    pub election: Duration,
    /// Whether reads may be served under a lease; otherwise a round of messages confirms them.
    pub lease: bool,
    /// The seed of the hash of the keyspaces of replicas that are created here.
    pub hash_seed: u64,
    /// Reads that may look at more of the data are run elsewhere.
    pub short_read_bytes: usize,
    /// Requests of sessions that wait for the leader, or for its answer, may take so many bytes, and
    /// those that other nodes forwarded here as many again; above that requests are refused.
    pub forward_limit_bytes: usize,
    /// So much of the log may be kept in memory for replicas that are being filled by a snapshot.
    pub catch_up_bytes: usize,
}

/// One shard on this node.
pub struct Turn {
    config: TurnConfig,
    shard: Option<Shard>,
    effects: Effects,
    /// What was handed to the log and is not known to be durable, oldest first.
    unpersisted: VecDeque<Unpersisted>,
    /// Replicas that are gone and whose records that say so are not handed to the log yet.
    forgotten: Vec<ReplicaId>,
    log_state: LogState,
    /// Expired keys wait to be swept.
    sweeping: bool,
    /// Which notices are wanted.
    notices: Classes,
    /// Long reads are under way. Nothing is applied meanwhile; all else goes on, the heartbeats above all.
    reads_long: bool,
    routes: Routes,
    guests: Guests,
    hand_over: HandOver,
    /// When requests were last proposed.
    proposed_at: Duration,
    /// While writes wait for a replica that is being filled: since when those at the front do, and how many.
    held: Option<(Duration, usize)>,
    /// Whom the replica believed to lead when it was last asked, and in which term.
    seen: Option<(Option<NodeId>, u64)>,
}

struct Unpersisted {
    number: LogNumber,
    mark: Option<Mark>,
    forgotten: Vec<ReplicaId>,
}

/// Whether the log takes the shard's records.
#[derive(Clone, Copy, PartialEq, Eq)]
enum LogState {
    Takes,
    /// The disk is full. The records that it did not take wait in the effects, and with them all that
    /// would come after.
    Full,
    /// It was damaged. The process is about to end; until then nothing moves.
    Failed,
}

/// At most this many entries that only sweep are made in one turn.
const SWEEPS: u32 = 32;

impl Turn {
    /// A shard of which this node has no replica yet.
    pub fn new(config: TurnConfig) -> Turn {
        Turn {
            routes: Routes::new(&config),
            config,
            shard: None,
            effects: Effects::default(),
            unpersisted: VecDeque::new(),
            forgotten: Vec::new(),
            log_state: LogState::Takes,
            sweeping: false,
            notices: Classes::default(),
            reads_long: false,
            guests: Guests::default(),
            hand_over: HandOver::default(),
            proposed_at: Duration::ZERO,
            held: None,
            seen: None,
        }
    }

    /// What it was told when it was made.
    pub fn config(&self) -> &TurnConfig {
        &self.config
    }

    /// The replica of this node comes up; its state is the keyspace outside.
    ///
    /// # Panics
    /// If there is one already.
    pub fn set_replica(&mut self, mut shard: Shard) {
        assert!(self.shard.is_none(), "a node has one replica of a shard");
        shard.set_catch_up_bytes(self.config.catch_up_bytes);
        let shard = self.shard.insert(shard);
        shard.want_notices(self.notices);
        self.seen = None;
    }

    /// Whether anybody waits, here or elsewhere, for what this node has taken on.
    pub fn owes_answers(&self) -> bool {
        !self.guests.is_empty() || self.shard.as_ref().is_some_and(|shard| !shard.is_idle())
    }

    /// The replica of this node, if it has one.
    pub fn shard(&self) -> Option<&Shard> {
        self.shard.as_ref()
    }

    /// Whether the replica of this node leads.
    pub fn leads(&self) -> bool {
        self.shard.as_ref().is_some_and(Shard::is_leader)
    }

    /// The node that leads, as far as is known here.
    pub fn leader(&self) -> Option<NodeId> {
        match self.leads() {
            true => Some(self.config.node),
            false => self.routes.leader(),
        }
    }

    /// What other nodes are told of the replica.
    pub fn status(&self) -> Option<ReplicaStatus> {
        let shard = self.shard.as_ref()?;
        let leads = shard.is_leader();
        let progress = shard.progress().into_iter();
        Some(ReplicaStatus {
            shard: self.config.shard,
            replica: shard.replica(),
            leads,
            leader: shard.leader().map(|leader| leader.replica),
            term: shard.term(),
            last: shard.last_index(),
            commit: shard.committed(),
            applied: shard.applied(),
            membership: leads.then(|| shard.membership().clone()),
            progress: progress
                .map(|progress| ReplicaProgress {
                    replica: progress.replica,
                    matched: progress.matched,
                    active: progress.active,
                })
                .collect(),
            change_pending: leads && shard.change_pending(),
        })
    }

    /// Takes one turn. Tells whether there is more to do; then another is to come soon. Requests that
    /// cannot be taken now stay among the inputs.
    pub fn run(
        &mut self,
        inputs: &mut Inputs,
        outside: &mut impl Outside,
        out: &mut Outputs,
    ) -> bool {
        if self.log_state == LogState::Failed {
            return false;
        }
        out.next_turn = None;
        let mut clock = TurnClock::default();
        let tick = std::mem::take(&mut inputs.tick);
        self.note_durable(outside.durable(), out);
        if tick {
            self.tick(clock.now(outside).monotonic, out);
        }
        if !inputs.from_peers.is_empty() {
            let now = clock.now(outside).monotonic;
            for news in inputs.from_peers.drain(..) {
                self.hear(news, now, &mut inputs.requests, out);
            }
        }
        if let Some(done) = inputs.long_reads.take() {
            self.reads_long = false;
            // While they run no replica goes.
            if let Some(shard) = &mut self.shard {
                shard.long_reads_done(done, &mut self.effects);
            }
        }
        let reads_long = self.reads_long;
        let may_obey = |order: &mut Order| !reads_long || !order.replaces_state();
        for order in inputs.orders.extract_if(.., may_obey) {
            self.obey(order, &mut clock, outside, out);
        }
        self.note_leader();
        if self.routes.has_waiting() && self.leads() {
            self.routes.give_to_replica(&mut inputs.requests);
        }
        if !inputs.requests.is_empty() {
            self.take_requests(&mut inputs.requests, &mut clock, outside, out);
        }
        if inputs.requests.is_empty() {
            self.held = None;
        }
        if !self.settle(tick, &mut clock, outside) {
            return false;
        }
        if self.shard.as_ref().is_some_and(Shard::has_reads) {
            self.read(outside, out);
            if !self.settle(false, &mut clock, outside) {
                return false;
            }
        }
        self.note_leader();
        self.hand_out(&mut clock, outside, out);
        if self.routes.is_due() && !self.leads() {
            let now = clock.now(outside).monotonic;
            self.routes.send(now, || outside.draw(), &mut out.outbox);
        }
        self.has_more(&inputs.requests, &mut clock, outside, out)
    }

    /// Whether another turn would do something that this one has not.
    fn has_more(
        &mut self,
        requests: &[Request],
        clock: &mut TurnClock,
        outside: &mut impl Outside,
        out: &mut Outputs,
    ) -> bool {
        if self.routes.has_waiting() && self.leads() {
            return true;
        }
        if requests.is_empty() || self.must_wait(clock, outside) || self.holds(requests) {
            return false;
        }
        let gathers = self.gathers(requests, clock, outside);
        out.next_turn = gathers.then(|| self.gathers_until());
        !gathers
    }

    fn note_durable(&mut self, durable: LogNumber, out: &mut Outputs) {
        let mut persisted = None;
        while let Some(first) = self
            .unpersisted
            .pop_front_if(|first| first.number <= durable)
        {
            persisted = first.mark.or(persisted);
            out.destroyed.extend(first.forgotten);
        }
        if let (Some(mark), Some(shard)) = (persisted, &mut self.shard) {
            shard.persisted(mark);
        }
    }

    fn tick(&mut self, now: Duration, out: &mut Outputs) {
        if let Some(shard) = &mut self.shard {
            shard.tick(now, &mut self.effects);
            self.hand_over.tick(shard, &self.config, now);
        }
        if self.reads_long {
            for node in self.guests.nodes() {
                out.outbox.put_working(node, self.config.shard);
            }
        }
        let has_replica = self.shard.is_some();
        self.routes.tick(now, has_replica, &mut out.responses);
    }

    fn hear(
        &mut self,
        news: FromPeer,
        now: Duration,
        requests: &mut Vec<Request>,
        out: &mut Outputs,
    ) {
        match news {
            FromPeer::Raft { from, bytes } => {
                if let Some(shard) = &mut self.shard
                    && let Err(error) = shard.step(now, from, &bytes)
                {
                    out.complaints.push((from, error));
                }
            }
            FromPeer::Forward { from, id, commands } => {
                let limit = self.config.forward_limit_bytes;
                match self.guests.admit(from, id, commands, limit) {
                    Ok(request) => requests.push(request),
                    Err(refusal) => {
                        let shard = self.config.shard;
                        out.outbox.put_forwarded(from, shard, id, &Err(refusal));
                    }
                }
            }
            FromPeer::Forwarded { from, id, outcome } => {
                self.routes.forwarded(from, id, outcome, &mut out.responses);
            }
            FromPeer::Working { from } => self.routes.working(from, now),
            FromPeer::Unsent { to, forwards } => self.routes.unsent(to, forwards),
            FromPeer::Lost(node) => {
                if let Some(shard) = &mut self.shard {
                    shard.lost(now, node);
                }
                self.guests.lost(node);
                self.routes.lost(node, &mut out.responses);
            }
            FromPeer::Greeted(_) => {
                // The leader may be there: whom the replica follows is to be looked at anew.
                self.seen = None;
                self.routes.greeted();
            }
        }
    }

    /// Whom the replica here follows now is news for those who wait.
    fn note_leader(&mut self) {
        let Some(shard) = &self.shard else { return };
        let leader = match shard.is_leader() {
            true => Some(self.config.node),
            false => shard.leader().map(|leader| leader.node),
        };
        let seen = Some((leader, shard.term()));
        if self.seen != seen {
            self.seen = seen;
            self.routes.believe(leader);
        }
    }

    /// Has the replica do all that it can, and the log take what there is for it. Tells whether things
    /// may go on.
    fn settle(&mut self, tick: bool, clock: &mut TurnClock, outside: &mut impl Outside) -> bool {
        let effects = &mut self.effects;
        let mut sweeps = 0;
        let mut retries = tick;
        loop {
            let mut has_committed = false;
            if let Some(shard) = &mut self.shard {
                // A look at each tick finds expired keys; from then on it goes on until none is left, a
                // limited number at a time.
                let may_sweep = (tick || self.sweeping) && shard.is_idle() && sweeps < SWEEPS;
                if may_sweep && self.log_state == LogState::Takes && outside.has_room(0) {
                    let now = clock.now(outside);
                    self.sweeping =
                        outside.read_keyspace(|keyspace| shard.wants_sweep(keyspace, now.wall));
                    if self.sweeping {
                        sweeps += 1;
                        shard.propose(now, outside.draw(), Vec::new(), effects);
                    }
                }
                shard.advance(effects);
                has_committed = shard.has_committed() && !self.reads_long;
            }
            if !effects.records.is_empty() && (self.log_state == LogState::Takes || retries) {
                match outside.append(&mut effects.records) {
                    Ok((number, is_durable)) => {
                        self.log_state = LogState::Takes;
                        let unpersisted = Unpersisted {
                            number,
                            mark: effects.mark.take(),
                            forgotten: std::mem::take(&mut self.forgotten),
                        };
                        match (is_durable, unpersisted.mark, &mut self.shard) {
                            (true, Some(mark), Some(shard)) if unpersisted.forgotten.is_empty() => {
                                shard.persisted(mark);
                            }
                            _ => self.unpersisted.push_back(unpersisted),
                        }
                        has_committed = true;
                    }
                    Err(WalError::NoRoom { .. }) => {
                        // The next tick tries again.
                        self.log_state = LogState::Full;
                        retries = false;
                    }
                    Err(failure) => {
                        self.log_state = LogState::Failed;
                        outside.fail(&failure);
                        return false;
                    }
                }
            }
            if !has_committed {
                return true;
            }
            if let Some(shard) = &mut self.shard
                && shard.has_committed()
                && !self.reads_long
            {
                outside.write_keyspace(|keyspace| shard.apply(keyspace, effects));
            }
        }
    }

    /// Answers the reads that may be answered.
    fn read(&mut self, outside: &mut impl Outside, out: &mut Outputs) {
        let Some(shard) = &mut self.shard else { return };
        let effects = &mut self.effects;
        // Not the turn's time: the lease is looked at now, and again when they have run.
        let now = outside.now();
        let random = outside.draw();
        let short_bytes = self.config.short_read_bytes;
        // What was committed while others ran was applied before the next ones run.
        let may_begin = !self.reads_long;
        outside.read_keyspace(|keyspace| {
            shard.answer_reads(now, keyspace, random, short_bytes, effects);
            if may_begin {
                out.long_reads = shard.take_long_reads(keyspace, random);
            }
        });
        self.reads_long |= out.long_reads.is_some();
        shard.confirm_reads(outside.now().monotonic, effects);
        let mut unsettled = shard.take_unsettled();
        if unsettled.is_empty() && !shard.wants_stamp() {
            return;
        }
        if self.log_state == LogState::Takes && outside.has_room(0) {
            shard.propose(now, random, unsettled, effects);
        } else {
            unsettled.append(&mut shard.take_unstamped());
            Shard::refuse(unsettled, Refusal::DiskFull, effects);
        }
    }

    /// Empties the effects.
    fn hand_out(&mut self, clock: &mut TurnClock, outside: &mut impl Outside, out: &mut Outputs) {
        let shard = self.config.shard;
        for (to, message) in self.effects.messages.drain(..) {
            out.outbox.put_raft(to, shard, &message);
        }
        if !self.effects.responses.is_empty() {
            let mut responses = std::mem::take(&mut self.effects.responses);
            for response in responses.drain(..) {
                if is_guest(response.ticket) {
                    self.answer_guest(&response, out);
                } else {
                    self.answer(response, clock, outside, out);
                }
            }
            self.effects.responses = responses;
        }
        out.discarded.append(&mut self.effects.discarded);
        let replaced = self.effects.replaced.take();
        out.replaced.extend(replaced.map(|replaced| *replaced));
        out.changes.append(&mut self.effects.changes);
        self.hand_out_notices(out);
        out.wants_snapshot = false;
        out.fetch = None;
        if let Some(shard) = &self.shard {
            out.wants_snapshot = shard.wants_snapshot();
            out.fetch = shard
                .incoming()
                .map(|incoming| Wanted::new(shard, incoming));
            if std::mem::take(&mut self.effects.map_changed) {
                out.map = shard.map().cloned();
            }
        }
    }

    fn hand_out_notices(&mut self, out: &mut Outputs) {
        if self.effects.notices.is_empty() {
            return;
        }
        out.notices.append(&mut self.effects.notices);
        out.noticed_by.clear();
        if let Some(shard) = self.shard.as_ref().filter(|shard| shard.is_leader()) {
            let members = shard.membership().members().iter();
            out.noticed_by.extend(members.map(|member| member.node));
        }
    }

    /// The replica is done with a request of a session here.
    fn answer(
        &mut self,
        mut response: Response,
        clock: &mut TurnClock,
        outside: &mut impl Outside,
        out: &mut Outputs,
    ) {
        let is_certain = matches!(response.outcome, Err(Refusal::NotLeader { .. }));
        if is_certain && !response.commands.is_empty() {
            let request = Request {
                ticket: response.ticket,
                commands: response.commands,
            };
            let now = clock.now(outside).monotonic;
            self.routes.take_back(request, now);
            return;
        }
        self.routes.answered_here(response.ticket);
        response.commands.clear();
        out.responses.push(response);
    }

    /// The replica is done with a request of another node.
    fn answer_guest(&mut self, response: &Response, out: &mut Outputs) {
        let Some((node, id)) = self.guests.leave(response.ticket) else {
            return;
        };
        let leader = self.routes.leader();
        let outcome = match &response.outcome {
            // What is known now may be more than what was known then.
            Err(Refusal::NotLeader { .. }) => &Err(Refusal::NotLeader { leader }),
            outcome => outcome,
        };
        let shard = self.config.shard;
        out.outbox.put_forwarded(node, shard, id, outcome);
    }
}
