//! Several replicas of one shard, joined by messages that the test carries.

mod leadership;
mod members;
mod reads;
mod replication;
mod snapshots;
mod world;
