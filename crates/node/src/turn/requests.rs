//! Which requests are proposed or read now, which ones wait, and which ones are refused.

use std::time::Duration;

use shard::{Refusal, Request, Shard};

use super::guests::is_guest;
use super::outside::TurnClock;
use super::routes::refused;
use super::{LogState, Outputs, Outside, Turn};

/// Requests are put into one entry until it is this large.
const ENTRY_BYTES: usize = 16 << 20;

/// Requests are proposed until those that wait for their entries take this much.
const IN_FLIGHT_BYTES: usize = 64 << 20;

/// While an entry is on its way to other replicas and back, writes gather for the next one, at most so long:
/// what an entry costs all replicas in messages and syncs is shared by all that it holds.
const GATHERING: Duration = Duration::from_millis(2);

impl Turn {
    /// Whether these are writes, and writes wait for a replica that is being filled.
    pub(super) fn holds(&self, requests: &[Request]) -> bool {
        let shard = self.shard.as_ref();
        shard.is_some_and(Shard::holds_writes)
            && requests.iter().all(|request| request.commands.has_writes())
    }

    /// Whether requests cannot be dealt with now, though later.
    pub(super) fn must_wait(&mut self, clock: &mut TurnClock, outside: &mut impl Outside) -> bool {
        let Some(shard) = &self.shard else {
            return false;
        };
        if self.hand_over.is_under_way() {
            let now = clock.now(outside).monotonic;
            if self.hand_over.holds_requests(shard, now) {
                return true;
            }
        }
        shard.is_leader()
            && ((outside.is_congested() && !outside.is_full())
                || shard.in_flight_bytes() > IN_FLIGHT_BYTES)
    }

    /// Whether writes wait for others to share an entry with: they are less than what is on its way. A turn
    /// comes when that is committed, or in time ([`Outputs::next_turn`]).
    pub(super) fn gathers(
        &self,
        writes: &[Request],
        clock: &mut TurnClock,
        outside: &mut impl Outside,
    ) -> bool {
        let Some(shard) = &self.shard else {
            return false;
        };
        let sizes = writes.iter().map(|request| request.commands.size_bytes());
        shard.is_leader()
            && shard.awaits_others()
            && sizes.sum::<usize>() < shard.in_flight_bytes().min(self.config.forward_limit_bytes)
            && clock.now(outside).monotonic < self.gathers_until()
    }

    pub(super) fn gathers_until(&self) -> Duration {
        self.proposed_at + GATHERING
    }

    pub(super) fn take_requests(
        &mut self,
        requests: &mut Vec<Request>,
        clock: &mut TurnClock,
        outside: &mut impl Outside,
        out: &mut Outputs,
    ) {
        if self.must_wait(clock, outside) {
            self.refuse_excess(requests, out);
            return;
        }
        if !self.shard.as_ref().is_some_and(Shard::holds_writes) {
            self.held = None;
        }
        match &mut self.shard {
            Some(shard) if shard.holds_writes() => {
                let reading = |request: &mut Request| !request.commands.has_writes();
                let reads = requests.extract_if(.., reading).collect();
                shard.read(reads, &mut self.effects);
                self.hold(requests, clock, outside, out);
            }
            Some(shard) if shard.is_leader() => {
                let (mut size, mut all_write) = (0, true);
                let fitting = requests.iter().take_while(|request| {
                    let fits = size < ENTRY_BYTES;
                    if fits {
                        size += request.commands.size_bytes();
                        all_write &= request.commands.has_writes();
                    }
                    fits
                });
                let fitting = fitting.count();
                let rest = match fitting == requests.len() {
                    true => Vec::new(),
                    false => requests.split_off(fitting),
                };
                let mut writes = std::mem::replace(requests, rest);
                if !all_write {
                    let writing = |request: &mut Request| !request.commands.has_writes();
                    let reads = writes.extract_if(.., writing).collect();
                    shard.read(reads, &mut self.effects);
                    if writes.is_empty() {
                        return;
                    }
                }
                if requests.is_empty() && self.gathers(&writes, clock, outside) {
                    *requests = writes;
                    return;
                }
                let Some(shard) = &mut self.shard else { return };
                if self.log_state == LogState::Takes && outside.has_room(size) {
                    let now = clock.now(outside);
                    self.proposed_at = now.monotonic;
                    shard.propose(now, outside.draw(), writes, &mut self.effects);
                } else {
                    Shard::refuse(writes, Refusal::DiskFull, &mut self.effects);
                }
            }
            _ => {
                let now = clock.now(outside).monotonic;
                for request in requests.drain(..) {
                    if is_guest(request.ticket) {
                        let leader = self.routes.leader();
                        let refusal = Refusal::NotLeader { leader };
                        self.effects.responses.push(refused(request, refusal));
                    } else {
                        self.routes.add(request, now, &mut out.responses);
                    }
                }
            }
        }
    }

    /// Writes wait for a replica that is being filled. Nobody waits for that longer than for a leader: those that
    /// have waited for between half of the patience and all of it are refused while that is certain.
    fn hold(
        &mut self,
        writes: &mut Vec<Request>,
        clock: &mut TurnClock,
        outside: &mut impl Outside,
        out: &mut Outputs,
    ) {
        self.refuse_excess(writes, out);
        let now = clock.now(outside).monotonic;
        let (since, waited) = *self.held.get_or_insert((now, writes.len()));
        if now.saturating_sub(since) >= self.config.patience / 2 {
            let waited = waited.min(writes.len());
            self.refuse_busy(writes.drain(..waited), out);
            self.held = Some((now, writes.len()));
        }
    }

    /// What waits here takes no more than so much either.
    fn refuse_excess(&mut self, requests: &mut Vec<Request>, out: &mut Outputs) {
        let limit = 2 * self.config.forward_limit_bytes;
        let mut size = 0;
        let fitting = requests.iter().take_while(|request| {
            let fits = size <= limit;
            size += request.commands.size_bytes();
            fits
        });
        let fitting = fitting.count();
        self.refuse_busy(requests.drain(fitting..), out);
    }

    fn refuse_busy(&mut self, requests: impl Iterator<Item = Request>, out: &mut Outputs) {
        for request in requests {
            let response = refused(request, Refusal::Busy);
            if is_guest(response.ticket) {
                self.answer_guest(&response, out);
            } else {
                self.routes.answered_here(response.ticket);
                out.responses.push(response);
            }
        }
    }
}
