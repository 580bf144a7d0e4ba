//! Whether what a read gives hangs on whose clock judges expiry.
//!
//! An entry's stamp says for good what has expired before it. A reader's clock may be ahead of the last
//! stamp, and the next stamp may be less than that: another node leads then, or the clock was set back. So a
//! key whose expiry lies between the two is neither there nor gone until an entry with a later stamp is
//! applied; what looks at it waits for one.

use base::{Db, Timestamp};
use keyspace::Keyspace;

use crate::Spec;

/// Whether a read at `now` would tell of a key what no stamp has said yet. `args[0]` is the name.
#[inline]
pub fn hangs_on_clock(
    spec: &Spec,
    args: &[&[u8]],
    keyspace: &Keyspace,
    db: Db,
    now: Timestamp,
) -> bool {
    !keyspace.is_settled(db, now) && looks_at_unsettled(spec, args, keyspace, db, now)
}

#[cold]
fn looks_at_unsettled(
    spec: &Spec,
    args: &[&[u8]],
    keyspace: &Keyspace,
    db: Db,
    now: Timestamp,
) -> bool {
    let mut keys = spec.key_positions(args).peekable();
    // What names no key may look at all of them.
    keys.peek().is_none() || keys.any(|key| !keyspace.is_key_settled(db, args[key], now))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{WriteContext, apply, by_name};

    fn run(keyspace: &mut Keyspace, call: &str) {
        let args: Vec<&[u8]> = call.split(' ').map(str::as_bytes).collect();
        let context = WriteContext {
            db: Db::default(),
            stamp: keyspace.stamp(),
            seed: 0,
        };
        let command = by_name(args[0]).expect("the command is known");
        apply(keyspace, command, &args, context);
    }

    fn hangs(keyspace: &Keyspace, call: &str, now: u64) -> bool {
        let args: Vec<&[u8]> = call.split(' ').map(str::as_bytes).collect();
        let command = by_name(args[0]).expect("the command is known");
        let now = Timestamp::from_millis(now);
        hangs_on_clock(&command.spec, &args, keyspace, Db::default(), now)
    }

    #[test]
    fn only_what_looks_at_a_key_that_expires_after_the_stamp_does() {
        let mut keyspace = Keyspace::new(1);
        keyspace.set_stamp(Timestamp::from_millis(1_000));
        run(&mut keyspace, "set a 1 pxat 2000");
        run(&mut keyspace, "set b 1");
        for call in ["get a", "mget b a", "dbsize", "scan 0", "object encoding a"] {
            assert!(!hangs(&keyspace, call, 1_999), "{call}");
            assert!(hangs(&keyspace, call, 2_000), "{call}");
        }
        assert!(!hangs(&keyspace, "mget b c", 5_000));
        keyspace.set_stamp(Timestamp::from_millis(2_000));
        assert!(!hangs(&keyspace, "get a", 5_000));
        assert!(!hangs(&keyspace, "scan 0", 2_000));
    }
}
