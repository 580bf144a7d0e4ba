use std::collections::BTreeSet;

use base::{Db, Timestamp};
use proptest::prelude::*;

use super::*;
use crate::{COMMANDS, Handler, ReadContext, WriteContext, apply, by_name};

const NOW: Timestamp = Timestamp::from_millis(1_750_000_000_000);
const SEED: u64 = 0x5eed;

/// Shards without what lies between them.
struct Shards(Vec<Keyspace>);

impl Shards {
    fn new(shards: u32) -> Shards {
        let keyspace = |_| {
            let mut keyspace = Keyspace::new(SEED);
            keyspace.set_stamp(NOW);
            keyspace
        };
        Shards((0..shards).map(keyspace).collect())
    }

    fn call(&mut self, call: &str) -> Reply<'static> {
        let args: Vec<&[u8]> = call.split(' ').map(str::as_bytes).collect();
        let spec = &by_name(args[0]).unwrap().spec;
        let shards = self.0.len() as u32;
        match route(spec, &args, shards) {
            Route::One(shard) => self.run(shard, &args),
            Route::Walk(shard) => next_cursor(self.run(shard, &args), shard, shards),
            Route::Several(parts, gather) => {
                let replies = parts.into_iter().map(|part| {
                    let reply = self.run(part.shard, &part.args);
                    (part.places, reply)
                });
                let replies = replies.collect();
                gather.gather(replies, SEED)
            }
            Route::Refused(refusal) => refusal,
        }
    }

    fn run(&mut self, shard: ShardId, args: &[&[u8]]) -> Reply<'static> {
        let keyspace = &mut self.0[shard.0 as usize];
        let command = by_name(args[0]).unwrap();
        let db = Db::default();
        if let Handler::Read(run) = command.handler {
            let context = ReadContext {
                db,
                now: NOW,
                random: SEED,
            };
            return run(keyspace, args, context).into_owned();
        }
        let context = WriteContext {
            db,
            stamp: NOW,
            seed: SEED,
        };
        apply(keyspace, command, args, context).reply
    }

    /// The keys of a walk from start to end, and the number of its calls.
    fn walk(&mut self, mut between: impl FnMut(&mut Shards)) -> (Vec<String>, usize) {
        let (mut cursor, mut found, mut calls) = ("0".to_owned(), Vec::new(), 0);
        loop {
            let Reply::Array(mut parts) = self.call(&format!("scan {cursor} count 7")) else {
                panic!()
            };
            found.extend(strings(parts.remove(1)));
            calls += 1;
            cursor = strings(Reply::Array(parts)).remove(0);
            if cursor == "0" {
                return (found, calls);
            }
            between(self);
        }
    }
}

fn strings(reply: Reply<'static>) -> Vec<String> {
    let text = |reply: Reply<'static>| match reply {
        Reply::Bulk(bytes) => String::from_utf8(bytes.into_owned()).unwrap(),
        other => panic!("{other:?}"),
    };
    elements(reply).into_iter().map(text).collect()
}

#[test]
fn records_split_as_their_tips_say() {
    for command in COMMANDS {
        let Spec {
            name,
            tips,
            split,
            keys,
            ..
        } = command.spec;
        let tip = |policy: &str| {
            let mut values = tips.iter().filter_map(|tip| tip.strip_prefix(policy));
            values.next().unwrap_or_default()
        };
        let gather = match (tip("request_policy:"), split) {
            // A client of Redis Cluster splits these and gives up that they happen at one moment.
            ("multi_shard", Split::Never) if matches!(name, "mset" | "msetnx") => continue,
            ("multi_shard", Split::ByKey(gather)) => {
                let call = [&b"name"[..]; 5];
                let keys = command.spec.key_positions(&call);
                assert!(keys.eq(1..5), "all arguments of {name} are keys");
                gather
            }
            ("all_shards", Split::Everywhere(gather)) => {
                assert!(keys.is_empty(), "{name}");
                gather
            }
            ("special", Split::ByCursor) | ("", Split::Never) => continue,
            (policy, split) => panic!("{name}: {policy} and {split:?}"),
        };
        let expected: &[Gather] = match tip("response_policy:") {
            "agg_sum" => &[Gather::Sum],
            "all_succeeded" => &[Gather::AllOk],
            "" if keys.is_empty() => &[Gather::Append, Gather::AnyOne],
            "" => &[Gather::InOrder],
            policy => panic!("{name}: {policy}"),
        };
        assert!(expected.contains(&gather), "{name}: {gather:?}");
    }
}

#[test]
fn what_cannot_be_split_is_refused_with_the_remedy() {
    let mut shards = Shards::new(16);
    for call in ["mset a 1 b 2", "rename a b", "lcs a b", "copy a b"] {
        let Reply::Error(text) = shards.call(call) else {
            panic!("{call}")
        };
        assert!(text.starts_with("CROSSSLOT Keys in request don't hash to the same slot"));
        assert!(text.contains("{tag}") && text.contains("cluster.shards = 1"));
    }
    for (call, reply) in [
        ("mset {x}a 1 {x}b 2", Reply::Ok),
        ("rename {x}a {x}c", Reply::Ok),
        ("mget {x}a {x}b {x}c", {
            Reply::Array(vec![Reply::Null, Reply::bulk(b"2"), Reply::bulk(b"1")])
        }),
    ] {
        assert_eq!(shards.call(call), reply, "{call}");
    }
}

#[test]
fn a_refusal_of_one_shard_is_the_reply() {
    let no = Reply::error("ERR no");
    for gather in [
        Gather::Sum,
        Gather::InOrder,
        Gather::Append,
        Gather::AllOk,
        Gather::AnyOne,
    ] {
        let replies = vec![(Vec::new(), Reply::Ok), (Vec::new(), no.clone())];
        assert_eq!(gather.gather(replies, 0), no);
    }
    assert!(Shards::new(3).call("flushall now").is_error());
    assert!(Shards::new(3).call("scan x").is_error());
}

#[test]
fn a_random_key_comes_from_any_shard() {
    let replies = || {
        ["a", "", "b", "c"].map(|key| {
            let reply = match key {
                "" => Reply::Null,
                key => Reply::bulk(key.as_bytes()),
            };
            (Vec::new(), reply)
        })
    };
    let found = (0..6).map(|part| Gather::AnyOne.gather(replies().into(), u64::MAX / 6 * part + 9));
    let expected = ["a", "a", "b", "b", "c", "c"].map(|key| Reply::bulk(key.as_bytes()));
    assert!(found.eq(expected));
    assert_eq!(Shards::new(4).call("randomkey"), Reply::Null);
}

#[test]
fn a_walk_over_all_shards_finds_what_stays() {
    for count in [1, 2, 16, 1000] {
        let mut shards = Shards::new(count);
        for key in 0..500 {
            shards.call(&format!("set stays:{key} v"));
        }
        let mut turn = 0;
        let (found, calls) = shards.walk(|shards| {
            turn += 1;
            shards.call(&format!("set comes:{turn} v"));
        });
        let stays = found.iter().filter(|key| key.starts_with("stays:"));
        assert_eq!(stays.clone().count(), 500, "each once");
        assert_eq!(stays.collect::<BTreeSet<_>>().len(), 500);
        assert!(calls <= 500 + count as usize + 2, "{calls} calls");
    }
    let end = Reply::Array(vec![Reply::bulk(b"0"), Reply::Array(Vec::new())]);
    assert_eq!(Shards::new(4).call("scan 18446744073709551615"), end);
}

proptest! {
    #[test]
    fn several_shards_answer_like_one(
        shards in 2..40_u32,
        calls in proptest::collection::vec((0..8_usize, proptest::collection::vec(0..30_u8, 1..8)), 1..60),
    ) {
        let (mut one, mut several) = (Shards::new(1), Shards::new(shards));
        for (command, keys) in calls {
            let names = ["set", "mget", "del", "unlink", "exists", "touch", "dbsize", "flushdb"];
            let mut call = names[command].to_owned();
            match command {
                0 => call += &format!(" key:{} {}", keys[0], keys.len()),
                1..6 => keys.iter().for_each(|key| call += &format!(" key:{key}")),
                _ => {}
            }
            // So that there is something to see.
            if command < 7 || keys.len() == 7 {
                prop_assert_eq!(one.call(&call), several.call(&call), "{}", call);
            }
            let [mut one, mut several] = [&mut one, &mut several].map(|shards| strings(shards.call("keys *")));
            one.sort();
            several.sort();
            prop_assert_eq!(one, several);
        }
    }
}
