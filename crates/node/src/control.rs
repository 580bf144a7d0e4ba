//! What a node decides that is not a shard's own matter: founding, joining, the spread of the map, the
//! balancer's work, and what operators want.
//!
//! [`Control`] hears of peers, hosts, messages, its own replicas and the time, and wants things done:
//! [`Action`]. It reads no clock and never waits. Messages between controls may get lost, doubled and
//! late; nothing is confirmed, everything that matters is said again each second.
//!
//! # Founding
//!
//! The founders are the nodes to which the hosts of `discovery.hosts` lead. A node that holds a *proposal*
//! has agreed to found that cluster with exactly those founders, and has it on disk.
//!
//! 1. Nodes without a cluster introduce themselves with their list of hosts. Lists that differ are told
//!    on both sides, and neither founds.
//! 2. A node that has greeted every host of its list, is one of them itself, knows of no cluster and has
//!    heard the same list from all is ready. If its id is the lowest it draws up a proposal: a cluster id
//!    and the whole first map.
//! 3. A founder that is ready, sees the same founders and holds no proposal takes that one over. It is
//!    persisted before anything is said of it. As long as any founder holds another proposal, none is drawn
//!    up or taken over: it could not succeed and would have to be cleared away as well.
//! 4. Whoever holds a proposal sends it to the other founders each second, which says that it agreed; they
//!    answer that they did or why they do not. Once it has heard of the agreement of *all*, or once a peer
//!    says that it belongs to that cluster, it makes its replicas. The cluster is founded.
//! 5. A node that belongs to the cluster goes on to answer proposals of it with agreement.
//!
//! A holder never takes another proposal and joins no other cluster, whatever it hears. So a crash at any
//! point is resumed by the resending; and what cannot be resumed, because the disk of a founder was wiped in
//! the middle, waits for an operator: nothing is stored yet, and the folders that hold the proposal can
//! be moved away.
//!
//! **There are never two clusters of one list of hosts, as long as any founder's disk is left.** Say that *P*
//! and *Q* were both founded, *P* drawn up first, and each by the folders of all hosts, one for each. A folder
//! holds one proposal, so at each host the two were different folders. Each folder of *Q* had been met when
//! *Q* was drawn up, and agreed afterwards. Had a host's folder of *Q* been there before its folder of *P*,
//! it would have been wiped when *P*, and so *Q*, was drawn up, and could not have agreed. So at every host
//! the folder of *P* had been wiped before that of *Q* began: nobody was left to found *P*, nor to let
//! others join it, when *Q* was drawn up. And whoever had joined *P* at a host by then stands in the way of
//! *Q*, for it has a cluster and agrees to nothing. A majority instead of all would not do: after two of
//! three disks are wiped the two new nodes would found *Q* beside the third, which has the data of *P*.
//! What remains: if the disks of all hosts are wiped, a node outside of the list that has joined before
//! is left over with the old cluster; it is refused as a stranger.
//!
//! # Joining
//!
//! A node without cluster and proposal that greets a peer with a cluster asks it to join. Any member passes
//! this on to the node that leads shard 0; the change of the map is the decision, and the member answers
//! with the map once it has it. Members ask in the same way after each start, so that the map has their
//! incarnation and addresses. Whoever was removed, or comes with an older incarnation than the map has,
//! stops with the reason.
//!
//! # The map
//!
//! Shard 0 has it. Nodes tell each other its epoch with their status; whoever has a newer one sends it. What
//! it lists for this node as a learner and is not there is created; what is there and was taken off it is
//! destroyed. A voter is never created: it would have forgotten its votes.
//!
//! # Balancing
//!
//! Where shard 0 is led, [`meta::plan`] is asked each second, and its steps are passed on to the leaders of the
//! shards. The orders carry the term of shard 0, so that those of a leader that was deposed are not heard
//! any more. Steps that get lost come again.
//!
//! It leaves out: connections, what becomes of requests, snapshots, and how replicas are made.

mod action;
mod admin;
mod balance;
mod chance;
mod founding;
mod input;
mod join;
mod message;
mod peers;
mod proposal;
mod report;
mod spread;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use base::{ClusterId, Moment, NodeId, ReplicaId, ShardId};
use meta::{ClusterMap, Membership, NodeStatus};
use thiserror::Error;

pub use action::{Action, ClusterState, ShardOrder};
pub use admin::AdminCommand;
pub use input::{ControlConfig, ControlInput, HostState, HostView, PeerInfo, Restored};

use admin::Asked;
use balance::Balancer;
use chance::Chance;
use founding::Founding;
use join::Joining;
use message::{Introduction, Message};
use peers::Peers;
use proposal::Proposal;
use spread::Leader;

/// How often what matters is said again.
const SECOND: Duration = Duration::from_secs(1);

/// The shard that has the map.
const META: ShardId = ShardId(0);

/// What the folder of a node says of its cluster cannot be relied upon.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum RestoreError {
    /// The proposal that the node agreed to cannot be read.
    #[error(
        "the proposal to found a cluster that this node agreed to cannot be read: {0}; this node stores \
         nothing yet, so move its folder away and start it again"
    )]
    Founding(#[from] meta::DecodeError),
}

/// The part of a node that decides what is not a shard's own matter.
#[derive(Debug)]
pub struct Control {
    config: ControlConfig,
    chance: Chance,
    started: Duration,
    next_second: Duration,
    stopped: bool,
    cluster: Option<ClusterId>,
    peers: Peers,
    founding: Founding,
    joining: Joining,
    /// The newest that is known.
    map: Option<ClusterMap>,
    /// Whether somebody has told the map, or an epoch that is no newer, since this node started.
    map_is_current: bool,
    /// Where members were to be dialled.
    dialled: BTreeMap<NodeId, String>,
    /// Where the turns were told that replicas are.
    placed: BTreeMap<ShardId, Vec<NodeId>>,
    /// Names of nodes that were seen to leave the map.
    former_names: BTreeMap<NodeId, String>,
    /// What this node told of itself last.
    own: Option<NodeStatus>,
    /// The replicas that this node has, or was told to have.
    local: BTreeSet<(ShardId, ReplicaId)>,
    leaders: BTreeMap<ShardId, Leader>,
    /// When each shard's leader was last heard of, from itself, and its members then.
    led: BTreeMap<ShardId, (Duration, Membership)>,
    /// The time of the last input.
    now: Duration,
    /// The epoch of the last map that came from this node's replica of shard 0.
    applied_epoch: u64,
    /// The highest term of shard 0 in which orders were heard.
    orders_term: u64,
    round_trips: BTreeMap<NodeId, Duration>,
    balancer: Balancer,
    asked: Asked,
    /// As told.
    forming: Option<String>,
    /// As told.
    state: Option<ClusterState>,
    /// Whether it may be another one by now.
    state_is_stale: bool,
}

impl Control {
    /// Of a node that starts. It does nothing before the first input.
    ///
    /// # Errors
    /// [`RestoreError`].
    pub fn new(
        mut config: ControlConfig,
        restored: Restored,
        now: Moment,
    ) -> Result<Control, RestoreError> {
        config.hosts.sort_unstable();
        config.hosts.dedup();
        let cluster = restored.cluster;
        // A node that belongs to a cluster has done with the proposal, if there was one.
        let proposal = match restored.founding {
            Some(bytes) if cluster.is_none() => Some(Proposal::decode(&bytes)?),
            _ => None,
        };
        let map = restored.map.filter(|map| Some(map.cluster) == cluster);
        Ok(Control {
            chance: Chance::new(config.seed),
            started: now.monotonic,
            next_second: now.monotonic,
            stopped: false,
            cluster,
            peers: Peers::default(),
            founding: Founding::new(proposal),
            joining: Joining::default(),
            map,
            map_is_current: false,
            dialled: BTreeMap::new(),
            placed: BTreeMap::new(),
            former_names: BTreeMap::new(),
            own: None,
            local: BTreeSet::new(),
            leaders: BTreeMap::new(),
            led: BTreeMap::new(),
            now: Duration::ZERO,
            applied_epoch: 0,
            orders_term: 0,
            round_trips: BTreeMap::new(),
            balancer: Balancer::default(),
            asked: Asked::default(),
            forming: None,
            state: None,
            state_is_stale: true,
            config,
        })
    }

    /// The newest map that this node knows.
    pub fn map(&self) -> Option<&ClusterMap> {
        self.map.as_ref()
    }

    /// Hears what happened at that time and appends what is to be done.
    pub fn handle(&mut self, now: Moment, input: ControlInput, actions: &mut Vec<Action>) {
        if self.stopped {
            return;
        }
        let now = now.monotonic;
        self.now = now;
        match input {
            ControlInput::Greeted(info) => self.greeted(info, now, actions),
            ControlInput::Lost(node) => {
                self.peers.lost(node, now);
                self.refresh_leaders(actions);
            }
            ControlInput::PeerCluster { node, cluster } => {
                if let Some(peer) = self.peers.get_mut(node) {
                    peer.info.cluster = Some(cluster);
                    self.hurry(now);
                }
            }
            ControlInput::Hosts(views) => {
                self.founding.hear_hosts(views);
                self.introduce_to_all(actions);
            }
            ControlInput::Message { from, bytes } => self.heard(from, &bytes, now, actions),
            ControlInput::Tick => {}
            ControlInput::Map(map) => {
                self.map_is_current |= map.epoch >= self.epoch();
                self.applied_epoch = map.epoch;
                self.adopt(map, actions);
            }
            ControlInput::Status(status) => self.hear_own_status(status, actions),
            ControlInput::RoundTrips(round_trips) => self.round_trips = round_trips,
            ControlInput::ChangeDone { ticket, outcome } => {
                self.change_done(ticket, outcome, actions);
            }
            ControlInput::Admin { ticket, command } => {
                self.admin(ticket, command, now, actions);
            }
        }
        if now >= self.next_second {
            self.next_second = now + SECOND;
            self.each_second(now, actions);
        }
        if self.cluster.is_none() {
            self.form(now, actions);
        }
        if std::mem::take(&mut self.state_is_stale) {
            self.tell_state(actions);
        }
        if let Some(stop) = actions
            .iter()
            .position(|action| matches!(action, Action::Stop(_)))
        {
            self.stopped = true;
            actions.truncate(stop + 1);
        }
    }

    fn greeted(&mut self, info: PeerInfo, now: Duration, actions: &mut Vec<Action>) {
        let node = info.node;
        self.peers.greeted(info);
        self.hurry(now);
        if let Some(cluster) = self.cluster {
            if let Some(own) = &self.own
                && self.peers.of_cluster(cluster).any(|(peer, _)| peer == node)
            {
                let status = Message::Status(own.clone());
                self.send(node, &status, actions);
            }
        } else {
            self.introduce(node, actions);
        }
    }

    /// What waits for its second to pass need not, as something has changed.
    fn hurry(&mut self, now: Duration) {
        self.founding.resend_at = now;
        self.joining.ask_at = now;
    }

    fn heard(&mut self, from: NodeId, bytes: &[u8], now: Duration, actions: &mut Vec<Action>) {
        if !self.peers.is_alive(from) {
            return;
        }
        let message = match Message::decode(bytes) {
            Ok(Some(message)) => message,
            Ok(None) => return,
            Err(error) => {
                // Each would come again every second.
                let is_first = self
                    .peers
                    .get_mut(from)
                    .is_some_and(|peer| !std::mem::replace(&mut peer.is_garbled, true));
                if is_first {
                    let text = format!(
                        "{} sends messages that cannot be read: {error}",
                        self.title(from)
                    );
                    self.log(true, text, actions);
                }
                return;
            }
        };
        let is_fellow = self.cluster.is_some_and(|cluster| {
            self.peers
                .get(from)
                .is_some_and(|peer| peer.info.cluster == Some(cluster))
        });
        match message {
            Message::Hosts(introduction) => self.hear_introduction(from, introduction),
            Message::Proposal(proposal) => self.hear_proposal(from, proposal, now, actions),
            Message::Accepted { cluster } => self.founding.hear_accepted(from, cluster),
            Message::Declined { cluster, why } => self.founding.hear_declined(from, cluster, why),
            Message::Join(founder) => self.hear_join(from, founder, now, actions),
            Message::Joined(map) => self.hear_joined(from, map, actions),
            Message::NotJoined { node, forever, why } => {
                self.hear_not_joined(from, node, forever, why, actions);
            }
            // What follows is among members alone.
            _ if !is_fellow => {}
            Message::Status(status) => self.hear_status(from, status, actions),
            Message::Map(map) => {
                self.map_is_current |= map.epoch >= self.epoch();
                self.adopt(map, actions);
            }
            Message::Order { term, shard, order } => {
                self.hear_order(term, shard, order, actions);
            }
            Message::Command { id, command } => {
                let answer = self.execute(command, now, actions);
                self.send(from, &Message::Answer { id, answer }, actions);
            }
            Message::Answer { id, answer } => self.hear_answer(id, answer, actions),
        }
    }

    fn each_second(&mut self, now: Duration, actions: &mut Vec<Action>) {
        self.state_is_stale = true;
        self.introduce_to_all(actions);
        self.dial(actions);
        self.rejoin(now, actions);
        self.balance(now, actions);
        self.give_up_on_answers(now, actions);
    }

    /// Who this node is.
    fn node(&self) -> NodeId {
        self.config.local.node
    }

    /// The epoch of its map, 0 without one.
    fn epoch(&self) -> u64 {
        self.map.as_ref().map_or(0, |map| map.epoch)
    }

    fn send(&self, to: NodeId, message: &Message, actions: &mut Vec<Action>) {
        let bytes = message.encode();
        actions.push(Action::Send { to, bytes });
    }

    fn log(&self, warning: bool, text: String, actions: &mut Vec<Action>) {
        actions.push(Action::Log { warning, text });
    }

    fn stop(&self, why: String, actions: &mut Vec<Action>) {
        actions.push(Action::Stop(why));
    }

    /// Tells why there is no cluster, if that is news.
    fn tell_forming(&mut self, reason: String, actions: &mut Vec<Action>) {
        if self.forming.as_ref() != Some(&reason) {
            self.forming = Some(reason.clone());
            actions.push(Action::Forming(reason));
        }
    }

    /// Tells how the cluster is doing, if that is news.
    fn tell_state(&mut self, actions: &mut Vec<Action>) {
        let state = self.cluster_state();
        if self.state != Some(state) {
            self.state = Some(state);
            actions.push(Action::State(state));
        }
    }

    fn introduction(&self) -> Introduction {
        Introduction {
            local: self.config.local.clone(),
            is_founder: self.founding.is_founder(),
            hosts: self.config.hosts.clone(),
            agreed: self.founding.agreed(),
        }
    }

    fn introduce(&self, node: NodeId, actions: &mut Vec<Action>) {
        if self.cluster.is_none() {
            self.send(node, &Message::Hosts(self.introduction()), actions);
        }
    }

    fn introduce_to_all(&self, actions: &mut Vec<Action>) {
        for (node, _) in self.peers.without_cluster() {
            self.introduce(node, actions);
        }
    }
}
