//! Slots: the 16384 parts into which Redis Cluster cuts the space of keys.

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
}

fn hash_tag(key: &[u8]) -> &[u8] {
    let Some(open) = key.iter().position(|&byte| byte == b'{') else { return key };
    let after = &key[open + 1..];
    match after.iter().position(|&byte| byte == b'}') {
        Some(0) | None => key,
        Some(close) => &after[..close],
    }
}

/// CRC-16/XMODEM: polynomial 0x1021, initial value 0, nothing reflected.
fn crc16(bytes: &[u8]) -> u16 {
    bytes
        .iter()
        .fold(0, |crc, &byte| (crc << 8) ^ CRC16_TABLE[usize::from((crc >> 8) as u8 ^ byte)])
}

const CRC16_TABLE: [u16; 256] = {
    let mut table = [0; 256];
    let mut index = 0;
    while index < 256 {
        let mut crc = (index as u16) << 8;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 0x8000 == 0 { crc << 1 } else { (crc << 1) ^ 0x1021 };
            bit += 1;
        }
        table[index] = crc;
        index += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crc16_matches_the_check_value_of_the_specification() {
        assert_eq!(crc16(b"123456789"), 0x31c3);
    }

    #[test]
    fn slots_are_those_of_redis_cluster() {
        assert_eq!(Slot::of_key(b"foo").number(), 12182);
        assert_eq!(Slot::of_key(b"somekey").number(), 11058);
        assert_eq!(Slot::of_key(b"").number(), 0);
    }

    #[test]
    fn a_hash_tag_alone_decides() {
        assert_eq!(Slot::of_key(b"{user1000}.following"), Slot::of_key(b"user1000"));
        assert_eq!(Slot::of_key(b"foo{bar}{zap}"), Slot::of_key(b"bar"));
        assert_eq!(Slot::of_key(b"foo{{bar}}zap"), Slot::of_key(b"{bar"));
        assert_ne!(Slot::of_key(b"foo{}{bar}"), Slot::of_key(b"bar"));
    }
}
