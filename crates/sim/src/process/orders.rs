//! What control wants, carried out.

use base::ShardId;
use node::wire::{Kind, Outbox};
use node::{Action, ControlInput, HostState, HostView};
use wal::KeptFile;

use super::start::{dirs, folder, options};
use super::{Doom, Process};
use crate::clock::MachineClock;
use crate::fault::Death;
use crate::planted::Planted;
use crate::scene::Scene;

/// How dialling a host goes, in the words of control.
pub(super) fn host_view(status: &peer::HostStatus) -> HostView {
    HostView {
        host: status.host.to_string(),
        state: match &status.state {
            peer::HostState::Dialling => HostState::Dialling,
            peer::HostState::Failed { why } => HostState::Failed(why.clone()),
            peer::HostState::Greeted(node) => HostState::Greeted(*node),
            peer::HostState::IsSelf => HostState::IsSelf,
        },
    }
}

impl Process {
    /// Has control hear something and carries out what it wants.
    pub(super) fn control(
        &mut self,
        mut input: ControlInput,
        clock: &MachineClock,
        scene: &mut Scene,
    ) {
        if scene.has(Planted::FoundsAlone)
            && let ControlInput::Hosts(views) = &mut input
        {
            views.retain(|view| view.state == HostState::IsSelf);
        }
        let now = clock.moment(scene.now());
        let mut actions = Vec::new();
        self.control.handle(now, input, &mut actions);
        for action in actions {
            if let Err(why) = self.carry_out(action, clock, scene) {
                self.doom = Some(Doom {
                    death: Death::Kill,
                    down: None,
                    for_ever: false,
                    why,
                });
            }
            if self.doom.is_some() {
                return;
            }
        }
    }

    fn carry_out(
        &mut self,
        action: Action,
        clock: &MachineClock,
        scene: &mut Scene,
    ) -> Result<(), String> {
        let machine = self.home.machine;
        let text = |error: &dyn std::fmt::Display| error.to_string();
        match action {
            Action::PersistFounding(bytes) => {
                scene.note(|| format!("m{} agrees to a proposal", machine.0));
                KeptFile::FOUNDING
                    .store(&*self.disk, &folder(), &bytes)
                    .map_err(|error| text(&error))?;
            }
            Action::Found { map } => {
                scene.note(|| format!("m{} founds cluster {}", machine.0, map.cluster));
                let node = self.identity.node;
                node::startup::found(&self.disk, &dirs(), options(), &map, node)
                    .map_err(|error| text(&error))?;
                self.belong(map.cluster, clock, scene)?;
            }
            Action::Joined { cluster, map } => {
                scene.note(|| format!("m{} joins cluster {}", machine.0, map.cluster));
                node::startup::join(&self.disk, &dirs(), options())
                    .map_err(|error| text(&error))?;
                self.belong(cluster, clock, scene)?;
            }
            Action::KeepMap(map) => {
                self.shard_count = Some(map.shards);
                let mut bytes = Vec::new();
                map.encode(&mut bytes);
                if let Err(error) = KeptFile::MAP.store(&*self.disk, &folder(), &bytes) {
                    scene.note(|| format!("m{} cannot keep the map: {error}", machine.0));
                }
            }
            Action::SetCluster(cluster) => {
                let now = clock.moment(scene.now());
                self.peers.set_cluster_id(cluster, now, scene);
            }
            Action::Send { to, bytes } => {
                let mut outbox = Outbox::default();
                outbox.put(to, Kind::Control, |out| out.extend_from_slice(&bytes));
                for parcel in outbox.drain() {
                    // Control says it again.
                    self.peers.send(parcel);
                }
            }
            Action::Dial { node, address } => self.peers.dial(node, &address),
            Action::Forming(why) => {
                scene.note(|| format!("m{} has no cluster: {why}", machine.0));
            }
            Action::State(state) => scene.note(|| format!("m{} sees: {state}", machine.0)),
            Action::Shard { shard, order } => {
                scene.note(|| format!("m{} is to {order:?} in shard {}", machine.0, shard.0));
                let host = self.host(shard);
                host.inputs.orders.push(order.into());
                host.is_due = true;
            }
            Action::AdminReply { answer, .. } => {
                scene.note(|| format!("m{} answers the operator: {answer:?}", machine.0));
            }
            Action::Stop(why) => {
                self.doom = Some(Doom {
                    death: Death::Stop,
                    down: None,
                    for_ever: true,
                    why,
                });
            }
            Action::Log { text, .. } => scene.note(|| format!("m{}: {text}", machine.0)),
        }
        Ok(())
    }

    /// The node belongs to a cluster, whose files are there: it says so on disk and begins to work.
    fn belong(
        &mut self,
        cluster: base::ClusterId,
        clock: &MachineClock,
        scene: &mut Scene,
    ) -> Result<(), String> {
        self.identity.cluster = Some(cluster);
        self.identity
            .store(&*self.disk, &folder())
            .map_err(|error| error.to_string())?;
        let judged = scene.witness.belongs(self.home.machine, cluster);
        scene.judge(judged);
        self.recover(clock, scene)
            .map_err(|error| error.to_string())?;
        self.shard_count = self.control.map().map(|map| map.shards);
        let count = self.shard_count.unwrap_or(0);
        for shard in (0..count).map(ShardId) {
            self.host(shard);
        }
        Ok(())
    }
}
