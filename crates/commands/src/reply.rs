//! What a command answers, before a protocol version gives it its bytes.

use std::borrow::Cow;
use std::fmt;

/// An answer. It may borrow from the keyspace, so that a read copies nothing.
///
/// The types are those of RESP3; a RESP2 connection gets each in its older form.
#[derive(Clone, Debug, PartialEq)]
pub enum Reply<'k> {
    /// `OK`.
    Ok,
    /// `QUEUED`.
    Queued,
    /// Nothing: the null bulk string of RESP2.
    Null,
    /// Nothing, where RESP2 has the null array.
    NullArray,
    /// A status.
    Simple(&'static str),
    /// A refusal: prefix, space, text; neither `-` nor line ends.
    Error(Cow<'static, str>),
    /// A whole number.
    Integer(i64),
    /// A floating-point number; a bulk string in RESP2.
    Double(f64),
    /// A truth value; 1 or 0 in RESP2.
    Boolean(bool),
    /// A whole number of any size, in digits; a bulk string in RESP2.
    BigNumber(String),
    /// Bytes.
    Bulk(Cow<'k, [u8]>),
    /// Text for people with its format, `txt` or `mkd`; a bulk string in RESP2.
    Verbatim {
        /// The format.
        format: [u8; 3],
        /// The text.
        text: String,
    },
    /// Replies in order.
    Array(Vec<Reply<'k>>),
    /// Replies without order; an array in RESP2.
    Set(Vec<Reply<'k>>),
    /// Pairs; a flat array in RESP2.
    Map(Vec<(Reply<'k>, Reply<'k>)>),
    /// Pairs in order, of which some may be equal: an array of arrays of two; a flat array in RESP2.
    Pairs(Vec<(Reply<'k>, Reply<'k>)>),
    /// A message that no request asked for; an array in RESP2.
    Push(Vec<Reply<'k>>),
}

const _: () = assert!(
    size_of::<Reply<'_>>() <= 32,
    "replies are moved on the hot path"
);

impl<'k> Reply<'k> {
    /// The whole number 0.
    pub const ZERO: Reply<'static> = Reply::Integer(0);
    /// The whole number 1.
    pub const ONE: Reply<'static> = Reply::Integer(1);
    /// The empty string.
    pub const EMPTY_BULK: Reply<'static> = Reply::Bulk(Cow::Borrowed(b""));

    /// A refusal with a text that is known beforehand.
    pub(crate) const fn refusal(text: &'static str) -> Reply<'static> {
        Reply::Error(Cow::Borrowed(text))
    }

    /// A refusal; line ends in the text become spaces, so that it cannot forge a reply.
    pub fn error(text: impl fmt::Display) -> Reply<'static> {
        let mut text = text.to_string();
        if text.contains(['\r', '\n']) {
            text = text
                .trim_end_matches(['\r', '\n'])
                .replace(['\r', '\n'], " ");
        }
        Reply::Error(Cow::Owned(text))
    }

    /// Borrowed bytes.
    pub const fn bulk(bytes: &'k [u8]) -> Reply<'k> {
        Reply::Bulk(Cow::Borrowed(bytes))
    }

    /// About how many bytes it takes on the wire; never less than it holds.
    pub fn size_bytes(&self) -> usize {
        const HEAD: usize = 16;
        let all = |replies: &[Reply<'_>]| replies.iter().map(Reply::size_bytes).sum::<usize>();
        HEAD + match self {
            Reply::Bulk(bytes) => bytes.len(),
            Reply::Error(text) => text.len(),
            Reply::Simple(text) => text.len(),
            Reply::BigNumber(text) | Reply::Verbatim { text, .. } => text.len(),
            Reply::Array(replies) | Reply::Set(replies) | Reply::Push(replies) => all(replies),
            Reply::Map(pairs) | Reply::Pairs(pairs) => {
                let pair =
                    |(key, value): &(Reply<'_>, Reply<'_>)| key.size_bytes() + value.size_bytes();
                pairs.iter().map(pair).sum()
            }
            Reply::Ok
            | Reply::Queued
            | Reply::Null
            | Reply::NullArray
            | Reply::Integer(_)
            | Reply::Double(_)
            | Reply::Boolean(_) => 0,
        }
    }

    /// Whether it is a refusal.
    pub const fn is_error(&self) -> bool {
        matches!(self, Reply::Error(_))
    }

    /// The same, borrowing nothing.
    pub fn into_owned(self) -> Reply<'static> {
        let all = |replies: Vec<Reply<'k>>| replies.into_iter().map(Reply::into_owned).collect();
        let both = |pairs: Vec<(Reply<'k>, Reply<'k>)>| {
            let pairs = pairs.into_iter();
            pairs
                .map(|(key, value)| (key.into_owned(), value.into_owned()))
                .collect()
        };
        match self {
            Reply::Ok => Reply::Ok,
            Reply::Queued => Reply::Queued,
            Reply::Null => Reply::Null,
            Reply::NullArray => Reply::NullArray,
            Reply::Simple(text) => Reply::Simple(text),
            Reply::Error(text) => Reply::Error(text),
            Reply::Integer(number) => Reply::Integer(number),
            Reply::Double(number) => Reply::Double(number),
            Reply::Boolean(truth) => Reply::Boolean(truth),
            Reply::BigNumber(digits) => Reply::BigNumber(digits),
            Reply::Bulk(bytes) => Reply::Bulk(Cow::Owned(bytes.into_owned())),
            Reply::Verbatim { format, text } => Reply::Verbatim { format, text },
            Reply::Array(replies) => Reply::Array(all(replies)),
            Reply::Set(replies) => Reply::Set(all(replies)),
            Reply::Push(replies) => Reply::Push(all(replies)),
            Reply::Map(pairs) => Reply::Map(both(pairs)),
            Reply::Pairs(pairs) => Reply::Pairs(both(pairs)),
        }
    }
}

impl From<bool> for Reply<'static> {
    /// 1 or 0, as most commands of Redis answer in either protocol.
    fn from(truth: bool) -> Reply<'static> {
        Reply::Integer(i64::from(truth))
    }
}

impl From<usize> for Reply<'static> {
    /// A count or a length.
    fn from(count: usize) -> Reply<'static> {
        Reply::Integer(i64::try_from(count).expect("no count reaches 2^63"))
    }
}
