//! What one turn has to say, gathered so that each node gets one payload, or two: what is urgent has its own.

use std::ops::Range;

use base::{NodeId, ShardId};
use shard::Commands;

use crate::wire::outcome;
use crate::wire::{Kind, Outcome, VERSION};

/// A payload is begun anew once it is this large, so that replies that are large one by one do not
/// grow over what a connection takes at once.
const PARCEL_BYTES: usize = 64 << 20;

/// Items for other nodes, gathered into payloads.
#[derive(Debug, Default)]
pub struct Outbox {
    parcels: Vec<Parcel>,
}

/// A payload for a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parcel {
    /// Whom it is for.
    pub to: NodeId,
    /// The payload.
    pub payload: Vec<u8>,
    /// The ids of the forwards in it lie in this range, and no others that go to this node do. If the
    /// payload cannot be sent, [`FromPeer::Unsent`](crate::FromPeer::Unsent) tells so.
    pub forwards: Range<u64>,
    /// It should not wait behind others, and may overtake them.
    pub is_urgent: bool,
}

impl Outbox {
    /// Whether there is nothing to send.
    pub fn is_empty(&self) -> bool {
        self.parcels.is_empty()
    }

    /// Adds an item whose body `write` appends.
    ///
    /// # Panics
    /// If the body is longer than 4 GiB; nothing that is sent comes near that.
    pub fn put(&mut self, to: NodeId, kind: Kind, write: impl FnOnce(&mut Vec<u8>)) {
        self.put_in(to, false, kind, write);
    }

    /// Does that and gives the payload that the item is in.
    fn put_in(
        &mut self,
        to: NodeId,
        is_urgent: bool,
        kind: Kind,
        write: impl FnOnce(&mut Vec<u8>),
    ) -> &mut Parcel {
        let parcel = self.open(to, is_urgent);
        let payload = &mut parcel.payload;
        payload.push(kind as u8);
        let start = payload.len();
        payload.extend_from_slice(&[0; 4]);
        write(payload);
        let length = u32::try_from(payload.len() - start - 4).expect("an item is below 4 GiB");
        payload[start..start + 4].copy_from_slice(&length.to_le_bytes());
        parcel
    }

    /// Adds a message between two replicas.
    pub fn put_raft(&mut self, to: NodeId, shard: ShardId, message: &[u8]) {
        self.put_in(to, shard::is_urgent(message), Kind::Raft, |out| {
            out.extend_from_slice(&shard.0.to_le_bytes());
            out.extend_from_slice(message);
        });
    }

    /// Adds commands for the leader. Ids only ever grow.
    pub(crate) fn put_forward(&mut self, to: NodeId, shard: ShardId, id: u64, commands: &Commands) {
        let parcel = self.put_in(to, false, Kind::Forward, |out| {
            out.extend_from_slice(&shard.0.to_le_bytes());
            out.extend_from_slice(&id.to_le_bytes());
            commands.encode(out);
        });
        let forwards = &mut parcel.forwards;
        if forwards.is_empty() {
            forwards.start = id;
        }
        forwards.end = id + 1;
    }

    /// Adds what became of a forward.
    pub fn put_forwarded(&mut self, to: NodeId, shard: ShardId, id: u64, outcome: &Outcome) {
        self.put(to, Kind::Forwarded, |out| {
            out.extend_from_slice(&shard.0.to_le_bytes());
            out.extend_from_slice(&id.to_le_bytes());
            outcome::encode(outcome, out);
        });
    }

    /// Adds that what that node forwarded takes long.
    pub(crate) fn put_working(&mut self, to: NodeId, shard: ShardId) {
        self.put(to, Kind::Working, |out| {
            out.extend_from_slice(&shard.0.to_le_bytes());
        });
    }

    /// Takes all payloads out, those for one node in the order in which they are to be sent.
    pub fn drain(&mut self) -> impl Iterator<Item = Parcel> + '_ {
        self.parcels.drain(..)
    }

    /// The payload for that node that is being filled.
    fn open(&mut self, to: NodeId, is_urgent: bool) -> &mut Parcel {
        let of_node = |parcel: &Parcel| parcel.to == to && parcel.is_urgent == is_urgent;
        let found = self.parcels.iter().rposition(of_node);
        let found = found.filter(|&at| self.parcels[at].payload.len() < PARCEL_BYTES);
        let at = found.unwrap_or_else(|| {
            self.parcels.push(Parcel {
                to,
                payload: vec![VERSION],
                forwards: 0..0,
                is_urgent,
            });
            self.parcels.len() - 1
        });
        &mut self.parcels[at]
    }
}
