//! The system's clocks.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base::{Clock, Timestamp};
use rustix::time::{ClockId, clock_gettime};

/// Wall-clock time from the system, and a monotonic clock that counts suspension.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        let since = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or(Duration::ZERO);
        Timestamp::from_millis(since.as_millis() as u64)
    }

    fn monotonic(&self) -> Duration {
        let time = clock_gettime(ClockId::Boottime);
        Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
    }
}
