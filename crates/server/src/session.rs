//! One client's session: what it has said about itself, and what becomes of its commands.

mod data;
mod listening;
mod transaction;

use std::borrow::Cow;
use std::sync::Arc;

use base::Db;
use cluster::ReadGuard;
use commands::{Flags, Reply, Spec};
use resp::{Parser, Protocol, ProtocolError};

use self::data::{Mark, Reading};
use self::transaction::{Awaiting, Transaction, Watch};
use crate::admin::AdminRequest;
use crate::batch::Batch;
use crate::clients::Client;
use crate::pubsub::{Publication, Query, Subscriptions};
use crate::render::render;
use crate::server::{CoreServer, Shared};
use crate::session_commands;
use crate::stats::Stats;

/// With this much to send, replies go out before further commands are taken.
const FLUSH_BYTES: usize = 256 << 10;
/// At most this much goes to the shards in one piece.
const SUBMIT_BYTES: usize = 1 << 20;
/// At most so many messages are handed out together.
const PUBLISH_AT_ONCE: usize = 256;

/// What a connection is to do after a session has taken commands.
pub(crate) enum Step {
    /// Send the output and read more.
    NeedsInput,
    /// Hand these to their shards, let [`Session::answer`] answer, and come again.
    Submit(Batch),
    /// Have this done, let [`Session::answer_asked`] answer, and come again.
    Ask(Asked),
    /// Hand these out, let [`Session::answer_publications`] answer, and come again.
    Publish(Vec<Publication>),
    /// Send the output and come again.
    Flush,
    /// Send the output and end the connection, for the reason given.
    Close(&'static str),
}

/// What a command asks others for.
pub(crate) enum Asked {
    /// The owner of the node.
    Admin(AdminRequest),
    /// The other nodes.
    PubSub(Query),
}

/// Which replies the client does without (`CLIENT REPLY`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Silence {
    /// It wants all.
    None,
    /// Not the next one.
    Next,
    /// It wants none.
    All,
}

/// The state of one client's session.
pub(crate) struct Session {
    pub(crate) db: Db,
    pub(crate) protocol: Protocol,
    pub(crate) authenticated: bool,
    /// Set by a command after whose reply the connection ends.
    pub(crate) closing: Option<&'static str>,
    /// Set by a command that others are to answer; its own reply is not shown.
    pub(crate) asked: Option<Asked>,
    /// Replies to one command that has more than one: these come before the one that it gives.
    pub(crate) several: Vec<Reply<'static>>,
    /// What it listens to.
    pub(crate) subscriptions: Subscriptions,
    /// Messages that wait to be handed out, before anything else is done.
    publications: Vec<Publication>,
    /// Reads may be served by any replica, however old (`READONLY`).
    pub(crate) stale: bool,
    pub(crate) shared: Arc<Shared>,
    client: Arc<Client>,
    /// The last command that the client was noted with, and its database.
    noted: (&'static str, Db),
    stats: Arc<Stats>,
    parser: Parser,
    silence: Silence,
    /// Whether the reply of the command at hand is left out.
    silent: bool,
    /// How many replies of [`Step::Submit`] are left out, the first ones.
    left_out: usize,
    /// What is queued, after MULTI.
    transaction: Option<Box<Transaction>>,
    watch: Watch,
    /// What becomes of the only reply of [`Step::Submit`], if it is not for the client as it is.
    awaiting: Option<Awaiting>,
}

/// What one command led to.
enum Outcome {
    /// Its reply is in the output.
    Replied,
    /// It was gathered for its shards.
    Gathered,
    /// It cannot run before what was gathered, or before what was read is read anew; it is to be taken
    /// again after that.
    Later,
    /// Others are to answer it.
    Asked(Asked),
    /// It is a message that waits with others.
    Published,
}

/// What lasts while commands are taken from one buffer.
struct Taking<'s> {
    server: &'s CoreServer,
    output: &'s mut Vec<u8>,
    /// The number of shards of the cluster; 0 while the node knows none.
    shards: u32,
    /// The bytes of the input that are done with, and so many commands.
    consumed: usize,
    taken: u64,
    /// Held over consecutive reads of one shard.
    reading: Option<Reading<'s>>,
    /// Where reads began that have turned out to be of no use.
    outdated: Option<Mark>,
    /// Whether reads may run here rather than be gathered.
    may_read: bool,
    /// What reads here have looked at.
    effort: usize,
    /// What was gathered last is to be alone.
    alone: bool,
    /// What the client wanted before the command at hand.
    silence: Silence,
    /// Asked after reads and before anybody sees them.
    still_valid: fn(&ReadGuard<'_>) -> bool,
    batch: Batch,
}

impl Session {
    pub(crate) fn new(shared: Arc<Shared>, client: Arc<Client>, stats: Arc<Stats>) -> Session {
        let authenticated = !shared.needs_password();
        Session {
            db: Db::default(),
            protocol: Protocol::Resp2,
            authenticated,
            closing: None,
            asked: None,
            several: Vec::new(),
            subscriptions: shared.pubsub.subscriptions(Arc::clone(&client)),
            publications: Vec::new(),
            stale: false,
            shared,
            client,
            noted: ("", Db::default()),
            stats,
            parser: Parser::new(),
            silence: Silence::None,
            silent: false,
            left_out: 0,
            transaction: None,
            watch: Watch::default(),
            awaiting: None,
        }
    }

    /// What others may know of the client.
    pub(crate) fn client(&self) -> Arc<Client> {
        Arc::clone(&self.client)
    }

    /// Another core serves the client from now on, and counts here.
    pub(crate) fn move_to(&mut self, stats: Arc<Stats>) {
        self.stats = stats;
    }

    /// A hint how many more bytes the command at hand needs.
    pub(crate) fn needed(&self) -> usize {
        self.parser.needed()
    }

    pub(crate) fn flush_at(&self) -> usize {
        FLUSH_BYTES
    }

    /// The client has sent something.
    pub(crate) fn note_activity(&self) {
        self.client.note_activity(self.shared.about_now());
    }

    /// Back to the state of a new connection, as `RESET` asks for.
    pub(crate) fn reset(&mut self) {
        self.db = Db::default();
        self.stale = false;
        self.discard();
        self.set_protocol(Protocol::Resp2);
        self.authenticated = !self.shared.needs_password();
        self.subscriptions.clear();
        self.client.take_pushes(&mut Vec::new());
        if self.silence == Silence::All {
            self.silence = Silence::None;
            self.silent = false;
        }
        self.client.reset();
    }

    pub(crate) fn set_protocol(&mut self, protocol: Protocol) {
        self.protocol = protocol;
        self.client.described().resp3 = protocol == Protocol::Resp3;
    }

    /// Whether the client has shown the password, or need not.
    pub(crate) fn is_authenticated(&mut self) -> bool {
        if !self.authenticated {
            // The password may have been taken away since the client connected.
            self.authenticated = !self.shared.needs_password();
        }
        self.authenticated
    }

    /// Whether commands are queued.
    pub(crate) fn in_transaction(&self) -> bool {
        self.transaction.is_some()
    }

    /// What the client wants from this command on, whose own reply falls under it.
    pub(crate) fn silence(&mut self, wanted: Silence) {
        self.silent = wanted != Silence::None;
        if wanted != Silence::Next || self.silence != Silence::All {
            self.silence = wanted;
        }
    }

    /// Takes the commands at the front of `input` and appends their replies to `output`. `consumed`
    /// tells how many bytes of `input` are done with.
    pub(crate) fn take_commands(
        &mut self,
        input: &[u8],
        consumed: &mut usize,
        output: &mut Vec<u8>,
        server: &CoreServer,
    ) -> Step {
        self.take_commands_if(input, consumed, output, server, |guard| guard.still_valid())
    }

    /// As [`Session::take_commands`]; `still_valid` says whether what was read under a guard is.
    pub(crate) fn take_commands_if(
        &mut self,
        input: &[u8],
        consumed: &mut usize,
        output: &mut Vec<u8>,
        server: &CoreServer,
        still_valid: fn(&ReadGuard<'_>) -> bool,
    ) -> Step {
        let shards = u32::try_from(server.core.store().shards()).unwrap_or(u32::MAX);
        let mut taking = Taking {
            server,
            output,
            shards,
            consumed: 0,
            taken: 0,
            reading: None,
            outdated: None,
            may_read: true,
            effort: 0,
            alone: false,
            silence: self.silence,
            still_valid,
            batch: server.buffers.take_batch(shards),
        };
        let mut last = None;
        let step = loop {
            let step = self.take_some(input, &mut taking, &mut last);
            taking.end_reading();
            match taking.outdated.take() {
                None => break step,
                Some(mark) => self.read_anew(mark, &mut taking),
            }
        };
        *consumed = taking.consumed;
        server.stats.note_commands(taking.taken, *consumed);
        if let Some(name) = last
            && self.noted != (name, self.db)
        {
            self.noted = (name, self.db);
            self.client.note_command(name, self.db);
        }
        if taking.batch.is_empty() {
            server.buffers.give_batch(taking.batch);
            if !self.publications.is_empty() {
                return Step::Publish(std::mem::take(&mut self.publications));
            }
            return step;
        }
        // Whatever the step was, it comes again once these are answered.
        Step::Submit(taking.batch)
    }

    fn take_some(
        &mut self,
        input: &[u8],
        taking: &mut Taking<'_>,
        last: &mut Option<&'static str>,
    ) -> Step {
        let limits = self.shared.limits(self.authenticated);
        let mut args: Vec<&[u8]> = taking.server.buffers.take_args();
        let mut looked_ahead = 0;
        let step = loop {
            if taking.output.len() >= FLUSH_BYTES
                || taking.batch.size_bytes() >= SUBMIT_BYTES
                || self.publications.len() >= PUBLISH_AT_ONCE
            {
                break Step::Flush;
            }
            let rest = &input[taking.consumed..];
            let replied_bytes = taking.output.len();
            if looked_ahead == 0
                && !rest.is_empty()
                && let Some(reading) = &taking.reading
            {
                looked_ahead = reading.look_ahead(rest, &limits, self.db, taking.shards);
            }
            looked_ahead = looked_ahead.saturating_sub(1);
            let (length, outcome) = match self.parser.parse(rest, &limits, &mut args) {
                Ok(None) => break Step::NeedsInput,
                Ok(Some(length)) if args.is_empty() => {
                    taking.consumed += length;
                    continue;
                }
                Ok(Some(length)) => (length, self.take(&args, taking, last)),
                Err(ProtocolError::InlineEscapes) => match resp::split_inline(rest) {
                    Ok((length, owned)) => {
                        let args: Vec<&[u8]> = owned.iter().map(Vec::as_slice).collect();
                        (length, self.take(&args, taking, last))
                    }
                    Err(error) => break self.protocol_error(&error, taking),
                },
                Err(error) => break self.protocol_error(&error, taking),
            };
            if let Outcome::Later = outcome {
                break Step::Flush;
            }
            taking.consumed += length;
            taking.taken += 1;
            if self.silent {
                self.leave_out(&outcome, replied_bytes, taking.output);
            }
            if self.awaiting.is_some() {
                break Step::Flush;
            }
            if let Outcome::Asked(request) = outcome {
                break Step::Ask(request);
            }
            if let Some(why) = self.closing {
                break Step::Close(why);
            }
            if limits.authenticated != self.authenticated {
                break Step::Flush;
            }
        };
        taking.server.buffers.give_args(args);
        step
    }

    /// Appends what became of the commands of [`Step::Submit`].
    pub(crate) fn answer(&mut self, mut batch: Batch, output: &mut Vec<u8>, server: &CoreServer) {
        let mut left_out = std::mem::take(&mut self.left_out);
        if let Some(awaiting) = self.awaiting.take() {
            let mut awaited = None;
            batch.take_replies(&server.buffers, |reply| {
                awaited = reply.map(|reply| reply.clone().into_owned());
            });
            server.buffers.give_batch(batch);
            let Some(reply) = awaited else {
                return self.close_over_limit();
            };
            let reply = self.complete(awaiting, reply, server);
            if left_out == 0 {
                self.reply(&reply, output);
            }
            return;
        }
        batch.take_replies(&server.buffers, |reply| match reply {
            _ if self.closing.is_some() => {}
            None => self.close_over_limit(),
            Some(_) if left_out > 0 => left_out -= 1,
            Some(reply) => self.reply(reply, output),
        });
        server.buffers.give_batch(batch);
    }

    /// Appends the answer to [`Step::Ask`].
    pub(crate) fn answer_asked(&mut self, reply: &Reply<'_>, output: &mut Vec<u8>) {
        if !self.silent {
            self.reply(reply, output);
        }
    }

    /// Drops the reply of a command that the client wants none of.
    #[cold]
    fn leave_out(&mut self, outcome: &Outcome, replied_bytes: usize, output: &mut Vec<u8>) {
        match outcome {
            Outcome::Replied => output.truncate(replied_bytes),
            // Whatever was gathered before it is silent too: `CLIENT REPLY` itself is never gathered.
            Outcome::Gathered => self.left_out += 1,
            Outcome::Published => {
                if let Some(last) = self.publications.last_mut() {
                    last.silent = true;
                }
            }
            Outcome::Later | Outcome::Asked(_) => {}
        }
    }

    #[cold]
    fn close_over_limit(&mut self) {
        if self.closing.is_none() {
            tracing::warn!(
                client = self.client.id(),
                address = %self.client.address(),
                limit_bytes = self.shared.config.output_limit_bytes,
                "hanging up on a client: its replies exceed redis.output_buffer_limit"
            );
            self.closing = Some("its replies exceed redis.output_buffer_limit");
        }
    }

    #[inline]
    fn reply(&mut self, reply: &Reply<'_>, output: &mut Vec<u8>) {
        if let Reply::Error(text) = reply {
            self.stats.note_error(text);
        }
        if output.len() + reply.size_bytes() > self.shared.config.output_limit_bytes {
            self.close_over_limit();
            return;
        }
        render(reply, self.protocol, output);
    }

    /// Takes one command.
    #[inline]
    fn take<'s>(
        &mut self,
        args: &[&[u8]],
        taking: &mut Taking<'s>,
        last: &mut Option<&'static str>,
    ) -> Outcome {
        taking.silence = self.silence;
        self.silent = self.silence != Silence::None;
        if self.silence == Silence::Next {
            self.silence = Silence::None;
        }
        if taking.alone || !self.publications.is_empty() && !session_commands::publishes(args[0]) {
            return Outcome::Later;
        }
        if self.transaction.is_some() {
            return self.take_in_transaction(args, taking, last);
        }
        let Some(command) = commands::by_name(args[0]) else {
            return self.take_session_command(args, taking, last);
        };
        match self.check(&command.spec, args) {
            Ok(spec) => *last = Some(spec.name),
            Err(refusal) => return self.reply_in_order(&refusal, taking),
        }
        self.take_data(command, args, taking)
    }

    #[cold]
    fn take_session_command(
        &mut self,
        args: &[&[u8]],
        taking: &mut Taking<'_>,
        last: &mut Option<&'static str>,
    ) -> Outcome {
        let Some(command) = session_commands::by_name(args[0]) else {
            if session_commands::is_http(args[0]) {
                return self.end_http(taking);
            }
            return self.reply_in_order(&commands::unknown_command(args), taking);
        };
        if command.spec.name == "multi" && self.check(&command.spec, args).is_ok() {
            *last = Some(command.spec.name);
            return self.multi(taking);
        }
        // It may look at the keyspace itself, and change what the commands before it went by.
        if !taking.batch.is_empty() || !taking.end_reading() {
            return Outcome::Later;
        }
        let before = self.publications.len();
        let reply = match self.check(&command.spec, args) {
            Ok(spec) => {
                *last = Some(spec.name);
                // At once, as it may be about to list clients.
                self.noted = (spec.name, self.db);
                self.client.note_command(spec.name, self.db);
                (command.run)(self, args, taking.server)
            }
            Err(refusal) => refusal,
        };
        if self.gather_watched(args, taking) {
            return Outcome::Gathered;
        }
        if let Some(asked) = self.asked.take() {
            return Outcome::Asked(asked);
        }
        if self.publications.len() > before {
            return Outcome::Published;
        }
        if !self.several.is_empty() || matches!(reply, Reply::Push(_)) {
            // Messages of what ends here came before the word that it has ended.
            self.client.take_pushes(taking.output);
        }
        for reply in std::mem::take(&mut self.several) {
            self.reply(&reply, taking.output);
        }
        self.reply(&reply, taking.output);
        Outcome::Replied
    }

    /// The record that the call falls under, or why it may not run.
    #[inline]
    fn check(
        &mut self,
        spec: &'static Spec,
        args: &[&[u8]],
    ) -> Result<&'static Spec, Reply<'static>> {
        let spec = spec.check(args)?;
        self.check_listening(spec)?;
        if self.authenticated || spec.flags.contains(Flags::NO_AUTH) || self.is_authenticated() {
            Ok(spec)
        } else {
            Err(NOAUTH)
        }
    }

    /// A browser that was led here must not be able to say anything: the connection ends without
    /// an answer.
    fn end_http(&mut self, taking: &mut Taking<'_>) -> Outcome {
        if !taking.batch.is_empty() {
            return Outcome::Later;
        }
        self.shared.note_attack(self.client.address());
        self.closing = Some("it sent an HTTP request");
        Outcome::Replied
    }

    /// Replies at once, if nothing that came before waits for its own reply.
    fn reply_in_order(&mut self, reply: &Reply<'_>, taking: &mut Taking<'_>) -> Outcome {
        if !taking.batch.is_empty() || !self.publications.is_empty() {
            return Outcome::Later;
        }
        self.reply(reply, taking.output);
        Outcome::Replied
    }

    /// Replies after what was gathered, without waiting for that.
    fn reply_among(&mut self, reply: Reply<'static>, taking: &mut Taking<'_>) -> Outcome {
        if taking.batch.is_empty() {
            self.reply(&reply, taking.output);
            return Outcome::Replied;
        }
        taking.batch.push_known(reply);
        Outcome::Gathered
    }

    fn protocol_error(&mut self, error: &ProtocolError, taking: &mut Taking<'_>) -> Step {
        if !taking.batch.is_empty() || !self.publications.is_empty() {
            // What came before the error is answered first; then the error is met again.
            self.parser = Parser::new();
            return Step::Flush;
        }
        let text = format!("ERR {error}");
        self.stats.note_error(&text);
        resp::encode::error(taking.output, &text);
        Step::Close("the client broke the protocol")
    }
}

const NOAUTH: Reply<'static> = Reply::Error(Cow::Borrowed("NOAUTH Authentication required."));
