//! The words that every crate shares: identities, slots, databases, time.
//!
//! Owns no behaviour beyond what makes each type what it is. It imports nothing but `std` and it is
//! no place for helpers.

mod id;
mod slot;
mod time;

pub use id::{ClusterId, Db, DbOutOfRange, Incarnation, NodeId, ReplicaId, ShardId};
pub use slot::Slot;
pub use time::{Clock, Moment, Timestamp};
