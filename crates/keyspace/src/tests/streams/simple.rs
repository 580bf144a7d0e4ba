//! Streams as simple as can be, and random changes of them.

use std::collections::BTreeMap;

use base::{Db, Timestamp};
use proptest::prelude::*;

use crate::tests::model::{Content, Model, Value};
use crate::tests::operations::{Field, field};
use crate::{Absent, Encoding, Keyspace, Stream, StreamId, Trim, TrimWork, WrongKind};

type Pairs = Vec<(Vec<u8>, Vec<u8>)>;

/// A stream as simple as can be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::tests) struct Simple {
    entries: BTreeMap<StreamId, Pairs>,
    last_id: StreamId,
    max_deleted_id: StreamId,
    entries_added: u64,
    groups: BTreeMap<Vec<u8>, SimpleGroup>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct SimpleGroup {
    last_id: StreamId,
    entries_read: Option<u64>,
    /// To whom, when, how often.
    pending: BTreeMap<StreamId, (Vec<u8>, Timestamp, u64)>,
    /// When they were seen and active.
    consumers: BTreeMap<Vec<u8>, (Timestamp, Option<Timestamp>)>,
}

impl Simple {
    /// What a stream shows of itself, by all of its means.
    pub(in crate::tests) fn of(stream: Stream<'_>) -> Simple {
        let all = || stream.range(StreamId::MIN, StreamId::MAX);
        let ids: Vec<StreamId> = all().map(|entry| entry.id).collect();
        let reversed = stream.range_reversed(StreamId::MIN, StreamId::MAX);
        assert!(reversed.map(|entry| entry.id).eq(ids.iter().rev().copied()));
        for pair in ids.windows(2) {
            let from = pair[0].next().expect("another follows");
            let range: Vec<_> = stream.range(from, pair[1]).map(|entry| entry.id).collect();
            assert_eq!(range, [pair[1]]);
            assert!(stream.get(pair[1]).is_some());
            assert_eq!(stream.get(from).is_some(), from == pair[1]);
        }
        assert_eq!(stream.len(), ids.len());
        let counters = stream.counters();
        assert_eq!(
            counters.first_id,
            ids.first().copied().unwrap_or(StreamId::MIN)
        );
        assert_eq!(stream.last_entry(), ids.last().copied());
        let entries = all().map(|entry| {
            let pairs = entry
                .fields
                .map(|(name, value)| (name.to_bytes().into_owned(), value.to_bytes().into_owned()));
            (entry.id, pairs.collect())
        });
        let groups = stream.groups().map(|group| {
            assert!(
                stream
                    .group(group.name())
                    .is_some_and(|found| std::ptr::eq(found, group))
            );
            let pending = group.pending_from(StreamId::MIN).map(|pending| {
                assert!(group.pending(pending.id).is_some());
                let consumer = pending.consumer().to_vec();
                (
                    pending.id,
                    (consumer, pending.delivered_at, pending.deliveries),
                )
            });
            let consumers = group.consumers().map(|consumer| {
                let times = (consumer.seen_at, consumer.active_at);
                (consumer.name().to_vec(), times)
            });
            let simple = SimpleGroup {
                last_id: group.last_id(),
                entries_read: group.entries_read(),
                pending: pending.collect(),
                consumers: consumers.collect(),
            };
            assert_eq!(simple.pending.len(), group.pending_len());
            assert_eq!(simple.consumers.len(), group.consumers_len());
            (group.name().to_vec(), simple)
        });
        let simple = Simple {
            entries: entries.collect(),
            last_id: counters.last_id,
            max_deleted_id: counters.max_deleted_id,
            entries_added: counters.entries_added,
            groups: groups.collect(),
        };
        assert_eq!(simple.groups.len(), stream.groups_len());
        simple
    }

    fn next_id(&self, after_ms: u8) -> StreamId {
        next_id(self.last_id, after_ms)
    }

    fn nth(&self, number: usize) -> StreamId {
        nth(self.entries.keys().copied(), number)
    }
}

fn next_id(last: StreamId, after_ms: u8) -> StreamId {
    match after_ms {
        0 => last.next().expect("the ids do not run out"),
        _ => StreamId {
            ms: last.ms + u64::from(after_ms),
            seq: u64::from(after_ms % 3),
        },
    }
}

/// The id of that number, counted round; one that is not there if there are none.
fn nth(ids: impl Iterator<Item = StreamId>, number: usize) -> StreamId {
    let ids: Vec<StreamId> = ids.collect();
    let id = number.checked_rem(ids.len()).map(|number| ids[number]);
    id.unwrap_or(StreamId { ms: 3, seq: 3 })
}

/// A change of a stream, for the random operations.
#[derive(Clone, Copy, Debug)]
pub(in crate::tests) enum StreamChange {
    /// So many entries, so many ms apart.
    Append(u8, u8, Field),
    Delete(usize),
    MaxLen(u8),
    /// From the entry of that number on.
    MinId(usize),
    RaiseLastId(u8),
    MakeGroup(bool, usize),
    RemoveGroup(bool),
    /// What the group has not yet read, at most so much, to a consumer.
    Deliver(bool, Field, u8),
    Acknowledge(bool, usize),
    RemoveConsumer(bool, Field),
}

pub(in crate::tests) fn stream_change() -> impl Strategy<Value = StreamChange> {
    let number = || 0..1000_usize;
    let count = prop_oneof![8 => 1..5_u8, 1 => 100..250_u8];
    prop_oneof![
        12 => (count, 0..4_u8, field()).prop_map(|(n, ms, f)| StreamChange::Append(n, ms, f)),
        4 => number().prop_map(StreamChange::Delete),
        1 => (0..20_u8).prop_map(StreamChange::MaxLen),
        1 => number().prop_map(StreamChange::MinId),
        1 => any::<u8>().prop_map(StreamChange::RaiseLastId),
        3 => (any::<bool>(), number()).prop_map(|(g, n)| StreamChange::MakeGroup(g, n)),
        1 => any::<bool>().prop_map(StreamChange::RemoveGroup),
        8 => (any::<bool>(), field(), 0..40_u8)
            .prop_map(|(g, f, n)| StreamChange::Deliver(g, f, n)),
        4 => (any::<bool>(), number()).prop_map(|(g, n)| StreamChange::Acknowledge(g, n)),
        1 => (any::<bool>(), field()).prop_map(|(g, f)| StreamChange::RemoveConsumer(g, f)),
    ]
}

fn group_name(other: bool) -> &'static [u8] {
    if other { b"other" } else { b"group" }
}

/// Every third entry has other fields than the rest.
fn fields_of(field: Field, number: u8) -> Vec<Vec<u8>> {
    let mut fields = vec![field.bytes(), number.to_string().into_bytes()];
    if number.is_multiple_of(3) {
        fields.extend([b"extra".to_vec(), vec![b'v'; usize::from(number)]]);
    }
    fields
}

impl StreamChange {
    fn makes(self) -> bool {
        matches!(
            self,
            StreamChange::Append(..) | StreamChange::MakeGroup(..) | StreamChange::RaiseLastId(_)
        )
    }

    pub(in crate::tests) fn apply(
        self,
        keyspace: &mut Keyspace,
        db: Db,
        key: &[u8],
    ) -> Result<usize, WrongKind> {
        let absent = if self.makes() {
            Absent::Make
        } else {
            Absent::Leave
        };
        let now = keyspace.stamp();
        let done = keyspace.change_stream(db, key, absent, |stream| {
            let ids = |stream: &crate::StreamMut<'_>| -> Vec<StreamId> {
                let entries = stream.read().range(StreamId::MIN, StreamId::MAX);
                entries.map(|entry| entry.id).collect()
            };
            match self {
                StreamChange::Append(count, ms, field) => {
                    for number in 0..count {
                        let id = next_id(stream.read().last_id(), ms);
                        let fields = fields_of(field, number);
                        let fields: Vec<&[u8]> = fields.iter().map(Vec::as_slice).collect();
                        stream.append(id, &fields);
                    }
                    stream.read().len()
                }
                StreamChange::Delete(number) => {
                    let id = nth(ids(stream).into_iter(), number);
                    usize::from(stream.delete(id))
                }
                StreamChange::MaxLen(most) => {
                    stream.trim(Trim::MaxLen(most.into()), TrimWork::Exact)
                }
                StreamChange::MinId(number) => {
                    let id = nth(ids(stream).into_iter(), number);
                    stream.trim(Trim::MinId(id), TrimWork::Exact)
                }
                StreamChange::RaiseLastId(by) => {
                    let id = next_id(stream.read().last_id(), by);
                    let added = (by % 2 == 0).then_some(1000);
                    stream.set_last_id(id, added, Some(id).filter(|_| by % 3 == 0));
                    0
                }
                StreamChange::MakeGroup(other, number) => {
                    let id = nth(ids(stream).into_iter(), number);
                    let read = (number % 2 == 0).then_some(number as u64);
                    usize::from(stream.make_group(group_name(other), id, read))
                }
                StreamChange::RemoveGroup(other) => {
                    usize::from(stream.remove_group(group_name(other)))
                }
                StreamChange::Deliver(other, consumer, count) => {
                    let counters = stream.read().counters();
                    let ids = ids(stream);
                    let delivered = stream.change_group(group_name(other), |group| {
                        group.see_consumer(&consumer.bytes(), now);
                        let after = group.last_id();
                        let ids = ids.into_iter().filter(|id| *id > after);
                        let ids: Vec<StreamId> = ids.take(count.into()).collect();
                        for &id in &ids {
                            group.read(id, counters);
                            group.assign(id, &consumer.bytes(), now, u64::from(count));
                            group.set_active(&consumer.bytes(), Some(now));
                        }
                        ids.len()
                    });
                    delivered.unwrap_or(777)
                }
                StreamChange::Acknowledge(other, number) => {
                    let done = stream.change_group(group_name(other), |group| {
                        let pending = group.pending_from(StreamId::MIN).map(|entry| entry.id);
                        let id = nth(pending, number);
                        usize::from(group.acknowledge(id))
                    });
                    done.unwrap_or(777)
                }
                StreamChange::RemoveConsumer(other, consumer) => {
                    let removed = stream.change_group(group_name(other), |group| {
                        group.remove_consumer(&consumer.bytes())
                    });
                    removed.flatten().unwrap_or(777)
                }
            }
        });
        done.map(Option::unwrap_or_default)
    }

    pub(in crate::tests) fn apply_to_model(
        self,
        model: &mut Model,
        db: Db,
        key: &[u8],
    ) -> Result<usize, WrongKind> {
        let now = model.stamp;
        model.drop_expired(db, key);
        let mut value = match model.get(db, key).cloned() {
            None if !self.makes() => return Ok(0),
            found => found.unwrap_or_else(|| Value {
                content: Content::Stream(Simple::default()),
                encoding: Encoding::Stream,
                expires_at: None,
            }),
        };
        let Content::Stream(stream) = &mut value.content else {
            return Err(WrongKind);
        };
        let outcome = self.apply_to_simple(stream, now);
        model.put(db, key, value);
        Ok(outcome)
    }

    fn apply_to_simple(self, stream: &mut Simple, now: Timestamp) -> usize {
        let before = stream.entries.len();
        match self {
            StreamChange::Append(count, ms, field) => {
                for number in 0..count {
                    stream.last_id = stream.next_id(ms);
                    let fields = fields_of(field, number);
                    let (pairs, _) = fields.as_chunks::<2>();
                    let pairs = pairs
                        .iter()
                        .map(|[name, value]| (name.clone(), value.clone()));
                    stream.entries.insert(stream.last_id, pairs.collect());
                    stream.entries_added += 1;
                }
                stream.entries.len()
            }
            StreamChange::Delete(number) => {
                let id = stream.nth(number);
                let was_there = stream.entries.remove(&id).is_some();
                if was_there {
                    stream.max_deleted_id = stream.max_deleted_id.max(id);
                }
                usize::from(was_there)
            }
            StreamChange::MaxLen(most) => {
                while stream.entries.len() > usize::from(most) {
                    stream.entries.pop_first();
                }
                before - stream.entries.len()
            }
            StreamChange::MinId(number) => {
                let id = stream.nth(number);
                stream.entries.retain(|other, _| *other >= id);
                before - stream.entries.len()
            }
            StreamChange::RaiseLastId(by) => {
                stream.last_id = stream.next_id(by);
                if by % 2 == 0 {
                    stream.entries_added = 1000;
                }
                if by % 3 == 0 {
                    stream.max_deleted_id = stream.last_id;
                }
                0
            }
            StreamChange::MakeGroup(other, number) => {
                let group = SimpleGroup {
                    last_id: stream.nth(number),
                    entries_read: (number % 2 == 0).then_some(number as u64),
                    ..SimpleGroup::default()
                };
                let name = group_name(other);
                if stream.groups.contains_key(name) {
                    return 0;
                }
                stream.groups.insert(name.to_vec(), group);
                1
            }
            StreamChange::RemoveGroup(other) => {
                usize::from(stream.groups.remove(group_name(other)).is_some())
            }
            StreamChange::Deliver(other, consumer, count) => stream
                .deliver(group_name(other), &consumer.bytes(), count, now)
                .unwrap_or(777),
            StreamChange::Acknowledge(other, number) => {
                let Some(group) = stream.groups.get_mut(group_name(other)) else {
                    return 777;
                };
                let id = nth(group.pending.keys().copied(), number);
                usize::from(group.pending.remove(&id).is_some())
            }
            StreamChange::RemoveConsumer(other, consumer) => {
                let Some(group) = stream.groups.get_mut(group_name(other)) else {
                    return 777;
                };
                let pending = group.pending.len();
                group.pending.retain(|_, (of, ..)| *of != consumer.bytes());
                match group.consumers.remove(&consumer.bytes()) {
                    Some(_) => pending - group.pending.len(),
                    None => 777,
                }
            }
        }
    }
}

impl Simple {
    fn deliver(&mut self, group: &[u8], to: &[u8], count: u8, now: Timestamp) -> Option<usize> {
        let group = self.groups.get_mut(group)?;
        let consumer = group.consumers.entry(to.to_vec()).or_default();
        consumer.0 = now;
        let ids = self.entries.keys().filter(|id| **id > group.last_id);
        let ids: Vec<StreamId> = ids.take(count.into()).copied().collect();
        let len = self.entries.len();
        for &id in &ids {
            // What was deleted in the midst makes it unknown how much was read, unless it is the last.
            let hole = self.max_deleted_id >= id && self.max_deleted_id > StreamId::MIN;
            let first = *self.entries.keys().next()?;
            let whole = self.max_deleted_id < first || self.max_deleted_id == StreamId::MIN;
            group.entries_read = match group.entries_read {
                Some(read) if !hole => Some(read + 1),
                _ if id < self.max_deleted_id => None,
                _ if id == self.last_id => Some(self.entries_added),
                _ if whole && id == first => {
                    Some(self.entries_added.saturating_sub(len as u64) + 1)
                }
                _ => None,
            };
            group.last_id = id;
            let pending = (to.to_vec(), now, u64::from(count));
            group.pending.insert(id, pending);
            consumer.1 = Some(now);
        }
        Some(ids.len())
    }
}
