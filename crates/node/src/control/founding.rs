//! Founding: how several nodes agree on one cluster. The protocol and why it holds are told in
//! `control.rs`.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use base::{ClusterId, NodeId};
use meta::{ClusterMap, Founder};

use super::action::Action;
use super::input::{HostState, HostView};
use super::message::{Introduction, Message};
use super::peers::Peer;
use super::proposal::Proposal;
use super::{Control, SECOND};

/// What is known about founding a cluster.
#[derive(Debug)]
pub(super) struct Founding {
    views: Vec<HostView>,
    /// What this node agreed to.
    proposal: Option<Proposal>,
    /// Who has agreed to it as well.
    accepted: BTreeSet<NodeId>,
    /// Who has not, and why.
    declined: BTreeMap<NodeId, String>,
    /// When the proposal is sent again.
    pub(super) resend_at: Duration,
}

impl Founding {
    pub(super) fn new(proposal: Option<Proposal>) -> Founding {
        Founding {
            views: Vec::new(),
            proposal,
            accepted: BTreeSet::new(),
            declined: BTreeMap::new(),
            resend_at: Duration::ZERO,
        }
    }

    pub(super) fn hear_hosts(&mut self, views: Vec<HostView>) {
        self.views = views;
    }

    /// Whether this node has found itself among its hosts.
    pub(super) fn is_founder(&self) -> bool {
        self.views
            .iter()
            .any(|view| view.state == HostState::IsSelf)
    }

    /// The cluster of the proposal that this node holds.
    pub(super) fn agreed(&self) -> Option<ClusterId> {
        self.proposal.as_ref().map(Proposal::cluster)
    }

    pub(super) fn hear_accepted(&mut self, from: NodeId, cluster: ClusterId) {
        if self.is_about(from, cluster) {
            self.declined.remove(&from);
            self.accepted.insert(from);
        }
    }

    pub(super) fn hear_declined(&mut self, from: NodeId, cluster: ClusterId, why: String) {
        if self.is_about(from, cluster) && !self.accepted.contains(&from) {
            self.declined.insert(from, why);
        }
    }

    fn is_about(&self, from: NodeId, cluster: ClusterId) -> bool {
        self.proposal.as_ref().is_some_and(|proposal| {
            proposal.cluster() == cluster && proposal.map.nodes.contains_key(&from)
        })
    }

    /// The nodes that the hosts lead to.
    fn met(&self, this: NodeId) -> BTreeSet<NodeId> {
        self.views
            .iter()
            .filter_map(|view| match view.state {
                HostState::IsSelf => Some(this),
                HostState::Greeted(node) => Some(node),
                HostState::Dialling | HostState::Failed(_) => None,
            })
            .collect()
    }

    /// The hosts that lead nowhere yet.
    fn unmet(&self) -> Vec<String> {
        self.views
            .iter()
            .filter(|view| matches!(view.state, HostState::Dialling | HostState::Failed(_)))
            .map(|view| format!("{} ({})", view.host, view.state))
            .collect()
    }
}

impl Control {
    /// Takes a node without a cluster as far towards one as it can go now.
    pub(super) fn form(&mut self, now: Duration, actions: &mut Vec<Action>) {
        if self.founding.proposal.is_some() {
            return self.pursue(now, actions);
        }
        let clusters: Vec<ClusterId> = self.peers.clusters().into_iter().collect();
        match clusters[..] {
            [] => match self.founders(None) {
                Ok(founders) => self.begin(&founders, now, actions),
                Err(reason) => self.tell_forming(reason, actions),
            },
            [cluster] => self.ask_to_join(cluster, now, actions),
            _ => {
                let members: Vec<String> = self
                    .peers
                    .alive()
                    .filter_map(|(_, peer)| {
                        Some(format!("{} of {}", peer.title(), peer.info.cluster?))
                    })
                    .collect();
                self.tell_forming(
                    format!(
                        "this node joins no cluster, as its peers belong to several: {}; let \
                         discovery.hosts name nodes of one of them",
                        members.join(", ")
                    ),
                    actions,
                );
            }
        }
    }

    /// The founders, this node among them, if all of them are met, alive, without a cluster, of one mind
    /// about the hosts, and have agreed to nothing but `cluster`; else what they wait for.
    fn founders(&self, cluster: Option<ClusterId>) -> Result<BTreeSet<NodeId>, String> {
        let met = self.founding.met(self.node());
        self.check_lists(&met)?;
        let unmet = self.founding.unmet();
        if !unmet.is_empty() {
            return Err(format!(
                "the cluster is forming: waiting for {}",
                unmet.join(", ")
            ));
        }
        if self.founding.views.is_empty() {
            return Err("the cluster is forming: the hosts were not dialled yet".into());
        }
        if !self.founding.is_founder() {
            return Err(
                "this node is not among discovery.hosts, and its founders have no cluster yet"
                    .into(),
            );
        }
        for &node in met.iter().filter(|&&node| node != self.node()) {
            let peer = self.peers.get(node);
            let Some(introduction) = peer.and_then(|peer| peer.introduction.as_ref()) else {
                return Err(format!(
                    "the cluster is forming: waiting for {} to introduce itself",
                    self.title(node)
                ));
            };
            if let Some(agreed) = introduction.agreed
                && cluster != Some(agreed)
            {
                return Err(format!(
                    "the cluster is forming: waiting for {}, which has agreed to found cluster {agreed} and \
                     tells what that needs",
                    self.title(node)
                ));
            }
        }
        Ok(met)
    }

    /// No node that is, or believes to be, a founder with this one has another list.
    fn check_lists(&self, met: &BTreeSet<NodeId>) -> Result<(), String> {
        let differences: Vec<String> = self
            .peers
            .without_cluster()
            .filter_map(|(node, peer)| {
                let introduction = peer.introduction.as_ref()?;
                let matters = introduction.is_founder || met.contains(&node);
                matters
                    .then(|| difference(&self.config.hosts, &introduction.hosts, peer))
                    .flatten()
            })
            .collect();
        if differences.is_empty() {
            return Ok(());
        }
        Err(format!(
            "discovery.hosts differs between founders, so no cluster is founded: {}; let all of them have \
             the same list and start them again",
            differences.join("; ")
        ))
    }

    /// All founders are ready, as far as this node knows.
    fn begin(&mut self, founders: &BTreeSet<NodeId>, now: Duration, actions: &mut Vec<Action>) {
        let this = self.node();
        match founders.first() {
            Some(&lowest) if lowest != this => {
                let reason = format!(
                    "the cluster is forming: all founders have met, and {} is to propose it",
                    self.title(lowest)
                );
                return self.tell_forming(reason, actions);
            }
            _ => {}
        }
        let founders: Vec<Founder> = founders
            .iter()
            .filter_map(|&node| {
                if node == this {
                    return Some(self.config.local.clone());
                }
                let introduction = self.peers.get(node)?.introduction.as_ref()?;
                Some(introduction.local.clone())
            })
            .collect();
        let cluster = ClusterId(self.chance.id());
        let proposal = Proposal {
            hosts: self.config.hosts.clone(),
            proposer: this,
            map: ClusterMap::founding(
                cluster,
                &founders,
                self.config.shards,
                self.config.replicas,
                self.chance.draw(),
            ),
        };
        self.agree(proposal, actions);
        self.pursue(now, actions);
    }

    /// From here on this node holds the proposal.
    fn agree(&mut self, proposal: Proposal, actions: &mut Vec<Action>) {
        let mut bytes = Vec::new();
        proposal.encode(&mut bytes);
        actions.push(Action::PersistFounding(bytes));
        self.founding.accepted.clear();
        self.founding.declined.clear();
        self.founding.resend_at = Duration::ZERO;
        self.founding.proposal = Some(proposal);
    }

    /// Founds if all have agreed, else asks those that have not.
    fn pursue(&mut self, now: Duration, actions: &mut Vec<Action>) {
        let this = self.node();
        let Some(proposal) = self.founding.proposal.clone() else {
            return;
        };
        let clusters = self.peers.clusters();
        if clusters.iter().any(|&other| other != proposal.cluster()) {
            let reason = self.told_of_another(&proposal);
            return self.tell_forming(reason, actions);
        }
        let missing: Vec<NodeId> = proposal
            .founders()
            .into_iter()
            .filter(|node| *node != this && !self.founding.accepted.contains(node))
            .collect();
        if missing.is_empty() || clusters.contains(&proposal.cluster()) {
            return self.found(proposal.map, actions);
        }
        if now >= self.founding.resend_at {
            self.founding.resend_at = now + SECOND;
            let message = Message::Proposal(proposal.clone());
            for &node in proposal.map.nodes.keys() {
                if self.peers.is_alive(node) {
                    self.send(node, &message, actions);
                }
            }
        }
        let reason = self.missing_agreement(&proposal, &missing);
        self.tell_forming(reason, actions);
    }

    fn found(&mut self, map: ClusterMap, actions: &mut Vec<Action>) {
        self.founding.proposal = None;
        self.cluster = Some(map.cluster);
        self.forming = None;
        self.map_is_current = true;
        for shard in map.shard_ids() {
            if let Some((replica, _)) = map.placed_on(shard, self.node()) {
                self.local.insert((shard, replica));
            }
        }
        let text = format!(
            "founded cluster {} of {} nodes, {} shards",
            map.cluster,
            map.nodes.len(),
            map.shards
        );
        self.log(false, text, actions);
        actions.push(Action::Found { map: map.clone() });
        actions.push(Action::SetCluster(map.cluster));
        self.adopt(map, actions);
    }

    pub(super) fn hear_introduction(&mut self, from: NodeId, introduction: Introduction) {
        if introduction.local.node == from
            && let Some(peer) = self.peers.get_mut(from)
        {
            peer.introduction = Some(introduction);
        }
    }

    pub(super) fn hear_proposal(
        &mut self,
        from: NodeId,
        proposal: Proposal,
        now: Duration,
        actions: &mut Vec<Action>,
    ) {
        let cluster = proposal.cluster();
        let founders = proposal.founders();
        if !founders.contains(&from) || !founders.contains(&self.node()) {
            return;
        }
        match self.judge(&proposal, &founders) {
            Ok(is_new) => {
                if is_new {
                    self.agree(proposal, actions);
                }
                // Who sends a proposal has agreed to it.
                self.founding.hear_accepted(from, cluster);
                self.send(from, &Message::Accepted { cluster }, actions);
                if is_new {
                    self.pursue(now, actions);
                }
            }
            Err(why) => self.send(from, &Message::Declined { cluster, why }, actions),
        }
    }

    /// Whether this node agrees to a proposal that lists it, and if so, whether it has not done so before.
    fn judge(&self, proposal: &Proposal, founders: &BTreeSet<NodeId>) -> Result<bool, String> {
        if let Some(cluster) = self.cluster {
            return if cluster == proposal.cluster() {
                Ok(false)
            } else {
                Err(format!("it belongs to cluster {cluster}"))
            };
        }
        if let Some(held) = &self.founding.proposal {
            return if held.cluster() == proposal.cluster() {
                Ok(false)
            } else {
                Err(format!("it has agreed to found cluster {}", held.cluster()))
            };
        }
        if let Some((_, member)) = self
            .peers
            .alive()
            .find(|(_, peer)| peer.info.cluster.is_some())
        {
            return Err(format!(
                "it has met {}, which has a cluster",
                member.title()
            ));
        }
        if proposal.hosts != self.config.hosts {
            return Err("its discovery.hosts differs".into());
        }
        if self.founders(Some(proposal.cluster()))? != *founders {
            return Err("its hosts lead to other nodes".into());
        }
        Ok(true)
    }

    fn missing_agreement(&self, proposal: &Proposal, missing: &[NodeId]) -> String {
        // One that is replaced matters even if it agreed before: the others cannot agree to it any more.
        let replaced = |node: NodeId| {
            let is_gone = node != self.node() && !self.peers.is_alive(node);
            is_gone.then(|| self.successor(proposal, node)).flatten()
        };
        let told: Vec<String> = proposal
            .map
            .nodes
            .keys()
            .filter_map(|&node| {
                let title = self.title_in(proposal, node);
                if let Some(other) = replaced(node) {
                    return Some(format!(
                        "{title}, at whose address is now the empty node {other}"
                    ));
                }
                if !missing.contains(&node) {
                    return None;
                }
                if !self.peers.is_alive(node) {
                    return Some(format!("{title}, which is not there"));
                }
                Some(match self.founding.declined.get(&node) {
                    Some(why) => format!("{title}, which says: {why}"),
                    None => format!("{title} to agree"),
                })
            })
            .collect();
        let mut text = format!("the cluster is forming: waiting for {}", told.join(", "));
        let is_replaced = proposal
            .map
            .nodes
            .keys()
            .any(|&node| replaced(node).is_some());
        // As long as any host is not met, it may have founded the cluster and have data.
        let all_are_empty = self.founding.unmet().is_empty()
            && self
                .founding
                .met(self.node())
                .iter()
                .all(|&node| node == self.node() || self.peers.is_alive(node));
        if is_replaced && all_are_empty {
            text.push_str(
                "; this founding cannot end, and nothing is stored yet: stop this node and each other one \
                 that says so, move its folder away, and start it again",
            );
        }
        text
    }

    /// The empty node that has taken the address of a founder.
    fn successor(&self, proposal: &Proposal, founder: NodeId) -> Option<NodeId> {
        let address = &proposal.map.nodes.get(&founder)?.address;
        self.peers
            .without_cluster()
            .find(|(node, peer)| {
                peer.info.address == *address && !proposal.map.nodes.contains_key(node)
            })
            .map(|(node, _)| node)
    }

    fn told_of_another(&self, proposal: &Proposal) -> String {
        let strangers: Vec<String> = self
            .peers
            .alive()
            .filter_map(|(_, peer)| {
                let cluster = peer.info.cluster?;
                (cluster != proposal.cluster())
                    .then(|| format!("{} belongs to cluster {cluster}", peer.title()))
            })
            .collect();
        format!(
            "this node has agreed to found cluster {}, but {}; if it is to join that one, stop it, move its \
             folder away, as it stores nothing yet, and start it again",
            proposal.cluster(),
            strangers.join(", ")
        )
    }

    fn title_in(&self, proposal: &Proposal, node: NodeId) -> String {
        match proposal.map.nodes.get(&node) {
            Some(entry) => format!("{} ({})", entry.name, entry.address),
            None => node.to_string(),
        }
    }

    /// The name and address of a peer, as far as it is known.
    pub(super) fn title(&self, node: NodeId) -> String {
        match self.peers.get(node) {
            Some(peer) => peer.title(),
            None => format!("node {node}"),
        }
    }
}

/// What only one of two lists has; `None` if they are equal.
fn difference(here: &[String], there: &[String], peer: &Peer) -> Option<String> {
    let only = |one: &[String], other: &[String]| {
        let only: Vec<&str> = one
            .iter()
            .filter(|host| !other.contains(host))
            .map(String::as_str)
            .collect();
        only.join(", ")
    };
    let (here, there) = (only(here, there), only(there, here));
    let mut parts = Vec::new();
    if !here.is_empty() {
        parts.push(format!("only here: {here}"));
    }
    if !there.is_empty() {
        parts.push(format!("only at {}: {there}", peer.title()));
    }
    if !here.is_empty() && there.is_empty() {
        parts.push(format!("not at {}", peer.title()));
    }
    (!parts.is_empty()).then(|| parts.join(", "))
}
