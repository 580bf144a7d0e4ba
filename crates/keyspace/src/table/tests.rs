//! Tables as they grow, shrink and are parted.

use super::*;
use crate::entry::{Head, Item};
use crate::value::{Encoding, Kind};

type Items = Table<Box<[Item]>>;

const HASHER: Hasher = Hasher { seed: 7 };

fn item(key: &[u8]) -> Item {
    let head = Head {
        key,
        kind: Kind::String,
        encoding: Encoding::Raw,
        expires_at: None,
        epoch: 0,
        accessed: 0,
        version: 0,
    };
    Item::string(&head, b"value")
}

fn insert(table: &mut Items, key: &[u8]) {
    let hash = HASHER.hash(key);
    let spot = table.find(HASHER, hash, key).expect_err("the key is new");
    table.insert(HASHER, hash, spot, item(key));
}

fn remove(table: &mut Items, key: &[u8]) {
    let hash = HASHER.hash(key);
    let spot = table.find(HASHER, hash, key).expect("the key is there");
    assert_eq!(table.remove(spot, hash).occupied().key(), key);
}

fn keys(table: &Items) -> Vec<Vec<u8>> {
    table.iter().map(|item| item.key().to_vec()).collect()
}

#[test]
fn a_table_grows_through_splits_and_shrinks_to_nothing() {
    let mut table = Items::default();
    assert_eq!(table.bytes(), 0);
    let all: Vec<Vec<u8>> = (0..40_000)
        .map(|i: u32| i.to_string().into_bytes())
        .collect();
    for (count, key) in all.iter().enumerate() {
        insert(&mut table, key);
        if count % 1999 == 0 {
            table.check(HASHER);
        }
    }
    table.check(HASHER);
    assert_eq!(table.len(), all.len());
    assert!(table.parts().len() >= 10, "it was parted");
    assert!(table.bytes() < all.len() * 12, "{} bytes", table.bytes());
    let mut expected = all.clone();
    expected.sort_by_key(|key| (HASHER.hash(key), key.clone()));
    assert_eq!(keys(&table), expected);
    for (count, key) in all.iter().enumerate() {
        remove(&mut table, key);
        if count % 1999 == 0 {
            table.check(HASHER);
        }
    }
    assert!(matches!(table, Table::One(_)));
    assert_eq!(table.bytes(), 0, "an empty table has no allocation");
}

#[test]
fn the_order_does_not_tell_the_history() {
    let (mut pruned, mut grown) = (Items::default(), Items::default());
    for i in 0..30_000_u32 {
        insert(&mut pruned, &i.to_le_bytes());
    }
    for i in (1..30_000_u32).filter(|i| i % 9 != 0) {
        remove(&mut pruned, &i.to_le_bytes());
    }
    for i in (0..30_000_u32).rev().filter(|i| i % 9 == 0) {
        insert(&mut grown, &i.to_le_bytes());
    }
    pruned.check(HASHER);
    assert_eq!(keys(&pruned), keys(&grown));
}

#[test]
fn only_halves_of_the_same_whole_are_joined() {
    let mut table = Items::default();
    for i in 0..30_000_u32 {
        insert(&mut table, &i.to_le_bytes());
    }
    // The last three quarters of the hashes become one, two and no longer as deep as the first.
    for quarter in [1, 3, 2] {
        for i in (0..30_000_u32).filter(|i| HASHER.hash(&i.to_le_bytes()) >> 62 == quarter) {
            remove(&mut table, &i.to_le_bytes());
        }
        table.check(HASHER);
    }
    let parts = table.parts();
    assert!(parts[0].depth() > 2 && parts[parts.len() - 1].depth() == 1);
    assert_eq!(parts[parts.len() - 2].depth(), 2);
}

#[test]
fn a_range_holds_what_lies_within() {
    let mut table = Items::default();
    for i in 0..20_000_u32 {
        insert(&mut table, &i.to_le_bytes());
    }
    let hashes: Vec<u64> = table.iter().map(|entry| HASHER.hash(entry.key())).collect();
    for (from, to) in [(0, 0), (17, 40), (4000, 4096), (1, 19_998), (0, 19_999)] {
        let found: Vec<u64> = table
            .range(HASHER, hashes[from], hashes[to])
            .map(|(spot, entry)| {
                assert_eq!(table.item(spot).occupied().key(), entry.key());
                HASHER.hash(entry.key())
            })
            .collect();
        assert_eq!(found, hashes[from..=to]);
    }
    assert_eq!(table.range(HASHER, hashes[3] + 1, hashes[4] - 1).count(), 0);
    for index in [0, 5000, 19_999] {
        let entry = table.nth(index).expect("the index is below the length");
        assert_eq!(HASHER.hash(entry.key()), hashes[index]);
    }
    assert!(table.nth(20_000).is_none());
}
