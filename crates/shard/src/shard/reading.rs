//! Reads that a leader answers.

use std::time::Duration;

use base::{Moment, Timestamp};
use keyspace::Keyspace;
use raft::ReadState;

use super::{Shard, is_sole_voter};
use crate::apply::{hang_on_clock, read_all};
use crate::effects::Effects;
use crate::long::{LongReads, LongReadsDone};
use crate::reads::Reads;
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
    /// [`Shard::advance`] is to be called after it. Expiry is judged by the time of `now`, or that of the
    /// last entry if it is later.
    ///
    /// Those that ran under the lease are kept until [`Shard::confirm_reads`], those that may look at more than
    /// `short_bytes`, all in all, until [`Shard::take_long_reads`], those that hang on whose clock judges expiry until
    /// [`Shard::take_unsettled`].
    pub fn answer_reads(
        &mut self,
        now: Moment,
        keyspace: &Keyspace,
        random: u64,
        short_bytes: usize,
        effects: &mut Effects,
    ) {
        self.now = now.monotonic;
        let wall = now.wall.max(keyspace.stamp());
        let is_settled = keyspace.next_expiry().is_none_or(|next| next > wall);
        // All that is read in one turn is to be short.
        let mut short_bytes = short_bytes;
        let mut run = |request: Request, reads: &mut Reads| {
            match read_all(&request.commands, keyspace, wall, random, &mut short_bytes) {
                None => reads.long.push((request, wall)),
                Some(_) if !is_settled && hang_on_clock(&request.commands, keyspace, wall) => {
                    reads.unsettled.push(request);
                }
                Some(replies) => return Some((request, replies)),
            }
            None
        };
        while let Some(requests) = self.reads.next_confirmed(self.applied) {
            for request in requests {
                if let Some((request, replies)) = run(request, &mut self.reads) {
                    effects.responses.push(answered(request, replies));
                }
            }
        }
        if self.reads.fresh.is_empty() {
            return;
        }
        if now.monotonic < self.lease_until() {
            for request in std::mem::take(&mut self.reads.fresh) {
                let answer = run(request, &mut self.reads);
                self.reads.unconfirmed.extend(answer);
            }
        } else {
            self.ask();
        }
    }

    /// The reads that take long and may run now, wherever that is, if there are some. Until they are done
    /// ([`Shard::long_reads_done`]) the keyspace must stay as it is: nothing may be applied.
    ///
    /// Those stay for which the last entry is too old to judge expiry ([`Shard::wants_stamp`]).
    pub fn take_long_reads(&mut self, keyspace: &Keyspace, random: u64) -> Option<LongReads> {
        if self.reads.long.is_empty() {
            return None;
        }
        let stamp = keyspace.stamp();
        let is_settled = |(request, wall): &mut (Request, Timestamp)| {
            *wall <= stamp || !hang_on_clock(&request.commands, keyspace, *wall)
        };
        let requests: Vec<_> = self.reads.long.extract_if(.., is_settled).collect();
        (!requests.is_empty()).then(|| LongReads::new(requests, self.term(), random))
    }

    /// Whether long reads wait for an entry with a later stamp than the last that was proposed.
    pub fn wants_stamp(&self) -> bool {
        let mut long = self.reads.long.iter();
        long.any(|(_, wall)| *wall > self.stamp)
    }

    /// Gives back the long reads that do.
    pub fn take_unstamped(&mut self) -> Vec<Request> {
        let stamp = self.stamp;
        let unstamped = self.reads.long.extract_if(.., |(_, wall)| *wall > stamp);
        unstamped.map(|(request, _)| request).collect()
    }

    /// Hands out what long reads gave. This replica led when they were taken and had been confirmed to, after
    /// they had come: all that was acknowledged before they came was applied. As long as it leads in that term its
    /// state only goes on from there, so what they saw is right at whatever time they ran.
    pub fn long_reads_done(&mut self, done: LongReadsDone, effects: &mut Effects) {
        if self.is_leader() && self.term() == done.term {
            let answers = done.answers.into_iter();
            effects
                .responses
                .extend(answers.map(|(request, replies)| answered(request, replies)));
        } else {
            let requests = done.answers.into_iter().map(|(request, _)| request);
            Self::refuse(requests.collect(), self.not_leader(), effects);
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
