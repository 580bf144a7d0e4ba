//! Consumer groups: how far each has read, what was delivered and not yet acknowledged, and to whom.
//!
//! Invariants: what is pending in a group is pending at just one of its consumers; the group and the consumer both have it,
//! in the order of ids. Groups and consumers are in the order of their names.

use std::sync::Arc;

use base::Timestamp;

use super::Counters;
use super::id::StreamId;
use crate::memory::size_class;
use crate::order::{Keyed, Order};

/// The name of a group or a consumer, shared by those who refer to it.
pub(super) type Name = Arc<[u8]>;

/// Two counters and the bytes.
fn name_bytes(name: &[u8]) -> usize {
    size_class(16 + name.len())
}

/// A consumer group of a stream.
#[derive(Clone)]
pub struct Group {
    name: Name,
    last_id: StreamId,
    entries_read: Option<u64>,
    pending: Order<Pending>,
    consumers: Order<Consumer>,
    /// The memory of the consumers beside their places in the tree.
    consumers_bytes: usize,
}

impl Keyed for Group {
    type Key = Name;

    fn key(&self) -> &Name {
        &self.name
    }
}

/// An entry that was delivered and not acknowledged.
#[derive(Clone)]
pub struct Pending {
    /// Its id.
    pub id: StreamId,
    /// When it was last delivered.
    pub delivered_at: Timestamp,
    /// How often it was.
    pub deliveries: u64,
    consumer: Name,
}

impl Pending {
    /// The name of the consumer to which it was delivered.
    pub fn consumer(&self) -> &[u8] {
        &self.consumer
    }
}

impl Keyed for Pending {
    type Key = StreamId;

    fn key(&self) -> &StreamId {
        &self.id
    }
}

/// A consumer of a group.
#[derive(Clone)]
pub struct Consumer {
    name: Name,
    /// When it was last heard of.
    pub seen_at: Timestamp,
    /// When something was last delivered to it, if ever.
    pub active_at: Option<Timestamp>,
    pending: Order<StreamId>,
}

impl Consumer {
    /// Its name.
    pub fn name(&self) -> &[u8] {
        &self.name
    }

    /// How many entries are pending at it.
    pub fn pending_len(&self) -> usize {
        self.pending.len()
    }

    /// The ids of those from one on.
    pub fn pending_from(&self, from: StreamId) -> impl Iterator<Item = StreamId> {
        let start = self.pending.partition_point(|id| *id < from);
        self.pending.range(start..self.pending.len()).copied()
    }

    fn memory_bytes(&self) -> usize {
        name_bytes(&self.name) + self.pending.bytes()
    }
}

impl Keyed for Consumer {
    type Key = Name;

    fn key(&self) -> &Name {
        &self.name
    }
}

impl Group {
    pub(super) fn new(name: &[u8], last_id: StreamId, entries_read: Option<u64>) -> Group {
        Group {
            name: Name::from(name),
            last_id,
            entries_read,
            pending: Order::default(),
            consumers: Order::default(),
            consumers_bytes: 0,
        }
    }

    /// The memory beside the group's place in the tree.
    pub(super) fn memory_bytes(&self) -> usize {
        name_bytes(&self.name)
            + self.pending.bytes()
            + self.consumers.bytes()
            + self.consumers_bytes
    }

    /// Its name.
    pub fn name(&self) -> &[u8] {
        &self.name
    }

    /// The id up to which entries were delivered.
    pub fn last_id(&self) -> StreamId {
        self.last_id
    }

    /// How many entries of the stream were read in all, as far as that is known.
    pub fn entries_read(&self) -> Option<u64> {
        self.entries_read
    }

    /// How many entries the group has yet to read, as far as that is known. It may be less than none after XSETID.
    pub fn lag(&self, counters: Counters) -> Option<i128> {
        if counters.entries_added == 0 {
            return Some(0);
        }
        let known = self
            .entries_read
            .filter(|_| !counters.has_tombstone_from(self.last_id));
        let read = known.or_else(|| counters.entries_up_to(self.last_id))?;
        Some(i128::from(counters.entries_added) - i128::from(read))
    }

    /// Sets how far the group has read.
    pub fn set_last_id(&mut self, id: StreamId, entries_read: Option<u64>) {
        self.last_id = id;
        self.entries_read = entries_read;
    }

    /// Moves the end of what was delivered up to an id; nothing happens if it is beyond.
    pub fn raise_last_id(&mut self, id: StreamId) {
        self.last_id = self.last_id.max(id);
    }

    /// Counts an entry as read. The counters are those of the stream.
    pub fn read(&mut self, id: StreamId, counters: Counters) {
        if id <= self.last_id {
            return;
        }
        match self.entries_read {
            Some(read) if !counters.has_tombstone_from(id) => {
                self.entries_read = Some(read.saturating_add(1));
            }
            _ if counters.entries_added > 0 => self.entries_read = counters.entries_up_to(id),
            _ => {}
        }
        self.last_id = id;
    }

    /// How many entries are pending.
    pub fn pending_len(&self) -> usize {
        self.pending.len()
    }

    /// What is pending from an id on.
    pub fn pending_from(&self, from: StreamId) -> impl Iterator<Item = &Pending> {
        let start = self.pending.partition_point(|id| *id < from);
        self.pending.range(start..self.pending.len())
    }

    /// The last that is pending.
    pub fn last_pending(&self) -> Option<&Pending> {
        let last = self.pending.len().checked_sub(1)?;
        Some(self.pending.get(last))
    }

    fn pending_rank(&self, id: StreamId) -> Result<usize, usize> {
        let rank = self.pending.partition_point(|other| *other < id);
        let found = rank < self.pending.len() && self.pending.get(rank).id == id;
        if found { Ok(rank) } else { Err(rank) }
    }

    /// What is pending with that id.
    pub fn pending(&self, id: StreamId) -> Option<&Pending> {
        Some(self.pending.get(self.pending_rank(id).ok()?))
    }

    /// The consumers, in the order of their names.
    pub fn consumers(&self) -> impl Iterator<Item = &Consumer> {
        self.consumers.range(0..self.consumers.len())
    }

    /// How many consumers there are.
    pub fn consumers_len(&self) -> usize {
        self.consumers.len()
    }

    fn consumer_rank(&self, name: &[u8]) -> Result<usize, usize> {
        let rank = self.consumers.partition_point(|other| **other < *name);
        let found = rank < self.consumers.len() && *self.consumers.get(rank).name == *name;
        if found { Ok(rank) } else { Err(rank) }
    }

    /// The consumer of that name.
    pub fn consumer(&self, name: &[u8]) -> Option<&Consumer> {
        Some(self.consumers.get(self.consumer_rank(name).ok()?))
    }

    /// Makes a consumer that was seen at that moment; false if there is one of that name.
    pub fn make_consumer(&mut self, name: &[u8], seen_at: Timestamp) -> bool {
        let Err(rank) = self.consumer_rank(name) else {
            return false;
        };
        let consumer = Consumer {
            name: Name::from(name),
            seen_at,
            active_at: None,
            pending: Order::default(),
        };
        self.consumers_bytes += consumer.memory_bytes();
        self.consumers.insert(rank, consumer);
        true
    }

    /// Notes that a consumer was heard of, and makes it if there is none.
    pub fn see_consumer(&mut self, name: &[u8], now: Timestamp) {
        if !self.make_consumer(name, now) {
            self.change_consumer(name, |consumer| consumer.seen_at = now);
        }
    }

    /// Notes that something was delivered to a consumer.
    ///
    /// # Panics
    /// If there is none of that name.
    pub fn set_active(&mut self, name: &[u8], at: Option<Timestamp>) {
        self.change_consumer(name, |consumer| consumer.active_at = at);
    }

    /// Removes a consumer and all that is pending at it; how much that was, or none if there is no such consumer.
    pub fn remove_consumer(&mut self, name: &[u8]) -> Option<usize> {
        let rank = self.consumer_rank(name).ok()?;
        let consumer = self.consumers.take(rank);
        self.consumers_bytes -= consumer.memory_bytes();
        for id in consumer.pending_from(StreamId::MIN) {
            let rank = self.pending_rank(id).expect("the group has it too");
            self.pending.take(rank);
        }
        Some(consumer.pending_len())
    }

    fn change_consumer<R>(&mut self, name: &[u8], change: impl FnOnce(&mut Consumer) -> R) -> R {
        let rank = self.consumer_rank(name).expect("the consumer is there");
        let (before, after, result) = self.consumers.change(rank, |consumer| {
            let before = consumer.memory_bytes();
            let result = change(consumer);
            (before, consumer.memory_bytes(), result)
        });
        self.consumers_bytes = self.consumers_bytes - before + after;
        result
    }

    /// Makes an entry pending at a consumer, whether it was pending at another one, at this one or not.
    ///
    /// # Panics
    /// If there is no consumer of that name.
    pub fn assign(&mut self, id: StreamId, to: &[u8], delivered_at: Timestamp, deliveries: u64) {
        let rank = self.consumer_rank(to).expect("the consumer is there");
        let consumer = Name::clone(&self.consumers.get(rank).name);
        let new = Pending {
            id,
            delivered_at,
            deliveries,
            consumer,
        };
        match self.pending_rank(id) {
            Ok(rank) => {
                let old = self
                    .pending
                    .change(rank, |pending| std::mem::replace(pending, new));
                if *old.consumer == *to {
                    return;
                }
                self.remove_from(&old.consumer, id);
            }
            Err(rank) => self.pending.insert(rank, new),
        }
        self.change_consumer(to, |consumer| {
            let rank = consumer.pending.partition_point(|other| *other < id);
            consumer.pending.insert(rank, id);
        });
    }

    /// Takes an entry from what is pending; false if it was not.
    pub fn acknowledge(&mut self, id: StreamId) -> bool {
        let Ok(rank) = self.pending_rank(id) else {
            return false;
        };
        let old = self.pending.take(rank);
        self.remove_from(&old.consumer, id);
        true
    }

    fn remove_from(&mut self, consumer: &[u8], id: StreamId) {
        self.change_consumer(consumer, |consumer| {
            let rank = consumer.pending.partition_point(|other| *other < id);
            assert_eq!(
                consumer.pending.take(rank),
                id,
                "the consumer has what is pending at it"
            );
        });
    }

    pub(super) fn consumer_at(&self, rank: usize) -> Option<&Consumer> {
        (rank < self.consumers.len()).then(|| self.consumers.get(rank))
    }

    /// The name of the last consumer.
    pub(super) fn last_consumer(&self) -> Option<&[u8]> {
        let last = self.consumers.len().checked_sub(1)?;
        Some(&self.consumers.get(last).name)
    }

    pub(super) fn consumers_at(&self, rank: usize) -> impl Iterator<Item = &Consumer> {
        self.consumers.range(rank..self.consumers.len())
    }

    pub(super) fn pending_at(&self, rank: usize) -> impl Iterator<Item = &Pending> {
        self.pending.range(rank..self.pending.len())
    }

    /// The rank of the consumer of what is pending.
    pub(super) fn rank_of_consumer(&self, pending: &Pending) -> usize {
        self.consumer_rank(&pending.consumer)
            .expect("the consumer is there")
    }

    #[cfg(test)]
    pub(super) fn check(&self) {
        self.pending.check(|one, other| one == other);
        self.consumers.check(|one, other| one == other);
        let mut bytes = 0;
        let mut of_consumers: Vec<(StreamId, &[u8])> = Vec::new();
        for consumer in self.consumers() {
            consumer.pending.check(|one, other| one == other);
            bytes += consumer.memory_bytes();
            let ids = consumer.pending_from(StreamId::MIN);
            of_consumers.extend(ids.map(|id| (id, consumer.name())));
        }
        assert_eq!(bytes, self.consumers_bytes);
        of_consumers.sort();
        let pending = self.pending_from(StreamId::MIN);
        let pending: Vec<_> = pending
            .map(|pending| (pending.id, pending.consumer()))
            .collect();
        assert_eq!(pending, of_consumers);
        assert!(pending.is_sorted_by(|one, other| one.0 < other.0));
        assert!(
            self.consumers()
                .is_sorted_by(|one, other| one.name < other.name)
        );
    }
}
