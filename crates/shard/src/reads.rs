//! Linearizable reads: by lease, and by asking a majority.
//!
//! A *round* asks the followers whether this replica still leads; Raft's ReadIndex carries it with the
//! heartbeats. Once a majority has answered, two things are known:
//! - no other leader could have been elected for an election timeout after the round began, since
//!   those who answered refuse their votes for so long ([`crate::election`]). That is the lease. It begins
//!   when the round was sent, and is shorter than the election timeout by what clocks may differ.
//! - reads that waited for the round see all that was acknowledged before they came, once what was
//!   committed when it began is applied.
//!
//! A leader that has asked another to take over has no lease for the rest of its term: the other is
//! elected without regard to it, maybe much later, when the message arrives at last.

use std::collections::VecDeque;
use std::time::Duration;

use base::Timestamp;
use commands::Reply;

use crate::request::Request;

/// The lease is this part of the election timeout: a follower's clock may run half as fast again as the
/// leader's.
const LEASE_PARTS: (u32, u32) = (3, 5);

#[derive(Debug, Default)]
pub(crate) struct Reads {
    /// Of the last round that began; they are counted over all terms.
    round: u64,
    /// Rounds that have no answer yet, and when they began; oldest first.
    asked: VecDeque<(u64, Duration)>,
    lease_until: Duration,
    /// Nothing was asked on their behalf yet.
    pub(crate) fresh: Vec<Request>,
    /// Those that wait for the answers to a round.
    waiting: VecDeque<(u64, Vec<Request>)>,
    /// Those that wait until that entry is applied.
    confirmed: VecDeque<(u64, Vec<Request>)>,
    /// Those that ran under the lease, which is yet to be looked at once more.
    pub(crate) unconfirmed: Vec<(Request, Vec<Reply<'static>>)>,
    /// Those that may run but for keys of which only an entry can say whether they have expired.
    pub(crate) unsettled: Vec<Request>,
    /// Those that may run, and take so long that this is to happen elsewhere, with the time by which they are to
    /// judge expiry at least.
    pub(crate) long: Vec<(Request, Timestamp)>,
}

impl Reads {
    /// Begins a round; its number.
    pub(crate) fn begin(&mut self, now: Duration) -> u64 {
        self.round += 1;
        self.asked.push_back((self.round, now));
        self.round
    }

    /// The fresh ones wait for that round.
    pub(crate) fn wait_for(&mut self, round: u64) {
        if !self.fresh.is_empty() {
            let fresh = std::mem::take(&mut self.fresh);
            self.waiting.push_back((round, fresh));
        }
    }

    /// A majority has answered a round; the entry was committed when it began.
    pub(crate) fn answered(&mut self, round: u64, index: u64, election: Duration) {
        while let Some(&(asked, began)) = self.asked.front()
            && asked <= round
        {
            self.asked.pop_front();
            if asked == round {
                let lease = began + election * LEASE_PARTS.0 / LEASE_PARTS.1;
                self.lease_until = self.lease_until.max(lease);
            }
        }
        while let Some((_, requests)) = self.waiting.pop_front_if(|(asked, _)| *asked <= round) {
            self.confirmed.push_back((index, requests));
        }
    }

    pub(crate) fn lease_until(&self) -> Duration {
        self.lease_until
    }

    /// Takes reads that may run now that so much is applied.
    pub(crate) fn next_confirmed(&mut self, applied: u64) -> Option<Vec<Request>> {
        let (_, requests) = self
            .confirmed
            .pop_front_if(|(index, _)| *index <= applied)?;
        Some(requests)
    }

    /// This replica no longer leads, or leads another term. Gives back all reads that have not run.
    pub(crate) fn reset(&mut self) -> Vec<Request> {
        self.asked.clear();
        self.lease_until = Duration::ZERO;
        let unconfirmed = self.unconfirmed.drain(..).map(|(request, _)| request);
        let mut all: Vec<Request> = unconfirmed.collect();
        all.append(&mut self.unsettled);
        all.extend(self.long.drain(..).map(|(request, _)| request));
        all.append(&mut self.fresh);
        for (_, requests) in self.confirmed.drain(..).chain(self.waiting.drain(..)) {
            all.extend(requests);
        }
        all
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.fresh.is_empty()
            && self.waiting.is_empty()
            && self.confirmed.is_empty()
            && self.unconfirmed.is_empty()
            && self.unsettled.is_empty()
            && self.long.is_empty()
    }
}
