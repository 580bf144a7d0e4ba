//! Replies: functions that append one frame, or the head of one, to a buffer.
//!
//! Where RESP2 lacks a type, its stand-in is the one that Redis 7 uses. The head of an array, map, set or push
//! is followed by its elements, which the caller writes.

use crate::number;

/// Which version of the protocol a client speaks; `HELLO` changes it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Protocol {
    /// What every connection starts with.
    #[default]
    Resp2,
    /// The version with types of its own for maps, sets, doubles and more.
    Resp3,
}

/// `+OK`.
pub const OK: &[u8] = b"+OK\r\n";
/// `+QUEUED`.
pub const QUEUED: &[u8] = b"+QUEUED\r\n";
/// `+PONG`.
pub const PONG: &[u8] = b"+PONG\r\n";

const CRLF: &[u8] = b"\r\n";

/// `+OK`.
#[inline]
pub fn ok(out: &mut Vec<u8>) {
    out.extend_from_slice(OK);
}

/// A simple string. A line end in `text` would end the frame, so it becomes a space.
pub fn simple(out: &mut Vec<u8>, text: &str) {
    line(out, b'+', text.as_bytes());
}

/// An error. `text` starts with its prefix (`ERR ...`, `WRONGTYPE ...`); line ends in it become spaces.
pub fn error(out: &mut Vec<u8>, text: &str) {
    line(out, b'-', text.as_bytes());
}

/// An integer.
#[inline]
pub fn integer(out: &mut Vec<u8>, value: i64) {
    match value {
        0 => out.extend_from_slice(b":0\r\n"),
        1 => out.extend_from_slice(b":1\r\n"),
        _ => head(out, b':', value),
    }
}

/// A bulk string.
#[inline]
pub fn bulk(out: &mut Vec<u8>, bytes: &[u8]) {
    out.reserve(bytes.len() + 24);
    length(out, b'$', bytes.len());
    out.extend_from_slice(bytes);
    out.extend_from_slice(CRLF);
}

/// Nothing, in the place of a string.
#[inline]
pub fn null(out: &mut Vec<u8>, protocol: Protocol) {
    out.extend_from_slice(match protocol {
        Protocol::Resp2 => b"$-1\r\n",
        Protocol::Resp3 => b"_\r\n",
    });
}

/// Nothing, in the place of an array.
pub fn null_array(out: &mut Vec<u8>, protocol: Protocol) {
    out.extend_from_slice(match protocol {
        Protocol::Resp2 => b"*-1\r\n",
        Protocol::Resp3 => b"_\r\n",
    });
}

/// The head of an array of `count` elements.
#[inline]
pub fn array_header(out: &mut Vec<u8>, count: usize) {
    length(out, b'*', count);
}

/// The head of a map of `pairs` keys, each followed by its value; in RESP2 an array twice as long.
pub fn map_header(out: &mut Vec<u8>, protocol: Protocol, pairs: usize) {
    match protocol {
        Protocol::Resp2 => length(out, b'*', pairs * 2),
        Protocol::Resp3 => length(out, b'%', pairs),
    }
}

/// The head of a set of `count` members; in RESP2 an array.
pub fn set_header(out: &mut Vec<u8>, protocol: Protocol, count: usize) {
    match protocol {
        Protocol::Resp2 => length(out, b'*', count),
        Protocol::Resp3 => length(out, b'~', count),
    }
}

/// The head of a message that answers no request; in RESP2 an array.
pub fn push_header(out: &mut Vec<u8>, protocol: Protocol, count: usize) {
    match protocol {
        Protocol::Resp2 => length(out, b'*', count),
        Protocol::Resp3 => length(out, b'>', count),
    }
}

/// A double with 17 significant digits; in RESP2 a bulk string.
pub fn double(out: &mut Vec<u8>, protocol: Protocol, value: f64) {
    let mut text = Vec::with_capacity(32);
    number::push_double(&mut text, value);
    match protocol {
        Protocol::Resp2 => bulk(out, &text),
        Protocol::Resp3 => line(out, b',', &text),
    }
}

/// A boolean; in RESP2 the integer 1 or 0.
pub fn boolean(out: &mut Vec<u8>, protocol: Protocol, value: bool) {
    out.extend_from_slice(match (protocol, value) {
        (Protocol::Resp2, false) => b":0\r\n",
        (Protocol::Resp2, true) => b":1\r\n",
        (Protocol::Resp3, false) => b"#f\r\n",
        (Protocol::Resp3, true) => b"#t\r\n",
    });
}

/// An integer of any size, given in decimal digits; in RESP2 a bulk string.
pub fn big_number(out: &mut Vec<u8>, protocol: Protocol, digits: &str) {
    match protocol {
        Protocol::Resp2 => bulk(out, digits.as_bytes()),
        Protocol::Resp3 => line(out, b'(', digits.as_bytes()),
    }
}

/// A text with its format (`txt`, `mkd`); in RESP2 a bulk string of the text alone.
pub fn verbatim(out: &mut Vec<u8>, protocol: Protocol, format: [u8; 3], text: &[u8]) {
    match protocol {
        Protocol::Resp2 => bulk(out, text),
        Protocol::Resp3 => {
            length(out, b'=', text.len() + 4);
            out.extend_from_slice(&format);
            out.push(b':');
            out.extend_from_slice(text);
            out.extend_from_slice(CRLF);
        }
    }
}

/// A type's byte and a line. CR and LF in it become spaces, those at its end go.
fn line(out: &mut Vec<u8>, kind: u8, text: &[u8]) {
    let end = text
        .iter()
        .rposition(|byte| !matches!(byte, b'\r' | b'\n'))
        .map_or(0, |last| last + 1);
    out.reserve(end + 3);
    out.push(kind);
    out.extend(text[..end].iter().map(|&byte| {
        if matches!(byte, b'\r' | b'\n') {
            b' '
        } else {
            byte
        }
    }));
    out.extend_from_slice(CRLF);
}

/// A type's byte, a length or count, and the end of the line.
#[inline]
fn length(out: &mut Vec<u8>, kind: u8, value: usize) {
    match value {
        // The usual lengths, without a division.
        0..=9 => out.extend_from_slice(&[kind, b'0' + value as u8, b'\r', b'\n']),
        10..=99 => {
            let (tens, ones) = (value as u8 / 10, value as u8 % 10);
            out.extend_from_slice(&[kind, b'0' + tens, b'0' + ones, b'\r', b'\n']);
        }
        _ => head(
            out,
            kind,
            i64::try_from(value).expect("a length is below 2^63"),
        ),
    }
}

/// A type's byte, a number, and the end of the line.
fn head(out: &mut Vec<u8>, kind: u8, value: i64) {
    let mut buffer = itoa::Buffer::new();
    let digits = buffer.format(value).as_bytes();
    out.reserve(digits.len() + 3);
    out.push(kind);
    out.extend_from_slice(digits);
    out.extend_from_slice(CRLF);
}
