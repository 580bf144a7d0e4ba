//! The golden scripts of the commands against a real Redis 7, which is the oracle: what the scripts
//! expect is what it answers. With `GOLDEN_UPDATE=1` the scripts are rewritten to what it answers.

#![allow(clippy::unwrap_used, reason = "a test ends at what it did not expect")]

mod redis;

use std::path::{Path, PathBuf};

use golden::socket::{Target, record, run_against};
use redis::Redis;

fn scripts() -> Vec<PathBuf> {
    let mut all = Vec::new();
    for of in ["commands", "server"] {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../{of}/tests/scripts"));
        let mut paths: Vec<_> = std::fs::read_dir(&folder)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.extension().is_some_and(|extension| extension == "txt"))
            .collect();
        paths.sort();
        assert!(!paths.is_empty(), "no scripts in {}", folder.display());
        all.append(&mut paths);
    }
    all
}

#[test]
fn scripts_expect_what_redis_answers() {
    let Some(redis) = Redis::start() else { return };
    let mut failures = String::new();
    for path in scripts() {
        let script = std::fs::read_to_string(&path).unwrap();
        if std::env::var_os("GOLDEN_UPDATE").is_some_and(|value| value == "1") {
            let recorded = record(redis.address, &script, Target::Redis).unwrap();
            if recorded != script {
                std::fs::write(&path, recorded).unwrap();
            }
        } else if let Err(failure) = run_against(redis.address, &script, Target::Redis) {
            failures.push_str(&format!("{}\n{failure}\n", path.display()));
        }
    }
    assert!(failures.is_empty(), "{failures}");
}
