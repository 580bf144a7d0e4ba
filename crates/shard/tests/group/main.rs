//! Several replicas of one shard, joined by messages that the test carries.

#![allow(clippy::unwrap_used, reason = "a test ends at what it did not expect")]

mod leadership;
mod members;
mod reads;
mod replication;
mod snapshots;
mod world;
