//! Counting replies: how many came, what they were, where the next one starts.

use std::collections::BTreeMap;

use anyhow::{Result, bail};
use hdrhistogram::Histogram;
use resp::Value;
use resp::client::skip_reply;

/// What a run has seen so far.
#[derive(Debug)]
pub(crate) struct Tally {
    /// Replies that are no errors.
    pub(crate) commands: u64,
    /// Those among them that say there is no such key.
    pub(crate) misses: u64,
    /// Error replies by their first word.
    pub(crate) errors: BTreeMap<String, u64>,
    /// The text of the first of them.
    pub(crate) first_error: Option<String>,
    /// Nanoseconds from the write of a batch to its last reply, once a batch.
    pub(crate) latency: Histogram<u64>,
}

impl Tally {
    /// Latencies beyond count as this.
    const MAX_LATENCY_NS: u64 = 3_600_000_000_000;

    pub(crate) fn new() -> Tally {
        Tally {
            commands: 0,
            misses: 0,
            errors: BTreeMap::new(),
            first_error: None,
            latency: Histogram::new_with_bounds(1, Tally::MAX_LATENCY_NS, 3)
                .expect("the bounds are valid"),
        }
    }

    #[cold]
    fn error(&mut self, reply: &[u8]) {
        let text = match Value::decode(reply) {
            Ok(Some((Value::Error(text), _))) => text,
            _ => String::from_utf8_lossy(reply).trim_end().to_owned(),
        };
        let word = text.split(' ').next().unwrap_or_default().to_owned();
        *self.errors.entry(word).or_default() += 1;
        self.first_error.get_or_insert(text);
    }
}

/// Counts replies in pieces of a stream.
#[derive(Debug)]
pub(crate) struct Counter {
    /// How the reply to a GET of a value of the expected size starts: `$64\r\n`.
    hit: Vec<u8>,
    /// How long it is then.
    hit_length: usize,
}

/// Where counting stopped.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Counted {
    /// How many bytes are done with.
    pub(crate) consumed: usize,
    /// How many of those to come belong to a reply that was counted already.
    pub(crate) to_skip: usize,
}

impl Counter {
    pub(crate) fn new(value_size: usize) -> Counter {
        let hit = format!("${value_size}\r\n").into_bytes();
        Counter {
            hit_length: hit.len() + value_size + 2,
            hit,
        }
    }

    /// Counts the replies at the start of `bytes` and takes them off `awaited`.
    ///
    /// # Errors
    /// The bytes are no replies, or more replies than are awaited.
    #[inline]
    pub(crate) fn count(
        &self,
        bytes: &[u8],
        awaited: &mut u32,
        tally: &mut Tally,
    ) -> Result<Counted> {
        let mut at = 0;
        while *awaited > 0 && at < bytes.len() {
            let rest = &bytes[at..];
            if rest.starts_with(&self.hit) {
                // Not looked into, so a long value need not be kept until it is complete.
                tally.commands += 1;
                *awaited -= 1;
                at += self.hit_length;
                continue;
            }
            let Some(reply) = skip_reply(rest)? else {
                break;
            };
            *awaited -= 1;
            at += reply.length;
            if reply.is_error {
                tally.error(&rest[..reply.length]);
            } else {
                tally.commands += 1;
                tally.misses += u64::from(rest.starts_with(b"$-1"));
            }
        }
        if *awaited == 0 && at < bytes.len() {
            bail!("it answered more than it was asked");
        }
        Ok(Counted {
            consumed: at.min(bytes.len()),
            to_skip: at.saturating_sub(bytes.len()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REPLIES: &[u8] = b"$3\r\nabc\r\n$-1\r\n+OK\r\n-ERR one\r\n-OOM two\r\n$3\r\nxyz\r\n$2\r\nab\r\n-ERR three\r\n";

    fn check(tally: &Tally) {
        assert_eq!((tally.commands, tally.misses), (5, 1));
        let errors: Vec<_> = tally
            .errors
            .iter()
            .map(|(word, count)| (word.as_str(), *count))
            .collect();
        assert_eq!(errors, [("ERR", 2), ("OOM", 1)]);
        assert_eq!(tally.first_error.as_deref(), Some("ERR one"));
    }

    #[test]
    fn replies_are_counted_by_what_they_are() {
        let (mut awaited, mut tally) = (8, Tally::new());
        let counted = Counter::new(3)
            .count(REPLIES, &mut awaited, &mut tally)
            .unwrap();
        assert_eq!(
            (counted, awaited),
            (
                Counted {
                    consumed: REPLIES.len(),
                    to_skip: 0
                },
                0
            )
        );
        check(&tally);
    }

    #[test]
    fn replies_may_come_in_pieces() {
        for cut in 0..REPLIES.len() {
            let (mut awaited, mut tally) = (8, Tally::new());
            let counter = Counter::new(3);
            let first = counter
                .count(&REPLIES[..cut], &mut awaited, &mut tally)
                .unwrap();
            assert!(first.consumed <= cut);
            let rest = &REPLIES[first.consumed + first.to_skip..];
            let second = counter.count(rest, &mut awaited, &mut tally).unwrap();
            assert_eq!(
                (second.consumed, second.to_skip, awaited),
                (rest.len(), 0, 0),
                "{cut}"
            );
            check(&tally);
        }
    }

    #[test]
    fn too_many_replies_and_no_replies_are_errors() {
        let mut tally = Tally::new();
        assert!(
            Counter::new(3)
                .count(b"+OK\r\n+OK\r\n", &mut 1, &mut tally)
                .is_err()
        );
        assert!(
            Counter::new(3)
                .count(b"HTTP/1.1 400\r\n", &mut 1, &mut tally)
                .is_err()
        );
    }
}
