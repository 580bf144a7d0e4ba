//! Requests as bytes: built once, and only the digits of their keys change.

use resp::client::request;

use super::args::Op;

/// The digits of a key; its first four bytes are `key:`.
const DIGITS: usize = 12;

/// What a batch is made of.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    /// `Fill` counts as `Set`.
    pub(crate) op: Op,
    /// Requests of a batch.
    pub(crate) pipeline: u32,
    /// Bytes of a value.
    pub(crate) value_size: usize,
}

/// The batches of one run, one after another. All clients share them: a batch is made, written to a socket, and
/// made anew in the same bytes, which therefore stay in the cache.
#[derive(Debug)]
pub(crate) struct Batch {
    shape: Shape,
    keys: Keys,
    /// A whole batch. For `Mixed` it is put together anew each time.
    bytes: Vec<u8>,
    /// What it is made of. For `Mixed`, one of the two.
    one: Request,
    other: Option<Request>,
}

/// What a client sends for one key: one command or several, and where the digits of the key are.
#[derive(Debug)]
struct Request {
    bytes: Vec<u8>,
    digits_at: Vec<usize>,
    commands: u32,
}

impl Request {
    fn new(commands: &[Vec<Vec<u8>>]) -> Request {
        let mut bytes = Vec::new();
        let mut digits_at = Vec::new();
        for words in commands {
            let words: Vec<&[u8]> = words.iter().map(Vec::as_slice).collect();
            let start = bytes.len();
            request(&mut bytes, &words);
            let digits = &key(0)[4..];
            let places = bytes[start..].windows(DIGITS);
            let found = places.enumerate().filter(|(_, window)| *window == digits);
            digits_at.extend(found.map(|(at, _)| start + at));
        }
        Request {
            bytes,
            digits_at,
            commands: commands.len() as u32,
        }
    }

    fn of(args: &[&[u8]]) -> Request {
        Request::new(&[args.iter().map(|arg| arg.to_vec()).collect()])
    }
}

/// The words of each command of a template.
pub(crate) fn words(template: &str, value_size: usize) -> Vec<Vec<Vec<u8>>> {
    let value = String::from_utf8(value(value_size)).expect("a value is printable");
    let key = String::from_utf8(key(0).to_vec()).expect("a key is printable");
    let fill = |word: &str| {
        let word = word.replace("{key}", &key).replace("{digits}", &key[4..]);
        word.replace("{value}", &value).into_bytes()
    };
    let commands = template.split(" ; ");
    commands
        .map(|command| command.split_whitespace().map(fill).collect())
        .collect()
}

impl Batch {
    pub(crate) fn new(shape: Shape, keys: Keys) -> Batch {
        let get = || Request::of(&[b"GET", &key(0)]);
        let set = || Request::of(&[b"SET", &key(0), &value(shape.value_size)]);
        match shape.op {
            Op::Get => Batch::repeat(get(), shape, keys),
            Op::Set | Op::Fill => Batch::repeat(set(), shape, keys),
            Op::Mixed => Batch {
                shape,
                keys,
                bytes: Vec::new(),
                one: get(),
                other: Some(set()),
            },
        }
    }

    /// Batches of what a template says.
    pub(crate) fn of(template: &str, shape: Shape, keys: Keys) -> Batch {
        let request = Request::new(&words(template, shape.value_size));
        Batch::repeat(request, shape, keys)
    }

    fn repeat(one: Request, shape: Shape, keys: Keys) -> Batch {
        Batch {
            shape,
            keys,
            bytes: one.bytes.repeat(shape.pipeline as usize),
            one,
            other: None,
        }
    }

    pub(crate) fn shape(&self) -> Shape {
        self.shape
    }

    /// Makes no more batches.
    pub(crate) fn stop(&mut self) {
        self.keys = Keys::Sequence { next: 0, end: 0 };
    }

    /// Makes the next batch: its bytes, and how many requests they are. `None` when all keys were sent.
    #[inline]
    pub(crate) fn next(&mut self) -> Option<(&[u8], u32)> {
        match self.other {
            Some(_) => self.next_mixed(),
            None => self.next_alike(),
        }
    }

    fn next_alike(&mut self) -> Option<(&[u8], u32)> {
        let length = self.one.bytes.len();
        let mut requests = 0;
        for request in self.bytes.chunks_exact_mut(length) {
            let Some(key) = self.keys.next() else { break };
            for at in &self.one.digits_at {
                write_digits(&mut request[*at..], key);
            }
            requests += 1;
        }
        let bytes = &self.bytes[..requests * length];
        (requests > 0).then(|| (bytes, requests as u32 * self.one.commands))
    }

    fn next_mixed(&mut self) -> Option<(&[u8], u32)> {
        self.bytes.clear();
        let mut count = 0;
        while count < self.shape.pipeline
            && let Some((key, coin)) = self.keys.next_with_coin()
        {
            let request = match &self.other {
                Some(other) if !coin => other,
                _ => &self.one,
            };
            let start = self.bytes.len();
            self.bytes.extend_from_slice(&request.bytes);
            for at in &request.digits_at {
                write_digits(&mut self.bytes[start + at..], key);
            }
            count += 1;
        }
        (count > 0).then_some((&self.bytes[..], count))
    }
}

/// Which keys come next.
#[derive(Clone, Debug)]
pub(crate) enum Keys {
    /// Any of the first `count`, each as likely as the others, for ever.
    Random { state: u64, count: u64 },
    /// Each once, in order.
    Sequence { next: u64, end: u64 },
}

impl Keys {
    /// The same seed gives the same keys.
    pub(crate) fn random(count: u64, seed: u64) -> Keys {
        Keys::Random { state: seed, count }
    }

    #[inline]
    fn next(&mut self) -> Option<u64> {
        self.next_with_coin().map(|(key, _)| key)
    }

    /// A key, and a fair coin that is independent of it.
    #[inline]
    fn next_with_coin(&mut self) -> Option<(u64, bool)> {
        match self {
            Keys::Random { state, count } => {
                let random = split_mix(state);
                // The upper half of the product is uniform below `count`: its bias is below 10^12 / 2^64. It
                // depends on the upper bits of the number, the coin on the lowest one.
                let key = (u128::from(random) * u128::from(*count)) >> 64;
                Some((key as u64, random & 1 == 1))
            }
            Keys::Sequence { next, end } => {
                let key = *next;
                *next += 1;
                (key < *end).then_some((key, false))
            }
        }
    }
}

/// SplitMix64 (Steele, Lea, Flood: Fast Splittable Pseudorandom Number Generators, 2014).
#[inline]
fn split_mix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut mixed = *state;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// The key of that number, which is below 10^12.
pub(crate) fn key(number: u64) -> [u8; 16] {
    let mut key = *b"key:000000000000";
    write_digits(&mut key[4..], number);
    key
}

/// A value of that size: the same printable bytes each time, none like the one before it.
pub(crate) fn value(size: usize) -> Vec<u8> {
    let mut state = 1;
    (0..size)
        .map(|_| b'!' + (split_mix(&mut state) % 94) as u8)
        .collect()
}

/// Writes a number below 10^12 over the first twelve bytes, with leading zeros.
#[inline]
fn write_digits(bytes: &mut [u8], number: u64) {
    debug_assert!(number < 1_000_000_000_000);
    let digits: &mut [u8; DIGITS] = bytes
        .first_chunk_mut()
        .expect("a request holds the digits of its key");
    // Three parts of four digits each do not wait for one another, twelve digits would.
    let parts = [
        number / 100_000_000,
        number / 10_000 % 10_000,
        number % 10_000,
    ];
    for (part, place) in parts.into_iter().zip(digits.chunks_exact_mut(4)) {
        let part = part as u32;
        place[0] = b'0' + (part / 1000) as u8;
        place[1] = b'0' + (part / 100 % 10) as u8;
        place[2] = b'0' + (part / 10 % 10) as u8;
        place[3] = b'0' + (part % 10) as u8;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(op: Op, pipeline: u32, keys: Keys) -> Batch {
        Batch::new(
            Shape {
                op,
                pipeline,
                value_size: 3,
            },
            keys,
        )
    }

    #[test]
    fn keys_have_sixteen_bytes() {
        for (number, expected) in [
            (0, "key:000000000000"),
            (7, "key:000000000007"),
            (123_456_789_012, "key:123456789012"),
        ] {
            assert_eq!(key(number), expected.as_bytes());
            assert_eq!(format!("key:{number:012}"), expected);
        }
        assert_eq!(key(999_999_999_999), *b"key:999999999999");
    }

    #[test]
    fn only_the_digits_change() {
        let mut batch = batch(Op::Get, 2, Keys::Sequence { next: 9, end: 12 });
        let get = |key: &str| format!("*2\r\n$3\r\nGET\r\n$16\r\nkey:{key}\r\n");
        let expected = get("000000000009") + &get("000000000010");
        assert_eq!(batch.next(), Some((expected.as_bytes(), 2)));
        assert_eq!(batch.next(), Some((get("000000000011").as_bytes(), 1)));
        assert_eq!(batch.next(), None);
        assert_eq!(batch.next(), None);
    }

    #[test]
    fn a_fill_sets_each_key() {
        let mut batch = batch(Op::Fill, 1, Keys::Sequence { next: 0, end: 1 });
        let value = String::from_utf8(value(3)).unwrap();
        let expected = format!("*3\r\n$3\r\nSET\r\n$16\r\nkey:000000000000\r\n$3\r\n{value}\r\n");
        assert_eq!(batch.next(), Some((expected.as_bytes(), 1)));
        assert_eq!(batch.next(), None);
    }

    #[test]
    fn a_template_is_filled_in() {
        let shape = Shape {
            op: Op::Get,
            pipeline: 2,
            value_size: 2,
        };
        let template = "MULTI ; ZADD z:{key} {digits} {value}";
        let mut batch = Batch::of(template, shape, Keys::Sequence { next: 7, end: 8 });
        let value = String::from_utf8(value(2)).unwrap();
        let expected = format!(
            "*1\r\n$5\r\nMULTI\r\n*4\r\n$4\r\nZADD\r\n$18\r\nz:key:000000000007\r\n\
             $12\r\n000000000007\r\n$2\r\n{value}\r\n"
        );
        assert_eq!(batch.next(), Some((expected.as_bytes(), 2)));
        assert_eq!(batch.next(), None);
    }

    #[test]
    fn a_mixed_batch_holds_both_in_equal_parts() {
        let mut batch = batch(Op::Mixed, 1000, Keys::random(10, 1));
        let (bytes, count) = batch.next().unwrap();
        let gets = bytes.windows(3).filter(|window| window == b"GET").count();
        let sets = bytes.windows(3).filter(|window| window == b"SET").count();
        assert_eq!((gets + sets, count), (1000, 1000));
        assert!((400..600).contains(&gets), "{gets}");
        batch.stop();
        assert_eq!(batch.next(), None);
    }

    #[test]
    fn random_keys_cover_all_and_no_others() {
        let mut keys = Keys::random(10, 42);
        let mut seen = [0; 10];
        for _ in 0..10_000 {
            seen[keys.next().unwrap() as usize] += 1;
        }
        assert!(
            seen.iter().all(|count| (850..1150).contains(count)),
            "{seen:?}"
        );
    }
}
