//! What clients did and were told, in true time.

use std::time::Duration;

use crate::op::{Answer, Op};

/// How an operation ended, as far as its client knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was answered then.
    Answered(Duration, Answer),
    /// It may take effect at any later time, or never.
    Unknown,
    /// It was refused in a way that promises that it had no effect, and has none later.
    NotTaken,
}

/// One operation of one client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// Who asked.
    pub client: u32,
    /// Of which key.
    pub key: u8,
    /// For what.
    pub op: Op,
    /// When it was sent.
    pub called: Duration,
    /// How it ended.
    pub outcome: Outcome,
}

impl Call {
    /// When it had surely taken effect, if it is known to have.
    pub fn returned(&self) -> Option<Duration> {
        match self.outcome {
            Outcome::Answered(at, _) => Some(at),
            Outcome::Unknown | Outcome::NotTaken => None,
        }
    }
}

/// All operations of a run.
#[derive(Clone, Debug, Default)]
pub struct History {
    /// In the order in which they were sent.
    pub calls: Vec<Call>,
}

impl History {
    /// Notes that an operation is sent; its number.
    pub fn called(&mut self, client: u32, key: u8, op: Op, now: Duration) -> usize {
        self.calls.push(Call {
            client,
            key,
            op,
            called: now,
            outcome: Outcome::Unknown,
        });
        self.calls.len() - 1
    }

    /// Notes how it ended.
    pub fn ended(&mut self, number: usize, outcome: Outcome) {
        self.calls[number].outcome = outcome;
    }

    /// The keys that occur.
    pub fn keys(&self) -> Vec<u8> {
        let mut keys: Vec<u8> = self.calls.iter().map(|call| call.key).collect();
        keys.sort_unstable();
        keys.dedup();
        keys
    }

    /// The operations on one key, without those that had no effect or tell nothing.
    pub fn of_key(&self, key: u8) -> Vec<&Call> {
        let tells = |call: &&Call| match call.outcome {
            Outcome::Answered(..) => true,
            Outcome::Unknown => !call.op.is_read(),
            Outcome::NotTaken => false,
        };
        self.calls
            .iter()
            .filter(|call| call.key == key)
            .filter(tells)
            .collect()
    }
}
