//! One client's session: what it has said about itself, and what becomes of its commands.

use std::borrow::Cow;
use std::sync::Arc;

use base::Db;
use cluster::{Commands, ReadGuard, Refusal};
use commands::{Command, Flags, Handler, ReadContext, Reply, Spec};
use keyspace::Keyspace;
use resp::{Limits, Parser, Protocol, ProtocolError};

use crate::clients::Client;
use crate::render::render;
use crate::server::{CoreServer, Shared};
use crate::session_commands;
use crate::stats::Stats;

/// With this much to send, replies go out before further commands are taken.
const FLUSH_BYTES: usize = 256 << 10;
/// At most this much goes to the shard in one piece.
const SUBMIT_BYTES: usize = 1 << 20;
/// A command that writes is at most this large in all: the largest value, and its key. It stands in one
/// entry of the log.
const WRITE_BYTES: usize = (512 << 20) + (1 << 20);
/// The only shard there is.
const SHARD: usize = 0;

/// What a connection is to do after a session has taken commands.
pub(crate) enum Step {
    /// Send the output and read more.
    NeedsInput,
    /// Hand these to the shard, let [`Session::answer`] answer, and come again.
    Submit(Commands),
    /// Send the output and come again.
    Flush,
    /// Send the output and end the connection, for the reason given.
    Close(&'static str),
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
    /// How many commands the connection was given with [`Step::Submit`].
    submitted: usize,
}

/// What one command led to.
enum Outcome {
    /// Its reply is in the output.
    Replied,
    /// It was gathered for the shard.
    Gathered,
    /// It cannot run before what was gathered; it is to be taken again after that.
    Later,
}

/// What lasts while commands are taken from one buffer.
struct Taking<'s> {
    server: &'s CoreServer,
    output: &'s mut Vec<u8>,
    /// Held over consecutive reads.
    keyspace: Option<ReadGuard<'s>>,
    gathered: Commands,
}

impl Session {
    pub(crate) fn new(shared: Arc<Shared>, client: Arc<Client>, stats: Arc<Stats>) -> Session {
        let authenticated = !shared.needs_password();
        Session {
            db: Db::default(),
            protocol: Protocol::Resp2,
            authenticated,
            closing: None,
            shared,
            client,
            noted: ("", Db::default()),
            stats,
            parser: Parser::new(),
            silence: Silence::None,
            silent: false,
            left_out: 0,
            submitted: 0,
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
        self.set_protocol(Protocol::Resp2);
        self.authenticated = !self.shared.needs_password();
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
        let limits = self.shared.limits(self.authenticated);
        let mut args: Vec<&[u8]> = server.buffers.take_args();
        let mut taking = Taking {
            server,
            output,
            keyspace: None,
            gathered: server.buffers.take_commands(),
        };
        let mut taken = 0;
        let mut looked_ahead = 0;
        let mut last = None;
        let step = loop {
            if taking.output.len() >= FLUSH_BYTES || taking.gathered.size_bytes() >= SUBMIT_BYTES {
                break Step::Flush;
            }
            let rest = &input[*consumed..];
            let replied_bytes = taking.output.len();
            if looked_ahead == 0
                && !rest.is_empty()
                && let Some(keyspace) = &taking.keyspace
            {
                looked_ahead = look_ahead(rest, &limits, self.db, keyspace);
            }
            looked_ahead = looked_ahead.saturating_sub(1);
            let (length, outcome) = match self.parser.parse(rest, &limits, &mut args) {
                Ok(None) => break Step::NeedsInput,
                Ok(Some(length)) if args.is_empty() => {
                    *consumed += length;
                    continue;
                }
                Ok(Some(length)) => (length, self.take(&args, &mut taking, &mut last)),
                Err(ProtocolError::InlineEscapes) => match resp::split_inline(rest) {
                    Ok((length, owned)) => {
                        let args: Vec<&[u8]> = owned.iter().map(Vec::as_slice).collect();
                        (length, self.take(&args, &mut taking, &mut last))
                    }
                    Err(error) => break self.protocol_error(&error, &mut taking),
                },
                Err(error) => break self.protocol_error(&error, &mut taking),
            };
            if let Outcome::Later = outcome {
                break Step::Flush;
            }
            *consumed += length;
            taken += 1;
            if self.silent {
                self.leave_out(&outcome, replied_bytes, taking.output);
            }
            if let Some(why) = self.closing {
                break Step::Close(why);
            }
            if limits.authenticated != self.authenticated {
                break Step::Flush;
            }
        };
        server.stats.note_commands(taken, *consumed);
        if let Some(name) = last
            && self.noted != (name, self.db)
        {
            self.noted = (name, self.db);
            self.client.note_command(name, self.db);
        }
        server.buffers.give_args(args);
        let Taking { gathered, .. } = taking;
        if gathered.is_empty() {
            server.buffers.give_commands(gathered);
            return step;
        }
        // Whatever the step was, it comes again once these are answered.
        self.submitted = gathered.len();
        Step::Submit(gathered)
    }

    /// Appends what became of the commands of [`Step::Submit`].
    pub(crate) fn answer(
        &mut self,
        outcome: &Result<Vec<Reply<'static>>, Refusal>,
        output: &mut Vec<u8>,
    ) {
        match outcome {
            Ok(replies) => {
                if replies.len() < self.submitted {
                    self.close_over_limit();
                }
                for reply in replies.iter().skip(self.left_out) {
                    self.reply(reply, output);
                }
            }
            Err(refusal) => {
                let reply = refused(*refusal);
                for _ in self.left_out..self.submitted {
                    self.reply(&reply, output);
                }
            }
        }
        self.left_out = 0;
    }

    /// Drops the reply of a command that the client wants none of.
    #[cold]
    fn leave_out(&mut self, outcome: &Outcome, replied_bytes: usize, output: &mut Vec<u8>) {
        match outcome {
            Outcome::Replied => output.truncate(replied_bytes),
            // Whatever was gathered before it is silent too: `CLIENT REPLY` itself is never gathered.
            Outcome::Gathered => self.left_out += 1,
            Outcome::Later => {}
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
        self.silent = self.silence != Silence::None;
        if self.silence == Silence::Next {
            self.silence = Silence::None;
        }
        let Some(command) = commands::by_name(args[0]) else {
            return self.take_session_command(args, taking, last);
        };
        match self.check(&command.spec, args) {
            Ok(spec) => *last = Some(spec.name),
            Err(refusal) => return self.reply_in_order(&refusal, taking),
        }
        if taking.gathered.is_empty()
            && let Handler::Read(run) = command.handler
        {
            return self.read(run, args, taking);
        }
        self.gather(command, args, taking)
    }

    #[inline]
    fn read<'s>(
        &mut self,
        run: for<'k> fn(&'k Keyspace, &[&[u8]], ReadContext) -> Reply<'k>,
        args: &[&[u8]],
        taking: &mut Taking<'s>,
    ) -> Outcome {
        let server: &'s CoreServer = taking.server;
        if taking.keyspace.is_none() {
            taking.keyspace = server.core.store().read(SHARD);
        }
        let Some(keyspace) = &taking.keyspace else {
            return self.reply_in_order(&self.not_served(), taking);
        };
        let random = server.random();
        let context = ReadContext {
            db: self.db,
            now: keyspace.now(),
            random,
        };
        let reply = run(keyspace, args, context);
        self.reply(&reply, taking.output);
        Outcome::Replied
    }

    #[inline]
    fn gather(
        &mut self,
        command: &'static Command,
        args: &[&[u8]],
        taking: &mut Taking<'_>,
    ) -> Outcome {
        // The turn that applies the write takes the keyspace for itself.
        taking.keyspace = None;
        if taking.server.core.store().shards() == 0 {
            return self.reply_in_order(&self.not_served(), taking);
        }
        if args.iter().map(|arg| arg.len()).sum::<usize>() > WRITE_BYTES {
            return self.reply_in_order(&TOO_LARGE, taking);
        }
        taking.gathered.push(command, self.db, args);
        Outcome::Gathered
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
            if args[0].eq_ignore_ascii_case(b"multi") {
                return self.end_transaction(taking);
            }
            return self.reply_in_order(&commands::unknown_command(args), taking);
        };
        if !taking.gathered.is_empty() {
            return Outcome::Later;
        }
        // It may look at the keyspace itself.
        taking.keyspace = None;
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
        if self.authenticated || spec.flags.contains(Flags::NO_AUTH) || self.is_authenticated() {
            Ok(spec)
        } else {
            Err(NOAUTH)
        }
    }

    /// What a client sends after MULTI must not run one by one, since it asked for all or nothing: the
    /// connection ends.
    fn end_transaction(&mut self, taking: &mut Taking<'_>) -> Outcome {
        let outcome = self.reply_in_order(&NO_TRANSACTIONS, taking);
        if let Outcome::Replied = outcome {
            self.closing = Some("it asked for a transaction");
        }
        outcome
    }

    /// A browser that was led here must not be able to say anything: the connection ends without
    /// an answer.
    fn end_http(&mut self, taking: &mut Taking<'_>) -> Outcome {
        if !taking.gathered.is_empty() {
            return Outcome::Later;
        }
        self.shared.note_attack(self.client.address());
        self.closing = Some("it sent an HTTP request");
        Outcome::Replied
    }

    /// Replies at once, if nothing that came before waits for its own reply.
    fn reply_in_order(&mut self, reply: &Reply<'_>, taking: &mut Taking<'_>) -> Outcome {
        if !taking.gathered.is_empty() {
            return Outcome::Later;
        }
        self.reply(reply, taking.output);
        Outcome::Replied
    }

    fn protocol_error(&mut self, error: &ProtocolError, taking: &mut Taking<'_>) -> Step {
        if !taking.gathered.is_empty() {
            // What came before the error is answered first; then the error is met again.
            self.parser = Parser::new();
            return Step::Flush;
        }
        let text = format!("ERR {error}");
        self.stats.note_error(&text);
        resp::encode::error(taking.output, &text);
        Step::Close("the client broke the protocol")
    }

    fn not_served(&self) -> Reply<'static> {
        Reply::error(format_args!(
            "CLUSTERDOWN {}",
            self.shared.store().why_not()
        ))
    }
}

/// Asks for the memory of the keys of the next commands together, as far as they have arrived: one
/// after another, each read would wait for its own. Tells how many commands that were, at least 1.
fn look_ahead(bytes: &[u8], limits: &Limits, db: Db, keyspace: &Keyspace) -> usize {
    const AT_MOST: usize = 16;
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
        keyspace.prefetch(keys[..commands].iter().map(|key| (db, *key)));
    }
    commands.max(1)
}

const NO_TRANSACTIONS: Reply<'static> = Reply::Error(Cow::Borrowed(
    "ERR transactions are not supported by this version: nothing that follows MULTI was run, and the \
     connection ends; a pipeline without a transaction works",
));

const TOO_LARGE: Reply<'static> = Reply::Error(Cow::Borrowed(
    "ERR the command is larger than 513 MiB in all; nothing was written; send it in parts",
));

const NOAUTH: Reply<'static> = Reply::Error(Cow::Borrowed("NOAUTH Authentication required."));

fn refused(refusal: Refusal) -> Reply<'static> {
    match refusal {
        Refusal::NotLeader { .. } | Refusal::Unreachable => {
            Reply::error("CLUSTERDOWN the shard has no leader here; nothing was written; try again")
        }
        Refusal::DiskFull => Reply::error(
            "MISCONF the disk of this node is full: nothing was written, and writes, deletions \
             too, are refused until there is room for a log segment; reads go on",
        ),
        Refusal::Busy => Reply::error("TRYAGAIN too much waits for the shard; nothing was written"),
        Refusal::Uncertain => Reply::error(
            "UNCERTAIN the leader went away after it had taken the command: it may or may not have \
             taken effect",
        ),
    }
}
