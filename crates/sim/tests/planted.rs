//! Bugs that are planted are found, each within ten thousand seeds: the proof that the simulator sees.

// Runs share nothing, so some may run at once.
#![allow(clippy::disallowed_methods)]

use std::collections::VecDeque;
use std::sync::Mutex;
use std::thread;

use sim::plan::Plan;
use sim::planted::Planted;
use sim::run::run;

/// Each is found within so many seeds.
const SEEDS: u64 = 10_000;

/// The first seed that shows the bug, and what it shows. One that fails without it as well shows nothing.
fn caught(bug: Planted) -> Option<(u64, String)> {
    (1..=SEEDS).find_map(|seed| {
        let plan = Plan::of(seed);
        if !bug.may_show(&plan) {
            return None;
        }
        let violation = run(&plan, Some(bug), false).result.err()?;
        run(&plan, None, false).result.ok()?;
        Some((seed, violation.to_string()))
    })
}

#[test]
fn each_planted_bug_is_caught() {
    let left: VecDeque<Planted> = Planted::ALL.into();
    let left = Mutex::new(left);
    let missed = Mutex::new(Vec::new());
    let threads = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let next = left.lock().unwrap().pop_front();
                    let Some(bug) = next else {
                        return;
                    };
                    match caught(bug) {
                        Some((seed, violation)) => println!("{bug:?}: seed {seed}: {violation}"),
                        None => missed.lock().unwrap().push(bug),
                    }
                }
            });
        }
    });
    assert_eq!(*missed.lock().unwrap(), []);
}
