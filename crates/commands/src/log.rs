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

use crate::varint::{self, VarintError};
use crate::{Command, CommandId, by_id, transaction};

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

impl From<VarintError> for LogError {
    fn from(error: VarintError) -> LogError {
        match error {
            VarintError::Truncated => LogError::Truncated,
            VarintError::Malformed => LogError::Malformed,
        }
    }
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
    varint::put(out, u64::from(id.0));
    out.push(db.number());
    varint::put(out, args.len() as u64);
    for arg in args {
        varint::put(out, arg.len() as u64);
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
    let (command, db) = decode_with(bytes, args, |id| {
        by_id(id).or_else(|| transaction::by_id(id))
    })?;
    if command.id == transaction::EXEC.id {
        transaction::check(args)?;
    }
    Ok((command, db))
}

/// As [`decode`], but of commands alone that clients may call: those that a transaction holds.
pub(crate) fn decode_listed<'a>(
    bytes: &mut &'a [u8],
    args: &mut Vec<&'a [u8]>,
) -> Result<(&'static Command, Db), LogError> {
    decode_with(bytes, args, by_id)
}

fn decode_with<'a>(
    bytes: &mut &'a [u8],
    args: &mut Vec<&'a [u8]>,
    by_id: impl FnOnce(CommandId) -> Option<&'static Command>,
) -> Result<(&'static Command, Db), LogError> {
    args.clear();
    let id = varint::take(bytes)?;
    let command = u16::try_from(id)
        .ok()
        .and_then(|id| by_id(CommandId(id)))
        .ok_or(LogError::UnknownCommand(id))?;
    let (&db, rest) = bytes.split_first().ok_or(LogError::Truncated)?;
    *bytes = rest;
    let db = Db::new(db).map_err(|_| LogError::Database(db))?;
    let count = varint::take(bytes)?;
    // Each argument takes a byte at the least: no garbage makes this reserve more than the entry's size.
    if count > bytes.len() as u64 {
        return Err(LogError::Truncated);
    }
    args.reserve(count as usize + 1);
    args.push(command.spec.name.as_bytes());
    for _ in 0..count {
        let len = usize::try_from(varint::take(bytes)?).map_err(|_| LogError::Truncated)?;
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::COMMANDS;

    fn encoded(name: &str, args: &[&[u8]]) -> Vec<u8> {
        let mut out = Vec::new();
        let command = crate::by_name(name.as_bytes()).unwrap();
        encode(&mut out, command.id, Db::default(), args);
        out
    }

    fn decoded(mut bytes: &[u8]) -> Result<(), LogError> {
        decode(&mut bytes, &mut Vec::new()).map(|_| ())
    }

    #[test]
    fn a_set_takes_five_bytes_beside_key_and_value() {
        assert_eq!(
            encoded("set", &[b"k", b"value"]),
            b"\x02\0\x02\x01k\x05value"
        );
    }

    #[test]
    fn a_header_reads_back_and_another_version_is_refused() {
        let header = BatchHeader::new(Timestamp::from_millis(0x0102_0304), u64::MAX);
        let mut bytes = Vec::new();
        header.encode(&mut bytes);
        assert_eq!(bytes.len(), BatchHeader::SIZE);
        bytes.push(7);
        let mut rest = bytes.as_slice();
        assert_eq!(BatchHeader::decode(&mut rest), Ok(header));
        assert_eq!(rest, [7]);
        for len in 0..BatchHeader::SIZE {
            assert_eq!(
                BatchHeader::decode(&mut &bytes[..len]),
                Err(LogError::Truncated)
            );
        }
        bytes[0] = 2;
        assert_eq!(
            BatchHeader::decode(&mut bytes.as_slice()),
            Err(LogError::Version(2))
        );
    }

    #[test]
    fn what_encoding_does_not_write_is_refused() {
        let set = encoded("set", &[b"k", b"v"]);
        for len in 0..set.len() {
            assert_eq!(
                decoded(&set[..len]),
                Err(LogError::Truncated),
                "{len} bytes"
            );
        }
        assert_eq!(decoded(b"\xff\x03\0\0"), Err(LogError::UnknownCommand(511)));
        assert_eq!(decoded(b"\x82\0\0\x01\x01k"), Err(LogError::Malformed));
        assert_eq!(decoded(&[0xff; 11]), Err(LogError::Malformed));
        assert_eq!(
            decoded(b"\x02\x10\x02\x01k\x01v"),
            Err(LogError::Database(16))
        );
        let arity = LogError::Arity {
            command: "set",
            arguments: 2,
        };
        assert_eq!(decoded(b"\x02\0\x01\x01k"), Err(arity));
        // An argument count and a length that no memory could hold.
        assert_eq!(
            decoded(b"\x02\0\xff\xff\xff\xff\x7f"),
            Err(LogError::Truncated)
        );
        let length = b"\x02\0\x02\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01k";
        assert_eq!(decoded(length), Err(LogError::Truncated));
        // A subcommand that there is not.
        let object = encoded("object", &[b"nonsense", b"k"]);
        assert_eq!(
            decoded(&object),
            Err(LogError::Arity {
                command: "object",
                arguments: 3
            })
        );
    }

    fn some_args() -> impl Strategy<Value = Vec<Vec<u8>>> {
        let arg = prop_oneof![
            proptest::collection::vec(any::<u8>(), 0..20),
            proptest::collection::vec(any::<u8>(), 120..300),
        ];
        proptest::collection::vec(arg, 0..200)
    }

    proptest! {
        #[test]
        fn commands_read_back_as_they_were_written(
            calls in proptest::collection::vec((0..COMMANDS.len(), 0..16_u8, some_args()), 1..4),
        ) {
            let mut bytes = Vec::new();
            let mut written = Vec::new();
            for (index, db, args) in &calls {
                let command = &COMMANDS[*index];
                let db = Db::new(*db).unwrap();
                let args: Vec<&[u8]> = args.iter().map(Vec::as_slice).collect();
                let call = [&[command.spec.name.as_bytes()], args.as_slice()].concat();
                if command.spec.check(&call).is_ok() {
                    encode(&mut bytes, command.id, db, &args);
                    written.push((command.id, db, call));
                }
            }
            let mut rest = bytes.as_slice();
            let mut args = Vec::new();
            for (id, db, call) in written {
                let (command, read_db) = decode(&mut rest, &mut args).unwrap();
                prop_assert_eq!((command.id, read_db), (id, db));
                prop_assert_eq!(&args, &call);
            }
            prop_assert!(rest.is_empty());
        }

        #[test]
        fn random_bytes_are_refused_or_stand_for_one_command(
            bytes in proptest::collection::vec(prop_oneof![any::<u8>(), 0..60_u8], 0..60),
        ) {
            let mut rest = bytes.as_slice();
            let mut args = Vec::new();
            if let Ok((command, db)) = decode(&mut rest, &mut args) {
                let mut again = Vec::new();
                encode(&mut again, command.id, db, &args[1..]);
                prop_assert_eq!(again.as_slice(), &bytes[..bytes.len() - rest.len()]);
            }
        }
    }
}
