//! How streams stand in snapshots: as records, one after another.
//!
//! | first byte | record |
//! | --- | --- |
//! | 0 | the stream, once and before all else: last id, greatest deleted id (each ms and seq), entries added; 8 bytes each |
//! | 1 | a node: first and last id (each ms and seq, 8 bytes), entries, deleted ones, weight (4 bytes each), its length, its bytes |
//! | 2 | a group, which those below belong to: last id (ms and seq), entries read (8 bytes, all ones if unknown), the length of its name, its name |
//! | 3 | a consumer: seen at, active at (8 bytes, all ones if never), the length of its name, its name |
//! | 4 | what is pending: id (ms and seq), delivered at (8 bytes each), how often, the number of its consumer in the order of names |
//!
//! Nodes, groups, consumers of a group and what is pending in it come in their order. Numbers of 4 and 8 bytes are
//! little-endian, lengths and the last two of what is pending are LEB128 in the shortest form.

use base::Timestamp;

use super::group::{Consumer, Group, Pending};
use super::node::Node;
use super::{Log, StreamId};
use crate::object::Progress;
use crate::stream::{decode_length, decode_number, encode_length, encode_number, take};

const STREAM: u8 = 0;
const NODE: u8 = 1;
const GROUP: u8 = 2;
const CONSUMER: u8 = 3;
const PENDING: u8 = 4;

/// Stands for a number that is unknown, and for a moment that never was.
const NONE: u64 = u64::MAX;

fn push_id(id: StreamId, out: &mut Vec<u8>) {
    out.extend_from_slice(&id.ms.to_le_bytes());
    out.extend_from_slice(&id.seq.to_le_bytes());
}

fn push_bytes(bytes: &[u8], out: &mut Vec<u8>) {
    encode_length(bytes.len(), out);
    out.extend_from_slice(bytes);
}

fn take_u64(piece: &mut &[u8]) -> Result<u64, &'static str> {
    let bytes = take(piece, 8)?;
    Ok(u64::from_le_bytes(
        bytes.try_into().expect("the length is so"),
    ))
}

fn take_u32(piece: &mut &[u8]) -> Result<u32, &'static str> {
    let bytes = take(piece, 4)?;
    Ok(u32::from_le_bytes(
        bytes.try_into().expect("the length is so"),
    ))
}

fn take_id(piece: &mut &[u8]) -> Result<StreamId, &'static str> {
    Ok(StreamId {
        ms: take_u64(piece)?,
        seq: take_u64(piece)?,
    })
}

fn take_bytes<'b>(piece: &mut &'b [u8]) -> Result<&'b [u8], &'static str> {
    let len = decode_length(piece)?;
    take(piece, len)
}

fn write_node(node: &Node, out: &mut Vec<u8>) {
    out.push(NODE);
    push_id(node.first, out);
    push_id(node.last, out);
    for count in [node.live, node.deleted, node.weight] {
        out.extend_from_slice(&count.to_le_bytes());
    }
    push_bytes(node.bytes(), out);
}

fn write_group(group: &Group, out: &mut Vec<u8>) {
    out.push(GROUP);
    push_id(group.last_id(), out);
    out.extend_from_slice(&group.entries_read().unwrap_or(NONE).to_le_bytes());
    push_bytes(group.name(), out);
}

fn write_consumer(consumer: &Consumer, out: &mut Vec<u8>) {
    out.push(CONSUMER);
    out.extend_from_slice(&consumer.seen_at.millis().to_le_bytes());
    let active_at = consumer.active_at.map_or(NONE, Timestamp::millis);
    out.extend_from_slice(&active_at.to_le_bytes());
    push_bytes(consumer.name(), out);
}

fn write_pending(group: &Group, pending: &Pending, out: &mut Vec<u8>) {
    out.push(PENDING);
    push_id(pending.id, out);
    out.extend_from_slice(&pending.delivered_at.millis().to_le_bytes());
    encode_number(pending.deliveries, out);
    encode_length(group.rank_of_consumer(pending), out);
}

/// Writes items while there is room, from a number on; the number of the first that was not written.
fn write_some<T>(
    items: impl Iterator<Item = T>,
    from: usize,
    until: usize,
    out: &mut Vec<u8>,
    mut write: impl FnMut(T, &mut Vec<u8>),
) -> Option<usize> {
    for (number, item) in (from..).zip(items) {
        if out.len() >= until {
            return Some(number);
        }
        write(item, out);
    }
    None
}

/// What stands under a head, from a number on: the head has 0, the first of the items 1.
fn headed<T, I: Iterator<Item = T>>(
    number: usize,
    items_at: impl FnOnce(usize) -> I,
) -> impl Iterator<Item = Option<T>> {
    let head = (number == 0).then_some(None);
    let items = items_at(number.saturating_sub(1)).map(Some);
    head.into_iter().chain(items)
}

impl Log {
    /// As [`Object::write_piece`](crate::object::Object::write_piece). The first number of the progress tells what is being written:
    /// 0 the stream and its nodes, from then on a group with its consumers and what is pending in it, in turn. The
    /// second one counts the records of that.
    pub(crate) fn write_piece(
        &self,
        from: Progress,
        until: usize,
        out: &mut Vec<u8>,
    ) -> Option<Progress> {
        let (mut part, mut number) = from;
        // At least one record, even if a long key has taken the room.
        let until = until.max(out.len() + 1);
        loop {
            let group = part.checked_sub(1).map(|below| self.group_at(below / 2));
            let stopped = match group {
                None => {
                    let nodes = |rank| self.nodes.range(rank..self.nodes.len());
                    let records = headed(number, nodes);
                    write_some(records, number, until, out, |node, out| match node {
                        Some(node) => write_node(node, out),
                        None => self.write_head(out),
                    })
                }
                Some(None) => return None,
                Some(Some(group)) if part % 2 == 1 => {
                    let records = headed(number, |rank| group.consumers_at(rank));
                    write_some(
                        records,
                        number,
                        until,
                        out,
                        |consumer, out| match consumer {
                            Some(consumer) => write_consumer(consumer, out),
                            None => write_group(group, out),
                        },
                    )
                }
                Some(Some(group)) => {
                    let records = group.pending_at(number);
                    write_some(records, number, until, out, |pending, out| {
                        write_pending(group, pending, out);
                    })
                }
            };
            if let Some(number) = stopped {
                return Some((part, number));
            }
            (part, number) = (part + 1, 0);
        }
    }

    fn write_head(&self, out: &mut Vec<u8>) {
        out.push(STREAM);
        push_id(self.last_id, out);
        push_id(self.max_deleted_id, out);
        out.extend_from_slice(&self.entries_added.to_le_bytes());
    }

    /// As [`Object::read_piece`](crate::object::Object::read_piece).
    pub(crate) fn read_piece(&mut self, mut piece: &[u8]) -> Result<(), &'static str> {
        if piece.is_empty() {
            return Err("a piece of a stream is empty");
        }
        while !piece.is_empty() {
            match take(&mut piece, 1)?[0] {
                STREAM => self.read_head(&mut piece)?,
                NODE => self.read_node(&mut piece)?,
                GROUP => self.read_group(&mut piece)?,
                CONSUMER => {
                    let seen_at = Timestamp::from_millis(take_u64(&mut piece)?);
                    let active_at = Some(take_u64(&mut piece)?).filter(|at| *at != NONE);
                    let name = take_bytes(&mut piece)?;
                    self.change_last_group(|group| {
                        let is_last = group.last_consumer().is_none_or(|last| last < name);
                        if !is_last || !group.make_consumer(name, seen_at) {
                            return Err("consumers are not in the order of their names");
                        }
                        group.set_active(name, active_at.map(Timestamp::from_millis));
                        Ok(())
                    })?;
                }
                PENDING => {
                    let id = take_id(&mut piece)?;
                    let delivered_at = Timestamp::from_millis(take_u64(&mut piece)?);
                    let deliveries = decode_number(&mut piece)?;
                    let consumer = decode_length(&mut piece)?;
                    self.change_last_group(|group| {
                        if group.last_pending().is_some_and(|last| last.id >= id) {
                            return Err("what is pending is not in the order of ids");
                        }
                        let consumer = group.consumer_at(consumer);
                        let name = consumer.ok_or("something is pending at no consumer")?;
                        let name = name.name().to_vec();
                        group.assign(id, &name, delivered_at, deliveries);
                        Ok(())
                    })?;
                }
                _ => return Err("a stream has a record of no known kind"),
            }
        }
        Ok(())
    }

    fn read_head(&mut self, piece: &mut &[u8]) -> Result<(), &'static str> {
        if self.nodes.len() > 0 || self.groups.is_some() || self.last_id != StreamId::MIN {
            return Err("the head of a stream stands twice");
        }
        self.last_id = take_id(piece)?;
        self.max_deleted_id = take_id(piece)?;
        self.entries_added = take_u64(piece)?;
        Ok(())
    }

    fn read_node(&mut self, piece: &mut &[u8]) -> Result<(), &'static str> {
        let (first, last) = (take_id(piece)?, take_id(piece)?);
        let [live, deleted, weight] = [take_u32(piece)?, take_u32(piece)?, take_u32(piece)?];
        let bytes = take_bytes(piece)?;
        let node = Node::checked(first, last, [live, deleted, weight], bytes)
            .ok_or("a node of a stream is malformed")?;
        let before = self
            .nodes
            .len()
            .checked_sub(1)
            .map(|rank| self.nodes.get(rank));
        let ascends = before.is_none_or(|before| before.last_live() < Some(first));
        if !ascends || node.last_live() > Some(self.last_id) || self.groups.is_some() {
            return Err("the nodes of a stream are out of order");
        }
        self.len += live as usize;
        self.push_node(node);
        Ok(())
    }

    fn read_group(&mut self, piece: &mut &[u8]) -> Result<(), &'static str> {
        let last_id = take_id(piece)?;
        let entries_read = Some(take_u64(piece)?).filter(|read| *read != NONE);
        let name = take_bytes(piece)?;
        let last = self
            .groups_len()
            .checked_sub(1)
            .and_then(|rank| self.group_at(rank));
        let is_last = last.is_none_or(|last| last.name() < name);
        if !is_last || !self.make_group(name, last_id, entries_read) {
            return Err("groups are not in the order of their names");
        }
        Ok(())
    }

    fn change_last_group(
        &mut self,
        change: impl FnOnce(&mut Group) -> Result<(), &'static str>,
    ) -> Result<(), &'static str> {
        let last = self
            .groups_len()
            .checked_sub(1)
            .and_then(|rank| self.group_at(rank));
        let name = last
            .ok_or("a consumer belongs to no group")?
            .name()
            .to_vec();
        let changed = self.change_group(&name, change);
        changed.expect("the group is there")
    }
}
