//! How a reply travels from the node that ran a command to the one that its client is connected to.
//!
//! A reply is a byte that tells its kind, and then:
//!
//! | kind | | bytes |
//! | --- | --- | --- |
//! | 1, 2 | `OK`, `QUEUED` | |
//! | 3, 4 | null, null array | |
//! | 5, 6 | status, refusal | text |
//! | 7 | whole number | varint, the sign in the lowest bit |
//! | 8 | floating-point number | its 8 bytes, little-endian |
//! | 9, 10 | false, true | |
//! | 11 | number of any size | text |
//! | 12 | bytes | varint, bytes |
//! | 13 | text with a format | 3 bytes of format, text |
//! | 14, 15, 16 | array, set, push | varint, so many replies |
//! | 17, 18 | map, pairs | varint, so many times two replies |
//!
//! A varint is LEB128 in its shortest form; a text is a varint and so many bytes of UTF-8. A kind never
//! changes its meaning, so a node that does not know one refuses the reply rather than misread it.

use std::borrow::Cow;

use crate::Reply;
use crate::varint::{self, VarintError};

/// Why bytes are not a reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// They end inside a reply.
    #[error("the reply ends early")]
    Truncated,
    /// A number, a text or a format is not what [`encode`] writes.
    #[error("a number or a text of the reply is malformed")]
    Malformed,
    /// This program knows no such kind.
    #[error("the reply is of kind {0}, which this program does not know: is the other node newer?")]
    Kind(u8),
    /// It nests deeper than [`MAX_DEPTH`].
    #[error("the reply nests deeper than {MAX_DEPTH} levels")]
    Depth,
}

impl From<VarintError> for WireError {
    fn from(error: VarintError) -> WireError {
        match error {
            VarintError::Truncated => WireError::Truncated,
            VarintError::Malformed => WireError::Malformed,
        }
    }
}

/// So many replies may lie in each other; a plain one is one level.
pub const MAX_DEPTH: usize = 32;

/// Memory is set aside for so many replies before any of them has been read.
const AHEAD: usize = (64 << 10) / size_of::<Reply<'_>>();

mod kind {
    pub(super) const OK: u8 = 1;
    pub(super) const QUEUED: u8 = 2;
    pub(super) const NULL: u8 = 3;
    pub(super) const NULL_ARRAY: u8 = 4;
    pub(super) const SIMPLE: u8 = 5;
    pub(super) const ERROR: u8 = 6;
    pub(super) const INTEGER: u8 = 7;
    pub(super) const DOUBLE: u8 = 8;
    pub(super) const FALSE: u8 = 9;
    pub(super) const TRUE: u8 = 10;
    pub(super) const BIG_NUMBER: u8 = 11;
    pub(super) const BULK: u8 = 12;
    pub(super) const VERBATIM: u8 = 13;
    pub(super) const ARRAY: u8 = 14;
    pub(super) const SET: u8 = 15;
    pub(super) const PUSH: u8 = 16;
    pub(super) const MAP: u8 = 17;
    pub(super) const PAIRS: u8 = 18;
}

/// The statuses that commands on data answer, beside `OK` and `QUEUED`.
fn known_status(text: &str) -> Option<&'static str> {
    const KINDS: &[&str] = &["none", "string", "list", "set", "zset", "hash", "stream"];
    let mut all = KINDS.iter().copied().chain(crate::object::HELP);
    all.find(|status| *status == text)
}

/// Appends a reply. In place of what nests deeper than [`MAX_DEPTH`] stands a refusal.
pub fn encode(reply: &Reply<'_>, out: &mut Vec<u8>) {
    encode_at(reply, MAX_DEPTH, out);
}

fn encode_at(reply: &Reply<'_>, levels: usize, out: &mut Vec<u8>) {
    match reply {
        Reply::Ok => out.push(kind::OK),
        Reply::Queued => out.push(kind::QUEUED),
        Reply::Null => out.push(kind::NULL),
        Reply::NullArray => out.push(kind::NULL_ARRAY),
        Reply::Simple(text) => put_bytes(kind::SIMPLE, text.as_bytes(), out),
        Reply::Error(text) => put_bytes(kind::ERROR, text.as_bytes(), out),
        Reply::Integer(number) => {
            out.push(kind::INTEGER);
            varint::put(out, (number << 1 ^ number >> 63) as u64);
        }
        Reply::Double(number) => {
            out.push(kind::DOUBLE);
            out.extend_from_slice(&number.to_le_bytes());
        }
        Reply::Boolean(false) => out.push(kind::FALSE),
        Reply::Boolean(true) => out.push(kind::TRUE),
        Reply::BigNumber(digits) => put_bytes(kind::BIG_NUMBER, digits.as_bytes(), out),
        Reply::Bulk(bytes) => put_bytes(kind::BULK, bytes, out),
        Reply::Verbatim { format, text } => {
            out.push(kind::VERBATIM);
            out.extend_from_slice(format);
            varint::put(out, text.len() as u64);
            out.extend_from_slice(text.as_bytes());
        }
        Reply::Array(_) | Reply::Set(_) | Reply::Push(_) | Reply::Map(_) | Reply::Pairs(_)
            if levels == 1 =>
        {
            let refusal = format!("ERR the reply nests deeper than {MAX_DEPTH} levels");
            put_bytes(kind::ERROR, refusal.as_bytes(), out);
        }
        Reply::Array(replies) => put_all(kind::ARRAY, replies, levels, out),
        Reply::Set(replies) => put_all(kind::SET, replies, levels, out),
        Reply::Push(replies) => put_all(kind::PUSH, replies, levels, out),
        Reply::Map(pairs) => put_pairs(kind::MAP, pairs, levels, out),
        Reply::Pairs(pairs) => put_pairs(kind::PAIRS, pairs, levels, out),
    }
}

fn put_pairs(kind: u8, pairs: &[(Reply<'_>, Reply<'_>)], levels: usize, out: &mut Vec<u8>) {
    out.push(kind);
    varint::put(out, pairs.len() as u64);
    for (key, value) in pairs {
        encode_at(key, levels - 1, out);
        encode_at(value, levels - 1, out);
    }
}

fn put_bytes(kind: u8, bytes: &[u8], out: &mut Vec<u8>) {
    out.push(kind);
    varint::put(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

fn put_all(kind: u8, replies: &[Reply<'_>], levels: usize, out: &mut Vec<u8>) {
    out.push(kind);
    varint::put(out, replies.len() as u64);
    for reply in replies {
        encode_at(reply, levels - 1, out);
    }
}

/// Takes a reply from the front of `bytes`. A status that this program does not know becomes a string,
/// which clients take in the same way.
///
/// # Errors
/// When the bytes are not what [`encode`] writes; `bytes` is then of no use.
pub fn decode(bytes: &mut &[u8]) -> Result<Reply<'static>, WireError> {
    let mut decoder = Decoder {
        bytes,
        ahead: AHEAD,
    };
    let reply = decoder.reply(MAX_DEPTH)?;
    *bytes = decoder.bytes;
    Ok(reply)
}

struct Decoder<'a> {
    bytes: &'a [u8],
    /// Memory may still be set aside for so many replies that are yet to be read.
    ahead: usize,
}

impl<'a> Decoder<'a> {
    fn reply(&mut self, levels: usize) -> Result<Reply<'static>, WireError> {
        let levels = levels - 1;
        let [kind] = self.take::<1>()?;
        Ok(match kind {
            kind::OK => Reply::Ok,
            kind::QUEUED => Reply::Queued,
            kind::NULL => Reply::Null,
            kind::NULL_ARRAY => Reply::NullArray,
            kind::SIMPLE => {
                let text = self.text()?;
                match known_status(text) {
                    Some(status) => Reply::Simple(status),
                    None => Reply::Bulk(Cow::Owned(text.as_bytes().to_vec())),
                }
            }
            kind::ERROR => Reply::error(self.text()?),
            kind::INTEGER => {
                let number = varint::take(&mut self.bytes)?;
                Reply::Integer((number >> 1) as i64 ^ -((number & 1) as i64))
            }
            kind::DOUBLE => Reply::Double(f64::from_le_bytes(self.take()?)),
            kind::FALSE => Reply::Boolean(false),
            kind::TRUE => Reply::Boolean(true),
            kind::BIG_NUMBER => {
                let text = self.text()?;
                let digits = text.strip_prefix('-').unwrap_or(text);
                if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
                    return Err(WireError::Malformed);
                }
                Reply::BigNumber(text.to_owned())
            }
            kind::BULK => Reply::Bulk(Cow::Owned(self.slice()?.to_vec())),
            kind::VERBATIM => {
                let format = self.take()?;
                if !format.is_ascii() {
                    return Err(WireError::Malformed);
                }
                let text = self.text()?.to_owned();
                Reply::Verbatim { format, text }
            }
            kind::ARRAY => Reply::Array(self.all(levels, Decoder::reply)?),
            kind::SET => Reply::Set(self.all(levels, Decoder::reply)?),
            kind::PUSH => Reply::Push(self.all(levels, Decoder::reply)?),
            kind::MAP => Reply::Map(self.all(levels, Decoder::pair)?),
            kind::PAIRS => Reply::Pairs(self.all(levels, Decoder::pair)?),
            other => return Err(WireError::Kind(other)),
        })
    }

    fn pair(&mut self, levels: usize) -> Result<(Reply<'static>, Reply<'static>), WireError> {
        Ok((self.reply(levels)?, self.reply(levels)?))
    }

    fn all<T>(
        &mut self,
        levels: usize,
        one: impl Fn(&mut Decoder<'a>, usize) -> Result<T, WireError>,
    ) -> Result<Vec<T>, WireError> {
        let count = varint::take(&mut self.bytes)?;
        // Each takes a byte at the least.
        if count > self.bytes.len() as u64 {
            return Err(WireError::Truncated);
        }
        if levels == 0 {
            return Err(WireError::Depth);
        }
        let ahead = (count as usize).min(self.ahead / 2);
        self.ahead -= ahead;
        let mut all = Vec::with_capacity(ahead);
        for _ in 0..count {
            all.push(one(self, levels)?);
        }
        Ok(all)
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N], WireError> {
        let (taken, rest) = self.bytes.split_first_chunk().ok_or(WireError::Truncated)?;
        self.bytes = rest;
        Ok(*taken)
    }

    fn slice(&mut self) -> Result<&'a [u8], WireError> {
        let length = varint::take(&mut self.bytes)?;
        let taken = usize::try_from(length)
            .ok()
            .and_then(|length| self.bytes.split_at_checked(length));
        let (taken, rest) = taken.ok_or(WireError::Truncated)?;
        self.bytes = rest;
        Ok(taken)
    }

    fn text(&mut self) -> Result<&'a str, WireError> {
        std::str::from_utf8(self.slice()?).map_err(|_| WireError::Malformed)
    }
}

#[cfg(test)]
mod tests;
