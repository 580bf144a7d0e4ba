//! What is worth a line in the log when the same thing fails again and again.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

/// How long failures of one kind go without a line.
pub(crate) const REMINDER: Duration = Duration::from_secs(30);

/// How long a failure of another kind has to wait for its line.
const CHANGE: Duration = Duration::from_secs(5);

/// A run of failures: the first is told, then one every [`REMINDER`], and one of another kind soon.
#[derive(Clone, Debug, Default)]
pub(crate) struct Outage {
    running: Option<Running>,
}

#[derive(Clone, Debug)]
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

/// Outages of those who connect and never become peers, by their addresses: a stranger that dials every two
/// seconds, or a probe. However many there are, they cause at most [`Strangers::LINES`] lines in each
/// [`Strangers::SPAN`].
#[derive(Debug, Default)]
pub(crate) struct Strangers {
    outages: HashMap<IpAddr, Outage>,
    since: Duration,
    lines: u32,
}

impl Strangers {
    /// Of lines.
    pub(crate) const LINES: u32 = 50;

    /// Of time.
    pub(crate) const SPAN: Duration = Duration::from_secs(10);

    /// How many addresses are remembered; beyond that all are forgotten, and the limit of lines has to do.
    const ADDRESSES: usize = 1024;

    /// Takes in a connection from an address. Whether it is worth telling.
    pub(crate) fn accepted(&mut self, now: Duration, from: IpAddr) -> bool {
        !self.outages.contains_key(&from) && self.take_line(now)
    }

    /// Takes in that a connection ended before a greeting. Whether it is worth telling.
    pub(crate) fn failed(&mut self, now: Duration, from: IpAddr, why: &str) -> bool {
        if self.outages.len() == Strangers::ADDRESSES && !self.outages.contains_key(&from) {
            self.outages.clear();
        }
        self.outages.entry(from).or_default().failed(now, why) && self.take_line(now)
    }

    /// Takes in that somebody at that address has greeted.
    pub(crate) fn greeted(&mut self, from: IpAddr) {
        self.outages.remove(&from);
    }

    fn take_line(&mut self, now: Duration) -> bool {
        if now.saturating_sub(self.since) >= Strangers::SPAN {
            self.since = now;
            self.lines = 0;
        }
        self.lines = self.lines.saturating_add(1);
        self.lines <= Strangers::LINES
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

    fn ip(n: u32) -> IpAddr {
        IpAddr::V4(n.into())
    }

    #[test]
    fn many_strangers_cannot_fill_the_log() {
        let mut strangers = Strangers::default();
        let told = (0..5000)
            .filter(|&n| strangers.accepted(s(1), ip(n)))
            .count()
            + (0..5000)
                .filter(|&n| strangers.failed(s(1), ip(n), "stranger"))
                .count();
        assert_eq!(told, Strangers::LINES as usize);
        assert!(strangers.outages.len() <= Strangers::ADDRESSES);
        assert!(strangers.accepted(s(11), ip(9999)));
    }

    #[test]
    fn one_stranger_is_told_now_and_then() {
        let mut strangers = Strangers::default();
        let mut told = Vec::new();
        for second in (0..60).step_by(2) {
            if strangers.accepted(s(second), ip(1)) {
                told.push((second, "accepted"));
            }
            if strangers.failed(s(second), ip(1), "stranger") {
                told.push((second, "failed"));
            }
        }
        assert_eq!(told, [(0, "accepted"), (0, "failed"), (30, "failed")]);
        strangers.greeted(ip(1));
        assert!(strangers.accepted(s(60), ip(1)));
    }
}
