//! Blocks: what one group commit writes.

use crate::wal::LogPosition;

/// The fixed part of a block; the records follow it.
///
/// # Layout
/// Numbers are little-endian.
///
/// | offset | bytes | field |
/// | --- | --- | --- |
/// | 0 | 4 | magic, `b"pBlk"` |
/// | 4 | 4 | CRC-32C of all that follows, to the end of the body, seeded with that of the segment's sequence number |
/// | 8 | 8 | position: that of the block's first byte in the log |
/// | 16 | 8 | previous: where the block before it ended; its own position unless it is the first of a segment |
/// | 24 | 8 | synced upto: all below it was durable when the block was written |
/// | 32 | 4 | length of the body |
/// | 36 | | the body: records, one after the other |
///
/// The seed keeps bytes that a recycled segment still holds from its former life, and blocks that
/// were written to the wrong file, from passing; the position does so within a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BlockHeader {
    pub(crate) position: LogPosition,
    pub(crate) previous: LogPosition,
    pub(crate) synced_upto: LogPosition,
    pub(crate) body_length: u32,
}

pub(crate) const HEADER_BYTES: usize = 36;
pub(crate) const MAGIC: [u8; 4] = *b"pBlk";

impl BlockHeader {
    /// Writes the header into the first [`HEADER_BYTES`] of `block`, whose rest is the body.
    pub(crate) fn seal(&self, sequence: u64, block: &mut [u8]) {
        assert_eq!(block.len(), HEADER_BYTES + self.body_length as usize);
        block[8..16].copy_from_slice(&self.position.0.to_le_bytes());
        block[16..24].copy_from_slice(&self.previous.0.to_le_bytes());
        block[24..32].copy_from_slice(&self.synced_upto.0.to_le_bytes());
        block[32..36].copy_from_slice(&self.body_length.to_le_bytes());
        let crc = checksum(sequence, &block[8..]);
        block[..4].copy_from_slice(&MAGIC);
        block[4..8].copy_from_slice(&crc.to_le_bytes());
    }

    /// Reads the fields, which only [`BlockHeader::vouches_for`] makes believable. `None` without the magic,
    /// or for a position other than the one they were read from.
    pub(crate) fn peek(bytes: &[u8], position: LogPosition) -> Option<BlockHeader> {
        let bytes = bytes.first_chunk::<HEADER_BYTES>()?;
        let header = BlockHeader {
            position: LogPosition(u64_at(bytes, 8)),
            previous: LogPosition(u64_at(bytes, 16)),
            synced_upto: LogPosition(u64_at(bytes, 24)),
            body_length: u32_at(bytes, 32),
        };
        (bytes[..4] == MAGIC && header.position == position).then_some(header)
    }

    /// Whether `block`, of which this header was read, is what was once sealed for that segment.
    pub(crate) fn vouches_for(&self, sequence: u64, block: &[u8]) -> bool {
        block.len() as u64 == self.block_length()
            && u32_at(block, 4) == checksum(sequence, &block[8..])
    }

    /// Header and body.
    pub(crate) fn block_length(&self) -> u64 {
        HEADER_BYTES as u64 + u64::from(self.body_length)
    }
}

fn checksum(sequence: u64, bytes: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&sequence.to_le_bytes()), bytes)
}

/// The number at `offset`, which must lie within `bytes`.
pub(crate) fn u32_at(bytes: &[u8], offset: usize) -> u32 {
    u32::from_le_bytes(
        *bytes[offset..]
            .first_chunk()
            .expect("the offset lies within the bytes"),
    )
}

/// The number at `offset`, which must lie within `bytes`.
pub(crate) fn u64_at(bytes: &[u8], offset: usize) -> u64 {
    u64::from_le_bytes(
        *bytes[offset..]
            .first_chunk()
            .expect("the offset lies within the bytes"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sealed() -> Vec<u8> {
        let header = BlockHeader {
            position: LogPosition(4096),
            previous: LogPosition(4000),
            synced_upto: LogPosition(3000),
            body_length: 5,
        };
        let mut block = vec![7; HEADER_BYTES + 5];
        header.seal(3, &mut block);
        assert_eq!(BlockHeader::peek(&block, LogPosition(4096)), Some(header));
        block
    }

    #[test]
    fn a_block_counts_in_its_segment_and_place_only() {
        let block = sealed();
        let header = BlockHeader::peek(&block, LogPosition(4096)).unwrap();
        assert!(header.vouches_for(3, &block));
        assert!(!header.vouches_for(4, &block));
        assert!(!header.vouches_for(3, &block[..block.len() - 1]));
        assert_eq!(BlockHeader::peek(&block, LogPosition(4097)), None);
        assert_eq!(
            BlockHeader::peek(&block[..HEADER_BYTES - 1], LogPosition(4096)),
            None
        );
    }

    #[test]
    fn no_flipped_bit_passes() {
        let intact = sealed();
        for bit in 0..intact.len() * 8 {
            let mut block = intact.clone();
            block[bit / 8] ^= 1 << (bit % 8);
            let header = BlockHeader::peek(&block, LogPosition(4096));
            assert!(
                header.is_none_or(|header| !header.vouches_for(3, &block)),
                "{bit}"
            );
        }
    }
}
