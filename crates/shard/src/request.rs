//! What a session hands to a shard, and what it gets back.

use base::{Db, NodeId};
use commands::log::{LogError, decode};
use commands::{Command, Reply};
use thiserror::Error;

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
    /// The request's commands, emptied, so that their memory can be used again. After
    /// [`Refusal::NotLeader`] they are as they were: it may be asked for elsewhere.
    pub commands: Commands,
}

impl Response {
    /// Once the replies of one request take this much, no more are made: they exist all at once.
    pub const LIMIT_BYTES: usize = 256 << 20;
}

/// Why a request got no replies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// This replica does not lead the shard. It is certain that the request had no effect.
    NotLeader {
        /// Who does, as far as is known here.
        leader: Option<NodeId>,
    },
    /// The log has no room for it: the disk is full. It had no effect.
    DiskFull,
    /// Too much waits already. It had no effect.
    Busy,
    /// No leader could be reached in time. It had no effect.
    Unreachable,
    /// The leader went away after it had taken the request: it may have taken effect, may do so later, or
    /// never.
    Uncertain,
}

/// A run of commands.
///
/// Where some of them write, reads that follow a write of the same session ride along: they run when the entry that holds the
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

    /// Whether any of them writes.
    pub fn has_writes(&self) -> bool {
        !self.writes.is_empty()
    }

    /// Appends the form in which they travel to the node of the leader: the length of the writes and
    /// they, the length of the reads and they (lengths of 8 bytes, little-endian), and a byte for each
    /// command, 1 for a write.
    pub fn encode(&self, out: &mut Vec<u8>) {
        for part in [&self.writes, &self.reads] {
            out.extend_from_slice(&(part.len() as u64).to_le_bytes());
            out.extend_from_slice(part);
        }
        let order = self.order.iter();
        out.extend(order.map(|access| u8::from(*access == Access::Write)));
    }

    /// Reads what [`Commands::encode`] wrote. Each command is looked at, since one that cannot be run
    /// must not reach a log.
    ///
    /// # Errors
    /// [`CommandsError`].
    pub fn decode(mut bytes: &[u8]) -> Result<Commands, CommandsError> {
        let writes = take_part(&mut bytes)?;
        let reads = take_part(&mut bytes)?;
        let order: Vec<Access> = bytes
            .iter()
            .map(|&byte| match byte {
                0 => Ok(Access::Read),
                1 => Ok(Access::Write),
                _ => Err(CommandsError::Order),
            })
            .collect::<Result<_, _>>()?;
        for (mut part, access) in [(writes, Access::Write), (reads, Access::Read)] {
            let mut args = Vec::new();
            let mut count = 0;
            while !part.is_empty() {
                args.clear();
                let (command, _) = decode(&mut part, &mut args)?;
                if command.handler.is_write() != (access == Access::Write) {
                    return Err(CommandsError::Order);
                }
                count += 1;
            }
            if count != order.iter().filter(|&&found| found == access).count() {
                return Err(CommandsError::Order);
            }
        }
        Ok(Commands {
            writes: writes.to_vec(),
            reads: reads.to_vec(),
            order,
        })
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

/// Bytes are not the commands of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum CommandsError {
    /// They end too early.
    #[error("the request is cut off")]
    Truncated,
    /// A command cannot be read.
    #[error("a command of the request cannot be read: {0}")]
    Command(#[from] LogError),
    /// What is said of the order of its commands is not so.
    #[error("the request mixes up what reads and what writes")]
    Order,
}

fn take_part<'b>(bytes: &mut &'b [u8]) -> Result<&'b [u8], CommandsError> {
    let (length, rest) = bytes.split_first_chunk().ok_or(CommandsError::Truncated)?;
    let length = u64::from_le_bytes(*length);
    let length = usize::try_from(length).map_err(|_| CommandsError::Truncated)?;
    let (part, rest) = rest
        .split_at_checked(length)
        .ok_or(CommandsError::Truncated)?;
    *bytes = rest;
    Ok(part)
}
