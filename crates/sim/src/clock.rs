//! The clocks of one machine.

use std::time::Duration;

use base::{Moment, Timestamp};

/// Where the wall clocks stand when a run begins.
const EPOCH_MILLIS: i64 = 1_700_000_000_000;

/// A part in a million.
const MILLION: u128 = 1_000_000;

/// The clocks of a machine, as functions of the true time, which nobody in the cluster knows.
///
/// The monotonic clock never goes back; it survives crashes of processes, as CLOCK_BOOTTIME does.
/// The wall clock runs at the same rate and may jump.
#[derive(Clone, Debug)]
pub struct MachineClock {
    /// Parts in a million of the true rate.
    rate: u128,
    /// Since when that has been the rate, in true time.
    since: Duration,
    /// What the monotonic clock showed then.
    shown: Duration,
    /// How far the wall clock is ahead of the epoch and the monotonic clock.
    wall_ahead_millis: i64,
}

impl MachineClock {
    /// Clocks that run true. `booted` is how long the machine ran before, so that the monotonic
    /// clocks of two machines have nothing to do with each other.
    pub fn new(booted: Duration, wall_offset_millis: i64) -> MachineClock {
        MachineClock {
            rate: MILLION,
            since: Duration::ZERO,
            shown: booted,
            wall_ahead_millis: wall_offset_millis - booted.as_millis() as i64,
        }
    }

    /// What the monotonic clock shows at that true time, which is not before the last change of rate.
    pub fn monotonic(&self, now: Duration) -> Duration {
        let passed = now.saturating_sub(self.since).as_nanos();
        self.shown + Duration::from_nanos((passed * self.rate / MILLION) as u64)
    }

    /// What both clocks show.
    pub fn moment(&self, now: Duration) -> Moment {
        let monotonic = self.monotonic(now);
        let wall = EPOCH_MILLIS + monotonic.as_millis() as i64 + self.wall_ahead_millis;
        Moment {
            wall: Timestamp::from_millis(u64::try_from(wall).unwrap_or(0)),
            monotonic,
        }
    }

    /// The first true time at which the monotonic clock shows at least that much.
    pub fn when(&self, monotonic: Duration) -> Duration {
        let missing = monotonic.saturating_sub(self.shown).as_nanos();
        self.since + Duration::from_nanos((missing * MILLION).div_ceil(self.rate) as u64)
    }

    /// From now on the clocks run at that rate, in parts in a million.
    pub fn set_rate(&mut self, now: Duration, parts_per_million: u32) {
        self.shown = self.monotonic(now);
        self.since = now;
        self.rate = u128::from(parts_per_million.max(1));
    }

    /// The wall clock jumps.
    pub fn jump(&mut self, millis: i64) {
        self.wall_ahead_millis += millis;
    }

    /// How far the wall clock is ahead of the true time.
    pub fn error_millis(&self, now: Duration) -> i64 {
        self.moment(now).wall.millis() as i64 - EPOCH_MILLIS - now.as_millis() as i64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn secs(secs: u64) -> Duration {
        Duration::from_secs(secs)
    }

    #[test]
    fn a_clock_that_drifts_shows_more_and_is_found_again() {
        let mut clock = MachineClock::new(secs(100), 0);
        assert_eq!(clock.monotonic(secs(1)), secs(101));
        clock.set_rate(secs(2), 1_500_000);
        assert_eq!(clock.monotonic(secs(2)), secs(102));
        assert_eq!(clock.monotonic(secs(4)), secs(105));
        assert_eq!(clock.when(secs(105)), secs(4));
        assert_eq!(clock.error_millis(secs(4)), 1000);
    }

    #[test]
    fn the_first_time_that_shows_a_moment_is_not_too_early() {
        let mut clock = MachineClock::new(Duration::from_nanos(7), 0);
        clock.set_rate(Duration::from_nanos(3), 666_667);
        for nanos in 11..2000 {
            let wanted = Duration::from_nanos(nanos);
            let when = clock.when(wanted);
            assert!(clock.monotonic(when) >= wanted);
            assert!(clock.monotonic(when - Duration::from_nanos(1)) < wanted);
        }
    }

    #[test]
    fn the_wall_clock_jumps_and_the_other_does_not() {
        let mut clock = MachineClock::new(secs(5), 250);
        let before = clock.moment(secs(1));
        clock.jump(-3_600_000);
        let after = clock.moment(secs(1));
        assert_eq!(before.monotonic, after.monotonic);
        assert_eq!(before.wall.since(after.wall), secs(3600));
        assert_eq!(clock.error_millis(secs(1)), 250 - 3_600_000);
    }
}
