//! Requests of sessions on other nodes, which those forwarded here.

use std::collections::{BTreeMap, BTreeSet};

use base::NodeId;
use shard::{Commands, Refusal, Request, Ticket};

/// The tickets of guests have this bit, those of sessions here do not.
const GUEST: u64 = 1 << 63;

/// Who waits elsewhere for what.
#[derive(Debug, Default)]
pub(super) struct Guests {
    by_ticket: BTreeMap<u64, Guest>,
    last: u64,
    /// What their commands took when they came.
    bytes: usize,
}

#[derive(Debug)]
struct Guest {
    from: NodeId,
    id: u64,
    bytes: usize,
    /// Whoever waits has been told already, or is gone, and ids may be used anew.
    is_lost: bool,
}

/// Whether a ticket is one of a guest.
pub(super) fn is_guest(ticket: Ticket) -> bool {
    ticket.0 & GUEST != 0
}

impl Guests {
    /// Takes commands in that a node forwarded with that id, as long as those that are here do not take
    /// more than `limit` bytes.
    pub(super) fn admit(
        &mut self,
        from: NodeId,
        id: u64,
        commands: Commands,
        limit: usize,
    ) -> Result<Request, Refusal> {
        if self.bytes > limit {
            return Err(Refusal::Busy);
        }
        let bytes = commands.size_bytes();
        self.bytes += bytes;
        self.last += 1;
        let guest = Guest {
            from,
            id,
            bytes,
            is_lost: false,
        };
        self.by_ticket.insert(self.last, guest);
        let ticket = Ticket(GUEST | self.last);
        Ok(Request { ticket, commands })
    }

    /// Whether nobody elsewhere waits for an answer from here.
    pub(super) fn is_empty(&self) -> bool {
        self.by_ticket.is_empty()
    }

    /// The nodes on which somebody waits for an answer from here.
    pub(super) fn nodes(&self) -> BTreeSet<NodeId> {
        let waiting = self.by_ticket.values().filter(|guest| !guest.is_lost);
        waiting.map(|guest| guest.from).collect()
    }

    /// A guest is answered: the node and the id of its forward, if anybody waits there still.
    pub(super) fn leave(&mut self, ticket: Ticket) -> Option<(NodeId, u64)> {
        let guest = self.by_ticket.remove(&(ticket.0 & !GUEST))?;
        self.bytes -= guest.bytes;
        (!guest.is_lost).then_some((guest.from, guest.id))
    }

    /// The connection to a node is gone. It counts its forwards as uncertain; when it has started anew it
    /// may even use the same ids for others.
    pub(super) fn lost(&mut self, node: NodeId) {
        let of_node = self.by_ticket.values_mut();
        for guest in of_node.filter(|guest| guest.from == node) {
            guest.is_lost = true;
        }
    }
}
