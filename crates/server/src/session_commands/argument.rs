//! How arguments are read, with the refusals that go with it.

use std::borrow::Cow;

use commands::Reply;

pub(super) const NOT_AN_INTEGER: Reply<'static> =
    refusal("ERR value is not an integer or out of range");
pub(super) const SYNTAX: Reply<'static> = refusal("ERR syntax error");

/// A refusal with a text that is known beforehand.
pub(super) const fn refusal(text: &'static str) -> Reply<'static> {
    Reply::Error(Cow::Borrowed(text))
}

/// Whether the argument is that word, in any case.
pub(super) fn is(arg: &[u8], word: &str) -> bool {
    arg.eq_ignore_ascii_case(word.as_bytes())
}

/// A whole number in the only form that Redis accepts: no sign but `-`, no leading zeros, no spaces.
pub(super) fn parse_integer(arg: &[u8]) -> Option<i64> {
    let text = std::str::from_utf8(arg).ok()?;
    let number: i64 = text.parse().ok()?;
    (number.to_string() == text).then_some(number)
}

/// `ON` or `OFF`.
///
/// # Errors
/// The refusal of any other word.
pub(super) fn on_off(arg: &[u8]) -> Result<bool, Reply<'static>> {
    match arg {
        _ if is(arg, "on") => Ok(true),
        _ if is(arg, "off") => Ok(false),
        _ => Err(SYNTAX),
    }
}

/// An argument as a message can show it: up to the first NUL.
pub(super) fn shown(arg: &[u8]) -> Cow<'_, str> {
    let text = arg.split(|&byte| byte == 0).next().unwrap_or_default();
    String::from_utf8_lossy(text)
}

/// A string reply of owned bytes.
pub(super) fn bulk(bytes: impl Into<Vec<u8>>) -> Reply<'static> {
    Reply::Bulk(Cow::Owned(bytes.into()))
}

/// A string reply of constant text.
pub(super) const fn word(text: &'static str) -> Reply<'static> {
    Reply::bulk(text.as_bytes())
}

/// A set of status replies.
pub(super) fn statuses(names: impl Iterator<Item = &'static str>) -> Reply<'static> {
    Reply::Set(names.map(Reply::Simple).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_have_one_form() {
        assert_eq!(parse_integer(b"0"), Some(0));
        assert_eq!(parse_integer(b"-9223372036854775808"), Some(i64::MIN));
        for wrong in [
            &b""[..],
            b"+1",
            b"01",
            b"-0",
            b" 1",
            b"1x",
            b"9223372036854775808",
            b"\xff",
        ] {
            assert_eq!(parse_integer(wrong), None, "{wrong:?}");
        }
    }
}
