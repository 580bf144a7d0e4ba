//! Snapshots of a node: made when the log is long or a follower needs one, and on their way.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use base::{Moment, NodeId, ShardId};
use keyspace::Keyspace;
use node::transfer::{Kind as LetterKind, Letter, Making, Received, Receiver, Sender};
use node::transfer::{Settings as TransferSettings, Step};
use node::wire::{Kind, Outbox};
use node::{Order, Outputs};
use wal::testing::MemDisk;
use wal::{Body, Record, Snapshots};

use super::{Process, Settings};
use crate::clock::MachineClock;
use crate::fault::Effect;
use crate::invariants::Home;
use crate::newer;
use crate::planted::Planted;
use crate::scene::{Event, Scene};

/// After a snapshot could not be made, so long none is tried.
const PAUSE: Duration = Duration::from_secs(2);

/// Snapshots of a process.
pub(super) struct Transfers {
    snapshots: Arc<Snapshots<MemDisk>>,
    sender: Sender<MemDisk>,
    receiver: Receiver<MemDisk>,
    making: BTreeMap<ShardId, Making<MemDisk>>,
    /// After a failure, until when none is made.
    paused_until: Duration,
    due: Option<Duration>,
}

impl Transfers {
    pub(super) fn new(snapshots: Snapshots<MemDisk>, _home: Home) -> Transfers {
        let snapshots = Arc::new(snapshots);
        let settings = TransferSettings {
            // So that even small states travel in several pieces.
            chunk_bytes: 256,
            ..TransferSettings::default()
        };
        Transfers {
            sender: Sender::new(Arc::clone(&snapshots), settings),
            receiver: Receiver::new(Arc::clone(&snapshots), settings),
            snapshots,
            making: BTreeMap::new(),
            paused_until: Duration::ZERO,
            due: Some(Duration::ZERO),
        }
    }

    pub(super) fn greeted(&mut self, node: NodeId) {
        self.receiver.greeted(node);
        self.due = Some(Duration::ZERO);
    }

    pub(super) fn lost(&mut self, node: NodeId) {
        self.sender.lost(node);
    }

    pub(super) fn fetch(&mut self, from: NodeId, body: &[u8]) {
        let read = self.sender.fetch(from, body);
        read.expect("nodes of one version understand each other");
        self.due = Some(Duration::ZERO);
    }

    pub(super) fn chunk(&mut self, from: NodeId, body: &[u8]) {
        let read = self.receiver.chunk(from, body);
        read.expect("nodes of one version understand each other");
        self.due = Some(Duration::ZERO);
    }

    /// When it is to go on.
    pub(super) fn due(&self) -> Option<Duration> {
        self.due
    }
}

impl Process {
    /// What a turn wants of snapshots.
    pub(super) fn note_transfers(&mut self, shard: ShardId, out: &Outputs, scene: &mut Scene) {
        let machine = self.home.machine;
        let Some(transfers) = &mut self.transfers else {
            return;
        };
        for &replica in &out.destroyed {
            let removed = transfers.snapshots.remove_replica(shard, replica);
            scene.note(|| format!("m{} has removed a replica: {removed:?}", machine.0));
        }
        transfers.receiver.want(shard, out.fetch);
        if out.fetch.is_some() {
            transfers.due = Some(Duration::ZERO);
        }
        if out.wants_snapshot {
            self.begin_snapshot(shard, scene);
        }
    }

    /// A snapshot of each replica is made.
    pub(crate) fn make_snapshots(&mut self, scene: &mut Scene) {
        let shards: Vec<ShardId> = self.shards.keys().copied().collect();
        for shard in shards {
            self.begin_snapshot(shard, scene);
        }
    }

    /// Has a snapshot made if the log has become long.
    pub(super) fn look_at_log_size(&mut self, scene: &mut Scene) {
        if let Some(pin) = self.log.as_ref().and_then(super::NodeLog::pinned)
            && pin.log_bytes > Settings::LOG_BYTES
        {
            self.begin_snapshot(pin.shard, scene);
        }
    }

    fn begin_snapshot(&mut self, shard: ShardId, scene: &mut Scene) {
        let (Some(host), Some(transfers)) = (self.shards.get_mut(&shard), &mut self.transfers)
        else {
            return;
        };
        let Some(replica) = host.turn.shard().filter(|replica| replica.applied() > 1) else {
            return;
        };
        if transfers.making.contains_key(&shard) || scene.now() < transfers.paused_until {
            return;
        }
        let Some(making) = Making::begin(replica, &mut host.keyspace) else {
            return;
        };
        transfers.making.insert(shard, making);
        self.go_on(shard, scene);
    }

    fn go_on(&self, shard: ShardId, scene: &mut Scene) {
        let wait = scene.chance.millis(0, 20);
        scene.after(
            wait,
            Event::Making {
                machine: self.home.machine,
                process: self.home.process,
                shard,
            },
        );
    }

    /// A snapshot in the making goes on by one step.
    pub(crate) fn make(&mut self, shard: ShardId, clock: &MachineClock, scene: &mut Scene) {
        let (Some(host), Some(transfers)) = (self.shards.get_mut(&shard), &mut self.transfers)
        else {
            return;
        };
        let Some(mut making) = transfers.making.remove(&shard) else {
            return;
        };
        let step = making.step(&mut host.keyspace);
        let machine = self.home.machine;
        let written = match step {
            Step::Void => {
                // Only a file that is not finished is left behind.
                drop(making.abandon(None));
                return;
            }
            Step::More | Step::Complete => making.write(&transfers.snapshots),
        };
        if let Err(error) = written {
            scene.note(|| format!("m{} cannot write a snapshot: {error}", machine.0));
            transfers.paused_until = scene.now() + PAUSE;
            drop(making.abandon(Some(&mut host.keyspace)));
            return;
        }
        if step == Step::More {
            transfers.making.insert(shard, making);
            return self.go_on(shard, scene);
        }
        let id = making.id();
        let is_newer = scene.newer.has(machine);
        let finished = making.finish().and_then(|(meta, bytes)| match is_newer {
            true => Ok((meta, newer::snapshot(&transfers.snapshots, id)?)),
            false => Ok((meta, bytes)),
        });
        let (meta, bytes) = match finished {
            Ok(made) => made,
            Err(error) => {
                scene.note(|| format!("m{} cannot finish a snapshot: {error}", machine.0));
                transfers.paused_until = scene.now() + PAUSE;
                return;
            }
        };
        if let Some(crash) = scene.reach(machine, Effect::SnapshotPlaced) {
            return self.die_at(crash);
        }
        // While it was made, the replica may have gone, or may have got another one's state.
        let is_here = host.turn.shard().is_some_and(|replica| {
            let holds = replica.snapshot_meta();
            replica.replica() == id.replica && holds.is_some_and(|holds| holds.index >= meta.index)
        });
        if !is_here {
            return;
        }
        scene.note(|| {
            format!(
                "m{} made a snapshot of shard {} at entry {}",
                machine.0, shard.0, meta.index
            )
        });
        let mut records = Vec::new();
        let (term, index) = (meta.term, meta.index);
        for body in [Body::Snapshot { term, index }, Body::Purge { index }] {
            let replica = id.replica;
            Record {
                shard,
                replica,
                body,
            }
            .encode(&mut records);
        }
        let judged = scene.witness.records(&records);
        scene.judge(judged);
        if let Some(log) = &mut self.log {
            log.append(&mut records);
        }
        drop(transfers.snapshots.remove_older(id));
        let replica = id.replica;
        host.inputs.orders.push(Order::SnapshotMade {
            replica,
            meta,
            bytes,
        });
        host.is_due = true;
        self.work(clock, scene);
    }

    /// Sends and receives what is on its way.
    pub(super) fn move_snapshots(&mut self, now: Moment, scene: &mut Scene) {
        let Some(transfers) = &mut self.transfers else {
            return;
        };
        if transfers.due.is_none_or(|due| now.monotonic < due) {
            return;
        }
        let (mut letters, mut received, mut damaged) = (Vec::new(), Vec::new(), Vec::new());
        let sending = transfers
            .sender
            .poll(now.monotonic, &mut letters, &mut damaged);
        let receiving = transfers
            .receiver
            .poll(now.monotonic, &mut letters, &mut received);
        transfers.due = [sending, receiving].into_iter().flatten().min();
        for ((to, id), sent) in transfers.sender.take_sent() {
            let order = Order::SnapshotSent {
                replica: id.replica,
                to,
                index: id.index,
                sent,
            };
            if let Some(host) = self.shards.get_mut(&id.shard) {
                host.inputs.orders.push(order);
                host.is_due = true;
            }
        }
        for letter in letters {
            self.send_letter(&letter);
        }
        for received in received {
            self.receive(received, scene);
        }
    }

    fn send_letter(&mut self, letter: &Letter) {
        let kind = match letter.kind {
            LetterKind::Fetch => Kind::Fetch,
            LetterKind::Chunk => Kind::Chunk,
        };
        let mut outbox = Outbox::default();
        outbox.put(letter.to, kind, |out| out.extend_from_slice(&letter.body));
        for parcel in outbox.drain() {
            // A piece that is lost is asked for again.
            self.peers.send(parcel);
        }
    }

    fn receive(&mut self, received: Received, scene: &mut Scene) {
        let machine = self.home.machine;
        let (shard, order) = match received {
            Received::Loaded {
                id,
                meta,
                mut keyspace,
                bytes,
                ..
            } => {
                scene.note(|| {
                    format!(
                        "m{} received a snapshot of shard {} at entry {}",
                        machine.0, id.shard.0, id.index
                    )
                });
                if let Some(crash) = scene.reach(machine, Effect::SnapshotPlaced) {
                    return self.die_at(crash);
                }
                if scene.has(Planted::SnapshotWithoutContent) {
                    let stamp = keyspace.stamp();
                    *keyspace = Keyspace::new(0);
                    keyspace.set_stamp(stamp);
                }
                let order = Order::Install {
                    replica: id.replica,
                    meta,
                    bytes,
                    keyspace,
                };
                (id.shard, order)
            }
            Received::Failed { wanted, error } => {
                scene.note(|| format!("m{} did not receive a snapshot: {error}", machine.0));
                (wanted.id.shard, Order::FetchFailed)
            }
            Received::NoRoom { .. } => return,
        };
        let host = self.host(shard);
        host.inputs.orders.push(order);
        host.is_due = true;
    }
}
