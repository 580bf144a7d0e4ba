//! Counters of one core. Each has one writer, so that counting costs next to nothing.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

/// What one core has counted since the start.
#[derive(Debug, Default)]
pub(crate) struct Stats {
    commands: AtomicU64,
    connections: AtomicU64,
    rejected: AtomicU64,
    input_bytes: AtomicU64,
    output_bytes: AtomicU64,
    /// By the first word of the error; there are only as many as the code knows.
    errors: Mutex<BTreeMap<String, u64>>,
}

impl Stats {
    /// So many commands were taken, of that many bytes.
    pub(crate) fn note_commands(&self, count: u64, bytes: usize) {
        add(&self.commands, count);
        add(&self.input_bytes, bytes as u64);
    }

    /// Replies of that many bytes were sent.
    pub(crate) fn note_output(&self, bytes: usize) {
        add(&self.output_bytes, bytes as u64);
    }

    /// A command got this error.
    #[cold]
    pub(crate) fn note_error(&self, text: &str) {
        let prefix = text.split(' ').next().unwrap_or_default();
        let mut errors = self.errors.lock().unwrap_or_else(PoisonError::into_inner);
        match errors.get_mut(prefix) {
            Some(count) => *count += 1,
            None => {
                errors.insert(prefix.to_owned(), 1);
            }
        }
    }

    /// A connection was accepted.
    pub(crate) fn note_connection(&self) {
        add(&self.connections, 1);
    }

    /// A connection was turned away.
    pub(crate) fn note_rejected(&self) {
        add(&self.rejected, 1);
    }
}

/// Only the core's own thread writes, so no read-modify-write is needed.
fn add(counter: &AtomicU64, count: u64) {
    counter.store(counter.load(Ordering::Relaxed) + count, Ordering::Relaxed);
}

/// What several cores have counted together.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Totals {
    pub(crate) commands: u64,
    pub(crate) connections: u64,
    pub(crate) rejected: u64,
    pub(crate) input_bytes: u64,
    pub(crate) output_bytes: u64,
    pub(crate) errors: BTreeMap<String, u64>,
}

impl Totals {
    /// The sum over all cores.
    pub(crate) fn of<'s>(cores: impl IntoIterator<Item = &'s Stats>) -> Totals {
        let mut totals = Totals::default();
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        for stats in cores {
            totals.commands += read(&stats.commands);
            totals.connections += read(&stats.connections);
            totals.rejected += read(&stats.rejected);
            totals.input_bytes += read(&stats.input_bytes);
            totals.output_bytes += read(&stats.output_bytes);
            let errors = stats.errors.lock().unwrap_or_else(PoisonError::into_inner);
            for (prefix, count) in errors.iter() {
                *totals.errors.entry(prefix.clone()).or_default() += count;
            }
        }
        totals
    }

    /// What was added since an earlier time. Counters only grow, so nothing falls below zero.
    pub(crate) fn since(mut self, earlier: &Totals) -> Totals {
        self.commands -= earlier.commands;
        self.connections -= earlier.connections;
        self.rejected -= earlier.rejected;
        self.input_bytes -= earlier.input_bytes;
        self.output_bytes -= earlier.output_bytes;
        for (prefix, count) in &earlier.errors {
            if let Some(total) = self.errors.get_mut(prefix) {
                *total -= count;
            }
        }
        self.errors.retain(|_, count| *count > 0);
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn totals_are_the_sum_of_the_cores_since_the_reset() {
        let cores = [Stats::default(), Stats::default()];
        cores[0].note_commands(3, 100);
        cores[0].note_error("WRONGTYPE Operation against a key");
        let reset = Totals::of(&cores);
        cores[0].note_commands(1, 10);
        cores[1].note_commands(2, 20);
        cores[1].note_error("ERR syntax error");
        cores[0].note_error("ERR");
        let totals = Totals::of(&cores).since(&reset);
        assert_eq!((totals.commands, totals.input_bytes), (3, 30));
        assert_eq!(totals.errors, BTreeMap::from([("ERR".to_owned(), 2)]));
    }
}
