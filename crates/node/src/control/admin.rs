//! What operators want: commands and their answers.

use base::ShardId;

/// A command of an operator. Any node takes it; [`AdminCommand::Status`] is answered there, the others
/// where shard 0 is led.
///
/// All but the status are wishes that are repeated until the answer says `"done": true`: each
/// repetition takes them further and tells how far they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AdminCommand {
    /// How the cluster and its nodes and shards are doing.
    Status,
    /// A node, by name or id, gives its replicas away and leaves the cluster for ever.
    NodeRemove(String),
    /// A node gives its leaderships away and gets no replicas, until it is undrained.
    NodeDrain(String),
    /// A node may have leaderships and replicas again.
    NodeUndrain(String),
    /// A replica of a shard goes from one node to another.
    ShardMove {
        /// The shard.
        shard: ShardId,
        /// The node that has it.
        from: String,
        /// The node that is to have it.
        to: String,
    },
    /// A node is to lead a shard.
    ShardLead {
        /// The shard.
        shard: ShardId,
        /// The node.
        node: String,
    },
}
