//! The Redis side of a node: its listener, its connections and their sessions.
//!
//! Life of a request, on one core and its thread:
//! 1. `connection` reads what the socket has into a buffer.
//! 2. `session` takes the commands in it, one after another: commands of the connection and reads
//!    run at once; from the first write on, or from the first read that another node must answer,
//!    commands are gathered (`batch`).
//! 3. What was gathered goes to the shards, to each in one piece; the connection waits for the replies.
//! 4. All replies go out in one write.
//!
//! It knows the store through `cluster` alone: no log, no Raft, no peers.

mod admin;
mod batch;
mod buffers;
mod clients;
mod connection;
mod key_events;
mod listener;
mod placement;
mod pubsub;
mod rate;
mod refusals;
mod render;
mod server;
mod session;
mod session_commands;
mod stats;

pub use admin::{Admin, AdminAnswer, AdminRequest};
pub use listener::{Arrivals, Listener, serve};
pub use server::{ClusterFacts, Config, Links, NodeFacts, PeerFacts, Server};
