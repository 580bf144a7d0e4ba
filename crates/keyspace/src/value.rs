//! The words of the interface: kinds, encodings and what a write does to an expiry.

use base::Timestamp;

use crate::intset::Intset;
use crate::packed::{Packed, number_of};
use crate::sorted_set::is_sorted_set;

/// What a key holds.
/// The number of each stands in entries and snapshots.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A string of bytes.
    String = 0,
    /// Elements in an order that the users gave them.
    List = 1,
    /// Different members without order.
    Set = 2,
    /// Different members, each with a score by which they are ordered.
    SortedSet = 3,
    /// Fields, each with a value.
    Hash = 4,
    /// Entries with ascending ids.
    Stream = 5,
}

impl Kind {
    /// All kinds, by their numbers.
    pub const ALL: [Kind; 6] = [
        Kind::String,
        Kind::List,
        Kind::Set,
        Kind::SortedSet,
        Kind::Hash,
        Kind::Stream,
    ];

    pub(crate) fn of_number(number: u8) -> Option<Kind> {
        Kind::ALL.get(usize::from(number)).copied()
    }
}

/// The key holds another kind of value than the operation is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the key holds another kind of value")]
pub struct WrongKind;

/// What a write does to the expiry of its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expiry {
    /// The key does not expire.
    Clear,
    /// The key expires when it would have; a new one does not.
    Keep,
    /// The key expires at that moment. At or before the stamp, it is gone at once.
    At(Timestamp),
}

/// How a value is kept, as `OBJECT ENCODING` of Redis 7.2 tells it. Part of the state. The number of
/// each stands in entries and snapshots.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Encoding {
    /// A string that is the canonical decimal form of an `i64`.
    Int = 0,
    /// Any other string of at most 44 bytes.
    Embstr = 1,
    /// A longer one, or one that APPEND or SETRANGE changed in place.
    Raw = 2,
    /// A collection in one run of bytes.
    Listpack = 3,
    /// A set of whole numbers, in one run of bytes.
    Intset = 4,
    /// A large hash or set.
    Hashtable = 5,
    /// A large list.
    Quicklist = 6,
    /// A large sorted set.
    Skiplist = 7,
    /// A stream.
    Stream = 8,
}

impl Encoding {
    const ALL: [Encoding; 9] = [
        Encoding::Int,
        Encoding::Embstr,
        Encoding::Raw,
        Encoding::Listpack,
        Encoding::Intset,
        Encoding::Hashtable,
        Encoding::Quicklist,
        Encoding::Skiplist,
        Encoding::Stream,
    ];

    pub(crate) fn of_number(number: u8) -> Option<Encoding> {
        Encoding::ALL.get(usize::from(number)).copied()
    }

    /// Its name in Redis.
    pub const fn name(self) -> &'static str {
        match self {
            Encoding::Int => "int",
            Encoding::Embstr => "embstr",
            Encoding::Raw => "raw",
            Encoding::Listpack => "listpack",
            Encoding::Intset => "intset",
            Encoding::Hashtable => "hashtable",
            Encoding::Quicklist => "quicklist",
            Encoding::Skiplist => "skiplist",
            Encoding::Stream => "stream",
        }
    }

    /// The longest string that Redis embeds in its object.
    pub(crate) const EMBSTR_BYTES: usize = 44;

    /// The encoding that a value is given when it is set as a whole.
    pub(crate) fn of(value: &[u8]) -> Encoding {
        if is_integer(value) {
            Encoding::Int
        } else if value.len() <= Encoding::EMBSTR_BYTES {
            Encoding::Embstr
        } else {
            Encoding::Raw
        }
    }

    /// Whether a value of that kind and encoding may be this run of bytes.
    pub(crate) fn allows(self, kind: Kind, run: &[u8]) -> bool {
        match (kind, self) {
            (Kind::String, Encoding::Int) => is_integer(run),
            (Kind::String, Encoding::Embstr) => run.len() <= Encoding::EMBSTR_BYTES,
            (Kind::String, Encoding::Raw) => true,
            (Kind::Set, Encoding::Intset) => Intset::checked(run).is_some_and(|set| set.len() > 0),
            (Kind::List | Kind::Set, Encoding::Listpack) => {
                Packed::checked(run).is_some_and(|packed| packed.len() > 0)
            }
            (Kind::SortedSet, Encoding::Listpack) => {
                Packed::checked(run).is_some_and(is_sorted_set)
            }
            (Kind::Hash, Encoding::Listpack) => Packed::checked(run)
                .is_some_and(|packed| packed.len() > 0 && packed.len().is_multiple_of(2)),
            _ => false,
        }
    }
}

/// Whether these bytes are what an `i64` prints as.
fn is_integer(value: &[u8]) -> bool {
    number_of(value).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_are_those_that_print_as_the_value() {
        for text in [
            "0",
            "1",
            "-1",
            "9223372036854775807",
            "-9223372036854775808",
            "100",
        ] {
            assert_eq!(Encoding::of(text.as_bytes()), Encoding::Int, "{text}");
        }
        let others = [
            "",
            "-",
            "-0",
            "+1",
            "01",
            " 1",
            "1 ",
            "1.0",
            "9223372036854775808",
            "--1",
            "1e3",
        ];
        for text in others {
            assert_eq!(Encoding::of(text.as_bytes()), Encoding::Embstr, "{text}");
        }
    }

    #[test]
    fn forty_four_bytes_are_embedded() {
        assert_eq!(Encoding::of(&[b'x'; 44]), Encoding::Embstr);
        assert_eq!(Encoding::of(&[b'x'; 45]), Encoding::Raw);
        assert_eq!(Encoding::of(&[b'1'; 45]), Encoding::Raw);
    }
}
