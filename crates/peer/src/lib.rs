//! Node-to-node connections: nodes find each other, greet, stay in touch and reconnect.
//!
//! What it owns: the listener for peers, a connection to every host of `discovery.hosts` and to every node
//! that it is given or hears of, and the table of who is alive. What it leaves out: what a payload means,
//! clusters beyond their id, TLS and passwords. It never imports Raft, commands or the keyspace.
//!
//! One connection's life:
//! 1. The `dialer` follows a plan ([`dialling`]): it resolves a name, connects, and hands the stream to
//!    `connection`; or the `listener` accepts a stream and does the same.
//! 2. `connection` feeds a [`session::Session`] with bytes and ticks and writes what it says. The side
//!    that dialled greets first ([`greeting::Greeting`], in a [`frame`]).
//! 3. The session judges the greeting for itself: version, oneself, stranger. The [`hub`] judges it
//!    against the other connections by its [`directory`]: duplicates, restarts, copied data folders.
//! 4. The owner gets [`Event::Greeted`] with the first connection of a peer on which both sides have admitted
//!    each other. The others that are alive are introduced to it and it to them, so that nodes which know
//!    only one host in common find each other.
//! 5. Pings go both ways all the time ([`session::ping_period`]); [`Peers::send`] queues payloads, an [`outbox`] frames them, long ones in
//!    [`parts`], and [`Event::Payload`] delivers them.
//! 6. The connection ends for a [`HangUp`]. If payloads may be lost with it, or it was the last one of the
//!    peer, the owner gets [`Event::Lost`], at both ends. The plan waits for its [`backoff`] and starts over.
//!
//! Decisions ([`session`], [`hub`], [`directory`], [`dialling`], [`outbox`], [`backoff`], what is logged how
//! often) are functions of what they are handed, the time included; a simulation drives them as it likes. Only
//! `shared` reads clocks, and only `listener`, `dialer` and `connection` touch sockets.
//!
//! Limits: [`frame::PAYLOAD_LIMIT`], [`frame::UNGREETED_PAYLOAD_LIMIT`], [`SEND_LIMIT`], [`SEND_QUEUE_LIMIT`],
//! [`CONNECTIONS_LIMIT`], [`hub::UNGREETED_LIMIT`], [`session::GREETING_TIMEOUT`], [`directory::PEERS_LIMIT`],
//! [`directory::INCARNATIONS_LIMIT`], [`hub::DIALLED_LIMIT`], [`hub::LEARNED_LIMIT`].

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
pub mod dialling;
pub mod directory;
mod driver;
mod field;
pub mod frame;
pub mod greeting;
mod hang_up;
mod host_addr;
pub mod hub;
mod link;
mod listener;
pub mod message;
mod outage;
pub mod outbox;
mod own_address;
pub mod parts;
pub mod session;
mod shared;
mod status;

pub use driver::{Peers, StartError, start};
pub use field::FieldError;
pub use hang_up::{HangUp, Refusal};
pub use host_addr::{HostAddr, HostAddrError};
pub use link::Link;
pub use listener::CONNECTIONS_LIMIT;
pub use status::{
    Config, Event, HostState, HostStatus, LocalNode, PeerState, PeerStatus, SEND_LIMIT,
    SEND_QUEUE_LIMIT, SendError,
};
