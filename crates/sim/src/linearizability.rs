//! Whether what clients were told can have come from one copy that does one thing at a time.
//!
//! The search of Wing and Gong, with Lowe's memory of states that were tried (Testing for
//! linearizability, 2016); each key is judged by itself, for linearizability is a property of single
//! objects (Herlihy and Wing, 1990). An operation whose outcome is unknown may take effect at any time
//! after its call or never.

use std::collections::BTreeSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use crate::chance::Chance;
use crate::history::{Call, Outcome};
use crate::op::{Answer, Op};
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
pub const STATES_LIMIT: usize = 200_000;

/// Which operations have taken effect, as the exclusive or of a random number for each (Zobrist): two
/// sets that are told apart by nothing else are the same for all that matters here.
type Done = u128;

struct Search<'h> {
    /// In the order of their calls.
    calls: Vec<&'h Call>,
    clock_error: Duration,
    /// The random numbers.
    marks: Vec<Done>,
    /// What was done and the state after it, as fingerprints.
    tried: BTreeSet<(Done, u64)>,
    done: Done,
    /// Those that are not done, as a list in the order of their calls: the one behind each, and the one
    /// before it. The head of the list is the number of calls.
    behind: Vec<usize>,
    before: Vec<usize>,
    /// How many of those with a known outcome are not done.
    open: usize,
    least_open: usize,
}

/// A choice of the search: what was put next, and what can be tried in its place.
struct Choice {
    /// What may come next, last first.
    rest: Vec<(usize, Register)>,
    /// What was put.
    put: Option<usize>,
}

/// Judges the operations on one key. See [`Register::after`] for `clock_error`.
///
/// What has no answer may have happened or not, at any later time, and each such call doubles what there is to try.
/// Most of them never happened, or nobody saw what they did: so an explanation is looked for without those whose
/// value nobody was shown, and only then among all. That is right whichever were left out.
pub fn check(calls: &[&Call], clock_error: Duration) -> Verdict {
    let seen = calls.iter().filter(|call| match call.op.value() {
        Some(value) if call.returned().is_none() => is_shown(value, calls),
        _ => true,
    });
    let seen: Vec<&Call> = seen.copied().collect();
    if seen.len() < calls.len() && search(&seen, clock_error) == Verdict::Linearizable {
        return Verdict::Linearizable;
    }
    search(calls, clock_error)
}

/// Whether an answer may show that value, or a number that was counted up from it.
fn is_shown(value: u64, calls: &[&Call]) -> bool {
    const COUNTED: u64 = 4;
    let digits = value.to_string();
    calls.iter().any(|call| match &call.outcome {
        Outcome::Answered(_, Answer::Value(text)) => {
            let text = String::from_utf8_lossy(text);
            let number = text.parse().ok();
            text.contains(&digits)
                || number.is_some_and(|number: u64| number.wrapping_sub(value) < COUNTED)
        }
        Outcome::Answered(_, Answer::Number(number)) => {
            u64::try_from(*number).is_ok_and(|number| number.wrapping_sub(value) < COUNTED)
        }
        _ => false,
    })
}

fn search(calls: &[&Call], clock_error: Duration) -> Verdict {
    let mut calls = calls.to_vec();
    calls.sort_by_key(|call| call.called);
    let known = calls
        .iter()
        .filter(|call| call.returned().is_some())
        .count();
    let (mut chance, count) = (Chance::new(1), calls.len());
    let mut mark = || (u128::from(chance.draw()) << 64) | u128::from(chance.draw());
    let mut search = Search {
        marks: (0..count).map(|_| mark()).collect(),
        behind: (0..=count).map(|at| (at + 1) % (count + 1)).collect(),
        before: (0..=count).map(|at| (at + count) % (count + 1)).collect(),
        calls,
        clock_error,
        tried: BTreeSet::new(),
        done: 0,
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
        let rest = self.next(&Register::default());
        let mut path = vec![Choice { rest, put: None }];
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
            self.put(number);
            if !self.tried.insert((self.done, fingerprint(&after))) {
                continue;
            }
            if self.tried.len() > STATES_LIMIT {
                return None;
            }
            let rest = self.next(&after);
            path.push(Choice { rest, put: None });
        }
        Some(true)
    }

    fn put(&mut self, number: usize) {
        self.done ^= self.marks[number];
        let (before, behind) = (self.before[number], self.behind[number]);
        self.behind[before] = behind;
        self.before[behind] = before;
        if self.calls[number].returned().is_some() {
            self.open -= 1;
            self.least_open = self.least_open.min(self.open);
        }
    }

    /// What was put last comes back first, so that the list is as it was.
    fn take_back(&mut self, number: usize) {
        self.done ^= self.marks[number];
        let (before, behind) = (self.before[number], self.behind[number]);
        self.behind[before] = number;
        self.before[behind] = number;
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
        let mut number = self.behind[self.calls.len()];
        while let Some(call) = self.calls.get(number) {
            if call.called > first_return {
                break;
            }
            match call.returned() {
                Some(returned) => {
                    first_return = first_return.min(returned);
                    candidates.push(number);
                }
                // Of several that would do the same, the first can stand for all: it may come earliest.
                None if unknown.insert(call.op) => candidates.push(number),
                None => {}
            }
            number = self.behind[number];
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

/// A number that tells states apart, but for a chance of one in billions.
fn fingerprint(state: &Register) -> u64 {
    let mut hasher = DefaultHasher::new();
    state.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests;
