//! What a committed batch does to the keyspace.

use std::ops::Range;

use base::{Db, Timestamp};
use commands::log::{BatchHeader, decode};
use commands::{Applied, Command, Handler, ReadContext, Reply, WriteContext, apply};
use keyspace::Keyspace;

use crate::effects::Effects;
use crate::request::{Access, Commands, Request, Response};

/// At most this many expired keys go with one entry, so that applying it stays short.
const SWEEP_LIMIT: usize = 256;

/// Runs one batch. `requests` are those that it was made of, or none on a replica that did not
/// propose it; the keyspace ends up the same either way.
pub(crate) fn apply_batch(
    index: u64,
    mut bytes: &[u8],
    requests: Vec<Request>,
    keyspace: &mut Keyspace,
    effects: &mut Effects,
) {
    let header = BatchHeader::decode(&mut bytes)
        .unwrap_or_else(|error| panic!("log entry {index} cannot be applied: {error}"));
    keyspace.set_stamp(header.stamp);
    let mut batch = Batch::new(header, bytes, index);
    for request in requests {
        let Request {
            ticket,
            mut commands,
        } = request;
        let mut reads: &[u8] = &commands.reads;
        let context = move |db| ReadContext {
            db,
            now: header.stamp,
            random: header.seed,
        };
        let mut replies = Vec::with_capacity(commands.len());
        let mut reply_bytes = 0;
        let mut read_args = Vec::new();
        for access in &commands.order {
            let full = reply_bytes > Response::LIMIT_BYTES;
            let reply = match access {
                Access::Write => batch.apply_next(keyspace, effects),
                Access::Read if full => continue,
                Access::Read => run_read(&mut reads, &mut read_args, keyspace, context),
            };
            if !full {
                reply_bytes += reply.size_bytes();
                replies.push(reply);
            }
        }
        commands.clear();
        effects.responses.push(Response {
            ticket,
            outcome: Ok(replies),
            commands,
        });
    }
    while !batch.is_empty() {
        batch.apply_next(keyspace, effects);
    }
    keyspace.sweep(SWEEP_LIMIT);
    effects.discarded.extend(keyspace.take_discarded());
    let notices = keyspace.take_notices();
    if !notices.is_empty() {
        effects.notices.push((index, notices));
    }
}

/// The commands of an entry that are still to run.
struct Batch<'e> {
    header: BatchHeader,
    index: u64,
    /// How many have run.
    position: u64,
    /// Those that are not decoded yet.
    bytes: &'e [u8],
    /// The next ones, decoded together so that the memory of their keys is asked for together.
    decoded: Vec<Decoded>,
    next: usize,
    /// The arguments of all that are decoded.
    args: Vec<&'e [u8]>,
}

struct Decoded {
    command: &'static Command,
    db: Db,
    args: Range<usize>,
}

/// So many commands are decoded together.
const DECODE_AT_ONCE: usize = 16;

impl<'e> Batch<'e> {
    fn new(header: BatchHeader, bytes: &'e [u8], index: u64) -> Batch<'e> {
        let (decoded, args) = (Vec::with_capacity(DECODE_AT_ONCE), Vec::new());
        Batch {
            header,
            index,
            position: 0,
            bytes,
            decoded,
            next: 0,
            args,
        }
    }

    fn is_empty(&self) -> bool {
        self.next == self.decoded.len() && self.bytes.is_empty()
    }

    fn apply_next(&mut self, keyspace: &mut Keyspace, effects: &mut Effects) -> Reply<'static> {
        if self.next == self.decoded.len() {
            self.decode_some(keyspace);
        }
        let Decoded {
            command,
            db,
            ref args,
        } = self.decoded[self.next];
        self.next += 1;
        // Commands of one entry must not all draw the same chance.
        let seed = self
            .header
            .seed
            .wrapping_add(self.position.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        self.position += 1;
        let context = WriteContext {
            db,
            stamp: self.header.stamp,
            seed,
        };
        let Applied { reply, discarded } =
            apply(keyspace, command, &self.args[args.clone()], context);
        effects
            .discarded
            .extend(discarded.map(|discarded| *discarded));
        reply
    }

    fn decode_some(&mut self, keyspace: &Keyspace) {
        self.decoded.clear();
        self.args.clear();
        self.next = 0;
        let mut of_one = Vec::new();
        while self.decoded.len() < DECODE_AT_ONCE && !self.bytes.is_empty() {
            let (command, db) = decode(&mut self.bytes, &mut of_one).unwrap_or_else(|error| {
                panic!("log entry {} cannot be applied: {error}", self.index)
            });
            let start = self.args.len();
            self.args.extend_from_slice(&of_one);
            self.decoded.push(Decoded {
                command,
                db,
                args: start..self.args.len(),
            });
        }
        if self.decoded.len() > 1 {
            let first_keys = self.decoded.iter().filter(|decoded| decoded.args.len() > 1);
            keyspace.prefetch(
                first_keys.map(|decoded| (decoded.db, self.args[decoded.args.start + 1])),
            );
        }
    }
}

/// The replies to a request that only reads; none if all that it may look at is more than `short_bytes`, from which
/// it is taken otherwise.
pub(crate) fn read_all(
    commands: &Commands,
    keyspace: &Keyspace,
    now: Timestamp,
    random: u64,
    short_bytes: &mut usize,
) -> Option<Vec<Reply<'static>>> {
    let mut reads: &[u8] = &commands.reads;
    let mut args = Vec::new();
    let mut replies = Vec::with_capacity(commands.len());
    let mut reply_bytes = 0;
    for _ in &commands.order {
        if reply_bytes > Response::LIMIT_BYTES {
            break;
        }
        let (command, db) = decode_read(&mut reads, &mut args);
        let effort = commands::effort(&command.spec, &args, keyspace, db);
        if *short_bytes == 0 {
            return None;
        }
        *short_bytes = short_bytes.checked_sub(effort)?;
        let reply = run(command, &args, keyspace, ReadContext { db, now, random });
        reply_bytes += reply.size_bytes();
        replies.push(reply);
    }
    Some(replies)
}

/// Whether what they would read hangs on whose clock judges expiry, so that an entry must judge it.
pub(crate) fn hang_on_clock(commands: &Commands, keyspace: &Keyspace, now: Timestamp) -> bool {
    let mut reads: &[u8] = &commands.reads;
    let mut args = Vec::new();
    while !reads.is_empty() {
        let (command, db) = decode_read(&mut reads, &mut args);
        if commands::hangs_on_clock(&command.spec, &args, keyspace, db, now) {
            return true;
        }
    }
    false
}

fn run_read<'r>(
    reads: &mut &'r [u8],
    args: &mut Vec<&'r [u8]>,
    keyspace: &Keyspace,
    context: impl FnOnce(Db) -> ReadContext,
) -> Reply<'static> {
    let (command, db) = decode_read(reads, args);
    run(command, args, keyspace, context(db))
}

fn run(
    command: &Command,
    args: &[&[u8]],
    keyspace: &Keyspace,
    context: ReadContext,
) -> Reply<'static> {
    let Handler::Read(run) = command.handler else {
        unreachable!("only reads are put among the reads");
    };
    run(keyspace, args, context).into_owned()
}

fn decode_read<'r>(reads: &mut &'r [u8], args: &mut Vec<&'r [u8]>) -> (&'static Command, Db) {
    args.clear();
    decode(reads, args).expect("it was encoded here, or checked when it came")
}
