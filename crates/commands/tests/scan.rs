//! SCAN over many calls: what is there all the time is found.

#![allow(clippy::unwrap_used, reason = "a test ends at what it did not expect")]

mod in_process;

use std::collections::BTreeSet;

use base::Timestamp;
use golden::Value;
use in_process::InProcess;

const NOW: Timestamp = Timestamp::from_millis(1_750_000_000_000);

/// The keys that one pass finds, and the number of calls that it takes.
fn pass(
    session: &mut InProcess,
    count: &str,
    mut between: impl FnMut(&mut InProcess),
) -> (Vec<String>, usize) {
    let (mut cursor, mut found, mut calls) = ("0".to_owned(), Vec::new(), 0);
    loop {
        let reply = session.call(&["SCAN", &cursor, "COUNT", count]);
        let Value::Array(parts) = reply else {
            panic!("{reply}")
        };
        let [Value::Bulk(next), Value::Array(keys)] = parts.as_slice() else {
            panic!("{parts:?}")
        };
        found.extend(keys.iter().map(ToString::to_string));
        calls += 1;
        cursor = String::from_utf8(next.clone()).unwrap();
        if cursor == "0" {
            return (found, calls);
        }
        between(session);
    }
}

#[test]
fn a_pass_finds_every_key_once() {
    for keys in [0, 1, 10, 3000] {
        let mut session = InProcess::new(NOW);
        for key in 0..keys {
            session.call(&["SET", &format!("key:{key}"), "v"]);
        }
        // Other databases lie in the same tables and do not show.
        session.call(&["SELECT", "1"]);
        session.call(&["SET", "other", "v"]);
        session.call(&["SELECT", "0"]);
        for count in ["1", "10", "100000"] {
            let (found, calls) = pass(&mut session, count, |_| {});
            let set: BTreeSet<_> = found.iter().cloned().collect();
            assert_eq!((set.len(), found.len()), (keys, keys), "COUNT {count}");
            assert!(
                calls <= keys + 2,
                "{calls} calls for {keys} keys, COUNT {count}"
            );
        }
    }
}

#[test]
fn a_pass_finds_what_stays_while_others_come_and_go() {
    let mut session = InProcess::new(NOW);
    for key in 0..1000 {
        session.call(&["SET", &format!("stays:{key}"), "v"]);
        session.call(&["SET", &format!("goes:{key}"), "v"]);
    }
    let mut turn = 0;
    let (found, _) = pass(&mut session, "10", |session| {
        for _ in 0..10 {
            session.call(&["DEL", &format!("goes:{turn}")]);
            session.call(&["SET", &format!("comes:{turn}"), "v"]);
            turn += 1;
        }
    });
    let stays: BTreeSet<_> = found
        .iter()
        .filter(|key| key.starts_with("\"stays:"))
        .collect();
    assert_eq!(stays.len(), 1000);
}
