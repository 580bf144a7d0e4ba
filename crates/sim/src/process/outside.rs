//! What lies around a turn in the simulated world.

use std::time::Duration;

use base::Moment;
use keyspace::Keyspace;
use node::{LogNumber, Outside};
use wal::WalError;

use super::log::NodeLog;
use crate::chance::Chance;
use crate::clock::MachineClock;

/// A turn of one shard of one process.
pub(super) struct SimOutside<'t> {
    pub(super) clock: &'t MachineClock,
    /// The true time at which the turn began.
    pub(super) now: Duration,
    /// How long the process was stopped in the middle of the turn.
    pub(super) paused: Duration,
    /// It will be, in its next read.
    pub(super) pause_in_read: Option<Duration>,
    pub(super) log: &'t mut NodeLog,
    pub(super) keyspace: &'t mut Keyspace,
    pub(super) chance: &'t mut Chance,
    /// What was handed to the log.
    pub(super) records: Vec<u8>,
}

impl Outside for SimOutside<'_> {
    fn now(&mut self) -> Moment {
        self.clock.moment(self.now + self.paused)
    }

    fn draw(&mut self) -> u64 {
        self.chance.draw()
    }

    fn append(&mut self, records: &mut Vec<u8>) -> Result<(LogNumber, bool), WalError> {
        self.records.extend_from_slice(records);
        Ok(self.log.append(records))
    }

    fn durable(&self) -> LogNumber {
        self.log.durable()
    }

    fn has_room(&self, bytes: usize) -> bool {
        self.log.has_room(bytes)
    }

    fn is_full(&self) -> bool {
        self.log.is_full()
    }

    fn is_congested(&self) -> bool {
        false
    }

    fn fail(&mut self, failure: &WalError) {
        self.log.fail(failure);
    }

    fn write_keyspace<R>(&mut self, work: impl FnOnce(&mut Keyspace) -> R) -> R {
        work(self.keyspace)
    }

    fn read_keyspace<R>(&mut self, work: impl FnOnce(&Keyspace) -> R) -> R {
        let result = work(self.keyspace);
        self.paused += self.pause_in_read.take().unwrap_or_default();
        result
    }
}
