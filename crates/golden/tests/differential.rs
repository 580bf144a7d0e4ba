//! Random calls, one by one, on a keyspace in this process and on a real Redis: the same replies.
//!
//! `PICCOLO_CALLS` sets how many calls there are for each version of the protocol, `PICCOLO_SEED`
//! where they begin; a failure tells the seed and the calls that led to it.

#![allow(clippy::unwrap_used, reason = "a test ends at what it did not expect")]

#[path = "../../commands/tests/in_process/mod.rs"]
mod in_process;
#[path = "../../commands/tests/random_calls/mod.rs"]
mod random_calls;
mod redis;

use std::time::SystemTime;

use base::Timestamp;
use commands::Spec;
use golden::Value;
use golden::socket::Client;
use in_process::InProcess;
use random_calls::RandomCalls;
use redis::Redis;

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |value| value.parse().unwrap())
}

fn wall_clock() -> Timestamp {
    let since = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap();
    Timestamp::from_millis(since.as_millis() as u64)
}

/// Whether both replies are as equal as the command allows.
fn alike(args: &[Vec<u8>], ours: &Value, redis: &Value) -> bool {
    let name = args[0].to_ascii_uppercase();
    let near = |most: u64| match (ours, redis) {
        (Value::Integer(ours), Value::Integer(redis)) => ours.abs_diff(*redis) <= most,
        _ => ours == redis,
    };
    match name.as_slice() {
        b"TTL" | b"EXPIRETIME" => near(2),
        b"PTTL" | b"PEXPIRETIME" => near(5000),
        _ if is_unordered(&name) => ours.clone().sorted() == redis.clone().sorted(),
        b"RANDOMKEY" => matches!((ours, redis), (Value::Bulk(_), Value::Bulk(_))) || ours == redis,
        // Redis 7.0 takes the least number for another one, 7.2 refuses it.
        b"LPOS" if args.iter().any(|arg| arg == b"-9223372036854775808") => true,
        b"OBJECT" => {
            let subcommand = args.get(1).map(|name| name.to_ascii_uppercase());
            ours == redis
                || match subcommand.as_deref() {
                    Some(b"IDLETIME") => near(10),
                    // A whole number that INCRBYFLOAT wrote is text in Redis, until it is replicated.
                    Some(b"ENCODING") => {
                        (ours, redis) == (&Value::bulk("int"), &Value::bulk("embstr"))
                    }
                    // COPY makes a number of its own even where Redis has a shared one.
                    Some(b"REFCOUNT") => {
                        (ours, redis) == (&Value::Integer(i64::from(i32::MAX)), &Value::Integer(1))
                    }
                    _ => false,
                }
        }
        _ => ours == redis,
    }
}

/// Whether a command has no order of its own to answer in.
fn is_unordered(name: &[u8]) -> bool {
    let tips = commands::by_name(name).map_or(&[][..], |command| command.spec.tips);
    tips.contains(&"nondeterministic_output_order") || name.ends_with(b"SCAN")
}

/// Whether what a command answers does not depend on chance, and has been compared by hand.
fn is_comparable(spec: &Spec) -> bool {
    let chance = ["hrandfield", "srandmember", "spop", "randomkey", "object"];
    COLLECTIONS.contains(&spec.group) && !chance.contains(&spec.name)
}

/// The groups of commands that are called as their records say.
const COLLECTIONS: &[&str] = &["hash", "set", "list"];

fn show(args: &[Vec<u8>]) -> String {
    let words: Vec<_> = args
        .iter()
        .map(|arg| Value::bulk(arg.clone()).to_string())
        .collect();
    words.join(" ")
}

fn compare(redis: &Redis, protocol: u8, seed: u64, count: u64) {
    const BATCH: u64 = 100;
    let mut client = Client::connect(redis.address).unwrap();
    client.call(&["FLUSHALL"]).unwrap();
    client.hello(protocol).unwrap();
    let mut ours = InProcess::new(wall_clock());
    ours.protocol = protocol;
    let mut calls = RandomCalls::new(seed);
    let mut trace: Vec<String> = Vec::new();
    for _ in 0..count.div_ceil(BATCH) {
        let mut batch = Vec::new();
        for _ in 0..BATCH {
            let call = if calls.random.one_in(2) {
                calls.next()
            } else {
                calls.generated(is_comparable)
            };
            // Redis counts expired keys until it meets them.
            if call[0].eq_ignore_ascii_case(b"DBSIZE") {
                let all = ["EXISTS", "k0", "k1", "k2", "k3", "k4", "k5"];
                batch.push(all.map(|word| word.as_bytes().to_vec()).to_vec());
            }
            batch.push(call);
        }
        let replies = client.pipeline(&batch).unwrap();
        ours.now = wall_clock();
        for (args, theirs) in batch.iter().zip(replies) {
            ours.keyspace.sweep(usize::MAX);
            let reply = ours.call(args);
            trace.push(format!(
                "{}\n    {}",
                show(args),
                theirs.to_string().replace('\n', "\n    ")
            ));
            if !alike(args, &reply, &theirs) {
                let from = trace.len().saturating_sub(40);
                panic!(
                    "PICCOLO_SEED={seed}, RESP{protocol}, call {}: ours was\n{reply}\nafter\n{}",
                    trace.len(),
                    trace[from..].join("\n")
                );
            }
        }
    }
}

#[test]
fn random_calls_are_answered_as_redis_answers_them() {
    let Some(redis) = Redis::start() else { return };
    let (count, seed) = (setting("PICCOLO_CALLS", 10_000), setting("PICCOLO_SEED", 1));
    for protocol in [2, 3] {
        compare(&redis, protocol, seed, count);
    }
}
