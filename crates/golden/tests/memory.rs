//! What collections take, beside what they take in a real Redis: never more.

#![allow(clippy::unwrap_used, reason = "a test ends at what it did not expect")]

#[path = "../../commands/tests/in_process/mod.rs"]
mod in_process;
mod redis;

use base::{Db, Timestamp};
use golden::Value;
use golden::socket::Client;
use in_process::InProcess;
use redis::Redis;

/// A collection: its name, its size, and the command that adds the element of a number to `key`.
struct Case {
    name: &'static str,
    elements: u32,
    add: fn(u32) -> Vec<String>,
}

fn words(call: &str) -> Vec<String> {
    call.split(' ').map(str::to_owned).collect()
}

const CASES: &[Case] = &[
    Case {
        name: "hash of 10",
        elements: 10,
        add: |number| words(&format!("HSET key field:{number} value:{number}")),
    },
    Case {
        name: "hash of 500",
        elements: 500,
        add: |number| words(&format!("HSET key field:{number} value:{number}")),
    },
    Case {
        name: "hash of 10,000",
        elements: 10_000,
        add: |number| words(&format!("HSET key field:{number} value:{number}")),
    },
    Case {
        name: "hash of 10,000 counters",
        elements: 10_000,
        add: |number| words(&format!("HSET key {number} {}", number % 1000)),
    },
    Case {
        name: "list of 128",
        elements: 128,
        add: |number| words(&format!("RPUSH key element:{number}")),
    },
    Case {
        name: "list of 100,000",
        elements: 100_000,
        add: |number| words(&format!("RPUSH key element:{number}")),
    },
    Case {
        name: "list of 100,000, from the head",
        elements: 100_000,
        add: |number| words(&format!("LPUSH key {number}")),
    },
    Case {
        name: "list of 100,000 long elements",
        elements: 100_000,
        add: |number| words(&format!("RPUSH key {number:0>100}x")),
    },
    Case {
        name: "set of 100 numbers",
        elements: 100,
        add: |number| words(&format!("SADD key {}", number * 7)),
    },
    Case {
        name: "set of 100,000 numbers",
        elements: 100_000,
        add: |number| words(&format!("SADD key {}", number * 7)),
    },
    Case {
        name: "set of 100 strings",
        elements: 100,
        add: |number| words(&format!("SADD key member:{number}")),
    },
    Case {
        name: "set of 100,000 strings",
        elements: 100_000,
        add: |number| words(&format!("SADD key member:{number}")),
    },
    Case {
        name: "sorted set of 100",
        elements: 100,
        add: |number| {
            words(&format!(
                "ZADD key {} member:{number}",
                number * 7919 % 1000
            ))
        },
    },
    Case {
        name: "sorted set of 100, broken scores",
        elements: 100,
        add: |number| words(&format!("ZADD key {number}.3 member:{number}")),
    },
    Case {
        name: "sorted set of 100,000",
        elements: 100_000,
        add: |number| {
            words(&format!(
                "ZADD key {} member:{number}",
                number * 7919 % 100_000
            ))
        },
    },
];

#[test]
fn collections_take_no_more_than_in_redis() {
    let Some(redis) = Redis::start() else { return };
    let mut client = Client::connect(redis.address).unwrap();
    let mut too_large = Vec::new();
    println!("| | Piccolo, B | Redis, B | ratio |");
    println!("| --- | --: | --: | --: |");
    for Case {
        name,
        elements,
        add,
    } in CASES
    {
        let mut session = InProcess::new(Timestamp::from_millis(1));
        client.call(&["FLUSHALL"]).unwrap();
        let calls: Vec<Vec<Vec<u8>>> = (0..*elements)
            .map(|number| add(number).into_iter().map(String::into_bytes).collect())
            .collect();
        for batch in calls.chunks(1000) {
            client.pipeline(batch).unwrap();
            batch.iter().for_each(|call| drop(session.call(call)));
        }
        let keyspace = &session.keyspace;
        let entry = keyspace.get(Db::default(), b"key", keyspace.stamp());
        let ours = entry.unwrap().memory_bytes();
        let usage = client.call(&["MEMORY", "USAGE", "key", "SAMPLES", "0"]);
        let Value::Integer(theirs) = usage.unwrap() else {
            panic!("MEMORY USAGE tells a number")
        };
        let ratio = ours as f64 / theirs as f64;
        println!("| {name} | {ours} | {theirs} | {ratio:.2} |");
        if ratio > 1.0 {
            too_large.push(name);
        }
    }
    assert!(too_large.is_empty(), "larger than in Redis: {too_large:?}");
}
