//! How many cores serve clients, and which one serves which.
//!
//! A core that serves all connections finds more of them ready at each wake-up than two that share
//! them, so it sleeps and wakes less and spends less on each command. A second core pays off only
//! once the first is busy and there is processor time to be had. So connections start out on one
//! core, spread when it is short of time, and gather again when there is little to do.

use std::fs;
use std::sync::atomic::{AtomicI32, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// How often the load is looked at.
pub(crate) const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Which core serves which connection, right now.
#[derive(Debug)]
pub(crate) struct Placement {
    /// The first so many cores serve clients.
    active: AtomicUsize,
    /// The thread of each core, once it runs.
    threads: Vec<AtomicI32>,
}

impl Placement {
    pub(crate) fn new(cores: usize) -> Placement {
        let threads = (0..cores).map(|_| AtomicI32::new(0)).collect();
        Placement {
            active: AtomicUsize::new(1),
            threads,
        }
    }

    /// The core for the connection of that number.
    pub(crate) fn core_of(&self, number: usize) -> usize {
        number % self.active.load(Ordering::Relaxed)
    }

    /// The calling thread is that core's.
    pub(crate) fn note_thread(&self, core: usize) {
        let thread = rustix::thread::gettid().as_raw_nonzero().get();
        self.threads[core].store(thread, Ordering::Relaxed);
    }

    /// Follows the load, for ever, and tells `changed` how many cores serve. Where the system does not tell
    /// it, all do.
    pub(crate) async fn follow_load(&self, changed: impl Fn(usize)) {
        let cores = self.threads.len();
        let mut policy = Policy {
            cores,
            active: 1,
            short: 0,
            quiet: 0,
        };
        let mut meter = Meter::default();
        while policy.cores > 1 {
            tokio::time::sleep(LOOK_EVERY).await;
            let Some(load) = meter.read(&self.threads) else {
                self.active.store(cores, Ordering::Relaxed);
                changed(cores);
                return;
            };
            let active = policy.next(load);
            if self.active.swap(active, Ordering::Relaxed) != active {
                changed(active);
            }
        }
    }
}

/// Processor time over an interval, in processors.
#[derive(Clone, Copy, Debug)]
struct Load {
    /// What the cores took, together.
    taken: f64,
    /// What nobody took.
    spare: f64,
}

/// Decides how many cores serve clients. It doubles or halves, so that half of the connections stay.
#[derive(Debug)]
struct Policy {
    cores: usize,
    active: usize,
    /// For how many looks in a row the cores were short of time.
    short: u32,
    /// For how many looks in a row half of the cores would have been enough.
    quiet: u32,
}

/// A core that is this busy is short of time.
const BUSY: f64 = 0.8;
/// With less spare time than this, another thread would only get in the way of whoever has it.
const SPARE: f64 = 0.3;
/// So many looks in a row must say so; the system counts idle time coarsely.
const SHORT_LOOKS: u32 = 3;
/// Half of the cores are enough when they would be no busier than this.
const EASY: f64 = 0.5;
/// When nobody has time to spare, and yet the cores get less than this of theirs, they are in the way of
/// whoever has the rest: most likely the clients that they wait for.
const NO_SPARE: f64 = 0.1;
const CROWDED: f64 = 0.62;
/// So many looks in a row must say so.
const QUIET_LOOKS: u32 = 10;

impl Policy {
    fn next(&mut self, load: Load) -> usize {
        let active = self.active as f64;
        if load.taken > BUSY * active && load.spare > SPARE {
            self.short += 1;
        } else {
            self.short = 0;
        }
        if self.short >= SHORT_LOOKS {
            self.active = (self.active * 2).min(self.cores);
            self.short = 0;
        }
        let half = self.active.div_ceil(2);
        let easy = load.taken < EASY * half as f64;
        let crowded = load.spare < NO_SPARE && load.taken < CROWDED * active;
        if self.active > 1 && (easy || crowded) {
            self.quiet += 1;
        } else {
            self.quiet = 0;
        }
        if self.quiet >= QUIET_LOOKS {
            self.active = half;
            self.quiet = 0;
        }
        self.active
    }
}

/// Reads the load from the system.
#[derive(Debug, Default)]
struct Meter {
    last: Option<Reading>,
}

#[derive(Clone, Copy, Debug)]
struct Reading {
    at: Instant,
    taken: Duration,
    idle_ticks: u64,
    all_ticks: u64,
}

impl Meter {
    /// The load since the last time; none is reported the first time.
    fn read(&mut self, threads: &[AtomicI32]) -> Option<Load> {
        let mut taken = Duration::ZERO;
        for thread in threads {
            let thread = thread.load(Ordering::Relaxed);
            if thread != 0 {
                taken += thread_time(
                    &fs::read_to_string(format!("/proc/self/task/{thread}/schedstat")).ok()?,
                )?;
            }
        }
        let (idle_ticks, all_ticks, processors) =
            machine_ticks(&fs::read_to_string("/proc/stat").ok()?)?;
        let now = Reading {
            at: Instant::now(),
            taken,
            idle_ticks,
            all_ticks,
        };
        let last = self.last.replace(now).unwrap_or(now);
        let wall = now.at.duration_since(last.at).as_secs_f64();
        if wall == 0.0 {
            return Some(Load {
                taken: 0.0,
                spare: 0.0,
            });
        }
        let ticks = now.all_ticks.saturating_sub(last.all_ticks).max(1) as f64;
        let idle = now.idle_ticks.saturating_sub(last.idle_ticks) as f64;
        Some(Load {
            taken: now.taken.saturating_sub(last.taken).as_secs_f64() / wall,
            spare: idle / ticks * processors as f64,
        })
    }
}

/// The time that a thread ran: the first number of its `schedstat`, in nanoseconds.
fn thread_time(schedstat: &str) -> Option<Duration> {
    Some(Duration::from_nanos(
        schedstat.split(' ').next()?.parse().ok()?,
    ))
}

/// Idle ticks, all ticks and the number of processors, from `/proc/stat`.
fn machine_ticks(stat: &str) -> Option<(u64, u64, usize)> {
    let mut lines = stat.lines();
    let ticks: Vec<u64> = lines
        .next()?
        .strip_prefix("cpu ")?
        .split_whitespace()
        .map_while(|number| number.parse().ok())
        .collect();
    // user nice system idle iowait irq softirq steal; what follows is contained in these.
    let ticks = ticks.get(..8)?;
    let processors = lines.take_while(|line| line.starts_with("cpu")).count();
    Some((ticks[3] + ticks[4], ticks.iter().sum(), processors))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(active: usize) -> Policy {
        Policy {
            cores: 8,
            active,
            short: SHORT_LOOKS - 1,
            quiet: 0,
        }
    }

    #[test]
    fn a_busy_core_gets_help_if_there_is_time_to_be_had() {
        assert_eq!(
            policy(1).next(Load {
                taken: 0.95,
                spare: 5.0
            }),
            2
        );
        assert_eq!(
            policy(2).next(Load {
                taken: 1.9,
                spare: 5.0
            }),
            4
        );
        assert_eq!(
            policy(1).next(Load {
                taken: 0.95,
                spare: 0.1
            }),
            1
        );
        assert_eq!(
            policy(1).next(Load {
                taken: 0.7,
                spare: 5.0
            }),
            1
        );
        assert_eq!(
            policy(8).next(Load {
                taken: 8.0,
                spare: 5.0
            }),
            8
        );
    }

    #[test]
    fn one_look_is_no_reason_to_spread() {
        let mut policy = Policy {
            short: 0,
            ..policy(1)
        };
        let short = Load {
            taken: 0.95,
            spare: 5.0,
        };
        assert_eq!(policy.next(short), 1);
        assert_eq!(
            policy.next(Load {
                taken: 0.95,
                spare: 0.1
            }),
            1
        );
        assert_eq!(policy.next(short), 1);
        assert_eq!(policy.next(short), 1);
        assert_eq!(policy.next(short), 2);
    }

    #[test]
    fn cores_with_little_to_do_gather_after_a_while() {
        let mut policy = policy(4);
        let easy = Load {
            taken: 0.9,
            spare: 3.0,
        };
        for _ in 1..QUIET_LOOKS {
            assert_eq!(policy.next(easy), 4);
        }
        assert_eq!(policy.next(easy), 2);
        assert_eq!(
            policy.next(Load {
                taken: 1.5,
                spare: 3.0
            }),
            2
        );
    }

    #[test]
    fn cores_that_are_in_the_way_of_their_clients_gather() {
        let mut policy = Policy {
            cores: 2,
            ..policy(2)
        };
        for _ in 1..QUIET_LOOKS {
            assert_eq!(
                policy.next(Load {
                    taken: 1.15,
                    spare: 0.02
                }),
                2
            );
        }
        assert_eq!(
            policy.next(Load {
                taken: 1.15,
                spare: 0.02
            }),
            1
        );
        for _ in 0..2 * QUIET_LOOKS {
            assert_eq!(
                policy.next(Load {
                    taken: 0.97,
                    spare: 0.2
                }),
                1
            );
        }
    }

    #[test]
    fn a_pause_in_between_starts_the_count_anew() {
        let mut policy = policy(2);
        for _ in 0..3 * QUIET_LOOKS {
            policy.next(Load {
                taken: 0.1,
                spare: 1.9,
            });
            policy.next(Load {
                taken: 1.2,
                spare: 0.8,
            });
        }
        assert_eq!(policy.active, 2);
    }

    #[test]
    fn connections_spread_evenly_and_half_of_them_stay() {
        let placement = Placement::new(4);
        assert!((0..8).all(|number| placement.core_of(number) == 0));
        placement.active.store(2, Ordering::Relaxed);
        let two: Vec<usize> = (0..8).map(|number| placement.core_of(number)).collect();
        assert_eq!(two, [0, 1, 0, 1, 0, 1, 0, 1]);
        placement.active.store(4, Ordering::Relaxed);
        let stay = (0..8)
            .filter(|&number| placement.core_of(number) == two[number])
            .count();
        assert_eq!(stay, 4);
    }

    #[test]
    fn the_systems_figures_are_understood() {
        assert_eq!(
            thread_time("123456789 42 7\n"),
            Some(Duration::from_nanos(123_456_789))
        );
        let stat = "cpu  10 1 5 80 4 0 1 0 0 0\ncpu0 5 0 2 40 2 0 0 0 0 0\ncpu1 5 1 3 40 2 0 1 0 0 0\nintr 9\n";
        assert_eq!(machine_ticks(stat), Some((84, 101, 2)));
        assert_eq!(machine_ticks("nothing of the kind"), None);
    }

    #[test]
    fn this_systems_load_can_be_read() {
        let placement = Placement::new(1);
        placement.note_thread(0);
        let mut meter = Meter::default();
        if !std::path::Path::new("/proc/self/schedstat").exists() {
            println!("SKIPPED this_systems_load_can_be_read: there is no /proc/self/schedstat");
            return;
        }
        assert!(meter.read(&placement.threads).is_some());
        assert!(
            meter
                .read(&placement.threads)
                .is_some_and(|load| load.taken >= 0.0)
        );
    }
}
