//! The log on disk: any bytes are records that encode to themselves or are refused, and a log that
//! was damaged as the bytes say is recovered as a prefix of what was written, or refused.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| wal::testing::check_log_decoder(bytes));
