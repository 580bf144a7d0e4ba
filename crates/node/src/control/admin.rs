//! What operators want: commands and their answers.
//!
//! Answers are JSON objects. That of the status is told in `report.rs`; the others have `done`, a bool, and:
//!
//! | command | fields |
//! | --- | --- |
//! | `NodeRemove` | `node`, `name`, `remaining_replicas`, `remaining_leaders` |
//! | `NodeDrain` | `node`, `name`, `state`, `remaining_leaders` |
//! | `NodeUndrain` | `node`, `name`, `state` |
//! | `ShardMove` | `shard`, `from`, `to`, `step`: what is under way, for people |
//! | `ShardLead` | `shard`, `leader`, `wanted` |
//!
//! A refusal begins with a code word: `ERR` (it is wrong as it is), `CLUSTERDOWN` or `TRYAGAIN` (it may be
//! asked again as it is).

use std::collections::BTreeMap;
use std::time::Duration;

use base::{NodeId, ShardId};
use meta::{Change, ClusterMap, FindNodeError, Move, NodeState, Role, wanted_voters};
use serde_json::{Value, json};
use shard::Ticket;

use super::Control;
use super::action::{Action, ShardOrder};
use super::balance::Purpose;
use super::message::Message;

/// So long an answer of the leader is waited for.
const ANSWER_PATIENCE: Duration = Duration::from_secs(5);
/// How many commands may wait for their answers.
const ASKED_MAX: usize = 1024;

/// A command of an operator. Any node takes it; [`AdminCommand::Status`] is answered there, the others
/// where shard 0 is led.
///
/// All but the status are wishes that are repeated until the answer says `"done": true`: each
/// repetition takes them further and tells how far they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AdminCommand {
    /// How the cluster and its nodes and shards are doing.
    Status,
    /// A node, by name or id, gives its replicas away and leaves the cluster for ever.
    NodeRemove(String),
    /// A node gives its leaderships away and gets no replicas, until it is undrained.
    NodeDrain(String),
    /// A node may have leaderships and replicas again.
    NodeUndrain(String),
    /// A replica of a shard goes from one node to another.
    ShardMove {
        /// The shard.
        shard: ShardId,
        /// The node that has it.
        from: String,
        /// The node that is to have it.
        to: String,
    },
    /// A node is to lead a shard.
    ShardLead {
        /// The shard.
        shard: ShardId,
        /// The node.
        node: String,
    },
}

/// Commands that were passed on to the leader of shard 0.
#[derive(Debug, Default)]
pub(super) struct Asked {
    next: u64,
    waiting: BTreeMap<u64, (Ticket, Duration)>,
}

impl Control {
    pub(super) fn admin(
        &mut self,
        ticket: Ticket,
        command: AdminCommand,
        now: Duration,
        actions: &mut Vec<Action>,
    ) {
        let answer = if command == AdminCommand::Status {
            Ok(self.report().to_string())
        } else if self.cluster.is_none() {
            let reason = self.forming.as_deref().unwrap_or("it has just started");
            Err(format!("CLUSTERDOWN this node has no cluster: {reason}"))
        } else if self.leads_meta() {
            self.execute(command, now, actions)
        } else {
            match self.meta_leader() {
                Some(leader) if self.peers.is_alive(leader) => {
                    match self.pass_on(ticket, leader, command, now, actions) {
                        Ok(()) => return,
                        Err(busy) => Err(busy),
                    }
                }
                Some(leader) => Err(format!(
                    "CLUSTERDOWN this node has no connection to node {leader}, which leads shard 0; nothing \
                     was changed"
                )),
                None => Err("CLUSTERDOWN shard 0 has no leader that this node knows of; nothing was changed".into()),
            }
        };
        actions.push(Action::AdminReply { ticket, answer });
    }

    fn pass_on(
        &mut self,
        ticket: Ticket,
        leader: NodeId,
        command: AdminCommand,
        now: Duration,
        actions: &mut Vec<Action>,
    ) -> Result<(), String> {
        if self.asked.waiting.len() >= ASKED_MAX {
            return Err(format!(
                "TRYAGAIN {ASKED_MAX} commands wait for their answers on this node; nothing was changed"
            ));
        }
        self.asked.next += 1;
        let id = self.asked.next;
        self.asked
            .waiting
            .insert(id, (ticket, now + ANSWER_PATIENCE));
        self.send(leader, &Message::Command { id, command }, actions);
        Ok(())
    }

    pub(super) fn hear_answer(
        &mut self,
        id: u64,
        answer: Result<String, String>,
        actions: &mut Vec<Action>,
    ) {
        if let Some((ticket, _)) = self.asked.waiting.remove(&id) {
            actions.push(Action::AdminReply { ticket, answer });
        }
    }

    pub(super) fn give_up_on_answers(&mut self, now: Duration, actions: &mut Vec<Action>) {
        self.asked.waiting.retain(|_, (ticket, until)| {
            let waits = now < *until;
            if !waits {
                let answer = Err(
                    "TRYAGAIN the leader of shard 0 did not answer; the command may have been taken, and \
                     may be given again"
                        .into(),
                );
                let ticket = *ticket;
                actions.push(Action::AdminReply { ticket, answer });
            }
            waits
        });
    }

    /// Takes a command as far as it can go now, and tells how far that is. For the leader of shard 0.
    pub(super) fn execute(
        &mut self,
        command: AdminCommand,
        now: Duration,
        actions: &mut Vec<Action>,
    ) -> Result<String, String> {
        let map = match &self.map {
            Some(map) if self.leads_meta() => map.clone(),
            _ => {
                return Err(format!(
                    "TRYAGAIN node {} does not lead shard 0 any more; nothing was changed",
                    self.config.local.name
                ));
            }
        };
        let answer = match command {
            AdminCommand::Status => self.report(),
            AdminCommand::NodeRemove(wanted) => match map.find_node(&wanted) {
                Ok(node) => self.remove_node(&map, node, now, actions)?,
                Err(error) => self.removed_node(&map, &wanted, &error)?,
            },
            AdminCommand::NodeDrain(wanted) => {
                let node = find(&map, &wanted)?;
                let others = map
                    .nodes
                    .iter()
                    .any(|(&other, entry)| other != node && entry.state == NodeState::Member);
                if !others {
                    return Err(format!(
                        "ERR node {} is the last one that may lead, so it cannot be drained; let another node \
                         join first",
                        map.nodes[&node].name
                    ));
                }
                self.set_state(&map, node, NodeState::Draining, now, actions)?;
                let leaders = self.leaderships(node);
                json!({
                    "done": map.nodes[&node].state == NodeState::Draining && leaders == 0,
                    "node": node.to_string(),
                    "name": map.nodes[&node].name,
                    "state": "draining",
                    "remaining_leaders": leaders,
                })
            }
            AdminCommand::NodeUndrain(wanted) => {
                let node = find(&map, &wanted)?;
                self.set_state(&map, node, NodeState::Member, now, actions)?;
                json!({
                    "done": map.nodes[&node].state == NodeState::Member,
                    "node": node.to_string(),
                    "name": map.nodes[&node].name,
                    "state": "member",
                })
            }
            AdminCommand::ShardMove { shard, from, to } => {
                let wanted = Move {
                    from: find(&map, &from)?,
                    to: find(&map, &to)?,
                };
                self.move_shard(&map, shard, wanted, now)?
            }
            AdminCommand::ShardLead { shard, node } => {
                let node = find(&map, &node)?;
                self.lead_shard(&map, shard, node, actions)?
            }
        };
        Ok(answer.to_string())
    }

    fn remove_node(
        &mut self,
        map: &ClusterMap,
        node: NodeId,
        now: Duration,
        actions: &mut Vec<Action>,
    ) -> Result<Value, String> {
        self.set_state(map, node, NodeState::Leaving, now, actions)?;
        Ok(json!({
            "done": false,
            "node": node.to_string(),
            "name": map.nodes[&node].name,
            "remaining_replicas": self.replicas_of(map, node),
            "remaining_leaders": self.leaderships(node),
        }))
    }

    /// The answer about a node that may have left since it was told to.
    fn removed_node(
        &self,
        map: &ClusterMap,
        wanted: &str,
        error: &FindNodeError,
    ) -> Result<Value, String> {
        let is_wanted = |node: &NodeId| {
            node.to_string() == wanted
                || self
                    .former_names
                    .get(node)
                    .is_some_and(|name| name == wanted)
        };
        let node = match error {
            FindNodeError::Unknown { .. } => map.removed.keys().find(|node| is_wanted(node)),
            FindNodeError::Ambiguous { .. } => None,
        };
        let node = node.ok_or_else(|| format!("ERR {error}"))?;
        Ok(json!({
            "done": true,
            "node": node.to_string(),
            "name": self.former_names.get(node),
            "remaining_replicas": 0,
            "remaining_leaders": 0,
        }))
    }

    fn set_state(
        &mut self,
        map: &ClusterMap,
        node: NodeId,
        state: NodeState,
        now: Duration,
        actions: &mut Vec<Action>,
    ) -> Result<(), String> {
        if map.nodes[&node].state == state {
            return Ok(());
        }
        let change = Change::SetState { node, state };
        let mut tried = map.clone();
        tried
            .apply(&change)
            .map_err(|rejected| format!("ERR {rejected}"))?;
        self.change(change, Purpose::Plan, now, actions);
        Ok(())
    }

    fn move_shard(
        &mut self,
        map: &ClusterMap,
        shard: ShardId,
        wanted: Move,
        now: Duration,
    ) -> Result<Value, String> {
        check_shard(map, shard)?;
        let Move { from, to } = wanted;
        if from == to {
            return Err("ERR a replica cannot move to the node that it is on".into());
        }
        let name = |node: NodeId| map.nodes[&node].name.as_str();
        let membership = self
            .leading(shard)
            .and_then(|(_, leading)| leading.membership.as_ref())
            .ok_or_else(|| {
                format!(
                    "TRYAGAIN shard {} has no leader; nothing was changed",
                    shard.0
                )
            })?;
        let role = |node: NodeId| membership.of_node(node).map(|member| member.role);
        let is_under_way = self.balancer.wanted_move(shard) == Some(wanted);
        let source = map.placed_on(shard, from);
        let is_done = source.is_none() && role(from).is_none() && role(to) == Some(Role::Voter);
        let step = if is_done {
            "done"
        } else if source.is_none() && role(from).is_none() {
            return Err(format!(
                "ERR node {} has no replica of shard {}",
                name(from),
                shard.0
            ));
        } else if map.nodes[&to].state != NodeState::Member {
            return Err(format!(
                "ERR node {} is draining or leaving and gets no replicas; undrain it or choose another node",
                name(to)
            ));
        } else if !is_under_way
            && role(to) == Some(Role::Voter)
            && membership.voters().count() <= wanted_voters(map.replicas, map.nodes.len())
        {
            return Err(format!(
                "ERR node {} already has a replica of shard {}",
                name(to),
                shard.0
            ));
        } else {
            match role(to) {
                None => "the new replica is being made",
                Some(Role::Learner) => "the new replica is catching up",
                Some(Role::Voter) => "the old replica is leaving",
            }
        };
        let answer = json!({
            "done": is_done,
            "shard": shard.0,
            "from": from.to_string(),
            "to": to.to_string(),
            "step": step,
        });
        if is_done {
            self.balancer.end_move(shard);
        } else {
            self.balancer.want_move(shard, wanted, now);
        }
        Ok(answer)
    }

    fn lead_shard(
        &self,
        map: &ClusterMap,
        shard: ShardId,
        node: NodeId,
        actions: &mut Vec<Action>,
    ) -> Result<Value, String> {
        check_shard(map, shard)?;
        let (leader, leading) = self.leading(shard).ok_or_else(|| {
            format!(
                "TRYAGAIN shard {} has no leader; nothing was changed",
                shard.0
            )
        })?;
        if leader != node {
            let voter = leading
                .membership
                .iter()
                .flat_map(|membership| membership.voters())
                .find(|voter| voter.node == node);
            let voter = voter.ok_or_else(|| {
                format!(
                    "ERR node {} has no voting replica of shard {}; `piccolo shard move` brings one there",
                    map.nodes[&node].name, shard.0
                )
            })?;
            let to = voter.replica;
            self.order(shard, ShardOrder::Lead { to }, actions);
        }
        Ok(json!({
            "done": leader == node,
            "shard": shard.0,
            "leader": leader.to_string(),
            "wanted": node.to_string(),
        }))
    }

    fn leaderships(&self, node: NodeId) -> usize {
        self.leaders
            .values()
            .filter(|leader| leader.node == node)
            .count()
    }

    /// How many replicas a node has, by the map or by the shards.
    fn replicas_of(&self, map: &ClusterMap, node: NodeId) -> usize {
        map.shard_ids()
            .filter(|&shard| {
                let membership = self
                    .leading(shard)
                    .and_then(|(_, leading)| leading.membership.as_ref());
                map.placed_on(shard, node).is_some()
                    || membership.is_some_and(|membership| membership.of_node(node).is_some())
            })
            .count()
    }
}

fn find(map: &ClusterMap, wanted: &str) -> Result<NodeId, String> {
    map.find_node(wanted)
        .map_err(|error| format!("ERR {error}"))
}

fn check_shard(map: &ClusterMap, shard: ShardId) -> Result<(), String> {
    if shard.0 < map.shards {
        return Ok(());
    }
    Err(format!(
        "ERR there is no shard {}; the shards are 0 to {}",
        shard.0,
        map.shards - 1
    ))
}
