//! How arguments and values are read, with the refusals that go with it.

use std::borrow::Cow;

use keyspace::{Element, Entry, WrongKind};

use crate::Reply;

/// The longest string: `proto-max-bulk-len` of Redis by default.
pub(crate) const STRING_BYTES_MAX: usize = 512 << 20;

pub(crate) const NO_SUCH_KEY: Reply<'static> = Reply::refusal("ERR no such key");
pub(crate) const NOT_AN_INTEGER: Reply<'static> =
    Reply::refusal("ERR value is not an integer or out of range");
pub(crate) const SAME_OBJECT: Reply<'static> =
    Reply::refusal("ERR source and destination objects are the same");
pub(crate) const SYNTAX: Reply<'static> = Reply::refusal("ERR syntax error");
pub(crate) const WRONG_TYPE: Reply<'static> =
    Reply::refusal("WRONGTYPE Operation against a key holding the wrong kind of value");
pub(crate) const TOO_LONG: Reply<'static> =
    Reply::refusal("ERR string exceeds maximum allowed size (proto-max-bulk-len)");

/// The bytes of a string.
///
/// # Errors
/// `WRONGTYPE` for other kinds.
pub(crate) fn string_of<'k>(entry: &Entry<'k>) -> Result<&'k [u8], Reply<'static>> {
    entry.string().ok_or(WRONG_TYPE)
}

impl From<WrongKind> for Reply<'static> {
    fn from(_: WrongKind) -> Reply<'static> {
        WRONG_TYPE
    }
}

impl<'k> From<Element<'k>> for Reply<'k> {
    /// The element's bytes, borrowed where they stand as such.
    fn from(element: Element<'k>) -> Reply<'k> {
        Reply::Bulk(element.to_bytes())
    }
}

/// A whole number in its only accepted form: no sign but `-`, no leading zeros, no spaces.
pub(crate) fn parse_integer(bytes: &[u8]) -> Option<i64> {
    let (negative, digits) = match bytes.strip_prefix(b"-") {
        Some(digits) => (true, digits),
        None => (false, bytes),
    };
    match digits {
        [b'0'] if !negative => return Some(0),
        [b'1'..=b'9', ..] if digits.len() <= 19 => {}
        _ => return None,
    }
    let mut magnitude = 0_u64;
    for digit in digits {
        // Nineteen digits stay below 10^19, which fits.
        magnitude =
            magnitude * 10 + u64::from(digit.checked_sub(b'0').filter(|digit| *digit < 10)?);
    }
    if negative {
        0_i64.checked_sub_unsigned(magnitude)
    } else {
        i64::try_from(magnitude).ok()
    }
}

/// [`parse_integer`] with its refusal.
pub(crate) fn integer(bytes: &[u8]) -> Result<i64, Reply<'static>> {
    parse_integer(bytes).ok_or(NOT_AN_INTEGER)
}

/// A number where Redis reads a C `int`.
pub(crate) fn small_integer(bytes: &[u8]) -> Result<i32, Reply<'static>> {
    i32::try_from(integer(bytes)?).map_err(|_| {
        Reply::error(format_args!(
            "ERR value is out of range, value must between {} and {}",
            i32::MIN,
            i32::MAX
        ))
    })
}

/// A whole number whose negative is one as well.
pub(crate) fn negatable(bytes: &[u8]) -> Result<i64, Reply<'static>> {
    match integer(bytes)? {
        i64::MIN => Err(Reply::error(format_args!(
            "ERR value is out of range, value must between {} and {}",
            -i64::MAX,
            i64::MAX
        ))),
        number => Ok(number),
    }
}

/// A whole number that is not negative; what is none has that refusal.
pub(crate) fn non_negative(bytes: &[u8], refusal: &'static str) -> Result<usize, Reply<'static>> {
    let number = parse_integer(bytes).and_then(|number| usize::try_from(number).ok());
    number.ok_or(Reply::refusal(refusal))
}

/// [`non_negative`] with the refusal that most commands have.
pub(crate) fn length(bytes: &[u8]) -> Result<usize, Reply<'static>> {
    non_negative(bytes, "ERR value is out of range, must be positive")
}

/// Whether the argument is that word, in any case.
pub(crate) fn is(arg: &[u8], word: &str) -> bool {
    arg.eq_ignore_ascii_case(word.as_bytes())
}

/// A reply of owned bytes.
pub(crate) fn owned(bytes: impl Into<Vec<u8>>) -> Reply<'static> {
    Reply::Bulk(Cow::Owned(bytes.into()))
}

/// What a handler comes to: both are replies, and `?` stops at a refusal.
pub(crate) type Outcome<'k> = Result<Reply<'k>, Reply<'static>>;
