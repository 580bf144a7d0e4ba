//! Strings: GET and SET in all their forms.

use keyspace::Expiry;
use keyspace::Keyspace;

use crate::argument::{settle, string_of};
use crate::spec::{Categories, Flags, KeyFlags, KeySpec, Spec};
use crate::{Command, CommandId, Handler, ReadContext, Reply, WriteContext};

pub(crate) const COMMANDS: &[Command] = &[
    Command {
        id: CommandId(1),
        spec: Spec {
            name: "get",
            arity: 2,
            flags: Flags::READONLY.with(Flags::FAST),
            keys: &[KeySpec::one(1, KeyFlags::RO.with(KeyFlags::ACCESS))],
            categories: Categories::STRING,
            group: "string",
            since: "1.0.0",
            summary: "Returns the string at a key.",
            complexity: "O(1)",
            syntax: "key",
            ..Spec::EMPTY
        },
        handler: Handler::Read(get),
    },
    Command {
        id: CommandId(2),
        spec: Spec {
            name: "set",
            arity: -3,
            flags: Flags::WRITE.with(Flags::DENYOOM),
            keys: &[KeySpec::one(
                1,
                KeyFlags::RW
                    .with(KeyFlags::ACCESS)
                    .with(KeyFlags::UPDATE)
                    .with(KeyFlags::VARIABLE_FLAGS),
            )],
            categories: Categories::STRING,
            group: "string",
            since: "1.0.0",
            summary: "Sets a key to a string, whatever it held.",
            complexity: "O(1)",
            syntax: "key value [NX | XX] [GET] [EX seconds | PX milliseconds | \
                     EXAT unix-time-seconds | PXAT unix-time-milliseconds | KEEPTTL]",
            ..Spec::EMPTY
        },
        handler: Handler::Write(set),
    },
];

fn get<'k>(keyspace: &'k Keyspace, args: &[&[u8]], context: ReadContext) -> Reply<'k> {
    settle((|| {
        let Some(entry) = keyspace.get(context.db, args[1], context.now) else {
            return Ok(Reply::Null);
        };
        entry.touch(context.now);
        Ok(Reply::bulk(string_of(&entry)?))
    })())
}

fn set(keyspace: &mut Keyspace, args: &[&[u8]], context: WriteContext) -> Reply<'static> {
    keyspace.set(context.db, args[1], args[2], Expiry::Clear);
    Reply::Ok
}
