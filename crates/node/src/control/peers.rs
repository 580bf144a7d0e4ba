//! The nodes that this one has met since it started.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use base::{ClusterId, NodeId};
use meta::NodeStatus;

use super::input::PeerInfo;
use super::message::Introduction;

/// How many nodes are remembered. Of more, those that were lost the longest ago are forgotten.
const PEERS_MAX: usize = 1024;

/// A node that has greeted.
#[derive(Clone, Debug)]
pub(super) struct Peer {
    pub(super) info: PeerInfo,
    /// When the last connection to it was lost, if it is.
    lost_at: Option<Duration>,
    /// What it told of itself on this connection.
    pub(super) introduction: Option<Introduction>,
    /// What it told last; of the life of this connection.
    pub(super) status: Option<NodeStatus>,
    /// Whether it has sent something that cannot be read.
    pub(super) is_garbled: bool,
}

impl Peer {
    pub(super) fn is_alive(&self) -> bool {
        self.lost_at.is_none()
    }

    /// Its name and address.
    pub(super) fn title(&self) -> String {
        format!("{} ({})", self.info.name, self.info.address)
    }
}

/// All of them.
#[derive(Debug, Default)]
pub(super) struct Peers(BTreeMap<NodeId, Peer>);

impl Peers {
    pub(super) fn greeted(&mut self, info: PeerInfo) {
        if self.0.len() >= PEERS_MAX && !self.0.contains_key(&info.node) {
            let lost = self
                .0
                .iter()
                .filter_map(|(&node, peer)| Some((peer.lost_at?, node)));
            if let Some((_, longest)) = lost.min() {
                self.0.remove(&longest);
            }
        }
        let peer = Peer {
            lost_at: None,
            introduction: None,
            status: None,
            is_garbled: false,
            info,
        };
        self.0.insert(peer.info.node, peer);
    }

    pub(super) fn lost(&mut self, node: NodeId, now: Duration) {
        if let Some(peer) = self.0.get_mut(&node)
            && peer.is_alive()
        {
            peer.lost_at = Some(now);
            peer.introduction = None;
            peer.status = None;
        }
    }

    /// The peer, if it can be sent to.
    pub(super) fn get(&self, node: NodeId) -> Option<&Peer> {
        self.0.get(&node).filter(|peer| peer.is_alive())
    }

    pub(super) fn get_mut(&mut self, node: NodeId) -> Option<&mut Peer> {
        self.0.get_mut(&node).filter(|peer| peer.is_alive())
    }

    pub(super) fn is_alive(&self, node: NodeId) -> bool {
        self.get(node).is_some()
    }

    /// When the peer was lost, if it is lost and remembered.
    pub(super) fn lost_at(&self, node: NodeId) -> Option<Duration> {
        self.0.get(&node)?.lost_at
    }

    /// Those that can be sent to.
    pub(super) fn alive(&self) -> impl Iterator<Item = (NodeId, &Peer)> {
        let all = self.0.iter().map(|(&node, peer)| (node, peer));
        all.filter(|(_, peer)| peer.is_alive())
    }

    /// Those of them that belong to no cluster.
    pub(super) fn without_cluster(&self) -> impl Iterator<Item = (NodeId, &Peer)> {
        self.alive().filter(|(_, peer)| peer.info.cluster.is_none())
    }

    /// Those of them that belong to that cluster.
    pub(super) fn of_cluster(&self, cluster: ClusterId) -> impl Iterator<Item = (NodeId, &Peer)> {
        self.alive()
            .filter(move |(_, peer)| peer.info.cluster == Some(cluster))
    }

    /// The clusters that those belong to.
    pub(super) fn clusters(&self) -> BTreeSet<ClusterId> {
        self.alive()
            .filter_map(|(_, peer)| peer.info.cluster)
            .collect()
    }
}
