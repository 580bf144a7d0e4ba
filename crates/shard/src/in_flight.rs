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
                        // What only reads has no effect, whatever becomes of its entry.
                        let refusal = match refusal {
                            Refusal::Uncertain if !commands.has_writes() => {
                                Refusal::NotLeader { leader: None }
                            }
                            refusal => refusal,
                        };
                        if !matches!(refusal, Refusal::NotLeader { .. }) {
                            commands.clear();
                        }
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

/// The entries that were proposed here and who waits for them, in the order in which they were: their
/// terms never descend. Their indexes may, where another leader's entries have replaced some in between.
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

    /// Who made that entry, if it was proposed here. It is committed, so entries of earlier terms at its
    /// index or behind it are void for certain: in no log do terms descend. Those who wait for them are
    /// refused.
    pub(crate) fn take(&mut self, index: u64, term: u64, effects: &mut Effects) -> Option<Waiting> {
        let is_decided = |first: &mut Proposed| first.index <= index || first.term < term;
        while let Some(first) = self.proposed.pop_front_if(is_decided) {
            self.bytes -= first.bytes;
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
        for proposed in std::mem::take(&mut self.proposed) {
            if proposed.index <= index {
                self.bytes -= proposed.bytes;
                proposed.waiting.refuse(Refusal::Uncertain, effects);
            } else {
                self.proposed.push_back(proposed);
            }
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
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Commands;

    /// Who waits for which entry; the ticket is 100 times the term and the index.
    fn in_flight(entries: &[(u64, u64)]) -> InFlight {
        let mut in_flight = InFlight::default();
        for &(term, index) in entries {
            let mut commands = Commands::default();
            let incr = commands::by_name(b"incr").unwrap();
            commands.push(incr, base::Db::default(), &[b"incr", b"n"]);
            let request = Request {
                ticket: Ticket(100 * term + index),
                commands,
            };
            in_flight.push(index, term, 1, Waiting::Requests(vec![request]));
        }
        in_flight
    }

    fn taken(in_flight: &mut InFlight, term: u64, index: u64) -> (Option<u64>, Vec<u64>) {
        let mut effects = Effects::default();
        let taken = match in_flight.take(index, term, &mut effects) {
            Some(Waiting::Requests(requests)) => Some(requests[0].ticket.0),
            _ => None,
        };
        let refused = effects.responses.iter().inspect(|response| {
            assert_eq!(response.outcome, Err(Refusal::NotLeader { leader: None }));
        });
        (taken, refused.map(|response| response.ticket.0).collect())
    }

    #[test]
    fn each_entry_has_its_own() {
        let mut in_flight = in_flight(&[(2, 4), (2, 5)]);
        assert_eq!(taken(&mut in_flight, 2, 3), (None, vec![]));
        assert_eq!(taken(&mut in_flight, 2, 4), (Some(204), vec![]));
        assert_eq!(taken(&mut in_flight, 2, 5), (Some(205), vec![]));
        assert!(in_flight.is_empty() && in_flight.bytes() == 0);
    }

    #[test]
    fn a_later_term_voids_what_would_come_behind_it() {
        // Led in term 2, lost to the leader of term 3, and led again in term 4.
        let mut in_flight = in_flight(&[(2, 4), (2, 5), (2, 6), (2, 7), (4, 6), (4, 7)]);
        assert_eq!(
            taken(&mut in_flight, 3, 4),
            (None, vec![204, 205, 206, 207])
        );
        assert_eq!(taken(&mut in_flight, 4, 5), (None, vec![]));
        assert_eq!(taken(&mut in_flight, 4, 6), (Some(406), vec![]));
        assert_eq!(taken(&mut in_flight, 4, 7), (Some(407), vec![]));
        assert_eq!(in_flight.bytes(), 0);
    }

    #[test]
    fn what_a_snapshot_has_passed_is_uncertain_wherever_it_stands() {
        let mut in_flight = in_flight(&[(2, 7), (4, 6)]);
        let mut effects = Effects::default();
        in_flight.skip(6, &mut effects);
        let told = effects.responses.iter();
        let told: Vec<_> = told
            .map(|response| (response.ticket.0, response.outcome.clone()))
            .collect();
        assert_eq!(told, [(406, Err(Refusal::Uncertain))]);
        assert_eq!(taken(&mut in_flight, 5, 7), (None, vec![207]));
    }
}
