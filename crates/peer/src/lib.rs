//! Node-to-node connections: nodes find each other, greet, stay in touch and reconnect.
//!
//! What it owns: the listener for peers, a connection to every host of `discovery.hosts` and to every node
//! that it hears of, and the table of who is alive. What it leaves out: what a payload means, clusters
//! beyond their id, TLS and passwords. It never imports Raft, commands or the keyspace.
//!
//! One connection's life:
//! 1. The `dialer` of a host resolves its name, connects, and hands the stream to `connection`; or the
//!    `listener` accepts a stream and does the same.
//! 2. `connection` feeds a [`session::Session`] with bytes and ticks and writes what it says. The side
//!    that dialled greets first ([`greeting::Greeting`], in a [`frame`]).
//! 3. The session judges the greeting for itself: version, oneself, stranger. The [`directory`] judges it
//!    against the other connections: duplicates, restarts, copied data folders.
//! 4. The owner gets [`Event::Greeted`] with the first connection of a peer. The others that are alive are
//!    introduced to it and it to them, so that nodes which know only one host in common find each other.
//! 5. Pings go both ways each heartbeat; [`Peers::send`] queues payloads, [`Event::Payload`] delivers
//!    them.
//! 6. The connection ends for a [`HangUp`]. With the last one of a peer the owner gets [`Event::Lost`].
//!    The dialer waits for its [`backoff`] and starts over.
//!
//! Decisions ([`session`], [`directory`], [`backoff`], what is logged how often) are functions of what they
//! are handed, the time included. Only `shared` reads clocks, and only `listener`, `dialer` and
//! `connection` touch sockets.
//!
//! Limits: [`frame::PAYLOAD_LIMIT`], [`frame::UNGREETED_PAYLOAD_LIMIT`], [`SEND_QUEUE_LIMIT`],
//! [`CONNECTIONS_LIMIT`], 128 connections without a greeting, [`session::GREETING_TIMEOUT`],
//! [`directory::PEERS_LIMIT`].

/// Logs at a level that is known only when it runs.
macro_rules! log_at {
    ($level:expr, $($rest:tt)*) => {
        match $level {
            ::tracing::Level::WARN => ::tracing::warn!($($rest)*),
            ::tracing::Level::INFO => ::tracing::info!($($rest)*),
            _ => ::tracing::debug!($($rest)*),
        }
    };
}

pub mod backoff;
mod connection;
mod dialer;
pub mod directory;
mod driver;
mod field;
pub mod frame;
pub mod greeting;
mod hang_up;
mod host_addr;
mod link;
mod listener;
pub mod message;
mod outage;
mod outbox;
pub mod session;
mod shared;
mod status;

pub use driver::{Peers, start};
pub use field::FieldError;
pub use hang_up::{HangUp, Refusal};
pub use host_addr::{HostAddr, HostAddrError};
pub use link::Link;
pub use listener::CONNECTIONS_LIMIT;
pub use status::{
    Config, Event, HostState, HostStatus, LocalNode, PeerState, PeerStatus, SEND_QUEUE_LIMIT,
    SendError,
};
