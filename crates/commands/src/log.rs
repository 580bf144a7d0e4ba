//! How commands stand in a log entry.
//!
//! An entry is a [`BatchHeader`] and then commands, each:
//!
//! | bytes | what |
//! | --- | --- |
//! | varint | the command's id |
//! | 1 | the database |
//! | varint | how many arguments follow (the name is not among them) |
//! | for each: varint, bytes | its length and itself |
//!
//! A varint is LEB128 in its shortest form. The name of a command does not stand in the log, so
//! ids never change meaning. Decoding refuses whatever encoding does not write; that what it
//! accepts is what was written is the log's checksum to say.

use base::{Db, Timestamp};

use crate::{Command, CommandId, by_id};

/// Why bytes are not a batch of commands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LogError {
    /// They end inside a header or a command.
    #[error("the entry ends inside a command")]
    Truncated,
    /// A number is longer than it need be or does not fit.
    #[error("a number of the entry is malformed")]
    Malformed,
    /// Another version wrote the batch.
    #[error(
        "the entry has format version {0}, and this program reads version {VERSION}: was it written by a newer one?"
    )]
    Version(u8),
    /// No command of this program has that id.
    #[error(
        "the entry holds a command of id {0}, which this program does not know: was it written by a newer one?"
    )]
    UnknownCommand(u64),
    /// There are 16 databases.
    #[error("the entry names database {0}")]
    Database(u8),
    /// The command takes another number of arguments.
    #[error("the entry holds {command} with {arguments} arguments")]
    Arity {
        /// The command's name.
        command: &'static str,
        /// How many there were, with the name.
        arguments: usize,
    },
}

/// The format that this program writes.
pub const VERSION: u8 = 1;

/// What the commands of an entry have in common: one version byte, then stamp and seed as
/// little-endian 64-bit numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchHeader {
    /// The format, [`VERSION`] for what is written now.
    pub version: u8,
    /// The leader's wall clock, never going back within a shard.
    pub stamp: Timestamp,
    /// What picks where a command picks at random; see [`WriteContext`](crate::WriteContext).
    pub seed: u64,
}

impl BatchHeader {
    /// The encoded size in bytes.
    pub const SIZE: usize = 17;

    /// A header of the present version.
    pub const fn new(stamp: Timestamp, seed: u64) -> BatchHeader {
        BatchHeader {
            version: VERSION,
            stamp,
            seed,
        }
    }

    /// Appends the header.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.push(self.version);
        out.extend_from_slice(&self.stamp.millis().to_le_bytes());
        out.extend_from_slice(&self.seed.to_le_bytes());
    }

    /// Takes a header from the front of `bytes`.
    ///
    /// # Errors
    /// When there is none or it is of another version.
    pub fn decode(bytes: &mut &[u8]) -> Result<BatchHeader, LogError> {
        let (&version, _) = bytes.split_first().ok_or(LogError::Truncated)?;
        if version != VERSION {
            return Err(LogError::Version(version));
        }
        let (head, rest) = bytes
            .split_first_chunk::<{ BatchHeader::SIZE }>()
            .ok_or(LogError::Truncated)?;
        let number = |at: usize| {
            u64::from_le_bytes(
                head[at..at + 8]
                    .try_into()
                    .expect("the range is of 8 bytes"),
            )
        };
        *bytes = rest;
        Ok(BatchHeader {
            version,
            stamp: Timestamp::from_millis(number(1)),
            seed: number(9),
        })
    }
}

/// Appends a command; `args` are those after the name.
pub fn encode(out: &mut Vec<u8>, id: CommandId, db: Db, args: &[&[u8]]) {
    out.reserve(16 + args.iter().map(|arg| arg.len() + 5).sum::<usize>());
    put_varint(out, u64::from(id.0));
    out.push(db.number());
    put_varint(out, args.len() as u64);
    for arg in args {
        put_varint(out, arg.len() as u64);
        out.extend_from_slice(arg);
    }
}

/// Takes a command from the front of `bytes`. `args` is emptied and then holds the name, as the
/// command's record writes it, and the arguments. What is decoded passes
/// [`Spec::check`](crate::Spec::check), so that [`apply`](crate::apply) may have it.
///
/// # Errors
/// When the bytes are not what [`encode`] writes; `bytes` and `args` are then of no use.
pub fn decode<'a>(
    bytes: &mut &'a [u8],
    args: &mut Vec<&'a [u8]>,
) -> Result<(&'static Command, Db), LogError> {
    args.clear();
    let id = take_varint(bytes)?;
    let command = u16::try_from(id)
        .ok()
        .and_then(|id| by_id(CommandId(id)))
        .ok_or(LogError::UnknownCommand(id))?;
    let (&db, rest) = bytes.split_first().ok_or(LogError::Truncated)?;
    *bytes = rest;
    let db = Db::new(db).map_err(|_| LogError::Database(db))?;
    let count = take_varint(bytes)?;
    // Each argument takes a byte at the least: no garbage makes this reserve more than the entry's size.
    if count > bytes.len() as u64 {
        return Err(LogError::Truncated);
    }
    args.reserve(count as usize + 1);
    args.push(command.spec.name.as_bytes());
    for _ in 0..count {
        let len = usize::try_from(take_varint(bytes)?).map_err(|_| LogError::Truncated)?;
        let (arg, rest) = bytes.split_at_checked(len).ok_or(LogError::Truncated)?;
        args.push(arg);
        *bytes = rest;
    }
    if command.spec.check(args).is_err() {
        return Err(LogError::Arity {
            command: command.spec.name,
            arguments: args.len(),
        });
    }
    Ok((command, db))
}

fn put_varint(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

fn take_varint(bytes: &mut &[u8]) -> Result<u64, LogError> {
    let mut number = 0;
    for (index, &byte) in bytes.iter().enumerate().take(10) {
        // The tenth byte has room for one bit; a last byte of zero adds nothing.
        if (index == 9 && byte > 1) || (index > 0 && byte == 0) {
            return Err(LogError::Malformed);
        }
        number |= u64::from(byte & 0x7f) << (7 * index);
        if byte < 0x80 {
            *bytes = &bytes[index + 1..];
            return Ok(number);
        }
    }
    Err(if bytes.len() < 10 {
        LogError::Truncated
    } else {
        LogError::Malformed
    })
}
