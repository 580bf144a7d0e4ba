//! What is worth a line in the log when the same thing fails again and again.

use std::time::Duration;

/// How long failures of one kind go without a line.
pub(crate) const REMINDER: Duration = Duration::from_secs(30);

/// How long a failure of another kind has to wait for its line.
const CHANGE: Duration = Duration::from_secs(5);

/// A run of failures: the first is told, then one every [`REMINDER`], and one of another kind soon.
#[derive(Debug, Default)]
pub(crate) struct Outage {
    running: Option<Running>,
}

#[derive(Debug)]
struct Running {
    since: Duration,
    told: Duration,
    why: String,
    failures: u64,
}

impl Outage {
    /// Takes in one more failure. Whether it is worth telling.
    pub(crate) fn failed(&mut self, now: Duration, why: &str) -> bool {
        let Some(running) = &mut self.running else {
            self.running = Some(Running {
                since: now,
                told: now,
                why: why.into(),
                failures: 1,
            });
            return true;
        };
        running.failures += 1;
        let quiet_for = now.saturating_sub(running.told);
        let tell = quiet_for >= REMINDER || (running.why != why && quiet_for >= CHANGE);
        if tell {
            running.told = now;
            why.clone_into(&mut running.why);
        }
        tell
    }

    /// How many failures there were since when, while they last.
    pub(crate) fn running(&self) -> Option<(u64, Duration)> {
        self.running
            .as_ref()
            .map(|running| (running.failures, running.since))
    }

    /// Takes in a success, and says what [`Outage::running`] did.
    pub(crate) fn ended(&mut self) -> Option<(u64, Duration)> {
        let running = self.running();
        self.running = None;
        running
    }
}

/// How many lines strangers can cause: at most [`Quota::LINES`] in each [`Quota::SPAN`].
#[derive(Debug, Default)]
pub(crate) struct Quota {
    since: Duration,
    used: u32,
}

impl Quota {
    /// Of lines.
    pub(crate) const LINES: u32 = 50;

    /// Of time.
    pub(crate) const SPAN: Duration = Duration::from_secs(10);

    /// Whether one more line may be written.
    pub(crate) fn take(&mut self, now: Duration) -> bool {
        if now.saturating_sub(self.since) >= Quota::SPAN {
            *self = Quota {
                since: now,
                used: 0,
            };
        }
        self.used = self.used.saturating_add(1);
        self.used <= Quota::LINES
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_long_outage_is_told_first_and_then_now_and_then() {
        let mut outage = Outage::default();
        let told: Vec<u64> = (100..200)
            .filter(|&second| outage.failed(s(second), "refused"))
            .collect();
        assert_eq!(told, [100, 130, 160, 190]);
        assert_eq!(outage.ended(), Some((100, s(100))));
        assert_eq!(outage.ended(), None);
        assert!(outage.failed(s(200), "refused"));
    }

    #[test]
    fn another_kind_of_failure_is_told_soon() {
        let mut outage = Outage::default();
        assert!(outage.failed(s(0), "refused"));
        assert!(!outage.failed(s(4), "timed out"));
        assert!(outage.failed(s(5), "timed out"));
        assert!(!outage.failed(s(11), "timed out"));
        assert!(outage.failed(s(12), "refused"));
    }

    #[test]
    fn strangers_cannot_fill_the_log() {
        let mut quota = Quota::default();
        let lines = (0..1000).filter(|_| quota.take(s(1))).count();
        assert_eq!(lines, Quota::LINES as usize);
        assert!(quota.take(s(11)));
    }
}
