//! The sender and the receiver of snapshots against each other, over links and disks that fail.

#![allow(clippy::unwrap_used, reason = "a test ends at what it did not expect")]

mod crashes;
mod model;
mod rules;
mod sending;
mod slow_link;
mod world;
