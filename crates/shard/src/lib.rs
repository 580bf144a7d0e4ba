//! One shard: a Raft group and the keyspace that its log makes.
//!
//! Everything here is a function of its inputs. A driver hands in requests, ticks and the news that
//! records are safe on disk; a [`Shard`] hands out records to be written, and replies. It reads no
//! clock, draws no randomness, starts no thread and never waits.
//!
//! The life of a write:
//! 1. [`Shard::propose`] puts the commands of all requests that queued up into one log entry.
//! 2. [`Shard::advance`] encodes the records to be made durable into [`Effects::records`].
//! 3. The driver writes them and calls [`Shard::persisted`] with [`Effects::mark`] once they are.
//! 4. [`Shard::advance`] again: the entry is committed.
//! 5. [`Shard::apply`] runs the commands on the keyspace and puts the replies into
//!    [`Effects::responses`].
//!
//! Invariants:
//! - raft-rs appears in this crate alone and no type of it leaves it.
//! - What is applied is committed, in order, each entry once, and depends on nothing but the entry
//!   and the keyspace.
//! - A request gets one response: its replies, or the reason why it was not taken.

mod apply;
mod effects;
mod election;
mod entry;
mod in_flight;
mod log_store;
mod long;
mod message;
mod reads;
mod recovery;
mod request;
mod shard;
mod snapshot;

pub use effects::{ChangeOutcome, Effects, Mark};
pub use entry::MemberChange;
pub use long::{LongReads, LongReadsDone};
pub use message::{MessageError, is_urgent};
pub use recovery::{Recovery, RecoveryError, Replayed};
pub use request::{Commands, CommandsError, Refusal, Request, Response, Ticket};
pub use shard::{ChangeRefused, Config, Incoming, Progress, Shard};
pub use snapshot::{SnapshotMeta, SnapshotMetaError};
