//! How collections are read and changed, whatever kind they are of.
//!
//! A type (`hash`, `set`, ...) has a view to read and one to change, and says here nothing but its [`Kind`].
//! What is common: a key is absent or holds a collection of at least one element, another kind is
//! refused, a running snapshot gets the old form before the first change, sums are kept.

use std::ops::Range;

use base::{Db, Timestamp};

use crate::entry::{Entry, Head, Item, seconds_of};
use crate::hasher::Hasher;
use crate::keyspace::Keyspace;
use crate::limits::Limits;
use crate::object::Object;
use crate::packed::{self, COUNT_BYTES, Packed};
use crate::value::{Encoding, Kind, WrongKind};

/// What becomes of a change to a key that is absent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Absent {
    /// It is made on an empty collection; if that stays empty, the key stays absent.
    Make,
    /// Nothing happens.
    Leave,
}

/// A collection that is being changed. What is not yet changed costs nothing; the first change to what a snapshot
/// shares copies the part that it touches.
pub(crate) struct ValueMut<'a> {
    item: &'a mut Item,
    pub(crate) limits: &'a Limits,
    pub(crate) hasher: Hasher,
}

impl ValueMut<'_> {
    pub(crate) fn encoding(&self) -> Encoding {
        self.item.occupied().encoding()
    }

    /// The bytes of a packed collection; none if it is made of parts.
    pub(crate) fn run(&self) -> Option<&[u8]> {
        self.item.occupied().run()
    }

    /// The collection, packed.
    ///
    /// # Panics
    /// If it is not.
    pub(crate) fn packed(&self) -> Packed<'_> {
        Packed::new(self.run().expect("the collection is packed"))
    }

    /// The object of a collection made of parts.
    pub(crate) fn object(&self) -> Option<&Object> {
        self.item.occupied().object()
    }

    /// The same for change.
    pub(crate) fn object_mut(&mut self) -> Option<&mut Object> {
        self.item.object_mut()
    }

    /// Puts elements, encoded, in the place of a range of a packed collection: `removed` elements stand there,
    /// `added` come.
    pub(crate) fn edit(&mut self, range: Range<usize>, removed: usize, with: &[u8], added: usize) {
        let count = self.packed().len() - removed + added;
        self.item.splice(range, with);
        if removed != added {
            let count = u16::try_from(count).expect("packed collections are bounded");
            self.item.overwrite(0, &count.to_le_bytes());
        }
    }

    /// Puts bytes in the place of a range of a run that is no packed collection.
    pub(crate) fn splice(&mut self, range: Range<usize>, with: &[u8]) {
        self.item.splice(range, with);
    }

    /// Puts a run in the place of the value.
    pub(crate) fn set_run(&mut self, encoding: Encoding, run: &[u8]) {
        self.item.set_packed(encoding, run);
    }

    /// Puts an object in the place of the value.
    pub(crate) fn set_object(&mut self, encoding: Encoding, object: Object) {
        self.item.set_object(encoding, object);
    }

    fn is_empty(&self) -> bool {
        match self.object() {
            Some(object) if object.has_parts() => object.is_empty(),
            _ => {
                let run = self.run().expect("what has no parts is a run");
                match self.encoding() {
                    Encoding::Intset => run.len() == 1,
                    _ => run[..COUNT_BYTES] == [0; COUNT_BYTES],
                }
            }
        }
    }
}

impl Keyspace {
    /// The thresholds at which collections leave their packed form.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Changes the thresholds: what is written from now on goes by them. They are part of the state
    /// machine, so only what is in the log may call this.
    pub fn set_limits(&mut self, limits: Limits) {
        self.limits = limits;
    }

    /// The entry of a key that holds that kind; none if it is absent at `now`.
    pub(crate) fn collection(
        &self,
        db: Db,
        key: &[u8],
        kind: Kind,
        now: Timestamp,
    ) -> Result<Option<Entry<'_>>, WrongKind> {
        match self.get(db, key, now) {
            Some(entry) if entry.kind() != kind => Err(WrongKind),
            found => Ok(found),
        }
    }

    /// Changes the collection at a key. If it is empty afterwards, the key is removed.
    ///
    /// A caller that may find nothing to change looks first: a change makes a running snapshot keep the old
    /// form, whatever is done.
    pub(crate) fn change_collection<R>(
        &mut self,
        db: Db,
        key: &[u8],
        kind: Kind,
        absent: Absent,
        change: impl FnOnce(ValueMut<'_>) -> R,
    ) -> Result<Option<R>, WrongKind> {
        let place = self.hasher.place(key);
        let found = self.find_live(db, place, key);
        let spot = match found {
            Some(spot) if self.database(db).item(place, spot).occupied().kind() != kind => {
                return Err(WrongKind);
            }
            Some(spot) => spot,
            None if absent == Absent::Leave => return Ok(None),
            None => {
                let head = Head {
                    key,
                    kind,
                    encoding: Encoding::Listpack,
                    expires_at: None,
                    epoch: self.epoch,
                    accessed: seconds_of(self.stamp),
                    // The change below draws one.
                    version: 0,
                };
                let item = Item::packed(&head, packed::NOTHING);
                let hasher = self.hasher;
                let database = self.database_mut(db);
                let spot = database
                    .find(hasher, place, key)
                    .expect_err("an absent key has no entry");
                database.insert(hasher, place, spot, item);
                // An insertion may move the place.
                database
                    .find(hasher, place, key)
                    .expect("the entry was inserted just now")
            }
        };
        let (limits, hasher) = (self.limits, self.hasher);
        let (result, is_empty) = self.change(db, place, spot, |item| {
            let result = change(ValueMut {
                item,
                limits: &limits,
                hasher,
            });
            let value = ValueMut {
                item,
                limits: &limits,
                hasher,
            };
            (result, value.is_empty())
        });
        if is_empty {
            self.discard(db, place, spot);
        }
        Ok(Some(result))
    }
}
