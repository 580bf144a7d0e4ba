//! How much of the log stays in memory, and for whom: replicas that are being filled by a snapshot, under lasting load.
//!
//! Who is filled goes on from the snapshot with the entries that came after it; they must still be there then. A
//! log that is only ever cut to a size would lose them to a load that writes faster than the snapshot travels, and
//! the next snapshot would meet the same fate. So:
//!
//! 1. From the first piece that was sent on ([`Shard::note_sent`]), nothing after the snapshot is cut, until
//!    the replica has caught up.
//! 2. What is kept may grow with the part of the snapshot that was sent, to three quarters of the limit when all of
//!    it was, and to the limit while it is loaded and the replica goes on from it. Beyond that writes wait
//!    ([`Shard::holds_writes`]), so they go on at the pace of the transfer rather than stop.
//! 3. Once the replica goes on from the snapshot, the limit shrinks to what is always kept: whatever the load,
//!    it catches up, as long as it gets on at all.
//! 4. Nobody waits for one that gets nowhere. It is let go after a while, or once the limit is reached, and so is one
//!    whose connection is lost. It is offered a newer snapshot when it is
//!    back.
//! 5. One that does get on, but slowly, may not hold up the others for as long as it likes: a minute of waiting,
//!    and in the long run a tenth of the time. When that is spent all are let go, and the log is cut to
//!    its size again until half of it has come back; so replicas that are too slow for the load are offered one
//!    snapshot after the other, and catch up when the load lets them.

use std::collections::BTreeMap;
use std::time::Duration;

use base::NodeId;

use super::{Shard, is_sole_voter};
use crate::entry;

/// So long nothing may move before a replica is let go.
const STALLED: Duration = Duration::from_secs(15);
/// So long writes wait for one that does not move; unless it has the whole snapshot, and loads it.
const MOVES: Duration = Duration::from_secs(1);
/// After so long a replica that goes on from its snapshot has the pace of all writes.
const CATCHES_UP: Duration = Duration::from_secs(30);

/// So long writes may wait, less what was forgiven.
const HELD_MOST: Duration = Duration::from_secs(60);
/// In so many seconds during which writes do not wait, one is forgiven.
const FORGIVING: u32 = 10;
/// A look that comes later than this says nothing about the time before it.
const LOOK_MOST: Duration = Duration::from_secs(1);

/// So much of the log is kept in memory for followers that lag behind.
const KEPT_BYTES: usize = 16 << 20;

/// See the module.
#[derive(Default)]
pub(super) struct Filling {
    by_replica: BTreeMap<u64, Filled>,
    /// How long writes were made to wait, less what was forgiven, as of the last look.
    held: Duration,
    /// That was too long, and not enough of it is forgiven.
    is_spent: bool,
    looked: Duration,
}

#[derive(Clone, Copy)]
struct Filled {
    /// The last entry of the snapshot that it is sent.
    index: u64,
    /// So many bytes of the snapshot were sent, of so many.
    sent: (u64, u64),
    /// The last entry that it has.
    matched: u64,
    began: Duration,
    /// When one of these last changed.
    moved: Duration,
    /// Since when it goes on from the snapshot.
    goes_on: Option<Duration>,
}

impl Filled {
    /// How much may be kept for it.
    fn room(&self, now: Duration, limit: usize, least: usize) -> usize {
        let quarter = limit / 4;
        let room = match self.goes_on {
            None => {
                let (sent, length) = (self.sent.0 as f64, self.sent.1.max(1) as f64);
                quarter + (2.0 * quarter as f64 * (sent / length).min(1.0)) as usize
            }
            Some(since) => {
                let left = CATCHES_UP.saturating_sub(now.saturating_sub(since));
                (limit as f64 * left.as_secs_f64() / CATCHES_UP.as_secs_f64()) as usize
            }
        };
        room.max(least)
    }

    /// Whether writes may wait for it.
    fn moves(&self, now: Duration) -> bool {
        let loads = self.goes_on.is_none() && self.sent.0 >= self.sent.1;
        loads || now.saturating_sub(self.moved) < MOVES
    }

    /// A snapshot that is complete over there may take as long to be loaded as it took on its way.
    fn patience(&self) -> Duration {
        match self.sent.0 >= self.sent.1 {
            true => STALLED.max(self.moved.saturating_sub(self.began)),
            false => STALLED,
        }
    }
}

impl Filling {
    /// The last entry that no replica needs any more, if any of them needs some.
    pub(super) fn unneeded(&self) -> Option<u64> {
        let all = self.by_replica.values();
        all.map(|of| of.index.max(of.matched)).min()
    }

    pub(super) fn clear(&mut self) {
        self.by_replica.clear();
    }

    pub(super) fn let_go(&mut self, replica: u64) {
        self.by_replica.remove(&replica);
    }

    /// Counts the time since the last look. Whoever holds up the others for too long is let go.
    fn look(&mut self, now: Duration, holds: bool) {
        let since = now.saturating_sub(self.looked);
        self.looked = now;
        if holds {
            self.held += since.min(LOOK_MOST);
        } else {
            self.held = self.held.saturating_sub(since / FORGIVING);
        }
        if self.held >= HELD_MOST {
            self.is_spent = true;
            self.clear();
        } else if self.held <= HELD_MOST / 2 {
            self.is_spent = false;
        }
    }
}

impl Shard {
    /// So much of the log may be kept while a follower is sent a snapshot, unless told otherwise: it goes on with
    /// the entries that come after it.
    pub const CATCH_UP_BYTES: usize = 256 << 20;

    /// Sets how much of the log may be kept for replicas that are being filled: [`Shard::CATCH_UP_BYTES`] unless
    /// told otherwise.
    pub fn set_catch_up_bytes(&mut self, bytes: usize) {
        self.catch_up_bytes = bytes;
    }

    /// What is kept for followers that lag behind a bit.
    fn kept_bytes(&self) -> usize {
        KEPT_BYTES.min(self.catch_up_bytes / 4)
    }

    /// Forgets entries that nobody will ask for, and keeps some for followers that lag behind.
    pub(super) fn compact(&mut self) {
        let log = self.raft.store();
        if is_sole_voter(log.membership(), self.config.replica)
            && log.membership().members().len() == 1
        {
            let applied = self.applied;
            self.raft.mut_store().compact(applied);
            return;
        }
        let needed = self.filling.unneeded();
        let is_offered = self.snapshots.is_offering(self.now) || self.wants_snapshot();
        let limit = if is_offered && needed.is_none() {
            self.catch_up_bytes
        } else {
            self.kept_bytes()
        };
        let end = needed.unwrap_or(u64::MAX).min(self.applied);
        let mut excess = log.bytes().saturating_sub(limit);
        let mut upto = log.base();
        while excess > 0
            && upto < end
            && let Some(entry) = log.get(upto + 1)
        {
            excess = excess.saturating_sub(entry::payload(entry).len().max(1));
            upto += 1;
        }
        self.raft.mut_store().compact(upto);
    }

    /// So many bytes of a snapshot of this replica were sent to a node, of so many.
    pub fn note_sent(&mut self, now: Duration, to: NodeId, index: u64, sent: (u64, u64)) {
        self.now = now;
        let member = self.membership().of_node(to).copied();
        let Some(replica) = member.map(|member| member.replica) else {
            return;
        };
        // From a snapshot that the log does not follow it cannot go on.
        let can_go_on = replica != self.config.replica && index >= self.raft.store().base();
        if !self.is_leader() || self.filling.is_spent || !can_go_on {
            return;
        }
        let matched = self.matched(replica.0);
        if matched >= index {
            return;
        }
        let fresh = Filled {
            index,
            sent: (0, sent.1),
            matched,
            began: now,
            moved: now,
            goes_on: None,
        };
        let filled = self.filling.by_replica.entry(replica.0);
        let filled = filled
            // It may have been offered a newer one.
            .and_modify(|filled| {
                if filled.index != index {
                    *filled = fresh;
                }
            })
            .or_insert(fresh);
        if filled.sent != sent {
            filled.sent = sent;
            filled.moved = now;
        }
    }

    /// Whether writes should wait, as the log would outgrow what is kept for those that are being filled.
    pub fn holds_writes(&self) -> bool {
        if self.filling.by_replica.is_empty() || !self.is_leader() {
            return false;
        }
        let least = self.kept_bytes();
        let all = self.filling.by_replica.values();
        let moving = all.filter(|filled| filled.moves(self.now));
        let room = moving.map(|filled| filled.room(self.now, self.catch_up_bytes, least));
        room.min().is_some_and(|room| self.log_bytes() > room)
    }

    /// What the entries in memory take.
    pub fn log_bytes(&self) -> usize {
        self.raft.store().bytes()
    }

    fn matched(&self, replica: u64) -> u64 {
        let progress = self.raft.raft.prs().get(replica);
        progress.map_or(0, |progress| progress.matched)
    }

    /// Looks how those get on that are being filled.
    pub(super) fn watch_filling(&mut self) {
        let (now, holds) = (self.now, self.holds_writes());
        let was_any = !self.filling.by_replica.is_empty();
        self.filling.look(now, holds);
        let mut filling = std::mem::take(&mut self.filling);
        filling.by_replica.retain(|&replica, filled| {
            let Some(progress) = self.raft.raft.prs().get(replica) else {
                return false;
            };
            if filled.matched != progress.matched {
                filled.matched = progress.matched;
                filled.moved = now;
            }
            if filled.matched >= filled.index {
                filled.goes_on.get_or_insert(now);
            }
            let has_caught_up = filled.goes_on.is_some() && self.keeps_what_follows(filled.matched);
            let has_room = filled.moves(now) || self.log_bytes() <= self.catch_up_bytes;
            let is_patient = now.saturating_sub(filled.moved) < filled.patience();
            !has_caught_up && has_room && is_patient
        });
        self.filling = filling;
        if was_any {
            // While writes wait nothing is applied, and nothing else would cut the log.
            self.compact();
        }
    }

    /// Whether what comes after an entry is so little that it is kept at any rate, with room for more: entries may
    /// be few and large.
    fn keeps_what_follows(&self, matched: u64) -> bool {
        let log = self.raft.store();
        let mut left = self.kept_bytes() / 2;
        for index in (matched + 1..=self.last_index()).rev() {
            let entry = log.get(index);
            let size = entry.map_or(0, |entry| entry::payload(entry).len().max(1));
            match left.checked_sub(size) {
                Some(rest) => left = rest,
                None => return false,
            }
        }
        true
    }
}
