//! What came of each check: passed, failed or skipped, and how long it took.

use std::fmt;
use std::time::{Duration, Instant};

use anyhow::Result;

/// The rows of the table at the end.
pub(crate) struct Report {
    rows: Vec<Row>,
}

/// A step and what it counted. A plain check counts as one test.
#[derive(Debug)]
pub(crate) struct Row {
    name: String,
    counts: Counts,
    time: Duration,
}

/// What a step counted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) passed: usize,
    /// By name; never as passed.
    pub(crate) failed: Vec<String>,
    /// By name, with the reason.
    pub(crate) skipped: Vec<(String, String)>,
}

impl Counts {
    fn of(name: &str, passed: bool) -> Counts {
        match passed {
            true => Counts {
                passed: 1,
                ..Counts::default()
            },
            false => Counts {
                failed: vec![name.to_owned()],
                ..Counts::default()
            },
        }
    }

    fn skipped(name: &str, reason: &str) -> Counts {
        let skipped = vec![(name.to_owned(), reason.to_owned())];
        Counts {
            skipped,
            ..Counts::default()
        }
    }
}

impl Report {
    pub(crate) fn new() -> Report {
        Report { rows: Vec::new() }
    }

    /// Runs a check that passes or fails as a whole. An error is a failure, and is printed.
    pub(crate) fn check(&mut self, name: &str, check: impl FnOnce() -> Result<bool>) -> bool {
        let mut all_well = false;
        self.count(name, || {
            all_well = check()?;
            Ok(Counts::of(name, all_well))
        });
        all_well
    }

    /// Runs a step that counts for itself. An error is a failure of the whole step, and is printed.
    pub(crate) fn count(&mut self, name: &str, step: impl FnOnce() -> Result<Counts>) {
        println!("\n=== {name}");
        let start = Instant::now();
        let counts = step().unwrap_or_else(|error| {
            println!("{name}: {error:#}");
            Counts::of(name, false)
        });
        let time = start.elapsed();
        println!(
            "=== {name}: {}, {:.1} s",
            verdict(&counts),
            time.as_secs_f64()
        );
        self.add(name, counts, time);
    }

    fn add(&mut self, name: &str, counts: Counts, time: Duration) {
        let name = name.to_owned();
        self.rows.push(Row { name, counts, time });
    }

    /// Notes a step that cannot run.
    pub(crate) fn skip(&mut self, name: &str, reason: &str) {
        println!("\n=== {name}: SKIPPED: {reason}");
        self.add(name, Counts::skipped(name, reason), Duration::ZERO);
    }

    /// How many tests and checks failed.
    pub(crate) fn failed(&self) -> usize {
        self.rows.iter().map(|row| row.counts.failed.len()).sum()
    }
}

fn verdict(counts: &Counts) -> &'static str {
    if !counts.failed.is_empty() {
        "FAILED"
    } else if counts.passed > 0 {
        "passed"
    } else {
        "SKIPPED"
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = self
            .rows
            .iter()
            .map(|row| row.name.len())
            .max()
            .unwrap_or(0)
            .max(5);
        writeln!(
            f,
            "\n{:width$}  result   passed  failed  skipped     time",
            "check"
        )?;
        for Row { name, counts, time } in &self.rows {
            writeln!(
                f,
                "{name:width$}  {:7}  {:6}  {:6}  {:7}  {:5.1} s",
                verdict(counts),
                counts.passed,
                counts.failed.len(),
                counts.skipped.len(),
                time.as_secs_f64()
            )?;
        }
        for name in self.rows.iter().flat_map(|row| &row.counts.failed) {
            writeln!(f, "FAILED {name}")?;
        }
        for (name, reason) in self.rows.iter().flat_map(|row| &row.counts.skipped) {
            writeln!(f, "SKIPPED {name}: {reason}")?;
        }
        let passed: usize = self.rows.iter().map(|row| row.counts.passed).sum();
        let skipped: usize = self.rows.iter().map(|row| row.counts.skipped.len()).sum();
        write!(
            f,
            "{passed} passed, {} failed, {skipped} skipped",
            self.failed()
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_line_counts_everything() {
        let mut report = Report::new();
        let tests = Counts {
            passed: 40,
            failed: vec!["a".into(), "b".into()],
            skipped: vec![("one".into(), "no tool".into())],
        };
        for (name, counts) in [
            ("good", Counts::of("good", true)),
            ("bad", Counts::of("bad", false)),
            ("oracle", Counts::skipped("oracle", "no network")),
            ("tests", tests),
        ] {
            report.add(name, counts, Duration::ZERO);
        }
        let text = report.to_string();
        assert_eq!(text.lines().last(), Some("41 passed, 3 failed, 2 skipped"));
        for line in [
            "FAILED bad",
            "FAILED a",
            "SKIPPED oracle: no network",
            "SKIPPED one: no tool",
        ] {
            assert!(text.lines().any(|known| known == line), "{line} in\n{text}");
        }
        assert_eq!(report.failed(), 3);
    }
}
