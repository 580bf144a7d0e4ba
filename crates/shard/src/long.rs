//! Reads that take long, on their way to where they run.

use base::Timestamp;
use commands::Reply;
use keyspace::Keyspace;

use crate::apply::read_all;
use crate::request::Request;

/// Requests that only read, and whose reading takes long.
#[derive(Debug)]
pub struct LongReads {
    /// Each with the time by which it judges expiry, or by the last entry if that is later.
    requests: Vec<(Request, Timestamp)>,
    term: u64,
    random: u64,
}

/// What [`LongReads`] gave.
#[derive(Debug)]
pub struct LongReadsDone {
    pub(crate) answers: Vec<(Request, Vec<Reply<'static>>)>,
    pub(crate) term: u64,
}

impl LongReads {
    /// To be run while this replica leads in that term. `random` is what they draw their chance from.
    pub(crate) fn new(requests: Vec<(Request, Timestamp)>, term: u64, random: u64) -> LongReads {
        LongReads {
            requests,
            term,
            random,
        }
    }

    /// Runs them.
    pub fn run(self, keyspace: &Keyspace) -> LongReadsDone {
        let run = |(request, now): (Request, Timestamp)| {
            let now = now.max(keyspace.stamp());
            let mut unlimited = usize::MAX;
            let replies = read_all(
                &request.commands,
                keyspace,
                now,
                self.random,
                &mut unlimited,
            );
            (request, replies.expect("nothing is as long as that"))
        };
        LongReadsDone {
            answers: self.requests.into_iter().map(run).collect(),
            term: self.term,
        }
    }
}
