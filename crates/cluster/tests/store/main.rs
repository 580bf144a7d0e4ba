//! A store with real threads on a real disk.

#![allow(clippy::unwrap_used, reason = "a test ends at what it did not expect")]

mod crash_images;
mod disk_full;
mod failures;
mod founding;
mod node;
mod replicas;
mod snapshots;
mod turns;
