//! The table of all data commands.

use base::{Db, Timestamp};
use keyspace::{Discarded, Keyspace};

use crate::{Reply, Spec};

/// A command's number in the log. It never changes and is never used again for another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CommandId(pub u16);

/// All there is to a command. Each file of a subject exports its records; dispatch, `COMMAND`
/// and the documentation follow from them.
#[derive(Clone, Copy, Debug)]
pub struct Command {
    /// Its number in the log.
    pub id: CommandId,
    /// What is known without running it.
    pub spec: Spec,
    /// What runs it.
    pub handler: Handler,
}

/// What runs a command. `args[0]` is the name, and [`Spec::check`] has accepted the call.
#[derive(Clone, Copy, Debug)]
pub enum Handler {
    /// Changes nothing; runs where the data is, through no log.
    Read(for<'k> fn(&'k Keyspace, &[&[u8]], ReadContext) -> Reply<'k>),
    /// Runs as part of a committed entry, the same on every replica.
    Write(fn(&mut Keyspace, &[&[u8]], WriteContext) -> Reply<'static>),
    /// A write that may take so much out of the keyspace that freeing it is worth a thread.
    Flush(fn(&mut Keyspace, &[&[u8]], WriteContext) -> Applied),
}

impl Handler {
    /// Whether it goes through the log.
    pub const fn is_write(&self) -> bool {
        !matches!(self, Handler::Read(_))
    }
}

/// Makes a [`Handler::Read`] of a function whose [`Outcome`](crate::argument::Outcome) may be a refusal.
macro_rules! reads {
    ($run:ident) => {
        $crate::Handler::Read(|keyspace, args, context| {
            $run(keyspace, args, context).unwrap_or_else(|refusal| refusal)
        })
    };
}

/// Makes a [`Handler::Write`] in the same way.
macro_rules! writes {
    ($run:ident) => {
        $crate::Handler::Write(|keyspace, args, context| {
            $run(keyspace, args, context).unwrap_or_else(|refusal| refusal)
        })
    };
}

pub(crate) use {reads, writes};

/// What a read knows beside its arguments.
#[derive(Clone, Copy, Debug)]
pub struct ReadContext {
    /// The database.
    pub db: Db,
    /// The time at which expiry is judged: the later of the last stamp and the reader's clock.
    pub now: Timestamp,
    /// What picks for RANDOMKEY and its kin.
    pub random: u64,
}

/// What a write knows beside its arguments.
#[derive(Clone, Copy, Debug)]
pub struct WriteContext {
    /// The database.
    pub db: Db,
    /// The stamp of the entry, which the keyspace has been told already.
    pub stamp: Timestamp,
    /// The seed of the entry, mixed with the command's place in it.
    pub seed: u64,
}

/// What became of a command that was applied.
pub struct Applied {
    /// The answer.
    pub reply: Reply<'static>,
    /// What a flush took out; dropping it may take long, so the caller chooses where. Boxed, as it
    /// is rare.
    pub discarded: Option<Box<Discarded>>,
}

/// Runs a decoded command on a replica. A read, which a transaction may have in the log, sees the
/// stamp as the time.
pub fn apply(
    keyspace: &mut Keyspace,
    command: &'static Command,
    args: &[&[u8]],
    context: WriteContext,
) -> Applied {
    debug_assert_eq!(
        keyspace.stamp(),
        context.stamp,
        "the entry's stamp is set before its commands"
    );
    let WriteContext { db, stamp, seed } = context;
    match command.handler {
        Handler::Write(run) => Applied {
            reply: run(keyspace, args, context),
            discarded: None,
        },
        Handler::Read(run) => {
            let context = ReadContext {
                db,
                now: stamp,
                random: seed,
            };
            Applied {
                reply: run(keyspace, args, context).into_owned(),
                discarded: None,
            }
        }
        Handler::Flush(run) => run(keyspace, args, context),
    }
}

const SUBJECTS: &[&[Command]] = &[
    crate::strings::COMMANDS,
    crate::many::COMMANDS,
    crate::ranges::COMMANDS,
    crate::counters::COMMANDS,
    crate::lcs::COMMANDS,
    crate::keys::COMMANDS,
    crate::expiry::COMMANDS,
    crate::scan::COMMANDS,
    crate::object::COMMANDS,
    crate::database::COMMANDS,
    crate::hashes::COMMANDS,
    crate::sets::COMMANDS,
    crate::sets::combining::COMMANDS,
    crate::sorted_sets::COMMANDS,
    crate::sorted_sets::ranges::COMMANDS,
    crate::sorted_sets::popping::COMMANDS,
    crate::sorted_sets::combining::COMMANDS,
    crate::lists::COMMANDS,
    crate::lists::moving::COMMANDS,
];

const COUNT: usize = {
    let mut count = 0;
    let mut subject = 0;
    while subject < SUBJECTS.len() {
        count += SUBJECTS[subject].len();
        subject += 1;
    }
    count
};

static TABLE: [Command; COUNT] = {
    let mut table = [SUBJECTS[0][0]; COUNT];
    let (mut at, mut subject) = (0, 0);
    while subject < SUBJECTS.len() {
        let mut index = 0;
        while index < SUBJECTS[subject].len() {
            table[at] = SUBJECTS[subject][index];
            at += 1;
            index += 1;
        }
        subject += 1;
    }
    table
};

/// Every data command, subject by subject.
pub static COMMANDS: &[Command] = &TABLE;

/// Ids stay below this; raise it when the last one is taken.
const IDS: usize = 512;
const NONE: u16 = u16::MAX;

/// The index into [`COMMANDS`] of each id.
static BY_ID: [u16; IDS] = {
    let mut by_id = [NONE; IDS];
    let mut index = 0;
    while index < COUNT {
        let id = TABLE[index].id.0 as usize;
        assert!(by_id[id] == NONE, "two commands share an id");
        by_id[id] = index as u16;
        index += 1;
    }
    by_id
};

/// The command of that id.
pub fn by_id(id: CommandId) -> Option<&'static Command> {
    let index = *BY_ID.get(usize::from(id.0))?;
    COMMANDS.get(usize::from(index))
}

const BUCKETS: usize = 1024;
const _: () = assert!(
    COUNT * 2 <= BUCKETS,
    "half of the buckets stay free, so that misses end soon"
);

/// Open addressing over the names, each bucket an index into [`COMMANDS`].
static BY_NAME: [u16; BUCKETS] = {
    let mut buckets = [NONE; BUCKETS];
    let mut index = 0;
    while index < COUNT {
        let mut bucket = bucket_of(TABLE[index].spec.name.as_bytes());
        while buckets[bucket] != NONE {
            bucket = (bucket + 1) % BUCKETS;
        }
        buckets[bucket] = index as u16;
        index += 1;
    }
    buckets
};

/// FNV-1a over the letters without their case.
const fn bucket_of(name: &[u8]) -> usize {
    let mut hash: u32 = 0x811c_9dc5;
    let mut index = 0;
    while index < name.len() {
        hash = (hash ^ (name[index] | 0x20) as u32).wrapping_mul(0x0100_0193);
        index += 1;
    }
    (hash ^ (hash >> 15)) as usize % BUCKETS
}

/// The command of that name, in any case.
pub fn by_name(name: &[u8]) -> Option<&'static Command> {
    // Longer than any name: not worth hashing.
    if name.len() > 32 {
        return None;
    }
    let mut bucket = bucket_of(name);
    loop {
        let command = COMMANDS.get(usize::from(BY_NAME[bucket]))?;
        if command.spec.name.as_bytes().eq_ignore_ascii_case(name) {
            return Some(command);
        }
        bucket = (bucket + 1) % BUCKETS;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// These stand in the logs of every cluster: rows may be added, never changed or used again.
    const IDS_FOREVER: &[(u16, &str)] = &[
        (1, "get"),
        (2, "set"),
        (3, "setnx"),
        (4, "setex"),
        (5, "psetex"),
        (6, "getex"),
        (7, "getdel"),
        (8, "getset"),
        (9, "mget"),
        (10, "mset"),
        (11, "msetnx"),
        (12, "append"),
        (13, "strlen"),
        (14, "getrange"),
        (15, "substr"),
        (16, "setrange"),
        (17, "incr"),
        (18, "decr"),
        (19, "incrby"),
        (20, "decrby"),
        (21, "incrbyfloat"),
        (22, "lcs"),
        (23, "del"),
        (24, "unlink"),
        (25, "exists"),
        (26, "touch"),
        (27, "type"),
        (28, "rename"),
        (29, "renamenx"),
        (30, "copy"),
        (31, "move"),
        (32, "expire"),
        (33, "pexpire"),
        (34, "expireat"),
        (35, "pexpireat"),
        (36, "ttl"),
        (37, "pttl"),
        (38, "expiretime"),
        (39, "pexpiretime"),
        (40, "persist"),
        (41, "scan"),
        (42, "keys"),
        (43, "randomkey"),
        (44, "object"),
        (45, "dbsize"),
        (46, "flushdb"),
        (47, "flushall"),
        (48, "swapdb"),
        (49, "hset"),
        (50, "hsetnx"),
        (51, "hmset"),
        (52, "hget"),
        (53, "hmget"),
        (54, "hgetall"),
        (55, "hkeys"),
        (56, "hvals"),
        (57, "hlen"),
        (58, "hstrlen"),
        (59, "hexists"),
        (60, "hdel"),
        (61, "hincrby"),
        (62, "hincrbyfloat"),
        (63, "hscan"),
        (64, "hrandfield"),
        (70, "sadd"),
        (71, "srem"),
        (72, "sismember"),
        (73, "smismember"),
        (74, "smembers"),
        (75, "scard"),
        (76, "spop"),
        (77, "srandmember"),
        (78, "smove"),
        (79, "sinter"),
        (80, "sintercard"),
        (81, "sinterstore"),
        (82, "sunion"),
        (83, "sunionstore"),
        (84, "sdiff"),
        (85, "sdiffstore"),
        (86, "sscan"),
        (120, "zadd"),
        (121, "zincrby"),
        (122, "zrem"),
        (123, "zscore"),
        (124, "zmscore"),
        (125, "zcard"),
        (126, "zcount"),
        (127, "zlexcount"),
        (128, "zrank"),
        (129, "zrevrank"),
        (130, "zrange"),
        (131, "zrangestore"),
        (132, "zrangebyscore"),
        (133, "zrevrangebyscore"),
        (134, "zrangebylex"),
        (135, "zrevrangebylex"),
        (136, "zrevrange"),
        (137, "zremrangebyrank"),
        (138, "zremrangebyscore"),
        (139, "zremrangebylex"),
        (140, "zpopmin"),
        (141, "zpopmax"),
        (142, "zmpop"),
        (143, "zrandmember"),
        (144, "zscan"),
        (145, "zunion"),
        (146, "zunionstore"),
        (147, "zinter"),
        (148, "zinterstore"),
        (149, "zintercard"),
        (150, "zdiff"),
        (151, "zdiffstore"),
        (90, "lpush"),
        (91, "rpush"),
        (92, "lpushx"),
        (93, "rpushx"),
        (94, "lpop"),
        (95, "rpop"),
        (96, "llen"),
        (97, "lrange"),
        (98, "lindex"),
        (99, "lset"),
        (100, "linsert"),
        (101, "lrem"),
        (102, "ltrim"),
        (103, "lpos"),
        (104, "lmove"),
        (105, "rpoplpush"),
        (106, "lmpop"),
    ];

    #[test]
    fn ids_never_change() {
        let ids: Vec<_> = COMMANDS
            .iter()
            .map(|command| (command.id.0, command.spec.name))
            .collect();
        assert_eq!(
            ids.len(),
            IDS_FOREVER.len(),
            "a new command has its row in the list"
        );
        for row in IDS_FOREVER {
            assert!(ids.contains(row), "{row:?}");
            assert_eq!(
                by_id(CommandId(row.0)).map(|command| command.spec.name),
                Some(row.1)
            );
        }
        assert!(by_id(CommandId(0)).is_none());
        assert!(by_id(CommandId(u16::MAX)).is_none());
    }

    #[test]
    fn names_are_found_in_any_case() {
        for command in COMMANDS {
            let name = command.spec.name;
            for name in [name.to_owned(), name.to_ascii_uppercase()] {
                let found = by_name(name.as_bytes()).map(|found| found.id);
                assert_eq!(found, Some(command.id), "{name}");
            }
        }
        for name in [
            &b""[..],
            b"gett",
            b"ge",
            b"object|freq",
            &[b'g'; 1000],
            b"\xff",
        ] {
            assert!(by_name(name).is_none());
        }
    }

    #[test]
    fn records_are_complete() {
        for command in COMMANDS {
            let Spec {
                name,
                arity,
                group,
                since,
                summary,
                complexity,
                ..
            } = command.spec;
            assert_eq!(name, name.to_ascii_lowercase());
            assert_ne!(arity, 0, "{name}");
            for text in [group, since, summary, complexity] {
                assert!(!text.is_empty(), "{name}");
            }
            for subcommand in command.spec.subcommands {
                assert!(
                    subcommand.name.starts_with(&format!("{name}|")),
                    "{}",
                    subcommand.name
                );
                assert!(!subcommand.summary.is_empty(), "{}", subcommand.name);
            }
        }
    }
}
