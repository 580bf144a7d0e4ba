//! SUBSCRIBE and PUBLISH and their kin.

use commands::{Categories, Flags, KeyFlags, KeySpec, Reply, Spec};

use super::argument::{bulk, word};
use super::{HELP, SessionCommand, help, run_subcommand, specs};
use crate::pubsub::{Kind, Query};
use crate::session::{Asked, Session};

const LISTENING: Flags = Flags::PUBSUB
    .with(Flags::NOSCRIPT)
    .with(Flags::LOADING)
    .with(Flags::STALE);

const PUBSUB: Spec = Spec {
    flags: LISTENING,
    categories: Categories::NONE,
    group: "pubsub",
    since: "2.0.0",
    ..Spec::EMPTY
};

const PUBLISHING: Flags = Flags::PUBSUB
    .with(Flags::LOADING)
    .with(Flags::STALE)
    .with(Flags::FAST);

const SUBCOMMAND: Spec = Spec {
    flags: Flags::PUBSUB.with(Flags::LOADING).with(Flags::STALE),
    since: "2.8.0",
    ..PUBSUB
};

const PER_NAME: &str = "O(N), N being the number of channels or patterns that are named";

pub(super) const COMMANDS: &[SessionCommand] = &[
    SessionCommand {
        spec: Spec {
            name: "subscribe",
            arity: -2,
            summary: "Listens to channels.",
            complexity: PER_NAME,
            syntax: "channel [channel ...]",
            ..PUBSUB
        },
        run: |session, args, _| subscribe(session, Kind::Channel, &args[1..]),
    },
    SessionCommand {
        spec: Spec {
            name: "unsubscribe",
            arity: -1,
            summary: "Stops listening to channels, or to all of them.",
            complexity: PER_NAME,
            syntax: "[channel [channel ...]]",
            ..PUBSUB
        },
        run: |session, args, _| unsubscribe(session, Kind::Channel, &args[1..]),
    },
    SessionCommand {
        spec: Spec {
            name: "psubscribe",
            arity: -2,
            summary: "Listens to all channels whose names match a pattern.",
            complexity: PER_NAME,
            syntax: "pattern [pattern ...]",
            ..PUBSUB
        },
        run: |session, args, _| subscribe(session, Kind::Pattern, &args[1..]),
    },
    SessionCommand {
        spec: Spec {
            name: "punsubscribe",
            arity: -1,
            summary: "Stops listening to what matches patterns, or to all of them.",
            complexity: PER_NAME,
            syntax: "[pattern [pattern ...]]",
            ..PUBSUB
        },
        run: |session, args, _| unsubscribe(session, Kind::Pattern, &args[1..]),
    },
    SessionCommand {
        spec: Spec {
            name: "ssubscribe",
            arity: -2,
            keys: &[KeySpec::range(1, -1, 1, KeyFlags::NOT_KEY)],
            since: "7.0.0",
            summary: "Listens to shard channels.",
            complexity: PER_NAME,
            syntax: "shardchannel [shardchannel ...]",
            ..PUBSUB
        },
        run: |session, args, _| subscribe(session, Kind::Shard, &args[1..]),
    },
    SessionCommand {
        spec: Spec {
            name: "sunsubscribe",
            arity: -1,
            keys: &[KeySpec::range(1, -1, 1, KeyFlags::NOT_KEY)],
            since: "7.0.0",
            summary: "Stops listening to shard channels, or to all of them.",
            complexity: PER_NAME,
            syntax: "[shardchannel [shardchannel ...]]",
            ..PUBSUB
        },
        run: |session, args, _| unsubscribe(session, Kind::Shard, &args[1..]),
    },
    SessionCommand {
        spec: Spec {
            name: "publish",
            arity: 3,
            flags: PUBLISHING,
            summary: "Sends a message to all who listen to a channel, on any node.",
            complexity: "O(N+M), N being the number of those who listen and M that of all patterns",
            syntax: "channel message",
            ..PUBSUB
        },
        run: |session, args, _| session.publish(false, args),
    },
    SessionCommand {
        spec: Spec {
            name: "spublish",
            arity: 3,
            flags: PUBLISHING,
            keys: &[KeySpec::one(1, KeyFlags::NOT_KEY)],
            since: "7.0.0",
            summary: "Sends a message to all who listen to a shard channel, on any node.",
            complexity: "O(N), N being the number of those who listen",
            syntax: "shardchannel message",
            ..PUBSUB
        },
        run: |session, args, _| session.publish(true, args),
    },
    SessionCommand {
        spec: Spec {
            name: "pubsub",
            arity: -2,
            flags: Flags::NONE,
            since: "2.8.0",
            summary: "Tells who listens to what, on all nodes.",
            complexity: "Depends on the subcommand",
            subcommands: &specs::<{ SUBCOMMANDS.len() }>(SUBCOMMANDS),
            ..PUBSUB
        },
        run: |session, args, server| run_subcommand(SUBCOMMANDS, session, args, server),
    },
];

const SUBCOMMANDS: &[SessionCommand] = &[
    SessionCommand {
        spec: Spec {
            name: "pubsub|channels",
            arity: -2,
            summary: "Lists the channels that somebody listens to.",
            complexity: "O(N), N being the number of those channels",
            syntax: "[pattern]",
            ..SUBCOMMAND
        },
        run: |session, args, _| names(session, Kind::Channel, args),
    },
    SessionCommand {
        spec: Spec {
            name: "pubsub|help",
            group: "pubsub",
            since: "6.2.0",
            ..HELP
        },
        run: help,
    },
    SessionCommand {
        spec: Spec {
            name: "pubsub|numpat",
            arity: 2,
            summary: "Counts the patterns that somebody listens to.",
            complexity: "O(N), N being the number of those patterns",
            ..SUBCOMMAND
        },
        run: |session, _, _| ask(session, Query::CountPatterns),
    },
    SessionCommand {
        spec: Spec {
            name: "pubsub|numsub",
            arity: -2,
            summary: "Counts those who listen to channels.",
            complexity: PER_NAME,
            syntax: "[channel [channel ...]]",
            ..SUBCOMMAND
        },
        run: |session, args, _| count(session, Kind::Channel, args),
    },
    SessionCommand {
        spec: Spec {
            name: "pubsub|shardchannels",
            arity: -2,
            since: "7.0.0",
            summary: "Lists the shard channels that somebody listens to.",
            complexity: "O(N), N being the number of those channels",
            syntax: "[pattern]",
            ..SUBCOMMAND
        },
        run: |session, args, _| names(session, Kind::Shard, args),
    },
    SessionCommand {
        spec: Spec {
            name: "pubsub|shardnumsub",
            arity: -2,
            since: "7.0.0",
            summary: "Counts those who listen to shard channels.",
            complexity: PER_NAME,
            syntax: "[shardchannel [shardchannel ...]]",
            ..SUBCOMMAND
        },
        run: |session, args, _| count(session, Kind::Shard, args),
    },
];

/// The words of confirmations.
fn words(kind: Kind) -> [Reply<'static>; 2] {
    match kind {
        Kind::Channel => [word("subscribe"), word("unsubscribe")],
        Kind::Pattern => [word("psubscribe"), word("punsubscribe")],
        Kind::Shard => [word("ssubscribe"), word("sunsubscribe")],
    }
}

/// One confirmation for each name; the last is the reply.
fn subscribe(session: &mut Session, kind: Kind, names: &[&[u8]]) -> Reply<'static> {
    let [confirmation, _] = words(kind);
    for name in names {
        session.subscriptions.add(kind, name);
        let count = session.subscriptions.count(kind) as i64;
        let words = vec![confirmation.clone(), bulk(*name), Reply::Integer(count)];
        session.several.push(Reply::Push(words));
    }
    session.last_of_several()
}

fn unsubscribe(session: &mut Session, kind: Kind, names: &[&[u8]]) -> Reply<'static> {
    let [_, confirmation] = words(kind);
    let all: Vec<Vec<u8>> = match names {
        [] => session.subscriptions.of(kind).iter().cloned().collect(),
        names => names.iter().map(|name| name.to_vec()).collect(),
    };
    let confirm = |session: &mut Session, name: Reply<'static>| {
        let count = session.subscriptions.count(kind) as i64;
        let words = vec![confirmation.clone(), name, Reply::Integer(count)];
        session.several.push(Reply::Push(words));
    };
    for name in &all {
        session.subscriptions.remove(kind, name);
        confirm(session, bulk(name.as_slice()));
    }
    if all.is_empty() {
        confirm(session, Reply::Null);
    }
    session.last_of_several()
}

fn ask(session: &mut Session, query: Query) -> Reply<'static> {
    session.asked = Some(Asked::PubSub(query));
    Reply::Null
}

fn names(session: &mut Session, kind: Kind, args: &[&[u8]]) -> Reply<'static> {
    if args.len() > 3 {
        return wrong_arguments(args);
    }
    let pattern = args.get(2).map(|pattern| pattern.to_vec());
    ask(session, Query::Names { kind, pattern })
}

fn count(session: &mut Session, kind: Kind, args: &[&[u8]]) -> Reply<'static> {
    let names = args[2..].iter().map(|name| name.to_vec()).collect();
    ask(session, Query::CountListeners { kind, names })
}

/// What Redis says of a subcommand that has the right name and too many arguments.
fn wrong_arguments(args: &[&[u8]]) -> Reply<'static> {
    Reply::error(format_args!(
        "ERR unknown subcommand or wrong number of arguments for '{}'. Try PUBSUB HELP.",
        String::from_utf8_lossy(args[1])
    ))
}
