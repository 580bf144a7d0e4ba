//! Versions of keys: what tells whether a key is as it was, for WATCH.
//!
//! Each change of a key draws the next number of one counter. The entry carries its low 32 bits, so a key that is there
//! is as it was if it still carries the same. A key that is absent carries nothing: for those, the highest version
//! that was removed is kept, by a hash of the key, and for each database the highest that a flush took out. So what is
//! said of an absent key errs in one direction alone: it may be taken for changed because another one was made and
//! removed. All this is part of the state and of snapshots: replicas agree on it, whoever leads.
//!
//! Left out: that a key which was there expires meanwhile is for the reader's time to tell ([`Keyspace::is_at`]).

use base::{Db, Timestamp};

use crate::keyspace::Keyspace;

/// Removals are told apart by so many values of their keys' hash.
const BUCKETS: usize = 4096;

/// How a key stood, to be compared later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// It was there, and carried this.
    Present(u32),
    /// It was absent when the shard had seen so many changes.
    Absent(u64),
}

/// See the module.
#[derive(Default)]
pub(crate) struct Versions {
    /// The last number that was drawn.
    changes: u64,
    /// The last number that was drawn for each database.
    written: [u64; Db::COUNT],
    /// What `written` was when a flush last took something out.
    flushed: [u64; Db::COUNT],
    /// The highest version that was removed, for each bucket; empty before the first.
    removed: Vec<u64>,
}

impl Versions {
    /// The version of a key of that database that changes now.
    pub(crate) fn draw(&mut self, db: Db) -> u32 {
        self.changes += 1;
        self.written[usize::from(db.number())] = self.changes;
        self.changes as u32
    }

    /// An entry is removed that carries this version.
    pub(crate) fn note_removal(&mut self, db: Db, hash: u64, version: u32) {
        if self.removed.is_empty() {
            self.removed.resize(BUCKETS, 0);
        }
        let version = self.whole(version);
        let removed = &mut self.removed[bucket(db, hash)];
        *removed = version.max(*removed);
    }

    /// All entries of a database are removed.
    pub(crate) fn note_flush(&mut self, db: Db) {
        let db = usize::from(db.number());
        self.flushed[db] = self.written[db];
    }

    /// The number of which an entry carries the low bits. One that is 2^32 changes old is taken for newer, which makes
    /// a key look changed.
    fn whole(&self, version: u32) -> u64 {
        let age = (self.changes as u32).wrapping_sub(version);
        self.changes.saturating_sub(u64::from(age))
    }

    /// Whether a key that is absent now, or has the stale entry of that version, may have been there since.
    fn was_there(&self, db: Db, hash: u64, since: u64, stale: Option<u32>) -> bool {
        let removed = self.removed.get(bucket(db, hash)).copied().unwrap_or(0);
        let stale = stale.map_or(0, |version| self.whole(version));
        removed > since || stale > since || self.flushed[usize::from(db.number())] > since
    }

    /// Appends all of it: the counter, `written` and `flushed` of each database, and of each bucket that is not 0 its
    /// number, as u16, and what it holds; all else is u64.
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.changes.to_le_bytes());
        for number in self.written.iter().chain(&self.flushed) {
            out.extend_from_slice(&number.to_le_bytes());
        }
        for (bucket, version) in self.removed.iter().enumerate() {
            if *version > 0 {
                out.extend_from_slice(&(bucket as u16).to_le_bytes());
                out.extend_from_slice(&version.to_le_bytes());
            }
        }
    }

    /// Reads what [`Versions::encode`] wrote; what is wrong with it if it is not that.
    pub(crate) fn decode(mut bytes: &[u8]) -> Result<Versions, &'static str> {
        let mut versions = Versions {
            changes: take_u64(&mut bytes)?,
            ..Versions::default()
        };
        for number in versions.written.iter_mut().chain(&mut versions.flushed) {
            *number = take_u64(&mut bytes)?;
        }
        let mut least = 0;
        while let Some((bucket, rest)) = bytes.split_first_chunk() {
            bytes = rest;
            let bucket = usize::from(u16::from_le_bytes(*bucket));
            if bucket < least || bucket >= BUCKETS {
                return Err("removals are out of order");
            }
            least = bucket + 1;
            versions.removed.resize(BUCKETS, 0);
            versions.removed[bucket] = take_u64(&mut bytes)?;
        }
        let numbers = versions.written.iter().chain(&versions.flushed);
        if numbers
            .chain(&versions.removed)
            .any(|&number| number > versions.changes)
            || !bytes.is_empty()
        {
            return Err("versions are newer than the last change");
        }
        Ok(versions)
    }
}

fn bucket(db: Db, hash: u64) -> usize {
    // Another database is another key.
    let mixed = (hash ^ u64::from(db.number())).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed >> 52) as usize
}

const _: () = assert!(BUCKETS == 1 << (64 - 52));

fn take_u64(bytes: &mut &[u8]) -> Result<u64, &'static str> {
    let (number, rest) = bytes.split_first_chunk().ok_or("versions are cut off")?;
    *bytes = rest;
    Ok(u64::from_le_bytes(*number))
}

impl Keyspace {
    /// How a key stands at `now`.
    pub fn version(&self, db: Db, key: &[u8], now: Timestamp) -> Version {
        match self.get(db, key, now) {
            Some(entry) => Version::Present(entry.version()),
            None => Version::Absent(self.versions.changes),
        }
    }

    /// Whether nothing has happened to a key since it stood so: no write, no removal, no expiry of what was there. Where
    /// it says so it is so, but for a key that was changed exactly 2^32 changes later; an absent key may be taken for
    /// changed though it was not.
    pub fn is_at(&self, db: Db, key: &[u8], version: Version) -> bool {
        let place = self.hasher.place(key);
        let entry = self.database(db).get(self.hasher, place, key);
        let live = entry.is_some_and(|entry| entry.is_live(self.stamp));
        match version {
            Version::Present(version) => {
                live && entry.is_some_and(|entry| entry.version() == version)
            }
            Version::Absent(since) => {
                let stale = entry.map(|entry| entry.version());
                !live && !self.versions.was_there(db, place.hash, since, stale)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Absent, Expiry, SnapshotLoader};

    const KEY: &[u8] = b"key";

    fn db() -> Db {
        Db::default()
    }

    fn set(keyspace: &mut Keyspace, key: &[u8], expires_at: Option<u64>) {
        let expiry = expires_at.map_or(Expiry::Clear, |at| Expiry::At(Timestamp::from_millis(at)));
        keyspace.set(db(), key, b"value", expiry);
    }

    fn at(keyspace: &mut Keyspace, millis: u64) {
        keyspace.set_stamp(Timestamp::from_millis(millis));
    }

    /// Whether a key that was looked at after `before` is as it was once `after` has run; asked of a copy that went
    /// through a snapshot in between as well.
    fn stays(before: impl Fn(&mut Keyspace), after: impl Fn(&mut Keyspace)) -> bool {
        let mut keyspace = Keyspace::new(7);
        at(&mut keyspace, 1000);
        before(&mut keyspace);
        let version = keyspace.version(db(), KEY, keyspace.stamp());
        let mut bytes = Vec::new();
        keyspace.begin_snapshot();
        assert!(keyspace.snapshot_step(usize::MAX, &mut bytes));
        let mut loader = SnapshotLoader::new();
        loader.feed(&bytes).expect("the snapshot is whole");
        let mut restored = loader.finish().expect("the snapshot is whole");
        after(&mut keyspace);
        after(&mut restored);
        let stays = keyspace.is_at(db(), KEY, version);
        assert_eq!(restored.is_at(db(), KEY, version), stays);
        stays
    }

    #[test]
    fn a_key_that_is_there_stays_as_it_was_until_it_changes() {
        let made = |keyspace: &mut Keyspace| set(keyspace, KEY, None);
        assert!(stays(made, |_| {}));
        assert!(stays(made, |keyspace| set(keyspace, b"other", None)));
        assert!(!stays(made, |keyspace| set(keyspace, KEY, None)));
        assert!(!stays(made, |keyspace| assert!(keyspace.remove(db(), KEY))));
        assert!(!stays(made, |keyspace| {
            keyspace.remove(db(), KEY);
            set(keyspace, KEY, None);
        }));
        assert!(!stays(made, |keyspace| {
            keyspace
                .append(db(), KEY, b"tail")
                .expect("it holds a string");
        }));
        let expiry = Some(Timestamp::from_millis(5000));
        assert!(!stays(made, |keyspace| assert!(keyspace.set_expiry(
            db(),
            KEY,
            expiry
        ))));
        assert!(!stays(made, |keyspace| drop(keyspace.flush_db(db()))));
        assert!(!stays(made, |keyspace| drop(keyspace.flush_all())));
        assert!(!stays(made, |keyspace| {
            keyspace.rename(db(), KEY, b"other");
            keyspace.rename(db(), b"other", KEY);
        }));
        let other = Db::new(1).expect("there are 16");
        assert!(stays(made, |keyspace| drop(keyspace.flush_db(other))));
        assert!(stays(made, |keyspace| {
            keyspace.copy(db(), KEY, other, KEY);
            keyspace.set(other, KEY, b"", Expiry::Clear);
        }));
    }

    #[test]
    fn a_collection_changes_as_a_whole() {
        let add = |keyspace: &mut Keyspace| {
            let changed = keyspace.change_hash(db(), KEY, Absent::Make, |hash| {
                hash.set(b"field", b"value");
            });
            changed.expect("it holds a hash");
        };
        assert!(stays(add, |_| {}));
        assert!(!stays(add, add));
        assert!(!stays(|_| {}, add));
    }

    #[test]
    fn what_expires_changes_and_what_had_expired_does_not() {
        let short = |keyspace: &mut Keyspace| set(keyspace, KEY, Some(2000));
        assert!(!stays(short, |keyspace| at(keyspace, 2000)));
        let stale = |keyspace: &mut Keyspace| {
            set(keyspace, KEY, Some(2000));
            at(keyspace, 3000);
        };
        assert!(stays(stale, |_| {}));
        assert!(stays(stale, |keyspace| assert_eq!(keyspace.sweep(10), 1)));
        assert!(stays(stale, |keyspace| assert!(
            !keyspace.remove(db(), KEY)
        )));
        assert!(stays(stale, |keyspace| drop(keyspace.flush_db(db()))));
        assert!(!stays(stale, |keyspace| set(keyspace, KEY, None)));
    }

    #[test]
    fn an_absent_key_that_was_there_meanwhile_has_changed() {
        assert!(stays(|_| {}, |_| {}));
        assert!(stays(
            |_| {},
            |keyspace| assert!(!keyspace.remove(db(), KEY))
        ));
        assert!(!stays(|_| {}, |keyspace| set(keyspace, KEY, None)));
        assert!(!stays(
            |_| {},
            |keyspace| {
                set(keyspace, KEY, None);
                keyspace.remove(db(), KEY);
            }
        ));
        for swept in [false, true] {
            assert!(!stays(
                |_| {},
                |keyspace| {
                    set(keyspace, KEY, Some(2000));
                    at(keyspace, 2000);
                    if swept {
                        keyspace.sweep(1);
                    }
                }
            ));
        }
        assert!(!stays(
            |_| {},
            |keyspace| {
                set(keyspace, KEY, None);
                drop(keyspace.flush_db(db()));
            }
        ));
        assert!(!stays(
            |_| {},
            |keyspace| {
                set(keyspace, b"other", None);
                keyspace.rename(db(), b"other", KEY);
                keyspace.rename(db(), KEY, b"other");
            }
        ));
        // What was there before is no news.
        let others = |keyspace: &mut Keyspace| set(keyspace, b"other", None);
        assert!(stays(others, |keyspace| drop(keyspace.flush_all())));
        assert!(stays(others, |keyspace| assert!(
            keyspace.remove(db(), b"other")
        )));
    }

    #[test]
    fn versions_that_cannot_be_are_refused() {
        let mut keyspace = Keyspace::new(7);
        set(&mut keyspace, KEY, None);
        keyspace.remove(db(), KEY);
        let mut bytes = Vec::new();
        keyspace.versions.encode(&mut bytes);
        assert!(Versions::decode(&bytes).is_ok());
        for len in 0..bytes.len() {
            // Without the removals it is whole as well.
            assert_eq!(Versions::decode(&bytes[..len]).is_ok(), len == 33 * 8);
        }
        let mut out_of_range = bytes.clone();
        out_of_range[33 * 8 + 1] = 0xff;
        assert!(Versions::decode(&out_of_range).is_err());
        bytes[0] = 0;
        assert!(Versions::decode(&bytes).is_err());
    }
}
