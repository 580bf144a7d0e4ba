//! Runs of whole clusters: a few hundred seeds, and those that once failed.

// Runs share nothing, so some may run at once.
#![allow(clippy::disallowed_methods)]

use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use sim::plan::Plan;
use sim::run::run;

/// How many seeds are run here; `cargo xtask sim` runs as many as one likes.
const SEEDS: u64 = 200;

#[track_caller]
fn holds(seed: u64) {
    if let Err(violation) = run(&Plan::of(seed), None, false).result {
        panic!("seed {seed}: {violation}; cargo xtask sim --seed {seed} --seeds 1");
    }
}

#[test]
fn some_hundred_seeds_hold() {
    let next = AtomicU64::new(1);
    let threads = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed > SEEDS {
                        return;
                    }
                    holds(seed);
                }
            });
        }
    });
}

#[test]
fn a_run_is_a_function_of_its_plan() {
    for seed in 1..10 {
        let plan = Plan::of(seed);
        let first = run(&plan, None, true);
        let second = run(&plan, None, true);
        assert_eq!(first.result, second.result);
        assert_eq!(first.trace, second.trace);
    }
}

#[test]
fn a_leader_that_is_removed_steps_down() {
    holds(1554);
}

#[test]
fn who_is_left_over_remembers_that_the_others_are_gone() {
    holds(1777);
    holds(1885);
}

#[test]
fn a_sync_that_was_to_fail_does_not_when_faults_are_over() {
    holds(2213);
}
