//! What an administrator may ask of the cluster through any of its nodes. It is handed to the owner of the
//! node, which knows how it is done.

use std::future::Future;
use std::pin::Pin;

/// One wish. A node is told by its name or its id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AdminRequest {
    /// Tell how nodes and shards stand.
    Status,
    /// Have a node give up what it holds, then remove it from the cluster.
    NodeRemove(String),
    /// Have a node lead nothing and be given nothing new.
    NodeDrain(String),
    /// End that.
    NodeUndrain(String),
    /// Move a replica.
    ShardMove {
        /// Of which shard.
        shard: u32,
        /// The node that has it.
        from: String,
        /// The node that is to have it.
        to: String,
    },
    /// Move the leadership.
    ShardLead {
        /// Of which shard.
        shard: u32,
        /// The node that is to lead.
        node: String,
    },
}

/// What came of it: text in JSON, or a refusal that starts with a word in capitals, such as `ERR`.
pub type AdminAnswer = Pin<Box<dyn Future<Output = Result<String, String>> + Send>>;

/// Carries out what an administrator asks for.
pub type Admin = Box<dyn Fn(AdminRequest) -> AdminAnswer + Send + Sync>;
