//! Fields of messages: integers and texts, each read strictly.

/// Why the fields of a message cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FieldError {
    /// The message ends before its fields do.
    #[error("a message ends within its {0}")]
    Short(&'static str),
    /// A text is longer than it may be, or shorter.
    #[error("the {field} has {length} bytes, {least} to {most} are allowed")]
    Length {
        /// What the text is.
        field: &'static str,
        /// The bytes that it has or announces.
        length: usize,
        /// The fewest allowed.
        least: usize,
        /// The most allowed.
        most: usize,
    },
    /// A text is not UTF-8 or has control characters, which would forge lines in logs and replies.
    #[error("the {0} is not printable text")]
    Unprintable(&'static str),
    /// A value that no node writes.
    #[error("the {0} has no valid value")]
    Value(&'static str),
}

/// Reads fields from the front of a message.
pub(crate) struct Fields<'a>(pub(crate) &'a [u8]);

impl<'a> Fields<'a> {
    pub(crate) fn bytes(
        &mut self,
        count: usize,
        field: &'static str,
    ) -> Result<&'a [u8], FieldError> {
        let (bytes, rest) = self
            .0
            .split_at_checked(count)
            .ok_or(FieldError::Short(field))?;
        self.0 = rest;
        Ok(bytes)
    }

    fn array<const N: usize>(&mut self, field: &'static str) -> Result<[u8; N], FieldError> {
        let (bytes, rest) = self.0.split_first_chunk().ok_or(FieldError::Short(field))?;
        self.0 = rest;
        Ok(*bytes)
    }

    pub(crate) fn u8(&mut self, field: &'static str) -> Result<u8, FieldError> {
        self.array(field).map(u8::from_le_bytes)
    }

    pub(crate) fn u16(&mut self, field: &'static str) -> Result<u16, FieldError> {
        self.array(field).map(u16::from_le_bytes)
    }

    pub(crate) fn u64(&mut self, field: &'static str) -> Result<u64, FieldError> {
        self.array(field).map(u64::from_le_bytes)
    }

    /// A u64 that is never 0.
    pub(crate) fn id(&mut self, field: &'static str) -> Result<u64, FieldError> {
        match self.u64(field)? {
            0 => Err(FieldError::Value(field)),
            id => Ok(id),
        }
    }

    /// What [`put_text`] wrote.
    pub(crate) fn text(
        &mut self,
        least: usize,
        most: usize,
        field: &'static str,
    ) -> Result<&'a str, FieldError> {
        let length = usize::from(self.u16(field)?);
        if !(least..=most).contains(&length) {
            return Err(FieldError::Length {
                field,
                length,
                least,
                most,
            });
        }
        match str::from_utf8(self.bytes(length, field)?) {
            Ok(text) if !text.chars().any(char::is_control) => Ok(text),
            _ => Err(FieldError::Unprintable(field)),
        }
    }
}

/// Appends a length of two bytes, little-endian, and the text.
///
/// # Panics
/// When the text has 65536 bytes or more.
pub(crate) fn put_text(out: &mut Vec<u8>, text: &str) {
    let length = u16::try_from(text.len()).expect("texts in messages are short");
    out.extend_from_slice(&length.to_le_bytes());
    out.extend_from_slice(text.as_bytes());
}
