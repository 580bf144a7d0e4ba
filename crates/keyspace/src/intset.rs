//! Small sets of whole numbers: the numbers in ascending order, all of one width.
//!
//! | bytes | what |
//! | --- | --- |
//! | 1 | the width: 2, 4 or 8 |
//! | width each | the numbers, little-endian |
//!
//! A number that does not fit makes all wider; none makes them narrower again.

/// A set of no numbers.
pub(crate) const NOTHING: &[u8] = &[2];

/// A set of numbers, to be read.
#[derive(Clone, Copy)]
pub(crate) struct Intset<'b> {
    bytes: &'b [u8],
}

impl<'b> Intset<'b> {
    /// Bytes of this module's layout.
    pub(crate) fn new(bytes: &'b [u8]) -> Intset<'b> {
        Intset { bytes }
    }

    /// The set that these bytes are; none if they are not one.
    pub(crate) fn checked(bytes: &'b [u8]) -> Option<Intset<'b>> {
        let set = Intset { bytes };
        let width = usize::from(*bytes.first()?);
        let whole = matches!(width, 2 | 4 | 8) && (bytes.len() - 1).is_multiple_of(width);
        (whole && set.iter().is_sorted_by(|one, other| one < other)).then_some(set)
    }

    pub(crate) fn width(&self) -> usize {
        usize::from(self.bytes[0])
    }

    pub(crate) fn len(&self) -> usize {
        (self.bytes.len() - 1) / self.width()
    }

    /// Where the number of that index starts.
    pub(crate) fn offset_of(&self, index: usize) -> usize {
        1 + index * self.width()
    }

    /// The number of that index, ascending.
    pub(crate) fn get(&self, index: usize) -> i64 {
        let (at, width) = (self.offset_of(index), self.width());
        let mut bytes = [0; 8];
        bytes[8 - width..].copy_from_slice(&self.bytes[at..at + width]);
        i64::from_le_bytes(bytes) >> (64 - 8 * width)
    }

    pub(crate) fn iter(&self) -> impl DoubleEndedIterator<Item = i64> + use<'b> {
        let set = *self;
        (0..set.len()).map(move |index| set.get(index))
    }

    /// The index of a number, or that at which it would be inserted.
    pub(crate) fn find(&self, number: i64) -> Result<usize, usize> {
        let (mut low, mut high) = (0, self.len());
        while low < high {
            let middle = low.midpoint(high);
            match self.get(middle).cmp(&number) {
                std::cmp::Ordering::Less => low = middle + 1,
                std::cmp::Ordering::Equal => return Ok(middle),
                std::cmp::Ordering::Greater => high = middle,
            }
        }
        Err(low)
    }

    /// The same numbers, each of that width.
    pub(crate) fn widened(&self, width: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(1 + (self.len() + 1) * width);
        bytes.push(width as u8);
        for number in self.iter() {
            bytes.extend_from_slice(&number.to_le_bytes()[..width]);
        }
        bytes
    }
}

/// The width that a number needs.
pub(crate) fn width_of(number: i64) -> usize {
    match number {
        -0x8000..=0x7fff => 2,
        -0x8000_0000..=0x7fff_ffff => 4,
        _ => 8,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(numbers: &[i64], width: usize) -> Vec<u8> {
        let mut bytes = vec![width as u8];
        for number in numbers {
            bytes.extend_from_slice(&number.to_le_bytes()[..width]);
        }
        bytes
    }

    #[test]
    fn numbers_are_found_and_widened() {
        let bytes = set(&[-0x8000, -3, 0, 5, 0x7fff], 2);
        let small = Intset::checked(&bytes).expect("it is a set");
        assert_eq!(small.find(-3), Ok(1));
        assert_eq!(small.find(4), Err(3));
        assert_eq!(small.find(i64::MAX), Err(5));
        for width in [4, 8] {
            let wide = small.widened(width);
            let wide = Intset::checked(&wide).expect("it is a set");
            assert!(wide.iter().eq(small.iter()));
        }
        assert_eq!([0x7fff, 0x8000, 1 << 31].map(width_of), [2, 4, 8]);
    }

    #[test]
    fn what_is_no_set_is_refused() {
        assert!(Intset::checked(NOTHING).is_some());
        for bytes in [
            &[][..],
            &[3],
            &[2, 1],
            &[0],
            &set(&[1, 1], 2),
            &set(&[2, 1], 4),
        ] {
            assert!(Intset::checked(bytes).is_none(), "{bytes:?}");
        }
    }
}
