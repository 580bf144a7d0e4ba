//! The side that needs a snapshot.

mod incoming;
mod pace;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use base::{NodeId, ReplicaId, ShardId};
use keyspace::Keyspace;
use shard::{Shard, SnapshotMeta};
use thiserror::Error;
use wal::{Disk, SnapshotError, SnapshotId, Snapshots};

use self::incoming::{Ended, Incoming};
use super::{Chunk, Letter, LoadError, MessageError, Settings};

/// After the disk was full, so long it is left alone.
const DISK_PAUSE: Duration = Duration::from_secs(10);

/// A snapshot that a replica here needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// The replica here.
    pub replica: ReplicaId,
    /// Who has it.
    pub from: NodeId,
    /// Which one, by the name that it has there.
    pub id: SnapshotId,
}

impl Wanted {
    /// What that replica here needs.
    pub fn new(shard: &Shard, incoming: shard::Incoming) -> Wanted {
        Wanted {
            replica: shard.replica(),
            from: incoming.from,
            id: SnapshotId {
                shard: shard.id(),
                replica: incoming.from_replica,
                term: incoming.term,
                index: incoming.index,
            },
        }
    }

    /// Its name here.
    pub(super) fn local_id(&self) -> SnapshotId {
        SnapshotId {
            replica: self.replica,
            ..self.id
        }
    }
}

/// What became of a snapshot that was wanted.
pub enum Received {
    /// It is on disk and in memory.
    Loaded {
        /// Its name here.
        id: SnapshotId,
        /// Its head.
        meta: SnapshotMeta,
        /// Its content.
        keyspace: Box<Keyspace>,
        /// The bytes of the file.
        bytes: u64,
        /// Older snapshots of the replica could not be removed; the next start does it.
        left_behind: Option<SnapshotError>,
    },
    /// It will not come; nothing is left of it.
    Failed {
        /// What was wanted.
        wanted: Wanted,
        /// Why.
        error: TransferError,
    },
    /// The disk is full. It is tried again from the beginning in a while.
    NoRoom {
        /// What is wanted.
        wanted: Wanted,
        /// What the disk said.
        error: SnapshotError,
    },
}

/// Why a snapshot did not come.
#[derive(Debug, Error)]
pub enum TransferError {
    /// The sender has it no more.
    #[error("the node that offered it does not have it any more")]
    Gone,
    /// The sender fell silent.
    #[error("nothing of it came for {0:?}")]
    Silence(Duration),
    /// The pieces together are not what the sender has.
    #[error("its checksum is wrong")]
    Checksum,
    /// It is of another point of the log than it was offered as.
    #[error("it is of entry {found}, though it was offered as of entry {offered}")]
    OtherEntry {
        /// What its name says.
        offered: u64,
        /// What its head says.
        found: u64,
    },
    /// It could not be written.
    #[error(transparent)]
    Disk(SnapshotError),
    /// It could not be loaded.
    #[error("it cannot be loaded: {0}")]
    Load(LoadError),
}

/// Receives the snapshots that the replicas of this node need. Whatever it is told, [`Receiver::poll`]
/// is to be called after it.
pub struct Receiver<D: Disk> {
    snapshots: Arc<Snapshots<D>>,
    settings: Settings,
    /// One for each shard that wants one.
    incoming: BTreeMap<ShardId, Incoming<D>>,
    /// What was wanted and has come or failed, until something else is wanted.
    ended: BTreeMap<ShardId, Wanted>,
    /// Numbers what is wanted, so that the first is served first.
    next_number: u64,
}

impl<D: Disk> Receiver<D> {
    /// One that receives into that folder.
    pub fn new(snapshots: Arc<Snapshots<D>>, settings: Settings) -> Receiver<D> {
        Receiver {
            snapshots,
            settings,
            incoming: BTreeMap::new(),
            ended: BTreeMap::new(),
            next_number: 0,
        }
    }

    /// What the shard's replica here needs now, or that it needs none. To be told as often as one likes.
    ///
    /// What is under way goes on as long as it is wanted. It goes on also when the same replica offers a
    /// newer one meanwhile, or else a snapshot that takes longer than the next one's making would
    /// never arrive; the newer one is fetched if the older fails. What has come or failed does not begin
    /// again until something else, or nothing, was wanted in between.
    pub fn want(&mut self, shard: ShardId, wanted: Option<Wanted>) {
        if self
            .ended
            .get(&shard)
            .is_some_and(|ended| wanted == Some(*ended))
        {
            return;
        }
        self.ended.remove(&shard);
        if let (Some(incoming), Some(wanted)) = (self.incoming.get_mut(&shard), wanted)
            && incoming.follow(wanted)
        {
            return;
        }
        if let Some(incoming) = self.incoming.remove(&shard) {
            incoming.abandon();
        }
        if let Some(wanted) = wanted {
            self.next_number += 1;
            let incoming = Incoming::new(wanted, self.next_number);
            self.incoming.insert(shard, incoming);
        }
    }

    /// Takes a [`Chunk`]; [`Receiver::poll`] goes on.
    ///
    /// # Errors
    /// [`MessageError`], without any effect.
    pub fn chunk(&mut self, from: NodeId, body: &[u8]) -> Result<(), MessageError> {
        let chunk = Chunk::decode(body)?;
        if let Some(incoming) = self.incoming.get_mut(&chunk.id.shard)
            && (incoming.wanted.from, incoming.wanted.id) == (from, chunk.id)
        {
            incoming.take(&chunk);
        }
        Ok(())
    }

    /// There is a new connection to a node: what was asked on the one before and not answered is asked
    /// again at once, rather than after [`Settings::patience`].
    pub fn greeted(&mut self, node: NodeId) {
        for incoming in self.incoming.values_mut() {
            if incoming.wanted.from == node {
                incoming.connected();
            }
        }
    }

    /// What is being received, and how much of it is there.
    pub fn progress(&self) -> impl Iterator<Item = (Wanted, u64)> {
        self.incoming
            .values()
            .map(|incoming| (incoming.wanted, incoming.received()))
    }

    /// Goes on: asks for what is missing, writes what has come, loads what is complete. One call takes a
    /// few milliseconds at most, but for the syncs that the disk needs. Tells when it is to be called
    /// again, if nothing comes before; that may be now.
    pub fn poll(
        &mut self,
        now: Duration,
        letters: &mut Vec<Letter>,
        received: &mut Vec<Received>,
    ) -> Option<Duration> {
        let mut order: Vec<(u64, ShardId)> = self
            .incoming
            .iter()
            .filter(|(_, incoming)| !incoming.is_paused(now))
            .map(|(shard, incoming)| (incoming.number, *shard))
            .collect();
        order.sort_unstable();
        let mut again = false;
        for &(_, shard) in order.iter().take(self.settings.receiving) {
            let Some(incoming) = self.incoming.get_mut(&shard) else {
                continue;
            };
            let outcome = incoming.run(now, &self.snapshots, &self.settings, letters);
            let (wanted, latest) = (incoming.wanted, incoming.latest());
            let event = match outcome {
                Ok(None) => continue,
                Ok(Some(loaded)) => Received::Loaded {
                    left_behind: self.snapshots.remove_older(loaded.id).err(),
                    id: loaded.id,
                    meta: loaded.meta,
                    keyspace: loaded.keyspace,
                    bytes: loaded.bytes,
                },
                Err(Ended::NoRoom(error)) => {
                    self.next_number += 1;
                    incoming.pause(now + DISK_PAUSE, self.next_number);
                    received.push(Received::NoRoom { wanted, error });
                    continue;
                }
                Err(Ended::Failed(_)) if latest != wanted => {
                    incoming.switch();
                    again = true;
                    continue;
                }
                Err(Ended::Failed(error)) => Received::Failed { wanted, error },
            };
            received.push(event);
            self.incoming.remove(&shard);
            self.ended.insert(shard, latest);
        }
        // One that ended may have made room for one that waits.
        again |= order.len() > self.settings.receiving && !received.is_empty();
        let next = self
            .incoming
            .values()
            .filter_map(|incoming| incoming.due(now, &self.settings))
            .min();
        if again { Some(now) } else { next }
    }
}
