//! Streams as commands see them.

use base::{Db, Timestamp};

use crate::collection::{Absent, ValueMut};
use crate::entry::Entry;
use crate::keyspace::Keyspace;
use crate::limits::Limits;
use crate::object::Object;
use crate::stream_log::{Counters, Group, Log, StreamEntry, StreamId, Trim, TrimWork};
use crate::value::{Encoding, Kind, WrongKind};

/// A stream, to be read. It may have no entries.
#[derive(Clone, Copy)]
pub struct Stream<'k>(&'k Log);

impl<'k> Stream<'k> {
    fn of(entry: Entry<'k>) -> Stream<'k> {
        match entry.object() {
            Some(Object::Stream(log)) => Stream(log),
            _ => unreachable!("a stream is an object of its own"),
        }
    }

    /// How many entries it has.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The greatest id that it was ever given.
    pub fn last_id(&self) -> StreamId {
        self.0.last_id()
    }

    /// What it counts.
    pub fn counters(&self) -> Counters {
        self.0.counters()
    }

    /// How many nodes its entries stand in.
    pub fn nodes(&self) -> usize {
        self.0.nodes_len()
    }

    /// The entry of an id.
    pub fn get(&self, id: StreamId) -> Option<StreamEntry<'k>> {
        self.0.get(id)
    }

    /// The entries from one id to another, both included.
    pub fn range(
        &self,
        from: StreamId,
        to: StreamId,
    ) -> impl Iterator<Item = StreamEntry<'k>> + use<'k> {
        self.0.range(from, to)
    }

    /// The same from the last to the first.
    pub fn range_reversed(
        &self,
        from: StreamId,
        to: StreamId,
    ) -> impl Iterator<Item = StreamEntry<'k>> + use<'k> {
        self.0.range_reversed(from, to)
    }

    /// The id of the last entry.
    pub fn last_entry(&self) -> Option<StreamId> {
        let mut entries = self.range_reversed(StreamId::MIN, StreamId::MAX);
        entries.next().map(|entry| entry.id)
    }

    /// The consumer group of that name.
    pub fn group(&self, name: &[u8]) -> Option<&'k Group> {
        self.0.group(name)
    }

    /// All groups, in the order of their names.
    pub fn groups(&self) -> impl Iterator<Item = &'k Group> + use<'k> {
        self.0.groups()
    }

    /// How many groups there are.
    pub fn groups_len(&self) -> usize {
        self.0.groups_len()
    }
}

/// A stream that is being changed; see [`Keyspace::change_stream`].
pub struct StreamMut<'a> {
    log: &'a mut Log,
    limits: &'a Limits,
}

impl StreamMut<'_> {
    /// The same, to be read.
    pub fn read(&self) -> Stream<'_> {
        Stream(self.log)
    }

    /// Appends an entry of fields and values in turn.
    ///
    /// # Panics
    /// If the id is not greater than the last one, or there is no field.
    pub fn append(&mut self, id: StreamId, fields: &[&[u8]]) {
        self.log.append(self.limits, id, fields);
    }

    /// Deletes an entry; false if there is none of that id.
    pub fn delete(&mut self, id: StreamId) -> bool {
        self.log.delete(id)
    }

    /// Removes entries from the first on; how many.
    pub fn trim(&mut self, to: Trim, work: TrimWork) -> usize {
        self.log.trim(to, work)
    }

    /// Sets the last id, and how many entries were added and which is the greatest deleted id where these are told. Ids that are
    /// given to entries later are greater, so `id` is not less than that of the last entry.
    ///
    /// # Panics
    /// If it is less.
    pub fn set_last_id(
        &mut self,
        id: StreamId,
        entries_added: Option<u64>,
        max_deleted_id: Option<StreamId>,
    ) {
        assert!(self.read().last_entry() <= Some(id), "ids ascend");
        self.log.set_last_id(id, entries_added, max_deleted_id);
    }

    /// Makes a consumer group that has read up to an id; false if there is one of that name.
    pub fn make_group(
        &mut self,
        name: &[u8],
        last_id: StreamId,
        entries_read: Option<u64>,
    ) -> bool {
        self.log.make_group(name, last_id, entries_read)
    }

    /// Removes a consumer group; false if there is none of that name.
    pub fn remove_group(&mut self, name: &[u8]) -> bool {
        self.log.remove_group(name)
    }

    /// Changes the consumer group of that name; none if there is none.
    pub fn change_group<R>(
        &mut self,
        name: &[u8],
        change: impl FnOnce(&mut Group) -> R,
    ) -> Option<R> {
        self.log.change_group(name, change)
    }
}

impl Keyspace {
    /// The stream at a key; none if it is absent at `now`.
    ///
    /// # Errors
    /// When the key holds something else.
    pub fn stream(
        &self,
        db: Db,
        key: &[u8],
        now: Timestamp,
    ) -> Result<Option<Stream<'_>>, WrongKind> {
        let entry = self.collection(db, key, Kind::Stream, now)?;
        Ok(entry.map(|entry| {
            entry.touch(now);
            Stream::of(entry)
        }))
    }

    /// Changes the stream at a key; none if it is absent and left so. One that is made stays, whatever is done
    /// with it: a stream may be without entries. Whoever may find nothing to change looks first, with
    /// [`Keyspace::stream`].
    ///
    /// # Errors
    /// When the key holds something else.
    pub fn change_stream<R>(
        &mut self,
        db: Db,
        key: &[u8],
        absent: Absent,
        change: impl FnOnce(&mut StreamMut<'_>) -> R,
    ) -> Result<Option<R>, WrongKind> {
        self.change_collection(db, key, Kind::Stream, absent, |mut value: ValueMut<'_>| {
            if value.object().is_none() {
                value.set_object(Encoding::Stream, Object::Stream(Box::default()));
            }
            let limits = value.limits;
            let Some(Object::Stream(log)) = value.object_mut() else {
                unreachable!("a stream is an object of its own")
            };
            change(&mut StreamMut { log, limits })
        })
    }
}
