//! The bytes of a snapshot.
//!
//! A snapshot is a [`StreamHeader`], slices, and an end; each slice is a [`SliceHeader`], a body of
//! entries and a CRC. All numbers are little-endian. Each CRC (CRC32C) is that of all bytes from the start
//! of the snapshot up to itself, earlier CRCs left out, so that nothing can be left out, repeated or
//! moved unseen.
//!
//! Slices of kind [`WALK`] come in ascending order of (slot, database), their entries in that of (hash,
//! key); a slot's slice ends after the entry that fills [`SLICE_BYTES`], and another one continues it. If
//! nothing is written meanwhile, a snapshot holds only these and its bytes are a function of the state.
//! Slices of kind [`KEPT`] hold, in no order, entries that were changed or removed before the
//! walk came to them, as they were when the snapshot began. Slices of kind [`PIECE`], one right after another, hold
//! one entry whose value is made of parts; those that the walk meets stand where it meets them. No key
//! stands in a snapshot twice.
//!
//! The first slice is of kind [`VERSIONS`] and has what [`crate::versions`] keeps.
//!
//! Slices of other kinds from [`OPTIONAL`] on are of later minor versions and are passed over; so is none
//! below, which takes another major version.
//!
//! An entry is:
//!
//! | bytes | what |
//! | --- | --- |
//! | 1 | bits 0 to 3 the encoding, bits 4 to 6 the kind, by their numbers; bit 7 whether it expires |
//! | 8 | `expires_at` in ms, if it expires |
//! | 4 | the version |
//! | 1 to 5 | the key's length, LEB128, the shortest form |
//! | 1 to 5 | the value's length, likewise |
//! | | the key, the value: the bytes of a string, or a packed collection as it stands in memory |
//!
//! The first piece starts with the same without the value and its length. Elements follow, as the object
//! writes them, and a piece ends after the element that brings it to [`SLICE_BYTES`]. A count of 1 tells the last
//! piece, the others have 0.

use base::Timestamp;

use crate::entry::Entry;
use crate::value::{Encoding, Kind};

/// A walk slice ends with the entry that brings its body to this.
pub(crate) const SLICE_BYTES: usize = 32 << 10;

pub(crate) const WALK: u8 = 1;
pub(crate) const KEPT: u8 = 2;
pub(crate) const END: u8 = 3;
pub(crate) const PIECE: u8 = 4;
pub(crate) const VERSIONS: u8 = 5;
/// The least kind of a slice that may be passed over by whoever does not know it.
pub(crate) const OPTIONAL: u8 = 64;

pub(crate) const MAGIC: [u8; 8] = *b"PICCOLOK";
pub(crate) const VERSION: (u16, u16) = (1, 0);
pub(crate) const CRC_BYTES: usize = 4;

/// The least that an entry takes.
pub(crate) const MIN_ENTRY_BYTES: usize = 7;

/// The start of a snapshot.
///
/// | offset | bytes | what |
/// | --- | --- | --- |
/// | 0 | 8 | `PICCOLOK` |
/// | 8 | 2 | version, major: 1 |
/// | 10 | 2 | version, minor: 0 |
/// | 12 | 8 | the seed of the hash |
/// | 20 | 8 | the stamp, in ms |
/// | 28 | 4 | CRC |
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct StreamHeader {
    pub(crate) version: (u16, u16),
    pub(crate) hash_seed: u64,
    pub(crate) stamp: Timestamp,
}

impl StreamHeader {
    /// Without the CRC.
    pub(crate) const BYTES: usize = 28;

    pub(crate) fn encode(&self) -> [u8; StreamHeader::BYTES] {
        let mut bytes = [0; StreamHeader::BYTES];
        bytes[..8].copy_from_slice(&MAGIC);
        bytes[8..10].copy_from_slice(&self.version.0.to_le_bytes());
        bytes[10..12].copy_from_slice(&self.version.1.to_le_bytes());
        bytes[12..20].copy_from_slice(&self.hash_seed.to_le_bytes());
        bytes[20..].copy_from_slice(&self.stamp.millis().to_le_bytes());
        bytes
    }

    pub(crate) fn decode(bytes: &[u8; StreamHeader::BYTES]) -> StreamHeader {
        StreamHeader {
            version: (
                u16::from_le_bytes(part(bytes, 8)),
                u16::from_le_bytes(part(bytes, 10)),
            ),
            hash_seed: u64::from_le_bytes(part(bytes, 12)),
            stamp: Timestamp::from_millis(u64::from_le_bytes(part(bytes, 20))),
        }
    }
}

/// The start of a slice, or the end of the snapshot.
///
/// | offset | bytes | what | at the end |
/// | --- | --- | --- | --- |
/// | 0 | 1 | [`VERSIONS`], [`WALK`], [`KEPT`] or [`PIECE`] | [`END`] |
/// | 1 | 1 | the database | 0 |
/// | 2 | 2 | the slot; 0 for kept ones and pieces | 0 |
/// | 4 | 4 | how many entries | how many in all, |
/// | 8 | 4 | how many bytes they take | in 8 bytes |
/// | 12 | 4 | CRC | CRC |
///
/// The body and another CRC follow a slice's header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SliceHeader {
    pub(crate) kind: u8,
    pub(crate) db: u8,
    pub(crate) slot: u16,
    pub(crate) count: u32,
    pub(crate) body_bytes: u32,
}

impl SliceHeader {
    /// Without the CRC.
    pub(crate) const BYTES: usize = 12;

    pub(crate) fn end(entries: u64) -> SliceHeader {
        let (count, body_bytes) = (entries as u32, (entries >> 32) as u32);
        SliceHeader {
            kind: END,
            db: 0,
            slot: 0,
            count,
            body_bytes,
        }
    }

    /// The number of entries that an end tells.
    pub(crate) fn entries(&self) -> u64 {
        u64::from(self.body_bytes) << 32 | u64::from(self.count)
    }

    pub(crate) fn encode(&self) -> [u8; SliceHeader::BYTES] {
        let mut bytes = [0; SliceHeader::BYTES];
        bytes[0] = self.kind;
        bytes[1] = self.db;
        bytes[2..4].copy_from_slice(&self.slot.to_le_bytes());
        bytes[4..8].copy_from_slice(&self.count.to_le_bytes());
        bytes[8..].copy_from_slice(&self.body_bytes.to_le_bytes());
        bytes
    }

    pub(crate) fn decode(bytes: &[u8; SliceHeader::BYTES]) -> SliceHeader {
        SliceHeader {
            kind: bytes[0],
            db: bytes[1],
            slot: u16::from_le_bytes(part(bytes, 2)),
            count: u32::from_le_bytes(part(bytes, 4)),
            body_bytes: u32::from_le_bytes(part(bytes, 8)),
        }
    }
}

fn part<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    bytes[at..at + N]
        .try_into()
        .expect("the range has that length")
}

const EXPIRES: u8 = 0x80;

/// Appends an entry as it stands in a slice's body.
///
/// # Panics
/// If its value is made of parts.
pub(crate) fn encode_entry(entry: Entry<'_>, out: &mut Vec<u8>) {
    let run = entry.run().expect("what has parts is written in pieces");
    out.reserve(23 + entry.key().len() + run.len());
    encode_form(entry, out);
    encode_length(entry.key().len(), out);
    encode_length(run.len(), out);
    out.extend_from_slice(entry.key());
    out.extend_from_slice(run);
}

/// Appends what the first piece of an entry starts with.
pub(crate) fn encode_head(entry: Entry<'_>, out: &mut Vec<u8>) {
    encode_form(entry, out);
    encode_length(entry.key().len(), out);
    out.extend_from_slice(entry.key());
}

fn encode_form(entry: Entry<'_>, out: &mut Vec<u8>) {
    let expires_at = entry.expires_at();
    let form = entry.encoding() as u8 | (entry.kind() as u8) << 4;
    out.push(form | if expires_at.is_some() { EXPIRES } else { 0 });
    if let Some(at) = expires_at {
        out.extend_from_slice(&at.millis().to_le_bytes());
    }
    out.extend_from_slice(&entry.version().to_le_bytes());
}

/// Appends a length: LEB128, the shortest form.
pub(crate) fn encode_length(len: usize, out: &mut Vec<u8>) {
    encode_number(len as u64, out);
}

/// Appends a number in the same form.
pub(crate) fn encode_number(number: u64, out: &mut Vec<u8>) {
    let mut rest = number;
    while rest >= 0x80 {
        out.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}

/// An entry as it stands in a slice's body, without its value.
pub(crate) struct StoredHead<'b> {
    pub(crate) kind: Kind,
    pub(crate) encoding: Encoding,
    pub(crate) expires_at: Option<Timestamp>,
    pub(crate) version: u32,
    pub(crate) key: &'b [u8],
}

/// Takes an entry and its value from the start of a body; what is wrong with it if it is none.
pub(crate) fn decode_entry<'b>(
    body: &mut &'b [u8],
) -> Result<(StoredHead<'b>, &'b [u8]), &'static str> {
    let (kind, encoding, expires_at, version) = decode_form(body)?;
    let (key_len, value_len) = (decode_length(body)?, decode_length(body)?);
    let key = take(body, key_len)?;
    let value = take(body, value_len)?;
    if !encoding.allows(kind, value) {
        return Err("a value does not fit its encoding");
    }
    let head = StoredHead {
        kind,
        encoding,
        expires_at,
        version,
        key,
    };
    Ok((head, value))
}

/// Takes what the first piece of an entry starts with; what is wrong with it if it is none.
pub(crate) fn decode_head<'b>(body: &mut &'b [u8]) -> Result<StoredHead<'b>, &'static str> {
    let (kind, encoding, expires_at, version) = decode_form(body)?;
    let key_len = decode_length(body)?;
    Ok(StoredHead {
        kind,
        encoding,
        expires_at,
        version,
        key: take(body, key_len)?,
    })
}

/// Kind, encoding, expiry and version.
type Form = (Kind, Encoding, Option<Timestamp>, u32);

fn decode_form(body: &mut &[u8]) -> Result<Form, &'static str> {
    let form = take(body, 1)?[0];
    let kind = Kind::of_number((form & !EXPIRES) >> 4);
    let encoding = Encoding::of_number(form & 0x0f);
    let (Some(kind), Some(encoding)) = (kind, encoding) else {
        return Err("an entry is of no known kind");
    };
    let expires_at = if form & EXPIRES != 0 {
        let millis = u64::from_le_bytes(part(take(body, 8)?, 0));
        Some(Timestamp::from_millis(millis))
    } else {
        None
    };
    let version = u32::from_le_bytes(part(take(body, 4)?, 0));
    Ok((kind, encoding, expires_at, version))
}

/// Takes that many bytes from the front.
pub(crate) fn take<'b>(body: &mut &'b [u8], len: usize) -> Result<&'b [u8], &'static str> {
    body.split_off(..len)
        .ok_or("an entry goes beyond its slice")
}

/// Takes a length from the front.
pub(crate) fn decode_length(body: &mut &[u8]) -> Result<usize, &'static str> {
    u32::try_from(decode_number(body)?)
        .map(|len| len as usize)
        .map_err(|_| "a length is 4 GiB or more")
}

/// Takes a number from the front.
pub(crate) fn decode_number(body: &mut &[u8]) -> Result<u64, &'static str> {
    let mut number = 0_u64;
    for shift in (0..u64::BITS).step_by(7) {
        let byte = take(body, 1)?[0];
        if shift == 63 && byte > 1 {
            break;
        }
        number |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            if byte == 0 && shift > 0 {
                return Err("a number is longer than it needs be");
            }
            return Ok(number);
        }
    }
    Err("a number has more than 64 bits")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_read_back() {
        let header = StreamHeader {
            version: (3, 4),
            hash_seed: u64::MAX - 5,
            stamp: Timestamp::from_millis(77),
        };
        assert_eq!(StreamHeader::decode(&header.encode()), header);
        let slice = SliceHeader {
            kind: KEPT,
            db: 15,
            slot: 16383,
            count: 1 << 20,
            body_bytes: u32::MAX,
        };
        assert_eq!(SliceHeader::decode(&slice.encode()), slice);
        let end = SliceHeader::end(0x1234_5678_9abc_def0);
        assert_eq!(
            SliceHeader::decode(&end.encode()).entries(),
            0x1234_5678_9abc_def0
        );
    }

    #[test]
    fn lengths_read_back_and_have_one_form() {
        for len in [
            0,
            1,
            127,
            128,
            300,
            16_383,
            16_384,
            1 << 29,
            u32::MAX as usize,
        ] {
            let mut bytes = Vec::new();
            encode_length(len, &mut bytes);
            let mut rest = bytes.as_slice();
            assert_eq!(decode_length(&mut rest), Ok(len));
            assert!(rest.is_empty());
        }
        assert!(decode_length(&mut [0x80, 0x00].as_slice()).is_err());
        assert!(decode_length(&mut [0xff, 0xff, 0xff, 0xff, 0x1f].as_slice()).is_err());
        assert!(decode_length(&mut [0xff; 9].as_slice()).is_err());
        assert!(decode_length(&mut [0x80].as_slice()).is_err());
        for number in [1 << 32, u64::MAX] {
            let mut bytes = Vec::new();
            encode_number(number, &mut bytes);
            assert_eq!(decode_number(&mut bytes.as_slice()), Ok(number));
            assert!(decode_length(&mut bytes.as_slice()).is_err());
            *bytes.last_mut().expect("there are bytes") |= 2;
            assert_eq!(
                decode_number(&mut bytes.as_slice()).is_ok(),
                number < u64::MAX
            );
        }
    }
}
