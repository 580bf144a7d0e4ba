//! Small collections: all elements in one run of bytes, which stands in the entry itself while it is
//! short.
//!
//! | bytes | what |
//! | --- | --- |
//! | 2 | how many elements, little-endian |
//! | | the elements, each a head, its content, and a tail |
//!
//! | head | content |
//! | --- | --- |
//! | `0x00` to `0x7f` | none: the head is the number |
//! | `0x80` to `0xbf` | a string of as many bytes as the low 6 bits tell |
//! | `0xc0` to `0xdf` | 1 byte, the low bits of a number from -4096 to 4095, to which 4096 is added; the high 5 stand in the head |
//! | `0xe0` `0xe1` `0xe2` `0xe3` | a number of 2, 3, 4 or 8 bytes, little-endian |
//! | `0xe4` `0xe5` | a string, its length before it in 2 or 4 bytes |
//! | `0xf0` to `0xff` | a string of up to 4095 bytes: the low 4 bits of the head are the high ones of the length, the next byte the others |
//!
//! The tail tells how many bytes head and content take, for those who come from behind: 7 bits a byte, the lowest
//! last, the high bit of all but the first set. An element has one form: whatever prints as a
//! number that fits is one, and all take the shortest form that holds them. So equal elements are
//! equal bytes, and a search compares bytes alone.

use std::borrow::Cow;
use std::ops::Range;

/// The number of elements, before them.
pub(crate) const COUNT_BYTES: usize = 2;

/// No packed collection has more elements; thresholds are kept below.
pub(crate) const ELEMENTS_MAX: usize = u16::MAX as usize;

/// A packed collection of no elements.
pub(crate) const NOTHING: &[u8] = &[0; COUNT_BYTES];

const SHORT_STRING: u8 = 0x80;
const SHORT_STRING_BYTES: usize = 0x3f;
const SMALL_NUMBER: u8 = 0xc0;
const NUMBER_2: u8 = 0xe0;
const NUMBER_3: u8 = 0xe1;
const NUMBER_4: u8 = 0xe2;
const NUMBER_8: u8 = 0xe3;
const STRING_2: u8 = 0xe4;
const STRING_4: u8 = 0xe5;
const MEDIUM_STRING: u8 = 0xf0;
const MEDIUM_STRING_BYTES: usize = 0xfff;

/// An element of a collection: a field, a value or a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Element<'k> {
    /// Bytes.
    Bytes(&'k [u8]),
    /// A whole number, which stands for its digits.
    Number(i64),
}

impl<'k> Element<'k> {
    /// What the element is for those outside: its bytes, or the digits.
    pub fn to_bytes(self) -> Cow<'k, [u8]> {
        match self {
            Element::Bytes(bytes) => Cow::Borrowed(bytes),
            Element::Number(number) => {
                Cow::Owned(itoa::Buffer::new().format(number).as_bytes().to_vec())
            }
        }
    }

    /// Calls `use_bytes` with the bytes, without an allocation.
    pub fn with_bytes<R>(self, use_bytes: impl FnOnce(&[u8]) -> R) -> R {
        match self {
            Element::Bytes(bytes) => use_bytes(bytes),
            Element::Number(number) => use_bytes(itoa::Buffer::new().format(number).as_bytes()),
        }
    }

    /// How many bytes it has for those outside.
    pub fn len(self) -> usize {
        match self {
            Element::Bytes(bytes) => bytes.len(),
            Element::Number(_) => self.with_bytes(<[u8]>::len),
        }
    }

    /// Whether it has no bytes.
    pub fn is_empty(self) -> bool {
        self.len() == 0
    }
}

/// The number that these bytes print, if they print one.
pub(crate) fn number_of(bytes: &[u8]) -> Option<i64> {
    let digits = bytes.strip_prefix(b"-").unwrap_or(bytes);
    let canonical = match digits {
        [b'0', ..] => bytes == b"0",
        [b'1'..=b'9', ..] if digits.len() <= 19 => digits.iter().all(u8::is_ascii_digit),
        _ => false,
    };
    if !canonical {
        return None;
    }
    str::from_utf8(bytes).ok()?.parse().ok()
}

/// An element as it stands in a packed collection, without the tail.
pub(crate) struct Encoded<'e> {
    head: [u8; 9],
    head_len: u8,
    content: &'e [u8],
}

impl<'e> Encoded<'e> {
    pub(crate) fn of(bytes: &'e [u8]) -> Encoded<'e> {
        match number_of(bytes) {
            Some(number) => Encoded::of_number(number),
            None => Encoded::of_string(bytes),
        }
    }

    pub(crate) fn of_number(number: i64) -> Encoded<'static> {
        let mut head = [0; 9];
        let bytes = number.to_le_bytes();
        let with = |head: &mut [u8; 9], first: u8, len: usize| {
            head[0] = first;
            head[1..=len].copy_from_slice(&bytes[..len]);
            len + 1
        };
        let head_len = match number {
            0..=127 => {
                head[0] = number as u8;
                1
            }
            -4096..=4095 => {
                let shifted = (number + 4096) as u16;
                head[0] = SMALL_NUMBER | (shifted >> 8) as u8;
                head[1] = shifted as u8;
                2
            }
            -0x8000..=0x7fff => with(&mut head, NUMBER_2, 2),
            -0x80_0000..=0x7f_ffff => with(&mut head, NUMBER_3, 3),
            -0x8000_0000..=0x7fff_ffff => with(&mut head, NUMBER_4, 4),
            _ => with(&mut head, NUMBER_8, 8),
        };
        Encoded {
            head,
            head_len: head_len as u8,
            content: b"",
        }
    }

    fn of_string(bytes: &[u8]) -> Encoded<'_> {
        let mut head = [0; 9];
        let head_len = if bytes.len() <= SHORT_STRING_BYTES {
            head[0] = SHORT_STRING | bytes.len() as u8;
            1
        } else if bytes.len() <= MEDIUM_STRING_BYTES {
            head[0] = MEDIUM_STRING | (bytes.len() >> 8) as u8;
            head[1] = bytes.len() as u8;
            2
        } else if let Ok(len) = u16::try_from(bytes.len()) {
            head[0] = STRING_2;
            head[1..3].copy_from_slice(&len.to_le_bytes());
            3
        } else {
            let len = u32::try_from(bytes.len()).expect("elements are shorter than 4 GiB");
            head[0] = STRING_4;
            head[1..5].copy_from_slice(&len.to_le_bytes());
            5
        };
        Encoded {
            head,
            head_len,
            content: bytes,
        }
    }

    fn head(&self) -> &[u8] {
        &self.head[..usize::from(self.head_len)]
    }

    /// How many bytes the element takes, with its tail.
    pub(crate) fn size(&self) -> usize {
        let body = self.body_len();
        body + tail_len(body)
    }

    /// Appends the element.
    pub(crate) fn push(&self, out: &mut Vec<u8>) {
        self.push_body(out);
        push_tail(self.body_len(), out);
    }

    /// Whether it is a number.
    pub(crate) fn is_number(&self) -> bool {
        !matches!(
            self.head[0],
            SHORT_STRING..SMALL_NUMBER | STRING_2 | STRING_4
        )
    }

    /// How many bytes the element takes without its tail.
    pub(crate) fn body_len(&self) -> usize {
        self.head().len() + self.content.len()
    }

    /// Appends the element without its tail.
    pub(crate) fn push_body(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.head());
        out.extend_from_slice(self.content);
    }

    /// Whether this is the element at the start of these bytes.
    pub(crate) fn starts(&self, bytes: &[u8]) -> bool {
        bytes
            .strip_prefix(self.head())
            .is_some_and(|rest| rest.starts_with(self.content))
    }
}

/// How many bytes the tail takes that tells this length.
fn tail_len(body: usize) -> usize {
    match body {
        0..0x80 => 1,
        0x80..0x4000 => 2,
        0x4000..0x20_0000 => 3,
        0x20_0000..0x1000_0000 => 4,
        _ => 5,
    }
}

fn push_tail(body: usize, out: &mut Vec<u8>) {
    for place in (0..tail_len(body)).rev() {
        let more = if place + 1 < tail_len(body) { 0x80 } else { 0 };
        out.push((body >> (7 * place)) as u8 & 0x7f | more);
    }
}

/// Head and content of the element at the start of these bytes take so many; none if they are cut
/// short.
fn body_len(bytes: &[u8]) -> Option<usize> {
    let head = *bytes.first()?;
    let len = match head {
        0..0x80 => 1,
        0x80..0xc0 => 1 + usize::from(head & 0x3f),
        0xc0..0xe0 => 2,
        NUMBER_2 => 3,
        NUMBER_3 => 4,
        NUMBER_4 => 5,
        NUMBER_8 => 9,
        STRING_2 => {
            let len = bytes.get(1..3)?.try_into().ok()?;
            3 + usize::from(u16::from_le_bytes(len))
        }
        STRING_4 => {
            let len = bytes.get(1..5)?.try_into().ok()?;
            5 + u32::from_le_bytes(len) as usize
        }
        MEDIUM_STRING.. => 2 + (usize::from(head & 0x0f) << 8 | usize::from(*bytes.get(1)?)),
        _ => return None,
    };
    Some(len)
}

/// The element without a tail at the start of these bytes, and how many it takes; none if they are cut short.
pub(crate) fn element_at(bytes: &[u8]) -> Option<(Element<'_>, usize)> {
    let len = body_len(bytes)?;
    Some((decode(bytes.get(..len)?), len))
}

/// The element whose head and content these are.
fn decode(body: &[u8]) -> Element<'_> {
    let head = body[0];
    let number = |len: usize| {
        let mut bytes = [0; 8];
        bytes[8 - len..].copy_from_slice(&body[1..=len]);
        Element::Number(i64::from_le_bytes(bytes) >> (64 - 8 * len))
    };
    match head {
        0..0x80 => Element::Number(i64::from(head)),
        0x80..0xc0 => Element::Bytes(&body[1..]),
        0xc0..0xe0 => Element::Number((i64::from(head & 0x1f) << 8 | i64::from(body[1])) - 4096),
        NUMBER_2 => number(2),
        NUMBER_3 => number(3),
        NUMBER_4 => number(4),
        NUMBER_8 => number(8),
        STRING_2 => Element::Bytes(&body[3..]),
        MEDIUM_STRING.. => Element::Bytes(&body[2..]),
        _ => Element::Bytes(&body[5..]),
    }
}

/// A packed collection, to be read.
#[derive(Clone, Copy)]
pub(crate) struct Packed<'b> {
    bytes: &'b [u8],
}

impl<'b> Packed<'b> {
    /// Bytes of this module's layout: what was built here, or [`Packed::checked`].
    pub(crate) fn new(bytes: &'b [u8]) -> Packed<'b> {
        Packed { bytes }
    }

    /// The collection that these bytes are; none if they are not one.
    pub(crate) fn checked(bytes: &'b [u8]) -> Option<Packed<'b>> {
        let packed = Packed { bytes };
        let (count, mut rest) = bytes.split_first_chunk::<COUNT_BYTES>()?;
        let mut again = Vec::new();
        for _ in 0..u16::from_le_bytes(*count) {
            let len = body_len(rest)?;
            let body = rest.get(..len)?;
            again.clear();
            match decode(body) {
                Element::Bytes(bytes) => Encoded::of(bytes).push(&mut again),
                Element::Number(number) => Encoded::of_number(number).push(&mut again),
            }
            rest = rest.strip_prefix(again.as_slice())?;
        }
        rest.is_empty().then_some(packed)
    }

    /// How many elements there are.
    pub(crate) fn len(&self) -> usize {
        usize::from(u16::from_le_bytes([self.bytes[0], self.bytes[1]]))
    }

    /// Where the first element starts.
    pub(crate) fn start(&self) -> usize {
        COUNT_BYTES
    }

    /// Where the last element ends.
    pub(crate) fn end(&self) -> usize {
        self.bytes.len()
    }

    /// The element at an offset, and where the next one starts.
    pub(crate) fn at(&self, offset: usize) -> (Element<'b>, usize) {
        let rest = &self.bytes[offset..];
        let len = body_len(rest).expect("elements are whole");
        (decode(&rest[..len]), offset + len + tail_len(len))
    }

    /// Whether these bytes, an element with its tail, stand at an offset.
    pub(crate) fn stands_at(&self, offset: usize, element: &[u8]) -> bool {
        self.bytes[offset..].starts_with(element)
    }

    /// Where the element after that at an offset starts.
    pub(crate) fn after(&self, offset: usize) -> usize {
        let len = body_len(&self.bytes[offset..]).expect("elements are whole");
        offset + len + tail_len(len)
    }

    /// Where the element starts that ends at an offset.
    pub(crate) fn before(&self, end: usize) -> usize {
        let (mut body, mut tail) = (0, 0);
        loop {
            let byte = self.bytes[end - 1 - tail];
            body |= usize::from(byte & 0x7f) << (7 * tail);
            tail += 1;
            if byte & 0x80 == 0 {
                return end - tail - body;
            }
        }
    }

    /// All elements with where they start, in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (usize, Element<'b>)> + use<'b> {
        let packed = *self;
        let mut offset = packed.start();
        std::iter::from_fn(move || {
            (offset < packed.end()).then(|| {
                let (element, next) = packed.at(offset);
                (std::mem::replace(&mut offset, next), element)
            })
        })
    }

    /// Elements as they stand there.
    pub(crate) fn bytes(&self, range: Range<usize>) -> &'b [u8] {
        &self.bytes[range]
    }

    /// Whether that element starts at an offset.
    pub(crate) fn is_at(&self, offset: usize, sought: &Encoded<'_>) -> bool {
        sought.starts(&self.bytes[offset..])
    }

    /// The numbers of the elements that are equal to one, and where they start.
    pub(crate) fn equal<'s, 'e>(
        &self,
        sought: &'s Encoded<'e>,
    ) -> impl Iterator<Item = (usize, usize)> + use<'b, 's, 'e> {
        let packed = *self;
        let (mut index, mut offset) = (0, packed.start());
        std::iter::from_fn(move || {
            while offset < packed.end() {
                let (at, number) = (offset, index);
                offset = packed.after(offset);
                index += 1;
                if packed.is_at(at, sought) {
                    return Some((number, at));
                }
            }
            None
        })
    }

    /// Where the element of that number starts; counted from whichever end is nearer.
    pub(crate) fn offset_of(&self, index: usize) -> usize {
        let len = self.len();
        assert!(index < len, "the element is there");
        if index < len / 2 {
            (0..index).fold(self.start(), |offset, _| self.after(offset))
        } else {
            (index..len).fold(self.end(), |offset, _| self.before(offset))
        }
    }

    /// Where the first of every `step`th element starts that is this one.
    pub(crate) fn find(&self, sought: &Encoded<'_>, step: usize) -> Option<usize> {
        let mut offset = self.start();
        while offset < self.end() {
            if sought.starts(&self.bytes[offset..]) {
                return Some(offset);
            }
            for _ in 0..step {
                offset = self.after(offset);
            }
        }
        None
    }
}

/// A packed collection of these elements.
#[cfg(test)]
pub(crate) fn pack<'e>(elements: impl IntoIterator<Item = &'e [u8]>) -> Vec<u8> {
    let mut bytes = NOTHING.to_vec();
    let mut count = 0_u16;
    for element in elements {
        Encoded::of(element).push(&mut bytes);
        count += 1;
    }
    bytes[..COUNT_BYTES].copy_from_slice(&count.to_le_bytes());
    bytes
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn elements() -> impl Strategy<Value = Vec<Vec<u8>>> {
        let element = prop_oneof![
            4 => any::<i64>().prop_flat_map(|number| (0..64_u32)
                .prop_map(move |shift| (number >> shift).to_string().into_bytes())),
            4 => proptest::collection::vec(any::<u8>(), 0..70),
            1 => (0..5000_usize).prop_map(|len| vec![b'y'; len]),
            1 => (0..70_000_usize).prop_map(|len| vec![b'x'; len]),
            1 => prop_oneof![Just("-0"), Just("007"), Just(""), Just("9223372036854775808")]
                .prop_map(|text| text.as_bytes().to_vec()),
        ];
        proptest::collection::vec(element, 0..20)
    }

    proptest! {
        #[test]
        fn elements_read_back_from_either_end(elements in elements()) {
            let bytes = pack(elements.iter().map(Vec::as_slice));
            let packed = Packed::checked(&bytes).expect("what is packed is a collection");
            prop_assert_eq!(packed.len(), elements.len());
            let read: Vec<Vec<u8>> =
                packed.iter().map(|(_, element)| element.to_bytes().into_owned()).collect();
            prop_assert_eq!(&read, &elements);
            let mut end = packed.end();
            for (index, element) in elements.iter().enumerate().rev() {
                end = packed.before(end);
                prop_assert_eq!(end, packed.offset_of(index));
                prop_assert_eq!(&*packed.at(end).0.to_bytes(), element.as_slice());
                let encoded = Encoded::of(element);
                prop_assert_eq!(packed.after(end) - end, encoded.size());
                let found = packed.find(&encoded, 1).expect("it is there");
                let first = elements.iter().position(|other| other == element);
                prop_assert_eq!(Some(found), first.map(|index| packed.offset_of(index)));
            }
            prop_assert_eq!(end, packed.start());
        }

        #[test]
        fn bytes_are_refused_or_are_what_packing_makes(
            mut bytes in proptest::collection::vec(any::<u8>(), 0..40),
            count in 0..6_u16,
        ) {
            if bytes.len() >= 2 {
                bytes[..2].copy_from_slice(&count.to_le_bytes());
            }
            if let Some(packed) = Packed::checked(&bytes) {
                let elements: Vec<_> = packed.iter().map(|(_, element)| element.to_bytes()).collect();
                prop_assert_eq!(pack(elements.iter().map(|element| &**element)), bytes);
            }
        }
    }

    #[test]
    fn every_cut_and_every_changed_bit_of_heads_is_refused() {
        let bytes = pack([
            &b"a"[..],
            b"1",
            b"-5",
            b"300",
            b"70000",
            b"99999999999",
            &[b'x'; 100],
        ]);
        for len in 0..bytes.len() {
            assert!(Packed::checked(&bytes[..len]).is_none(), "{len} bytes");
        }
        // "127" as a number of two bytes, and as a string.
        assert!(Packed::checked(&[1, 0, NUMBER_2, 127, 0, 3]).is_none());
        assert!(Packed::checked(&[1, 0, 0x83, b'1', b'2', b'7', 4]).is_none());
    }

    #[test]
    fn strings_take_the_shortest_head() {
        for (len, size) in [
            (63, 65),
            (64, 67),
            (4095, 4099),
            (4096, 4101),
            (65_535, 65_541),
            (65_536, 65_544),
        ] {
            assert_eq!(Encoded::of(&vec![b'x'; len]).size(), size, "{len}");
        }
    }

    #[test]
    fn small_elements_take_two_bytes_beside_their_own() {
        for (element, size) in [
            ("abc", 5),
            ("100", 2),
            ("-1", 3),
            ("4095", 3),
            ("4096", 4),
            ("100000", 5),
            ("1750000000000", 10),
        ] {
            assert_eq!(Encoded::of(element.as_bytes()).size(), size, "{element}");
        }
    }
}
