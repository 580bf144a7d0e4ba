//! How the figures are shown: a table for people, one object for programs.

use std::io::Write;

use anyhow::Result;
use serde_json::{Value, json};

use super::args::{BenchArgs, Op};
use super::fill::Filled;
use super::server::Server;
use super::summary::{Comparison, Round, median, thousands};

/// The servers' names in the table.
const LETTERS: [char; 2] = ['A', 'B'];
/// The part of a CPU from which on the generator counts as the bottleneck.
const BUSY: f64 = 0.97;

/// What will be done, to whom, and the head of the table.
pub(crate) fn heading(out: &mut dyn Write, args: &BenchArgs, servers: &[Server]) -> Result<()> {
    for (letter, server) in LETTERS.iter().zip(servers) {
        let process = match &server.process {
            Some(process) => format!("process {}", process.pid),
            None => "not a process of this machine: its CPU and RAM are not known".to_owned(),
        };
        writeln!(
            out,
            "{letter}  {}  {}, {process}",
            server.target, server.name
        )?;
    }
    let keys = thousands(args.keys);
    if args.op == Op::Fill {
        writeln!(
            out,
            "fill: {keys} keys of 16 B, values of {} B\n",
            args.value_size
        )?;
        return Ok(());
    }
    writeln!(
        out,
        "{}: {} clients, pipeline {}, {keys} keys of 16 B{}, values of {} B, {} s a round\n",
        args.what(),
        args.clients,
        args.pipeline,
        if args.fills() { "" } else { " (not filled)" },
        args.value_size,
        args.seconds,
    )?;
    writeln!(
        out,
        "                                latency in ms             CPU s per million"
    )?;
    writeln!(
        out,
        "round     commands/s      p50      p99    p99.9      max   server   generator"
    )?;
    Ok(())
}

/// A line of the table.
pub(crate) fn round(
    out: &mut dyn Write,
    args: &BenchArgs,
    number: u32,
    index: usize,
    round: &Round,
) -> Result<()> {
    writeln!(out, "{number:>5} {} {}", LETTERS[index], figures(round))?;
    if args.op != Op::Set && args.command.is_none() && round.misses > 0 {
        let percent = round.misses as f64 * 100.0 / round.commands as f64;
        writeln!(
            out,
            "        {} replies had no value ({percent:.1} % of all)",
            thousands(round.misses)
        )?;
    }
    if round.own_share > BUSY {
        writeln!(
            out,
            "        the generator used a whole CPU: the server may be able to do more"
        )?;
    }
    if let Some(first) = &round.first_error {
        let counts: Vec<_> = round
            .errors
            .iter()
            .map(|(word, count)| format!("{} {word}", thousands(*count)))
            .collect();
        writeln!(
            out,
            "        errors: {}; the first one: {first}",
            counts.join(", ")
        )?;
    }
    out.flush()?;
    Ok(())
}

fn figures(round: &Round) -> String {
    format!(
        "{:>12} {:>8.3} {:>8.3} {:>8.3} {:>8.3} {:>8} {:>11.3}",
        thousands(round.throughput as u64),
        round.p50_ms,
        round.p99_ms,
        round.p999_ms,
        round.max_ms,
        round
            .server_cpu
            .map_or("?".to_owned(), |cpu| format!("{cpu:.3}")),
        round.own_cpu,
    )
}

/// The ratios of a round on two servers.
pub(crate) fn ratio(out: &mut dyn Write, comparison: &Comparison) -> Result<()> {
    if let Some(throughput) = comparison.throughput_ratio {
        writeln!(
            out,
            "    A/B {throughput:>11.2}x {:>44}",
            times(comparison.cpu_ratio)
        )?;
        out.flush()?;
    }
    Ok(())
}

fn times(ratio: Option<f64>) -> String {
    ratio.map_or("?".to_owned(), |ratio| format!("{ratio:.2}x"))
}

/// The medians of all rounds.
pub(crate) fn medians(out: &mut dyn Write, comparisons: &[Comparison]) -> Result<()> {
    if comparisons.len() > 1 {
        writeln!(out, "\nmedians")?;
        for (index, letter) in LETTERS.iter().enumerate() {
            if let Some(median) = median_round(comparisons, index) {
                writeln!(out, "      {letter} {}", figures(&median))?;
            }
        }
        ratio(out, &median_ratios(comparisons))?;
    }
    Ok(())
}

/// A round of which each figure is the median of that figure. Counts are sums.
fn median_round(comparisons: &[Comparison], index: usize) -> Option<Round> {
    let rounds: Vec<&Round> = comparisons
        .iter()
        .filter_map(|comparison| comparison.rounds.get(index))
        .collect();
    let middle = |of: fn(&Round) -> f64| median(rounds.iter().map(|round| of(round)));
    let mut errors = std::collections::BTreeMap::new();
    for (word, count) in rounds.iter().flat_map(|round| &round.errors) {
        *errors.entry(word.clone()).or_default() += count;
    }
    Some(Round {
        commands: rounds.iter().map(|round| round.commands).sum(),
        misses: rounds.iter().map(|round| round.misses).sum(),
        seconds: rounds.iter().map(|round| round.seconds).sum(),
        throughput: middle(|round| round.throughput)?,
        p50_ms: middle(|round| round.p50_ms)?,
        p99_ms: middle(|round| round.p99_ms)?,
        p999_ms: middle(|round| round.p999_ms)?,
        max_ms: middle(|round| round.max_ms)?,
        server_cpu: median(rounds.iter().filter_map(|round| round.server_cpu)),
        own_cpu: middle(|round| round.own_cpu)?,
        own_share: middle(|round| round.own_share)?,
        errors,
        first_error: rounds.iter().find_map(|round| round.first_error.clone()),
    })
}

/// The medians of the ratios, which are not the ratios of the medians.
fn median_ratios(comparisons: &[Comparison]) -> Comparison {
    Comparison {
        rounds: Vec::new(),
        throughput_ratio: median(
            comparisons
                .iter()
                .filter_map(|comparison| comparison.throughput_ratio),
        ),
        cpu_ratio: median(
            comparisons
                .iter()
                .filter_map(|comparison| comparison.cpu_ratio),
        ),
    }
}

/// All of it as one object on one line.
pub(crate) fn json(
    out: &mut dyn Write,
    args: &BenchArgs,
    servers: &[Server],
    comparisons: &[Comparison],
) -> Result<()> {
    let of_server = |(index, server): (usize, &Server)| {
        let rounds: Vec<Value> = comparisons
            .iter()
            .filter_map(|comparison| comparison.rounds.get(index))
            .map(round_json)
            .collect();
        json!({
            "address": server.target.to_string(),
            "server": server.name,
            "pid": server.process.as_ref().map(|process| process.pid),
            "rounds": rounds,
            "median": median_round(comparisons, index).as_ref().map(round_json),
        })
    };
    let ratios: Vec<Value> = comparisons
        .iter()
        .filter(|both| both.rounds.len() == 2)
        .map(ratio_json)
        .collect();
    let object = json!({
        "op": args.what(),
        "clients": args.clients,
        "pipeline": args.pipeline,
        "keys": args.keys,
        "filled": !args.no_fill,
        "value_size": args.value_size,
        "seconds": args.seconds,
        "servers": servers.iter().enumerate().map(of_server).collect::<Vec<_>>(),
        "ratios": ratios,
        "median_ratio": (servers.len() == 2).then(|| ratio_json(&median_ratios(comparisons))),
    });
    writeln!(out, "{object}")?;
    Ok(())
}

fn ratio_json(comparison: &Comparison) -> Value {
    json!({ "throughput": comparison.throughput_ratio, "server_cpu": comparison.cpu_ratio })
}

fn round_json(round: &Round) -> Value {
    json!({
        "commands": round.commands,
        "misses": round.misses,
        "errors": round.errors,
        "first_error": round.first_error,
        "seconds": round.seconds,
        "commands_per_second": round.throughput,
        "latency_ms": { "p50": round.p50_ms, "p99": round.p99_ms, "p99_9": round.p999_ms, "max": round.max_ms },
        "server_cpu_seconds_per_million": round.server_cpu,
        "generator_cpu_seconds_per_million": round.own_cpu,
        "generator_cpu_share": round.own_share,
    })
}

/// What a fill cost a server.
pub(crate) fn filled(out: &mut dyn Write, index: usize, filled: &Filled) -> Result<()> {
    let bytes = |value: Option<f64>| value.map_or("?".to_owned(), |value| format!("{value:.1} B"));
    writeln!(
        out,
        "{}  a key costs {} of used_memory and {} of RAM; {} keys/s, {} CPU s per million",
        LETTERS[index],
        bytes(filled.used_per_key),
        bytes(filled.resident_per_key),
        thousands(filled.keys_per_second as u64),
        filled
            .cpu_per_million
            .map_or("?".to_owned(), |cpu| format!("{cpu:.3}")),
    )?;
    if filled.was_not_empty() {
        writeln!(
            out,
            "   It was not empty before: keys that were there are written anew and not counted."
        )?;
    }
    out.flush()?;
    Ok(())
}

/// What a key costs one server, compared with the other.
pub(crate) fn fill_ratio(
    out: &mut dyn Write,
    used: Option<f64>,
    resident: Option<f64>,
) -> Result<()> {
    writeln!(
        out,
        "A/B  {} of used_memory, {} of RAM",
        times(used),
        times(resident)
    )?;
    Ok(())
}
