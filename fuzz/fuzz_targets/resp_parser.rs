//! Requests of any bytes mean the same at once and byte by byte, under limits of several sizes, and replies of
//! any bytes are skipped to where they decode to.

#![no_main]

use libfuzzer_sys::fuzz_target;
use resp::Value;
use resp::client::skip_reply;

#[path = "../../crates/resp/tests/feed/mod.rs"]
mod feed;

fuzz_target!(|bytes: &[u8]| {
    for limits in feed::limits() {
        feed::check(bytes, &limits);
    }
    let skipped = skip_reply(bytes);
    if let Ok(Some((_, length))) = Value::decode(bytes) {
        assert_eq!(skipped.map(|skipped| skipped.map(|skipped| skipped.length)), Ok(Some(length)));
    }
});
