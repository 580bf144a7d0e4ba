//! The set of shards of one node and the threads that drive them.
//!
//! Owns what lies between sessions and shards: routing, the requests that queue for a shard, the
//! turns that each core takes, the log's threads, snapshots, recovery, founding, and what a node
//! knows of the others. It decides through the sans-IO crates (`shard`, `keyspace`, `commands`) and
//! drives them with threads, clocks and files.
//!
//! How the threads share a node:
//! - Each core is a thread with a single-threaded runtime and a [`Core`]. Sessions live on one core.
//! - A read runs on the session's own core under the shard's keyspace lock.
//! - A write queues at the shard. The first core to come by takes the turn: it proposes all that
//!   queued up as one entry, hands its records to the log, applies what is committed and hands out
//!   the responses, those of other cores through their mailboxes, one wake-up each.
//! - With `fsync = always` one thread writes and syncs the log and tells the cores. Another does
//!   what would keep a core waiting: it prepares segments, drops flushed tables. A third makes
//!   snapshots.

mod calls;
mod cell;
mod clock;
mod core;
mod log;
mod long_reads;
mod mailbox;
mod news;
mod notices;
mod random;
mod snapshots;
mod startup;
mod steering;
mod store;
mod traffic;
mod transfers;

pub use cell::ShardStatus;
pub use clock::SystemClock;
pub use core::Core;
pub use meta::{ClusterMap, Founder};
pub use news::News;
pub use node::startup::{Dirs, OpenError as DataError};
pub use node::transfer::Settings as TransferSettings;
pub use node::{AdminCommand, ClusterState, ControlConfig, Order};
pub use notices::Heard;
pub use shard::{Commands, Refusal, Response};
pub use startup::{OpenError, Opened};
pub use steering::{ClusterView, Helm, Steering, SteeringError};
pub use store::{Config, ReadGuard, Store};

/// The newest formats that this version reads, as nodes tell each other: one number for all that replicas must
/// understand alike. The map of the cluster has those that are in use.
pub const FORMATS: u32 = 1;

/// When the log is synced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fsync {
    /// Before each acknowledgement.
    Always,
    /// Once a second.
    EverySec,
    /// When the operating system likes.
    Never,
}

impl std::fmt::Display for Fsync {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Fsync::Always => "always",
            Fsync::EverySec => "everysec",
            Fsync::Never => "never",
        })
    }
}
