//! What keyspaces say of the calls of the golden scripts, against the keyspace events of a real Redis.

#![allow(clippy::unwrap_used, reason = "a test ends at what it did not expect")]

#[path = "../../commands/tests/in_process/mod.rs"]
mod in_process;
mod redis;

use std::path::Path;
use std::time::SystemTime;

use base::Timestamp;
use golden::socket::Client;
use golden::{Action, Value, parse};
use in_process::InProcess;
use keyspace::Classes;
use redis::Redis;

const MARK: &str = "end of a call";

fn wall_clock() -> Timestamp {
    let since = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap();
    Timestamp::from_millis(since.as_millis() as u64)
}

fn text(value: &Value) -> String {
    match value {
        Value::Bulk(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        other => panic!("{other} is no text"),
    }
}

/// A client of Redis and one that listens to its events.
struct Watched {
    client: Client,
    listener: Client,
}

impl Watched {
    fn new(redis: &Redis) -> Watched {
        let mut client = Client::connect(redis.address).unwrap();
        client
            .call(&["CONFIG", "SET", "notify-keyspace-events", "EA"])
            .unwrap();
        let mut listener = Client::connect(redis.address).unwrap();
        listener
            .call(&["PSUBSCRIBE", "__keyevent@*", MARK])
            .unwrap();
        listener.read().unwrap();
        Watched { client, listener }
    }

    /// What a call has said: database, event and key.
    fn events(&mut self, args: &[Vec<u8>]) -> Vec<String> {
        self.client.call(args).unwrap();
        self.client.call(&["PUBLISH", MARK, ""]).unwrap();
        let mut events = Vec::new();
        loop {
            let Value::Array(words) = self.listener.read().unwrap() else {
                panic!("a message is an array");
            };
            let channel = text(&words[2]);
            if channel == MARK {
                return events;
            }
            let channel = channel.strip_prefix("__keyevent@").unwrap();
            // Redis says so when it meets the key.
            if channel.ends_with(":expired") {
                continue;
            }
            events.push(format!("{channel} {}", text(&words[3])));
        }
    }
}

fn ours(session: &mut InProcess, args: &[Vec<u8>]) -> Vec<String> {
    session.call(args);
    let notices = session.keyspace.take_notices().into_iter();
    let notices = notices.filter(|notice| notice.event != "expired");
    let line = |notice: keyspace::Notice| {
        let key = String::from_utf8_lossy(&notice.key).into_owned();
        format!("{}__:{} {key}", notice.db.number(), notice.event)
    };
    notices.map(line).collect()
}

#[test]
fn calls_say_what_redis_says() {
    let Some(redis) = Redis::start() else { return };
    let mut watched = Watched::new(&redis);
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../commands/tests/scripts");
    let (mut failures, mut events) = (String::new(), 0);
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let script = std::fs::read_to_string(&path).unwrap();
        watched.client.call(&["FLUSHALL"]).unwrap();
        watched.client.call(&["SELECT", "0"]).unwrap();
        let mut session = InProcess::new(wall_clock());
        session.keyspace.want_notices(Classes::ALL);
        for step in parse(&script).unwrap() {
            let Action::Call(call) = step.action else {
                continue;
            };
            // What picks at random leaves other members behind.
            if call.args[0].eq_ignore_ascii_case(b"SPOP") {
                break;
            }
            session.now = wall_clock();
            let (ours, theirs) = (ours(&mut session, &call.args), watched.events(&call.args));
            events += theirs.len();
            if ours != theirs {
                let name = path.file_name().unwrap().to_string_lossy();
                let words = call.args.iter().map(|word| String::from_utf8_lossy(word));
                let words: Vec<_> = words.collect();
                failures.push_str(&format!(
                    "{name}:{}: {}\n  ours  {ours:?}\n  Redis {theirs:?}\n",
                    step.line,
                    words.join(" ")
                ));
            }
        }
    }
    assert!(events > 500, "only {events} events were compared");
    assert!(failures.is_empty(), "{failures}");
}
