//! What a key costs: the memory of a fresh server before and after it is given many.

use anyhow::Result;

use super::Bench;
use super::load;
use super::servers::{Fsync, Recipe};
use super::table::{Target, thousands};

const KEYS: u64 = 5_000_000;
const TARGET: Target = Target::AtMost(0.65);

/// Prints the table.
pub(super) fn run(bench: &Bench<'_>) -> Result<()> {
    let keys = bench.keys(KEYS);
    println!(
        "{} keys of 16 B with values of {} B, each set once; what memory grew by, for each key; Piccolo with fsync \
         `never`, Redis without AOF.\n",
        thousands(keys),
        load::VALUE_BYTES
    );
    eprintln!("memory: {} keys", thousands(keys));
    let folder = bench.folder()?;
    let redis = Recipe::redis(bench, folder.path().join("redis"), Fsync::Never)?.start(0)?;
    let piccolo = Recipe::piccolo(bench, folder.path().join("piccolo"), Fsync::Never)?.start(0)?;
    let result = load::compare(bench, &piccolo, &redis, keys, &["--op", "fill"])?;
    println!("| measured by | Piccolo, B per key | Redis, B per key | ratio | target | reached |");
    println!("| --- | --: | --: | --: | --- | --- |");
    for (measure, name) in [
        ("`used_memory` of INFO", "used_bytes_per_key"),
        ("resident memory (`VmRSS`)", "resident_bytes_per_key"),
    ] {
        let piccolo = load::figure(&result, &format!("/servers/0/{name}"))?;
        let redis = load::figure(&result, &format!("/servers/1/{name}"))?;
        println!(
            "| {measure} | {piccolo:.1} | {redis:.1} | {} |",
            TARGET.cells(&[piccolo / redis])
        );
    }
    Ok(())
}
