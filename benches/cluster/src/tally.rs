//! What a run has seen, and how it is told.

use std::time::Duration;

use hdrhistogram::Histogram;
use serde_json::{Value, json};

use crate::Answer;

pub(crate) struct Tally {
    done: u64,
    missing: u64,
    refused: u64,
    first_refusal: Option<String>,
    /// In microseconds, of what was done.
    latency: Histogram<u64>,
}

impl Tally {
    pub(crate) fn new() -> Tally {
        Tally {
            done: 0,
            missing: 0,
            refused: 0,
            first_refusal: None,
            latency: Histogram::new_with_bounds(1, 3_600_000_000, 3).expect("the bounds are valid"),
        }
    }

    pub(crate) fn add(&mut self, answer: Answer, took: Duration) {
        match answer {
            Answer::Done => self.done += 1,
            Answer::Missing => self.missing += 1,
            Answer::Refused(text) => {
                self.refused += 1;
                self.first_refusal.get_or_insert(text);
                return;
            }
        }
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.latency.saturating_record(micros);
    }

    pub(crate) fn json(&self, elapsed: Duration, server_cpu: Duration, own_cpu: Duration) -> Value {
        let operations = self.done + self.missing;
        let seconds = elapsed.as_secs_f64();
        json!({
            "operations": operations,
            "seconds": seconds,
            "per_second": operations as f64 / seconds,
            "missing": self.missing,
            "refused": self.refused,
            "first_refusal": self.first_refusal,
            "server_cpu_seconds": server_cpu.as_secs_f64(),
            "server_cpu_seconds_per_million": server_cpu.as_secs_f64() * 1e6 / operations.max(1) as f64,
            "generator_cpu_share": own_cpu.as_secs_f64() / seconds,
            "latency_us": {
                "p50": self.latency.value_at_quantile(0.5),
                "p99": self.latency.value_at_quantile(0.99),
                "max": self.latency.max(),
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_no_operation() {
        let mut tally = Tally::new();
        tally.add(Answer::Done, Duration::from_micros(100));
        tally.add(Answer::Missing, Duration::from_micros(300));
        tally.add(
            Answer::Refused("14 no leader".to_owned()),
            Duration::from_secs(9),
        );
        let told = tally.json(
            Duration::from_secs(2),
            Duration::from_secs(1),
            Duration::from_secs(1),
        );
        assert_eq!(
            (&told["operations"], &told["refused"]),
            (&json!(2), &json!(1))
        );
        assert_eq!(
            (&told["per_second"], &told["server_cpu_seconds_per_million"]),
            (&json!(1.0), &json!(500_000.0))
        );
        assert_eq!(told["first_refusal"], "14 no leader");
        assert!(told["latency_us"]["max"].as_u64().unwrap() < 1000);
    }
}
