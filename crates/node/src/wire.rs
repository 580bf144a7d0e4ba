//! What nodes say to each other: payloads, and the items in them.
//!
//! # Layout of a payload
//! One byte of version, then items to the end, each:
//!
//! | bytes | what |
//! | --- | --- |
//! | 1 | its kind |
//! | 4 | the length of its body |
//! | | its body |
//!
//! | kind | body |
//! | --- | --- |
//! | 1 Raft | shard u32, a message as [`shard::Effects::messages`] has it |
//! | 2 forward | shard u32, id u64, commands as [`shard::Commands::encode`] writes them |
//! | 3 forwarded | shard u32, id u64, an [outcome](Outcome) |
//! | 4 control | what `Control` says to its like |
//! | 5 fetch, 6 chunk | what the transfer of snapshots says to its like |
//! | 7 working | shard u32 |
//! | 8 question, 9 answer | what those who serve clients ask each other |
//! | 10 notices | what keys went through, for nodes without a replica |
//!
//! Numbers are little-endian. A kind that is not known is passed over: it is of a later minor version.
//! A payload of another version is refused as a whole.
//!
//! The body of an item is checked where it is used; here it is only found.

mod outbox;
mod outcome;

use base::{NodeId, ShardId};
use thiserror::Error;

pub use outbox::{Outbox, Parcel};
pub use outcome::Outcome;

use crate::turn::FromPeer;

/// The version that this program writes.
pub const VERSION: u8 = 1;

/// The kinds of items that this program writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A message between two replicas.
    Raft = 1,
    /// Commands for the leader of a shard.
    Forward = 2,
    /// What became of them.
    Forwarded = 3,
    /// Between the controls of two nodes.
    Control = 4,
    /// A piece of a snapshot is asked for.
    Fetch = 5,
    /// A piece of a snapshot.
    Chunk = 6,
    /// What was forwarded will take long.
    Working = 7,
    /// For whoever serves the clients of another node.
    Question = 8,
    /// What that says.
    Answer = 9,
    /// What keys of a shard went through.
    Notices = 10,
}

/// Version, kind and length are left out of a body; before a forward's commands stand this many bytes.
const SHARD_BYTES: usize = 4;
const ID_BYTES: usize = 8;

/// Why bytes are not a payload. The peer that sent them has another version or a bug.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum WireError {
    /// They end inside an item.
    #[error("the payload ends inside an item")]
    Truncated,
    /// A version that this program does not read.
    #[error("the payload has version {0}, this version reads version {VERSION}; start a newer one")]
    Version(u8),
    /// The commands of a forward are none.
    #[error("the forwarded commands are damaged: {0}")]
    Commands(#[from] shard::CommandsError),
    /// The outcome of a forward is none.
    #[error("the outcome of forwarded commands is damaged: {0}")]
    Outcome(#[from] outcome::OutcomeError),
}

/// An item of a payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Item<'p> {
    /// A message between two replicas.
    Raft {
        /// Of this shard.
        shard: ShardId,
        /// For [`shard::Shard::step`].
        bytes: &'p [u8],
    },
    /// Commands that another node's clients have for a shard that this one may lead.
    Forward {
        /// The shard.
        shard: ShardId,
        /// Comes back with the outcome.
        id: u64,
        /// Encoded commands.
        commands: &'p [u8],
    },
    /// What became of commands that this node forwarded.
    Forwarded {
        /// The shard.
        shard: ShardId,
        /// Which forward it answers.
        id: u64,
        /// The encoded outcome.
        outcome: &'p [u8],
    },
    /// For `Control`.
    Control(&'p [u8]),
    /// For the sender of snapshots.
    Fetch(&'p [u8]),
    /// For the receiver of snapshots.
    Chunk(&'p [u8]),
    /// For whoever serves clients.
    Question(&'p [u8]),
    /// For whoever asked.
    Answer(&'p [u8]),
    /// For whoever wants to know what keys go through.
    Notices(&'p [u8]),
    /// All that was forwarded and is not answered has arrived, or will, and takes long.
    Working {
        /// Of this shard.
        shard: ShardId,
    },
}

impl Item<'_> {
    /// What a shard is handed of it, if it is for a shard: all of it is checked.
    ///
    /// # Errors
    /// When commands or an outcome cannot be read.
    pub fn for_shard(&self, from: NodeId) -> Result<Option<(ShardId, FromPeer)>, WireError> {
        Ok(match *self {
            Item::Raft { shard, bytes } => {
                let bytes = bytes.to_vec();
                Some((shard, FromPeer::Raft { from, bytes }))
            }
            Item::Forward {
                shard,
                id,
                commands,
            } => {
                let commands = shard::Commands::decode(commands)?;
                Some((shard, FromPeer::Forward { from, id, commands }))
            }
            Item::Forwarded { shard, id, outcome } => {
                let outcome = outcome::decode(outcome)?;
                Some((shard, FromPeer::Forwarded { from, id, outcome }))
            }
            Item::Working { shard } => Some((shard, FromPeer::Working { from })),
            Item::Control(_)
            | Item::Fetch(_)
            | Item::Chunk(_)
            | Item::Question(_)
            | Item::Answer(_)
            | Item::Notices(_) => None,
        })
    }
}

/// The items of a payload, in order.
///
/// # Errors
/// [`WireError::Version`], and from the iterator [`WireError::Truncated`], after which it ends.
pub fn items(payload: &[u8]) -> Result<Items<'_>, WireError> {
    match payload.split_first() {
        Some((&VERSION, rest)) => Ok(Items { rest }),
        Some((&version, _)) => Err(WireError::Version(version)),
        None => Err(WireError::Truncated),
    }
}

/// See [`items`].
#[derive(Clone, Debug)]
pub struct Items<'p> {
    rest: &'p [u8],
}

impl<'p> Iterator for Items<'p> {
    type Item = Result<Item<'p>, WireError>;

    fn next(&mut self) -> Option<Self::Item> {
        while !self.rest.is_empty() {
            let Some((kind, body)) = take_item(&mut self.rest) else {
                self.rest = &[];
                return Some(Err(WireError::Truncated));
            };
            let item = match kind {
                1 => split_shard(body).map(|(shard, bytes)| Item::Raft { shard, bytes }),
                2 => split_id(body).map(|(shard, id, commands)| Item::Forward {
                    shard,
                    id,
                    commands,
                }),
                3 => split_id(body).map(|(shard, id, outcome)| Item::Forwarded {
                    shard,
                    id,
                    outcome,
                }),
                4 => Some(Item::Control(body)),
                5 => Some(Item::Fetch(body)),
                6 => Some(Item::Chunk(body)),
                7 => split_shard(body).map(|(shard, _)| Item::Working { shard }),
                8 => Some(Item::Question(body)),
                9 => Some(Item::Answer(body)),
                10 => Some(Item::Notices(body)),
                _ => continue,
            };
            return Some(item.ok_or(WireError::Truncated));
        }
        None
    }
}

fn take_item<'p>(rest: &mut &'p [u8]) -> Option<(u8, &'p [u8])> {
    let (&kind, bytes) = rest.split_first()?;
    let (length, bytes) = bytes.split_first_chunk()?;
    let (body, bytes) = bytes.split_at_checked(u32::from_le_bytes(*length) as usize)?;
    *rest = bytes;
    Some((kind, body))
}

fn split_shard(body: &[u8]) -> Option<(ShardId, &[u8])> {
    let (shard, rest) = body.split_first_chunk::<SHARD_BYTES>()?;
    Some((ShardId(u32::from_le_bytes(*shard)), rest))
}

fn split_id(body: &[u8]) -> Option<(ShardId, u64, &[u8])> {
    let (shard, rest) = split_shard(body)?;
    let (id, rest) = rest.split_first_chunk::<ID_BYTES>()?;
    Some((shard, u64::from_le_bytes(*id), rest))
}

#[cfg(test)]
mod tests;
