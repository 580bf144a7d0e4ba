//! Snapshots on their way from a leader to a replica that misses more than the leader's log still has.
//!
//! 1. Raft wants to send one. Where none fits, [`Shard::wants_snapshot`] tells the driver, which makes
//!    one and says so with [`Shard::note_snapshot`].
//! 2. The leader's message offers it: which one, and how large it is. The bytes do not travel with it.
//! 3. The other replica keeps the offer: [`Shard::incoming`]. Its driver fetches the file and hands its
//!    content to [`Shard::install`]. Raft sees the snapshot only then.
//! 4. The leader offers again now and then while it hears nothing; the same offer changes nothing.

use std::collections::BTreeMap;
use std::time::Duration;

use base::{NodeId, ReplicaId};
use keyspace::Keyspace;
use meta::ClusterMap;
use raft::eraftpb::{Message, MessageType};
use raft::{SnapshotStatus, StateRole, Storage};
use wal::Body;

use super::Shard;
use crate::effects::{Effects, Mark};
use crate::log_store;
use crate::message::Offer;
use crate::snapshot::SnapshotMeta;

/// So long a leader waits for news of a replica that it has offered a snapshot.
const OFFER_AGAIN: Duration = Duration::from_secs(2);

/// A snapshot that a replica needs, and where it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Incoming {
    /// The node that has it.
    pub from: NodeId,
    /// The replica that it is of.
    pub from_replica: ReplicaId,
    /// The term of the last entry that it holds.
    pub term: u64,
    /// The last entry that it holds.
    pub index: u64,
    /// Its size.
    pub bytes: u64,
}

#[derive(Default)]
pub(super) struct Snapshots {
    /// Whom this leader has offered one, and when.
    offered: BTreeMap<u64, Duration>,
    /// Until then one that was asked for should be on offer.
    offer_until: Duration,
    incoming: Option<Incoming>,
    /// What raft is being told of, or was told of and the keyspace does not hold yet.
    installing: Option<Installing>,
    /// Raft has gone on from it, which is durable with this mark.
    restored: Option<Mark>,
}

struct Installing {
    meta: SnapshotMeta,
    bytes: u64,
    keyspace: Box<Keyspace>,
}

impl Snapshots {
    /// Whether a replica is being sent a snapshot, or is about to be.
    pub(super) fn is_offering(&self, now: Duration) -> bool {
        !self.offered.is_empty() || now < self.offer_until
    }

    /// Raft has gone on from a snapshot, and that is handed out with this mark.
    pub(super) fn restored(&mut self, mark: Mark) {
        self.restored = Some(mark);
    }

    /// Whether the keyspace is to follow Raft now that so much is persisted.
    pub(super) fn is_durable(&self, persisted: Mark) -> bool {
        self.restored.is_some_and(|mark| mark <= persisted)
    }
}

impl Shard {
    /// Another leads now, or another term has begun: followers are found where they are.
    pub(super) fn forget_offers(&mut self) {
        self.snapshots.offered.clear();
        self.filling.clear();
        self.raft.store().want_no_snapshot();
    }

    /// Whether a snapshot should be made now: a replica needs one, and none that is there will do.
    pub fn wants_snapshot(&self) -> bool {
        self.is_leader() && self.raft.store().is_snapshot_wanted()
    }

    /// A snapshot of this replica is complete on its disk, and takes so many bytes.
    pub fn note_snapshot(&mut self, meta: &SnapshotMeta, bytes: u64) {
        if self.wants_snapshot() {
            self.snapshots.offer_until = self.now + OFFER_AGAIN;
        }
        self.raft.mut_store().set_snapshot(meta.offer(bytes));
    }

    /// The snapshot that this replica needs to go on.
    pub fn incoming(&self) -> Option<Incoming> {
        self.snapshots.incoming
    }

    /// It could not be had. The leader will offer another.
    pub fn incoming_failed(&mut self) {
        self.snapshots.incoming = None;
    }

    /// Takes the content of a snapshot that is complete on this replica's disk. Tells whether it is any
    /// use; otherwise what it holds is known already.
    pub fn install(
        &mut self,
        now: Duration,
        meta: SnapshotMeta,
        bytes: u64,
        keyspace: Box<Keyspace>,
        effects: &mut Effects,
    ) -> bool {
        self.now = now;
        self.snapshots.incoming = None;
        if self.has_committed() || self.snapshots.installing.is_some() {
            // The driver applies what is committed before it comes with anything new.
            effects.replaced = Some(keyspace);
            return false;
        }
        let snapshot = log_store::to_raft(&meta.offer(bytes));
        let (term, leader) = (self.term(), self.raft.raft.leader_id);
        self.snapshots.installing = Some(Installing {
            meta,
            bytes,
            keyspace,
        });
        if self.is_leader() {
            // Another one leads if somebody else is ahead.
        } else if leader != 0 {
            let mut message = Message::default();
            message.set_msg_type(MessageType::MsgSnapshot);
            (message.from, message.to) = (leader, self.config.replica.0);
            message.term = term;
            message.set_snapshot(snapshot);
            // What comes of it is seen below.
            drop(self.raft.step(message));
        } else {
            if self.raft.raft.state != StateRole::Follower {
                self.raft.raft.become_follower(term, 0);
            }
            self.raft.raft.restore(snapshot);
        }
        let is_taken = self.raft.snap().is_some_and(|snap| !snap.is_empty());
        if !is_taken && let Some(unused) = self.snapshots.installing.take() {
            effects.replaced = Some(unused.keyspace);
        }
        is_taken
    }

    /// Raft goes on from the snapshot: the log begins behind it.
    pub(super) fn restore(&mut self, effects: &mut Effects) {
        let installing = self.snapshots.installing.as_ref();
        let installing = installing.expect("raft is told of a snapshot by `install` alone");
        let (term, index) = (installing.meta.term, installing.meta.index);
        let offer = installing.meta.offer(installing.bytes);
        self.raft.mut_store().restore(offer);
        self.committed.clear();
        self.record(Body::Snapshot { term, index }, effects);
        self.record(Body::Purge { index }, effects);
        self.commit_unrecorded = true;
    }

    /// Whether a snapshot is on its way into the keyspace.
    pub(super) fn is_installing(&self) -> bool {
        self.snapshots.installing.is_some()
    }

    /// Whether Raft can be told to campaign: it looks for changes of members among the entries that are
    /// committed and not applied, and panics if it finds them gone. From when Raft has gone on from a
    /// snapshot until the keyspace follows, they are.
    pub(super) fn may_campaign(&self) -> bool {
        let next = self.raft.raft.raft_log.applied + 1;
        let first = self.raft.store().first_index();
        first.is_ok_and(|first| first <= next)
    }

    /// The keyspace follows.
    pub(super) fn finish_install(&mut self, keyspace: &mut Keyspace, effects: &mut Effects) {
        if !self.snapshots.is_durable(self.persisted) {
            return;
        }
        self.snapshots.restored = None;
        let Some(mut installing) = self.snapshots.installing.take() else {
            return;
        };
        std::mem::swap(keyspace, &mut installing.keyspace);
        effects.replaced = Some(installing.keyspace);
        let meta = installing.meta;
        self.in_flight.skip(meta.index, effects);
        self.applied = meta.index;
        self.applied_term = meta.term;
        self.stamp = self.stamp.max(keyspace.stamp());
        let map: Option<ClusterMap> = meta.map;
        if map.is_some() {
            self.map = map;
            self.map_changed = true;
        }
    }

    /// An offer has come. Where it is of use, Raft is told no more than that the leader is alive.
    pub(super) fn take_offer(&mut self, from: NodeId, message: &mut Message, offer: &Offer) {
        let log = &self.raft.raft.raft_log;
        let is_known = offer.index <= log.committed || log.match_term(offer.index, offer.term);
        if is_known || message.term < self.term() {
            message.set_snapshot(log_store::to_raft(offer));
            return;
        }
        self.snapshots.incoming = Some(Incoming {
            from,
            from_replica: ReplicaId(message.from),
            term: offer.term,
            index: offer.index,
            bytes: offer.bytes,
        });
        let mut heartbeat = Message::default();
        heartbeat.set_msg_type(MessageType::MsgHeartbeat);
        (heartbeat.from, heartbeat.to, heartbeat.term) = (message.from, message.to, message.term);
        *message = heartbeat;
    }

    /// What a message of the type snapshot that Raft wants sent is about.
    pub(super) fn offer_for(&mut self, message: &Message) -> Option<Offer> {
        self.snapshots.offered.insert(message.to, self.now);
        let index = message.get_snapshot().get_metadata().index;
        let offer = self.raft.store().snapshot_offer();
        offer.filter(|offer| offer.index == index).cloned()
    }

    /// Those that were offered a snapshot and have not said anything since are offered one again.
    pub(super) fn offer_snapshots_again(&mut self) {
        if self.snapshots.offered.is_empty() {
            return;
        }
        let now = self.now;
        let raft = &mut self.raft;
        self.snapshots.offered.retain(|&replica, offered| {
            let progress = raft.raft.prs().get(replica);
            let waits =
                progress.is_some_and(|progress| progress.state == raft::ProgressState::Snapshot);
            if waits && now.saturating_sub(*offered) >= OFFER_AGAIN {
                raft.report_snapshot(replica, SnapshotStatus::Failure);
                *offered = now;
            }
            waits || progress_lags(raft, replica)
        });
    }

    /// The connection to a follower's node is gone: what was on its way may be lost.
    pub(super) fn lost_follower(&mut self, node: NodeId) {
        let on_node = self.membership().of_node(node).copied();
        if let Some(member) = on_node.filter(|member| member.replica != self.config.replica) {
            self.raft.report_unreachable(member.replica.0);
            self.filling.let_go(member.replica.0);
            if self.snapshots.offered.contains_key(&member.replica.0) {
                self.raft
                    .report_snapshot(member.replica.0, SnapshotStatus::Failure);
            }
        }
    }
}

/// Whether the replica still needs entries that only a snapshot, or what follows one, can bring.
fn progress_lags(raft: &raft::RawNode<log_store::LogStore>, replica: u64) -> bool {
    let first = raft.store().first_index().unwrap_or(0);
    let progress = raft.raft.prs().get(replica);
    progress.is_some_and(|progress| progress.matched + 1 < first)
}
