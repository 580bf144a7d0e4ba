//! Identities of nodes, clusters, shards and databases.

use std::fmt;
use std::num::ParseIntError;
use std::str::FromStr;

/// A node, for as long as its data folder lives. Drawn at random when the folder is made; never 0.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub u64);

/// A cluster. Drawn at random by its founder; never 0.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClusterId(pub u64);

/// How often a node has started with its present data folder; the first start is 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Incarnation(pub u64);

/// A shard: one Raft group and the slots it serves. Shard 0 is the meta shard as well.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ShardId(pub u32);

/// One copy of a shard. Never used twice within a shard, not even after its node was wiped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReplicaId(pub u64);

macro_rules! hex_id {
    ($name:ident) => {
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:016x}", self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self)
            }
        }

        /// Reads the 16 hexadecimal digits that `Display` writes.
        impl FromStr for $name {
            type Err = ParseIntError;

            fn from_str(text: &str) -> Result<Self, ParseIntError> {
                u64::from_str_radix(text, 16).map($name)
            }
        }
    };
}

hex_id!(NodeId);
hex_id!(ClusterId);

/// One of the [`Db::COUNT`] databases that `SELECT` chooses among.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Db(u8);

impl Db {
    /// The number of databases.
    pub const COUNT: usize = 16;

    /// The database of that number.
    ///
    /// # Errors
    /// [`DbOutOfRange`] for 16 and above.
    pub const fn new(number: u8) -> Result<Db, DbOutOfRange> {
        if (number as usize) < Db::COUNT {
            Ok(Db(number))
        } else {
            Err(DbOutOfRange)
        }
    }

    /// All databases, 0 first.
    pub fn all() -> impl Iterator<Item = Db> {
        (0..Db::COUNT as u8).map(Db)
    }

    /// The number, 0 to 15.
    pub const fn number(self) -> u8 {
        self.0
    }
}

/// A database number was 16 or above.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DbOutOfRange;

impl fmt::Display for DbOutOfRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a database number is below {}", Db::COUNT)
    }
}

impl std::error::Error for DbOutOfRange {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_read_back_what_they_show() {
        let id = NodeId(0x00ab_cdef_0123_4567);
        assert_eq!(id.to_string(), "00abcdef01234567");
        assert_eq!("00abcdef01234567".parse(), Ok(id));
        assert_eq!(format!("{id:?}"), "NodeId(00abcdef01234567)");
    }

    #[test]
    fn databases_end_at_fifteen() {
        assert_eq!(Db::new(15).map(Db::number), Ok(15));
        assert_eq!(Db::new(16), Err(DbOutOfRange));
        assert_eq!(Db::all().count(), Db::COUNT);
    }
}
