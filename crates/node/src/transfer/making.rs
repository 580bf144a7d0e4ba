//! Making a snapshot of a replica while it goes on working.

use keyspace::Keyspace;
use shard::{Shard, SnapshotMeta};
use wal::{Disk, SnapshotError, SnapshotId, SnapshotWriter, Snapshots};

/// So many bytes are taken from the keyspace in one step; nobody waits for longer than that takes.
const STEP_BYTES: usize = 64 << 10;
/// So many bytes are written to the file in one go.
const WRITE_BYTES: usize = 1 << 20;

/// A snapshot in the making. What touches the keyspace and what touches the disk are apart, so that no lock is
/// held while the disk works:
///
/// 1. [`Making::begin`], between two turns;
/// 2. [`Making::step`] with the keyspace and [`Making::write`] without it, in turns, until the step
///    tells that it was the last;
/// 3. [`Making::finish`].
pub struct Making<D: Disk> {
    id: SnapshotId,
    meta: SnapshotMeta,
    /// What was taken and is not written.
    buffer: Vec<u8>,
    /// From the first write on.
    writer: Option<SnapshotWriter<D>>,
    complete: bool,
}

/// What a [`Making::step`] came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// There is more to take.
    More,
    /// All is taken.
    Complete,
    /// The keyspace was replaced by another: the snapshot will never be complete. Abandon it.
    Void,
}

impl<D: Disk> Making<D> {
    /// Begins one of the present state. The keyspace must be exactly that after the last applied
    /// entry, so it is to be called between two turns.
    ///
    /// None while there is no snapshot to be made: [`Shard::snapshot_meta`].
    ///
    /// # Panics
    /// If one is being made of that keyspace already.
    pub fn begin(shard: &Shard, keyspace: &mut Keyspace) -> Option<Making<D>> {
        let meta = shard.snapshot_meta()?;
        keyspace.begin_snapshot();
        let mut buffer = Vec::with_capacity(WRITE_BYTES + STEP_BYTES);
        meta.encode(&mut buffer);
        Some(Making {
            id: SnapshotId {
                shard: shard.id(),
                replica: shard.replica(),
                term: meta.term,
                index: meta.index,
            },
            meta,
            buffer,
            writer: None,
            complete: false,
        })
    }

    /// Which one it will be.
    pub fn id(&self) -> SnapshotId {
        self.id
    }

    /// Takes a part of the state: a matter of much less than a millisecond.
    pub fn step(&mut self, keyspace: &mut Keyspace) -> Step {
        if self.complete {
            return Step::Complete;
        }
        if !keyspace.snapshot_running() {
            return Step::Void;
        }
        self.complete = keyspace.snapshot_step(STEP_BYTES, &mut self.buffer);
        if self.complete {
            Step::Complete
        } else {
            Step::More
        }
    }

    /// Writes what was taken, once there is enough of it.
    ///
    /// # Errors
    /// [`SnapshotError`]; abandon it then.
    pub fn write(&mut self, snapshots: &Snapshots<D>) -> Result<(), SnapshotError> {
        if !self.complete && self.buffer.len() < WRITE_BYTES {
            return Ok(());
        }
        let writer = match &mut self.writer {
            Some(writer) => writer,
            none => none.insert(snapshots.create(self.id)?),
        };
        writer.write(&self.buffer)?;
        self.buffer.clear();
        Ok(())
    }

    /// Makes it durable and visible, when all is written; what it holds, and the number of its bytes.
    ///
    /// # Errors
    /// [`SnapshotError`]: there is none then.
    ///
    /// # Panics
    /// Unless the last step was the last and was written.
    pub fn finish(self) -> Result<(SnapshotMeta, u64), SnapshotError> {
        assert!(
            self.complete && self.buffer.is_empty(),
            "a snapshot is finished when all of it is written"
        );
        let writer = self.writer.expect("all of it is written");
        Ok((self.meta, writer.finish()?))
    }

    /// Gives it up. `keyspace` is told if it is still the one that was begun with.
    ///
    /// # Errors
    /// [`SnapshotError`]: an unfinished file is left behind, which the next start removes.
    pub fn abandon(self, keyspace: Option<&mut Keyspace>) -> Result<(), SnapshotError> {
        if let Some(keyspace) = keyspace
            && !self.complete
        {
            keyspace.abandon_snapshot();
        }
        self.writer.map_or(Ok(()), SnapshotWriter::abandon)
    }
}
