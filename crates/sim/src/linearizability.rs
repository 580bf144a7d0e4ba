//! Whether what clients were told can have come from one copy that does one thing at a time.
//!
//! The search of Wing and Gong, with Lowe's memory of states that were tried (Testing for
//! linearizability, 2016); each key is judged by itself, for linearizability is a property of single
//! objects (Herlihy and Wing, 1990). An operation whose outcome is unknown may take effect at any time
//! after its call or never.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::history::Call;
use crate::op::Op;
use crate::register::Register;

/// What came of a search.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// There is an order that explains all answers.
    Linearizable,
    /// There is none.
    Violated {
        /// How many of the known operations could be explained at the most.
        explained: usize,
        /// Of how many.
        known: usize,
    },
    /// The search was given up after [`STATES_LIMIT`] states.
    Undecided,
}

/// How many states are tried. Histories with many operations of unknown outcome at once would take
/// exponential time; the runs are laid out so that this is rare.
pub const STATES_LIMIT: usize = 400_000;

/// Which operations have taken effect.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Done(Vec<u64>);

impl Done {
    fn has(&self, number: usize) -> bool {
        self.0[number / 64] >> (number % 64) & 1 == 1
    }

    fn toggle(&mut self, number: usize) {
        self.0[number / 64] ^= 1 << (number % 64);
    }
}

struct Search<'h> {
    /// In the order of their calls.
    calls: Vec<&'h Call>,
    clock_error: Duration,
    tried: BTreeSet<(Done, Register)>,
    done: Done,
    /// How many of those with a known outcome are not done.
    open: usize,
    least_open: usize,
}

/// A choice of the search: what was put next, and what can be tried in its place.
struct Choice {
    before: Register,
    /// What may come next, last first.
    rest: Vec<(usize, Register)>,
    /// What was put.
    put: Option<usize>,
}

/// Judges the operations on one key. See [`Register::after`] for `clock_error`.
pub fn check(calls: &[&Call], clock_error: Duration) -> Verdict {
    let mut calls = calls.to_vec();
    calls.sort_by_key(|call| call.called);
    let known = calls
        .iter()
        .filter(|call| call.returned().is_some())
        .count();
    let done = Done(vec![0; calls.len() / 64 + 1]);
    let mut search = Search {
        calls,
        clock_error,
        tried: BTreeSet::new(),
        done,
        open: known,
        least_open: known,
    };
    match search.run() {
        Some(true) => Verdict::Linearizable,
        Some(false) => Verdict::Violated {
            explained: known - search.least_open,
            known,
        },
        None => Verdict::Undecided,
    }
}

impl Search<'_> {
    fn run(&mut self) -> Option<bool> {
        let start = Register::default();
        let rest = self.next(&start);
        let mut path = vec![Choice {
            before: start,
            rest,
            put: None,
        }];
        while self.open > 0 {
            let Some(choice) = path.last_mut() else {
                return Some(false);
            };
            if let Some(put) = choice.put.take() {
                self.take_back(put);
            }
            let Some((number, after)) = choice.rest.pop() else {
                path.pop();
                continue;
            };
            choice.put = Some(number);
            debug_assert!(
                choice
                    .before
                    .after(self.calls[number], self.clock_error)
                    .contains(&after)
            );
            self.put(number);
            if !self.tried.insert((self.done.clone(), after.clone())) {
                continue;
            }
            if self.tried.len() > STATES_LIMIT {
                return None;
            }
            let rest = self.next(&after);
            path.push(Choice {
                before: after,
                rest,
                put: None,
            });
        }
        Some(true)
    }

    fn put(&mut self, number: usize) {
        self.done.toggle(number);
        if self.calls[number].returned().is_some() {
            self.open -= 1;
            self.least_open = self.least_open.min(self.open);
        }
    }

    fn take_back(&mut self, number: usize) {
        self.done.toggle(number);
        if self.calls[number].returned().is_some() {
            self.open += 1;
        }
    }

    /// What may take effect next, the most promising last: those that were called before any other of
    /// those that are open returned.
    fn next(&self, state: &Register) -> Vec<(usize, Register)> {
        let mut first_return = Duration::MAX;
        let mut candidates = Vec::new();
        let mut unknown: BTreeSet<Op> = BTreeSet::new();
        for (number, call) in self.calls.iter().enumerate() {
            if call.called > first_return {
                break;
            }
            if self.done.has(number) {
                continue;
            }
            match call.returned() {
                Some(returned) => first_return = first_return.min(returned),
                // Of several that would do the same, the first can stand for all: it may come earliest.
                None if !unknown.insert(call.op) => continue,
                None => {}
            }
            candidates.push(number);
        }
        candidates.retain(|&number| self.calls[number].called <= first_return);
        // Those that return first are tried first, unknown ones at the very end.
        candidates.sort_by_key(|&number| {
            std::cmp::Reverse(self.calls[number].returned().unwrap_or(Duration::MAX))
        });
        let mut next = Vec::new();
        for number in candidates {
            for after in state.after(self.calls[number], self.clock_error) {
                // What may have happened and changes nothing need not have happened.
                if self.calls[number].returned().is_some() || after != *state {
                    next.push((number, after));
                }
            }
        }
        next
    }
}

#[cfg(test)]
mod tests;
