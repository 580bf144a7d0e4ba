//! What was proposed here and is not applied yet.

use std::collections::VecDeque;
use std::time::Duration;

use crate::effects::Effects;
use crate::request::{Refusal, Request, Response, Ticket};

/// Who waits for an entry.
#[derive(Debug)]
pub(crate) enum Waiting {
    Requests(Vec<Request>),
    Change(Ticket),
}

impl Waiting {
    /// Answers them with a refusal.
    pub(crate) fn refuse(self, refusal: Refusal, effects: &mut Effects) {
        match self {
            Waiting::Change(ticket) => effects.changes.push((ticket, Err(refusal))),
            Waiting::Requests(requests) => {
                effects
                    .responses
                    .extend(requests.into_iter().map(|request| {
                        let mut commands = request.commands;
                        commands.clear();
                        Response {
                            ticket: request.ticket,
                            outcome: Err(refusal),
                            commands,
                        }
                    }));
            }
        }
    }
}

#[derive(Debug)]
struct Proposed {
    index: u64,
    term: u64,
    bytes: usize,
    waiting: Waiting,
}

/// The entries that were proposed here and who waits for them, oldest first.
#[derive(Debug, Default)]
pub(crate) struct InFlight {
    proposed: VecDeque<Proposed>,
    bytes: usize,
    /// Since when this replica does not lead, while anybody waits.
    leaderless_since: Option<Duration>,
}

impl InFlight {
    pub(crate) fn push(&mut self, index: u64, term: u64, bytes: usize, waiting: Waiting) {
        self.bytes += bytes;
        self.proposed.push_back(Proposed {
            index,
            term,
            bytes,
            waiting,
        });
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.proposed.is_empty()
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Who made that entry, if it was proposed here. Those whose entry another leader's has replaced are
    /// refused: it is certain then that theirs is void.
    pub(crate) fn take(&mut self, index: u64, term: u64, effects: &mut Effects) -> Option<Waiting> {
        while let Some(first) = self.pop_upto(index) {
            if first.index == index && first.term == term {
                return Some(first.waiting);
            }
            first
                .waiting
                .refuse(Refusal::NotLeader { leader: None }, effects);
        }
        None
    }

    /// A snapshot has passed that entry: what became of those up to it cannot be told.
    pub(crate) fn skip(&mut self, index: u64, effects: &mut Effects) {
        while let Some(first) = self.pop_upto(index) {
            first.waiting.refuse(Refusal::Uncertain, effects);
        }
    }

    /// Time has passed. Where this replica does not lead and has not learnt within `patience` what
    /// became of its entries, those who wait are told that it is uncertain.
    pub(crate) fn tick(
        &mut self,
        now: Duration,
        leads: bool,
        patience: Duration,
        effects: &mut Effects,
    ) {
        if leads || self.proposed.is_empty() {
            self.leaderless_since = None;
            return;
        }
        let since = *self.leaderless_since.get_or_insert(now);
        if now.saturating_sub(since) >= patience {
            self.skip(u64::MAX, effects);
            self.leaderless_since = None;
        }
    }

    fn pop_upto(&mut self, index: u64) -> Option<Proposed> {
        let first = self.proposed.pop_front_if(|first| first.index <= index)?;
        self.bytes -= first.bytes;
        Some(first)
    }
}
