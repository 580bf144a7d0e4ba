//! What the connections of a node bring, handed to whom it concerns.

use base::{NodeId, ShardId};
use node::wire::{Item, items};
use node::{ControlInput, FromPeer, HostView, PeerInfo};
use peer::Event as PeerEvent;

use super::{Process, orders};
use crate::planted::Planted;
use crate::scene::{Event, Scene};

/// What breaks it is a finding.
const UNDERSTOOD: &str = "nodes of one version understand each other";

impl Process {
    /// Tells control how dialling the hosts goes, and which peers have a cluster, if that has changed.
    pub(super) fn tell_hosts(&mut self) {
        let changes = self.peers.hub().changes();
        if self.changes_told == Some(changes) {
            return;
        }
        self.changes_told = Some(changes);
        for peer in self.peers.hub().directory().statuses() {
            if let Some(cluster) = peer.cluster_id
                && self.clusters_told.insert((peer.node_id, cluster))
            {
                let node = peer.node_id;
                self.control_inputs
                    .push_back(ControlInput::PeerCluster { node, cluster });
            }
        }
        let known = self.peers.hub().directory().hosts();
        let views: Vec<HostView> = known.iter().map(orders::host_view).collect();
        if views != self.hosts_told {
            self.hosts_told.clone_from(&views);
            self.control_inputs.push_back(ControlInput::Hosts(views));
        }
    }

    pub(super) fn hear_peer(&mut self, event: PeerEvent, scene: &mut Scene) {
        match event {
            PeerEvent::Greeted(status) => {
                let node = status.node_id;
                self.control_inputs
                    .push_back(ControlInput::Greeted(PeerInfo {
                        node,
                        name: status.name,
                        address: status.address.to_string(),
                        incarnation: status.incarnation,
                        cluster: status.cluster_id,
                    }));
                for host in self.shards.values_mut() {
                    host.inputs.from_peers.push(FromPeer::Greeted(node));
                    host.is_due = true;
                }
                if let Some(transfers) = &mut self.transfers {
                    transfers.greeted(node);
                }
            }
            PeerEvent::Lost { node_id, .. } => {
                self.control_inputs.push_back(ControlInput::Lost(node_id));
                for host in self.shards.values_mut() {
                    host.inputs.from_peers.push(FromPeer::Lost(node_id));
                    host.is_due = true;
                }
                if let Some(transfers) = &mut self.transfers {
                    transfers.lost(node_id);
                }
            }
            PeerEvent::Payload { from, bytes } => self.hear_payload(from, &bytes, scene),
        }
    }

    fn hear_payload(&mut self, from: NodeId, payload: &[u8], scene: &mut Scene) {
        for item in items(payload).expect(UNDERSTOOD) {
            let item = item.expect(UNDERSTOOD);
            match item {
                Item::Control(bytes) => self.control_inputs.push_back(ControlInput::Message {
                    from,
                    bytes: bytes.to_vec(),
                }),
                Item::Fetch(body) => {
                    if let Some(transfers) = &mut self.transfers {
                        transfers.fetch(from, body);
                    }
                }
                Item::Chunk(body) => {
                    if let Some(transfers) = &mut self.transfers
                        && !scene.has(Planted::LostPieces)
                    {
                        transfers.chunk(from, body);
                    }
                }
                Item::Raft { shard, bytes } => {
                    if let Some(bytes) = self.through_noise(shard, from, bytes, scene) {
                        self.hear(shard, FromPeer::Raft { from, bytes });
                    }
                }
                // They are between sessions, which the simulator has none of.
                Item::Question(_) | Item::Answer(_) | Item::Notices(_) => {}
                Item::Forward { .. } | Item::Forwarded { .. } | Item::Working { .. } => {
                    let times = match item {
                        Item::Forward { .. } if scene.has(Planted::RetriedForward) => 2,
                        _ => 1,
                    };
                    for _ in 0..times {
                        if let Some((shard, news)) = item.for_shard(from).expect(UNDERSTOOD) {
                            self.hear(shard, news);
                        }
                    }
                }
            }
        }
    }

    /// What comes of a Raft message now: dropped, doubled or late as the noise has it.
    fn through_noise(
        &mut self,
        shard: ShardId,
        from: NodeId,
        bytes: &[u8],
        scene: &mut Scene,
    ) -> Option<Vec<u8>> {
        let noise = scene.noise;
        if noise.dropped == 0 && noise.doubled == 0 && noise.late == 0 {
            return Some(bytes.to_vec());
        }
        if scene.chance.per_mille(u32::from(noise.dropped)) {
            return None;
        }
        let late = scene.chance.per_mille(u32::from(noise.late));
        if late || scene.chance.per_mille(u32::from(noise.doubled)) {
            let wait = scene.chance.millis(0, 700);
            scene.after(
                wait,
                Event::Late {
                    machine: self.home.machine,
                    process: self.home.process,
                    shard,
                    from,
                    bytes: bytes.to_vec(),
                },
            );
        }
        (!late).then(|| bytes.to_vec())
    }
}
