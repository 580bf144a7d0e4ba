//! A shard and a disk that remembers what it was given, driven without threads or files.

#![allow(clippy::unwrap_used, reason = "a test ends at what it did not expect")]

mod crashes;
mod driver;
mod model;
mod recovery;
mod turns;
