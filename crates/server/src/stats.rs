//! Counters of one core. Each has one writer, so that counting costs next to nothing.

use std::sync::atomic::{AtomicU64, Ordering};

/// What one core has counted since the start.
#[derive(Debug, Default)]
pub(crate) struct Stats {
    commands: AtomicU64,
    errors: AtomicU64,
    connections: AtomicU64,
}

impl Stats {
    /// So many commands were taken.
    pub(crate) fn note_commands(&self, count: u64) {
        add(&self.commands, count);
    }

    /// A command got an error without reaching a shard.
    pub(crate) fn note_error(&self) {
        add(&self.errors, 1);
    }

    /// A connection was accepted.
    pub(crate) fn note_connection(&self) {
        add(&self.connections, 1);
    }

    pub(crate) fn commands(&self) -> u64 {
        self.commands.load(Ordering::Relaxed)
    }

    pub(crate) fn errors(&self) -> u64 {
        self.errors.load(Ordering::Relaxed)
    }

    pub(crate) fn connections(&self) -> u64 {
        self.connections.load(Ordering::Relaxed)
    }
}

/// Only the core's own thread writes, so no read-modify-write is needed.
fn add(counter: &AtomicU64, count: u64) {
    counter.store(counter.load(Ordering::Relaxed) + count, Ordering::Relaxed);
}
