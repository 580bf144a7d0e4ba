//! A short, deterministic run of what the fuzz target `log_decoder` runs at length.

use wal::testing::check_log_decoder;

#[test]
fn damaged_logs_are_recovered_truly_or_refused() {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut random = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    for _ in 0..1500 {
        let length = random() % 40;
        let bytes: Vec<u8> = (0..length).map(|_| random() as u8).collect();
        check_log_decoder(&bytes);
    }
}

/// Inputs that reach the edges of the decoder: each kind of record whole, cut and overlong.
#[test]
fn records_at_the_edges_are_read_or_refused() {
    for kind in 0..=8 {
        for byte in [0x00, 0x01, 0x7f, 0x80, 0xff] {
            for length in 0..40 {
                let mut bytes = vec![kind];
                bytes.resize(1 + length, byte);
                check_log_decoder(&bytes);
            }
        }
    }
}
