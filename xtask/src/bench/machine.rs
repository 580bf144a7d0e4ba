//! What figures depend on besides the programs: the machine, and what it is doing.

use std::fs::{self, File};
use std::hint::black_box;
use std::io::Write;
use std::thread;
use std::time::Instant;

use anyhow::{Context, Result};

use super::Bench;
use super::table::median;
use crate::run::{output, program};

const PAGE_BYTES: usize = 4096;
/// What the largest comparison needs, with room.
const TOUCHED_BYTES: u64 = 6 << 30;
const SYNCS: usize = 100;

/// A list of facts, in Markdown.
pub(super) fn facts(bench: &Bench<'_>, commit: &str) -> Result<String> {
    let version = |path: &std::path::Path| -> Result<String> {
        Ok(output(program(path).arg("--version"))?.trim().to_owned())
    };
    let redis = match &bench.redis {
        None => String::new(),
        Some(redis) => {
            let told = version(redis)?;
            let number = told
                .split_whitespace()
                .find_map(|word| word.strip_prefix("v="));
            format!("\n- redis: {}", number.unwrap_or(&told))
        }
    };
    Ok(format!(
        "- date: {}\n- processor: {}, {} cores; {} GiB of memory; load average before: {}\n- kernel: {}\n- piccolo: {} ({}){redis}\n\
         - disk: fdatasync of an appended page takes {:.3} ms (median of {SYNCS})",
        output(program("date").args(["-u", "+%F"]))?.trim(),
        field("/proc/cpuinfo", "model name").unwrap_or_else(|| "unknown".to_owned()),
        thread::available_parallelism()?,
        (meminfo("MemTotal").unwrap_or(0) + (1 << 29)) >> 30,
        read("/proc/loadavg")
            .split(' ')
            .take(3)
            .collect::<Vec<_>>()
            .join(", "),
        read("/proc/sys/kernel/osrelease"),
        version(&bench.piccolo)?,
        match bench.options.binary {
            Some(_) => "a given binary; the sources are at ".to_owned() + commit,
            None => commit.to_owned(),
        },
        sync_millis(bench).context("measuring the disk")?,
    ))
}

/// Touches each page of much memory, but at most half of what is free, and frees it; gives how much.
///
/// On a virtual machine the first touch of a page may make the host provide it, which can take 15 us: whichever
/// server came first would pay for both.
pub(super) fn touch_memory() -> u64 {
    let free = meminfo("MemAvailable").unwrap_or(0);
    let bytes = TOUCHED_BYTES.min(free / 2);
    eprintln!("touching {} MiB of memory", bytes >> 20);
    let mut memory = vec![0_u8; usize::try_from(bytes).unwrap_or(0)];
    for byte in memory.iter_mut().step_by(PAGE_BYTES) {
        *byte = 1;
    }
    black_box(&memory);
    bytes
}

/// How long it takes to append a page to a file and sync it.
fn sync_millis(bench: &Bench<'_>) -> Result<f64> {
    let folder = bench.folder()?;
    let mut file = File::create(folder.path().join("file"))?;
    let mut millis = Vec::with_capacity(SYNCS);
    for _ in 0..SYNCS {
        let start = Instant::now();
        file.write_all(&[1; PAGE_BYTES])?;
        file.sync_data()?;
        millis.push(start.elapsed().as_secs_f64() * 1e3);
    }
    median(&millis).context("nothing was synced")
}

fn read(path: &str) -> String {
    fs::read_to_string(path).map_or_else(|_| "unknown".to_owned(), |text| text.trim().to_owned())
}

/// The first line `name : value` of a file.
fn field(path: &str, name: &str) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    let mut lines = text.lines().filter_map(|line| line.split_once(':'));
    lines
        .find(|(known, _)| known.trim() == name)
        .map(|(_, value)| value.trim().to_owned())
}

/// A line of `/proc/meminfo`, which counts in KiB, in bytes.
fn meminfo(name: &str) -> Option<u64> {
    let kib = field("/proc/meminfo", name)?;
    Some(kib.strip_suffix(" kB")?.parse::<u64>().ok()? * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_told_in_bytes() {
        assert!(meminfo("MemTotal").unwrap() > 1 << 20);
        assert_eq!(meminfo("NoSuchLine"), None);
    }
}
