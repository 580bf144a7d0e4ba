//! How the keyspace is written: all is judged at the stamp, and a running snapshot keeps what it
//! has not written yet.

use base::{Db, Slot, Timestamp};

use crate::entry::{Head, Item, seconds_of};
use crate::hasher::Place;
use crate::keyspace::{Discarded, Keyspace};
use crate::object::RUN_FREED_AT_ONCE_BYTES;
use crate::places::Placed;
use crate::table::Spot;
use crate::value::{Encoding, Expiry, Kind, WrongKind};

impl Keyspace {
    /// Sets a key to a string.
    pub fn set(&mut self, db: Db, key: &[u8], value: &[u8], expiry: Expiry) {
        if let Expiry::At(at) = expiry
            && at <= self.stamp
        {
            self.remove(db, key);
            return;
        }
        let place = self.hasher.place(key);
        let mut head = Head {
            key,
            kind: Kind::String,
            encoding: Encoding::of(value),
            expires_at: match expiry {
                Expiry::At(at) => Some(at),
                Expiry::Clear | Expiry::Keep => None,
            },
            epoch: self.epoch,
            accessed: seconds_of(self.stamp),
            version: self.versions.draw(db),
        };
        let stamp = self.stamp;
        let snapshot = self.snapshot.as_ref();
        let database = &mut self.databases[usize::from(db.number())];
        match database.find(self.hasher, place, key) {
            Err(spot) => {
                database.insert(self.hasher, place, spot, Item::string(&head, value));
            }
            Ok(spot) => {
                if !database.item(place, spot).occupied().is_live(stamp) {
                    self.notices.expired(db, key);
                }
                let old = database.update(self.hasher, place, spot, |item| {
                    let entry = item.occupied();
                    if expiry == Expiry::Keep {
                        head.expires_at = entry.expires_at().filter(|&at| at > stamp);
                    }
                    let lacking = snapshot.is_some_and(|snapshot| snapshot.lacks(entry));
                    // A large string is written over, and what is shorter gives little back.
                    let freed = entry.is_large()
                        && entry.string().is_none_or(|old| {
                            old.len().saturating_sub(value.len()) > RUN_FREED_AT_ONCE_BYTES
                        });
                    if lacking || freed {
                        let mut new = Item::string(&head, value);
                        new.set_tag(item.tag());
                        Some(std::mem::replace(item, new))
                    } else {
                        item.set_string(value, &head);
                        None
                    }
                });
                if let Some(old) = old {
                    self.keep_or_drop(db, old);
                }
            }
        }
    }

    /// Appends to a string, which is made if the key is absent; its new length. Repeated, it costs
    /// amortised what is appended.
    ///
    /// # Errors
    /// When the key holds no string.
    ///
    /// # Panics
    /// If the string would be 4 GiB or longer.
    pub fn append(&mut self, db: Db, key: &[u8], tail: &[u8]) -> Result<usize, WrongKind> {
        let place = self.hasher.place(key);
        let Some(spot) = self.find_live(db, place, key) else {
            self.set(db, key, tail, Expiry::Clear);
            return Ok(tail.len());
        };
        let string = self.database(db).item(place, spot).occupied().string();
        let old_len = string.ok_or(WrongKind)?.len();
        Ok(self.change(db, place, spot, |item| {
            let string = item.string_mut(old_len + tail.len());
            string[old_len..].copy_from_slice(tail);
            string.len()
        }))
    }

    /// Writes over a part of a string, which is made if the key is absent and filled up with zeros
    /// before `offset`; its new length. No bytes change nothing.
    ///
    /// # Errors
    /// When the key holds no string.
    ///
    /// # Panics
    /// If the string would be 4 GiB or longer.
    pub fn set_range(
        &mut self,
        db: Db,
        key: &[u8],
        offset: usize,
        bytes: &[u8],
    ) -> Result<usize, WrongKind> {
        let place = self.hasher.place(key);
        let found = self.find_live(db, place, key);
        let old_len = match found {
            Some(spot) => {
                let string = self.database(db).item(place, spot).occupied().string();
                string.ok_or(WrongKind)?.len()
            }
            None => 0,
        };
        if bytes.is_empty() {
            return Ok(old_len);
        }
        let spot = found.unwrap_or_else(|| {
            self.set(db, key, b"", Expiry::Clear);
            let spot = self.database(db).find(self.hasher, place, key);
            spot.expect("the key was set just now")
        });
        Ok(self.change(db, place, spot, |item| {
            let end = offset + bytes.len();
            let string = item.string_mut(end);
            string[offset..end].copy_from_slice(bytes);
            string.len()
        }))
    }

    /// Removes a key; false when it is absent.
    pub fn remove(&mut self, db: Db, key: &[u8]) -> bool {
        let place = self.hasher.place(key);
        let Some(spot) = self.find_live(db, place, key) else {
            return false;
        };
        self.discard(db, place, spot);
        true
    }

    /// Sets or clears the expiry of a key; at or before the stamp, the key is removed. False when it
    /// is absent.
    pub fn set_expiry(&mut self, db: Db, key: &[u8], expires_at: Option<Timestamp>) -> bool {
        let place = self.hasher.place(key);
        let Some(spot) = self.find_live(db, place, key) else {
            return false;
        };
        if expires_at.is_some_and(|at| at <= self.stamp) {
            self.discard(db, place, spot);
        } else if expires_at.is_some()
            || self
                .database(db)
                .item(place, spot)
                .occupied()
                .expires_at()
                .is_some()
        {
            self.change(db, place, spot, |item| item.set_expires_at(expires_at));
        }
        true
    }

    /// Moves a value to another key with its expiry, in the place of what that held; false when `from`
    /// is absent.
    pub fn rename(&mut self, db: Db, from: &[u8], to: &[u8]) -> bool {
        let place = self.hasher.place(from);
        let Some(spot) = self.find_live(db, place, from) else {
            return false;
        };
        if from == to {
            return true;
        }
        let database = &mut self.databases[usize::from(db.number())];
        let item = database.remove(self.hasher, place, spot);
        let removed = item.occupied().version();
        self.versions.note_removal(db, place.hash, removed);
        if let Some(snapshot) = &mut self.snapshot
            && snapshot.lacks(item.occupied())
        {
            snapshot.keep_copy(db, item.occupied());
        }
        let mut item = item.renamed(to);
        item.occupied().set_epoch(self.epoch);
        item.set_version(self.versions.draw(db));
        self.replace(db, to, item);
        true
    }

    /// Copies a value to another key with its expiry, in the place of what that held; false when
    /// `from` is absent. A copy onto itself changes nothing.
    pub fn copy(&mut self, from_db: Db, from: &[u8], to_db: Db, to: &[u8]) -> bool {
        let place = self.hasher.place(from);
        let Some(spot) = self.find_live(from_db, place, from) else {
            return false;
        };
        if (from_db, from) == (to_db, to) {
            return true;
        }
        let version = self.versions.draw(to_db);
        let entry = self.database(from_db).item(place, spot).occupied();
        let head = Head {
            key: to,
            epoch: self.epoch,
            accessed: seconds_of(self.stamp),
            version,
            ..entry.head()
        };
        let item = Item::copy_of(entry, &head);
        self.replace(to_db, to, item);
        true
    }

    /// Empties a database; what was there, for the caller to drop. While a snapshot runs, it keeps
    /// what it has yet to write, and frees it bit by bit.
    pub fn flush_db(&mut self, db: Db) -> Discarded {
        let database = std::mem::take(self.database_mut(db));
        if database.len() > 0 {
            self.versions.note_flush(db);
        }
        let database = match &mut self.snapshot {
            Some(snapshot) => snapshot.set_aside(db, database),
            None => Some(database),
        };
        Discarded {
            _databases: database.into_iter().collect(),
            ..Discarded::default()
        }
    }

    /// Empties all databases, as [`Keyspace::flush_db`] does one.
    pub fn flush_all(&mut self) -> Discarded {
        let mut databases = std::mem::take(&mut self.leftovers);
        for db in Db::all() {
            databases.append(&mut self.flush_db(db)._databases);
        }
        Discarded {
            _databases: databases,
            ..Discarded::default()
        }
    }

    /// Removes at most `limit` of the keys that expired at or before the stamp, in the order of
    /// (`expires_at`, slot, database, hash, key); how many it removed. What expires in the year 2527
    /// or later is never swept.
    pub fn sweep(&mut self, limit: usize) -> usize {
        let mut removed = 0;
        while removed < limit
            && let Some((db, slot)) = self.first_due()
        {
            let database = &mut self.databases[usize::from(db.number())];
            let item = database
                .remove_earliest(self.hasher, slot)
                .expect("an expiry has its entry as long as it is marked");
            let hash = self.hasher.hash(item.key());
            let version = item.occupied().version();
            self.versions.note_removal(db, hash, version);
            self.notices.expired(db, item.key());
            self.keep_or_drop(db, item);
            removed += 1;
        }
        removed
    }

    fn first_due(&self) -> Option<(Db, Slot)> {
        let earliest = self.next_expiry().filter(|&at| at <= self.stamp)?;
        Db::all()
            .filter(|&db| self.database(db).earliest() == Some(earliest))
            .filter_map(|db| Some((self.database(db).earliest_slot()?, db)))
            .min()
            .map(|(slot, db)| (db, slot))
    }

    /// Where a live key is; an expired one is dropped.
    pub(crate) fn find_live(&mut self, db: Db, place: Place, key: &[u8]) -> Option<Spot> {
        let spot = self.database(db).find(self.hasher, place, key).ok()?;
        if self
            .database(db)
            .item(place, spot)
            .occupied()
            .is_live(self.stamp)
        {
            return Some(spot);
        }
        self.notices.expired(db, key);
        self.discard(db, place, spot);
        None
    }

    /// Changes an entry in place, of which a running snapshot gets a copy first if it lacks it.
    pub(crate) fn change<R>(
        &mut self,
        db: Db,
        place: Place,
        spot: Spot,
        change: impl FnOnce(&mut Item) -> R,
    ) -> R {
        let (stamp, epoch) = (self.stamp, self.epoch);
        let version = self.versions.draw(db);
        let snapshot = self.snapshot.as_mut();
        let database = &mut self.databases[usize::from(db.number())];
        database.update(self.hasher, place, spot, |item| {
            if let Some(snapshot) = snapshot
                && snapshot.lacks(item.occupied())
            {
                snapshot.keep_copy(db, item.occupied());
            }
            let result = change(item);
            item.occupied().set_epoch(epoch);
            item.occupied().touch(stamp);
            item.set_version(version);
            result
        })
    }

    /// Puts an item in the place of what its key holds.
    fn replace(&mut self, db: Db, key: &[u8], item: Item) {
        let place = self.hasher.place(key);
        if let Some(spot) = self.find_live(db, place, key) {
            self.discard(db, place, spot);
        }
        let hasher = self.hasher;
        let database = self.database_mut(db);
        let spot = database
            .find(hasher, place, key)
            .expect_err("the key was removed just now");
        database.insert(hasher, place, spot, item);
    }

    /// Removes an entry.
    pub(crate) fn discard(&mut self, db: Db, place: Place, spot: Spot) {
        let database = &mut self.databases[usize::from(db.number())];
        let item = database.remove(self.hasher, place, spot);
        let version = item.occupied().version();
        self.versions.note_removal(db, place.hash, version);
        self.keep_or_drop(db, item);
    }

    /// Drops an item, unless a running snapshot lacks it. A large one is left to
    /// [`Keyspace::take_discarded`].
    fn keep_or_drop(&mut self, db: Db, item: Item) {
        if let Some(snapshot) = &mut self.snapshot
            && snapshot.lacks(item.occupied())
        {
            snapshot.keep(db, item);
        } else if item.occupied().is_large() {
            self.discarded.push(item);
        }
    }
}
