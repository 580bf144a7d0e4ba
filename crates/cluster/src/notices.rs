//! Notices of what keys go through, on their way to those who want them on any node.
//!
//! A node with a replica takes them from that. To the other nodes the leader sends them; what it has told before it
//! went, its successor may tell again, so nobody listens twice to one entry. What happens while nobody leads, or
//! what a snapshot brings along, nobody hears of: like all that is published, notices are kept for no one.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};

use base::{Db, NodeId, ShardId};
use keyspace::{Classes, Notice};
use node::wire::{Kind, Outbox};
use node::{Order, Outputs};
use tracing::debug;

use crate::store::Store;

/// Who wants notices, and what was told already.
#[derive(Default)]
pub(crate) struct Notices {
    wanted: AtomicU16,
    listener: OnceLock<Listener>,
    /// Of each shard without a replica here: the last entry that was told.
    told: Mutex<BTreeMap<ShardId, u64>>,
}

type Listener = Box<dyn Fn(&[Heard<'_>]) + Send + Sync>;

/// Something that happened to a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heard<'n> {
    /// Redis's name of it.
    pub event: &'n str,
    /// The database of the key.
    pub db: Db,
    /// The key.
    pub key: &'n [u8],
}

impl Store {
    /// Who hears of what keys go through; to be set once. It is called by any thread and must be short.
    pub fn set_notice_listener(&self, hear: impl Fn(&[Heard<'_>]) + Send + Sync + 'static) {
        if self.notices.listener.set(Box::new(hear)).is_err() {
            debug!("somebody listens already");
        }
    }

    /// From now on notices of those classes are wanted, of all shards with a replica here.
    pub fn want_notices(&self, classes: Classes) {
        self.notices.wanted.store(classes.bits(), Ordering::Relaxed);
        self.order_notices();
    }

    /// Tells the shards which notices are wanted.
    pub(crate) fn order_notices(&self) {
        let classes = Classes::of_bits(self.notices.wanted.load(Ordering::Relaxed));
        self.for_each_cell(|cell| cell.order(Order::WantNotices(classes)));
    }

    /// Hands out what a turn had to tell.
    pub(crate) fn hand_out_notices(&self, shard: ShardId, out: &mut Outputs) {
        if out.notices.is_empty() {
            return;
        }
        for (_, notices) in &out.notices {
            let heard: Vec<Heard<'_>> = notices.iter().map(Heard::of).collect();
            self.notices.hear(&heard);
        }
        if !out.noticed_by.is_empty() {
            let others = self.calls.connected();
            let others = others.iter().filter(|node| !out.noticed_by.contains(node));
            let others: BTreeSet<NodeId> = others.copied().collect();
            self.tell_others(shard, &others, &out.notices);
        }
        out.notices.clear();
    }

    fn tell_others(&self, shard: ShardId, others: &BTreeSet<NodeId>, all: &[(u64, Vec<Notice>)]) {
        let mut outbox = Outbox::default();
        for node in others {
            for (index, notices) in all {
                outbox.put(*node, Kind::Notices, |out| {
                    out.extend_from_slice(&shard.0.to_le_bytes());
                    out.extend_from_slice(&index.to_le_bytes());
                    notices
                        .iter()
                        .for_each(|notice| Heard::of(notice).encode(out));
                });
            }
        }
        self.traffic.send_all(&mut outbox);
    }

    /// A leader tells of an entry of a shard.
    pub(crate) fn told(&self, bytes: &[u8]) {
        let Some((shard, rest)) = bytes.split_first_chunk() else {
            return;
        };
        let Some((index, rest)) = rest.split_first_chunk() else {
            return;
        };
        let shard = ShardId(u32::from_le_bytes(*shard));
        let has_replica = self
            .cell_of(shard)
            .is_some_and(|cell| cell.replica_status().is_some());
        if !has_replica && self.notices.is_news(shard, u64::from_le_bytes(*index)) {
            self.notices.hear(&decode(rest));
        }
    }
}

impl Notices {
    fn hear(&self, heard: &[Heard<'_>]) {
        if let Some(listener) = self.listener.get() {
            listener(heard);
        }
    }

    /// Whether that entry was not told yet; it is from now on.
    fn is_news(&self, shard: ShardId, index: u64) -> bool {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let last = told.entry(shard).or_default();
        let is_news = index > *last;
        *last = index.max(*last);
        is_news
    }
}

impl<'n> Heard<'n> {
    fn of(notice: &'n Notice) -> Heard<'n> {
        Heard {
            event: notice.event,
            db: notice.db,
            key: &notice.key,
        }
    }

    /// The database, the length of the event as u8, that of the key as u32, and both.
    fn encode(self, out: &mut Vec<u8>) {
        out.push(self.db.number());
        out.push(u8::try_from(self.event.len()).expect("events have short names"));
        let length = u32::try_from(self.key.len()).expect("no key is as long as 4 GiB");
        out.extend_from_slice(&length.to_le_bytes());
        out.extend_from_slice(self.event.as_bytes());
        out.extend_from_slice(self.key);
    }
}

/// What [`Heard::encode`] wrote, as far as it can be read.
fn decode(mut bytes: &[u8]) -> Vec<Heard<'_>> {
    std::iter::from_fn(|| {
        let (&[db, event], rest) = bytes.split_first_chunk()?;
        let (key, rest) = rest.split_first_chunk()?;
        let (event, rest) = rest.split_at_checked(usize::from(event))?;
        let (key, rest) = rest.split_at_checked(u32::from_le_bytes(*key) as usize)?;
        bytes = rest;
        Some(Heard {
            event: std::str::from_utf8(event).ok()?,
            db: Db::new(db).ok()?,
            key,
        })
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_told_is_told_once() {
        let notices = Notices::default();
        let (one, other) = (ShardId(1), ShardId(2));
        assert!(notices.is_news(one, 5));
        assert!(!notices.is_news(one, 5));
        assert!(!notices.is_news(one, 4));
        assert!(notices.is_news(other, 4));
        assert!(notices.is_news(one, 6));
    }

    #[test]
    fn what_is_written_is_read_and_what_is_cut_is_not() {
        let all = ["set", "expired"].map(|event| Heard {
            event,
            db: Db::default(),
            key: b"a key",
        });
        let mut bytes = Vec::new();
        all.iter().for_each(|heard| heard.encode(&mut bytes));
        assert_eq!(decode(&bytes), all);
        for cut in 0..bytes.len() {
            assert!(decode(&bytes[..cut]).len() < 2, "{cut}");
        }
    }
}
