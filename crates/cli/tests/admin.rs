//! `piccolo status`, `node` and `shard` against a toy node.

mod toy;

use std::io::Write;
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use clap::Parser;
use cli::admin::{self, Ended, NodeArgs, ShardArgs, StatusArgs};
use resp::encode;

use self::toy::toy;

#[derive(Parser)]
enum Command {
    Status(StatusArgs),
    Node(NodeArgs),
    Shard(ShardArgs),
}

fn run(line: &str) -> Result<(Ended, String), String> {
    let command = Command::try_parse_from(format!("piccolo {line}").split(' '))
        .expect("a valid command line");
    let mut out = Vec::new();
    let ended = match command {
        Command::Status(args) => admin::status_to(&args, &mut out),
        Command::Node(args) => admin::node_to(&args, &mut out),
        Command::Shard(args) => admin::shard_to(&args, &mut out),
    };
    match ended {
        Ok(ended) => Ok((ended, String::from_utf8(out).expect("text"))),
        Err(error) => Err(format!("{error:#}")),
    }
}

/// Answers each command with what is next, and the last of them for ever; checks what is asked.
fn node(
    asked: &'static [&'static str],
    answers: &'static [&'static str],
) -> (String, Arc<AtomicUsize>) {
    let count = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&count);
    let address = toy(move |args, out| {
        let args: Vec<_> = args
            .iter()
            .map(|arg| String::from_utf8_lossy(arg))
            .collect();
        assert_eq!(args, asked);
        let number = counted.fetch_add(1, Ordering::Relaxed);
        match answers[number.min(answers.len() - 1)] {
            error if error.starts_with('-') => encode::error(out, &error[1..]),
            answer => encode::bulk(out, answer.as_bytes()),
        }
        true
    });
    (address.to_string(), count)
}

const STATUS: &str = r#"{
    "cluster": {"id": "00c0ffee", "state": "degraded", "forming": "who is missing", "epoch": 7},
    "nodes": [
        {"id": "a1", "name": "left", "address": "127.0.0.1:19919", "redis": "127.0.0.1:6379", "alive": true, "shards_led": 2,
         "disk_free_bytes": 1073741824, "disk_total_bytes": 4294967296, "memory_bytes": 1572864, "version": "0.1.0", "state": "member"},
        {"id": "b2", "name": "right", "address": "127.0.0.1:19920", "alive": false, "round_trip_us": 250, "state": "draining"}
    ],
    "shards": [
        {"shard": 0, "leader": "a1", "leader_name": "left", "term": 3, "commit": 120, "applied": 119,
         "voters": [{"node": "a1", "name": "left", "lag": 0, "alive": true}, {"node": "b2", "name": "right", "lag": 20, "alive": false}],
         "learners": [{"node": "c3", "name": null, "lag": 100, "alive": true}]},
        {"shard": 1, "leader": null, "voters": [], "learners": []}
    ],
    "later": {"versions": "may say more"}
}"#;

#[test]
fn a_status_is_shown_as_tables() {
    let (address, _) = node(&["PICCOLO", "STATUS"], &[STATUS]);
    let (ended, text) = run(&format!("status --address {address}")).expect("a status");
    assert_eq!(ended, Ended::NotOk);
    let lines: Vec<Vec<&str>> = text
        .lines()
        .map(|line| line.split_ascii_whitespace().collect())
        .collect();
    assert_eq!(lines[0].join(" "), "cluster 00c0ffee: degraded");
    assert_eq!(lines[1].join(" "), "who is missing");
    for line in [
        "node id state alive rtt leads memory disk free version peers at clients at",
        "left a1 member yes - 2 1.5 MiB 1.0 GiB (25 %) 0.1.0 127.0.0.1:19919 127.0.0.1:6379",
        "right b2 draining NO 250 µs - - - - 127.0.0.1:19920 -",
        "shard leader term commit applied voters learners",
        "0 left 3 120 119 left, right (away) c3 (-100)",
        "1 NONE - - - - -",
    ] {
        assert!(
            lines.iter().any(|words| words.join(" ") == line),
            "{line} is not in:\n{text}"
        );
    }
}

#[test]
fn json_is_printed_as_it_came() {
    let (address, _) = node(&["PICCOLO", "STATUS"], &[STATUS]);
    let (_, text) = run(&format!("status --json --address {address}")).expect("a status");
    assert_eq!(text, format!("{STATUS}\n"));
    let (address, _) = node(&["PICCOLO", "STATUS"], &[r#"{"cluster": {"state": "ok"}}"#]);
    let (ended, text) = run(&format!("status --address {address}")).expect("a status");
    assert_eq!(
        (ended, text.as_str()),
        (Ended::Well, "cluster none yet: ok\n")
    );
}

#[test]
fn a_wish_is_told_until_it_is_done() {
    const GOING: &str = r#"{"done": false, "node": "a1", "name": "left", "remaining_replicas": 2, "remaining_leaders": 1}"#;
    const DONE: &str = r#"{"done": true, "node": "a1", "name": "left"}"#;
    let (address, count) = node(
        &["PICCOLO", "NODE", "REMOVE", "left"],
        &[
            "-TRYAGAIN soon",
            GOING,
            "-CLUSTERDOWN no leader",
            GOING,
            DONE,
        ],
    );
    let (ended, text) = run(&format!("node remove left --address {address}")).expect("it is done");
    assert_eq!(
        (ended, text.as_str()),
        (Ended::Well, "node left has left the cluster\n")
    );
    assert_eq!(count.load(Ordering::Relaxed), 5);
    let (address, _) = node(&["PICCOLO", "SHARD", "MOVE", "3", "a", "b"], &[DONE]);
    let (_, text) =
        run(&format!("shard move 3 a b --json --address {address}")).expect("it is done");
    assert_eq!(text, format!("{DONE}\n"));
    for (line, asked) in [
        ("node drain a", &["PICCOLO", "NODE", "DRAIN", "a"][..]),
        ("node undrain a", &["PICCOLO", "NODE", "UNDRAIN", "a"]),
        ("shard lead 0 a", &["PICCOLO", "SHARD", "LEAD", "0", "a"]),
    ] {
        let (address, _) = node(asked, &[DONE]);
        run(&format!("{line} --address {address}")).expect("it is done");
    }
}

#[test]
fn a_refusal_ends_it_at_once() {
    let (address, count) = node(
        &["PICCOLO", "NODE", "DRAIN", "nobody"],
        &["-ERR no node is called nobody"],
    );
    let error = run(&format!("node drain nobody --address {address}")).expect_err("refused");
    assert!(error.contains("no node is called nobody"), "{error}");
    assert_eq!(count.load(Ordering::Relaxed), 1);
    // The same when it comes later, and when it might have passed but never went well.
    let (address, count) = node(
        &["PICCOLO", "NODE", "DRAIN", "x"],
        &[r#"{"done": false}"#, "-ERR no node is called x"],
    );
    run(&format!("node drain x --address {address}")).expect_err("refused");
    assert_eq!(count.load(Ordering::Relaxed), 2);
    let (address, count) = node(
        &["PICCOLO", "NODE", "DRAIN", "x"],
        &["-CLUSTERDOWN no leader"],
    );
    let error = run(&format!("node drain x --address {address}")).expect_err("refused");
    assert!(error.contains("piccolo status"), "{error}");
    assert_eq!(count.load(Ordering::Relaxed), 1);
}

#[test]
fn who_is_no_node_is_told() {
    let (address, _) = node(
        &["PICCOLO", "STATUS"],
        &["-ERR unknown command 'PICCOLO', with args beginning with: 'STATUS' "],
    );
    let error = run(&format!("status --address {address}")).expect_err("not a Piccolo");
    assert!(
        error.contains("is no Piccolo") && error.contains("--address"),
        "{error}"
    );
    let (address, _) = node(
        &["PICCOLO", "STATUS"],
        &["-NOAUTH Authentication required."],
    );
    let error = run(&format!("status --address {address}")).expect_err("a password is needed");
    assert!(error.contains("--password"), "{error}");

    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("an address");
    let web = thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a client");
        stream
            .write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            .expect("sent");
    });
    let error = run(&format!("status --address {address}")).expect_err("not RESP");
    assert!(error.contains("does not speak RESP"), "{error}");
    web.join().expect("it answered");
    let error = run(&format!("status --address {address}")).expect_err("gone");
    assert!(error.contains("nothing listens there"), "{error}");
}
