//! What nodes tell each other each second, and what follows from it: the newest map, this node's replicas,
//! and who leads.

use std::collections::BTreeMap;
use std::time::Duration;

use base::{NodeId, ReplicaId, ShardId};
use meta::{ClusterMap, Membership, NodeState, NodeStatus, ReplicaStatus, Role, wanted_voters};

use super::action::{Action, ClusterState, ShardOrder};
use super::message::Message;
use super::{Control, META};

/// How many names of nodes that left are remembered.
const FORMER_NAMES_MAX: usize = 1024;

/// So long a shard may be without a leader before it counts as one without a quorum, if most of its voters are
/// up: more than an election takes and the news of it.
const LEADERLESS: Duration = Duration::from_secs(3);

/// Who leads a shard, as far as this node has heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Leader {
    pub(super) term: u64,
    /// It says so itself; else a follower believes it.
    pub(super) is_certain: bool,
    pub(super) node: NodeId,
    pub(super) replica: ReplicaId,
}

impl Control {
    /// Takes over a map that is newer.
    pub(super) fn adopt(&mut self, map: ClusterMap, actions: &mut Vec<Action>) {
        if self.cluster != Some(map.cluster) || map.epoch <= self.epoch() {
            return;
        }
        let local = &self.config.local;
        if map.removed.contains_key(&local.node) {
            let why = format!(
                "this node was removed from cluster {}; to use the machine again, start it with an empty \
                 data folder",
                map.cluster
            );
            return self.stop(why, actions);
        }
        if let Some(entry) = map.nodes.get(&local.node)
            && entry.incarnation > local.incarnation
        {
            let why = format!(
                "this node has started {} times, but the cluster has seen its start {}: its data folder is \
                 an old copy; start it with an empty data folder",
                local.incarnation.0, entry.incarnation.0
            );
            return self.stop(why, actions);
        }
        if let Some(before) = &self.map {
            for (&node, entry) in &before.nodes {
                if !map.nodes.contains_key(&node) && self.former_names.len() < FORMER_NAMES_MAX {
                    self.former_names.insert(node, entry.name.clone());
                }
            }
        }
        actions.push(Action::KeepMap(map.clone()));
        self.map = Some(map);
        self.dial(actions);
        self.tell_places(actions);
        self.refresh_leaders(actions);
        self.reconcile(actions);
        self.welcome(actions);
        if self.leads_meta() {
            self.push_map(actions);
        }
    }

    /// Has members dialled where the map says that they are.
    pub(super) fn dial(&mut self, actions: &mut Vec<Action>) {
        let Some(map) = &self.map else { return };
        for (&node, entry) in &map.nodes {
            if node != self.config.local.node && self.dialled.get(&node) != Some(&entry.address) {
                self.dialled.insert(node, entry.address.clone());
                actions.push(Action::Dial {
                    node,
                    address: entry.address.clone(),
                });
            }
        }
        self.dialled.retain(|node, _| map.nodes.contains_key(node));
    }

    fn tell_places(&mut self, actions: &mut Vec<Action>) {
        let Some(map) = &self.map else { return };
        for shard in map.shard_ids() {
            let nodes: Vec<NodeId> = map
                .placements_of(shard)
                .map(|(_, placement)| placement.node)
                .collect();
            if self.placed.get(&shard) != Some(&nodes) {
                self.placed.insert(shard, nodes.clone());
                actions.push(Action::Shard {
                    shard,
                    order: ShardOrder::Placed(nodes),
                });
            }
        }
    }

    /// Sends the map to members that are not known to have it.
    fn push_map(&self, actions: &mut Vec<Action>) {
        let Some(map) = &self.map else { return };
        let message = Message::Map(map.clone());
        for (node, peer) in self.peers.of_cluster(map.cluster) {
            let known = peer.status.as_ref().map_or(0, |status| status.epoch);
            if known < map.epoch {
                self.send(node, &message, actions);
            }
        }
    }

    /// Makes this node's replicas those of the map. Only what its turns have told to be there is known,
    /// so nothing is done before they have.
    fn reconcile(&mut self, actions: &mut Vec<Action>) {
        let (Some(map), Some(_), true) = (&self.map, &self.own, self.map_is_current) else {
            return;
        };
        let gone: Vec<(ShardId, ReplicaId)> = self
            .local
            .iter()
            .copied()
            .filter(|&(shard, replica)| {
                let is_listed = map
                    .placements
                    .get(&shard)
                    .is_some_and(|placed| placed.contains_key(&replica));
                // The map has yet to hear of a replica with an id that it has not given out.
                !is_listed && replica.0 < map.next_replica
            })
            .collect();
        for &(shard, replica) in &gone {
            self.local.remove(&(shard, replica));
            actions.push(Action::Shard {
                shard,
                order: ShardOrder::Destroy { replica },
            });
        }
        for shard in map.shard_ids() {
            let Some((replica, placement)) = map.placed_on(shard, self.config.local.node) else {
                continue;
            };
            let has_one = self.local.iter().any(|&(of, _)| of == shard);
            if placement.role == Role::Learner && !has_one {
                self.local.insert((shard, replica));
                actions.push(Action::Shard {
                    shard,
                    order: ShardOrder::Create { replica },
                });
            }
        }
    }

    pub(super) fn hear_own_status(&mut self, mut status: NodeStatus, actions: &mut Vec<Action>) {
        let Some(cluster) = self.cluster else { return };
        status.epoch = self.epoch();
        self.local = status
            .replicas
            .iter()
            .map(|replica| (replica.shard, replica.replica))
            .collect();
        let message = Message::Status(status.clone());
        for (node, _) in self.peers.of_cluster(cluster) {
            self.send(node, &message, actions);
        }
        self.own = Some(status);
        self.reconcile(actions);
        self.refresh_leaders(actions);
    }

    pub(super) fn hear_status(
        &mut self,
        from: NodeId,
        status: NodeStatus,
        actions: &mut Vec<Action>,
    ) {
        let epoch = status.epoch;
        if let Some(peer) = self.peers.get_mut(from) {
            peer.status = Some(status);
        }
        if let Some(map) = &self.map {
            if epoch < map.epoch {
                self.send(from, &Message::Map(map.clone()), actions);
            } else if epoch == map.epoch && !self.map_is_current {
                self.map_is_current = true;
                self.reconcile(actions);
            }
        }
        self.refresh_leaders(actions);
    }

    /// The statuses that count: this node's and those of members that are alive.
    pub(super) fn statuses(&self) -> impl Iterator<Item = (NodeId, &NodeStatus)> {
        let own = self.own.iter().map(|status| (self.node(), status));
        let theirs = self
            .peers
            .alive()
            .filter_map(|(node, peer)| Some((node, peer.status.as_ref()?)));
        own.chain(theirs)
    }

    /// What a node told last, if it counts.
    pub(super) fn status_of(&self, node: NodeId) -> Option<&NodeStatus> {
        if node == self.node() {
            return self.own.as_ref();
        }
        self.peers.get(node)?.status.as_ref()
    }

    /// What a node told of a replica last, if it counts.
    pub(super) fn replica_on(
        &self,
        node: NodeId,
        shard: ShardId,
        replica: ReplicaId,
    ) -> Option<&ReplicaStatus> {
        let replicas = &self.status_of(node)?.replicas;
        let key = |status: &ReplicaStatus| (status.shard, status.replica);
        let found = replicas.binary_search_by_key(&(shard, replica), key);
        found.ok().map(|at| &replicas[at])
    }

    pub(super) fn replicas(&self) -> impl Iterator<Item = (NodeId, &ReplicaStatus)> {
        self.statuses()
            .flat_map(|(node, status)| status.replicas.iter().map(move |replica| (node, replica)))
    }

    /// Works out who leads, and tells the turns what has changed.
    pub(super) fn refresh_leaders(&mut self, actions: &mut Vec<Action>) {
        let Some(map) = &self.map else { return };
        let mut leaders: BTreeMap<ShardId, Leader> = BTreeMap::new();
        for (node, status) in self.replicas() {
            let leader = if status.leads {
                Leader {
                    term: status.term,
                    is_certain: true,
                    node,
                    replica: status.replica,
                }
            } else {
                let Some(replica) = status.leader else {
                    continue;
                };
                let placed = map.placements.get(&status.shard);
                let Some(placement) = placed.and_then(|placed| placed.get(&replica)) else {
                    continue;
                };
                Leader {
                    term: status.term,
                    is_certain: false,
                    node: placement.node,
                    replica,
                }
            };
            let best = leaders.entry(status.shard).or_insert(leader);
            *best = (*best).max(leader);
        }
        for shard in map.shard_ids() {
            let before = self.leaders.get(&shard).map(|leader| leader.node);
            let after = leaders.get(&shard).map(|leader| leader.node);
            if before != after {
                actions.push(Action::Shard {
                    shard,
                    order: ShardOrder::Hint { leader: after },
                });
            }
        }
        self.leaders = leaders;
        self.note_led();
        self.state_is_stale = true;
    }

    fn note_led(&mut self) {
        let Some(map) = &self.map else { return };
        let led = map.shard_ids().filter_map(|shard| {
            let (_, leading) = self.leading(shard)?;
            Some((shard, (self.now, leading.membership.clone()?)))
        });
        let led: Vec<_> = led.collect();
        self.led.extend(led);
    }

    /// The members of a shard: as its leader tells, or as the last one told while another may be about to
    /// lead; a planned hand-over and an election are no loss of a quorum. `None` if there is none.
    fn quorum_of(&self, shard: ShardId) -> Option<&Membership> {
        if let Some((_, leading)) = self.leading(shard) {
            return leading.membership.as_ref();
        }
        let (seen, membership) = self.led.get(&shard)?;
        let voters = membership.voters().count();
        let up = membership.voters().filter(|voter| self.is_up(voter.node));
        (self.now.saturating_sub(*seen) < LEADERLESS && 2 * up.count() > voters)
            .then_some(membership)
    }

    /// The node that leads shard 0, as far as this one knows.
    pub(super) fn meta_leader(&self) -> Option<NodeId> {
        self.leaders.get(&META).map(|leader| leader.node)
    }

    /// Whether this node leads shard 0, and knows the map.
    pub(super) fn leads_meta(&self) -> bool {
        let leads = |leader: &Leader| leader.is_certain && leader.node == self.node();
        self.map.is_some() && self.leaders.get(&META).is_some_and(leads)
    }

    /// Whether the node is this one, or can be sent to.
    pub(super) fn is_up(&self, node: NodeId) -> bool {
        node == self.node() || self.peers.is_alive(node)
    }

    /// The status of the replica that leads the shard, from itself.
    pub(super) fn leading(&self, shard: ShardId) -> Option<(NodeId, &ReplicaStatus)> {
        let leader = self
            .leaders
            .get(&shard)
            .filter(|leader| leader.is_certain)?;
        let status = self.replica_on(leader.node, shard, leader.replica)?;
        Some((leader.node, status))
    }

    pub(super) fn cluster_state(&self) -> ClusterState {
        if self.cluster.is_none() {
            return ClusterState::Forming;
        }
        let Some(map) = &self.map else {
            return ClusterState::NoQuorum;
        };
        let usable = map
            .nodes
            .iter()
            .filter(|(node, entry)| entry.state == NodeState::Member && self.is_up(**node))
            .count();
        let wanted = wanted_voters(map.replicas, usable);
        let mut state = ClusterState::Ok;
        for shard in map.shard_ids() {
            let Some(membership) = self.quorum_of(shard) else {
                return ClusterState::NoQuorum;
            };
            let is_whole = membership.voters().count() >= wanted
                && membership.voters().all(|voter| self.is_up(voter.node));
            if !is_whole {
                state = ClusterState::Degraded;
            }
        }
        state
    }
}
