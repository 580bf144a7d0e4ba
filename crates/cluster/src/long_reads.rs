//! Reads that take long, each batch on a thread of its own.
//!
//! The core that took the turn goes on at once: with clients, with other nodes, with the heartbeats. Until the
//! reads are done the turns of the shard change nothing ([`node::Outputs::long_reads`]), and whoever else would
//! waits here rather than at the lock, where every other reader would have to wait behind it.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use shard::LongReads;
use tracing::warn;

use crate::cell::Cell;
use crate::store::Running;

/// Whether long reads of a shard are under way.
#[derive(Default)]
pub(crate) struct Gate {
    state: Mutex<State>,
    opened: Condvar,
}

#[derive(Default)]
struct State {
    closed: bool,
    /// They are to be taken by the thread that runs them.
    reads: Option<LongReads>,
}

impl Gate {
    /// Waits until no long reads are under way, and keeps others from beginning while the guard lives.
    pub(crate) fn pass(&self) -> impl Sized + '_ {
        let state = self.lock();
        let waited = self.opened.wait_while(state, |state| state.closed);
        waited.unwrap_or_else(PoisonError::into_inner)
    }

    /// Does that if it need not wait.
    pub(crate) fn try_pass(&self) -> Option<impl Sized + '_> {
        let state = self.lock();
        (!state.closed).then_some(state)
    }

    fn close(&self, reads: LongReads) {
        *self.lock() = State {
            closed: true,
            reads: Some(reads),
        };
    }

    fn take(&self) -> Option<LongReads> {
        self.lock().reads.take()
    }

    fn open(&self) {
        self.lock().closed = false;
        self.opened.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Begins the reads of a shard that is there; its turn is held by the caller.
pub(crate) fn begin(running: &Arc<Running>, cell: &Cell, reads: LongReads) {
    cell.gate.close(reads);
    let shard = cell.shard();
    let on_thread = Arc::clone(running);
    let thread = std::thread::Builder::new().name("reads".into());
    let begun = thread.spawn(move || run(&on_thread, &on_thread.cells[shard.0 as usize]));
    if let Err(error) = begun {
        warn!(%error, "a thread for long reads could not be started; they hold others up");
        run(running, cell);
    }
}

fn run(running: &Running, cell: &Cell) {
    let Some(reads) = cell.gate.take() else {
        return;
    };
    let done = reads.run(&cell.keyspace_as_is());
    cell.gate.open();
    cell.end_long_reads(done);
    running.log.wake_shards();
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn who_would_change_something_waits() {
        let gate = Arc::new(Gate::default());
        drop(gate.pass());
        gate.lock().closed = true;
        let (passed, hears) = std::sync::mpsc::channel();
        let there = Arc::clone(&gate);
        let waiter = std::thread::spawn(move || {
            drop(there.pass());
            passed.send(()).expect("somebody hears");
        });
        assert!(hears.recv_timeout(Duration::from_millis(20)).is_err());
        gate.open();
        hears.recv().expect("the gate is open");
        waiter.join().expect("it has passed");
    }
}
