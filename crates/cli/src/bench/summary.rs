//! Figures of a round, of two rounds side by side, and of many.

use std::collections::BTreeMap;
use std::time::Duration;

use super::replies::Tally;

/// One round on one server.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Round {
    /// Replies that are no errors.
    pub(crate) commands: u64,
    pub(crate) misses: u64,
    pub(crate) seconds: f64,
    /// Commands a second.
    pub(crate) throughput: f64,
    /// Milliseconds that a request's batch took.
    pub(crate) p50_ms: f64,
    pub(crate) p99_ms: f64,
    pub(crate) p999_ms: f64,
    pub(crate) max_ms: f64,
    /// CPU seconds per million commands: of the server, where they are known, and of this process.
    pub(crate) server_cpu: Option<f64>,
    pub(crate) own_cpu: f64,
    /// How much of one CPU this process used. Near 1, it was the bottleneck.
    pub(crate) own_share: f64,
    pub(crate) errors: BTreeMap<String, u64>,
    pub(crate) first_error: Option<String>,
}

impl Round {
    pub(crate) fn new(
        tally: Tally,
        elapsed: Duration,
        server_cpu: Option<Duration>,
        own_cpu: Duration,
    ) -> Round {
        let percentile = |percent: f64| tally.latency.value_at_percentile(percent) as f64 / 1e6;
        let errors: u64 = tally.errors.values().sum();
        // An error costs CPU too.
        let millions = (tally.commands + errors).max(1) as f64 / 1e6;
        Round {
            commands: tally.commands,
            misses: tally.misses,
            seconds: elapsed.as_secs_f64(),
            throughput: tally.commands as f64 / elapsed.as_secs_f64(),
            p50_ms: percentile(50.0),
            p99_ms: percentile(99.0),
            p999_ms: percentile(99.9),
            max_ms: percentile(100.0),
            server_cpu: server_cpu.map(|cpu| cpu.as_secs_f64() / millions),
            own_cpu: own_cpu.as_secs_f64() / millions,
            own_share: own_cpu.as_secs_f64() / elapsed.as_secs_f64(),
            errors: tally.errors,
            first_error: tally.first_error,
        }
    }
}

/// The rounds of the same number on all servers: one, or two to compare.
#[derive(Clone, Debug)]
pub(crate) struct Comparison {
    pub(crate) rounds: Vec<Round>,
    /// The first server's throughput over the second's.
    pub(crate) throughput_ratio: Option<f64>,
    /// The first server's CPU per command over the second's.
    pub(crate) cpu_ratio: Option<f64>,
}

impl Comparison {
    pub(crate) fn new(rounds: Vec<Round>) -> Comparison {
        let (throughput_ratio, cpu_ratio) = match rounds.as_slice() {
            [first, second] => (
                Some(first.throughput / second.throughput),
                first
                    .server_cpu
                    .zip(second.server_cpu)
                    .filter(|(_, second)| *second > 0.0)
                    .map(|(first, second)| first / second),
            ),
            _ => (None, None),
        };
        Comparison {
            rounds,
            throughput_ratio,
            cpu_ratio,
        }
    }
}

/// The middle one; of an even number, the mean of the two in the middle.
pub(crate) fn median(values: impl IntoIterator<Item = f64>) -> Option<f64> {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => None,
        length if length % 2 == 1 => Some(values[middle]),
        _ => Some(f64::midpoint(values[middle - 1], values[middle])),
    }
}

/// A number with a comma between thousands.
pub(crate) fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_in_the_middle() {
        assert_eq!(median([]), None);
        assert_eq!(median([3.0]), Some(3.0));
        assert_eq!(median([9.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median([4.0, 1.0, 2.0, 100.0]), Some(3.0));
    }

    #[test]
    fn thousands_are_set_apart() {
        for (number, text) in [
            (0, "0"),
            (999, "999"),
            (1000, "1,000"),
            (1_234_567, "1,234,567"),
        ] {
            assert_eq!(thousands(number), text);
        }
    }

    fn round(commands: u64, cpu: Option<u64>) -> Round {
        let mut tally = Tally::new();
        tally.commands = commands;
        for milliseconds in 1..=1000 {
            tally.latency.record(milliseconds * 1_000_000).unwrap();
        }
        Round::new(
            tally,
            Duration::from_secs(2),
            cpu.map(Duration::from_secs),
            Duration::from_secs(1),
        )
    }

    #[test]
    fn a_round_has_rates_and_percentiles() {
        let round = round(4_000_000, Some(2));
        assert_eq!(round.throughput, 2_000_000.0);
        assert_eq!(
            (round.server_cpu, round.own_cpu, round.own_share),
            (Some(0.5), 0.25, 0.5)
        );
        // The histogram keeps three digits.
        for (value, expected) in [
            (round.p50_ms, 500.0),
            (round.p99_ms, 990.0),
            (round.p999_ms, 999.0),
            (round.max_ms, 1000.0),
        ] {
            assert!(
                (value / expected - 1.0).abs() < 0.002,
                "{value} for {expected}"
            );
        }
    }

    #[test]
    fn two_rounds_have_ratios() {
        let both = Comparison::new(vec![round(3_000_000, Some(3)), round(1_000_000, Some(2))]);
        assert_eq!(
            (both.throughput_ratio, both.cpu_ratio),
            (Some(3.0), Some(0.5))
        );
        let remote = Comparison::new(vec![round(3_000_000, None), round(1_000_000, Some(2))]);
        assert_eq!(
            (remote.throughput_ratio, remote.cpu_ratio),
            (Some(3.0), None)
        );
        let alone = Comparison::new(vec![round(1, Some(1))]);
        assert_eq!((alone.throughput_ratio, alone.cpu_ratio), (None, None));
    }
}
