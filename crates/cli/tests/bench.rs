//! The load generator against a toy server in a thread of the test.

mod toy;

use std::cell::Cell;
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use clap::Parser;
use resp::encode;

use self::toy::toy;

#[derive(Parser)]
struct Command {
    #[command(flatten)]
    bench: cli::bench::BenchArgs,
}

/// A store of one value.
fn answer_as_store(args: &[&[u8]], out: &mut Vec<u8>) -> bool {
    match args[0] {
        b"GET" => encode::bulk(out, &[b'v'; 64]),
        b"DBSIZE" => encode::integer(out, 0),
        _ => encode::ok(out),
    }
    true
}

fn bench(line: &str) -> Result<String, String> {
    let args = Command::try_parse_from(format!("bench {line}").split(' '))
        .expect("a valid command line")
        .bench;
    let mut out = Vec::new();
    match cli::bench::run_to(&args, &mut out) {
        Ok(()) => Ok(String::from_utf8(out).expect("text")),
        Err(error) => Err(format!("{error:#}")),
    }
}

fn bench_json(line: &str) -> serde_json::Value {
    serde_json::from_str(&bench(&format!("--json {line}")).expect("it runs")).expect("it is JSON")
}

#[test]
fn a_comparison_has_all_its_figures() {
    let (first, second) = (toy(answer_as_store), toy(answer_as_store));
    for op in ["get", "set", "mixed"] {
        let object = bench_json(&format!(
            "--address {first} --vs {second} --op {op} --clients 3 --pipeline 7 --keys 100 --seconds 0.05 --rounds 2"
        ));
        for server in object["servers"].as_array().expect("two servers") {
            assert_eq!(server["pid"], serde_json::Value::Null);
            for round in server["rounds"].as_array().expect("two rounds") {
                assert!(round["commands"].as_u64().expect("a count") > 0, "{round}");
                assert!(
                    round["latency_ms"]["p99"].as_f64().expect("a time") > 0.0,
                    "{round}"
                );
                assert_eq!(round["errors"], serde_json::json!({}));
                assert_eq!(round["misses"], 0);
            }
        }
        assert_eq!(object["servers"].as_array().expect("servers").len(), 2);
        assert_eq!(object["ratios"].as_array().expect("ratios").len(), 2);
        assert!(
            object["median_ratio"]["throughput"]
                .as_f64()
                .expect("a ratio")
                > 0.0
        );
    }
}

#[test]
fn a_table_is_for_people() {
    let (first, second) = (toy(answer_as_store), toy(answer_as_store));
    let table = bench(&format!(
        "--address {first} --vs {second} --clients 2 --keys 10 --seconds 0.02 --rounds 2"
    ))
    .expect("it runs");
    for part in [
        &first.to_string(),
        "get: 2 clients, pipeline 1, 10 keys",
        "    1 A",
        "    1 B",
        "    2 A",
        "A/B",
        "medians",
    ] {
        assert!(table.contains(part), "{part} is not in:\n{table}");
    }
    // Who goes first alternates.
    let order: Vec<_> = table
        .lines()
        .filter_map(|line| line.get(4..7))
        .filter(|at| ["1 A", "1 B", "2 A", "2 B"].contains(at))
        .collect();
    assert_eq!(order, ["1 A", "1 B", "2 B", "2 A"]);
}

#[test]
fn a_fill_sends_each_key_once() {
    let sets = Arc::new(AtomicU64::new(0));
    let sum = Arc::new(AtomicU64::new(0));
    let (counted, summed) = (Arc::clone(&sets), Arc::clone(&sum));
    let address = toy(move |args, out| {
        if args[0] == b"SET" {
            assert_eq!((args[1].len(), args[2].len()), (16, 1000));
            let number: u64 = std::str::from_utf8(&args[1][4..])
                .expect("digits")
                .parse()
                .expect("a number");
            counted.fetch_add(1, Ordering::Relaxed);
            summed.fetch_add(number, Ordering::Relaxed);
        }
        answer_as_store(args, out)
    });
    let object = bench_json(&format!(
        "--address {address} --op fill --keys 5000 --value-size 1000"
    ));
    assert!(
        object["servers"][0]["keys_per_second"]
            .as_f64()
            .expect("a rate")
            > 0.0
    );
    // One more for the question whether the server takes writes.
    assert_eq!(sets.load(Ordering::Relaxed), 5001);
    assert_eq!(sum.load(Ordering::Relaxed), 5000 * 4999 / 2);
}

#[test]
fn long_values_and_misses_are_counted() {
    let value = vec![b'v'; 300_000];
    let address = toy(move |args, out| {
        match (args[0], args.get(1).and_then(|key| key.last())) {
            (b"GET", Some(b'0'..=b'4')) => encode::null(out, encode::Protocol::Resp2),
            (b"GET", _) => encode::bulk(out, &value),
            _ => encode::ok(out),
        }
        true
    });
    for size in [300_000, 299_999] {
        let object = bench_json(&format!(
            "--address {address} --no-fill --clients 2 --pipeline 4 --keys 100 --seconds 0.2 --value-size {size}"
        ));
        let round = &object["servers"][0]["rounds"][0];
        let (commands, misses) = (
            round["commands"].as_f64().expect("a count"),
            round["misses"].as_f64().expect("a count"),
        );
        assert!((0.2..0.8).contains(&(misses / commands)), "{round}");
    }
}

#[test]
fn errors_are_counted_by_their_first_word() {
    let count = AtomicU64::new(0);
    let address = toy(move |args, out| {
        if args[0] == b"GET" && count.fetch_add(1, Ordering::Relaxed) % 3 == 2 {
            encode::error(out, "BUSY try later");
        } else {
            return answer_as_store(args, out);
        }
        true
    });
    let object = bench_json(&format!(
        "--address {address} --no-fill --clients 2 --pipeline 5 --seconds 0.05"
    ));
    let round = &object["servers"][0]["rounds"][0];
    assert!(
        round["errors"]["BUSY"].as_u64().expect("a count") > 0,
        "{round}"
    );
    assert_eq!(round["first_error"], "BUSY try later");
}

#[test]
fn a_refusal_comes_with_what_to_do() {
    let address = toy(|args, out| {
        match args[0] {
            b"INFO" => encode::bulk(out, b"redis_version:7.0.0\r\n"),
            b"SET" => encode::error(out, "CLUSTERDOWN not founded yet"),
            _ => encode::error(out, "NOAUTH Authentication required."),
        }
        true
    });
    let error = bench(&format!("--address {address}")).expect_err("refused");
    assert!(
        error.contains("CLUSTERDOWN not founded yet") && error.contains("piccolo status"),
        "{error}"
    );
    let error = bench(&format!("--address {address} --no-fill")).expect_err("refused");
    assert!(
        error.contains("NOAUTH") && error.contains("--password"),
        "{error}"
    );
}

#[test]
fn a_password_is_shown_on_every_connection() {
    // A thread is a connection.
    thread_local!(static WELCOME: Cell<bool> = const { Cell::new(false) });
    let address = toy(|args, out| {
        if args == [&b"AUTH"[..], b"secret"] {
            WELCOME.set(true);
        } else if !WELCOME.get() {
            encode::error(out, "NOAUTH Authentication required.");
            return true;
        }
        answer_as_store(args, out)
    });
    let object = bench_json(&format!(
        "--address {address} --password secret --clients 2 --keys 10 --seconds 0.02"
    ));
    assert!(
        object["servers"][0]["rounds"][0]["commands"]
            .as_u64()
            .expect("a count")
            > 0
    );
}

#[test]
fn nobody_there_is_an_error_with_advice() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("an address");
    drop(listener);
    let error = bench(&format!("--address {address}")).expect_err("refused");
    assert!(
        error.contains("nothing listens there") && error.contains("--address"),
        "{error}"
    );
}

#[test]
fn a_server_that_goes_away_fails_the_round() {
    let count = AtomicU64::new(0);
    let address = toy(move |args, out| {
        if args[0] == b"GET" && count.fetch_add(1, Ordering::Relaxed) > 500 {
            return false;
        }
        answer_as_store(args, out)
    });
    let error = bench(&format!(
        "--address {address} --no-fill --clients 2 --seconds 60"
    ))
    .expect_err("it went away");
    assert!(
        error.contains("round 1") && error.contains(&address.to_string()),
        "{error}"
    );
}

#[test]
fn a_server_that_never_answers_costs_no_more_than_the_round() {
    let count = AtomicU64::new(0);
    let address = toy(move |args, out| {
        // The probe is answered, the load is not.
        if args[0] == b"GET" && count.fetch_add(1, Ordering::Relaxed) > 0 {
            return true;
        }
        answer_as_store(args, out)
    });
    let error = bench(&format!(
        "--address {address} --no-fill --clients 2 --seconds 0.05"
    ))
    .expect_err("silence");
    assert!(error.contains("not one reply"), "{error}");
}
