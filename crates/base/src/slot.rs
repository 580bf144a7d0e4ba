//! Slots: the 16384 parts into which Redis Cluster cuts the space of keys.

use crate::ShardId;

/// One of [`Slot::COUNT`] parts of the key space; shards own ranges of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Slot(u16);

impl Slot {
    /// The number of slots.
    pub const COUNT: usize = 16384;

    /// The slot of that number.
    ///
    /// # Panics
    /// For 16384 and above.
    pub const fn new(number: u16) -> Slot {
        assert!((number as usize) < Slot::COUNT);
        Slot(number)
    }

    /// The number, 0 to 16383.
    pub const fn number(self) -> u16 {
        self.0
    }

    /// The number as an index.
    pub const fn index(self) -> usize {
        self.0 as usize
    }

    /// The slot of a key: CRC16 of the key, or of its hash tag where it has one (the bytes between
    /// the first `{` and the next `}`, if there are any), modulo the count.
    ///
    /// Source: Redis Cluster specification, "Key distribution model" and "Hash tags".
    pub fn of_key(key: &[u8]) -> Slot {
        Slot(crc16(hash_tag(key)) % Slot::COUNT as u16)
    }

    /// The shard that owns the slot, where there are so many: each owns a range, and no two ranges
    /// differ by more than one slot.
    pub const fn shard(self, shards: u32) -> ShardId {
        ShardId((self.0 as u64 * shards as u64 / Slot::COUNT as u64) as u32)
    }

    /// The first slot of a shard, where there are so many; `None` if the shard owns none.
    pub const fn first_of(shard: ShardId, shards: u32) -> Option<Slot> {
        if shard.0 >= shards || shards as usize > Slot::COUNT {
            return None;
        }
        let first = (shard.0 as u64 * Slot::COUNT as u64).div_ceil(shards as u64);
        Some(Slot(first as u16))
    }
}

fn hash_tag(key: &[u8]) -> &[u8] {
    let Some(open) = key.iter().position(|&byte| byte == b'{') else {
        return key;
    };
    let after = &key[open + 1..];
    match after.iter().position(|&byte| byte == b'}') {
        Some(0) | None => key,
        Some(close) => &after[..close],
    }
}

/// CRC-16/XMODEM: polynomial 0x1021, initial value 0, nothing reflected. Eight bytes at a time, since
/// every command on a key computes it.
fn crc16(bytes: &[u8]) -> u16 {
    let mut words = bytes.chunks_exact(8);
    let by_words = words.by_ref().fold(0, |crc: u16, word| {
        let [high, low] = crc.to_be_bytes();
        CRC16_TABLES[7][usize::from(word[0] ^ high)]
            ^ CRC16_TABLES[6][usize::from(word[1] ^ low)]
            ^ CRC16_TABLES[5][usize::from(word[2])]
            ^ CRC16_TABLES[4][usize::from(word[3])]
            ^ CRC16_TABLES[3][usize::from(word[4])]
            ^ CRC16_TABLES[2][usize::from(word[5])]
            ^ CRC16_TABLES[1][usize::from(word[6])]
            ^ CRC16_TABLES[0][usize::from(word[7])]
    });
    words.remainder().iter().fold(by_words, |crc, &byte| {
        (crc << 8) ^ CRC16_TABLES[0][usize::from((crc >> 8) as u8 ^ byte)]
    })
}

/// The table `n` gives the checksum of a byte with `n` zero bytes after it.
static CRC16_TABLES: [[u16; 256]; 8] = {
    let mut tables = [[0; 256]; 8];
    let mut byte = 0;
    while byte < 256 {
        let mut crc = (byte as u16) << 8;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 0x8000 == 0 {
                crc << 1
            } else {
                (crc << 1) ^ 0x1021
            };
            bit += 1;
        }
        tables[0][byte] = crc;
        byte += 1;
    }
    let mut zeros = 1;
    while zeros < 8 {
        byte = 0;
        while byte < 256 {
            let before = tables[zeros - 1][byte];
            tables[zeros][byte] = (before << 8) ^ tables[0][(before >> 8) as usize];
            byte += 1;
        }
        zeros += 1;
    }
    tables
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crc16_matches_the_check_value_of_the_specification() {
        assert_eq!(crc16(b"123456789"), 0x31c3);
    }

    #[test]
    fn crc16_of_words_is_that_of_their_bytes() {
        let bytewise = |bytes: &[u8]| {
            bytes.iter().fold(0u16, |crc, &byte| {
                (0..8).fold(crc ^ (u16::from(byte) << 8), |crc, _| {
                    if crc & 0x8000 == 0 {
                        crc << 1
                    } else {
                        (crc << 1) ^ 0x1021
                    }
                })
            })
        };
        let bytes: Vec<u8> = (0..=255)
            .cycle()
            .map(|byte: u8| byte.wrapping_mul(167))
            .take(40)
            .collect();
        for length in 0..bytes.len() {
            assert_eq!(crc16(&bytes[..length]), bytewise(&bytes[..length]));
        }
    }

    #[test]
    fn slots_are_those_of_redis_cluster() {
        assert_eq!(Slot::of_key(b"foo").number(), 12182);
        assert_eq!(Slot::of_key(b"somekey").number(), 11058);
        assert_eq!(Slot::of_key(b"").number(), 0);
    }

    #[test]
    fn shards_own_equal_ranges_of_all_slots() {
        for shards in [1, 2, 3, 5, 16, 1000, 1024, 16384] {
            let (mut next, mut least, mut most) = (0, usize::MAX, 0);
            for shard in 0..shards {
                let first = Slot::first_of(ShardId(shard), shards).unwrap();
                assert_eq!(first.index(), next);
                while next < Slot::COUNT && Slot::new(next as u16).shard(shards).0 == shard {
                    next += 1;
                }
                least = least.min(next - first.index());
                most = most.max(next - first.index());
            }
            assert_eq!(next, Slot::COUNT);
            assert!(most - least <= 1, "{shards} shards: {least} to {most}");
            assert_eq!(Slot::first_of(ShardId(shards), shards), None);
        }
    }

    #[test]
    fn a_hash_tag_alone_decides() {
        assert_eq!(
            Slot::of_key(b"{user1000}.following"),
            Slot::of_key(b"user1000")
        );
        assert_eq!(Slot::of_key(b"foo{bar}{zap}"), Slot::of_key(b"bar"));
        assert_eq!(Slot::of_key(b"foo{{bar}}zap"), Slot::of_key(b"{bar"));
        assert_ne!(Slot::of_key(b"foo{}{bar}"), Slot::of_key(b"bar"));
    }
}
