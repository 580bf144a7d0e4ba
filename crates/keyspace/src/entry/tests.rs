//! Entries of all shapes, each turned into each other one.

use base::Timestamp;

use super::{Entry, Head, Item};
use crate::memory::size_class;
use crate::packed::{NOTHING, pack};
use crate::places::Placed;
use crate::value::{Encoding, Kind};

const KEY_LENGTHS: [usize; 9] = [0, 1, 16, 127, 254, 255, 256, 300, 70_000];
const VALUE_LENGTHS: [usize; 13] = [
    0,
    1,
    8,
    44,
    64,
    65,
    100,
    128,
    129,
    1000,
    16 << 10,
    (16 << 10) + 1,
    100_000,
];

/// One shape of entry.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Shape {
    key: Vec<u8>,
    value: Vec<u8>,
    encoding: Encoding,
    expires_at: Option<Timestamp>,
}

impl Shape {
    fn all(fill: u8) -> Vec<Shape> {
        let mut shapes = Vec::new();
        for key in KEY_LENGTHS {
            for value in VALUE_LENGTHS {
                for at in [None, Some(Timestamp::from_millis(u64::MAX - 5))] {
                    shapes.push(Shape {
                        key: vec![!fill; key],
                        value: vec![fill; value],
                        encoding: if value < 45 {
                            Encoding::Embstr
                        } else {
                            Encoding::Raw
                        },
                        expires_at: at,
                    });
                }
            }
        }
        shapes
    }

    /// Of few keys.
    fn some(fill: u8) -> impl Iterator<Item = Shape> {
        Shape::all(fill)
            .into_iter()
            .filter(|shape| [0, 16, 255].contains(&shape.key.len()))
    }

    fn head(&self) -> Head<'_> {
        Head {
            key: &self.key,
            kind: Kind::String,
            encoding: self.encoding,
            expires_at: self.expires_at,
            epoch: 3,
            accessed: 1000,
            version: 77,
        }
    }

    fn item(&self) -> Item {
        let mut item = Item::string(&self.head(), &self.value);
        item.set_tag(0xfedc);
        item
    }

    fn of(entry: Entry<'_>) -> Shape {
        Shape {
            key: entry.key().to_vec(),
            value: entry.string().expect("it is a string").to_vec(),
            encoding: entry.encoding(),
            expires_at: entry.expires_at(),
        }
    }
}

fn assert_is(item: &Item, expected: &Shape) {
    assert_eq!(item.tag(), 0xfedc, "the tag stays");
    let entry = item.entry().expect("the item holds an entry");
    assert!(
        Shape::of(entry) == *expected,
        "{} {}",
        expected.key.len(),
        expected.value.len()
    );
    assert_eq!(
        (entry.epoch(), entry.accessed_at()),
        (3, Timestamp::from_millis(1_000_000))
    );
}

#[test]
fn an_entry_shows_what_it_was_made_of() {
    for shape in Shape::all(b'v') {
        let item = shape.item();
        assert_is(&item, &shape);
        let mut copy = Item::copy_of(item.occupied(), &item.occupied().head());
        drop(item);
        copy.set_tag(0xfedc);
        assert_is(&copy, &shape);
    }
    assert!(Item::EMPTY.entry().is_none());
}

#[test]
fn a_small_entry_is_one_small_allocation() {
    let shape = Shape {
        key: vec![b'k'; 16],
        value: vec![b'v'; 64],
        encoding: Encoding::Raw,
        expires_at: None,
    };
    assert_eq!(shape.item().occupied().allocated_bytes(), 96);
    let expiring = Shape {
        expires_at: Some(Timestamp::ZERO),
        ..shape
    };
    assert_eq!(expiring.item().occupied().allocated_bytes(), 112);
}

#[test]
fn any_string_takes_the_place_of_any_other() {
    for old in Shape::some(b'o') {
        for new in Shape::some(b'n') {
            let new = Shape {
                key: old.key.clone(),
                ..new
            };
            let mut item = old.item();
            item.set_string(&new.value, &new.head());
            assert_is(&item, &new);
        }
    }
}

#[test]
fn an_overwrite_of_the_same_size_stays_where_it_is() {
    for shape in Shape::all(b'o') {
        let mut item = shape.item();
        let before = item.occupied().key().as_ptr();
        let new = Shape {
            value: vec![b'n'; shape.value.len()],
            ..shape
        };
        item.set_string(&new.value, &new.head());
        assert_is(&item, &new);
        assert_eq!(item.occupied().key().as_ptr(), before);
    }
}

#[test]
fn expiries_come_and_go() {
    for shape in Shape::all(b'v') {
        let mut item = shape.item();
        for at in [Some(7), Some(9), None, None, Some(1)] {
            let expires_at = at.map(Timestamp::from_millis);
            item.set_expires_at(expires_at);
            assert_is(
                &item,
                &Shape {
                    expires_at,
                    ..shape.clone()
                },
            );
        }
    }
}

#[test]
fn strings_grow_by_zeros_and_are_raw_then() {
    for shape in Shape::some(b'v') {
        for len in VALUE_LENGTHS {
            let mut item = shape.item();
            let mut expected = Shape {
                encoding: Encoding::Raw,
                ..shape.clone()
            };
            expected.value.resize(shape.value.len().max(len), 0);
            assert!(*item.string_mut(len) == expected.value);
            assert_is(&item, &expected);
            if let Some(last) = item.string_mut(0).last_mut() {
                *last = b'l';
            }
            if let Some(last) = expected.value.last_mut() {
                *last = b'l';
            }
            assert_is(&item, &expected);
        }
    }
}

#[test]
fn a_renamed_entry_keeps_all_but_its_key() {
    for shape in Shape::some(b'v') {
        for key in KEY_LENGTHS {
            let key = vec![b'r'; key];
            let mut item = shape.item().renamed(&key);
            item.set_tag(0xfedc);
            assert_is(
                &item,
                &Shape {
                    key,
                    ..shape.clone()
                },
            );
        }
    }
}

#[test]
fn a_large_value_that_shrinks_gives_memory_back() {
    let large = Shape {
        key: vec![b'k'],
        value: vec![b'v'; 1 << 20],
        encoding: Encoding::Raw,
        expires_at: None,
    };
    let mut item = large.item();
    assert!(item.occupied().allocated_bytes() > 1 << 20);
    item.set_string(&vec![b's'; 20_000], &large.head());
    assert!(item.occupied().allocated_bytes() < 2 * size_class(20_000));
    item.set_string(b"small", &large.head());
    assert_eq!(item.occupied().allocated_bytes(), 32);
}

#[test]
fn any_part_of_a_packed_collection_is_replaced_by_any_other() {
    for shape in Shape::some(b'k') {
        let head = Head {
            kind: Kind::Hash,
            encoding: Encoding::Listpack,
            ..shape.head()
        };
        let mut model = NOTHING.to_vec();
        let mut item = Item::packed(&head, &model);
        item.set_tag(0xfedc);
        let mut state = 1_usize;
        for step in 0..60 {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            let start = (state >> 33) % (model.len() + 1);
            let end = start + (state >> 23) % (model.len() - start + 1);
            let with = vec![step; VALUE_LENGTHS[(state >> 40) % VALUE_LENGTHS.len()]];
            item.splice(start..end, &with);
            model.splice(start..end, with);
            let entry = item.occupied();
            assert!(entry.run() == Some(&*model), "step {step}");
            assert_eq!((entry.key(), entry.kind()), (&*shape.key, Kind::Hash));
            assert_eq!(
                (entry.encoding(), entry.string()),
                (Encoding::Listpack, None)
            );
            assert_eq!((item.tag(), entry.expires_at()), (0xfedc, shape.expires_at));
        }
    }
}

#[test]
fn a_string_takes_the_place_of_a_collection() {
    for shape in Shape::some(b'n') {
        for fields in [1, 10, 1000] {
            let head = Head {
                kind: Kind::Hash,
                encoding: Encoding::Listpack,
                ..shape.head()
            };
            let run = pack(std::iter::repeat_n(&[b'x'; 30][..], fields));
            let mut item = Item::packed(&head, &run);
            item.set_tag(0xfedc);
            item.set_string(&shape.value, &shape.head());
            assert_is(&item, &shape);
        }
    }
}
