//! How values stand in bytes, here and in `node`: fields of fixed width, texts, and records that can grow.
//!
//! A value of its own begins with its version: major u16, minor u16. What follows, and every value
//! nested in it, is a record: its length u32, then its fields. A later minor version appends fields to
//! records; whoever does not know them passes over them. Everything is little-endian.
//!
//! Invariant: reading allocates no more than a small multiple of the bytes at hand, whatever the counts
//! in them say.

/// Why bytes are not the value that they should be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The bytes end before the value does.
    #[error("the bytes end within the {0}")]
    Short(&'static str),
    /// More bytes follow than the value has.
    #[error("{count} bytes follow the {what}")]
    Trailing {
        /// The value.
        what: &'static str,
        /// How many bytes.
        count: usize,
    },
    /// A version wrote it whose fields have another meaning.
    #[error(
        "the {what} has version {major}.{minor}, this node reads version {supported}: \
         start a newer version of Piccolo on this node"
    )]
    Version {
        /// The value.
        what: &'static str,
        /// The major version found.
        major: u16,
        /// The minor version found.
        minor: u16,
        /// The major version that is read here.
        supported: u16,
    },
    /// One of several kinds is meant, and it is not one that this version knows.
    #[error(
        "the {what} is of kind {found}, which this node does not know: either the bytes are damaged \
         or a newer version of Piccolo wrote them"
    )]
    Kind {
        /// What has the kind.
        what: &'static str,
        /// The kind found.
        found: u8,
    },
    /// A value that no version writes.
    #[error("the {0} has no valid value")]
    Value(&'static str),
}

/// Reads fields from the front of a record.
pub struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    /// The fields of a value at the front of `bytes` that [`put_value`] wrote, and how many bytes it has.
    ///
    /// # Errors
    /// [`DecodeError`].
    pub fn of_value(
        bytes: &'a [u8],
        supported: u16,
        what: &'static str,
    ) -> Result<(Fields<'a>, usize), DecodeError> {
        let mut front = Fields(bytes);
        let (major, minor) = (front.u16(what)?, front.u16(what)?);
        if major != supported {
            return Err(DecodeError::Version {
                what,
                major,
                minor,
                supported,
            });
        }
        let fields = front.record(what)?;
        Ok((fields, bytes.len() - front.0.len()))
    }

    /// The fields of a record at the front of `bytes` that [`put_record`] wrote.
    ///
    /// # Errors
    /// [`DecodeError`].
    pub fn of_record(bytes: &'a [u8], what: &'static str) -> Result<Fields<'a>, DecodeError> {
        Fields(bytes).record(what)
    }

    /// All that is not read yet.
    pub fn rest(&self) -> &'a [u8] {
        self.0
    }

    fn bytes(&mut self, count: usize, field: &'static str) -> Result<&'a [u8], DecodeError> {
        let (bytes, rest) = self
            .0
            .split_at_checked(count)
            .ok_or(DecodeError::Short(field))?;
        self.0 = rest;
        Ok(bytes)
    }

    fn array<const N: usize>(&mut self, field: &'static str) -> Result<[u8; N], DecodeError> {
        let (bytes, rest) = self
            .0
            .split_first_chunk()
            .ok_or(DecodeError::Short(field))?;
        self.0 = rest;
        Ok(*bytes)
    }

    /// One byte.
    ///
    /// # Errors
    /// [`DecodeError`].
    pub fn u8(&mut self, field: &'static str) -> Result<u8, DecodeError> {
        self.array(field).map(u8::from_le_bytes)
    }

    fn u16(&mut self, field: &'static str) -> Result<u16, DecodeError> {
        self.array(field).map(u16::from_le_bytes)
    }

    /// Four bytes.
    ///
    /// # Errors
    /// [`DecodeError`].
    pub fn u32(&mut self, field: &'static str) -> Result<u32, DecodeError> {
        self.array(field).map(u32::from_le_bytes)
    }

    /// Eight bytes.
    ///
    /// # Errors
    /// [`DecodeError`].
    pub fn u64(&mut self, field: &'static str) -> Result<u64, DecodeError> {
        self.array(field).map(u64::from_le_bytes)
    }

    /// One byte that is 0 or 1.
    ///
    /// # Errors
    /// [`DecodeError`].
    pub fn bool(&mut self, field: &'static str) -> Result<bool, DecodeError> {
        match self.u8(field)? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(DecodeError::Value(field)),
        }
    }

    /// A u64 that is never 0.
    ///
    /// # Errors
    /// [`DecodeError`].
    pub fn id(&mut self, field: &'static str) -> Result<u64, DecodeError> {
        match self.u64(field)? {
            0 => Err(DecodeError::Value(field)),
            id => Ok(id),
        }
    }

    /// What [`put_text`] wrote.
    ///
    /// # Errors
    /// [`DecodeError`].
    pub fn text(&mut self, field: &'static str) -> Result<String, DecodeError> {
        let length = self.u32(field)? as usize;
        let bytes = self.bytes(length, field)?;
        str::from_utf8(bytes)
            .map(str::to_owned)
            .map_err(|_| DecodeError::Value(field))
    }

    /// The fields of a record that [`put_record`] wrote. What is left of them unread is ignored.
    ///
    /// # Errors
    /// [`DecodeError`].
    pub fn record(&mut self, field: &'static str) -> Result<Fields<'a>, DecodeError> {
        let length = self.u32(field)? as usize;
        self.bytes(length, field).map(Fields)
    }

    /// What [`put_list`] wrote. `read` gets one record's fields at a time.
    ///
    /// # Errors
    /// [`DecodeError`].
    pub fn list(
        &mut self,
        field: &'static str,
        mut read: impl FnMut(&mut Fields<'a>) -> Result<(), DecodeError>,
    ) -> Result<(), DecodeError> {
        for _ in 0..self.u32(field)? {
            read(&mut self.record(field)?)?;
        }
        Ok(())
    }
}

/// Appends a value of its own: its version, then the record of its fields.
pub fn put_value(out: &mut Vec<u8>, (major, minor): (u16, u16), fields: impl FnOnce(&mut Vec<u8>)) {
    put_u16(out, major);
    put_u16(out, minor);
    put_record(out, fields);
}

/// Appends the length of the fields and the fields.
pub fn put_record(out: &mut Vec<u8>, fields: impl FnOnce(&mut Vec<u8>)) {
    let at = out.len();
    put_u32(out, 0);
    fields(out);
    let length = length(out.len() - at - 4);
    out[at..at + 4].copy_from_slice(&length.to_le_bytes());
}

/// Appends the number of items, and each as a record.
pub fn put_list<T>(
    out: &mut Vec<u8>,
    items: impl ExactSizeIterator<Item = T>,
    mut fields: impl FnMut(&mut Vec<u8>, T),
) {
    put_u32(out, length(items.len()));
    for item in items {
        put_record(out, |out| fields(out, item));
    }
}

/// Appends the length of a text and the text.
pub fn put_text(out: &mut Vec<u8>, text: &str) {
    put_u32(out, length(text.len()));
    out.extend_from_slice(text.as_bytes());
}

fn put_u16(out: &mut Vec<u8>, value: u16) {
    out.extend_from_slice(&value.to_le_bytes());
}

/// Appends four bytes.
pub fn put_u32(out: &mut Vec<u8>, value: u32) {
    out.extend_from_slice(&value.to_le_bytes());
}

/// Appends eight bytes.
pub fn put_u64(out: &mut Vec<u8>, value: u64) {
    out.extend_from_slice(&value.to_le_bytes());
}

fn length(count: usize) -> u32 {
    u32::try_from(count).expect("values here are far below 4 GiB")
}

/// All of `bytes` is the value that `front` reads from their front.
///
/// # Errors
/// [`DecodeError`].
pub fn whole<T>(
    bytes: &[u8],
    what: &'static str,
    front: impl FnOnce(&[u8]) -> Result<(T, usize), DecodeError>,
) -> Result<T, DecodeError> {
    let (value, length) = front(bytes)?;
    match bytes.len() - length {
        0 => Ok(value),
        count => Err(DecodeError::Trailing { what, count }),
    }
}
