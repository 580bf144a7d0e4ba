//! Payloads that are too long for one frame: cut into parts by who sends, joined by who receives.
//!
//! Frames of other kinds may stand between two parts, so a long payload holds up no ping. Payloads never mix:
//! the parts of one come without another payload between them, so payloads keep their order.
//!
//! | frame | payload |
//! | --- | --- |
//! | [`Kind::FIRST_PART`](crate::frame::Kind::FIRST_PART) | length of the whole, 4 bytes, little-endian; then its first bytes, at least one |
//! | [`Kind::NEXT_PART`](crate::frame::Kind::NEXT_PART) | more bytes of it, at least one; the whole has come when its length is reached |
//!
//! A length that is announced allocates nothing; only bytes that came do.

use crate::frame::PAYLOAD_LIMIT;
use crate::hang_up::HangUp;
use crate::status::SEND_LIMIT;

/// A payload that is longer is cut into parts of this many bytes: little enough that a ping behind one is not
/// late on a slow link, and enough that headers and checksums cost nothing.
pub const PART_SIZE: usize = 128 * 1024;

/// The bytes before those of the payload in a first part.
pub const LENGTH_LEN: usize = 4;

const _: () = assert!(PART_SIZE + LENGTH_LEN <= PAYLOAD_LIMIT);
const _: () = assert!(SEND_LIMIT <= u32::MAX as usize);

/// Joins the parts that come on one connection.
#[derive(Debug, Default)]
pub(crate) struct Joiner {
    /// What came of the payload that is on its way.
    bytes: Vec<u8>,
    /// Its length; 0 when there is none.
    total: usize,
}

impl Joiner {
    /// That no payload is on its way, as it has to be when another begins.
    pub(crate) fn check_idle(&self) -> Result<(), HangUp> {
        match self.total {
            0 => Ok(()),
            _ => Err(HangUp::Protocol("a payload within another")),
        }
    }

    /// Takes in a first part.
    pub(crate) fn first(&mut self, part: &[u8]) -> Result<(), HangUp> {
        self.check_idle()?;
        let Some((length, bytes)) = part.split_first_chunk::<LENGTH_LEN>() else {
            return Err(HangUp::Protocol("a first part without a length"));
        };
        let total = u32::from_le_bytes(*length) as usize;
        if total > SEND_LIMIT {
            return Err(HangUp::Protocol("a payload that is too long"));
        }
        if total <= bytes.len() {
            return Err(HangUp::Protocol("a first part that is the whole"));
        }
        self.total = total;
        self.add(bytes)
    }

    /// Takes in another part, and gives the whole if that was the last.
    pub(crate) fn next(&mut self, part: &[u8]) -> Result<Option<Vec<u8>>, HangUp> {
        if part.len() > self.total - self.bytes.len() {
            return Err(HangUp::Protocol("a part that does not fit"));
        }
        self.add(part)?;
        if self.bytes.len() < self.total {
            return Ok(None);
        }
        self.total = 0;
        Ok(Some(std::mem::take(&mut self.bytes)))
    }

    fn add(&mut self, bytes: &[u8]) -> Result<(), HangUp> {
        if bytes.is_empty() {
            return Err(HangUp::Protocol("an empty part"));
        }
        let length = self.bytes.len() + bytes.len();
        if length > self.bytes.capacity() {
            // Doubles, and ends with exactly the room of the whole.
            let room = (2 * length).min(self.total);
            self.bytes.reserve_exact(room - self.bytes.len());
        }
        self.bytes.extend_from_slice(bytes);
        Ok(())
    }

    /// The room that was made, in bytes: at most twice what came.
    pub(crate) fn room(&self) -> usize {
        self.bytes.capacity()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn first(total: u32, bytes: &[u8]) -> Vec<u8> {
        [&total.to_le_bytes(), bytes].concat()
    }

    fn why<T: std::fmt::Debug>(result: Result<T, HangUp>) -> String {
        result.expect_err("against the protocol").to_string()
    }

    #[test]
    fn parts_are_joined_and_the_next_payload_begins_anew() {
        let mut joiner = Joiner::default();
        for _ in 0..2 {
            joiner.first(&first(5, b"ab")).expect("a first part");
            assert!(joiner.check_idle().is_err());
            assert_eq!(joiner.next(b"c"), Ok(None));
            assert_eq!(joiner.next(b"de"), Ok(Some(b"abcde".to_vec())));
            assert_eq!((joiner.check_idle(), joiner.room()), (Ok(()), 0));
        }
    }

    #[test]
    fn parts_that_no_node_sends_are_against_the_protocol() {
        let mut idle = Joiner::default();
        assert!(why(idle.next(b"a")).contains("does not fit"));
        assert!(why(idle.next(b"")).contains("empty"));
        assert!(why(idle.first(b"abc")).contains("without a length"));
        assert!(why(idle.first(&first(2, b"ab"))).contains("is the whole"));
        assert!(why(idle.first(&first(u32::MAX, b"ab"))).contains("too long"));
        let begun = || {
            let mut joiner = Joiner::default();
            joiner.first(&first(4, b"ab")).expect("a first part");
            joiner
        };
        assert!(why(begun().next(b"abc")).contains("does not fit"));
        assert!(why(begun().next(b"")).contains("empty"));
        assert!(why(begun().first(&first(4, b"ab"))).contains("within another"));
        assert!(why(Joiner::default().first(&first(4, b""))).contains("empty"));
    }

    #[test]
    fn what_is_announced_is_not_allocated() {
        let mut joiner = Joiner::default();
        let part = vec![7; 10_000];
        joiner
            .first(&first(SEND_LIMIT as u32, &part))
            .expect("a first part");
        let mut came = part.len();
        while came < 5_000_000 {
            assert!(joiner.room() <= 2 * came, "{} for {came}", joiner.room());
            assert_eq!(joiner.next(&part), Ok(None));
            came += part.len();
        }
    }
}
