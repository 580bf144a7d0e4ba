//! Snapshots on their way: made here, sent to those who ask, received from others.
//!
//! A leader whose follower lacks entries that are gone offers it a snapshot, by Raft's own message. The
//! follower then fetches it, piece by piece: it asks ([`Fetch`]) for bytes at an offset, the other
//! answers ([`Chunk`]). Asking twice does no harm, a lost piece is asked for again, and what was
//! received stays when a connection breaks.
//!
//! What holds:
//! - Nothing half-received is visible: the file has a temporary name until its length and checksum are
//!   those that the sender told, it is on disk, and a keyspace was made of it.
//! - The pieces of two files are never mixed: each piece tells length and checksum of its file, and when
//!   they change, receiving begins anew.
//! - No more than a window is asked for at once, and on a slow link less, so that heartbeats do not wait behind
//!   a snapshot there.
//! - What a peer says allocates no more than a piece.
//!
//! It leaves out: when a snapshot is to be made or offered, the markers in the log, how messages
//! travel.

mod making;
mod message;
mod receiver;
mod sender;

use std::time::Duration;

use base::NodeId;

pub use crate::startup::LoadError;
pub use making::{Making, Step};
pub use message::{Chunk, Content, Fetch, MessageError};
pub use receiver::{Received, Receiver, TransferError, Wanted};
pub use sender::Sender;

/// How snapshots travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// How many bytes one piece has; at most [`Settings::CHUNK_BYTES_MAX`].
    pub chunk_bytes: u32,
    /// How many pieces of that size may be asked for and not yet be there. On a slow link both are less.
    pub window: usize,
    /// How many snapshots are received at once; others wait.
    pub receiving: usize,
    /// How many are sent at once; who asks for another is told to wait.
    pub sending: usize,
    /// So many bytes are sent in a second at most, to all together; 0 sets no limit.
    pub bytes_per_second: u64,
    /// A piece that did not come for so long is asked for again.
    pub patience: Duration,
    /// With nothing new for so long, receiving is given up; the leader will offer a snapshot again.
    pub give_up: Duration,
    /// A file that nobody asked for, for so long, is closed.
    pub idle: Duration,
}

impl Settings {
    /// No piece is larger, whoever asks.
    pub const CHUNK_BYTES_MAX: u32 = 64 << 10;
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            chunk_bytes: Settings::CHUNK_BYTES_MAX,
            window: 4,
            receiving: 2,
            sending: 4,
            bytes_per_second: 0,
            patience: Duration::from_secs(1),
            give_up: Duration::from_secs(15),
            idle: Duration::from_secs(30),
        }
    }
}

/// A message to another node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Letter {
    /// To whom.
    pub to: NodeId,
    /// Which kind of item of a payload it is.
    pub kind: Kind,
    /// The item's body.
    pub body: Vec<u8>,
}

/// The kinds of messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The body is a [`Fetch`].
    Fetch,
    /// The body is a [`Chunk`].
    Chunk,
}
