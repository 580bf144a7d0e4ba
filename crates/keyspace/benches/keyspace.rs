//! What operations cost: `cargo bench -p keyspace -- [KEYS]`, one million by default. Keys have 16
//! bytes and values 64; they are met in random order, so that most accesses miss the caches. Means are of
//! CPU time, so that what else runs on the machine weighs less.

#![allow(clippy::disallowed_methods, reason = "a benchmark reads the clock")]

use std::hint::black_box;
use std::time::{Duration, Instant};

use base::{Db, Timestamp};
use keyspace::{Expiry, Keyspace, SnapshotLoader};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const DB: Db = match Db::new(0) {
    Ok(db) => db,
    Err(_) => unreachable!(),
};

struct Bench {
    keys: u64,
    text: [u8; 16],
}

impl Bench {
    /// The key of that number.
    fn key(&mut self, number: u64) -> &[u8] {
        let mut rest = number;
        for digit in self.text[4..].iter_mut().rev() {
            *digit = b'0' + (rest % 10) as u8;
            rest /= 10;
        }
        &self.text
    }

    /// All numbers below `keys` (and some above), in an order without locality.
    fn shuffled(&self) -> impl Iterator<Item = u64> + use<> {
        let range = self.keys.next_power_of_two();
        let keys = self.keys;
        (0..range)
            .scan(1_u64, move |state, _| {
                *state = state
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(3)
                    % range;
                Some(*state)
            })
            .filter(move |number| *number < keys)
    }

    /// Times `operation` on each key and prints the mean and the slowest.
    fn each(&mut self, name: &str, mut operation: impl FnMut(&[u8])) {
        let mut slowest = Duration::ZERO;
        let mut slowest_at = 0;
        let start = CpuTime::now();
        let mut last = Instant::now();
        let numbers = self.shuffled();
        for (count, number) in numbers.enumerate() {
            operation(self.key(number));
            if count % 64 == 63 {
                let now = Instant::now();
                if now - last > slowest {
                    (slowest, slowest_at) = (now - last, count);
                }
                last = now;
            }
        }
        let mean = start.each(self.keys);
        println!("{name:<34} {mean:>8.0} ns   slowest 64: {slowest:>9.1?} at {slowest_at}");
    }
}

/// The time that this thread has run, in ns.
struct CpuTime(u64);

impl CpuTime {
    fn now() -> CpuTime {
        let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
        CpuTime(
            text.split(' ')
                .next()
                .and_then(|ran| ran.parse().ok())
                .unwrap_or(0),
        )
    }

    /// The time since then, divided by a count.
    fn each(&self, count: u64) -> f64 {
        (CpuTime::now().0 - self.0) as f64 / count as f64
    }
}

fn resident_bytes() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = statm
        .split(' ')
        .nth(1)
        .and_then(|pages| pages.parse::<usize>().ok());
    pages.unwrap_or(0) * 4096
}

fn main() {
    let keys = std::env::args()
        .filter_map(|arg| arg.parse().ok())
        .next()
        .unwrap_or(1_000_000);
    let mut bench = Bench {
        keys,
        text: *b"key:000000000000",
    };
    println!("{keys} keys of 16 bytes with values of 64");
    bench.each("making a key, without any work", |key| {
        black_box(key);
    });

    let before = resident_bytes();
    let mut keyspace = Keyspace::new(7);
    let value = [b'x'; 64];
    bench.each("set, new", |key| {
        keyspace.set(DB, key, &value, Expiry::Clear);
    });
    println!(
        "{:<34} {:>8.1} B    resident: {:.1}",
        "memory per key, as estimated",
        keyspace.memory_used() as f64 / keys as f64,
        (resident_bytes() - before) as f64 / keys as f64
    );
    let now = Timestamp::ZERO;
    bench.each("get, hit", |key| {
        black_box(keyspace.get(DB, key, now).expect("it was set").string());
    });
    bench.each("get, hit, with a touch", |key| {
        keyspace.get(DB, key, now).expect("it was set").touch(now);
    });
    bench.each("get, miss", |key| {
        let mut key: [u8; 16] = key.try_into().expect("16 bytes");
        key[0] = b'K';
        assert!(keyspace.get(DB, &key, now).is_none());
    });
    let value = [b'y'; 64];
    bench.each("set, overwrite of the same size", |key| {
        keyspace.set(DB, key, &value, Expiry::Clear);
    });

    let mut keyspace = snapshot(keyspace, keys);

    let mut visited = 0;
    let start = CpuTime::now();
    let mut cursor = 0;
    loop {
        cursor = keyspace.scan(DB, cursor, 10, now, &mut |_| visited += 1);
        if cursor == 0 {
            break;
        }
    }
    let each = start.each(keys);
    assert_eq!(visited, keys);
    println!("{:<34} {each:>8.0} ns per key", "scan, 10 a call");
    let start = Instant::now();
    for random in 0..100_000 {
        black_box(keyspace.random(DB, random, now));
    }
    println!(
        "{:<34} {:>8.0} ns",
        "random",
        start.elapsed().as_nanos() as f64 / 100_000.0
    );

    let value = [b'z'; 100];
    bench.each("set, overwrite of another size", |key| {
        keyspace.set(DB, key, &value, Expiry::Clear);
    });
    let mut expires_at = 1_000_000;
    bench.each("set with an expiry", |key| {
        expires_at += 1;
        keyspace.set(
            DB,
            key,
            &value,
            Expiry::At(Timestamp::from_millis(expires_at)),
        );
    });
    bench.each("set with another expiry", |key| {
        expires_at += 1;
        keyspace.set(
            DB,
            key,
            &value,
            Expiry::At(Timestamp::from_millis(expires_at)),
        );
    });
    keyspace.set_stamp(Timestamp::from_millis(expires_at));
    let start = CpuTime::now();
    assert_eq!(keyspace.sweep(usize::MAX), keys as usize);
    println!("{:<34} {:>8.0} ns", "sweep", start.each(keys));

    let mut hot = Keyspace::new(7);
    let (start, mut slowest) = (CpuTime::now(), Duration::ZERO);
    let mut last = Instant::now();
    for number in 0..keys {
        hot.set(
            DB,
            format!("{{t}}{number:013}").as_bytes(),
            &value,
            Expiry::Clear,
        );
        let now = Instant::now();
        slowest = slowest.max(now - last);
        last = now;
    }
    let each = start.each(keys);
    println!(
        "{:<34} {each:>8.0} ns   slowest: {slowest:.1?}",
        "set, new, all in one slot"
    );
    bench.each("remove of absent keys", |key| {
        assert!(!hot.remove(DB, key));
    });
    let start = Instant::now();
    let discarded = hot.flush_all();
    let flush = start.elapsed();
    drop(discarded);
    println!(
        "{:<34} {flush:>11.1?} and {:.1?} for the drop",
        "flush",
        start.elapsed()
    );
}

/// Takes a snapshot in steps of 1 MiB and gives the keyspace that it loads.
fn snapshot(mut keyspace: Keyspace, keys: u64) -> Keyspace {
    let mut chunks = Vec::new();
    let mut slowest = Duration::ZERO;
    let start = CpuTime::now();
    keyspace.begin_snapshot();
    loop {
        let step = Instant::now();
        let mut out = Vec::with_capacity(1100 << 10);
        let complete = keyspace.snapshot_step(1 << 20, &mut out);
        slowest = slowest.max(step.elapsed());
        chunks.push(out);
        if complete {
            break;
        }
    }
    let each = start.each(keys);
    println!(
        "{:<34} {each:>8.0} ns per key, slowest step {slowest:.1?}",
        "snapshot, 1 MiB a step"
    );
    drop(keyspace);
    let (start, cpu) = (Instant::now(), CpuTime::now());
    let mut loader = SnapshotLoader::new();
    for chunk in &chunks {
        loader.feed(chunk).expect("the snapshot is whole");
    }
    let loaded = loader.finish().expect("the snapshot is whole");
    let elapsed = start.elapsed();
    let each = cpu.each(keys);
    println!(
        "{:<34} {each:>8.0} ns per key, {elapsed:.2?} in all",
        "load"
    );
    loaded
}
