//! One run, with panics caught: what came of a plan.

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind, set_hook};
use std::sync::Once;

use crate::invariants::{Invariant, Violation};
use crate::plan::Plan;
use crate::planted::Planted;
use crate::world::{Report, World};

/// What came of a run.
#[derive(Debug)]
pub struct Outcome {
    /// What it was about, or what was broken.
    pub result: Result<Report, Violation>,
    /// What happened, if that was wanted.
    pub trace: Vec<String>,
}

thread_local! {
    static LAST_PANIC: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Panics within runs are findings, not messages of this program; they are kept instead of printed.
fn keep_panics() {
    static KEEP: Once = Once::new();
    KEEP.call_once(|| {
        let usual = std::panic::take_hook();
        set_hook(Box::new(move |panic| {
            let is_kept = RUNS.with(|runs| *runs.borrow());
            if !is_kept {
                return usual(panic);
            }
            LAST_PANIC.with(|last| *last.borrow_mut() = Some(panic.to_string()));
        }));
    });
}

thread_local! {
    static RUNS: RefCell<bool> = const { RefCell::new(false) };
}

/// Runs a plan.
pub fn run(plan: &Plan, planted: Option<Planted>, traced: bool) -> Outcome {
    keep_panics();
    let mut world = World::new(plan.clone(), planted, traced);
    RUNS.with(|runs| *runs.borrow_mut() = true);
    let caught = catch_unwind(AssertUnwindSafe(|| world.run()));
    RUNS.with(|runs| *runs.borrow_mut() = false);
    let result = caught.unwrap_or_else(|_| {
        let text = LAST_PANIC.with(|last| last.borrow_mut().take());
        Err(Violation {
            invariant: Invariant::Panic,
            text: text.unwrap_or_else(|| "a panic without words".into()),
        })
    });
    Outcome {
        result,
        trace: world.trace(),
    }
}
