//! Throughput of commands on each type, at two depths of pipelining.

use anyhow::{Context, Result};

use super::Bench;
use super::load;
use super::servers::{Fsync, Recipe};
use super::table::{Target, thousands};

const KEYS: u64 = 100_000;
const CLIENTS: &str = "50";

/// The depths and the ratio that is wanted at each.
const DEPTHS: [(u32, f64); 2] = [(1, 1.2), (16, 2.0)];

/// What is sent for each key, in this order: what reads follows what has written it.
const SUBJECTS: [(&str, &str); 9] = [
    ("INCR", "INCR counter:{key}"),
    ("LPUSH, RPOP", "LPUSH list:{key} {value} ; RPOP list:{key}"),
    ("HSET", "HSET hash {key} {value}"),
    ("HGET", "HGET hash {key}"),
    ("SADD", "SADD set {key}"),
    ("ZADD", "ZADD zset {digits} {key}"),
    ("ZRANGE of 10", "ZRANGE zset 0 9"),
    ("XADD", "XADD stream MAXLEN ~ 100000 * field {value}"),
    (
        "MULTI of 10 INCR",
        "MULTI ; INCR {key} ; INCR {key} ; INCR {key} ; INCR {key} ; INCR {key} ; INCR {key} ; INCR {key} \
         ; INCR {key} ; INCR {key} ; INCR {key} ; EXEC",
    ),
];

/// Prints the table.
pub(super) fn run(bench: &Bench<'_>) -> Result<()> {
    println!(
        "{} keys, values of {} B, {CLIENTS} clients, no sync; {} rounds of {} s on each server, alternating; ratios are \
         Piccolo's to Redis's: the median of the rounds, and the least and the greatest.\n",
        thousands(bench.keys(KEYS)),
        load::VALUE_BYTES,
        bench.options.rounds,
        bench.options.seconds
    );
    println!(
        "| commands | pipeline | Piccolo, commands/s | Redis, commands/s | ratio | target | reached | CPU ratio |"
    );
    println!("| --- | --: | --: | --: | --: | --- | --- | --: |");
    // Declared before the servers, so that it goes after them.
    let folder = bench.folder()?;
    let redis = Recipe::redis(bench, folder.path().join("redis"), Fsync::Never)?.start(0)?;
    let piccolo = Recipe::piccolo(bench, folder.path().join("piccolo"), Fsync::Never)?.start(0)?;
    for (name, command) in SUBJECTS {
        for (pipeline, target) in DEPTHS {
            eprintln!("types: {name}, pipeline {pipeline}");
            let arguments = [
                "--command",
                command,
                "--pipeline",
                &pipeline.to_string(),
                "--clients",
                CLIENTS,
                "--rounds",
                &bench.options.rounds.to_string(),
                "--seconds",
                &bench.options.seconds.to_string(),
            ];
            let result = load::compare(bench, &piccolo, &redis, bench.keys(KEYS), &arguments)
                .with_context(|| format!("{name} at pipeline {pipeline}"))?;
            load::must_be_served(&result)?;
            let throughput = |server: usize| {
                let figure = format!("/servers/{server}/median/commands_per_second");
                load::figure(&result, &figure).map(|figure| thousands(figure as u64))
            };
            let cpu = super::table::median(&load::ratios(&result, "server_cpu")?);
            println!(
                "| {name} | {pipeline} | {} | {} | {} | {:.2} |",
                throughput(0)?,
                throughput(1)?,
                Target::AtLeast(target).cells(&load::ratios(&result, "throughput")?),
                cpu.unwrap_or(f64::NAN),
            );
        }
    }
    Ok(())
}
