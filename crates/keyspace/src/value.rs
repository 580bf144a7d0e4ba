//! The words of the interface: kinds, encodings and what a write does to an expiry.

use base::Timestamp;

/// What a key holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A string of bytes.
    String,
}

/// What a write does to the expiry of its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expiry {
    /// The key does not expire.
    Clear,
    /// The key expires when it would have; a new one does not.
    Keep,
    /// The key expires at that moment. At or before the stamp, it is gone at once.
    At(Timestamp),
}

/// How a string is kept, as `OBJECT ENCODING` of Redis 7 tells it. Part of the state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Encoding {
    /// The canonical decimal form of an `i64`.
    Int,
    /// Any other string of at most 44 bytes.
    Embstr,
    /// A longer one, or one that APPEND or SETRANGE changed in place.
    Raw,
}

impl Encoding {
    /// The longest string that Redis embeds in its object.
    pub(crate) const EMBSTR_BYTES: usize = 44;

    /// The encoding that a value is given when it is set as a whole.
    pub(crate) fn of(value: &[u8]) -> Encoding {
        if is_integer(value) {
            Encoding::Int
        } else if value.len() <= Encoding::EMBSTR_BYTES {
            Encoding::Embstr
        } else {
            Encoding::Raw
        }
    }

    /// Whether a value of that encoding may have these bytes.
    pub(crate) fn allows(self, value: &[u8]) -> bool {
        match self {
            Encoding::Int => is_integer(value),
            Encoding::Embstr => value.len() <= Encoding::EMBSTR_BYTES,
            Encoding::Raw => true,
        }
    }
}

/// Whether these bytes are what an `i64` prints as.
fn is_integer(value: &[u8]) -> bool {
    if value.len() > 20 {
        return false;
    }
    let digits = value.strip_prefix(b"-").unwrap_or(value);
    let canonical = match digits {
        [] => false,
        [b'0', ..] => value == b"0",
        _ => digits.iter().all(u8::is_ascii_digit),
    };
    canonical
        && (digits.len() < 19
            || str::from_utf8(value).is_ok_and(|text| text.parse::<i64>().is_ok()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_are_those_that_print_as_the_value() {
        for text in [
            "0",
            "1",
            "-1",
            "9223372036854775807",
            "-9223372036854775808",
            "100",
        ] {
            assert_eq!(Encoding::of(text.as_bytes()), Encoding::Int, "{text}");
        }
        let others = [
            "",
            "-",
            "-0",
            "+1",
            "01",
            " 1",
            "1 ",
            "1.0",
            "9223372036854775808",
            "--1",
            "1e3",
        ];
        for text in others {
            assert_eq!(Encoding::of(text.as_bytes()), Encoding::Embstr, "{text}");
        }
    }

    #[test]
    fn forty_four_bytes_are_embedded() {
        assert_eq!(Encoding::of(&[b'x'; 44]), Encoding::Embstr);
        assert_eq!(Encoding::of(&[b'x'; 45]), Encoding::Raw);
        assert_eq!(Encoding::of(&[b'1'; 45]), Encoding::Raw);
    }
}
