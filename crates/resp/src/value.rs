//! Replies as trees, for clients that look into them.

use crate::client::{Frame, Kind};
use crate::{ReplyError, number};

/// A reply.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// `$-1` or `_`.
    Null,
    /// `*-1`.
    NullArray,
    /// `+`. Bytes that are not UTF-8 are replaced.
    Simple(String),
    /// `-` or `!`, with its prefix. Bytes that are not UTF-8 are replaced.
    Error(String),
    /// `:`.
    Integer(i64),
    /// `,`.
    Double(f64),
    /// `#`.
    Boolean(bool),
    /// `(`, its digits.
    BigNumber(String),
    /// `$`.
    Bulk(Vec<u8>),
    /// `=`.
    Verbatim {
        /// Three bytes: `txt`, `mkd`.
        format: [u8; 3],
        /// The text. Bytes that are not UTF-8 are replaced.
        text: String,
    },
    /// `*`.
    Array(Vec<Value>),
    /// `~`.
    Set(Vec<Value>),
    /// `%`, in the order of the wire.
    Map(Vec<(Value, Value)>),
    /// `>`.
    Push(Vec<Value>),
}

impl Value {
    /// How deep arrays, sets, maps and pushes may stand in one another.
    pub const MAX_DEPTH: usize = 64;

    /// Decodes the reply at the start of `buffer` and gives its length; `None` while it is incomplete.
    /// Attributes are dropped. What is allocated is in proportion to the bytes that are there.
    ///
    /// # Errors
    /// The bytes are no reply, or one that nests deeper than [`Value::MAX_DEPTH`].
    pub fn decode(buffer: &[u8]) -> Result<Option<(Value, usize)>, ReplyError> {
        let mut rest = buffer;
        let value = decode(&mut rest, Value::MAX_DEPTH)?;
        Ok(value.map(|value| (value, buffer.len() - rest.len())))
    }
}

fn decode(rest: &mut &[u8], depth: usize) -> Result<Option<Value>, ReplyError> {
    let (frame, elements) = loop {
        let Some(frame) = Frame::read(rest)? else {
            return Ok(None);
        };
        *rest = &rest[frame.length..];
        let elements = match frame.kind {
            Kind::Line => return line(frame.first, frame.content).map(Some),
            Kind::Bulk => return bulk(frame.first, frame.content).map(Some),
            Kind::Null if frame.first == b'*' => return Ok(Some(Value::NullArray)),
            Kind::Null => return Ok(Some(Value::Null)),
            Kind::Aggregate { elements } => elements,
            Kind::Attribute { elements } => {
                if decode_all(rest, elements, depth)?.is_none() {
                    return Ok(None);
                }
                continue;
            }
        };
        break (frame, elements);
    };
    let Some(values) = decode_all(rest, elements, depth)? else {
        return Ok(None);
    };
    Ok(Some(match frame.first {
        b'~' => Value::Set(values),
        b'>' => Value::Push(values),
        b'%' => {
            let mut values = values.into_iter();
            let mut pairs = Vec::with_capacity(values.len() / 2);
            while let (Some(key), Some(value)) = (values.next(), values.next()) {
                pairs.push((key, value));
            }
            Value::Map(pairs)
        }
        _ => Value::Array(values),
    }))
}

fn decode_all(
    rest: &mut &[u8],
    elements: u64,
    depth: usize,
) -> Result<Option<Vec<Value>>, ReplyError> {
    let Some(depth) = depth.checked_sub(1) else {
        return Err(ReplyError::TooDeep);
    };
    // Grows with what is decoded: a count is only a claim.
    let mut values = Vec::new();
    for _ in 0..elements {
        let Some(value) = decode(rest, depth)? else {
            return Ok(None);
        };
        values.push(value);
    }
    Ok(Some(values))
}

fn line(first: u8, content: &[u8]) -> Result<Value, ReplyError> {
    let invalid = ReplyError::InvalidNumber;
    Ok(match first {
        b'+' => Value::Simple(text(content)),
        b'-' => Value::Error(text(content)),
        b':' => Value::Integer(number::decimal(content).ok_or(invalid)?),
        b',' => {
            let text = std::str::from_utf8(content).map_err(|_| invalid)?;
            Value::Double(text.parse().map_err(|_| invalid)?)
        }
        b'#' => Value::Boolean(match content {
            b"t" => true,
            b"f" => false,
            _ => return Err(invalid),
        }),
        b'(' => {
            let digits = content.strip_prefix(b"-").unwrap_or(content);
            if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
                return Err(invalid);
            }
            Value::BigNumber(text(content))
        }
        _ => Value::Null,
    })
}

fn bulk(first: u8, content: &[u8]) -> Result<Value, ReplyError> {
    Ok(match (first, content) {
        (b'!', _) => Value::Error(text(content)),
        (b'=', [a, b, c, b':', content @ ..]) => Value::Verbatim {
            format: [*a, *b, *c],
            text: text(content),
        },
        (b'=', _) => return Err(ReplyError::InvalidNumber),
        _ => Value::Bulk(content.to_vec()),
    })
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
