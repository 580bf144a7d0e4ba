//! The data commands of Redis 7: what is known about each, how it stands in the log, and what it
//! does to a keyspace.
//!
//! A command is one record ([`Command`]) in the file of its subject: a [`Spec`] that says what
//! `COMMAND` and the documentation tell, an id that stands in the log, and a handler. Adding one
//! touches that file, and the list of ids in the tests.
//!
//! # The life of a call
//! 1. [`by_name`] finds the record, [`Spec::check`] refuses a wrong number of arguments, and
//!    [`Spec::key_positions`] tells the keys.
//! 2. A read ([`Handler::Read`]) runs at once on the keyspace, at a time that is handed in; its
//!    reply borrows from there.
//! 3. A write is encoded ([`log::encode`]) into the shard's next entry. Once that is committed,
//!    each replica decodes it and calls [`apply`] with the entry's stamp and seed.
//!
//! # Invariants
//! - Handlers are functions of keyspace, arguments and context: they read no clock and draw no
//!   randomness, so replicas cannot disagree. Refusals are replies, the same everywhere.
//! - Replies and error texts are those of Redis 7.0; golden scripts hold them against a real one.
//! - Relative expiry is made absolute by the stamp.
//!
//! Commands of the connection (PING, SELECT, CLIENT...) live with the sessions and only share
//! [`Spec`]. This crate knows neither the wire protocol nor the log's storage.

mod argument;
mod chance;
mod clock;
mod counters;
mod database;
mod expiry;
mod extended;
pub mod glob;
mod hashes;
mod keys;
mod lcs;
mod lifetime;
mod lists;
pub mod log;
mod long;
mod many;
mod object;
mod ranges;
mod reply;
mod scan;
pub mod score;
mod sets;
mod sorted_sets;
mod spec;
pub mod split;
mod strings;
mod table;
pub mod transaction;
mod varint;
pub mod wire;

pub use clock::hangs_on_clock;
pub use long::{SHORT_BYTES, effort};
pub use reply::Reply;
pub use spec::{
    Argument, ArgumentKind, Begin, Categories, Find, Flags, KeyFlags, KeySpec, Spec,
    unknown_command,
};
pub use table::{
    Applied, COMMANDS, Command, CommandId, Handler, ReadContext, WriteContext, apply, by_id,
    by_name,
};
