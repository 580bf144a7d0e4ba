//! CPU time, of servers and of this process.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result};

/// User and system time of all these processes so far.
///
/// # Errors
/// One of them is gone.
pub(crate) fn cpu(pids: &[u32]) -> Result<Duration> {
    let mut ticks = 0;
    for pid in pids {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat"))
            .with_context(|| format!("process {pid} is gone"))?;
        ticks += cpu_ticks(&stat).with_context(|| format!("/proc/{pid}/stat has another form"))?;
    }
    let per_second = rustix::param::clock_ticks_per_second();
    Ok(Duration::from_secs_f64(ticks as f64 / per_second as f64))
}

pub(crate) fn own_cpu() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(
        time.tv_sec.unsigned_abs(),
        u32::try_from(time.tv_nsec).unwrap_or(0),
    )
}

/// `utime` and `stime` of `/proc/PID/stat` (proc(5)): fields 14 and 15, after a name in parentheses that may hold
/// anything.
fn cpu_ticks(stat: &str) -> Option<u64> {
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_ascii_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(user + system)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_summed() {
        let stat =
            "12 (a) b (c) S 1 12 12 0 -1 4194560 2000 0 1 0 123 45 0 0 20 0 5 0 100 1000 500";
        assert_eq!(cpu_ticks(stat), Some(168));
        assert_eq!(cpu_ticks("12"), None);
        assert!(cpu(&[std::process::id()]).is_ok());
        assert!(cpu(&[u32::MAX]).is_err());
    }
}
