//! What one key must answer, by itself and without replicas: the model that histories are judged by.

use std::time::Duration;

use crate::history::{Call, Outcome};
use crate::op::{Answer, Op};

/// A key as one atomic register.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Register {
    value: Option<Vec<u8>>,
    expiry: Option<Window>,
}

/// When a key may and when it must be gone, in true time. Which moment it is depends on wall clocks
/// that differ by what a run allows, and on when within its call the operation took effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Window {
    earliest: Duration,
    latest: Duration,
}

impl Register {
    /// The states that may follow if `call` takes effect now and answers as it did. `clock_error` bounds
    /// how far two looks at wall clocks of leaders may be apart, beside the time between them.
    pub fn after(&self, call: &Call, clock_error: Duration) -> Vec<Register> {
        let mut states = Vec::new();
        let may_be_gone = self.expiry.is_some_and(|window| {
            call.returned()
                .is_none_or(|returned| returned >= window.earliest)
        });
        let may_be_there = self.expiry.is_none_or(|window| call.called < window.latest);
        let mut step = |before: Register| {
            if let (Op::Get, Outcome::Answered(_, told)) = (call.op, &call.outcome) {
                // By far the most frequent, and nothing need be copied.
                let fits = match (told, &before.value) {
                    (Answer::Value(told), Some(value)) => told == value,
                    (Answer::Nil, None) => true,
                    _ => false,
                };
                if fits && !states.contains(&before) {
                    states.push(before);
                }
                return;
            }
            let (after, answer) = before.apply(call, clock_error);
            let fits = match &call.outcome {
                Outcome::Answered(_, told) => *told == answer,
                Outcome::Unknown => true,
                Outcome::NotTaken => false,
            };
            if fits && !states.contains(&after) {
                states.push(after);
            }
        };
        if may_be_there {
            step(self.clone());
        }
        if may_be_gone {
            step(Register::default());
        }
        states
    }

    fn apply(mut self, call: &Call, clock_error: Duration) -> (Register, Answer) {
        let text = |number: u64| number.to_string().into_bytes();
        let window = |ttl: Duration| Window {
            earliest: (call.called + ttl).saturating_sub(clock_error),
            latest: call
                .returned()
                .map_or(Duration::MAX, |returned| returned + ttl + clock_error),
        };
        let value_or_nil = |value: Option<Vec<u8>>| value.map_or(Answer::Nil, Answer::Value);
        let answer = match call.op {
            Op::Get => value_or_nil(self.value.clone()),
            Op::Set(value) => {
                self = Register {
                    value: Some(text(value)),
                    expiry: None,
                };
                Answer::Ok
            }
            Op::SetPx(value, _) => {
                self = Register {
                    value: Some(text(value)),
                    expiry: call.op.ttl().map(window),
                };
                Answer::Ok
            }
            Op::SetNx(_) if self.value.is_some() => Answer::Nil,
            Op::SetNx(value) => {
                self.value = Some(text(value));
                Answer::Ok
            }
            Op::GetSet(value) => {
                self.expiry = None;
                value_or_nil(self.value.replace(text(value)))
            }
            Op::Append(value) => {
                let held = self.value.get_or_insert_default();
                held.extend_from_slice(&text(value));
                Answer::Number(held.len() as i64)
            }
            Op::Incr => match self.number().and_then(|number| number.checked_add(1)) {
                Some(number) => {
                    self.value = Some(number.to_string().into_bytes());
                    Answer::Number(number)
                }
                None => Answer::Refused,
            },
            Op::PExpire(_) if self.value.is_none() => Answer::Number(0),
            Op::PExpire(_) => {
                self.expiry = call.op.ttl().map(window);
                Answer::Number(1)
            }
            Op::Del => {
                let there = self.value.is_some();
                self = Register::default();
                Answer::Number(i64::from(there))
            }
        };
        (self, answer)
    }

    /// The value as INCR reads it.
    fn number(&self) -> Option<i64> {
        let Some(value) = &self.value else {
            return Some(0);
        };
        let number: i64 = std::str::from_utf8(value).ok()?.parse().ok()?;
        (number.to_string().as_bytes() == value.as_slice()).then_some(number)
    }
}

#[cfg(test)]
mod tests {
    use keyspace::Keyspace;

    use super::*;
    use crate::chance::Chance;
    use crate::op::key_name;

    /// The model and the commands themselves agree, so that what the checker blames is the cluster.
    #[test]
    fn the_model_answers_as_the_commands_do() {
        for seed in 0..200 {
            let mut chance = Chance::new(seed);
            let mut keyspace = Keyspace::new(1);
            let mut register = Register::default();
            for number in 1..60 {
                let value = chance.below(1_000_000_000);
                let op = *chance.pick(&[
                    Op::Get,
                    Op::Set(value),
                    Op::SetPx(value, 3_600_000),
                    Op::SetNx(value),
                    Op::GetSet(value),
                    Op::Append(value),
                    Op::Incr,
                    Op::Incr,
                    Op::PExpire(3_600_000),
                    Op::Del,
                ]);
                let answer = run(&mut keyspace, op, number);
                let call = Call {
                    client: 0,
                    key: 0,
                    op,
                    called: Duration::from_millis(number),
                    outcome: Outcome::Answered(Duration::from_millis(number), answer),
                };
                let mut after = register.after(&call, Duration::ZERO);
                assert_eq!(after.len(), 1, "seed {seed}: {register:?}, {call:?}");
                register = after.remove(0);
            }
        }
    }

    fn run(keyspace: &mut Keyspace, op: Op, stamp: u64) -> Answer {
        let command = commands::by_name(op.name().as_bytes()).unwrap();
        let mut words = vec![op.name().as_bytes().to_vec(), key_name(0)];
        words.extend(op.args());
        let words: Vec<&[u8]> = words.iter().map(Vec::as_slice).collect();
        let stamp = base::Timestamp::from_millis(stamp);
        keyspace.set_stamp(stamp);
        let context = commands::WriteContext {
            db: base::Db::default(),
            stamp,
            seed: 0,
        };
        let reply = commands::apply(keyspace, command, &words, context).reply;
        Answer::of(&reply).unwrap()
    }
}
