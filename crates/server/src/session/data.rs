//! What becomes of a command on data: it runs here, or it is gathered for its shards.
//!
//! A read runs here while the shard's reads are linearizable here and nothing before it waits. What was
//! read is looked at by nobody before the shard has said once more that it was up to date; where it says
//! no, the session goes back to where it began to read and gathers the commands instead. No two shards
//! are held at once: each may have a writer that waits for the other's reader.

use base::{Db, ShardId};
use cluster::ReadGuard;
use commands::split::{self, Gather, Part, Route};
use commands::{Command, Flags, Handler, ReadContext, Reply, SHORT_BYTES, effort, hangs_on_clock};
use keyspace::Keyspace;
use resp::{Limits, Parser};

use super::{Outcome, Session, Silence, Taking};
use crate::refusals;
use crate::server::CoreServer;

/// A command that is gathered is at most this large in all: the largest value, and its key. It stands in
/// one entry of the log.
pub(super) const COMMAND_BYTES: usize = (512 << 20) + (1 << 20);

/// What runs a read.
type Run = for<'k> fn(&'k Keyspace, &[&[u8]], ReadContext) -> Reply<'k>;

/// Reads of one shard, one after another.
pub(super) struct Reading<'s> {
    shard: ShardId,
    keyspace: ReadGuard<'s>,
    /// Its client takes what may be old.
    stale: bool,
    /// What the first of them found.
    since: Mark,
}

/// A place between two commands.
#[derive(Clone, Copy)]
pub(super) struct Mark {
    consumed: usize,
    taken: u64,
    replied_bytes: usize,
    silence: Silence,
}

impl<'s> Taking<'s> {
    /// Lets go of the shard that is being read. Tells whether what was read may be shown; if not, nothing
    /// may be taken before [`Session::read_anew`].
    #[inline]
    pub(super) fn end_reading(&mut self) -> bool {
        let Some(reading) = self.reading.take() else {
            return true;
        };
        let valid = reading.stale || (self.still_valid)(&reading.keyspace);
        if !valid {
            self.outdated = Some(reading.since);
        }
        valid
    }

    /// The shard's keyspace, if its reads are linearizable here, or if `stale` and there is a replica.
    #[inline]
    fn guard(&self, shard: ShardId, stale: bool) -> Option<ReadGuard<'s>> {
        let server: &'s CoreServer = self.server;
        let (store, shard) = (server.core.store(), shard.0 as usize);
        if stale {
            store.read_stale(shard)
        } else {
            store.read(shard)
        }
    }
}

impl Session {
    /// Takes a command that [`Session::check`] has accepted.
    #[inline]
    pub(super) fn take_data(
        &mut self,
        command: &'static Command,
        args: &[&[u8]],
        taking: &mut Taking<'_>,
    ) -> Outcome {
        match taking.shards {
            0 => {
                let refusal = refusals::no_shards(&self.shared.store().why_not());
                self.reply_in_order(&refusal, taking)
            }
            1 => self.take_at(ShardId(0), command, args, taking),
            shards => self.take_routed(shards, command, args, taking),
        }
    }

    fn take_routed(
        &mut self,
        shards: u32,
        command: &'static Command,
        args: &[&[u8]],
        taking: &mut Taking<'_>,
    ) -> Outcome {
        match split::route(&command.spec, args, shards) {
            Route::One(shard) => self.take_at(shard, command, args, taking),
            Route::Walk(shard) => self.take_walk(shard, command, args, taking),
            Route::Several(parts, gather) => self.take_split(parts, gather, command, args, taking),
            Route::Refused(refusal) => self.reply_in_order(&refusal, taking),
        }
    }

    /// Takes a command all of whose keys are in one shard.
    #[inline]
    fn take_at(
        &mut self,
        shard: ShardId,
        command: &'static Command,
        args: &[&[u8]],
        taking: &mut Taking<'_>,
    ) -> Outcome {
        if taking.may_read
            && taking.batch.is_empty()
            && let Handler::Read(run) = command.handler
            && let Some(outcome) = self.read(shard, (command, run), args, taking)
        {
            return outcome;
        }
        if let Some(outcome) = self.before_gathering(args, taking) {
            return outcome;
        }
        if self.goes_alone(shard, command, args, taking) {
            if !taking.batch.is_empty() {
                return Outcome::Later;
            }
            taking.alone = true;
        }
        let buffers = &taking.server.buffers;
        taking.batch.push(shard, command, self.db, args, buffers);
        Outcome::Gathered
    }

    /// Whether it is a read that may take long: with a write beside it, it would run where that is applied.
    #[inline]
    fn goes_alone(
        &self,
        shard: ShardId,
        command: &Command,
        args: &[&[u8]],
        taking: &Taking<'_>,
    ) -> bool {
        if command.handler.is_write() || command.spec.flags.contains(Flags::FAST) {
            return false;
        }
        // What a follower has tells as much; one that has nothing cannot tell.
        let keyspace = taking.server.core.store().read_for_status(shard.0 as usize);
        let effort = keyspace.map(|keyspace| effort(&command.spec, args, &keyspace, self.db));
        effort.is_some_and(|effort| !is_short(&effort))
    }

    /// Runs a read. `None` if the shard's reads are not linearizable here, if only an entry can say whether a
    /// key that it looks at has expired, or if it may take long: then this thread should not be the one.
    #[inline]
    fn read(
        &mut self,
        shard: ShardId,
        (command, run): (&'static Command, Run),
        args: &[&[u8]],
        taking: &mut Taking<'_>,
    ) -> Option<Outcome> {
        if taking
            .reading
            .as_ref()
            .is_none_or(|reading| reading.shard != shard)
        {
            if !taking.end_reading() {
                return Some(Outcome::Later);
            }
            taking.reading = Some(Reading {
                shard,
                keyspace: taking.guard(shard, self.stale)?,
                stale: self.stale,
                since: self.mark(taking),
            });
        }
        let reading = taking.reading.as_ref()?;
        let context = self.read_context(&reading.keyspace, taking.server);
        if !self.stale {
            let effort = effort_unless_asked(command, args, &reading.keyspace, context)?;
            taking.effort = taking.effort.checked_add(effort).filter(is_short)?;
        }
        let reply = run(&reading.keyspace, args, context);
        self.reply(&reply, taking.output);
        Some(Outcome::Replied)
    }

    fn read_context(&self, keyspace: &ReadGuard<'_>, server: &CoreServer) -> ReadContext {
        ReadContext {
            db: self.db,
            now: keyspace.now(),
            random: server.random(),
        }
    }

    fn mark(&self, taking: &Taking<'_>) -> Mark {
        Mark {
            consumed: taking.consumed,
            taken: taking.taken,
            replied_bytes: taking.output.len(),
            silence: taking.silence,
        }
    }

    /// Goes back to where it began to read what turned out to be of no use. Nothing was gathered since,
    /// and nothing of the session has changed but what is undone here.
    #[cold]
    pub(super) fn read_anew(&mut self, mark: Mark, taking: &mut Taking<'_>) {
        taking.consumed = mark.consumed;
        taking.taken = mark.taken;
        taking.output.truncate(mark.replied_bytes);
        taking.may_read = false;
        self.silence = mark.silence;
        // What is set while data is read says that there is too much of it.
        self.closing = None;
        // It may have looked at a part of the command after.
        self.parser = Parser::new();
    }

    /// Takes a SCAN, which is at that shard.
    fn take_walk(
        &mut self,
        shard: ShardId,
        command: &'static Command,
        args: &[&[u8]],
        taking: &mut Taking<'_>,
    ) -> Outcome {
        if taking.may_read
            && taking.batch.is_empty()
            && let Handler::Read(run) = command.handler
        {
            if !taking.end_reading() {
                return Outcome::Later;
            }
            if let Some(reply) = self.read_once(shard, (command, run), args, taking) {
                let reply = split::next_cursor(reply, shard, taking.shards);
                self.reply(&reply, taking.output);
                return Outcome::Replied;
            }
        }
        if let Some(outcome) = self.before_gathering(args, taking) {
            return outcome;
        }
        let buffers = &taking.server.buffers;
        taking
            .batch
            .push_walk(shard, command, self.db, args, buffers);
        Outcome::Gathered
    }

    /// Takes a command that several shards share.
    fn take_split(
        &mut self,
        parts: Vec<Part<'_>>,
        gather: Gather,
        command: &'static Command,
        args: &[&[u8]],
        taking: &mut Taking<'_>,
    ) -> Outcome {
        let random = taking.server.random();
        if taking.may_read
            && taking.batch.is_empty()
            && let Handler::Read(run) = command.handler
        {
            if !taking.end_reading() {
                return Outcome::Later;
            }
            // A look at all of them is cheap beside reads that come to nothing.
            let readable = |part: &Part<'_>| taking.guard(part.shard, self.stale).is_some();
            let read = |part: &Part<'_>| {
                let reply = self.read_once(part.shard, (command, run), &part.args, taking)?;
                Some((part.places.clone(), reply))
            };
            if parts.iter().all(readable)
                && let Some(replies) = parts.iter().map(read).collect()
            {
                let reply = gather.gather(replies, random);
                self.reply(&reply, taking.output);
                return Outcome::Replied;
            }
        }
        if let Some(outcome) = self.before_gathering(args, taking) {
            return outcome;
        }
        let long = |part: &Part<'_>| self.goes_alone(part.shard, command, &part.args, taking);
        if parts.iter().any(long) {
            if !taking.batch.is_empty() {
                return Outcome::Later;
            }
            taking.alone = true;
        }
        let buffers = &taking.server.buffers;
        let batch = &mut taking.batch;
        batch.push_several(parts, gather, command, self.db, random, buffers);
        Outcome::Gathered
    }

    /// Runs one read by itself. `None` if it cannot run here.
    fn read_once(
        &self,
        shard: ShardId,
        (command, run): (&'static Command, Run),
        args: &[&[u8]],
        taking: &Taking<'_>,
    ) -> Option<Reply<'static>> {
        let keyspace = taking.guard(shard, self.stale)?;
        let context = self.read_context(&keyspace, taking.server);
        if !self.stale {
            effort_unless_asked(command, args, &keyspace, context).filter(is_short)?;
        }
        let reply = run(&keyspace, args, context).into_owned();
        let valid = self.stale || (taking.still_valid)(&keyspace);
        valid.then_some(reply)
    }

    /// What becomes of a command that is to be gathered, if it may not be.
    #[inline]
    fn before_gathering(&mut self, args: &[&[u8]], taking: &mut Taking<'_>) -> Option<Outcome> {
        // The turn that applies writes takes the keyspace for itself.
        if !taking.end_reading() {
            return Some(Outcome::Later);
        }
        let size: usize = args.iter().map(|arg| arg.len()).sum();
        if size > COMMAND_BYTES {
            return Some(self.reply_in_order(&refusals::TOO_LARGE, taking));
        }
        None
    }
}

/// How much a read looks at, unless the shard has to be asked for it, though its reads are linearizable here.
#[inline]
fn effort_unless_asked(
    command: &Command,
    args: &[&[u8]],
    keyspace: &Keyspace,
    context: ReadContext,
) -> Option<usize> {
    let ReadContext { db, now, .. } = context;
    let hangs = hangs_on_clock(&command.spec, args, keyspace, db, now);
    (!hangs).then(|| effort(&command.spec, args, keyspace, db))
}

fn is_short(effort: &usize) -> bool {
    *effort <= SHORT_BYTES
}

impl Reading<'_> {
    /// Asks for the memory of the keys of the next commands together, as far as they have arrived: one
    /// after another, each read would wait for its own. Tells how many commands that were, at least 1.
    pub(super) fn look_ahead(&self, bytes: &[u8], limits: &Limits, db: Db, shards: u32) -> usize {
        const AT_MOST: usize = 16;
        // Among many shards, the next keys are in others.
        if shards > 1 {
            return usize::MAX;
        }
        let mut parser = Parser::new();
        let mut args = Vec::with_capacity(8);
        let mut keys: [&[u8]; AT_MOST] = [&[]; AT_MOST];
        let (mut at, mut commands) = (0, 0);
        while commands < AT_MOST
            && let Ok(Some(length)) = parser.parse(&bytes[at..], limits, &mut args)
        {
            at += length;
            keys[commands] = args.get(1).copied().unwrap_or_default();
            commands += 1;
        }
        if commands > 1 {
            self.keyspace
                .prefetch(keys[..commands].iter().map(|key| (db, *key)));
        }
        commands.max(1)
    }
}
