//! Frames: how messages stand on a connection, and how they are told from garbage.
//!
//! A frame that is not exactly what a node of this protocol would write is an error, and an error is
//! the end of its connection: after one there is no place to go on reading from. A length that is
//! announced allocates nothing; only bytes that came do.

use std::ops::Range;

/// The most bytes that the payload of a frame may have. What is longer travels in [`parts`](crate::parts).
pub const PAYLOAD_LIMIT: usize = 1024 * 1024;

/// The most bytes that the payload of a frame may have before the greeting.
pub const UNGREETED_PAYLOAD_LIMIT: usize = 4 * 1024;

/// The bytes before the payload.
pub const HEADER_LEN: usize = 12;

/// The layout of frames that this crate writes and reads. Frames outlive protocol versions: a node that
/// refuses another's major version says so in a frame, so this changes only if that is given up.
const LAYOUT: u8 = 1;

/// What a frame carries. Kinds that a newer minor version adds are read as they are and then ignored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kind(pub u8);

impl Kind {
    /// A [`Greeting`](crate::greeting::Greeting); the first frame of each side, once.
    pub const GREETING: Kind = Kind(1);
    /// A [`Refused`](crate::message::Refused): the connection ends, and the other side is why.
    pub const REFUSED: Kind = Kind(2);
    /// A [`Ping`](crate::message::Ping).
    pub const PING: Kind = Kind(3);
    /// A [`Pong`](crate::message::Pong).
    pub const PONG: Kind = Kind(4);
    /// An [`Update`](crate::message::Update) of what the greeting said.
    pub const UPDATE: Kind = Kind(5);
    /// Opaque bytes of the user of this crate.
    pub const PAYLOAD: Kind = Kind(6);
    /// A [`Goodbye`](crate::message::Goodbye): the connection ends, and nobody is to blame.
    pub const GOODBYE: Kind = Kind(7);
    /// [`Introduction`](crate::message::Introduction)s: other peers that are alive.
    pub const INTRODUCTIONS: Kind = Kind(8);
    /// How a payload begins that comes in [`parts`](crate::parts).
    pub const FIRST_PART: Kind = Kind(9);
    /// How such a payload goes on.
    pub const NEXT_PART: Kind = Kind(10);
    /// As [`Kind::PAYLOAD`], but it may come between the parts of another, and has overtaken those that waited.
    pub const URGENT: Kind = Kind(11);
}

/// The header of a frame whose payload consists of those pieces, which follow it on the wire.
///
/// | offset | bytes | |
/// | --- | --- | --- |
/// | 0 | 4 | length of the payload, little-endian |
/// | 4 | 1 | kind |
/// | 5 | 1 | layout: 1 |
/// | 6 | 2 | reserved: 0 |
/// | 8 | 4 | CRC-32C of the 8 bytes above and the payload, little-endian |
/// | 12 | length | payload |
///
/// # Panics
/// When the payload is longer than [`PAYLOAD_LIMIT`].
pub fn header(kind: Kind, pieces: &[&[u8]]) -> [u8; HEADER_LEN] {
    let length: usize = pieces.iter().map(|piece| piece.len()).sum();
    assert!(length <= PAYLOAD_LIMIT, "a payload of {length} bytes");
    let mut header = [0; HEADER_LEN];
    header[..4].copy_from_slice(&(length as u32).to_le_bytes());
    header[4] = kind.0;
    header[5] = LAYOUT;
    let crc = checksum(&header, pieces);
    header[8..].copy_from_slice(&crc.to_le_bytes());
    header
}

/// Appends a whole frame.
///
/// # Panics
/// When the payload is longer than [`PAYLOAD_LIMIT`].
pub fn encode(out: &mut Vec<u8>, kind: Kind, payload: &[u8]) {
    out.extend_from_slice(&header(kind, &[payload]));
    out.extend_from_slice(payload);
}

fn checksum(header: &[u8], pieces: &[&[u8]]) -> u32 {
    let start = crc32c::crc32c(&header[..8]);
    pieces
        .iter()
        .fold(start, |crc, piece| crc32c::crc32c_append(crc, piece))
}

/// Why bytes are not a frame.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// A layout that this crate does not know: another program, most likely.
    #[error("what it sends is not Piccolo's protocol")]
    Layout,
    /// A reserved byte is not 0.
    #[error("a reserved byte of a frame is not 0")]
    Reserved,
    /// A payload that is longer than allowed.
    #[error("a frame announces {length} bytes, {limit} are allowed")]
    TooLong {
        /// What is announced.
        length: usize,
        /// What is allowed at this point of the connection.
        limit: usize,
    },
    /// The checksum is not that of the bytes.
    #[error("the checksum of a frame does not match")]
    Checksum,
}

/// A frame that was read; its payload lies in the [`Decoder`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// What it carries.
    pub kind: Kind,
    /// The bytes.
    pub payload: &'a [u8],
}

/// Takes bytes as they come and gives frames.
///
/// Its buffer holds what came and is not used yet. It is at most twice that and 64 KiB large, whatever
/// length a frame announces.
#[derive(Debug, Default)]
pub struct Decoder {
    buffer: Vec<u8>,
    /// Where the first frame that was not given yet starts.
    start: usize,
    /// Where the frame that was given last starts.
    given: usize,
}

/// How much room the buffer has for what comes next, once the first frame is through.
const READ_SIZE: usize = 64 * 1024;

/// A buffer that grew beyond this for a large frame is given back when it is empty.
const KEPT_CAPACITY: usize = 4 * READ_SIZE;

impl Decoder {
    /// An empty one.
    pub fn new() -> Decoder {
        Decoder::default()
    }

    /// Where bytes that come are to be appended, with room for some. Nothing else may be done to it.
    pub fn read_buffer(&mut self) -> &mut Vec<u8> {
        if self.start > 0 {
            self.buffer.drain(..self.start);
            self.start = 0;
            self.given = 0;
        }
        if self.buffer.is_empty() && self.buffer.capacity() > KEPT_CAPACITY {
            self.buffer = Vec::new();
        }
        if self.buffer.capacity() == 0 {
            self.buffer.reserve_exact(UNGREETED_PAYLOAD_LIMIT);
        } else if self.buffer.len() == self.buffer.capacity() {
            self.buffer
                .reserve_exact(self.buffer.len().clamp(READ_SIZE, PAYLOAD_LIMIT));
        }
        &mut self.buffer
    }

    /// Appends bytes that came.
    pub fn extend(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let buffer = self.read_buffer();
            let (fitting, rest) = bytes.split_at(bytes.len().min(buffer.capacity() - buffer.len()));
            buffer.extend_from_slice(fitting);
            bytes = rest;
        }
    }

    /// The next frame if all of it came. Its payload may have at most `limit` bytes.
    ///
    /// # Errors
    /// [`FrameError`] as soon as the bytes that came cannot become a frame; every later call says the
    /// same.
    pub fn next_frame(&mut self, limit: usize) -> Result<Option<Frame<'_>>, FrameError> {
        let Some(range) = self.payload_range(limit)? else {
            return Ok(None);
        };
        let header = &self.buffer[self.start..range.start];
        let payload = &self.buffer[range.clone()];
        let expected = u32::from_le_bytes([header[8], header[9], header[10], header[11]]);
        if checksum(header, &[payload]) != expected {
            return Err(FrameError::Checksum);
        }
        self.given = self.start;
        self.start = range.end;
        Ok(Some(Frame {
            kind: Kind(header[4]),
            payload,
        }))
    }

    /// Takes the frame back that was given last, if nothing came since: it is the next one again.
    pub fn give_back(&mut self) {
        self.start = self.given;
    }

    /// Where the payload of the next frame lies, if all of it came.
    fn payload_range(&self, limit: usize) -> Result<Option<Range<usize>>, FrameError> {
        let bytes = &self.buffer[self.start..];
        if bytes.get(5).is_some_and(|&layout| layout != LAYOUT) {
            return Err(FrameError::Layout);
        }
        let Some(header) = bytes.get(..HEADER_LEN) else {
            return Ok(None);
        };
        if header[6..8] != [0; 2] {
            return Err(FrameError::Reserved);
        }
        let length = u32::from_le_bytes([header[0], header[1], header[2], header[3]]) as usize;
        if length > limit {
            return Err(FrameError::TooLong { length, limit });
        }
        let end = HEADER_LEN + length;
        Ok((bytes.len() >= end).then(|| self.start + HEADER_LEN..self.start + end))
    }

    /// The room of the buffer, in bytes.
    pub fn room(&self) -> usize {
        self.buffer.capacity()
    }

    /// Whether part of a frame waits for the rest: at the end of a stream, a truncated frame.
    pub fn is_inside_frame(&self) -> bool {
        self.start < self.buffer.len()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn frame(kind: Kind, payload: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        encode(&mut out, kind, payload);
        out
    }

    fn decode_all(decoder: &mut Decoder) -> Result<Vec<(Kind, Vec<u8>)>, FrameError> {
        let mut frames = Vec::new();
        while let Some(frame) = decoder.next_frame(PAYLOAD_LIMIT)? {
            frames.push((frame.kind, frame.payload.to_vec()));
        }
        Ok(frames)
    }

    fn decode(bytes: &[u8]) -> Result<Vec<(Kind, Vec<u8>)>, FrameError> {
        let mut decoder = Decoder::new();
        decoder.extend(bytes);
        decode_all(&mut decoder)
    }

    #[test]
    fn the_layout_is_the_documented_one() {
        let bytes = frame(Kind::PING, b"abc");
        assert_eq!(bytes[..8], [3, 0, 0, 0, 3, 1, 0, 0]);
        assert_eq!(
            bytes[8..12],
            crc32c::crc32c(b"\x03\0\0\0\x03\x01\0\0abc").to_le_bytes()
        );
        assert_eq!(bytes[12..], *b"abc");
    }

    #[test]
    fn frames_come_whole_however_they_are_split() {
        let mut bytes = frame(Kind::PAYLOAD, b"first");
        bytes.extend(frame(Kind::PING, b""));
        bytes.extend(frame(Kind(200), b"of a newer version"));
        let whole = decode(&bytes).expect("frames");
        assert_eq!(whole.len(), 3);
        assert_eq!(whole[2], (Kind(200), b"of a newer version".to_vec()));
        for cut in 0..=bytes.len() {
            let mut decoder = Decoder::new();
            decoder.extend(&bytes[..cut]);
            let mut frames = decode_all(&mut decoder).expect("a prefix of frames");
            decoder.extend(&bytes[cut..]);
            frames.extend(decode_all(&mut decoder).expect("the rest"));
            assert_eq!(frames, whole, "cut at {cut}");
            assert!(!decoder.is_inside_frame());
        }
        let mut decoder = Decoder::new();
        let mut frames = Vec::new();
        for byte in &bytes {
            decoder.extend(std::slice::from_ref(byte));
            frames.extend(decode_all(&mut decoder).expect("one byte more"));
        }
        assert_eq!(frames, whole);
    }

    #[test]
    fn a_truncated_frame_is_known_to_be_one() {
        let bytes = frame(Kind::PAYLOAD, b"payload");
        for cut in 1..bytes.len() {
            let mut decoder = Decoder::new();
            decoder.extend(&bytes[..cut]);
            assert_eq!(decode_all(&mut decoder), Ok(Vec::new()));
            assert!(decoder.is_inside_frame());
        }
    }

    #[test]
    fn every_flipped_bit_is_noticed() {
        let bytes = frame(Kind::PAYLOAD, b"payload");
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            // A longer length waits for bytes that never come.
            let frames = decode(&flipped);
            assert!(
                frames.as_ref().is_err() || frames == Ok(Vec::new()),
                "bit {bit}: {frames:?}"
            );
        }
    }

    #[test]
    fn a_payload_has_the_limit_of_its_moment() {
        let bytes = frame(Kind::GREETING, &[7; 5000]);
        let mut decoder = Decoder::new();
        decoder.extend(&bytes[..HEADER_LEN]);
        let limit = UNGREETED_PAYLOAD_LIMIT;
        assert_eq!(
            decoder.next_frame(limit),
            Err(FrameError::TooLong {
                length: 5000,
                limit
            })
        );
        assert_eq!(decoder.next_frame(PAYLOAD_LIMIT), Ok(None));
        decoder.extend(&bytes[HEADER_LEN..]);
        assert!(matches!(decoder.next_frame(PAYLOAD_LIMIT), Ok(Some(_))));
        let mut longest = header(Kind::PAYLOAD, &[]);
        longest[..4].copy_from_slice(&(PAYLOAD_LIMIT as u32 + 1).to_le_bytes());
        assert!(matches!(decode(&longest), Err(FrameError::TooLong { .. })));
    }

    #[test]
    fn what_is_announced_is_not_allocated() {
        let mut decoder = Decoder::new();
        let mut announced = header(Kind::PAYLOAD, &[]);
        announced[..4].copy_from_slice(&(PAYLOAD_LIMIT as u32).to_le_bytes());
        decoder.extend(&announced);
        let mut received = announced.len();
        while received < 1_000_000 {
            assert_eq!(decoder.next_frame(PAYLOAD_LIMIT), Ok(None));
            assert!(
                decoder.read_buffer().capacity() <= 2 * received + READ_SIZE,
                "at {received}"
            );
            decoder.extend(&[0; 10_000]);
            received += 10_000;
        }
    }

    #[test]
    fn the_room_of_a_large_frame_is_given_back() {
        let mut decoder = Decoder::new();
        decoder.extend(&frame(Kind::PAYLOAD, &vec![1; 1_000_000]));
        assert!(matches!(decoder.next_frame(PAYLOAD_LIMIT), Ok(Some(_))));
        assert!(decoder.read_buffer().capacity() <= READ_SIZE);
    }

    #[test]
    fn a_frame_that_is_given_back_comes_again() {
        let mut decoder = Decoder::new();
        decoder.extend(&frame(Kind::PING, b"1"));
        decoder.extend(&frame(Kind::PAYLOAD, b"2"));
        let mut next = || {
            let frame = decoder.next_frame(PAYLOAD_LIMIT).expect("frames");
            let found = frame.map(|frame| (frame.kind, frame.payload.to_vec()));
            if found
                .as_ref()
                .is_some_and(|(kind, _)| *kind == Kind::PAYLOAD)
            {
                decoder.give_back();
            }
            found
        };
        assert_eq!(next(), Some((Kind::PING, b"1".to_vec())));
        assert_eq!(next(), Some((Kind::PAYLOAD, b"2".to_vec())));
        assert_eq!(next(), Some((Kind::PAYLOAD, b"2".to_vec())));
    }

    #[test]
    fn other_protocols_are_recognised() {
        assert_eq!(decode(b"GET / HTTP/1.1\r\n\r\n"), Err(FrameError::Layout));
        assert_eq!(decode(b"*1\r\n$4\r\nPING\r\n"), Err(FrameError::Layout));
        assert_eq!(
            decode(&[0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3, 1]),
            Err(FrameError::Reserved)
        );
    }

    proptest! {
        #[test]
        fn random_bytes_never_make_a_frame_or_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(!matches!(decode(&bytes), Ok(frames) if !frames.is_empty()));
        }

        #[test]
        fn any_frames_in_any_pieces_come_back(
            payloads in proptest::collection::vec((any::<u8>(), proptest::collection::vec(any::<u8>(), 0..300)), 0..8),
            pieces in proptest::collection::vec(1_usize..200, 1..40),
        ) {
            let mut bytes = Vec::new();
            for (kind, payload) in &payloads {
                encode(&mut bytes, Kind(*kind), payload);
            }
            let mut decoder = Decoder::new();
            let mut frames = Vec::new();
            let mut rest = bytes.as_slice();
            for piece in pieces.iter().cycle() {
                let (now, later) = rest.split_at(rest.len().min(*piece));
                decoder.extend(now);
                frames.extend(decode_all(&mut decoder).expect("frames"));
                rest = later;
                if rest.is_empty() {
                    break;
                }
            }
            let expected: Vec<_> = payloads.into_iter().map(|(kind, payload)| (Kind(kind), payload)).collect();
            prop_assert_eq!(frames, expected);
        }
    }
}
