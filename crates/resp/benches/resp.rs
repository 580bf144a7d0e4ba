//! Nanoseconds per operation of what every command costs: `cargo bench -p resp`.

use std::hint::black_box;
use std::time::{Duration, Instant};

use resp::client::{request, skip_reply};
use resp::{Limits, Parser, encode};

fn main() {
    let value = [b'v'; 64];
    let set: [&[u8]; 3] = [b"SET", b"key:000000000001", &value];
    let get: [&[u8]; 2] = [b"GET", b"key:000000000001"];
    parse("parse SET of 64 B, pipeline 64", &set, 64);
    parse("parse SET of 64 B, pipeline 1", &set, 1);
    parse("parse GET, pipeline 64", &get, 64);
    parse("parse GET, pipeline 1", &get, 1);
    parse(
        "parse SET of 4 KiB, pipeline 16",
        &[b"SET", b"key:000000000001", &[b'v'; 4096]],
        16,
    );
    parse(
        "parse MSET of 100 keys",
        &vec![&b"key:000000000001"[..]; 201],
        1,
    );

    let mut out = Vec::with_capacity(1 << 16);
    write("encode OK", &mut out, encode::ok);
    write("encode bulk of 64 B", &mut out, |out| {
        encode::bulk(out, black_box(&value));
    });
    write("encode integer 12345", &mut out, |out| {
        encode::integer(out, black_box(12345));
    });

    let mut reply = Vec::new();
    encode::bulk(&mut reply, &value);
    skip("skip OK", b"+OK\r\n");
    skip("skip bulk of 64 B", &reply);
}

/// Runs `batch`, which does `operations`, for a while, and prints the time of one: the best of several rounds, since
/// what disturbs a run can only make it longer.
fn measure(name: &str, operations: usize, mut batch: impl FnMut()) {
    let mut best = Duration::MAX;
    let rounds = 20;
    let repeats = 200_000 / operations + 1;
    for _ in 0..rounds {
        let start = Instant::now();
        for _ in 0..repeats {
            batch();
        }
        best = best.min(start.elapsed());
    }
    let nanoseconds = best.as_nanos() as f64 / (repeats * operations) as f64;
    println!("{name:<36} {nanoseconds:8.1} ns");
}

fn parse(name: &str, command: &[&[u8]], pipeline: usize) {
    let mut buffer = Vec::new();
    for _ in 0..pipeline {
        request(&mut buffer, command);
    }
    let mut parser = Parser::new();
    let limits = Limits::default();
    let mut args = Vec::new();
    measure(name, pipeline, || {
        let buffer = black_box(&buffer[..]);
        let mut at = 0;
        while let Some(length) = parser
            .parse(&buffer[at..], &limits, &mut args)
            .expect("valid")
        {
            black_box(&args);
            at += length;
        }
        assert_eq!(at, buffer.len());
    });
}

fn write(name: &str, out: &mut Vec<u8>, mut operation: impl FnMut(&mut Vec<u8>)) {
    measure(name, 64, || {
        out.clear();
        for _ in 0..64 {
            operation(out);
        }
        black_box(&out);
    });
}

fn skip(name: &str, reply: &[u8]) {
    let buffer = reply.repeat(64);
    measure(name, 64, || {
        let buffer = black_box(&buffer[..]);
        let mut at = 0;
        while at < buffer.len() {
            at += skip_reply(&buffer[at..])
                .expect("valid")
                .expect("complete")
                .length;
        }
    });
}
