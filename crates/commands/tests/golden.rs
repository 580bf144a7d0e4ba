//! The golden scripts, in this process. The crate `golden` runs them against a real Redis.

#![allow(clippy::unwrap_used, reason = "a test ends at what it did not expect")]

mod in_process;

use std::path::Path;

use base::Timestamp;
use golden::{Action, parse};
use in_process::InProcess;

/// Where the time of a script starts: 2025-06-15T15:06:40Z.
const START: Timestamp = Timestamp::from_millis(1_750_000_000_000);

fn run(script: &str) -> String {
    let mut session = InProcess::new(START);
    let mut failures = String::new();
    for step in parse(script).unwrap() {
        match step.action {
            Action::Wait(time) => {
                let millis = session.now.millis() + time.as_millis() as u64;
                session.now = Timestamp::from_millis(millis);
            }
            Action::Protocol(version) => session.protocol = version,
            Action::Call(call) => {
                if let Some(actual) = call.mismatch(&session.call(&call.args)) {
                    let line = step.line;
                    let expected = &call.expected;
                    failures.push_str(&format!(
                        "line {line}\n--- expected\n{expected}\n--- actual\n{actual}\n\n"
                    ));
                }
            }
        }
    }
    failures
}

#[test]
fn scripts_give_what_they_expect() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scripts");
    let mut failures = String::new();
    let mut scripts = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let failed = run(&std::fs::read_to_string(&path).unwrap());
        if !failed.is_empty() {
            failures.push_str(&format!("{}\n{failed}", path.display()));
        }
        scripts += 1;
    }
    assert!(scripts > 0, "there are scripts to run");
    assert!(failures.is_empty(), "{failures}");
}
