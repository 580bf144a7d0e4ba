//! What can be wrong with bytes from the other side.

use thiserror::Error;

/// A request that breaks the protocol. The client is told `-ERR <Display>` and its connection ends,
/// except for [`ProtocolError::InlineEscapes`].
///
/// The texts are those of Redis 7.0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ProtocolError {
    /// The count after `*` is not a number, or beyond [`crate::Limits::args`].
    #[error("Protocol error: invalid multibulk length")]
    InvalidMultibulkLength,
    /// The count after `*`, or that of the words of an inline command, is too much for a client that has
    /// yet to authenticate.
    #[error("Protocol error: unauthenticated multibulk length")]
    UnauthenticatedMultibulkLength,
    /// The line that starts with `*` does not end.
    #[error("Protocol error: too big mbulk count string")]
    TooBigMultibulkCount,
    /// The length after `$` is not a number, negative, or beyond [`crate::Limits::bulk_bytes`].
    #[error("Protocol error: invalid bulk length")]
    InvalidBulkLength,
    /// The length after `$` is too much for a client that has yet to authenticate.
    #[error("Protocol error: unauthenticated bulk length")]
    UnauthenticatedBulkLength,
    /// The line that should start with `$` does not end.
    #[error("Protocol error: too big bulk count string")]
    TooBigBulkCount,
    /// An argument starts with this byte instead of `$`.
    #[error("Protocol error: expected '$', got '{}'", printable(*.0))]
    ExpectedBulk(u8),
    /// An inline command does not end within [`crate::Limits::inline_bytes`].
    #[error("Protocol error: too big inline request")]
    TooBigInline,
    /// A quote of an inline command is not closed, or is followed by something else than a space.
    #[error("Protocol error: unbalanced quotes in request")]
    UnbalancedQuotes,
    /// The command is longer than [`crate::Limits::query_bytes`]. (Redis hangs up without a word.)
    #[error("Protocol error: too big request")]
    TooBigRequest,
    /// Not a fault of the client: a complete inline command whose quoting must be undone, which
    /// slices of the read buffer cannot express. [`crate::split_inline`] takes it from the same place,
    /// and parsing goes on behind it. A server that does not do so refuses the client with this text.
    #[error("Protocol error: escapes in inline commands are not supported")]
    InlineEscapes,
}

/// A byte as an error line can show it.
fn printable(byte: u8) -> char {
    match byte {
        b'\r' | b'\n' => ' ',
        0x20..=0x7e => char::from(byte),
        _ => '?',
    }
}

/// A reply that breaks the protocol. What follows it on the connection cannot be understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ReplyError {
    /// A reply starts with a byte that is no type of RESP2 or RESP3.
    #[error("a reply starts with byte 0x{0:02x}, which is no type of RESP2 or RESP3")]
    UnknownType(u8),
    /// A length, count or number cannot be read.
    #[error("a reply holds a length, count or number that cannot be read")]
    InvalidNumber,
    /// A line, or the content of a bulk string, does not end in CR LF.
    #[error("a line or a bulk string of a reply does not end in CR LF")]
    MissingLineEnd,
    /// Arrays, maps and sets stand in one another deeper than [`crate::Value::MAX_DEPTH`].
    #[error("a reply nests deeper than {} levels", crate::Value::MAX_DEPTH)]
    TooDeep,
}
