//! Clients: each asks for one thing at a time, through any node, and keeps in mind what it was told.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use super::World;
use crate::history::{History, Outcome};
use crate::network::Machine;
use crate::plan::{Plan, PlannedRequest};
use crate::scene::{Event, Scene};

/// A client waits no longer than this for an answer.
const PATIENCE: Duration = Duration::from_secs(6);

/// All clients of a run.
pub(super) struct Clients {
    clients: BTreeMap<u32, Client>,
    /// Through which node each call went.
    pub(super) machines: Vec<Machine>,
    /// Nobody asks for anything after this.
    until: Duration,
}

#[derive(Default)]
struct Client {
    planned: VecDeque<PlannedRequest>,
    waits_for: Option<usize>,
}

impl Clients {
    pub(super) fn new(plan: &Plan) -> Clients {
        let mut clients: BTreeMap<u32, Client> = BTreeMap::new();
        for request in &plan.requests {
            let client = clients.entry(request.client).or_default();
            client.planned.push_back(*request);
        }
        Clients {
            clients,
            machines: Vec::new(),
            until: plan.quiet_end(),
        }
    }

    pub(super) fn begin(&self, scene: &mut Scene) {
        for (&number, client) in &self.clients {
            if let Some(first) = client.planned.front() {
                scene.queue.put(first.at, Event::Client(number));
            }
        }
    }

    /// Whether all have asked for everything and know what became of it.
    pub(super) fn are_done(&self) -> bool {
        self.clients
            .values()
            .all(|client| client.planned.is_empty() && client.waits_for.is_none())
    }

    /// A client asks, if it waits for nothing.
    pub(super) fn next(&mut self, number: u32, history: &mut History, scene: &mut Scene) {
        let Some(client) = self.clients.get_mut(&number) else {
            return;
        };
        if client.waits_for.is_some() {
            return;
        }
        if scene.now() > self.until {
            // It had to wait for so many that it did not come to these.
            client.planned.clear();
        }
        let Some(request) = client.planned.pop_front() else {
            return;
        };
        let PlannedRequest {
            machine, key, op, ..
        } = request;
        let call = history.called(number, key, op, scene.now());
        self.machines.push(machine);
        client.waits_for = Some(call);
        let way = scene
            .chance
            .between(Duration::from_micros(20), Duration::from_millis(1));
        scene.after(way, Event::Request { machine, call });
        scene.after(PATIENCE, Event::GiveUp(call));
    }

    /// A client is done with a call; whether it waited for it.
    fn done(&mut self, call: usize, history: &History, scene: &mut Scene) -> bool {
        let number = history.calls[call].client;
        let Some(client) = self.clients.get_mut(&number) else {
            return false;
        };
        if client.waits_for != Some(call) {
            return false;
        }
        client.waits_for = None;
        if let Some(next) = client.planned.front() {
            let at = next.at.max(scene.now());
            scene.queue.put(at, Event::Client(number));
        }
        true
    }
}

impl World {
    /// A client learns what became of a call.
    pub(super) fn answered(&mut self, call: usize, outcome: Outcome) {
        if !self.clients.done(call, &self.history, &mut self.scene) {
            return;
        }
        // It is known when the client hears of it.
        let outcome = match outcome {
            Outcome::Answered(_, answer) => Outcome::Answered(self.scene.now(), answer),
            outcome => outcome,
        };
        let known = &self.history.calls[call];
        let machine = self.clients.machines[call];
        self.scene.note(|| {
            format!(
                "client {} by m{}: {:?} of key {} at {:.4}: {outcome:?}",
                known.client,
                machine.0,
                known.op,
                known.key,
                known.called.as_secs_f64()
            )
        });
        self.check_service(call, &outcome);
        self.history.ended(call, outcome);
    }

    pub(super) fn give_up(&mut self, call: usize) {
        self.answered(call, Outcome::Unknown);
    }
}
