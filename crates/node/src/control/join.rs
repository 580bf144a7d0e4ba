//! Joining: how a node gets into the map, and how the map learns what has changed about it.

use std::collections::BTreeMap;
use std::time::Duration;

use base::{ClusterId, NodeId};
use meta::{Change, ClusterMap, Founder, NODES_MAX, NodeEntry, Rejected};

use super::action::Action;
use super::balance::Purpose;
use super::message::Message;
use super::{Control, SECOND};

/// What is known about joins, this node's own and others'.
#[derive(Debug, Default)]
pub(super) struct Joining {
    /// When this node asks again.
    pub(super) ask_at: Duration,
    /// How often it has asked: another peer each time.
    asked: usize,
    /// Why it could not join yet.
    refused: Option<String>,
    /// Nodes that asked this one, and wait for a map that has them.
    waiting: BTreeMap<NodeId, Founder>,
}

impl Control {
    /// Asks a peer of the cluster to be let in.
    pub(super) fn ask_to_join(
        &mut self,
        cluster: ClusterId,
        now: Duration,
        actions: &mut Vec<Action>,
    ) {
        if now >= self.joining.ask_at {
            self.joining.ask_at = now + SECOND;
            self.send_join(cluster, actions);
        }
        let members: Vec<String> = self
            .peers
            .of_cluster(cluster)
            .map(|(_, peer)| peer.title())
            .collect();
        let mut reason = format!("joining cluster {cluster} of {}", members.join(", "));
        if let Some(refused) = &self.joining.refused {
            reason.push_str(": ");
            reason.push_str(refused);
        }
        self.tell_forming(reason, actions);
    }

    fn send_join(&mut self, cluster: ClusterId, actions: &mut Vec<Action>) {
        let members: Vec<NodeId> = self
            .peers
            .of_cluster(cluster)
            .map(|(node, _)| node)
            .collect();
        if members.is_empty() {
            return;
        }
        let to = members[self.joining.asked % members.len()];
        self.joining.asked += 1;
        self.send(to, &Message::Join(self.config.local.clone()), actions);
    }

    /// A member whose entry in the map is not what it says of itself has it brought up to date.
    pub(super) fn rejoin(&mut self, now: Duration, actions: &mut Vec<Action>) {
        let Some(cluster) = self.cluster else { return };
        let local = &self.config.local;
        let known = self.map.as_ref().and_then(|map| map.nodes.get(&local.node));
        if known.is_some_and(|entry| is_entry_of(entry, local)) {
            return;
        }
        if self.leads_meta() {
            let purpose = Purpose::Join {
                node: local.node,
                answer_to: local.node,
            };
            self.change(Change::join(local.clone()), purpose, now, actions);
        } else {
            self.send_join(cluster, actions);
        }
    }

    /// A node wants to be in the map, or another member passes on that it does.
    pub(super) fn hear_join(
        &mut self,
        from: NodeId,
        founder: Founder,
        now: Duration,
        actions: &mut Vec<Action>,
    ) {
        if self.cluster.is_none() {
            return;
        }
        let node = founder.node;
        let Some(map) = &self.map else {
            let why = "the node that was asked has no map yet".into();
            return self.refuse_join(from, node, false, why, actions);
        };
        let is_known = map
            .nodes
            .get(&node)
            .is_some_and(|entry| is_entry_of(entry, &founder));
        if is_known {
            if node == from {
                let joined = Message::Joined(map.clone());
                self.send(from, &joined, actions);
            }
            return;
        }
        if let Err(rejected) = map.clone().apply(&Change::join(founder.clone())) {
            let forever = is_forever(&rejected);
            return self.refuse_join(from, node, forever, rejected.to_string(), actions);
        }
        if node == from && (self.joining.waiting.len() < NODES_MAX) {
            self.joining.waiting.insert(node, founder.clone());
        }
        if self.leads_meta() {
            let purpose = Purpose::Join {
                node,
                answer_to: from,
            };
            self.change(Change::join(founder), purpose, now, actions);
            return;
        }
        match self.meta_leader() {
            Some(leader) if node == from && leader != from && self.peers.is_alive(leader) => {
                self.send(leader, &Message::Join(founder), actions);
            }
            _ => {
                let why = "the node that was asked does not know who leads shard 0".into();
                self.refuse_join(from, node, false, why, actions);
            }
        }
    }

    fn refuse_join(
        &self,
        to: NodeId,
        node: NodeId,
        forever: bool,
        why: String,
        actions: &mut Vec<Action>,
    ) {
        let message = Message::NotJoined { node, forever, why };
        self.send(to, &message, actions);
    }

    /// The map did not take a join.
    pub(super) fn join_rejected(
        &mut self,
        node: NodeId,
        answer_to: NodeId,
        rejected: &Rejected,
        actions: &mut Vec<Action>,
    ) {
        let forever = is_forever(rejected);
        if node == self.node() {
            if forever {
                self.stop(rejected.to_string(), actions);
            }
        } else {
            self.refuse_join(answer_to, node, forever, rejected.to_string(), actions);
        }
    }

    pub(super) fn hear_not_joined(
        &mut self,
        from: NodeId,
        node: NodeId,
        forever: bool,
        why: String,
        actions: &mut Vec<Action>,
    ) {
        if node != self.node() {
            if self.joining.waiting.remove(&node).is_some() && self.peers.is_alive(node) {
                self.refuse_join(node, node, forever, why, actions);
            }
            return;
        }
        let theirs = self.peers.get(from).and_then(|peer| peer.info.cluster);
        if theirs.is_none() || self.cluster.is_some_and(|ours| theirs != Some(ours)) {
            return;
        }
        if forever && self.founding.agreed().is_none() {
            return self.stop(why, actions);
        }
        self.joining.refused = Some(why);
    }

    pub(super) fn hear_joined(&mut self, from: NodeId, map: ClusterMap, actions: &mut Vec<Action>) {
        let theirs = self.peers.get(from).and_then(|peer| peer.info.cluster);
        if theirs != Some(map.cluster) {
            return;
        }
        if self.cluster.is_some() {
            self.map_is_current |= map.epoch >= self.epoch();
            return self.adopt(map, actions);
        }
        let is_in = map
            .nodes
            .get(&self.node())
            .is_some_and(|entry| entry.incarnation == self.config.local.incarnation);
        // A late answer must not take a node away from a cluster that it has agreed to found, nor
        // decide for it which of two clusters is meant.
        if !is_in || self.founding.agreed().is_some() || self.peers.clusters().len() != 1 {
            return;
        }
        self.cluster = Some(map.cluster);
        self.map_is_current = true;
        self.forming = None;
        let text = format!(
            "joined cluster {} of {} nodes",
            map.cluster,
            map.nodes.len()
        );
        self.log(false, text, actions);
        actions.push(Action::Joined {
            cluster: map.cluster,
            map: map.clone(),
        });
        actions.push(Action::SetCluster(map.cluster));
        self.adopt(map, actions);
    }

    /// Answers those that have come into the map.
    pub(super) fn welcome(&mut self, actions: &mut Vec<Action>) {
        let Some(map) = &self.map else { return };
        let peers = &self.peers;
        let mut welcomed = Vec::new();
        self.joining.waiting.retain(|&node, founder| {
            let entry = map.nodes.get(&node);
            let is_in = entry.is_some_and(|entry| is_entry_of(entry, founder));
            if is_in {
                welcomed.push(node);
            }
            !is_in && peers.is_alive(node)
        });
        for node in welcomed {
            if self.peers.is_alive(node) {
                self.send(node, &Message::Joined(map.clone()), actions);
            }
        }
    }
}

/// Whether the map has of the node what it says of itself.
fn is_entry_of(entry: &NodeEntry, founder: &Founder) -> bool {
    *entry
        == NodeEntry {
            state: entry.state,
            ..NodeEntry::from(founder)
        }
}

fn is_forever(rejected: &Rejected) -> bool {
    matches!(
        rejected,
        Rejected::WasRemoved(_) | Rejected::OldIncarnation { .. } | Rejected::OldFormats { .. }
    )
}
