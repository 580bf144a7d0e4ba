//! Numbers as LEB128 in its shortest form: seven bits a byte, the lowest first.

/// Why bytes do not start with a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum VarintError {
    /// They end within it.
    Truncated,
    /// It is longer than it need be, or does not fit 64 bits.
    Malformed,
}

/// Appends a number.
pub(crate) fn put(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// Takes a number from the front of `bytes`.
pub(crate) fn take(bytes: &mut &[u8]) -> Result<u64, VarintError> {
    let mut number = 0;
    for (index, &byte) in bytes.iter().enumerate().take(10) {
        // The tenth byte has room for one bit; a last byte of zero adds nothing.
        if (index == 9 && byte > 1) || (index > 0 && byte == 0) {
            return Err(VarintError::Malformed);
        }
        number |= u64::from(byte & 0x7f) << (7 * index);
        if byte < 0x80 {
            *bytes = &bytes[index + 1..];
            return Ok(number);
        }
    }
    Err(if bytes.len() < 10 {
        VarintError::Truncated
    } else {
        VarintError::Malformed
    })
}
