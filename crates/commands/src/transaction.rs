//! Transactions: what MULTI and WATCH leave in the log.
//!
//! Clients never call the two commands here; sessions make them. [`WATCH`] reads how keys stand. [`EXEC`] is a whole
//! transaction in one command: the watched keys as they stood, and the queued commands, each with its database. So a
//! transaction is in one entry of the log, runs while nobody else sees the keyspace, and is forwarded, answered and
//! uncertain like any other command. Its arguments are:
//!
//! | argument | for each key or command |
//! | --- | --- |
//! | watched keys | the database u8, what `encode_version` writes, varint length of the key, key |
//! | commands | as [`crate::log`] writes it |
//!
//! A command that fails undoes none of the others, as in Redis.

use base::Db;
use keyspace::{Discarded, Keyspace, Version};

use crate::argument::Outcome;
use crate::log::{self, LogError};
use crate::spec::{Flags, KeyFlags, KeySpec, Spec};
use crate::table::reads;
use crate::{
    Applied, Command, CommandId, Handler, ReadContext, Reply, WriteContext, apply, varint,
};

/// Reads how its keys stand: an array of what [`Watched::push`] takes.
pub static WATCH: Command = Command {
    id: CommandId(500),
    spec: Spec {
        name: "watch",
        arity: -2,
        flags: Flags::READONLY,
        keys: &[KeySpec::range(1, -1, 1, KeyFlags::RO)],
        ..Spec::EMPTY
    },
    handler: reads!(watch),
};

/// Runs a transaction: an array of its replies, or the null array if a watched key has changed.
pub static EXEC: Command = Command {
    id: CommandId(501),
    spec: Spec {
        name: "exec",
        arity: 3,
        flags: Flags::WRITE,
        ..Spec::EMPTY
    },
    handler: Handler::Flush(exec),
};

/// Once the replies of a transaction take so much, the rest are left out.
const REPLY_BYTES: usize = 128 << 20;

const TOO_MUCH: Reply<'static> = Reply::refusal(
    "ERR the command was run, but the replies of the transaction exceed 128 MiB, so this one is left out",
);

/// The command of that id, if it is one of these.
pub(crate) fn by_id(id: CommandId) -> Option<&'static Command> {
    [&WATCH, &EXEC].into_iter().find(|command| command.id == id)
}

/// Keys as they stood when a session watched them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Watched {
    bytes: Vec<u8>,
    len: usize,
}

impl Watched {
    /// Whether no key is watched.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// How many keys are watched; one that was watched twice counts twice.
    pub fn len(&self) -> usize {
        self.len
    }

    /// The memory that it takes.
    pub fn size_bytes(&self) -> usize {
        self.bytes.len()
    }

    /// The first argument of [`EXEC`].
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Adds keys of a database with the reply of [`WATCH`] to them; false if it is none.
    pub fn push(&mut self, db: Db, keys: &[Vec<u8>], reply: &Reply<'_>) -> bool {
        let Reply::Array(versions) = reply else {
            return false;
        };
        if versions.len() != keys.len() {
            return false;
        }
        for (key, version) in keys.iter().zip(versions) {
            let Reply::Bulk(version) = version else {
                return false;
            };
            self.bytes.push(db.number());
            self.bytes.extend_from_slice(version);
            varint::put(&mut self.bytes, key.len() as u64);
            self.bytes.extend_from_slice(key);
            self.len += 1;
        }
        true
    }
}

/// A version: 1 and a u32 for a key that was there, 0 and a u64 for one that was absent; little-endian.
fn encode_version(version: Version, out: &mut Vec<u8>) {
    match version {
        Version::Present(version) => {
            out.push(1);
            out.extend_from_slice(&version.to_le_bytes());
        }
        Version::Absent(since) => {
            out.push(0);
            out.extend_from_slice(&since.to_le_bytes());
        }
    }
}

/// Takes a watched key from the front.
fn take_watched<'a>(bytes: &mut &'a [u8]) -> Result<(Db, Version, &'a [u8]), LogError> {
    let [db, tag] = take(bytes)?;
    let db = Db::new(db).map_err(|_| LogError::Database(db))?;
    let version = match tag {
        0 => Version::Absent(u64::from_le_bytes(take(bytes)?)),
        1 => Version::Present(u32::from_le_bytes(take(bytes)?)),
        _ => return Err(LogError::Malformed),
    };
    let len = usize::try_from(varint::take(bytes)?).map_err(|_| LogError::Truncated)?;
    let (key, rest) = bytes.split_at_checked(len).ok_or(LogError::Truncated)?;
    *bytes = rest;
    Ok((db, version, key))
}

fn take<const N: usize>(bytes: &mut &[u8]) -> Result<[u8; N], LogError> {
    let (taken, rest) = bytes.split_first_chunk().ok_or(LogError::Truncated)?;
    *bytes = rest;
    Ok(*taken)
}

/// Whether the arguments are those of a transaction that can run.
pub(crate) fn check(args: &[&[u8]]) -> Result<(), LogError> {
    let (mut watched, mut commands) = (args[1], args[2]);
    while !watched.is_empty() {
        take_watched(&mut watched)?;
    }
    let mut args = Vec::new();
    while !commands.is_empty() {
        log::decode_listed(&mut commands, &mut args)?;
    }
    Ok(())
}

fn watch<'k>(keyspace: &'k Keyspace, args: &[&[u8]], context: ReadContext) -> Outcome<'k> {
    let version = |key: &&[u8]| {
        let mut bytes = Vec::with_capacity(9);
        encode_version(keyspace.version(context.db, key, context.now), &mut bytes);
        Reply::Bulk(bytes.into())
    };
    Ok(Reply::Array(args[1..].iter().map(version).collect()))
}

fn exec(keyspace: &mut Keyspace, args: &[&[u8]], context: WriteContext) -> Applied {
    let (mut watched, mut commands) = (args[1], args[2]);
    while !watched.is_empty() {
        let (db, version, key) = take_watched(&mut watched).expect("decoding has checked it");
        if !keyspace.is_at(db, key, version) {
            return Applied {
                reply: Reply::NullArray,
                discarded: None,
            };
        }
    }
    let (mut replies, mut reply_bytes) = (Vec::new(), 0);
    let mut discarded: Option<Box<Discarded>> = None;
    let mut seed = context.seed;
    let mut args = Vec::new();
    while !commands.is_empty() {
        let (command, db) =
            log::decode_listed(&mut commands, &mut args).expect("decoding has checked it");
        // Not the step by which the commands of an entry differ, or some would draw the same chance.
        seed = seed.wrapping_add(0xd134_2543_de82_ef95);
        let context = WriteContext {
            db,
            seed,
            ..context
        };
        let applied = apply(keyspace, command, &args, context);
        match (&mut discarded, applied.discarded) {
            (Some(all), Some(more)) => all.join(*more),
            (all, more) => *all = all.take().or(more),
        }
        if reply_bytes > REPLY_BYTES {
            replies.push(TOO_MUCH);
        } else {
            reply_bytes += applied.reply.size_bytes();
            replies.push(applied.reply);
        }
    }
    Applied {
        reply: Reply::Array(replies),
        discarded,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::by_name;
    use base::Timestamp;

    fn keyspace() -> Keyspace {
        let mut keyspace = Keyspace::new(1);
        keyspace.set_stamp(Timestamp::from_millis(1_000));
        keyspace
    }

    fn queue(calls: &[(u8, &str)]) -> Vec<u8> {
        let mut commands = Vec::new();
        for (db, call) in calls {
            let args: Vec<&[u8]> = call.split(' ').map(str::as_bytes).collect();
            let command = by_name(args[0]).unwrap();
            log::encode(&mut commands, command.id, Db::new(*db).unwrap(), &args[1..]);
        }
        commands
    }

    fn watch_key(keyspace: &Keyspace, key: &str) -> Watched {
        let context = ReadContext {
            db: Db::default(),
            now: keyspace.stamp(),
            random: 0,
        };
        let reply = watch(keyspace, &[b"watch", key.as_bytes()], context).unwrap();
        let mut watched = Watched::default();
        assert!(watched.push(context.db, &[key.into()], &reply));
        watched
    }

    /// Through the form that it has in the log.
    fn run(keyspace: &mut Keyspace, watched: &Watched, commands: &[u8]) -> Applied {
        let mut bytes = Vec::new();
        log::encode(
            &mut bytes,
            EXEC.id,
            Db::default(),
            &[watched.bytes(), commands],
        );
        let (mut rest, mut args) = (bytes.as_slice(), Vec::new());
        let (command, db) = log::decode(&mut rest, &mut args).unwrap();
        assert!(rest.is_empty());
        let context = WriteContext {
            db,
            stamp: keyspace.stamp(),
            seed: 1,
        };
        apply(keyspace, command, &args, context)
    }

    #[test]
    fn all_run_at_their_database_and_reads_see_the_writes() {
        let mut keyspace = keyspace();
        let commands = queue(&[
            (0, "set a 1"),
            (1, "get a"),
            (0, "incr a"),
            (0, "get a"),
            (0, "hget a f"),
        ]);
        let Reply::Array(replies) = run(&mut keyspace, &Watched::default(), &commands).reply else {
            panic!("a transaction answers with an array");
        };
        assert_eq!(replies.len(), 5);
        assert_eq!(
            replies[1..4],
            [Reply::Null, Reply::Integer(2), Reply::Bulk(b"2".into())]
        );
        assert!(replies[4].is_error());
    }

    #[test]
    fn nothing_runs_once_a_watched_key_has_changed() {
        let mut keyspace = keyspace();
        let commands = queue(&[(0, "incr a")]);
        let watched = watch_key(&keyspace, "a");
        assert_ne!(
            run(&mut keyspace, &watched, &commands).reply,
            Reply::NullArray
        );
        assert_eq!(
            run(&mut keyspace, &watched, &commands).reply,
            Reply::NullArray
        );
        let value = keyspace
            .entry(Db::default(), b"a")
            .and_then(|entry| entry.string());
        assert_eq!(value, Some(&b"1"[..]));
        let watched = watch_key(&keyspace, "a");
        keyspace.remove(Db::default(), b"a");
        assert_eq!(
            run(&mut keyspace, &watched, &commands).reply,
            Reply::NullArray
        );
    }

    #[test]
    fn what_flushes_take_out_is_handed_on() {
        let mut keyspace = keyspace();
        let commands = queue(&[
            (0, "set a 1"),
            (0, "flushdb"),
            (0, "set a 1"),
            (0, "flushall"),
        ]);
        assert!(
            run(&mut keyspace, &Watched::default(), &commands)
                .discarded
                .is_some()
        );
        assert_eq!(keyspace.len(Db::default()), 0);
    }

    #[test]
    fn picks_differ_within_a_transaction() {
        let mut keyspace = keyspace();
        let members: Vec<String> = (0..100).map(|number| number.to_string()).collect();
        let add = format!("sadd s {}", members.join(" "));
        let commands = queue(&[
            (0, &add),
            (0, "srandmember s"),
            (0, "srandmember s"),
            (0, "srandmember s"),
        ]);
        let Reply::Array(replies) = run(&mut keyspace, &Watched::default(), &commands).reply else {
            panic!("a transaction answers with an array");
        };
        assert!(replies[1] != replies[2] || replies[2] != replies[3]);
    }

    #[test]
    fn what_sessions_do_not_write_is_refused() {
        let decode = |watched: &[u8], commands: &[u8]| {
            let mut bytes = Vec::new();
            log::encode(&mut bytes, EXEC.id, Db::default(), &[watched, commands]);
            log::decode(&mut bytes.as_slice(), &mut Vec::new()).err()
        };
        let mut nested = Vec::new();
        log::encode(&mut nested, EXEC.id, Db::default(), &[b"", b""]);
        assert_eq!(decode(b"", &nested), Some(LogError::UnknownCommand(501)));
        let commands = queue(&[(0, "set a 1"), (0, "get a")]);
        assert_eq!(decode(b"", &commands), None);
        let cut = &commands[..commands.len() - 1];
        assert_eq!(decode(b"", cut), Some(LogError::Truncated));
        let keyspace = keyspace();
        let watched = watch_key(&keyspace, "key");
        assert_eq!(decode(watched.bytes(), b""), None);
        for len in 1..watched.bytes().len() {
            assert_eq!(
                decode(&watched.bytes()[..len], b""),
                Some(LogError::Truncated)
            );
        }
        assert_eq!(decode(&[16, 0], b""), Some(LogError::Database(16)));
        assert_eq!(decode(&[0, 2], b""), Some(LogError::Malformed));
    }
}
