//! For tests, the simulator and the fuzzer: a disk in memory that loses power and fails on command.
//! Never part of what ships.

mod fuzz;
mod mem_disk;

pub use fuzz::check_log_decoder;
pub use mem_disk::{Fault, MemDisk, MemFile, Operation};
