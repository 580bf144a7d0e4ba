//! MULTI, EXEC and WATCH: what a session keeps until EXEC, and what it then asks of a shard.
//!
//! Commands on data are queued in the form in which the transaction will hold them ([`commands::transaction`]), with
//! the database that the SELECTs before them have chosen; the shard runs them all or none. Commands of the connection
//! are run by the session at their place, once the shard has answered: a transaction that was not run has changed
//! nothing of the session either.
//!
//! What is watched is known as the version that each key had. It is sent along with the transaction, so nothing but
//! this session knows that it watches, and a lost connection leaves nothing behind.

use std::borrow::Cow;

use base::{Db, ShardId};
use commands::split::{self, Route};
use commands::transaction::{EXEC, WATCH, Watched};
use commands::{Command, Flags, Reply};

use super::data::COMMAND_BYTES;
use super::{Outcome, Session, Taking};
use crate::refusals;
use crate::server::CoreServer;
use crate::session_commands::{self, selected};

/// So many commands may be queued.
const QUEUED: usize = 1 << 20;
/// So many keys may be watched, and they may take so much.
const WATCHED: usize = 1 << 16;
const WATCHED_BYTES: usize = 64 << 20;

/// What was queued since MULTI.
pub(crate) struct Transaction {
    /// The commands on data.
    commands: Vec<u8>,
    /// The commands of the connection, each with its place among all.
    calls: Vec<(usize, Vec<Vec<u8>>)>,
    /// How many there are of both.
    len: usize,
    /// What the commands of the connection take.
    call_bytes: usize,
    /// The database at the end of the queue.
    db: Db,
    /// Where the data is; any shard as long as no command names a key.
    shard: Option<ShardId>,
    /// Whether a command was refused: EXEC will refuse the rest.
    refused: bool,
}

/// What the session makes of the one reply that it waits for.
pub(crate) enum Awaiting {
    /// These keys were looked at.
    Watch {
        db: Db,
        shard: ShardId,
        keys: Vec<Vec<u8>>,
    },
    /// A transaction in which the session runs commands of its own.
    Exec(Vec<(usize, Vec<Vec<u8>>)>),
}

/// The keys that are watched, and where they all are.
#[derive(Default)]
pub(crate) struct Watch {
    keys: Watched,
    shard: Option<ShardId>,
}

const fn text(text: &'static str) -> Reply<'static> {
    Reply::Error(Cow::Borrowed(text))
}

const EXECABORT: Reply<'static> =
    text("EXECABORT Transaction discarded because of previous errors.");
const NESTED: Reply<'static> = text("ERR MULTI calls can not be nested");
const NOT_ALLOWED: Reply<'static> = text("ERR Command not allowed inside a transaction");
const QUEUE_FULL: Reply<'static> = text(
    "ERR the transaction is larger than 513 MiB in all, or than 1048576 commands; split it up",
);
const WATCHED_FULL: Reply<'static> =
    text("ERR too much is watched: at most 65536 keys, which take 64 MiB in all");
const CROSSSLOT: Reply<'static> = text(
    "CROSSSLOT Keys in request don't hash to the same slot, and their slots lie in different shards: \
     all that a transaction watches and does must be in one; give keys that belong together one {tag}, \
     or found the cluster with cluster.shards = 1",
);

impl Session {
    /// Begins a transaction.
    pub(super) fn multi(&mut self, taking: &mut Taking<'_>) -> Outcome {
        // What was read before is shown before anything is queued, or would be queued twice.
        if !taking.end_reading() {
            return Outcome::Later;
        }
        self.transaction = Some(Box::new(Transaction {
            commands: Vec::new(),
            calls: Vec::new(),
            len: 0,
            call_bytes: 0,
            db: self.db,
            shard: self.watch.shard,
            refused: false,
        }));
        self.reply_among(Reply::Ok, taking)
    }

    /// Forgets what is queued; false if there was no MULTI.
    pub(crate) fn discard(&mut self) -> bool {
        self.unwatch();
        self.transaction.take().is_some()
    }

    /// Forgets what is watched.
    pub(crate) fn unwatch(&mut self) {
        self.watch = Watch::default();
    }

    /// Takes a command after MULTI.
    pub(super) fn take_in_transaction(
        &mut self,
        args: &[&[u8]],
        taking: &mut Taking<'_>,
        last: &mut Option<&'static str>,
    ) -> Outcome {
        if let Some(command) = commands::by_name(args[0]) {
            return match self.check(&command.spec, args) {
                Ok(spec) => {
                    *last = Some(spec.name);
                    self.queue_data(command, args, taking)
                }
                Err(refusal) => self.refuse_queueing(refusal, taking),
            };
        }
        let Some(command) = session_commands::by_name(args[0]) else {
            if session_commands::is_http(args[0]) {
                return self.end_http(taking);
            }
            return self.refuse_queueing(commands::unknown_command(args), taking);
        };
        let spec = match self.check(&command.spec, args) {
            Ok(spec) => spec,
            Err(refusal) if command.spec.name == "exec" => {
                self.discard();
                return self.reply_among(aborted_by(&refusal), taking);
            }
            Err(refusal) => return self.refuse_queueing(refusal, taking),
        };
        *last = Some(spec.name);
        match command.spec.name {
            "exec" => self.exec(taking),
            "multi" => self.reply_among(NESTED, taking),
            "discard" | "watch" | "quit" | "reset" => self.take_session_command(args, taking, last),
            // Others find out what is asked, or it has more replies than one.
            "piccolo" | "pubsub" => self.refuse_queueing(NOT_ALLOWED, taking),
            name if name.ends_with("subscribe") => self.refuse_queueing(NOT_ALLOWED, taking),
            _ if spec.flags.contains(Flags::NO_MULTI) => self.refuse_queueing(NOT_ALLOWED, taking),
            _ => self.queue_call(args, taking),
        }
    }

    fn queue_data(
        &mut self,
        command: &'static Command,
        args: &[&[u8]],
        taking: &mut Taking<'_>,
    ) -> Outcome {
        let route = match taking.shards {
            0 => Route::Refused(refusals::no_shards(&self.shared.store().why_not())),
            1 => Route::One(ShardId(0)),
            shards => split::route(&command.spec, args, shards),
        };
        let shard = match route {
            Route::One(_) if command.spec.key_positions(args).next().is_none() => None,
            Route::One(shard) => Some(shard),
            Route::Refused(refusal) => return self.refuse_queueing(refusal, taking),
            Route::Walk(_) | Route::Several(..) => return self.refuse_queueing(CROSSSLOT, taking),
        };
        let Some(transaction) = &mut self.transaction else {
            unreachable!("the caller has seen it");
        };
        if shard.is_some() && transaction.shard.is_some() && shard != transaction.shard {
            return self.refuse_queueing(CROSSSLOT, taking);
        }
        let size: usize = args.iter().map(|arg| arg.len()).sum();
        if !transaction.has_room(size) {
            return self.refuse_queueing(QUEUE_FULL, taking);
        }
        transaction.shard = transaction.shard.or(shard);
        transaction.len += 1;
        // Nothing of it will run.
        if !transaction.refused {
            let db = transaction.db;
            commands::log::encode(&mut transaction.commands, command.id, db, &args[1..]);
        }
        self.reply_among(Reply::Queued, taking)
    }

    fn queue_call(&mut self, args: &[&[u8]], taking: &mut Taking<'_>) -> Outcome {
        let Some(transaction) = &mut self.transaction else {
            unreachable!("the caller has seen it");
        };
        let size: usize = args.iter().map(|arg| arg.len()).sum();
        if !transaction.has_room(size) {
            return self.refuse_queueing(QUEUE_FULL, taking);
        }
        if args[0].eq_ignore_ascii_case(b"select")
            && let Ok(db) = selected(args[1])
        {
            transaction.db = db;
        }
        transaction.call_bytes += size;
        let args = args.iter().map(|arg| arg.to_vec()).collect();
        transaction.calls.push((transaction.len, args));
        transaction.len += 1;
        self.reply_among(Reply::Queued, taking)
    }

    /// Replies with a refusal, after which EXEC will refuse the rest.
    fn refuse_queueing(&mut self, refusal: Reply<'static>, taking: &mut Taking<'_>) -> Outcome {
        if let Some(transaction) = &mut self.transaction {
            transaction.refused = true;
        }
        self.reply_among(refusal, taking)
    }

    fn exec(&mut self, taking: &mut Taking<'_>) -> Outcome {
        let has_calls = |transaction: &Transaction| !transaction.calls.is_empty();
        // Commands of the session run alone, as they would outside of a transaction.
        if !taking.batch.is_empty() && self.transaction.as_deref().is_some_and(has_calls) {
            return Outcome::Later;
        }
        let Some(transaction) = self.transaction.take() else {
            unreachable!("the caller has seen it");
        };
        let Transaction {
            commands,
            calls,
            shard,
            refused,
            ..
        } = *transaction;
        let Watch { keys, .. } = std::mem::take(&mut self.watch);
        if refused {
            return self.reply_among(EXECABORT, taking);
        }
        if commands.is_empty() && keys.is_empty() {
            let replies = self.run_calls(calls, Vec::new(), taking.server);
            return self.reply_among(replies, taking);
        }
        let args: [&[u8]; 3] = [EXEC.spec.name.as_bytes(), keys.bytes(), &commands];
        let shard = shard.unwrap_or(ShardId(0));
        let buffers = &taking.server.buffers;
        taking.batch.push(shard, &EXEC, self.db, &args, buffers);
        if !calls.is_empty() {
            self.awaiting = Some(Awaiting::Exec(calls));
        }
        Outcome::Gathered
    }

    /// Puts the replies of the session's own commands among those of the shard.
    fn run_calls(
        &mut self,
        calls: Vec<(usize, Vec<Vec<u8>>)>,
        replies: Vec<Reply<'static>>,
        server: &CoreServer,
    ) -> Reply<'static> {
        let mut all = Vec::with_capacity(replies.len() + calls.len());
        let mut replies = replies.into_iter();
        for (place, args) in calls {
            while all.len() < place
                && let Some(reply) = replies.next()
            {
                all.push(reply);
            }
            let args: Vec<&[u8]> = args.iter().map(Vec::as_slice).collect();
            let command = session_commands::by_name(args[0]);
            let reply = command.map_or(Reply::Null, |command| (command.run)(self, &args, server));
            all.push(self.publish_at_once(server).unwrap_or(reply));
        }
        all.extend(replies);
        Reply::Array(all)
    }

    /// Begins to watch keys: the reply to [`WATCH`] will say how they stand.
    ///
    /// # Errors
    /// The refusal.
    pub(crate) fn begin_watching(
        &mut self,
        args: &[&[u8]],
        server: &CoreServer,
    ) -> Result<(), Reply<'static>> {
        if self.transaction.is_some() {
            return Err(text("ERR WATCH inside MULTI is not allowed"));
        }
        let shards = u32::try_from(server.core.store().shards()).unwrap_or(u32::MAX);
        let shard = match shards {
            0 => return Err(refusals::no_shards(&self.shared.store().why_not())),
            shards => match split::route(&WATCH.spec, args, shards) {
                Route::One(shard) => shard,
                _ => return Err(CROSSSLOT),
            },
        };
        if self.watch.shard.is_some_and(|watched| watched != shard) {
            return Err(CROSSSLOT);
        }
        let keys: Vec<Vec<u8>> = args[1..].iter().map(|key| key.to_vec()).collect();
        let bytes: usize = keys.iter().map(Vec::len).sum();
        if self.watch.keys.len() + keys.len() > WATCHED
            || self.watch.keys.size_bytes() + bytes > WATCHED_BYTES
        {
            return Err(WATCHED_FULL);
        }
        let db = self.db;
        self.awaiting = Some(Awaiting::Watch { db, shard, keys });
        Ok(())
    }

    /// Gathers what [`Session::begin_watching`] needs to know, if that is what the session waits for.
    pub(super) fn gather_watched(&mut self, args: &[&[u8]], taking: &mut Taking<'_>) -> bool {
        let Some(Awaiting::Watch { db, shard, .. }) = &self.awaiting else {
            return false;
        };
        let buffers = &taking.server.buffers;
        taking.batch.push(*shard, &WATCH, *db, args, buffers);
        true
    }

    /// Makes the client's reply of the one that the session waited for.
    pub(super) fn complete(
        &mut self,
        awaiting: Awaiting,
        reply: Reply<'static>,
        server: &CoreServer,
    ) -> Reply<'static> {
        match (awaiting, reply) {
            (Awaiting::Exec(calls), Reply::Array(replies)) => {
                self.run_calls(calls, replies, server)
            }
            (Awaiting::Watch { db, shard, keys }, reply @ Reply::Array(_)) => {
                if !self.watch.keys.push(db, &keys, &reply) {
                    return text("ERR the shard did not tell how the keys stand");
                }
                self.watch.shard = Some(shard);
                Reply::Ok
            }
            (_, reply) => reply,
        }
    }
}

/// The reply to an EXEC that was refused itself.
fn aborted_by(refusal: &Reply<'_>) -> Reply<'static> {
    let why = match refusal {
        Reply::Error(text) => text.strip_prefix("ERR ").unwrap_or(text),
        _ => "",
    };
    Reply::error(format_args!(
        "EXECABORT Transaction discarded because of: {why}"
    ))
}

impl Transaction {
    fn has_room(&self, size: usize) -> bool {
        self.len < QUEUED && self.commands.len() + self.call_bytes + size <= COMMAND_BYTES
    }
}
