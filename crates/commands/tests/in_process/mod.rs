//! Commands on a keyspace in this process, as a server and a shard of one replica would run them:
//! every write goes through the form that it has in the log.

use base::{Db, Timestamp};
use commands::log::{self, BatchHeader};
use commands::{
    Applied, Handler, ReadContext, Reply, WriteContext, apply, by_name, score, unknown_command,
};
use golden::Value;
use keyspace::Keyspace;

/// A keyspace with the state of one session.
pub(crate) struct InProcess {
    pub(crate) keyspace: Keyspace,
    /// The clock: the stamp of writes and the time of reads.
    pub(crate) now: Timestamp,
    db: Db,
    /// The version of the protocol, 2 or 3.
    pub(crate) protocol: u8,
    calls: u64,
}

impl InProcess {
    pub(crate) fn new(now: Timestamp) -> InProcess {
        let keyspace = Keyspace::new(0x5eed);
        InProcess {
            keyspace,
            now,
            db: Db::default(),
            protocol: 2,
            calls: 0,
        }
    }

    /// Runs a command; SELECT is known as well.
    pub(crate) fn call<A: AsRef<[u8]>>(&mut self, args: &[A]) -> Value {
        let args: Vec<&[u8]> = args.iter().map(AsRef::as_ref).collect();
        let protocol = self.protocol;
        self.calls += 1;
        if args[0].eq_ignore_ascii_case(b"SELECT") {
            return value(self.select(args[1]), protocol);
        }
        let Some(command) = by_name(args[0]) else {
            return value(unknown_command(&args), protocol);
        };
        if let Err(refusal) = command.spec.check(&args) {
            return value(refusal, protocol);
        }
        if let Handler::Read(run) = command.handler {
            let now = self.now.max(self.keyspace.stamp());
            let context = ReadContext {
                db: self.db,
                now,
                random: self.calls,
            };
            return value(run(&self.keyspace, &args, context), protocol);
        }
        let mut entry = Vec::new();
        BatchHeader::new(self.now.max(self.keyspace.stamp()), self.calls).encode(&mut entry);
        log::encode(&mut entry, command.id, self.db, &args[1..]);
        value(self.apply(&entry), protocol)
    }

    /// Applies an entry of one command.
    fn apply(&mut self, mut entry: &[u8]) -> Reply<'static> {
        let header = BatchHeader::decode(&mut entry).unwrap();
        self.keyspace.set_stamp(header.stamp);
        let mut args = Vec::new();
        let (command, db) = log::decode(&mut entry, &mut args).unwrap();
        assert!(entry.is_empty(), "decoding takes all that encoding wrote");
        let context = WriteContext {
            db,
            stamp: header.stamp,
            seed: header.seed,
        };
        let Applied { reply, .. } = apply(&mut self.keyspace, command, &args, context);
        reply
    }

    fn select(&mut self, number: &[u8]) -> Reply<'static> {
        let number = std::str::from_utf8(number)
            .ok()
            .and_then(|number| number.parse().ok());
        match number.and_then(|number| Db::new(number).ok()) {
            Some(db) => {
                self.db = db;
                Reply::Ok
            }
            None => Reply::error("ERR DB index is out of range"),
        }
    }
}

/// What a client of that protocol sees of a reply.
fn value(reply: Reply<'_>, protocol: u8) -> Value {
    let old = protocol == 2;
    let all = |replies: Vec<Reply<'_>>| -> Vec<Value> {
        replies
            .into_iter()
            .map(|reply| value(reply, protocol))
            .collect()
    };
    match reply {
        Reply::Ok => Value::Simple("OK".to_owned()),
        Reply::Queued => Value::Simple("QUEUED".to_owned()),
        Reply::Null => Value::Null,
        Reply::NullArray if old => Value::NullArray,
        Reply::NullArray => Value::Null,
        Reply::Simple(text) => Value::Simple(text.to_owned()),
        Reply::Error(text) => Value::Error(text.into_owned()),
        Reply::Integer(number) => Value::Integer(number),
        Reply::Double(number) if old => Value::bulk(score::format(number)),
        Reply::Double(number) => Value::Double(score::format(number)),
        Reply::Boolean(truth) if old => Value::Integer(i64::from(truth)),
        Reply::Boolean(truth) => Value::Boolean(truth),
        Reply::BigNumber(digits) if old => Value::bulk(digits),
        Reply::BigNumber(digits) => Value::BigNumber(digits),
        Reply::Bulk(bytes) => Value::bulk(bytes),
        Reply::Verbatim { text, .. } if old => Value::bulk(text),
        Reply::Verbatim { format, text } => Value::Verbatim(
            String::from_utf8_lossy(&format).into_owned(),
            text.into_bytes(),
        ),
        Reply::Set(replies) if !old => Value::Set(all(replies)),
        Reply::Push(replies) if !old => Value::Push(all(replies)),
        Reply::Array(replies) | Reply::Set(replies) | Reply::Push(replies) => {
            Value::Array(all(replies))
        }
        Reply::Pairs(pairs) if !old => Value::Array(
            pairs
                .into_iter()
                .map(|(first, second)| Value::Array(all(vec![first, second])))
                .collect(),
        ),
        Reply::Map(pairs) | Reply::Pairs(pairs) if old => Value::Array(
            pairs
                .into_iter()
                .flat_map(|(key, one)| all(vec![key, one]))
                .collect(),
        ),
        Reply::Map(pairs) | Reply::Pairs(pairs) => Value::Map(
            pairs
                .into_iter()
                .map(|(key, one)| (value(key, protocol), value(one, protocol)))
                .collect(),
        ),
    }
}
