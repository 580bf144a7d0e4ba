//! Streams: entries by ascending ids in nodes, counters, and consumer groups.
//!
//! A stream has this one form, however small. What it keeps in order stands in trees whose parts are shared with
//! snapshots and copies, so that a clone takes constant time and a change copies a few parts: nodes of entries by
//! the id of their first, groups and consumers by name, what is pending by id. Where nodes end is part of the state: trimming
//! by whole nodes depends on it.
//!
//! Invariants: no node is without entries; ids ascend, and none is beyond the last one of the stream.

mod group;
mod id;
mod node;
mod pieces;

use crate::limits::Limits;
use crate::memory::size_class;
use crate::order::Order;

pub use group::{Consumer, Group, Pending};
pub use id::StreamId;
use node::Node;
pub use node::{Fields, StreamEntry};

/// See the module.
#[derive(Clone, Default)]
pub(crate) struct Log {
    nodes: Order<Node>,
    len: usize,
    last_id: StreamId,
    max_deleted_id: StreamId,
    entries_added: u64,
    /// Once there is a group.
    groups: Option<Order<Group>>,
    /// The memory of nodes and groups beside their places in the trees.
    bytes: usize,
}

/// What a stream counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counters {
    /// How many entries it has.
    pub len: usize,
    /// The id of the first one; the least of all ids if there is none.
    pub first_id: StreamId,
    /// The greatest id that was ever given.
    pub last_id: StreamId,
    /// The greatest id that was deleted by XDEL.
    pub max_deleted_id: StreamId,
    /// How many entries it was ever given.
    pub entries_added: u64,
}

impl Counters {
    /// Whether XDEL deleted something at an id or after it.
    pub(super) fn has_tombstone_from(&self, id: StreamId) -> bool {
        self.len > 0 && self.max_deleted_id != StreamId::MIN && id <= self.max_deleted_id
    }

    /// How many entries the stream was ever given up to an id, as far as that is known.
    pub fn entries_up_to(&self, id: StreamId) -> Option<u64> {
        if self.entries_added == 0 {
            return Some(0);
        }
        if self.len == 0 && id <= self.last_id {
            return Some(self.entries_added);
        }
        if id != StreamId::MIN && id < self.max_deleted_id {
            return None;
        }
        if id >= self.last_id {
            return (id == self.last_id).then_some(self.entries_added);
        }
        let is_whole = self.max_deleted_id == StreamId::MIN || self.max_deleted_id < self.first_id;
        if !is_whole || id > self.first_id {
            return None;
        }
        // XSETID may have told fewer than there are.
        let before = self.entries_added.saturating_sub(self.len as u64);
        Some(before + u64::from(id == self.first_id))
    }
}

/// What XTRIM leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trim {
    /// At most so many entries, the last ones.
    MaxLen(u64),
    /// Those from an id on.
    MinId(StreamId),
}

/// How far XTRIM goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TrimWork {
    /// To the end.
    Exact,
    /// By whole nodes alone, and by at most so many entries; 0 stands for all.
    WholeNodes(u64),
}

impl Log {
    pub(crate) fn memory_bytes(&self) -> usize {
        let groups = self.groups.as_ref().map_or(0, Order::bytes);
        size_class(size_of::<Log>()) + self.nodes.bytes() + groups + self.bytes
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn nodes_len(&self) -> usize {
        self.nodes.len()
    }

    pub(crate) fn last_id(&self) -> StreamId {
        self.last_id
    }

    pub(crate) fn counters(&self) -> Counters {
        let first = (self.nodes.len() > 0).then(|| self.nodes.get(0).first_live());
        Counters {
            len: self.len,
            first_id: first.flatten().unwrap_or(StreamId::MIN),
            last_id: self.last_id,
            max_deleted_id: self.max_deleted_id,
            entries_added: self.entries_added,
        }
    }

    /// The rank of the node that has an id if any has.
    fn node_of(&self, id: StreamId) -> Option<usize> {
        self.nodes
            .partition_point(|first| *first <= id)
            .checked_sub(1)
    }

    pub(crate) fn get(&self, id: StreamId) -> Option<StreamEntry<'_>> {
        self.nodes.get(self.node_of(id)?).get(id)
    }

    /// The entries from one id to another, both included.
    pub(crate) fn range(
        &self,
        from: StreamId,
        to: StreamId,
    ) -> impl Iterator<Item = StreamEntry<'_>> {
        let start = self.node_of(from).unwrap_or(0);
        let nodes = self.nodes.range(start..self.nodes.len());
        nodes
            .flat_map(Node::entries)
            .skip_while(move |entry| entry.id < from)
            .take_while(move |entry| entry.id <= to)
    }

    /// The same from the last to the first.
    pub(crate) fn range_reversed(
        &self,
        from: StreamId,
        to: StreamId,
    ) -> impl Iterator<Item = StreamEntry<'_>> {
        let end = self.node_of(to).map_or(0, |last| last + 1);
        let nodes = self.nodes.range_reversed(0..end);
        nodes
            .flat_map(Node::entries_reversed)
            .skip_while(move |entry| entry.id > to)
            .take_while(move |entry| entry.id >= from)
    }

    fn change_node<R>(&mut self, rank: usize, change: impl FnOnce(&mut Node) -> R) -> R {
        let (before, after, result) = self.nodes.change(rank, |node| {
            let before = node.memory_bytes();
            let result = change(node);
            (before, node.memory_bytes(), result)
        });
        self.bytes = self.bytes - before + after;
        result
    }

    fn push_node(&mut self, node: Node) {
        self.bytes += node.memory_bytes();
        self.nodes.insert(self.nodes.len(), node);
    }

    fn take_node(&mut self, rank: usize) -> Node {
        let node = self.nodes.take(rank);
        self.bytes -= node.memory_bytes();
        node
    }

    /// Appends an entry of fields and values in turn.
    ///
    /// # Panics
    /// If its id is not greater than the last one, or there is no field.
    pub(crate) fn append(&mut self, limits: &Limits, id: StreamId, fields: &[&[u8]]) {
        assert!(id > self.last_id && fields.len() >= 2, "ids ascend");
        let bytes = fields.iter().map(|part| part.len()).sum();
        match self.nodes.len().checked_sub(1) {
            Some(last) if self.nodes.get(last).takes(limits, bytes) => {
                self.change_node(last, |node| node.push(id, fields));
            }
            _ => self.push_node(Node::new(id, fields)),
        }
        self.len += 1;
        self.last_id = id;
        self.entries_added = self.entries_added.saturating_add(1);
    }

    /// Deletes an entry; false if there is none of that id.
    pub(crate) fn delete(&mut self, id: StreamId) -> bool {
        let Some(rank) = self.node_of(id) else {
            return false;
        };
        if self.nodes.get(rank).get(id).is_none() {
            return false;
        }
        self.change_node(rank, |node| node.delete(id));
        self.drop_if_empty(rank);
        self.len -= 1;
        self.max_deleted_id = self.max_deleted_id.max(id);
        true
    }

    fn drop_if_empty(&mut self, rank: usize) {
        if self.nodes.get(rank).live == 0 {
            self.take_node(rank);
        }
    }

    /// Removes entries from the first on; how many.
    pub(crate) fn trim(&mut self, to: Trim, work: TrimWork) -> usize {
        let before = self.len;
        // Too much for the memory is too much for the length.
        let keep = |most: u64| usize::try_from(most).unwrap_or(usize::MAX);
        while self.nodes.len() > 0 {
            let first = self.nodes.get(0);
            let live = first.live as usize;
            let removed = before - self.len;
            if let TrimWork::WholeNodes(most @ 1..) = work
                && (removed + live) as u64 > most
            {
                break;
            }
            let (is_whole, part) = match to {
                Trim::MaxLen(most) => {
                    let excess = self.len.saturating_sub(keep(most));
                    (live <= excess, excess)
                }
                Trim::MinId(id) => {
                    let is_whole = first.last < id;
                    (
                        is_whole,
                        if is_whole {
                            live
                        } else {
                            first.count_before(id)
                        },
                    )
                }
            };
            if is_whole && live > 0 && part > 0 {
                self.take_node(0);
                self.len -= live;
                continue;
            }
            if work == TrimWork::Exact && part > 0 {
                self.change_node(0, |node| node.delete_first(part));
                self.drop_if_empty(0);
                self.len -= part;
            }
            break;
        }
        before - self.len
    }

    /// Sets the last id, and the other two where they are told.
    pub(crate) fn set_last_id(
        &mut self,
        id: StreamId,
        entries_added: Option<u64>,
        max_deleted_id: Option<StreamId>,
    ) {
        self.last_id = id;
        self.entries_added = entries_added.unwrap_or(self.entries_added);
        self.max_deleted_id = max_deleted_id.unwrap_or(self.max_deleted_id);
    }

    pub(crate) fn groups(&self) -> impl Iterator<Item = &Group> {
        let groups = self.groups.iter();
        groups.flat_map(|groups| groups.range(0..groups.len()))
    }

    pub(crate) fn groups_len(&self) -> usize {
        self.groups.as_ref().map_or(0, Order::len)
    }

    fn group_rank(&self, name: &[u8]) -> Result<usize, usize> {
        let Some(groups) = &self.groups else {
            return Err(0);
        };
        let rank = groups.partition_point(|other| **other < *name);
        let found = rank < groups.len() && groups.get(rank).name() == name;
        if found { Ok(rank) } else { Err(rank) }
    }

    fn group_at(&self, rank: usize) -> Option<&Group> {
        let groups = self.groups.as_ref().filter(|groups| rank < groups.len())?;
        Some(groups.get(rank))
    }

    pub(crate) fn group(&self, name: &[u8]) -> Option<&Group> {
        self.group_at(self.group_rank(name).ok()?)
    }

    /// Makes a group; false if there is one of that name.
    pub(crate) fn make_group(
        &mut self,
        name: &[u8],
        last_id: StreamId,
        entries_read: Option<u64>,
    ) -> bool {
        let Err(rank) = self.group_rank(name) else {
            return false;
        };
        let group = Group::new(name, last_id, entries_read);
        self.bytes += group.memory_bytes();
        self.groups.get_or_insert_default().insert(rank, group);
        true
    }

    /// Removes a group; false if there is none of that name.
    pub(crate) fn remove_group(&mut self, name: &[u8]) -> bool {
        let (Ok(rank), Some(groups)) = (self.group_rank(name), &mut self.groups) else {
            return false;
        };
        self.bytes -= groups.take(rank).memory_bytes();
        if groups.len() == 0 {
            self.groups = None;
        }
        true
    }

    /// Changes the group of that name.
    pub(crate) fn change_group<R>(
        &mut self,
        name: &[u8],
        change: impl FnOnce(&mut Group) -> R,
    ) -> Option<R> {
        let rank = self.group_rank(name).ok()?;
        let groups = self.groups.as_mut()?;
        let (before, after, result) = groups.change(rank, |group| {
            let before = group.memory_bytes();
            let result = change(group);
            (before, group.memory_bytes(), result)
        });
        self.bytes = self.bytes - before + after;
        Some(result)
    }

    /// Asserts what the module states.
    #[cfg(test)]
    pub(crate) fn check(&self) {
        self.nodes.check(|one, other| one == other);
        let (mut bytes, mut len, mut before) = (0, 0, None);
        for node in self.nodes.range(0..self.nodes.len()) {
            bytes += node.memory_bytes();
            let read = Node::checked(
                node.first,
                node.last.max(self.last_id),
                [node.live, node.deleted, node.weight],
                node.bytes(),
            );
            assert!(read.is_some(), "a node is well formed");
            assert!(before < Some(node.first), "nodes ascend");
            before = node.last_live();
            len += node.live as usize;
        }
        assert_eq!(len, self.len);
        assert!(before.is_none_or(|last| last <= self.last_id));
        if let Some(groups) = &self.groups {
            assert!(groups.len() > 0, "there are groups or none");
            groups.check(|one, other| one == other);
        }
        for group in self.groups() {
            bytes += group.memory_bytes();
            group.check();
        }
        assert_eq!(bytes, self.bytes);
    }
}
