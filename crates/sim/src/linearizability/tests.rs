use proptest::prelude::*;

use super::*;
use crate::history::Outcome;
use crate::op::Answer;

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn call(op: Op, called: u64, outcome: Outcome) -> Call {
    Call {
        client: 0,
        key: 0,
        op,
        called: ms(called),
        outcome,
    }
}

fn answered(op: Op, called: u64, returned: u64, answer: Answer) -> Call {
    call(op, called, Outcome::Answered(ms(returned), answer))
}

fn value(number: u64) -> Answer {
    Answer::Value(number.to_string().into_bytes())
}

fn verdict(calls: &[Call]) -> Verdict {
    check(&calls.iter().collect::<Vec<_>>(), Duration::ZERO)
}

#[track_caller]
fn holds(calls: &[Call]) {
    assert_eq!(verdict(calls), Verdict::Linearizable);
}

#[track_caller]
fn violated(calls: &[Call]) {
    assert!(
        matches!(verdict(calls), Verdict::Violated { .. }),
        "the violation was not seen"
    );
}

#[test]
fn a_stale_read_is_seen() {
    let set = [
        answered(Op::Set(1), 0, 1, Answer::Ok),
        answered(Op::Set(2), 2, 5, Answer::Ok),
    ];
    let read = |called, returned, number| {
        let get = answered(Op::Get, called, returned, value(number));
        [set.to_vec(), vec![get]].concat()
    };
    holds(&read(3, 4, 1));
    holds(&read(3, 4, 2));
    violated(&read(6, 7, 1));
    // Once the new value was seen, the old one is stale, even while the write goes on.
    let seen = answered(Op::Get, 3, 3, value(2));
    violated(&[read(4, 5, 1), vec![seen]].concat());
}

#[test]
fn a_lost_write_is_seen() {
    violated(&[
        answered(Op::Set(1), 0, 1, Answer::Ok),
        answered(Op::Get, 2, 3, Answer::Nil),
    ]);
    violated(&[
        answered(Op::Incr, 0, 1, Answer::Number(1)),
        answered(Op::Incr, 2, 3, Answer::Number(1)),
    ]);
}

#[test]
fn an_increment_done_twice_is_seen() {
    violated(&[
        answered(Op::Incr, 0, 1, Answer::Number(1)),
        answered(Op::Get, 2, 3, value(2)),
    ]);
    // One whose outcome is unknown may explain it, but only one.
    let unknown = call(Op::Incr, 0, Outcome::Unknown);
    let read = |number| {
        vec![
            answered(Op::Incr, 0, 1, Answer::Number(1)),
            unknown.clone(),
            answered(Op::Get, 2, 3, value(number)),
        ]
    };
    holds(&read(1));
    holds(&read(2));
    violated(&read(3));
}

#[test]
fn a_phantom_is_seen() {
    violated(&[answered(Op::Get, 0, 1, value(9))]);
    violated(&[
        call(Op::Set(9), 0, Outcome::NotTaken),
        answered(Op::Get, 2, 3, value(9)),
    ]);
    // What was not called yet cannot be read.
    violated(&[
        answered(Op::Get, 0, 1, value(9)),
        call(Op::Set(9), 2, Outcome::Unknown),
    ]);
    holds(&[
        call(Op::Set(9), 0, Outcome::Unknown),
        answered(Op::Get, 2, 3, Answer::Nil),
        answered(Op::Get, 100, 101, value(9)),
    ]);
}

#[test]
fn a_key_expires_within_its_window_and_stays_gone() {
    let set = answered(Op::SetPx(1, 100), 10, 20, Answer::Ok);
    let read = |called, answer| answered(Op::Get, called, called + 1, answer);
    let with = |reads: &[Call]| [vec![set.clone()], reads.to_vec()].concat();
    violated(&with(&[read(50, Answer::Nil)]));
    violated(&with(&[read(200, value(1))]));
    holds(&with(&[read(115, value(1)), read(117, Answer::Nil)]));
    violated(&with(&[read(115, Answer::Nil), read(117, value(1))]));
    // With clocks that err, the window is wider; what is gone stays gone even so.
    let early: Vec<Call> = with(&[read(50, Answer::Nil)]);
    let early: Vec<&Call> = early.iter().collect();
    assert_eq!(check(&early, ms(100)), Verdict::Linearizable);
    let twice: Vec<Call> = with(&[read(50, Answer::Nil), read(60, value(1))]);
    let twice: Vec<&Call> = twice.iter().collect();
    assert!(matches!(check(&twice, ms(100)), Verdict::Violated { .. }));
}

/// All orders of all subsets that hold the known ones.
fn brute_force(calls: &[Call]) -> bool {
    fn extend(calls: &[Call], used: &mut Vec<usize>, state: &Register) -> bool {
        let open = |number: &usize| !used.contains(number);
        let known_open: Vec<usize> = (0..calls.len())
            .filter(open)
            .filter(|&number| calls[number].returned().is_some())
            .collect();
        if known_open.is_empty() {
            return true;
        }
        let candidates: Vec<usize> = (0..calls.len()).filter(open).collect();
        candidates.into_iter().any(|number| {
            let too_early = known_open
                .iter()
                .any(|&other| calls[other].returned() < Some(calls[number].called));
            if too_early {
                return false;
            }
            used.push(number);
            let works = state
                .after(&calls[number], Duration::ZERO)
                .iter()
                .any(|after| extend(calls, used, after));
            used.pop();
            works
        })
    }
    extend(calls, &mut Vec::new(), &Register::default())
}

fn some_call() -> impl Strategy<Value = Call> {
    let op = prop_oneof![
        Just((Op::Get, Answer::Nil)),
        (1..4_u64).prop_map(|number| (Op::Get, value(number))),
        (1..4_u64).prop_map(|number| (Op::Set(number), Answer::Ok)),
        (1..4_u64).prop_map(|number| (Op::SetNx(number), Answer::Ok)),
        (1..4_u64).prop_map(|number| (Op::SetNx(number), Answer::Nil)),
        (1..4_u64, 1..4_u64).prop_map(|(old, new)| (Op::GetSet(new), value(old))),
        (1..4_i64).prop_map(|number| (Op::Incr, Answer::Number(number))),
        (1..4_i64).prop_map(|length| (Op::Append(1), Answer::Number(length))),
        (0..2_i64).prop_map(|there| (Op::Del, Answer::Number(there))),
        Just((Op::SetPx(3, 4), Answer::Ok)),
        (0..2_i64).prop_map(|there| (Op::PExpire(3), Answer::Number(there))),
    ];
    (op, 0..12_u64, 0..6_u64, 0..5_u8).prop_map(|((op, answer), called, lasts, fate)| {
        if fate == 0 {
            call(op, called, Outcome::Unknown)
        } else {
            answered(op, called, called + lasts, answer)
        }
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    #[test]
    fn the_search_agrees_with_brute_force(calls in proptest::collection::vec(some_call(), 1..7)) {
        let found = verdict(&calls);
        prop_assert_ne!(found, Verdict::Undecided);
        prop_assert_eq!(found == Verdict::Linearizable, brute_force(&calls), "{:#?}", calls);
    }
}
