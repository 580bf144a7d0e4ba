//! What goes between the shards of this node and everything around them: other nodes, and those who look
//! after the node as a whole.

use std::sync::OnceLock;

use base::NodeId;
use node::transfer::{self, Letter};
use node::wire::{self, Item, Outbox, Parcel};
use node::{FromPeer, Outputs};
use peer::Peers;
use shard::Refusal;
use tracing::{debug, warn};

use crate::cell::{Cell, Told};
use crate::log::LogWriter;
use crate::news::News;
use crate::snapshots::SnapshotThreads;
use crate::store::Store;

/// The ways out.
#[derive(Default)]
pub(crate) struct Traffic {
    peers: OnceLock<Peers>,
    on_news: OnceLock<Box<dyn Fn(News) + Send + Sync>>,
    /// They hear the news first.
    snapshots: OnceLock<SnapshotThreads>,
}

impl Store {
    /// The connections to other nodes, once there are some. Until then nothing reaches them.
    pub fn set_peers(&self, peers: Peers) {
        if self.traffic.peers.set(peers).is_err() {
            debug!("the peers are known already");
        }
    }

    /// Who is told of what is not for shards to deal with; to be set before there are peers or shards.
    /// `tell` hands the news over and returns: it must not block, nor call the store.
    pub fn set_listener(&self, tell: impl Fn(News) + Send + Sync + 'static) {
        if self.traffic.on_news.set(Box::new(tell)).is_err() {
            debug!("somebody listens already");
        }
    }

    /// Something happened to a peer: for [`peer::start`].
    pub fn on_peer_event(&self, event: peer::Event) {
        match event {
            peer::Event::Greeted(peer) => {
                let node = peer.node_id;
                self.calls.greeted(node);
                self.traffic.tell(News::Greeted(Box::new(peer)));
                self.for_each_cell(|cell| self.hear(cell, FromPeer::Greeted(node)));
            }
            peer::Event::Lost { node_id, .. } => {
                self.calls.lost(node_id);
                self.traffic.tell(News::Lost(node_id));
                self.for_each_cell(|cell| self.hear(cell, FromPeer::Lost(node_id)));
            }
            peer::Event::Payload { from, bytes } => {
                if let Err(error) = self.take_payload(from, &bytes) {
                    warn!(node = %from, %error, "a message of a node cannot be read");
                }
            }
        }
    }

    fn take_payload(&self, from: NodeId, payload: &[u8]) -> Result<(), wire::WireError> {
        let mut last = None;
        let mut outcome = Ok(());
        for item in wire::items(payload)? {
            let for_shard = item.and_then(|item| {
                match item {
                    Item::Question(bytes) => self.questioned(from, bytes),
                    Item::Answer(bytes) => self.answered(from, bytes),
                    Item::Notices(bytes) => self.told(bytes),
                    _ => self.traffic.tell_of(from, item),
                }
                item.for_shard(from)
            });
            match for_shard {
                Ok(Some((shard, news))) => {
                    if let Some(cell) = self.cell_of(shard) {
                        // Those of one shard come together: one turn does for them.
                        if let Some(last) = last.replace(shard).filter(|last| *last != shard) {
                            self.post_turn(last.0 as usize);
                        }
                        self.hear(cell, news);
                    }
                }
                Ok(None) => {}
                // What follows may be whole.
                Err(error) => outcome = Err(error),
            }
        }
        if let Some(last) = last {
            self.post_turn(last.0 as usize);
        }
        outcome
    }

    fn hear(&self, cell: &Cell, news: FromPeer) {
        // A message between replicas may get lost; who forwarded commands waits for an answer.
        if let Err(FromPeer::Forward { from, id, .. }) = cell.hear(news) {
            let mut outbox = Outbox::default();
            outbox.put_forwarded(from, cell.shard(), id, &Err(Refusal::Busy));
            for parcel in outbox.drain() {
                self.traffic.send(cell, parcel);
            }
        }
    }
}

impl Traffic {
    /// Who makes, sends and receives snapshots.
    pub(crate) fn set_snapshots(&self, threads: SnapshotThreads) {
        assert!(
            self.snapshots.set(threads).is_ok(),
            "a store is started once"
        );
    }

    pub(crate) fn snapshots(&self) -> Option<&SnapshotThreads> {
        self.snapshots.get()
    }

    /// Sends a message about a snapshot. One that is lost is asked for again.
    pub(crate) fn send_letter(&self, letter: &Letter) {
        let mut outbox = Outbox::default();
        let kind = match letter.kind {
            transfer::Kind::Fetch => wire::Kind::Fetch,
            transfer::Kind::Chunk => wire::Kind::Chunk,
        };
        outbox.put(letter.to, kind, |out| out.extend_from_slice(&letter.body));
        self.send_all(&mut outbox);
    }

    /// Sends what nobody waits for, or who waits will notice; whether it was all taken.
    pub(crate) fn send_all(&self, outbox: &mut Outbox) -> bool {
        let mut taken = true;
        for Parcel { to, payload, .. } in outbox.drain() {
            let outcome = self.peers.get().map(|peers| peers.send(to, payload));
            if let Some(Err(error)) = outcome {
                debug!(node = %to, %error, "a message was not sent");
                taken = false;
            }
        }
        taken
    }

    /// Does what a turn wants done, but for the responses.
    pub(crate) fn carry_out(
        &self,
        cell: &Cell,
        log: &LogWriter,
        out: &mut Outputs,
        told: &mut Told,
    ) {
        for parcel in out.outbox.drain() {
            self.send(cell, parcel);
        }
        log.drop_elsewhere(&mut out.discarded);
        log.drop_states_elsewhere(&mut out.replaced);
        let shard = cell.shard();
        for (ticket, outcome) in out.changes.drain(..) {
            self.tell(News::ChangeDone { ticket, outcome });
        }
        if let Some(map) = out.map.take() {
            self.tell(News::Map(Box::new(map)));
        }
        if out.wants_snapshot && !told.wants_snapshot {
            self.tell(News::SnapshotWanted(shard));
        }
        told.wants_snapshot = out.wants_snapshot;
        if out.fetch != told.fetch {
            let wanted = out.fetch;
            self.tell(News::SnapshotNeeded { shard, wanted });
        }
        told.fetch = out.fetch;
        for replica in out.destroyed.drain(..) {
            self.tell(News::Destroyed { shard, replica });
        }
        for refused in out.not_done.drain(..) {
            debug!(shard = shard.0, %refused, "a change of members was not made");
        }
        for (node, error) in out.complaints.drain(..) {
            debug!(shard = shard.0, %node, %error, "a message of a replica was dropped");
        }
    }

    /// Sends a payload. Whether it arrives, nobody knows; if it certainly does not, the shard is told.
    fn send(&self, cell: &Cell, parcel: Parcel) {
        let Parcel {
            to,
            payload,
            forwards,
            is_urgent,
        } = parcel;
        let outcome = match self.peers.get() {
            Some(peers) if is_urgent => peers.send_urgent(to, payload),
            Some(peers) => peers.send(to, payload),
            None => Err(peer::SendError::NotConnected),
        };
        if let Err(error) = outcome {
            debug!(shard = cell.shard().0, node = %to, %error, "not sent");
            if !forwards.is_empty() && cell.hear(FromPeer::Unsent { to, forwards }).is_err() {
                unreachable!("a shard hears of what was not sent");
            }
        }
    }

    fn tell_of(&self, from: NodeId, item: Item<'_>) {
        match item {
            Item::Control(bytes) => self.tell(News::Control {
                from,
                bytes: bytes.to_vec(),
            }),
            Item::Fetch(bytes) => self.tell(News::Fetch {
                from,
                bytes: bytes.to_vec(),
            }),
            Item::Chunk(bytes) => self.tell(News::Chunk {
                from,
                bytes: bytes.to_vec(),
            }),
            Item::Raft { .. }
            | Item::Forward { .. }
            | Item::Forwarded { .. }
            | Item::Working { .. }
            | Item::Question(_)
            | Item::Answer(_)
            | Item::Notices(_) => {}
        }
    }

    fn tell(&self, news: News) {
        let news = match self.snapshots.get() {
            Some(threads) => threads.hear(news),
            None => Some(news),
        };
        if let Some(news) = news
            && let Some(tell) = self.on_news.get()
        {
            tell(news);
        }
    }
}
