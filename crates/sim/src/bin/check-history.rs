//! Judges histories of real clusters: `check-history FILE...`. See [`sim::history_file`] for the form of a file.
//!
//! Exit codes: 0 all are linearizable, 1 one is not or cannot be decided, 2 one cannot be read.

use std::fs::File;
use std::io::BufReader;
use std::process::ExitCode;
use std::time::Duration;

use sim::history::{Call, Outcome};
use sim::history_file;
use sim::linearizability::{self, Verdict};

/// By how much the wall clocks of the nodes may be apart, for keys with an expiry: nodes of one machine.
const CLOCK_ERROR: Duration = Duration::from_millis(100);
/// How many calls of a key that is not linearizable are shown, the last of them.
const SHOWN: usize = 400;

fn main() -> ExitCode {
    let paths: Vec<String> = std::env::args().skip(1).collect();
    if paths.is_empty() {
        eprintln!("check-history FILE...: lines of JSON, as `sim::history_file` tells");
        return ExitCode::from(2);
    }
    let mut well = true;
    for path in &paths {
        let file = File::open(path).map_err(history_file::ReadError::from);
        match file.and_then(|file| history_file::read(BufReader::new(file))) {
            Ok(keys) => {
                let calls: usize = keys.values().map(Vec::len).sum();
                let bad = keys
                    .iter()
                    .filter(|(key, calls)| !is_explained(key, calls))
                    .count();
                println!(
                    "{path}: {calls} calls of {} keys, {bad} keys are not linearizable",
                    keys.len()
                );
                well &= bad == 0;
            }
            Err(error) => {
                eprintln!("check-history: {path}: {error}");
                return ExitCode::from(2);
            }
        }
    }
    ExitCode::from(u8::from(!well))
}

/// Whether the calls of a key can have come from one copy; says so if not.
fn is_explained(key: &str, calls: &[Call]) -> bool {
    let tells = |call: &&Call| match call.outcome {
        Outcome::Answered(..) => true,
        Outcome::Unknown => !call.op.is_read(),
        Outcome::NotTaken => false,
    };
    let mut telling: Vec<&Call> = calls.iter().filter(tells).collect();
    match linearizability::check(&telling, CLOCK_ERROR) {
        Verdict::Linearizable => return true,
        Verdict::Violated { explained, known } => {
            println!(
                "{key}: not linearizable: at most {explained} of {known} answers can be explained"
            );
        }
        Verdict::Undecided => {
            println!("{key}: undecided: too many calls of unknown outcome at once");
        }
    }
    telling.sort_by_key(|call| call.called);
    for call in &telling[telling.len().saturating_sub(SHOWN)..] {
        let (client, called, op) = (call.client, call.called.as_micros(), call.op);
        match &call.outcome {
            Outcome::Answered(returned, answer) => {
                println!(
                    "  {called} to {} µs, client {client}: {op:?} = {answer:?}",
                    returned.as_micros()
                );
            }
            _ => println!("  {called} µs, client {client}: {op:?} = ?"),
        }
    }
    false
}
