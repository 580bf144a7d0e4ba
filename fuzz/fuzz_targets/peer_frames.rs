//! Any bytes, and any messages with matching checksums, mean the same to a session at once and in pieces, are
//! answered with whole frames, and never earn more memory than they are long.

#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../crates/peer/tests/feed/mod.rs"]
mod feed;

fuzz_target!(|bytes: &[u8]| {
    feed::check(bytes);
});
