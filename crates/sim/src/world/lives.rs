//! How processes begin, pause and end.

use std::sync::Arc;
use std::time::Duration;

use wal::testing::MemDisk;

use super::{Site, World};
use crate::fault::Death;
use crate::history::Outcome;
use crate::invariants::{Home, Invariant, violated};
use crate::network::Machine;
use crate::planted::Planted;
use crate::process::{Doom, Former, Process, Starting, forget_identity, take_torn_record};
use crate::scene::Event;

/// Whoever starts processes waits so long after one that ended by itself.
const SUPERVISOR: Duration = Duration::from_millis(300);

impl World {
    /// Starts a node, unless one runs or it is too early.
    pub(super) fn start(&mut self, machine: Machine) {
        let now = self.scene.now();
        let site = &mut self.sites[machine.index()];
        if site.process.is_some() || site.is_gone || now < site.down_until {
            return;
        }
        site.is_to_start = false;
        if std::mem::take(&mut site.is_dark) {
            let due = self.scene.network.powered_on(now, machine);
            self.scene.look_at(due);
        }
        self.scene.processes += 1;
        let starting = Starting {
            home: Home {
                machine,
                disk: site.disks,
                process: self.scene.processes,
            },
            disk: &site.disk,
            settings: &self.settings,
            former: site.former.take(),
        };
        let (disks, number) = (site.disks, self.scene.processes);
        self.scene
            .note(|| format!("m{} starts, disk {disks}, process {number}", machine.0));
        match Process::start(starting, &site.clock, &mut self.scene) {
            Ok(process) => {
                site.node = Some(process.identity.node);
                site.process = Some(process);
                site.is_rotten = false;
                self.after_step(machine);
            }
            Err(error) if site.is_rotten => {
                self.scene
                    .note(|| format!("m{} refuses to start: {error}", machine.0));
                site.is_rotten = false;
                replace_disk(site);
                self.start_after(machine, SUPERVISOR);
            }
            Err(error) if error.is_full() => {
                self.scene
                    .note(|| format!("m{} cannot start: {error}", machine.0));
                self.start_after(machine, SUPERVISOR);
            }
            Err(error) => self.scene.judge(violated(
                Invariant::Startup,
                format!("machine {} does not start: {error}", machine.0),
            )),
        }
    }

    pub(super) fn start_after(&mut self, machine: Machine, wait: Duration) {
        self.sites[machine.index()].is_to_start = true;
        self.scene.after(wait, Event::Start(machine));
    }

    /// A process is stopped as by SIGSTOP.
    pub(super) fn pause(&mut self, machine: Machine, lasts: Duration) {
        let until = self.scene.now() + lasts;
        let site = &mut self.sites[machine.index()];
        if site.process.is_none() {
            return;
        }
        self.scene
            .note(|| format!("m{} pauses for {lasts:?}", machine.0));
        site.paused.get_or_insert_default();
        site.resumes = site.resumes.max(until);
        self.scene.queue.put(until, Event::Resume(machine));
    }

    /// It goes on: all that came meanwhile comes now.
    pub(super) fn resume(&mut self, machine: Machine) {
        let site = &mut self.sites[machine.index()];
        if self.scene.now() < site.resumes {
            return;
        }
        let Some(stalled) = site.paused.take() else {
            return;
        };
        self.scene.note(|| format!("m{} goes on", machine.0));
        // Threads wake up in any order: that of a client may be the first, before clocks are looked at.
        let clients_first = self.scene.chance.per_mille(500);
        let (requests, others): (Vec<Event>, Vec<Event>) = stalled
            .into_iter()
            .partition(|event| clients_first && matches!(event, Event::Request { .. }));
        for event in requests.into_iter().chain(others) {
            self.scene.after(Duration::ZERO, event);
        }
    }

    /// A process ends by itself, or by a crash that found its moment.
    pub(super) fn end_process(&mut self, machine: Machine, doom: &Doom) {
        let why = &doom.why;
        self.scene
            .note(|| format!("m{} ends ({:?}): {why}", machine.0, doom.death));
        if doom.for_ever {
            self.sites[machine.index()].is_gone = true;
        }
        let down = doom.down.unwrap_or(SUPERVISOR);
        self.kill(machine, doom.death, down);
    }

    /// The process of a machine, if there is one, ends in that way; another is started later.
    pub(super) fn kill(&mut self, machine: Machine, death: Death, down: Duration) {
        let now = self.scene.now();
        let seed = self.scene.chance.draw();
        let site = &mut self.sites[machine.index()];
        site.paused = None;
        site.resumes = Duration::ZERO;
        self.scene.crashes.remove(&machine);
        let Some(mut process) = site.process.take() else {
            return;
        };
        let waiting = std::mem::take(&mut process.waiting);
        match death {
            Death::Kill => site.disk.kill(),
            Death::PowerCut => {
                let unsynced = process.unsynced().map(<[u8]>::to_vec);
                site.disk.crash(seed);
                site.is_dark = true;
                if self.scene.has(Planted::TornRecord)
                    && let Some(unsynced) = unsynced
                {
                    take_torn_record(&site.disk, &unsynced);
                }
                if self.scene.has(Planted::UnsyncedIdentity) {
                    forget_identity(&site.disk);
                }
            }
            Death::Stop => {
                process.say_goodbye(&site.clock, &mut self.scene);
                site.disk.kill();
            }
        }
        if site.is_dark {
            self.scene.network.power_lost(machine);
        } else {
            let due = self.scene.network.process_ended(now, machine);
            self.scene.look_at(due);
        }
        drop(process);
        site.down_until = now + down;
        if !site.is_gone {
            self.start_after(machine, down);
        }
        for call in waiting {
            self.answered(call, Outcome::Unknown);
        }
    }

    /// The disk of a machine without a process is replaced by an empty one.
    pub(super) fn replace_disk(&mut self, machine: Machine, former: Option<Former>) {
        let site = &mut self.sites[machine.index()];
        replace_disk(site);
        site.former = former;
        self.scene
            .note(|| format!("m{} has an empty disk now", machine.0));
    }
}

fn replace_disk(site: &mut Site) {
    site.disk = Arc::new(MemDisk::new());
    site.disks += 1;
}
