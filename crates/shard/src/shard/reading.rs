//! Reads that a leader answers.

use std::time::Duration;

use base::Timestamp;
use keyspace::Keyspace;
use raft::ReadState;

use super::{Shard, is_sole_voter};
use crate::apply::{hang_on_clock, read_all};
use crate::effects::Effects;
use crate::request::{Request, Response};

impl Shard {
    /// Reads of the keyspace are linearizable while the monotonic clock shows less than this; it is to be
    /// looked at after they have run as well. Zero where they never are, [`Duration::MAX`] where they
    /// always are.
    pub fn lease_until(&self) -> Duration {
        if !self.is_leader() || self.applied_term != self.term() {
            Duration::ZERO
        } else if is_sole_voter(self.membership(), self.config.replica) {
            Duration::MAX
        } else if !self.config.lease || self.offered_in == self.term() {
            Duration::ZERO
        } else {
            self.reads.lease_until()
        }
    }

    /// Takes requests that only read. [`Shard::answer_reads`] answers them as soon as it may.
    pub fn read(&mut self, mut requests: Vec<Request>, effects: &mut Effects) {
        if self.is_leader() {
            self.reads.fresh.append(&mut requests);
        } else {
            Self::refuse(requests, self.not_leader(), effects);
        }
    }

    /// Whether reads wait here.
    pub fn has_reads(&self) -> bool {
        !self.reads.is_empty()
    }

    /// Runs the reads that may run, and asks a majority on behalf of the others;
    /// [`Shard::advance`] is to be called after it. `wall` is the time by which expiry is judged, at
    /// least that of the last entry.
    ///
    /// Those that ran under the lease are kept until [`Shard::confirm_reads`], those that hang on whose clock
    /// judges expiry until [`Shard::take_unsettled`].
    pub fn answer_reads(
        &mut self,
        now: Duration,
        keyspace: &Keyspace,
        wall: Timestamp,
        random: u64,
        effects: &mut Effects,
    ) {
        self.now = now;
        let wall = wall.max(keyspace.stamp());
        let is_settled = keyspace.next_expiry().is_none_or(|next| next > wall);
        let may_run =
            |request: &Request| is_settled || !hang_on_clock(&request.commands, keyspace, wall);
        while let Some(requests) = self.reads.next_confirmed(self.applied) {
            for request in requests {
                if !may_run(&request) {
                    self.reads.unsettled.push(request);
                    continue;
                }
                let replies = read_all(&request.commands, keyspace, wall, random);
                effects.responses.push(answered(request, replies));
            }
        }
        if self.reads.fresh.is_empty() {
            return;
        }
        if now < self.lease_until() {
            for request in std::mem::take(&mut self.reads.fresh) {
                if !may_run(&request) {
                    self.reads.unsettled.push(request);
                    continue;
                }
                let replies = read_all(&request.commands, keyspace, wall, random);
                self.reads.unconfirmed.push((request, replies));
            }
        } else {
            self.ask();
        }
    }

    /// The reads that look at keys of which no stamp has said whether they have expired by the time of
    /// [`Shard::answer_reads`]. They are to be proposed at that time, and run when their entry is applied.
    pub fn take_unsettled(&mut self) -> Vec<Request> {
        std::mem::take(&mut self.reads.unsettled)
    }

    /// Hands out what was read under the lease if that holds still, at a time that was read from the clock
    /// after [`Shard::answer_reads`] returned. Otherwise a majority is asked.
    pub fn confirm_reads(&mut self, now: Duration, effects: &mut Effects) {
        self.now = now;
        if self.reads.unconfirmed.is_empty() {
            return;
        }
        let unconfirmed = std::mem::take(&mut self.reads.unconfirmed);
        if now < self.lease_until() {
            let answers = unconfirmed.into_iter();
            effects
                .responses
                .extend(answers.map(|(request, replies)| answered(request, replies)));
        } else {
            let requests = unconfirmed.into_iter().map(|(request, _)| request);
            self.reads.fresh.extend(requests);
            self.ask();
        }
    }

    /// Asks a majority on behalf of the fresh reads. Before its first entry is applied a leader does not
    /// know what is committed; they wait for the next heartbeat then.
    fn ask(&mut self) {
        if self.applied_term == self.term() {
            let round = self.round();
            self.reads.wait_for(round);
        }
    }

    /// With each heartbeat a round begins, for the lease and for reads that wait.
    pub(super) fn begin_round(&mut self) {
        if self.is_leader()
            && self.applied_term == self.term()
            && !is_sole_voter(self.membership(), self.config.replica)
            && (self.config.lease || !self.reads.fresh.is_empty())
        {
            let round = self.round();
            self.reads.wait_for(round);
        }
    }

    fn round(&mut self) -> u64 {
        let round = self.reads.begin(self.now);
        self.raft.read_index(round.to_le_bytes().to_vec());
        round
    }

    pub(super) fn round_answered(&mut self, state: &ReadState) {
        if let Ok(round) = state.request_ctx.as_slice().try_into() {
            let election = self.config.election;
            self.reads
                .answered(u64::from_le_bytes(round), state.index, election);
        }
    }
}

fn answered(request: Request, replies: Vec<commands::Reply<'static>>) -> Response {
    let mut commands = request.commands;
    commands.clear();
    Response {
        ticket: request.ticket,
        outcome: Ok(replies),
        commands,
    }
}
