//! What `/proc` tells of a process: CPU time and memory.

use std::fs;
use std::time::Duration;

/// A server's process on this machine.
#[derive(Clone, Debug)]
pub(crate) struct Process {
    pub(crate) pid: u32,
}

impl Process {
    /// How the names of servers start. A pid that a server tells may be one of another machine or container; then
    /// it names nobody here, or somebody else.
    const NAMES: [&str; 5] = ["piccolo", "redis", "valkey", "dragonfly", "keydb"];

    /// The process of that id if it is a server.
    pub(crate) fn of_server(pid: u32) -> Option<Process> {
        let name = fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
        let process = Process { pid };
        (Process::NAMES.iter().any(|known| name.starts_with(known)) && process.cpu().is_some())
            .then_some(process)
    }

    /// The CPU time of all its threads so far; none when it is gone.
    pub(crate) fn cpu(&self) -> Option<Duration> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.pid)).ok()?;
        let ticks = cpu_ticks(&stat)?;
        Some(Duration::from_secs_f64(
            ticks as f64 / rustix::param::clock_ticks_per_second() as f64,
        ))
    }

    /// The memory that it has in RAM, in bytes.
    pub(crate) fn resident_bytes(&self) -> Option<u64> {
        resident_bytes(&fs::read_to_string(format!("/proc/{}/status", self.pid)).ok()?)
    }
}

/// The CPU time of this process so far.
pub(crate) fn own_cpu() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(
        time.tv_sec.unsigned_abs(),
        u32::try_from(time.tv_nsec).unwrap_or(0),
    )
}

/// `utime` and `stime` of `/proc/PID/stat` (proc(5)): fields 14 and 15. The second one, a name in parentheses, may
/// hold anything.
fn cpu_ticks(stat: &str) -> Option<u64> {
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_ascii_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(user + system)
}

/// `VmRSS` of `/proc/PID/status`, which counts in KiB.
fn resident_bytes(status: &str) -> Option<u64> {
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kib * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_files_of_proc_are_read() {
        let stat =
            "12 (a) b (c) S 1 12 12 0 -1 4194560 2000 0 1 0 123 45 0 0 20 0 5 0 100 1000 500";
        assert_eq!(cpu_ticks(stat), Some(168));
        assert_eq!(cpu_ticks("12"), None);
        assert_eq!(
            resident_bytes("VmPeak:\t 9 kB\nVmRSS:\t    1024 kB\n"),
            Some(1 << 20)
        );
        assert_eq!(resident_bytes("VmPeak:\t 9 kB\n"), None);
    }

    #[test]
    fn this_process_has_cpu_time_and_memory_but_is_no_server() {
        let own = Process {
            pid: std::process::id(),
        };
        assert!(own.cpu().is_some());
        assert!(own.resident_bytes().unwrap() > 0);
        assert!(own_cpu() > Duration::ZERO);
        assert!(Process::of_server(u32::MAX).is_none());
    }
}
