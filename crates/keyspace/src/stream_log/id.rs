//! The ids of a stream's entries.

use std::fmt;

use crate::order::Keyed;

/// The id of an entry: a moment in ms, and a number among the entries of that moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamId {
    /// Milliseconds since 1970, if the id was made from the time.
    pub ms: u64,
    /// The number.
    pub seq: u64,
}

impl StreamId {
    /// The least id, which no entry has.
    pub const MIN: StreamId = StreamId { ms: 0, seq: 0 };

    /// The greatest id.
    pub const MAX: StreamId = StreamId {
        ms: u64::MAX,
        seq: u64::MAX,
    };

    /// The id right after; none after the greatest.
    pub fn next(self) -> Option<StreamId> {
        let StreamId { ms, seq } = self;
        match seq.checked_add(1) {
            Some(seq) => Some(StreamId { ms, seq }),
            None => Some(StreamId {
                ms: ms.checked_add(1)?,
                seq: 0,
            }),
        }
    }

    /// The id right before; none before the least.
    pub fn previous(self) -> Option<StreamId> {
        let StreamId { ms, seq } = self;
        match seq.checked_sub(1) {
            Some(seq) => Some(StreamId { ms, seq }),
            None => Some(StreamId {
                ms: ms.checked_sub(1)?,
                seq: u64::MAX,
            }),
        }
    }
}

impl fmt::Display for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.ms, self.seq)
    }
}

impl Keyed for StreamId {
    type Key = StreamId;

    fn key(&self) -> &StreamId {
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_go_on_over_the_end_of_a_moment() {
        let id = |ms, seq| StreamId { ms, seq };
        assert_eq!(id(5, u64::MAX).next(), Some(id(6, 0)));
        assert_eq!(id(6, 0).previous(), Some(id(5, u64::MAX)));
        assert_eq!(id(5, 7).next(), Some(id(5, 8)));
        assert_eq!(id(5, 8).previous(), Some(id(5, 7)));
        assert_eq!(StreamId::MAX.next(), None);
        assert_eq!(StreamId::MIN.previous(), None);
        assert_eq!(id(5, 7).to_string(), "5-7");
    }
}
