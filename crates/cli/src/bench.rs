//! `piccolo bench`: a load generator that costs less CPU than the server it drives.
//!
//! One thread, one epoll, a fixed number of connections. Each connection is a client that sends a batch of
//! `--pipeline` requests in one write, waits for all its replies, and sends the next; requests are prebuilt bytes
//! in which only the digits of the keys change, and replies are counted, not decoded.
//!
//! A round is: connect, warm up, measure for `--seconds`, drain. With `--vs` each round runs on both servers,
//! one after the other, and which one goes first alternates, so that whatever slows the machine down for a while
//! meets both. The keys of a round are the same for both.
//!
//! - [`args`](BenchArgs): the command line.
//! - `batch`: requests as bytes, keys at random. `replies`: counting what comes back. `load`: the event loop.
//! - `server`: a server, and what it says of itself. `process`: what `/proc` tells of a server.
//! - `summary`, `report`: figures, and how they are shown.

mod args;
mod batch;
mod fill;
mod load;
mod process;
mod progress;
mod replies;
mod report;
mod server;
mod summary;

use std::io::{self, Write};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

pub use self::args::{BenchArgs, Op};

use self::batch::{Batch, Keys, Shape};
use self::load::Load;
use self::progress::Progress;
use self::server::Server;
use self::summary::{Comparison, Round};
use crate::control::{Control, Target};

/// How long a round runs before it is measured, unless it is a short one.
const WARM_UP: Duration = Duration::from_millis(500);
/// How long replies may take that are due when a round ends; they do not count.
const DRAIN: Duration = Duration::from_secs(2);

/// Runs the load generator and prints its figures to the standard output.
///
/// # Errors
/// A server cannot be reached, refuses the commands, or goes away; the message says which and what to do. Nothing
/// about a server being slow is an error.
pub fn run(args: &BenchArgs) -> Result<()> {
    run_to(args, &mut io::stdout().lock())
}

/// As [`run`], but prints to `out`.
///
/// # Errors
/// Those of [`run`], and those of `out`.
pub fn run_to(args: &BenchArgs, out: &mut dyn Write) -> Result<()> {
    args.check()?;
    let mut servers = vec![Server::reach(Target::new(
        &args.address,
        args.password.as_deref(),
    )?)?];
    if let Some(address) = &args.vs {
        servers.push(Server::reach(Target::new(
            address,
            args.password.as_deref(),
        )?)?);
    }
    if args.op == Op::Fill {
        return fill::run(args, &servers, out);
    }
    if !args.json {
        report::heading(out, args, &servers)?;
    }
    for server in &servers {
        if args.fills() {
            fill::fill(args, server).with_context(|| format!("filling {}", server.target))?;
        }
        probe(args, server)?;
    }
    let mut comparisons = Vec::new();
    for number in 1..=args.rounds() {
        // A B, B A, A B, ...
        let mut order: Vec<usize> = (0..servers.len()).collect();
        if number % 2 == 0 {
            order.reverse();
        }
        let mut rounds = vec![None; servers.len()];
        for index in order {
            let server = &servers[index];
            let round = measure(args, server, number)
                .with_context(|| format!("round {number}, {}", server.target))?;
            if !args.json {
                report::round(out, args, number, index, &round)?;
            }
            rounds[index] = Some(round);
        }
        let comparison = Comparison::new(rounds.into_iter().flatten().collect());
        if !args.json {
            report::ratio(out, &comparison)?;
        }
        comparisons.push(comparison);
    }
    if args.json {
        report::json(out, args, &servers, &comparisons)
    } else {
        report::medians(out, &comparisons)
    }
}

/// Sends one command of the kind to be measured, so that a server which refuses it says so before any load.
fn probe(args: &BenchArgs, server: &Server) -> Result<()> {
    let mut control = Control::connect(&server.target)?;
    if let Some(template) = &args.command {
        for command in batch::words(template, args.value_size) {
            let words: Vec<&[u8]> = command.iter().map(Vec::as_slice).collect();
            control.call(&words)?;
        }
        return Ok(());
    }
    let value = batch::value(args.value_size);
    if args.op != Op::Get {
        control.call(&[b"SET", &batch::key(0), &value])?;
    }
    if args.op != Op::Set {
        control.call(&[b"GET", &batch::key(0)])?;
    }
    Ok(())
}

/// One round on one server.
fn measure(args: &BenchArgs, server: &Server, number: u32) -> Result<Round> {
    let seconds = Duration::from_secs_f64(args.seconds);
    let keys = Keys::random(args.keys, u64::from(number));
    let shape = Shape {
        op: args.op,
        pipeline: args.pipeline,
        value_size: args.value_size,
    };
    let batch = match &args.command {
        Some(template) => Batch::of(template, shape, keys),
        None => Batch::new(shape, keys),
    };
    let mut progress = Progress::new(format!(
        "round {number}/{} on {}",
        args.rounds(),
        server.target
    ));
    let mut load = Load::connect(&server.target, args.clients, batch)?;

    let start = Instant::now();
    let warm_up = WARM_UP.min(seconds / 5);
    load.run(start + warm_up, &mut progress)?;
    load.take_tally();
    let server_cpu = server.process.as_ref().and_then(process::Process::cpu);
    let own_cpu = process::own_cpu();

    let start = Instant::now();
    load.run(start + seconds, &mut progress)?;
    let elapsed = start.elapsed();
    let server_cpu = server
        .process
        .as_ref()
        .and_then(process::Process::cpu)
        .zip(server_cpu)
        .map(|(after, before)| after.saturating_sub(before));
    let own_cpu = process::own_cpu().saturating_sub(own_cpu);
    let tally = load.take_tally();

    load.stop();
    load.run(Instant::now() + DRAIN, &mut progress)?;
    progress.clear();
    let round = Round::new(tally, elapsed, server_cpu, own_cpu);
    if round.commands == 0 {
        match &round.first_error {
            Some(error) => bail!("every reply was an error: {error}"),
            None => bail!("not one reply within {:.1} s", elapsed.as_secs_f64()),
        }
    }
    Ok(round)
}
