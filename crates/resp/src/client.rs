//! The client's side: requests out, replies in.

use crate::{ReplyError, encode, number};

/// Appends a request: an array of bulk strings.
pub fn request(out: &mut Vec<u8>, args: &[&[u8]]) {
    encode::array_header(out, args.len());
    for arg in args {
        encode::bulk(out, arg);
    }
}

/// A complete reply at the start of a buffer, not looked into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Skipped {
    /// Its length in bytes.
    pub length: usize,
    /// Whether it is an error (`-...`, or RESP3's `!`). Errors inside an array do not count.
    pub is_error: bool,
}

/// Finds the end of the reply at the start of `buffer`; `None` while it is incomplete. Attributes of RESP3 are
/// skipped with the reply they precede. Takes constant memory, whatever the reply claims to hold, and starts
/// anew at each call: a reply of many elements should be given whole, or in few pieces.
///
/// # Errors
/// The bytes are no reply. The content of lines is not judged.
#[inline]
pub fn skip_reply(buffer: &[u8]) -> Result<Option<Skipped>, ReplyError> {
    // The replies of nearly every command: `+OK`, and a bulk string of below 100 bytes.
    match *buffer {
        [b'+', b'O', b'K', b'\r', b'\n', ..] => {
            return Ok(Some(Skipped {
                length: 5,
                is_error: false,
            }));
        }
        [
            b'$',
            tens @ b'1'..=b'9',
            ones @ b'0'..=b'9',
            b'\r',
            b'\n',
            ..,
        ] => {
            let length = 7 + usize::from(tens - b'0') * 10 + usize::from(ones - b'0');
            if buffer.get(length - 2..length) == Some(b"\r\n") {
                return Ok(Some(Skipped {
                    length,
                    is_error: false,
                }));
            }
        }
        _ => {}
    }
    skip_any(buffer)
}

#[inline(never)]
fn skip_any(buffer: &[u8]) -> Result<Option<Skipped>, ReplyError> {
    let mut length = 0;
    loop {
        let Some(frame) = Frame::read(&buffer[length..])? else {
            return Ok(None);
        };
        length += frame.length;
        let Some(inner) = skip_frames(&buffer[length..], frame.elements())? else {
            return Ok(None);
        };
        length += inner;
        if !matches!(frame.kind, Kind::Attribute { .. }) {
            let is_error = matches!(frame.first, b'-' | b'!');
            return Ok(Some(Skipped { length, is_error }));
        }
    }
}

/// The length of that many replies, with all that stands in them.
fn skip_frames(buffer: &[u8], mut frames: u64) -> Result<Option<usize>, ReplyError> {
    let mut at = 0;
    while frames > 0 {
        let Some(frame) = Frame::read(&buffer[at..])? else {
            return Ok(None);
        };
        at += frame.length;
        // An attribute is no reply: the one that it precedes is still to come.
        if !matches!(frame.kind, Kind::Attribute { .. }) {
            frames -= 1;
        }
        frames = frames
            .checked_add(frame.elements())
            .ok_or(ReplyError::InvalidNumber)?;
    }
    Ok(Some(at))
}

/// The head of a frame; with its content where that is a string.
pub(crate) struct Frame<'a> {
    pub(crate) first: u8,
    pub(crate) kind: Kind,
    /// The rest of the line, or the content of the bulk string.
    pub(crate) content: &'a [u8],
    /// How many bytes of the buffer it takes, without an aggregate's elements.
    pub(crate) length: usize,
}

pub(crate) enum Kind {
    Line,
    Bulk,
    /// `$-1` or `*-1`.
    Null,
    Aggregate {
        elements: u64,
    },
    Attribute {
        elements: u64,
    },
}

impl<'a> Frame<'a> {
    /// How many frames stand in this one.
    fn elements(&self) -> u64 {
        match self.kind {
            Kind::Aggregate { elements } | Kind::Attribute { elements } => elements,
            Kind::Line | Kind::Bulk | Kind::Null => 0,
        }
    }

    pub(crate) fn read(buffer: &'a [u8]) -> Result<Option<Frame<'a>>, ReplyError> {
        let Some(&first) = buffer.first() else {
            return Ok(None);
        };
        if !b"+-:,#_($!=*~>%|".contains(&first) {
            return Err(ReplyError::UnknownType(first));
        }
        let Some(newline) = memchr::memchr(b'\n', buffer) else {
            return Ok(None);
        };
        let line = buffer[1..newline]
            .strip_suffix(b"\r")
            .ok_or(ReplyError::MissingLineEnd)?;
        let length = newline + 1;
        let frame = |kind| Frame {
            first,
            kind,
            content: line,
            length,
        };
        if matches!(first, b'+' | b'-' | b':' | b',' | b'#' | b'_' | b'(') {
            return Ok(Some(frame(Kind::Line)));
        }
        let count = match number::decimal(line).ok_or(ReplyError::InvalidNumber)? {
            -1 if matches!(first, b'$' | b'*') => return Ok(Some(frame(Kind::Null))),
            count => u64::try_from(count).map_err(|_| ReplyError::InvalidNumber)?,
        };
        let pairs = count.checked_mul(2).ok_or(ReplyError::InvalidNumber);
        Ok(Some(match first {
            b'*' | b'~' | b'>' => frame(Kind::Aggregate { elements: count }),
            b'%' => frame(Kind::Aggregate { elements: pairs? }),
            b'|' => frame(Kind::Attribute { elements: pairs? }),
            _ => {
                let bytes = usize::try_from(count).map_err(|_| ReplyError::InvalidNumber)?;
                let rest = &buffer[length..];
                if rest.len() < bytes.saturating_add(2) {
                    return Ok(None);
                }
                if &rest[bytes..bytes + 2] != b"\r\n" {
                    return Err(ReplyError::MissingLineEnd);
                }
                Frame {
                    first,
                    kind: Kind::Bulk,
                    content: &rest[..bytes],
                    length: length + bytes + 2,
                }
            }
        }))
    }
}
