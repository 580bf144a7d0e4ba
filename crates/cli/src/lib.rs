//! What the `piccolo` command does as a client: the load generator, and what operators ask of a cluster.
//!
//! - [`mod@bench`]: the load generator. [`admin`]: `status`, `node` and `shard`. `control`: the connection that asks.

pub mod admin;
pub mod bench;
mod control;
