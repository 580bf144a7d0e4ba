//! Writing every key once: before the rounds, so that GETs hit, and as a measurement of its own, of memory.

use std::io::Write;
use std::time::{Duration, Instant};

use anyhow::Result;
use resp::Value;
use serde_json::json;

use super::args::{BenchArgs, Op};
use super::batch::{Batch, Keys, Shape};
use super::load::Load;
use super::progress::Progress;
use super::replies::Tally;
use super::report;
use super::server::Server;
use crate::control::Control;

/// Clients of the fill, and requests that each sends at once: enough to keep a server busy.
const CLIENTS: u32 = 8;
const PIPELINE: u32 = 64;
/// The most bytes that each sends at once.
const BATCH_BYTES: usize = 1024 * 1024;

/// Sets each key once.
///
/// # Errors
/// The server refuses a write or goes away.
pub(crate) fn fill(args: &BenchArgs, server: &Server) -> Result<Tally> {
    // Refusals have their advice on this connection.
    Control::connect(&server.target)?.call(&[
        b"SET",
        &super::batch::key(0),
        &super::batch::value(args.value_size),
    ])?;
    let fitting = u32::try_from(BATCH_BYTES / (args.value_size + 64)).unwrap_or(PIPELINE);
    let shape = Shape {
        op: Op::Fill,
        pipeline: fitting.clamp(1, PIPELINE),
        value_size: args.value_size,
    };
    let batch = Batch::new(
        shape,
        Keys::Sequence {
            next: 0,
            end: args.keys,
        },
    );
    let mut progress = Progress::new(format!("filling {} with {} keys", server.target, args.keys));
    let mut load = Load::connect(&server.target, CLIENTS, batch)?;
    // Ends when all keys are written; a server that stops answering is an error of `run`.
    while !load.run(Instant::now() + Duration::from_secs(1), &mut progress)? {}
    let tally = load.take_tally();
    if let Some(error) = &tally.first_error {
        let count: u64 = tally.errors.values().sum();
        anyhow::bail!(
            "{count} of {} writes were refused, the first one with: {error}",
            args.keys
        );
    }
    Ok(tally)
}

/// What a server holds.
#[derive(Clone, Copy, Debug, Default)]
struct Memory {
    keys: Option<u64>,
    /// `used_memory` of INFO: what its allocations add up to.
    used: Option<u64>,
    /// What the process has in RAM.
    resident: Option<u64>,
}

impl Memory {
    fn of(server: &Server) -> Result<Memory> {
        let mut control = Control::connect(&server.target)?;
        let info = control.info("memory")?;
        let keys = match control.call(&[b"DBSIZE"])? {
            Value::Integer(keys) => u64::try_from(keys).ok(),
            _ => None,
        };
        Ok(Memory {
            keys,
            used: info.get("used_memory").and_then(|bytes| bytes.parse().ok()),
            resident: server
                .process
                .as_ref()
                .and_then(super::process::Process::resident_bytes),
        })
    }
}

/// What a fill did to a server.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Filled {
    before: Memory,
    after: Memory,
    seconds: f64,
    pub(crate) keys_per_second: f64,
    pub(crate) used_per_key: Option<f64>,
    pub(crate) resident_per_key: Option<f64>,
    pub(crate) cpu_per_million: Option<f64>,
}

impl Filled {
    fn measure(args: &BenchArgs, server: &Server) -> Result<Filled> {
        let cpu = || {
            server
                .process
                .as_ref()
                .and_then(super::process::Process::cpu)
        };
        let (before, cpu_before, start) = (Memory::of(server)?, cpu(), Instant::now());
        fill(args, server)?;
        let seconds = start.elapsed().as_secs_f64();
        let (after, cpu_after) = (Memory::of(server)?, cpu());
        let added = match (before.keys, after.keys) {
            (Some(before), Some(after)) => after.saturating_sub(before),
            _ => args.keys,
        };
        let per_key = |before: Option<u64>, after: Option<u64>| {
            (added > 0).then_some(())?;
            Some((after? as f64 - before? as f64) / added as f64)
        };
        Ok(Filled {
            before,
            after,
            seconds,
            keys_per_second: args.keys as f64 / seconds,
            used_per_key: per_key(before.used, after.used),
            resident_per_key: per_key(before.resident, after.resident),
            cpu_per_million: cpu_after.zip(cpu_before).map(|(after, before)| {
                after.saturating_sub(before).as_secs_f64() * 1e6 / args.keys as f64
            }),
        })
    }

    /// Whether the figures per key are about other keys than those of the fill as well.
    pub(crate) fn was_not_empty(&self) -> bool {
        self.before.keys != Some(0)
    }

    fn json(&self, server: &Server) -> serde_json::Value {
        let memory = |memory: &Memory| {
            json!({
                "keys": memory.keys,
                "used_memory_bytes": memory.used,
                "resident_bytes": memory.resident,
            })
        };
        json!({
            "address": server.target.to_string(),
            "server": server.name,
            "pid": server.process.as_ref().map(|process| process.pid),
            "before": memory(&self.before),
            "after": memory(&self.after),
            "seconds": self.seconds,
            "keys_per_second": self.keys_per_second,
            "used_bytes_per_key": self.used_per_key,
            "resident_bytes_per_key": self.resident_per_key,
            "server_cpu_seconds_per_million": self.cpu_per_million,
        })
    }
}

/// `--op fill`: fills each server, and tells what a key costs it.
pub(crate) fn run(args: &BenchArgs, servers: &[Server], out: &mut dyn Write) -> Result<()> {
    if !args.json {
        report::heading(out, args, servers)?;
    }
    let mut filled = Vec::new();
    for (index, server) in servers.iter().enumerate() {
        let measured = Filled::measure(args, server)?;
        if !args.json {
            report::filled(out, index, &measured)?;
        }
        filled.push(measured);
    }
    let ratio = |of: fn(&Filled) -> Option<f64>| match filled.as_slice() {
        [first, second] => of(first)
            .zip(of(second))
            .map(|(first, second)| first / second),
        _ => None,
    };
    let used = ratio(|filled| filled.used_per_key);
    let resident = ratio(|filled| filled.resident_per_key);
    if args.json {
        let servers: Vec<_> = filled
            .iter()
            .zip(servers)
            .map(|(filled, server)| filled.json(server))
            .collect();
        let object = json!({
            "op": args.op.name(),
            "keys": args.keys,
            "value_size": args.value_size,
            "servers": servers,
            "ratio": { "used_bytes_per_key": used, "resident_bytes_per_key": resident },
        });
        writeln!(out, "{object}")?;
    } else if servers.len() == 2 {
        report::fill_ratio(out, used, resident)?;
    }
    Ok(())
}
