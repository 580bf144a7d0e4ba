//! What a session hands to a shard, and what it gets back.

use base::Db;
use commands::{Command, Reply};

/// Tells a request from others; the driver chooses it and finds the waiting session by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Ticket(pub u64);

/// Commands of one session that take effect in their order, together with its [`Ticket`].
#[derive(Debug)]
pub struct Request {
    /// Whose request this is.
    pub ticket: Ticket,
    /// What is asked for.
    pub commands: Commands,
}

/// What became of a [`Request`].
#[derive(Debug)]
pub struct Response {
    /// Whose request this answers.
    pub ticket: Ticket,
    /// One reply for each command, in order, or why none of them was taken. There are fewer replies
    /// once they have grown over [`Response::LIMIT_BYTES`]; all writes took effect even so, and the
    /// connection that waits must end.
    pub outcome: Result<Vec<Reply<'static>>, Refusal>,
    /// The request's commands, emptied, so that their memory can be used again.
    pub commands: Commands,
}

impl Response {
    /// Once the replies of one request take this much, no more are made: they exist all at once.
    pub const LIMIT_BYTES: usize = 256 << 20;
}

/// Why a request was not taken. It is certain that it had no effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// This replica does not lead the shard.
    NotLeader,
    /// The log has no room for it: the disk is full.
    DiskFull,
}

/// A run of commands, of which at least one writes.
///
/// Reads that follow a write of the same session ride along: they run when the entry that holds the
/// writes is applied, each at its place, and so see all that stands before it.
#[derive(Debug, Default)]
pub struct Commands {
    /// The writes as they stand in a log entry.
    pub(crate) writes: Vec<u8>,
    /// The reads, in the same encoding; they never reach the log.
    pub(crate) reads: Vec<u8>,
    /// Which of the two each command is.
    pub(crate) order: Vec<Access>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    Write,
    Read,
}

impl Commands {
    /// Adds a command. `args[0]` is its name.
    pub fn push(&mut self, command: &Command, db: Db, args: &[&[u8]]) {
        let (access, out) = if command.handler.is_write() {
            (Access::Write, &mut self.writes)
        } else {
            (Access::Read, &mut self.reads)
        };
        commands::log::encode(out, command.id, db, &args[1..]);
        self.order.push(access);
    }

    /// The number of commands.
    pub fn len(&self) -> usize {
        self.order.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.order.is_empty()
    }

    /// The bytes that the commands take up.
    pub fn size_bytes(&self) -> usize {
        self.writes.len() + self.reads.len()
    }

    /// Forgets the commands and keeps their memory, up to a bound.
    pub fn clear(&mut self) {
        const KEPT_BYTES: usize = 64 << 10;
        for buffer in [&mut self.writes, &mut self.reads] {
            buffer.clear();
            buffer.shrink_to(KEPT_BYTES);
        }
        self.order.clear();
        self.order.shrink_to(KEPT_BYTES);
    }
}
