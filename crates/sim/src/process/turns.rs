//! The turns of a node's shards, and what comes of them.

use std::time::Duration;

use base::ShardId;
use node::{ControlInput, FromPeer, Outputs};

use super::Process;
use super::outside::SimOutside;
use crate::clock::MachineClock;
use crate::fault::Effect;
use crate::planted::Planted;
use crate::scene::Scene;

impl Process {
    /// What this node tells of itself.
    pub(super) fn status(&self) -> meta::NodeStatus {
        let replicas = self.shards.values().filter_map(|host| host.turn.status());
        meta::NodeStatus {
            epoch: 0,
            incarnation: self.identity.incarnation,
            disk_free_bytes: 1 << 30,
            disk_total_bytes: 1 << 31,
            memory_bytes: 1 << 20,
            refuses_writes: self.log.as_ref().is_some_and(super::NodeLog::is_full),
            replicas: replicas.collect(),
        }
    }

    /// Takes a turn of a shard and hands out what comes of it.
    pub(super) fn turn(&mut self, shard: ShardId, clock: &MachineClock, scene: &mut Scene) {
        let machine = self.home.machine;
        let (Some(host), Some(log)) = (self.shards.get_mut(&shard), self.log.as_mut()) else {
            return;
        };
        let mut out = Outputs::default();
        let led = (host.turn.leads(), host.turn.leader());
        let pause_in_read = scene.pauses_in_read.get(&machine).copied();
        let mut outside = SimOutside {
            clock,
            now: scene.now(),
            paused: Duration::ZERO,
            pause_in_read,
            log,
            keyspace: &mut host.keyspace,
            chance: &mut self.chance,
            records: Vec::new(),
        };
        host.is_due = host.turn.run(&mut host.inputs, &mut outside, &mut out);
        let (paused, records) = (outside.paused, outside.records);
        if paused > Duration::ZERO {
            scene.pauses_in_read.remove(&machine);
            self.paused = paused;
        }
        let judged = scene.witness.records(&records);
        scene.judge(judged);
        host.lease_until = Duration::ZERO;
        if let Some(replica) = host.turn.shard() {
            host.lease_until = replica.lease_until();
            if scene.has(Planted::LeaseAsFlag) && clock.monotonic(scene.now()) < host.lease_until {
                host.lease_until = Duration::MAX;
            }
            if scene.has(Planted::LeaseOnStaleClock) && host.lease_until != Duration::ZERO {
                host.lease_until = host.lease_until.saturating_add(4 * self.settings.election);
            }
            let judged = scene.witness.turned(replica, &host.keyspace, self.home);
            scene.judge(judged);
            // One that is alone has a lease for good, and none once it is not alone.
            let until = match replica.lease_until() {
                Duration::MAX => Duration::ZERO,
                until => clock.when(until),
            };
            let judged = scene.witness.lease(replica, until, scene.now());
            scene.judge(judged);
        }
        if (host.turn.leads(), host.turn.leader()) != led {
            self.status_is_due = true;
            let (leads, term) = (host.turn.leads(), host.turn.shard().map(shard::Shard::term));
            if leads || led.0 {
                scene.note(|| {
                    let what = if leads { "leads" } else { "leads no more" };
                    format!("m{} {what} shard {} in term {term:?}", machine.0, shard.0)
                });
            }
        }
        if paused > Duration::ZERO {
            self.halted = Some((shard, out));
        } else {
            self.hand_out(shard, out, scene);
        }
    }

    pub(super) fn hand_out(&mut self, shard: ShardId, mut out: Outputs, scene: &mut Scene) {
        if let Some(reads) = out.long_reads.take() {
            self.begin_long_reads(shard, reads, scene);
        }
        for response in out.responses.drain(..) {
            self.respond(response, scene);
        }
        for (ticket, outcome) in out.changes.drain(..) {
            self.control_inputs
                .push_back(ControlInput::ChangeDone { ticket, outcome });
        }
        if let Some(map) = out.map.take() {
            self.control_inputs.push_back(ControlInput::Map(map));
        }
        self.note_transfers(shard, &out, scene);
        let parcels: Vec<_> = out.outbox.drain().collect();
        for parcel in parcels {
            if let Some(crash) = scene.reach(self.home.machine, Effect::Sent) {
                return self.die_at(crash);
            }
            let (to, forwards) = (parcel.to, parcel.forwards.clone());
            if !self.peers.send(parcel) {
                self.hear(shard, FromPeer::Unsent { to, forwards });
            }
        }
    }
}
