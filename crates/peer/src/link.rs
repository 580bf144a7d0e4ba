//! What pings tell about a connection: how long a round trip takes, and how far the clocks are apart.

use std::time::Duration;

use base::Timestamp;

/// How many of the latest pings the clock offset is chosen from.
const SAMPLES: usize = 8;

/// The measurements of one connection.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Link {
    smoothed: Option<Duration>,
    /// The latest, as a ring: round trip and offset.
    samples: [Option<(Duration, i64)>; SAMPLES],
    count: usize,
}

impl Link {
    /// Takes in a ping that was sent at `sent_at` by this node's wall clock and answered at `answered_at`
    /// by the peer's, `rtt` of this node's monotonic clock ago.
    pub fn measured(&mut self, rtt: Duration, sent_at: Timestamp, answered_at: Timestamp) {
        let half = i128::try_from(rtt.as_millis() / 2).unwrap_or(i128::MAX);
        let apart = i128::from(answered_at.millis()) - i128::from(sent_at.millis()) - half;
        let offset = apart.clamp(i64::MIN.into(), i64::MAX.into()) as i64;
        self.samples[self.count % SAMPLES] = Some((rtt, offset));
        self.count += 1;
        self.smoothed = Some(match self.smoothed {
            None => rtt,
            Some(smoothed) => (smoothed * 7 + rtt) / 8,
        });
    }

    /// The mean of the round trips, each weighing an eighth of what came before (RFC 6298).
    pub fn smoothed_rtt(&self) -> Option<Duration> {
        self.smoothed
    }

    /// The latest round trip.
    pub fn last_rtt(&self) -> Option<Duration> {
        let last = self.count.checked_sub(1)?;
        self.samples[last % SAMPLES].map(|(rtt, _)| rtt)
    }

    /// How many milliseconds the peer's wall clock is ahead: as the fastest of the latest round trips
    /// tells it, because it has the least room for error (RFC 5905, section 10).
    pub fn clock_offset_ms(&self) -> Option<i64> {
        self.samples
            .iter()
            .flatten()
            .min_by_key(|(rtt, _)| rtt)
            .map(|&(_, offset)| offset)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Timestamp {
        Timestamp::from_millis(millis)
    }

    fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn nothing_is_known_before_the_first_answer() {
        let link = Link::default();
        assert_eq!(
            (link.smoothed_rtt(), link.last_rtt(), link.clock_offset_ms()),
            (None, None, None)
        );
    }

    #[test]
    fn the_offset_takes_half_a_round_trip_off() {
        let mut link = Link::default();
        link.measured(ms(10), at(1000), at(1305));
        assert_eq!(link.clock_offset_ms(), Some(300));
        let mut link = Link::default();
        link.measured(ms(10), at(1000), at(705));
        assert_eq!(link.clock_offset_ms(), Some(-300));
    }

    #[test]
    fn the_fastest_of_the_latest_tells_the_offset() {
        let mut link = Link::default();
        link.measured(ms(2), at(1000), at(1001));
        link.measured(ms(200), at(2000), at(2190));
        assert_eq!(link.clock_offset_ms(), Some(0));
        assert_eq!(link.last_rtt(), Some(ms(200)));
        for _ in 0..SAMPLES {
            link.measured(ms(20), at(3000), at(3060));
        }
        assert_eq!(link.clock_offset_ms(), Some(50));
    }

    #[test]
    fn round_trips_are_smoothed() {
        let mut link = Link::default();
        link.measured(ms(80), at(0), at(40));
        assert_eq!(link.smoothed_rtt(), Some(ms(80)));
        link.measured(ms(160), at(0), at(80));
        assert_eq!(link.smoothed_rtt(), Some(ms(90)));
        assert_eq!(link.last_rtt(), Some(ms(160)));
    }

    #[test]
    fn absurd_clocks_do_no_harm() {
        let mut link = Link::default();
        link.measured(ms(0), at(0), at(u64::MAX));
        assert_eq!(link.clock_offset_ms(), Some(i64::MAX));
    }
}
