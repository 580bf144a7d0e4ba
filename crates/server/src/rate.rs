//! Commands a second, without a timer.

use std::time::Duration;

use base::Timestamp;

/// A rate over the time since it was last asked for: over the last one or two seconds when asked
/// often, else over all the time since the question before.
#[derive(Debug)]
pub(crate) struct Rate {
    older: Sample,
    newer: Sample,
}

#[derive(Clone, Copy, Debug)]
struct Sample {
    at: Timestamp,
    count: u64,
}

const LEAST: Duration = Duration::from_secs(1);

impl Rate {
    /// The rate of a counter that was 0 at `start`.
    pub(crate) fn new(start: Timestamp) -> Rate {
        let sample = Sample {
            at: start,
            count: 0,
        };
        Rate {
            older: sample,
            newer: sample,
        }
    }

    /// The rate, now that the counter has come to `count`.
    pub(crate) fn sample(&mut self, now: Timestamp, count: u64) -> u64 {
        if now.since(self.newer.at) >= LEAST {
            self.older = self.newer;
            self.newer = Sample { at: now, count };
        }
        let counted = u128::from(count - self.older.count);
        let millis = now.since(self.older.at).max(LEAST).as_millis();
        (counted * 1000 / millis) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_is_of_the_time_since_the_last_question() {
        let at = Timestamp::from_millis;
        let mut rate = Rate::new(at(0));
        assert_eq!(rate.sample(at(500), 100), 100, "of a whole second at least");
        assert_eq!(rate.sample(at(10_000), 1000), 100);
        assert_eq!(rate.sample(at(12_000), 1000 + 500), 250);
        assert_eq!(rate.sample(at(12_500), 1500), 200);
        assert_eq!(
            rate.sample(at(11_000), 1500),
            500,
            "after the clock went back"
        );
    }
}
