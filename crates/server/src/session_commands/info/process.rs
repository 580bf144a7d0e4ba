//! What the operating system knows of this process. Where it has no `/proc`, nothing.

use std::fs;

use rustix::param::{clock_ticks_per_second, page_size};

/// Resident memory.
pub(super) fn resident_bytes() -> Option<u64> {
    let statm = fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = statm.split(' ').nth(1)?.parse().ok()?;
    Some(pages * page_size() as u64)
}

/// Memory of the machine.
pub(super) fn system_memory_bytes() -> Option<u64> {
    let meminfo = fs::read_to_string("/proc/meminfo").ok()?;
    let total = meminfo
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: u64 = total.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

/// CPU time, in seconds.
pub(super) struct CpuTime {
    pub(super) user: f64,
    pub(super) system: f64,
    pub(super) children_user: f64,
    pub(super) children_system: f64,
}

/// What all threads together have used so far.
pub(super) fn cpu_time() -> Option<CpuTime> {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    // The name of the program stands in parentheses, and may hold any character.
    let (_, rest) = stat.rsplit_once(')')?;
    // `utime` is field 14 of proc(5), and the third is the first after the name.
    let mut seconds = rest
        .split_ascii_whitespace()
        .skip(14 - 3)
        .map(|ticks| Some(ticks.parse::<f64>().ok()? / clock_ticks_per_second() as f64));
    let mut next = || seconds.next().flatten();
    Some(CpuTime {
        user: next()?,
        system: next()?,
        children_user: next()?,
        children_system: next()?,
    })
}
