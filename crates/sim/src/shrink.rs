//! The least that still fails: parts of a plan are left out as long as the same promise is broken.
//!
//! Zeller's delta debugging (Simplifying and Isolating Failure-Inducing Input, 2002), over the faults
//! first, for they matter most to who reads, then over what clients ask for.

use crate::invariants::Invariant;
use crate::plan::Plan;
use crate::planted::Planted;
use crate::run::run;

/// Makes a plan that breaks that promise smaller, with at most so many runs.
pub fn shrink(
    plan: &Plan,
    planted: Option<Planted>,
    invariant: Invariant,
    mut runs: usize,
) -> Plan {
    let mut fails = |plan: &Plan| {
        if runs == 0 {
            return false;
        }
        runs -= 1;
        let result = run(plan, planted, false).result;
        result.is_err_and(|violation| violation.invariant == invariant)
    };
    let mut least = plan.clone();
    loop {
        let before = (least.faults.len(), least.requests.len());
        let faults = least.faults.clone();
        least.faults = fewer(faults, |faults| {
            fails(&Plan {
                faults: faults.to_vec(),
                ..least.clone()
            })
        });
        let requests = least.requests.clone();
        least.requests = fewer(requests, |requests| {
            fails(&Plan {
                requests: requests.to_vec(),
                ..least.clone()
            })
        });
        if before == (least.faults.len(), least.requests.len()) {
            return least;
        }
    }
}

/// Leaves out whatever can be left out.
fn fewer<T: Clone>(mut all: Vec<T>, mut fails: impl FnMut(&[T]) -> bool) -> Vec<T> {
    let mut chunk = all.len();
    while chunk > 0 {
        let mut at = 0;
        while at < all.len() {
            let end = (at + chunk).min(all.len());
            let without = [&all[..at], &all[end..]].concat();
            if fails(&without) {
                all = without;
            } else {
                at = end;
            }
        }
        chunk /= 2;
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_matter_is_left_out() {
        let all: Vec<u32> = (0..100).collect();
        let matters = |kept: &[u32]| [3, 57, 58].iter().all(|wanted| kept.contains(wanted));
        assert_eq!(fewer(all, matters), [3, 57, 58]);
    }
}
