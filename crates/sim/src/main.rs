//! Runs seeds and tells what they found: what `cargo xtask sim` starts.

// The one place that looks at real clocks and starts threads: each run stays a function of its seed.
#![allow(clippy::disallowed_methods)]

use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use sim::invariants::Violation;
use sim::plan::Plan;
use sim::planted::Planted;
use sim::run::run;
use sim::shrink::shrink;

const USAGE: &str = "\
sim [--seeds N] [--seed S] [--minutes M] [--threads T] [--planted BUG] [--trace] [--keep-going]

  --seeds N     how many seeds are run [default: 1000]
  --seed S      the first of them [default: 1]
  --minutes M   no new one is begun after so long
  --threads T   how many run at once [default: as many as there are cores]
  --planted B   with that bug planted; a failure is expected then
  --trace       tells all that happened in the first seed
  --keep-going  does not stop at the first failure, and does not look for the shortest one";

/// How many runs the search for the shortest trace may take.
const SHRINK_RUNS: usize = 2_000;

struct Options {
    seeds: u64,
    first: u64,
    minutes: Option<u64>,
    threads: usize,
    planted: Option<Planted>,
    trace: bool,
    keep_going: bool,
}

fn parse(arguments: &[String]) -> Option<Options> {
    let mut options = Options {
        seeds: 1000,
        first: 1,
        minutes: None,
        threads: std::thread::available_parallelism().map_or(1, usize::from),
        planted: None,
        trace: false,
        keep_going: false,
    };
    let mut arguments = arguments.iter();
    let mut seeds = None;
    while let Some(argument) = arguments.next() {
        let mut number = || arguments.next()?.parse::<u64>().ok();
        match argument.as_str() {
            "--seeds" => seeds = Some(number()?),
            "--seed" => options.first = number()?,
            "--minutes" => options.minutes = Some(number()?),
            "--threads" => options.threads = number()?.clamp(1, 64) as usize,
            "--planted" => {
                let name = arguments.next()?;
                let found = Planted::ALL
                    .into_iter()
                    .find(|bug| format!("{bug:?}") == *name);
                options.planted = Some(found?);
            }
            "--trace" => options.trace = true,
            "--keep-going" => options.keep_going = true,
            _ => return None,
        }
    }
    options.seeds = seeds.unwrap_or(if options.minutes.is_some() {
        u64::MAX / 2
    } else {
        options.seeds
    });
    Some(options)
}

/// What all threads have found so far.
#[derive(Default)]
struct Found {
    failures: Vec<(u64, Violation)>,
    simulated: Duration,
    answered: u64,
    unknown: u64,
    refused: u64,
    committed: u64,
    undecided: u64,
    runs: u64,
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let Some(options) = parse(&arguments) else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    if options.trace {
        let outcome = run(&Plan::of(options.first), options.planted, true);
        for line in &outcome.trace {
            println!("{line}");
        }
        println!("{:?}", outcome.result);
        return match outcome.result {
            Ok(_) => ExitCode::SUCCESS,
            Err(_) => ExitCode::FAILURE,
        };
    }
    let began = Instant::now();
    let found = search(&options, began);
    println!(
        "{} seeds in {:.1} s: {:.0} simulated seconds, {:.0} per CPU second; {} operations answered, {} \
         unknown, {} refused; {} entries committed; {} histories undecided",
        found.runs,
        began.elapsed().as_secs_f64(),
        found.simulated.as_secs_f64(),
        found.simulated.as_secs_f64() / cpu_seconds(),
        found.answered,
        found.unknown,
        found.refused,
        found.committed,
        found.undecided
    );
    let Some((seed, violation)) = found.failures.first() else {
        return ExitCode::SUCCESS;
    };
    if !options.keep_going {
        tell_shortest(*seed, violation, options.planted);
    }
    ExitCode::FAILURE
}

/// What this process has used.
fn cpu_seconds() -> f64 {
    let used = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    used.tv_sec as f64 + used.tv_nsec as f64 / 1e9
}

fn search(options: &Options, began: Instant) -> Found {
    let next = AtomicU64::new(options.first);
    let is_over = AtomicBool::new(false);
    let found = Mutex::new(Found::default());
    let last = options.first.saturating_add(options.seeds);
    let limit = options
        .minutes
        .map(|minutes| Duration::from_secs(60 * minutes));
    std::thread::scope(|scope| {
        for _ in 0..options.threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    let is_late = limit.is_some_and(|limit| began.elapsed() >= limit);
                    if seed >= last || is_late || is_over.load(Ordering::Relaxed) {
                        return;
                    }
                    let result = run(&Plan::of(seed), options.planted, false).result;
                    let mut found = found.lock().expect("no thread panics with it");
                    found.runs += 1;
                    match result {
                        Ok(report) => {
                            found.simulated += report.simulated;
                            found.answered += report.calls.answered;
                            found.unknown += report.calls.unknown;
                            found.refused += report.calls.refused;
                            found.committed += report.committed;
                            found.undecided += u64::from(report.finished.undecided);
                        }
                        Err(violation) => {
                            println!("seed {seed}: {violation}");
                            found.failures.push((seed, violation));
                            is_over.store(!options.keep_going, Ordering::Relaxed);
                        }
                    }
                }
            });
        }
    });
    let mut found = found.into_inner().expect("no thread panics with it");
    found.failures.sort_by_key(|(seed, _)| *seed);
    found
}

/// Looks for the shortest run that fails in the same way, and tells all that happens in it.
fn tell_shortest(seed: u64, violation: &Violation, planted: Option<Planted>) {
    println!("\nseed {seed} fails: {violation}\nlooking for the shortest run that does...");
    let plan = Plan::of(seed);
    let least = shrink(&plan, planted, violation.invariant, SHRINK_RUNS);
    println!(
        "{} of {} faults and {} of {} requests are enough:",
        least.faults.len(),
        plan.faults.len(),
        least.requests.len(),
        plan.requests.len()
    );
    let outcome = run(&least, planted, true);
    for line in &outcome.trace {
        println!("{line}");
    }
    for (at, fault) in &least.faults {
        println!("fault at {:.4}: {fault:?}", at.as_secs_f64());
    }
    println!("again: cargo xtask sim --seed {seed} --seeds 1");
}
