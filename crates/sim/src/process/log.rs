//! The log of a node, as the simulated disk and time have it: the part of `cluster`'s log that decides.

use std::sync::Arc;

use node::LogNumber;
use wal::testing::MemDisk;
use wal::{Body, Record, Wal, WalError};

use crate::chance::Chance;
use crate::newer;
use crate::planted::Planted;

/// So much stays free for the log's own records.
const RESERVED_BYTES: u64 = 4 << 10;

/// What was handed to the log, and how much of it is durable.
pub struct NodeLog {
    wal: Wal<MemDisk>,
    pending: Vec<u8>,
    /// The same as it was handed over: planted bugs change what is pending.
    handed: Vec<u8>,
    /// How many appends were handed over.
    number: u64,
    durable: u64,
    /// The number up to which the sync that runs makes durable, and its records.
    syncing: Option<(u64, Vec<u8>)>,
    full: bool,
    room: u64,
    /// Whether the log notes on disk that all of it is durable.
    marked: bool,
    /// The process must end.
    failed: Option<String>,
    planted: Option<Planted>,
    is_newer: bool,
    /// For planted bugs.
    chance: Chance,
}

/// What the log did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Written {
    /// There was nothing to write, or a sync runs already.
    Nothing,
    /// It was written; a sync is to follow.
    Yes,
    /// There is no room; to be tried again.
    NoRoom,
}

impl NodeLog {
    /// Takes over a log that was opened.
    pub fn new(
        wal: Wal<MemDisk>,
        planted: Option<Planted>,
        is_newer: bool,
        chance: Chance,
    ) -> NodeLog {
        let mut log = NodeLog {
            room: wal.room(),
            wal,
            pending: Vec::new(),
            handed: Vec::new(),
            number: 0,
            durable: 0,
            syncing: None,
            full: false,
            marked: true,
            failed: None,
            planted,
            is_newer,
            chance,
        };
        log.keep_up();
        log
    }

    /// Why the process must end, if it must.
    pub fn failure(&self) -> Option<&str> {
        self.failed.as_deref()
    }

    /// The log can no longer be written.
    pub fn fail(&mut self, failure: &WalError) {
        self.failed.get_or_insert_with(|| failure.to_string());
    }

    /// Takes records.
    pub fn append(&mut self, records: &mut Vec<u8>) -> (LogNumber, bool) {
        self.number += 1;
        self.handed.extend_from_slice(records);
        if self.planted.is_some() {
            self.misplace(records);
        }
        if self.is_newer {
            newer::records(records);
        }
        self.pending.append(records);
        let is_durable = self.planted == Some(Planted::DurableTooSoon);
        (LogNumber(self.number), is_durable)
    }

    /// What planted bugs do to records.
    fn misplace(&mut self, records: &mut Vec<u8>) {
        let mut all = Vec::new();
        let mut bytes = records.as_slice();
        while let Ok(record) = Record::decode(&mut bytes) {
            all.push(record);
        }
        match self.planted {
            Some(Planted::LostVotes) => {
                for record in &mut all {
                    if let Body::HardState { vote, .. } = &mut record.body {
                        *vote = 0;
                    }
                }
            }
            Some(Planted::SwappedEntries) => {
                for at in 1..all.len() {
                    if let (Body::Entry { payload: one, .. }, Body::Entry { payload: two, .. }) =
                        (all[at - 1].body, all[at].body)
                    {
                        set_payload(&mut all[at - 1], two);
                        set_payload(&mut all[at], one);
                    }
                }
            }
            Some(Planted::LostTail) if self.chance.per_mille(20) => {
                if let Some(last) = all.last()
                    && matches!(last.body, Body::Entry { .. })
                {
                    all.pop();
                }
            }
            _ => return,
        }
        let mut out = Vec::new();
        for record in all {
            record.encode(&mut out);
        }
        *records = out;
    }

    /// All up to here is durable.
    pub fn durable(&self) -> LogNumber {
        LogNumber(self.durable)
    }

    /// Whether so many bytes of commands may be appended.
    pub fn has_room(&self, bytes: usize) -> bool {
        !self.full || self.room >= self.pending.len() as u64 + bytes as u64 + RESERVED_BYTES
    }

    /// Whether the disk is known to be full.
    pub fn is_full(&self) -> bool {
        self.full
    }

    /// Whether something waits to be written and nothing is being synced.
    pub fn is_due(&self) -> bool {
        self.syncing.is_none() && !self.pending.is_empty()
    }

    /// Whether all that was handed over is durable, and the disk says so.
    pub fn is_settled(&self) -> bool {
        self.syncing.is_none() && self.pending.is_empty() && self.marked
    }

    /// Writes what waits as one block.
    pub fn write(&mut self) -> Written {
        if !self.is_due() || self.failed.is_some() {
            return Written::Nothing;
        }
        match self.wal.append([self.pending.as_slice()]) {
            Ok(_) => {
                self.pending.clear();
                self.syncing = Some((self.number, std::mem::take(&mut self.handed)));
                self.marked = false;
                self.keep_up();
                Written::Yes
            }
            Err(WalError::NoRoom { .. }) => {
                self.full = true;
                self.room = 0;
                Written::NoRoom
            }
            Err(failure) => {
                self.fail(&failure);
                Written::Nothing
            }
        }
    }

    /// Syncs; the records that are durable now.
    pub fn sync(&mut self) -> Option<Vec<u8>> {
        if let Err(failure) = self.wal.sync() {
            self.fail(&failure);
            return None;
        }
        let (number, records) = self.syncing.take()?;
        self.durable = number;
        self.keep_up();
        Some(records)
    }

    /// Notes on disk that all is durable, if nothing happened for a while.
    pub fn mark(&mut self) {
        if self.syncing.is_none() && self.pending.is_empty() && !self.marked {
            match self.wal.mark_synced() {
                Ok(()) => self.marked = true,
                Err(failure) => self.fail(&failure),
            }
        }
    }

    /// Makes the next segment, and disposes of those that nobody needs.
    pub fn keep_up(&mut self) {
        let outcome = self.wal.upkeep().map_or(Ok(()), |upkeep| upkeep.run());
        self.room = self.wal.room();
        match outcome {
            Ok(()) => self.full = false,
            Err(WalError::NoRoom { .. }) => self.full = true,
            Err(failure) => self.fail(&failure),
        }
    }

    /// The replica that keeps the log from being cut, and the log's size.
    pub fn pinned(&self) -> Option<wal::Pin> {
        self.wal.pinned()
    }

    /// The end of a process that stops in good order: all is made durable.
    pub fn close(mut self) {
        if self.failed.is_none() && self.wal.append([self.pending.as_slice()]).is_ok() {
            // What fails here is found at the next start.
            drop(self.wal.sync().and_then(|_| self.wal.mark_synced()));
        }
    }

    /// What was written and is not known to be durable, for planted bugs.
    pub fn unsynced(&self) -> Option<&[u8]> {
        self.syncing.as_ref().map(|(_, records)| records.as_slice())
    }
}

fn set_payload<'a>(record: &mut Record<'a>, with: &'a [u8]) {
    if let Body::Entry { payload, .. } = &mut record.body {
        *payload = with;
    }
}

/// A disk of a machine that has just been delivered.
pub fn new_disk() -> Arc<MemDisk> {
    Arc::new(MemDisk::new())
}
