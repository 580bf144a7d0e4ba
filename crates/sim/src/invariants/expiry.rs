//! No key expires early, and what was seen to be gone is not seen again.
//!
//! Linearizability says as much, by a search through orders; this says it by times alone, names the two
//! operations that contradict each other, and decides every history.

use std::time::Duration;

use super::{Invariant, Violation, violated};
use crate::history::{Call, Outcome};
use crate::op::{Answer, Op};

/// Judges the operations on one key that tell something. `clock_error` bounds how far two looks at wall
/// clocks may be apart, beside the time between them.
pub(super) fn check(calls: &[&Call], clock_error: Duration) -> Result<(), Violation> {
    if calls.iter().all(|call| call.op.ttl().is_none()) {
        return Ok(());
    }
    for gone in calls.iter().filter(|call| found_nothing(call)) {
        never_early(calls, gone, clock_error)?;
        never_again(calls, gone)?;
    }
    Ok(())
}

/// Whether an operation tells that there was nothing.
fn found_nothing(call: &Call) -> bool {
    let Outcome::Answered(_, answer) = &call.outcome else {
        return false;
    };
    match call.op {
        Op::Get | Op::GetSet(_) => *answer == Answer::Nil,
        Op::SetNx(_) => *answer == Answer::Ok,
        Op::Del | Op::PExpire(_) => *answer == Answer::Number(0),
        Op::Set(_) | Op::SetPx(..) | Op::Append(_) | Op::Incr => false,
    }
}

/// The value that an operation found.
fn found(call: &Call) -> Option<&[u8]> {
    match (call.op, &call.outcome) {
        (Op::Get | Op::GetSet(_), Outcome::Answered(_, Answer::Value(value))) => Some(value),
        _ => None,
    }
}

/// Whether it may have taken effect between those times.
fn is_within(call: &Call, from: Duration, to: Duration) -> bool {
    call.called <= to && call.returned().is_none_or(|returned| returned >= from)
}

/// A key was surely set and nobody may have deleted it since: then some expiry must have come.
fn never_early(calls: &[&Call], gone: &Call, clock_error: Duration) -> Result<(), Violation> {
    let Some(until) = gone.returned() else {
        return Ok(());
    };
    let sets = calls.iter().filter(|call| {
        matches!(call.op, Op::Set(_) | Op::SetPx(..) | Op::GetSet(_))
            && call
                .returned()
                .is_some_and(|returned| returned < gone.called)
    });
    let Some(set) = sets.max_by_key(|call| call.called) else {
        return Ok(());
    };
    let mut first = None;
    for call in calls {
        if !is_within(call, set.called, until) || std::ptr::eq::<Call>(*call, gone) {
            continue;
        }
        if call.op == Op::Del {
            return Ok(());
        }
        if let Some(ttl) = call.op.ttl() {
            let expires = (call.called + ttl).saturating_sub(clock_error);
            first = Some(first.map_or(expires, |first: Duration| first.min(expires)));
        }
    }
    match first {
        Some(first) if until < first => violated(
            Invariant::Expiry,
            format!(
                "{:?} of key {}, called at {:.4}, found nothing at {:.4}; set at {:.4}, the key cannot have \
                 expired before {:.4}",
                gone.op,
                gone.key,
                gone.called.as_secs_f64(),
                until.as_secs_f64(),
                set.called.as_secs_f64(),
                first.as_secs_f64()
            ),
        ),
        _ => Ok(()),
    }
}

/// What is found after nothing was found was written since.
fn never_again(calls: &[&Call], gone: &Call) -> Result<(), Violation> {
    let Some(since) = gone.returned() else {
        return Ok(());
    };
    for later in calls.iter().filter(|call| call.called > since) {
        let (Some(value), Some(until)) = (found(later), later.returned()) else {
            continue;
        };
        let mut writers = calls.iter().filter(|call| match call.op {
            // What it makes of a value depends on the one before.
            Op::Incr | Op::Append(_) => true,
            op => op
                .value()
                .is_some_and(|written| written.to_string().as_bytes() == value),
        });
        if !writers.any(|call| is_within(call, gone.called, until)) {
            return violated(
                Invariant::Expiry,
                format!(
                    "{:?} of key {}, called at {:.4}, found {}, which nobody had written since {:?}, called \
                     at {:.4}, had found nothing",
                    later.op,
                    later.key,
                    later.called.as_secs_f64(),
                    String::from_utf8_lossy(value),
                    gone.op,
                    gone.called.as_secs_f64()
                ),
            );
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    fn answered(op: Op, called: u64, returned: u64, answer: Answer) -> Call {
        Call {
            client: 0,
            key: 0,
            op,
            called: ms(called),
            outcome: Outcome::Answered(ms(returned), answer),
        }
    }

    fn unknown(op: Op, called: u64) -> Call {
        Call {
            outcome: Outcome::Unknown,
            ..answered(op, called, called, Answer::Ok)
        }
    }

    fn get(called: u64, value: Option<&str>) -> Call {
        let answer = value.map_or(Answer::Nil, |value| Answer::Value(value.into()));
        answered(Op::Get, called, called + 1, answer)
    }

    fn set() -> Call {
        answered(Op::SetPx(7, 100), 10, 20, Answer::Ok)
    }

    fn holds(calls: &[Call]) -> bool {
        check(&calls.iter().collect::<Vec<_>>(), ms(5)).is_ok()
    }

    #[test]
    fn a_key_that_expires_early_is_seen() {
        assert!(!holds(&[set(), get(50, None)]));
        assert!(!holds(&[
            set(),
            answered(Op::GetSet(9), 50, 51, Answer::Nil)
        ]));
        assert!(!holds(&[set(), answered(Op::SetNx(9), 50, 51, Answer::Ok)]));
        // From 110 on, less what clocks may err.
        assert!(!holds(&[set(), get(103, None)]));
        assert!(holds(&[set(), get(104, None)]));
        // Others may have taken it away, or made it shorter.
        assert!(holds(&[set(), unknown(Op::Del, 30), get(50, None)]));
        assert!(holds(&[set(), unknown(Op::PExpire(10), 30), get(50, None)]));
        let longer = answered(Op::PExpire(200), 30, 31, Answer::Number(1));
        assert!(holds(&[set(), longer, get(120, None)]));
    }

    #[test]
    fn a_key_that_was_gone_and_is_back_is_seen() {
        assert!(!holds(&[set(), get(150, None), get(160, Some("7"))]));
        let old = answered(Op::GetSet(8), 160, 161, Answer::Value("7".into()));
        assert!(!holds(&[set(), get(150, None), old]));
        // Both at once can have come in either order.
        assert!(holds(&[set(), get(150, None), get(150, Some("7"))]));
        let again = answered(Op::SetPx(7, 100), 152, 153, Answer::Ok);
        assert!(holds(&[set(), get(150, None), again, get(160, Some("7"))]));
        assert!(holds(&[
            set(),
            get(150, None),
            unknown(Op::Incr, 140),
            get(160, Some("7"))
        ]));
    }
}
