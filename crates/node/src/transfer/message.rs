//! What the two sides say to each other.

use base::{ReplicaId, ShardId};
use thiserror::Error;
use wal::SnapshotId;

/// "Give me so many bytes of that snapshot from there on."
///
/// Layout, little-endian: shard u32, replica u64, term u64, index u64, offset u64, bytes u32. Later versions
/// may append.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fetch {
    /// Which snapshot; the replica is the one whose it is, that of the node asked.
    pub id: SnapshotId,
    /// From where on.
    pub offset: u64,
    /// How many, fewer at the end.
    pub bytes: u32,
}

/// The answer to a [`Fetch`].
///
/// Layout, little-endian: shard u32, replica u64, term u64, index u64, offset u64, content u8 (1 piece, 2 gone,
/// 3 busy), and for a piece: length u64, checksum u32, CRC-32C of the bytes u32, their number u32, the bytes.
/// Later versions may append.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chunk<'a> {
    /// As asked.
    pub id: SnapshotId,
    /// As asked.
    pub offset: u64,
    /// What there is.
    pub content: Content<'a>,
}

/// What a [`Chunk`] says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content<'a> {
    /// A part of the snapshot.
    Piece {
        /// The length of the whole.
        length: u64,
        /// The checksum of the whole, see [`wal::SnapshotReader::checksum`].
        checksum: u32,
        /// The bytes at the offset: as many as were asked for, or as there are.
        bytes: &'a [u8],
    },
    /// There is no such snapshot here, or not any more.
    Gone,
    /// Enough others are being served; ask again later.
    Busy,
}

/// A body that cannot be understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum MessageError {
    /// It ends too early.
    #[error("a message about a snapshot is cut off")]
    Truncated,
    /// A later version wrote it.
    #[error("a message about a snapshot has content of the unknown kind {0}")]
    Content(u8),
    /// The bytes are not those that were sent.
    #[error("a piece of a snapshot is damaged: its checksum is wrong")]
    Checksum,
}

const PIECE: u8 = 1;
const GONE: u8 = 2;
const BUSY: u8 = 3;

impl Fetch {
    /// Appends the encoded form.
    pub fn encode(&self, out: &mut Vec<u8>) {
        encode_place(self.id, self.offset, out);
        out.extend_from_slice(&self.bytes.to_le_bytes());
    }

    /// Reads it.
    ///
    /// # Errors
    /// [`MessageError::Truncated`].
    pub fn decode(mut body: &[u8]) -> Result<Fetch, MessageError> {
        let (id, offset) = decode_place(&mut body)?;
        Ok(Fetch {
            id,
            offset,
            bytes: u32::from_le_bytes(take(&mut body)?),
        })
    }
}

impl<'a> Chunk<'a> {
    /// Appends the encoded form.
    pub fn encode(&self, out: &mut Vec<u8>) {
        encode_place(self.id, self.offset, out);
        match self.content {
            Content::Piece {
                length,
                checksum,
                bytes,
            } => {
                out.push(PIECE);
                out.extend_from_slice(&length.to_le_bytes());
                out.extend_from_slice(&checksum.to_le_bytes());
                out.extend_from_slice(&crc32c::crc32c(bytes).to_le_bytes());
                out.extend_from_slice(&(bytes.len() as u32).to_le_bytes());
                out.extend_from_slice(bytes);
            }
            Content::Gone => out.push(GONE),
            Content::Busy => out.push(BUSY),
        }
    }

    /// Reads it.
    ///
    /// # Errors
    /// [`MessageError`].
    pub fn decode(mut body: &'a [u8]) -> Result<Chunk<'a>, MessageError> {
        let (id, offset) = decode_place(&mut body)?;
        let [kind] = take(&mut body)?;
        let content = match kind {
            PIECE => {
                let length = u64::from_le_bytes(take(&mut body)?);
                let checksum = u32::from_le_bytes(take(&mut body)?);
                let crc = u32::from_le_bytes(take(&mut body)?);
                let count = u32::from_le_bytes(take(&mut body)?) as usize;
                let bytes = body.get(..count).ok_or(MessageError::Truncated)?;
                if crc != crc32c::crc32c(bytes) {
                    return Err(MessageError::Checksum);
                }
                Content::Piece {
                    length,
                    checksum,
                    bytes,
                }
            }
            GONE => Content::Gone,
            BUSY => Content::Busy,
            unknown => return Err(MessageError::Content(unknown)),
        };
        Ok(Chunk {
            id,
            offset,
            content,
        })
    }
}

fn encode_place(id: SnapshotId, offset: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(&id.shard.0.to_le_bytes());
    for number in [id.replica.0, id.term, id.index, offset] {
        out.extend_from_slice(&number.to_le_bytes());
    }
}

fn decode_place(body: &mut &[u8]) -> Result<(SnapshotId, u64), MessageError> {
    let id = SnapshotId {
        shard: ShardId(u32::from_le_bytes(take(body)?)),
        replica: ReplicaId(u64::from_le_bytes(take(body)?)),
        term: u64::from_le_bytes(take(body)?),
        index: u64::from_le_bytes(take(body)?),
    };
    Ok((id, u64::from_le_bytes(take(body)?)))
}

fn take<const N: usize>(body: &mut &[u8]) -> Result<[u8; N], MessageError> {
    let (front, rest) = body.split_first_chunk().ok_or(MessageError::Truncated)?;
    *body = rest;
    Ok(*front)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: SnapshotId = SnapshotId {
        shard: ShardId(3),
        replica: ReplicaId(1 << 40),
        term: 7,
        index: 900,
    };

    #[test]
    fn messages_read_back_and_no_cut_one_does() {
        let fetch = Fetch {
            id: ID,
            offset: 1 << 33,
            bytes: 65536,
        };
        let mut bytes = Vec::new();
        fetch.encode(&mut bytes);
        assert_eq!(Fetch::decode(&bytes), Ok(fetch));
        for end in 0..bytes.len() {
            let cut = Fetch::decode(&bytes[..end]);
            assert_eq!(cut, Err(MessageError::Truncated));
        }
        bytes.push(9);
        assert_eq!(Fetch::decode(&bytes), Ok(fetch), "later versions append");

        let piece = Content::Piece {
            length: 1 << 34,
            checksum: 5,
            bytes: b"some bytes",
        };
        for content in [piece, Content::Gone, Content::Busy] {
            let chunk = Chunk {
                id: ID,
                offset: 12,
                content,
            };
            let mut bytes = Vec::new();
            chunk.encode(&mut bytes);
            assert_eq!(Chunk::decode(&bytes), Ok(chunk));
            for end in 0..bytes.len() {
                Chunk::decode(&bytes[..end]).unwrap_err();
            }
            bytes.push(9);
            assert_eq!(Chunk::decode(&bytes), Ok(chunk), "later versions append");
        }
    }

    #[test]
    fn a_damaged_piece_is_refused() {
        let chunk = Chunk {
            id: ID,
            offset: 0,
            content: Content::Piece {
                length: 4,
                checksum: 1,
                bytes: b"abcd",
            },
        };
        let mut bytes = Vec::new();
        chunk.encode(&mut bytes);
        let last = bytes.len() - 1;
        bytes[last] ^= 1;
        assert_eq!(Chunk::decode(&bytes), Err(MessageError::Checksum));
        bytes[36] = 9;
        assert_eq!(Chunk::decode(&bytes), Err(MessageError::Content(9)));
    }
}
