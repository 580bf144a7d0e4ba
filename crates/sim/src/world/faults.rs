//! Faults, carried out.

use std::time::Duration;

use base::{NodeId, ShardId};
use meta::Role;
use node::AdminCommand;

use super::World;
use crate::fault::{Death, DiskFate, Fault};
use crate::network::Machine;
use crate::planted::Planted;
use crate::process::{Former, files};
use crate::scene::{CrashAt, Event, NoiseLevel};

/// An operator asks again after so long, as long as a wish lasts.
const ASK_AGAIN: Duration = Duration::from_millis(700);
/// How long a wish lasts.
const WISH_LASTS: Duration = Duration::from_secs(6);

impl World {
    pub(super) fn begin_fault(&mut self, number: usize) {
        let fault = self.plan.faults[number].1.clone();
        let now = self.scene.now();
        self.scene.note(|| format!("FAULT {fault:?}"));
        let lasts = fault.lasts();
        if lasts > Duration::ZERO {
            self.scene.after(lasts, Event::FaultEnds(number));
        }
        match fault {
            Fault::Crash {
                machine,
                death,
                down,
                disk,
            } => self.crash(machine, death, down, disk),
            Fault::CrashAt {
                machine,
                effect,
                after,
                death,
                down,
            } => {
                let crash = CrashAt {
                    effect,
                    after,
                    death,
                    down,
                };
                self.scene.crashes.insert(machine, crash);
            }
            Fault::Pause {
                machine,
                lasts,
                in_read: true,
            } => {
                self.scene.pauses_in_read.insert(machine, lasts);
            }
            Fault::Pause { machine, lasts, .. } => self.pause(machine, lasts),
            Fault::Partition { .. } => {
                for (from, to) in self.blocked_by(&fault) {
                    self.scene.network.block(from, to);
                }
            }
            Fault::Cut { one, other } => {
                let due = self.scene.network.cut(now, one, other);
                self.scene.look_at(due);
            }
            Fault::SlowLink { from, to, more, .. } => self.scene.network.slow_down(from, to, more),
            Fault::Noise {
                dropped,
                doubled,
                late,
                ..
            } => {
                self.scene.noise = NoiseLevel {
                    dropped,
                    doubled,
                    late,
                };
            }
            Fault::SlowDisk { machine, sync, .. } => {
                self.scene.slow_disks.insert(machine, sync);
            }
            Fault::SyncFails { machine, down } => {
                let site = &mut self.sites[machine.index()];
                if site.process.is_some() {
                    site.down_until = now + down;
                    site.disk.inject(wal::testing::Fault {
                        operation: wal::testing::Operation::Sync,
                        after: 0,
                        kind: std::io::ErrorKind::Other,
                    });
                }
            }
            Fault::DiskFull { machine, .. } => {
                self.sites[machine.index()].disk.set_free_bytes(Some(0));
            }
            Fault::ClockJump { machine, millis } => {
                self.note_clocks();
                self.sites[machine.index()].clock.jump(millis);
                self.note_clocks();
            }
            Fault::ClockDrift { machine, rate, .. } => self.set_rate(machine, rate),
            Fault::Snapshot { machine } => {
                let site = &mut self.sites[machine.index()];
                if let Some(process) = &mut site.process
                    && site.paused.is_none()
                {
                    process.make_snapshots(&mut self.scene);
                }
            }
            Fault::Join { machine } => self.start(machine),
            Fault::Lead { .. }
            | Fault::Move { .. }
            | Fault::Drain { .. }
            | Fault::Remove { .. } => {
                self.wishes.insert(number, now + WISH_LASTS);
                self.wish(number);
            }
        }
    }

    pub(super) fn end_fault(&mut self, number: usize) {
        let fault = self.plan.faults[number].1.clone();
        let now = self.scene.now();
        match fault {
            Fault::Partition { .. } => {
                for (from, to) in self.blocked_by(&fault) {
                    let due = self.scene.network.unblock(now, from, to);
                    self.scene.look_at(due);
                }
            }
            Fault::SlowLink { from, to, .. } => {
                self.scene.network.slow_down(from, to, Duration::ZERO);
            }
            Fault::Noise { .. } => self.scene.noise = NoiseLevel::default(),
            Fault::SlowDisk { machine, .. } => {
                self.scene.slow_disks.remove(&machine);
            }
            Fault::DiskFull { machine, .. } => {
                self.sites[machine.index()].disk.set_free_bytes(None);
            }
            Fault::ClockDrift { machine, .. } => self.set_rate(machine, 1_000_000),
            // From now on the wish is the contrary, until it was heard.
            Fault::Drain { .. } => {
                self.wishes.insert(number, now + WISH_LASTS);
                self.wish(number);
            }
            _ => {}
        }
    }

    /// The faults are over: what waits for its moment never comes.
    pub(super) fn heal(&mut self) {
        self.scene.note(|| "all faults are over".into());
        self.scene.crashes.clear();
        self.scene.pauses_in_read.clear();
        for site in &self.sites {
            site.disk.set_free_bytes(None);
            site.disk.clear_faults();
        }
        for number in 0..self.sites.len() {
            let site = &self.sites[number];
            if site.process.is_none() && site.is_to_start {
                let machine = site.machine;
                self.sites[number].down_until = Duration::ZERO;
                self.start(machine);
            }
        }
    }

    fn set_rate(&mut self, machine: Machine, rate: u32) {
        self.note_clocks();
        let now = self.scene.now();
        let site = &mut self.sites[machine.index()];
        site.clock.set_rate(now, rate);
        if let Some(process) = &mut site.process {
            process.clock_changed(&site.clock, &mut self.scene);
        }
    }

    /// The directions that a partition blocks.
    fn blocked_by(&self, fault: &Fault) -> Vec<(Machine, Machine)> {
        let Fault::Partition { side, one_way, .. } = *fault else {
            return Vec::new();
        };
        let all = (0..self.plan.machines).map(Machine);
        let pairs = all
            .clone()
            .flat_map(|from| all.clone().map(move |to| (from, to)));
        pairs
            .filter(|&(from, to)| {
                (side.has(from) && !side.has(to)) || (!one_way && !side.has(from) && side.has(to))
            })
            .collect()
    }

    fn crash(&mut self, machine: Machine, death: Death, down: Duration, disk: DiskFate) {
        let site = &mut self.sites[machine.index()];
        if site.process.is_none() {
            return;
        }
        if death == Death::Stop && disk == DiskFate::Kept {
            if site.paused.is_none()
                && let Some(process) = &mut site.process
            {
                process.stop(&site.clock, &mut self.scene);
                self.after_step(machine);
            }
            return;
        }
        let may_lose = self.may_lose_disk(machine);
        let site = &self.sites[machine.index()];
        let process = site.process.as_ref();
        let is_settled = process.is_some_and(crate::process::Process::log_is_settled);
        match disk {
            DiskFate::Kept => self.kill(machine, death, down),
            _ if !may_lose => self.kill(machine, death, down),
            DiskFate::Replaced => {
                let former = match self.scene.has(Planted::ReusedIdentity) {
                    true => process.map(|process| Former {
                        identity: process.identity.clone(),
                        replicas: process
                            .replicas()
                            .map(|(replica, _)| (replica.id(), replica.replica()))
                            .collect(),
                    }),
                    false => None,
                };
                self.kill(machine, death, down);
                self.replace_disk(machine, former);
            }
            // The last block is protected once the log says that it is durable.
            DiskFate::BitFlip if !is_settled => self.kill(machine, death, down),
            DiskFate::BitFlip => {
                self.kill(machine, Death::Kill, down);
                self.rot(machine);
            }
        }
    }

    /// A bit flips somewhere on the disk of a machine without a process.
    fn rot(&mut self, machine: Machine) {
        let site = &mut self.sites[machine.index()];
        let all = files(&site.disk);
        if all.is_empty() {
            return;
        }
        let path = self.scene.chance.pick(&all).clone();
        let contents = site.disk.contents(&path);
        let used = contents
            .iter()
            .rposition(|&byte| byte != 0)
            .map_or(0, |last| last + 1);
        if used == 0 {
            return;
        }
        let offset = self.scene.chance.below(used as u64) as usize;
        let mask = 1 << self.scene.chance.below(8);
        site.disk.flip(&path, offset, mask);
        site.is_rotten = true;
        self.scene
            .note(|| format!("m{}: byte {offset} of {} rots", machine.0, path.display()));
    }

    /// Whether each shard keeps a majority of its voters, whichever members it may have, without this disk.
    fn may_lose_disk(&self, machine: Machine) -> bool {
        let Some(node) = self.node_of(machine) else {
            return false;
        };
        // Founding is not over everywhere.
        if self.sites.iter().any(|site| {
            let process = site.process.as_ref();
            site.machine.0 < self.plan.founders
                && !site.is_gone
                && process.is_none_or(|process| process.identity.cluster.is_none())
        }) {
            return false;
        }
        let alive: Vec<NodeId> = self
            .sites
            .iter()
            .filter_map(|site| Some(site.process.as_ref()?.identity.node))
            .collect();
        let processes = self.sites.iter().filter_map(|site| site.process.as_ref());
        let replicas = processes.flat_map(|process| process.replicas());
        for (replica, _) in replicas {
            let voters: Vec<_> = replica
                .membership()
                .members()
                .iter()
                .filter(|member| member.role == Role::Voter)
                .collect();
            let kept = voters
                .iter()
                .filter(|member| member.node != node && alive.contains(&member.node))
                .filter(|member| self.has_state(member.node, replica.id(), member.replica));
            if !voters.is_empty() && kept.count() * 2 <= voters.len() {
                return false;
            }
        }
        true
    }

    fn has_state(&self, node: NodeId, shard: ShardId, replica: base::ReplicaId) -> bool {
        let mut processes = self.sites.iter().filter_map(|site| site.process.as_ref());
        processes.any(|process| {
            process.identity.node == node
                && process
                    .shard(shard)
                    .and_then(|(turn, _)| turn.shard())
                    .is_some_and(|found| found.replica() == replica)
        })
    }

    fn node_of(&self, machine: Machine) -> Option<NodeId> {
        let process = self.sites[machine.index()].process.as_ref()?;
        Some(process.identity.node)
    }

    /// An operator says what is wanted, once more.
    pub(super) fn wish(&mut self, number: usize) {
        let now = self.scene.now();
        let (at, fault) = self.plan.faults[number].clone();
        let is_over = now >= self.plan.turmoil.1;
        let lasts = self.wishes.get(&number).copied().unwrap_or_default();
        let undrains = matches!(fault, Fault::Drain { lasts, .. } if now >= at + lasts);
        if now >= lasts && (!undrains || now >= self.plan.turmoil.1 + WISH_LASTS) {
            return;
        }
        let shards = self.plan.shards;
        let name = |machine: Machine| {
            self.sites[machine.index()]
                .node
                .map(|node| node.to_string())
        };
        let command = match fault {
            Fault::Drain { machine, .. } if undrains => {
                name(machine).map(AdminCommand::NodeUndrain)
            }
            _ if is_over => None,
            Fault::Lead { shard, machine } => name(machine).map(|node| AdminCommand::ShardLead {
                shard: ShardId(shard % shards),
                node,
            }),
            Fault::Move { shard, from, to } => match (name(from), name(to)) {
                (Some(from), Some(to)) => Some(AdminCommand::ShardMove {
                    shard: ShardId(shard % shards),
                    from,
                    to,
                }),
                _ => None,
            },
            Fault::Drain { machine, .. } => name(machine).map(AdminCommand::NodeDrain),
            Fault::Remove { machine } => name(machine).map(AdminCommand::NodeRemove),
            _ => None,
        };
        if let Some(command) = command {
            self.ask(&command);
        }
        self.scene.after(ASK_AGAIN, Event::Wish(number));
    }

    /// An operator asks some node.
    fn ask(&mut self, command: &AdminCommand) {
        let running: Vec<usize> = (0..self.sites.len())
            .filter(|&at| self.sites[at].process.is_some() && self.sites[at].paused.is_none())
            .collect();
        if running.is_empty() {
            return;
        }
        let at = *self.scene.chance.pick(&running);
        let site = &mut self.sites[at];
        if let Some(process) = &mut site.process {
            process.admin(command.clone(), &site.clock, &mut self.scene);
        }
        let machine = self.sites[at].machine;
        self.after_step(machine);
    }
}
