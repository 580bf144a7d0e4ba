//! Why a node cannot start.

use base::{ReplicaId, ShardId};
use shard::SnapshotMetaError;
use thiserror::Error;
use wal::{SnapshotError, WalError};

/// The node's data cannot be opened.
#[derive(Debug, Error)]
pub enum OpenError {
    /// The log cannot be opened.
    #[error("the log cannot be opened: {0}")]
    Log(#[from] WalError),
    /// A snapshot cannot be read or written.
    #[error("the snapshot of shard {} cannot be used: {source}", shard.0)]
    Snapshot {
        /// Whose.
        shard: ShardId,
        /// Why.
        source: SnapshotError,
    },
    /// The folder of snapshots cannot be used.
    #[error("the snapshots cannot be listed: {0}")]
    Snapshots(SnapshotError),
    /// The head of a snapshot is damaged.
    #[error("the snapshot of shard {} at entry {index} has a damaged head: {source}; restore the file", shard.0)]
    SnapshotHead {
        /// Whose.
        shard: ShardId,
        /// Which one.
        index: u64,
        /// Why.
        source: SnapshotMetaError,
    },
    /// The content of a snapshot is damaged.
    #[error("the snapshot of shard {} at entry {index} is damaged: {source}; restore the file", shard.0)]
    SnapshotContent {
        /// Whose.
        shard: ShardId,
        /// Which one.
        index: u64,
        /// Why.
        source: keyspace::SnapshotError,
    },
    /// The log knows of a replica that held data, but its snapshot is not there.
    #[error(
        "replica {} of shard {} has no snapshot in {folder}, though the log says that it held data; restore the \
         folder", replica.0, shard.0
    )]
    NoSnapshot {
        /// Of which shard.
        shard: ShardId,
        /// Whose.
        replica: ReplicaId,
        /// Where it should be.
        folder: String,
    },
    /// The node belongs to a cluster, but its log is not there.
    #[error(
        "there is no log in {folder} (no file log-*.seg), though there was one since the node belongs to its \
         cluster; what was written since the last snapshot would be lost: restore the folder"
    )]
    NoLog {
        /// Where it should be.
        folder: String,
    },
    /// A cluster is to be founded or joined where there is data already.
    #[error(
        "{folder} holds data, though this node belongs to no cluster: restore the identity file that \
         belongs to it, or move the node's folder away"
    )]
    NotEmpty {
        /// Where it is.
        folder: String,
    },
    /// The records of the log do not make a state.
    #[error("the log does not fit together: shard {}, replica {}: {source}", shard.0, replica.0)]
    Recovery {
        /// Of which shard.
        shard: ShardId,
        /// Whose records.
        replica: ReplicaId,
        /// Why.
        source: shard::RecoveryError,
    },
}
