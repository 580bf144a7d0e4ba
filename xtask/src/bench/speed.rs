//! Throughput and CPU per command: GET and SET, at three depths of pipelining, for each fsync setting.

use anyhow::{Context, Result};

use super::Bench;
use super::load;
use super::servers::{Fsync, Recipe};
use super::table::{Target, thousands};

const KEYS: u64 = 1_000_000;
const CLIENTS: &str = "50";

/// A depth of pipelining and its targets.
struct Depth {
    pipeline: u32,
    throughput: f64,
    cpu: f64,
}

const DEPTHS: [Depth; 3] = [
    Depth {
        pipeline: 1,
        throughput: 1.2,
        cpu: 0.85,
    },
    Depth {
        pipeline: 16,
        throughput: 2.0,
        cpu: 0.6,
    },
    Depth {
        pipeline: 64,
        throughput: 2.5,
        cpu: 0.5,
    },
];

/// A GET does not meet the disk, so one setting tells it for all.
const SUBJECTS: [(Fsync, &str); 4] = [
    (Fsync::Never, "get"),
    (Fsync::Never, "set"),
    (Fsync::EverySecond, "set"),
    (Fsync::Always, "set"),
];

/// Prints the table.
pub(super) fn run(bench: &Bench<'_>) -> Result<()> {
    println!(
        "{} keys of 16 B with values of {} B, {CLIENTS} clients; {} rounds of {} s on each server, alternating; ratios \
         are Piccolo's to Redis's: the median of the rounds, and the least and the greatest.\n",
        thousands(bench.keys(KEYS)),
        load::VALUE_BYTES,
        bench.options.rounds,
        bench.options.seconds
    );
    println!(
        "| fsync | command | pipeline | Piccolo, commands/s | Redis, commands/s | ratio | target | reached \
         | Piccolo, CPU µs per command | Redis, CPU µs per command | CPU ratio | target | reached | load generator, share of a core |"
    );
    println!(
        "| --- | --- | --: | --: | --: | --: | --- | --- | --: | --: | --: | --- | --- | --- |"
    );
    for (fsync, op) in SUBJECTS {
        for depth in &DEPTHS {
            let row = compare(bench, fsync, op, depth).with_context(|| {
                format!(
                    "{op} at pipeline {}, fsync {}",
                    depth.pipeline,
                    fsync.name()
                )
            })?;
            println!("{row}");
        }
    }
    Ok(())
}

/// Starts both servers, and gives the row.
fn compare(bench: &Bench<'_>, fsync: Fsync, op: &str, depth: &Depth) -> Result<String> {
    let pipeline = depth.pipeline.to_string();
    eprintln!("speed: {op}, pipeline {pipeline}, fsync {}", fsync.name());
    // Declared before the servers, so that it goes after them.
    let folder = bench.folder()?;
    let redis = Recipe::redis(bench, folder.path().join("redis"), fsync)?.start(0)?;
    let piccolo = Recipe::piccolo(bench, folder.path().join("piccolo"), fsync)?.start(0)?;
    let rounds = bench.options.rounds.to_string();
    let seconds = bench.options.seconds.to_string();
    let arguments = [
        "--op",
        op,
        "--pipeline",
        &pipeline,
        "--clients",
        CLIENTS,
        "--rounds",
        &rounds,
        "--seconds",
        &seconds,
    ];
    let result = load::compare(bench, &piccolo, &redis, bench.keys(KEYS), &arguments)?;
    load::must_be_clean(&result)?;
    let median = |server: usize, name: &str| {
        load::figure(&result, &format!("/servers/{server}/median/{name}"))
    };
    let throughput = |server| Ok(thousands(median(server, "commands_per_second")? as u64));
    let cpu = |server| median(server, "server_cpu_seconds_per_million");
    let generator = |server| Ok(100.0 * median(server, "generator_cpu_share")?);
    let (piccolo_throughput, redis_throughput): (Result<_>, Result<_>) =
        (throughput(0), throughput(1));
    let (piccolo_generator, redis_generator): (Result<f64>, Result<f64>) =
        (generator(0), generator(1));
    Ok(format!(
        "| {} | {} | {pipeline} | {} | {} | {} | {:.2} | {:.2} | {} | {:.0} %, {:.0} % |",
        fsync.name(),
        op.to_uppercase(),
        piccolo_throughput?,
        redis_throughput?,
        Target::AtLeast(depth.throughput).cells(&load::ratios(&result, "throughput")?),
        cpu(0)?,
        cpu(1)?,
        Target::AtMost(depth.cpu).cells(&load::ratios(&result, "server_cpu")?),
        piccolo_generator?,
        redis_generator?,
    ))
}
