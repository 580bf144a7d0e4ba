//! Time as the deterministic crates see it: a number that is handed in.

use std::fmt;
use std::time::Duration;

/// A moment of wall-clock time: milliseconds since 1970-01-01T00:00:00Z.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(u64);

impl Timestamp {
    /// The first moment there is.
    pub const ZERO: Timestamp = Timestamp(0);

    /// That many milliseconds after 1970-01-01T00:00:00Z.
    pub const fn from_millis(millis: u64) -> Timestamp {
        Timestamp(millis)
    }

    /// Milliseconds since 1970-01-01T00:00:00Z.
    pub const fn millis(self) -> u64 {
        self.0
    }

    /// Whole seconds since 1970-01-01T00:00:00Z.
    pub const fn seconds(self) -> u64 {
        self.0 / 1000
    }

    /// How long after `earlier` this is; zero if it is not after it.
    pub const fn since(self, earlier: Timestamp) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}ms", self.0)
    }
}

/// Now, by both clocks of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// May jump either way.
    pub wall: Timestamp,
    /// Time since some fixed moment. It never goes back.
    pub monotonic: Duration,
}

/// Where drivers read the time; the system's outside, a simulated one in tests.
pub trait Clock {
    /// Wall-clock time. It may jump either way.
    fn now(&self) -> Timestamp;

    /// Time since some fixed moment. It never goes back and it counts suspension.
    fn monotonic(&self) -> Duration;
}
