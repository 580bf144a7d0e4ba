//! Whole databases: DBSIZE, FLUSHDB, FLUSHALL, SWAPDB.

use keyspace::{Discarded, Keyspace};

use crate::argument::{Outcome, SYNTAX, is};
use crate::spec::{Categories, Flags, Spec};
use crate::split::{Gather, Split};
use crate::table::reads;
use crate::{Applied, Command, CommandId, Handler, ReadContext, Reply, WriteContext};

const SERVER: Spec = Spec {
    categories: Categories::KEYSPACE,
    group: "server",
    since: "1.0.0",
    ..Spec::EMPTY
};

const FLUSH: Spec = Spec {
    arity: -1,
    flags: Flags::WRITE,
    categories: Categories::KEYSPACE.with(Categories::DANGEROUS),
    syntax: "[ASYNC | SYNC]",
    tips: &["request_policy:all_shards", "response_policy:all_succeeded"],
    split: Split::Everywhere(Gather::AllOk),
    ..SERVER
};

pub(crate) const COMMANDS: &[Command] = &[
    Command {
        id: CommandId(45),
        spec: Spec {
            name: "dbsize",
            arity: 1,
            flags: Flags::READONLY.with(Flags::FAST),
            summary: "Counts the keys of the database.",
            complexity: "O(1)",
            tips: &["request_policy:all_shards", "response_policy:agg_sum"],
            split: Split::Everywhere(Gather::Sum),
            ..SERVER
        },
        handler: reads!(dbsize),
    },
    Command {
        id: CommandId(46),
        spec: Spec {
            name: "flushdb",
            summary: "Removes all keys of the database.",
            complexity: "O(N), N being the number of keys in the database",
            ..FLUSH
        },
        handler: Handler::Flush(flushdb),
    },
    Command {
        id: CommandId(47),
        spec: Spec {
            name: "flushall",
            summary: "Removes all keys of all databases.",
            complexity: "O(N), N being the number of keys in all databases",
            ..FLUSH
        },
        handler: Handler::Flush(flushall),
    },
    Command {
        id: CommandId(48),
        spec: Spec {
            name: "swapdb",
            arity: 3,
            flags: Flags::WRITE.with(Flags::FAST),
            categories: Categories::KEYSPACE.with(Categories::DANGEROUS),
            since: "4.0.0",
            summary: "Is refused: databases cannot be swapped.",
            complexity: "O(1)",
            syntax: "index1 index2",
            ..SERVER
        },
        // Nothing changes, so it need not go through the log to be refused.
        handler: reads!(swapdb),
    },
];

fn dbsize<'k>(keyspace: &'k Keyspace, _args: &[&[u8]], context: ReadContext) -> Outcome<'k> {
    Ok(keyspace.len(context.db).into())
}

/// Either word changes nothing: where the memory is freed is the caller's choice.
fn flush(args: &[&[u8]], take: impl FnOnce() -> Discarded) -> Applied {
    match args {
        [_] => {}
        [_, mode] if is(mode, "ASYNC") || is(mode, "SYNC") => {}
        _ => {
            return Applied {
                reply: SYNTAX,
                discarded: None,
            };
        }
    }
    Applied {
        reply: Reply::Ok,
        discarded: Some(Box::new(take())),
    }
}

fn flushdb(keyspace: &mut Keyspace, args: &[&[u8]], context: WriteContext) -> Applied {
    flush(args, || keyspace.flush_db(context.db))
}

fn flushall(keyspace: &mut Keyspace, args: &[&[u8]], _context: WriteContext) -> Applied {
    flush(args, || keyspace.flush_all())
}

fn swapdb<'k>(_keyspace: &'k Keyspace, _args: &[&[u8]], _context: ReadContext) -> Outcome<'k> {
    Err(Reply::refusal(
        "ERR SWAPDB is not supported: the number of its database is part of every key, so a swap \
         would rewrite both databases. Let clients SELECT the other one, or use MOVE and COPY",
    ))
}
