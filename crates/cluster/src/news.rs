//! What the store hands on to those who look after the node as a whole.

use base::{NodeId, ReplicaId, ShardId};
use meta::ClusterMap;
use node::transfer::Wanted;
use shard::{ChangeOutcome, Ticket};

/// What happens to peers and shards that is not for shards to deal with. It comes in the order in which
/// it happened, from any thread.
#[derive(Debug)]
pub enum News {
    /// There is a connection to a peer.
    Greeted(Box<peer::PeerStatus>),
    /// A connection was lost, and with it perhaps payloads of either side.
    Lost(NodeId),
    /// The control of another node says something.
    Control {
        /// The node.
        from: NodeId,
        /// What.
        bytes: Vec<u8>,
    },
    /// Another node wants a piece of a snapshot.
    Fetch {
        /// The node.
        from: NodeId,
        /// Which piece.
        bytes: Vec<u8>,
    },
    /// A piece of a snapshot has come.
    Chunk {
        /// From this node.
        from: NodeId,
        /// The piece.
        bytes: Vec<u8>,
    },
    /// What became of a change to the map.
    ChangeDone {
        /// As [`node::Order::Change`] had it.
        ticket: Ticket,
        /// What became of it.
        outcome: ChangeOutcome,
    },
    /// The replica of shard 0 here has another map.
    Map(Box<ClusterMap>),
    /// A snapshot of a shard is to be made now, for another replica.
    SnapshotWanted(ShardId),
    /// The replica of a shard here needs a snapshot to go on; or no longer does.
    SnapshotNeeded {
        /// The shard.
        shard: ShardId,
        /// Which, and where it is.
        wanted: Option<Wanted>,
    },
    /// The log says durably that a replica is no longer here: its snapshots may go.
    Destroyed {
        /// Its shard.
        shard: ShardId,
        /// The replica.
        replica: ReplicaId,
    },
}
