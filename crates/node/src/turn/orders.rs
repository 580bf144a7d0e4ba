//! What control, the transfer of snapshots and whoever stops the node want of a shard.

use base::ReplicaId;
use keyspace::Keyspace;
use shard::{Config, Refusal, Shard};
use wal::{Body, Record};

use crate::turn::outside::TurnClock;
use crate::turn::{Order, Outputs, Outside, Turn};

impl Turn {
    pub(super) fn obey(
        &mut self,
        order: Order,
        clock: &mut TurnClock,
        outside: &mut impl Outside,
        out: &mut Outputs,
    ) {
        let now = clock.now(outside).monotonic;
        match order {
            Order::Hint { leader } => {
                // What a replica hears from its leader is newer than what is said.
                if self.shard.is_none() || (self.routes.leader().is_none() && !self.leads()) {
                    self.routes.believe(leader);
                }
            }
            Order::Placed(nodes) => self.routes.set_placed(nodes),
            Order::WantNotices(classes) => {
                self.notices = classes;
                if let Some(shard) = &mut self.shard {
                    shard.want_notices(classes);
                }
            }
            Order::Change { ticket, change } => match &mut self.shard {
                Some(shard) => shard.propose_change(ticket, &change, &mut self.effects),
                None => {
                    let leader = self.routes.leader();
                    out.changes
                        .push((ticket, Err(Refusal::NotLeader { leader })));
                }
            },
            Order::Create { replica } => self.create(replica, clock, outside, out),
            Order::Destroy { replica } => {
                if self.is_here(replica) {
                    self.destroy(outside, out);
                }
            }
            Order::Members(change) => {
                if let Some(shard) = &mut self.shard
                    && let Err(refused) = shard.change_members(change)
                {
                    out.not_done.push(refused);
                }
            }
            Order::Lead(to) => {
                if let Some(shard) = &mut self.shard {
                    self.hand_over.offer(shard, to, &self.config, now);
                }
            }
            Order::HandOver => {
                if let Some(shard) = &mut self.shard {
                    self.hand_over.leave(shard, &self.config, now);
                }
            }
            Order::SnapshotMade {
                replica,
                meta,
                bytes,
            } => {
                if let Some(shard) = self
                    .shard
                    .as_mut()
                    .filter(|shard| shard.replica() == replica)
                {
                    shard.note_snapshot(&meta, bytes);
                }
            }
            Order::SnapshotSent {
                replica,
                to,
                index,
                sent,
            } => {
                if let Some(shard) = self
                    .shard
                    .as_mut()
                    .filter(|shard| shard.replica() == replica)
                {
                    shard.note_sent(now, to, index, sent);
                }
            }
            Order::FetchFailed => {
                if let Some(shard) = &mut self.shard {
                    shard.incoming_failed();
                }
            }
            Order::Install {
                replica,
                meta,
                bytes,
                keyspace,
            } => {
                // The file on the disk is that replica's, of no use to another one.
                if let Some(shard) = self
                    .shard
                    .as_mut()
                    .filter(|shard| shard.replica() == replica)
                {
                    shard.install(now, meta, bytes, keyspace, &mut self.effects);
                } else {
                    out.replaced.push(*keyspace);
                }
            }
        }
    }

    fn is_here(&self, replica: ReplicaId) -> bool {
        let here = self.shard.as_ref().map(Shard::replica);
        here == Some(replica)
    }

    fn create(
        &mut self,
        replica: ReplicaId,
        clock: &mut TurnClock,
        outside: &mut impl Outside,
        out: &mut Outputs,
    ) {
        if self.is_here(replica) {
            return;
        }
        self.destroy(outside, out);
        let config = Config {
            shard: self.config.shard,
            replica,
            node: self.config.node,
            heartbeat: self.config.heartbeat,
            election: self.config.election,
            patience: self.config.patience,
            seed: outside.draw(),
            lease: self.config.lease,
        };
        let now = clock.now(outside).monotonic;
        self.set_replica(Shard::empty(config, now));
    }

    /// The replica here, if there is one, goes, and its state with it.
    fn destroy(&mut self, outside: &mut impl Outside, out: &mut Outputs) {
        let Some(shard) = self.shard.take() else {
            return;
        };
        // Whether what it took was committed, nobody here will know.
        let replica = shard.replica();
        shard.close(&mut self.effects);
        self.hand_over.end();
        self.seen = None;
        self.sweeping = false;
        // What comes next to the log is of another replica.
        self.effects.mark = None;
        for unpersisted in &mut self.unpersisted {
            unpersisted.mark = None;
        }
        let record = Record {
            shard: self.config.shard,
            replica,
            body: Body::Forget,
        };
        record.encode(&mut self.effects.records);
        self.forgotten.push(replica);
        let mut state = Keyspace::new(self.config.hash_seed);
        outside.write_keyspace(|keyspace| std::mem::swap(keyspace, &mut state));
        out.replaced.push(state);
    }
}
