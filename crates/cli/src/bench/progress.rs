//! The line that tells a person what goes on. It is on the standard error output, and only when that is a terminal.

use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

use super::summary::thousands;

/// How often the line is written anew.
const INTERVAL: Duration = Duration::from_millis(200);

#[derive(Debug)]
pub(crate) struct Progress {
    label: String,
    shown: bool,
    enabled: bool,
    /// When the line was last due, and the count at that time.
    last: (Instant, u64),
    next: Instant,
}

impl Progress {
    pub(crate) fn new(label: String) -> Progress {
        let now = Instant::now();
        Progress {
            label,
            shown: false,
            enabled: io::stderr().is_terminal(),
            last: (now, 0),
            next: now + INTERVAL,
        }
    }

    /// When [`Progress::show`] has something to do.
    pub(crate) fn next(&self) -> Instant {
        self.next
    }

    /// Writes the line if it is due. `commands` is a count that grows; a smaller one than before starts anew.
    pub(crate) fn show(&mut self, now: Instant, commands: u64) {
        if now < self.next {
            return;
        }
        self.next = now + INTERVAL;
        let (since, before) = std::mem::replace(&mut self.last, (now, commands));
        if !self.enabled || commands < before {
            return;
        }
        let rate = (commands - before) as f64 / (now - since).as_secs_f64();
        self.write(&format!(
            "\r{}: {} commands/s\x1b[K",
            self.label,
            thousands(rate as u64)
        ));
        self.shown = true;
    }

    /// Takes the line away.
    pub(crate) fn clear(&mut self) {
        if std::mem::take(&mut self.shown) {
            self.write("\r\x1b[K");
        }
    }

    fn write(&mut self, text: &str) {
        // Without a terminal to show it, there is no line to show.
        self.enabled = io::stderr().write_all(text.as_bytes()).is_ok();
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.clear();
    }
}
