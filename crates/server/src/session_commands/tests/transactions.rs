//! MULTI, EXEC and WATCH as clients see them.

use std::path::Path;
use std::time::Duration;

use golden::{Action, Value, parse};

use super::data::DataNode;

/// The golden scripts of this crate; a real Redis answers the same.
#[test]
fn scripts_give_what_they_expect() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scripts");
    let mut failures = String::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let script = std::fs::read_to_string(&path).unwrap();
        let node = DataNode::new();
        let mut talk = node.node.connect();
        for step in parse(&script).unwrap() {
            match step.action {
                Action::Wait(time) => assert_eq!(time, Duration::ZERO, "these scripts do not wait"),
                Action::Protocol(version) => {
                    node.call(&mut talk, &["HELLO", &version.to_string()]);
                }
                Action::Call(call) => {
                    if let Some(actual) = call.mismatch(&node.call(&mut talk, &call.args)) {
                        failures.push_str(&format!(
                            "{} line {}\n--- expected\n{}\n--- actual\n{actual}\n\n",
                            path.display(),
                            step.line,
                            call.expected
                        ));
                    }
                }
            }
        }
    }
    assert!(failures.is_empty(), "{failures}");
}

fn words(replies: &str) -> String {
    replies.replace("\r\n", " ")
}

#[test]
fn pipelined_transactions_answer_in_order() {
    let node = DataNode::new();
    let mut talk = node.node.connect();
    let replies = node.say(
        &mut talk,
        "INCR a\nMULTI\nINCR a\nGET a\nEXEC\nGET a\nMULTI\nPING\nINCR a\nSELECT 1\nINCR a\nEXEC\nGET a\n\
         MULTI\nEXEC\nEXEC\nMULTI\nINCR b\nDISCARD\nINCR b",
    );
    assert_eq!(
        words(&replies),
        ":1 +OK +QUEUED +QUEUED *2 :2 $1 2 $1 2 \
         +OK +QUEUED +QUEUED +QUEUED +QUEUED *4 +PONG :3 +OK :1 $1 1 \
         +OK *0 -ERR EXEC without MULTI +OK +QUEUED +OK :1 "
    );
}

#[test]
fn silence_covers_what_is_queued() {
    let node = DataNode::new();
    let mut talk = node.node.connect();
    let replies = node.say(
        &mut talk,
        "INCR a\nMULTI\nINCR a\nEXEC\nCLIENT REPLY SKIP\nINCR a\nMULTI\nINCR a\nEXEC",
    );
    assert_eq!(words(&replies), ":1 +OK +QUEUED *1 :2 +OK +QUEUED *1 :4 ");
}

#[test]
fn another_client_is_noticed() {
    let node = DataNode::new();
    let (mut one, mut other) = (node.node.connect(), node.node.connect());
    for (change, runs) in [
        ("SET b 1", true),
        ("SET a 1", false),
        ("DEL a", false),
        ("DEL a", true),
        ("FLUSHALL", true),
        ("SET a 1\nDEL a", false),
        ("SET a 1\nFLUSHALL", false),
        ("SET a 1\nRENAME a b", false),
        ("PING", true),
    ] {
        assert_eq!(node.say(&mut one, "WATCH a"), "+OK\r\n");
        node.say(&mut other, change);
        let replies = node.say(&mut one, "MULTI\nSELECT 1\nEXEC\nCLIENT INFO");
        let expected = if runs { "*1 +OK " } else { "*-1 " };
        assert!(
            words(&replies).starts_with(&format!("+OK +QUEUED {expected}")),
            "{change}: {replies}"
        );
        let db = if runs { "db=1" } else { "db=0" };
        assert!(replies.contains(db), "{change}: {replies}");
        node.say(&mut one, "SELECT 0");
        // Nothing is watched any more.
        let again = node.say(&mut one, "MULTI\nPING\nEXEC");
        assert_eq!(words(&again), "+OK +QUEUED *1 +PONG ");
    }
}

#[test]
fn all_keys_of_a_transaction_are_in_one_shard() {
    let node = DataNode::of_shards(16);
    let mut talk = node.node.connect();
    let replies = node.say(
        &mut talk,
        "MULTI\nSET {t}a 1\nGET {t}b\nPING\nEXEC\nMULTI\nSET a 1\nSET b 1\nEXEC\nMULTI\nDBSIZE\nEXEC\n\
         WATCH a\nWATCH b\nMULTI\nSET b 1\nEXEC\nGET a\nUNWATCH\nWATCH b\nUNWATCH",
    );
    let replies = words(&replies);
    let crossings = replies.matches("-CROSSSLOT Keys in request").count();
    assert_eq!(crossings, 4, "{replies}");
    assert_eq!(replies.matches("-EXECABORT").count(), 3, "{replies}");
    assert!(
        replies.starts_with("+OK +QUEUED +QUEUED +QUEUED *3 +OK $-1 +PONG +OK "),
        "{replies}"
    );
    assert!(replies.ends_with("$-1 +OK +OK +OK "), "{replies}");
}

#[test]
fn what_is_watched_has_a_limit() {
    let node = DataNode::new();
    let mut talk = node.node.connect();
    let mut call = vec!["WATCH".to_owned()];
    call.extend((0..65_536).map(|number| format!("k{number}")));
    assert_eq!(node.call(&mut talk, &call), Value::Simple("OK".into()));
    let reply = node.call(&mut talk, &["WATCH", "one more"]);
    assert!(matches!(reply, Value::Error(text) if text.contains("65536")));
}
