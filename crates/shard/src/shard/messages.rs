//! Messages from and to the other replicas.

use std::time::Duration;

use base::{NodeId, ReplicaId};
use raft::eraftpb::{Message, MessageType};

use super::Shard;
use crate::effects::Effects;
use crate::message::{self, MessageError};

/// What Raft calls a campaign that the leader has asked for.
const TRANSFER: &[u8] = b"CampaignTransfer";

/// More replicas than a shard ever has; of others the node is not remembered.
const ROUTES_LIMIT: usize = 1024;

impl Shard {
    /// Takes a message that another replica of the shard, on that node, had in [`Effects::messages`].
    ///
    /// # Errors
    /// [`MessageError`]: it was dropped.
    pub fn step(
        &mut self,
        now: Duration,
        from: NodeId,
        message: &[u8],
    ) -> Result<(), MessageError> {
        self.now = now;
        let (mut message, offer) = message::decode(message)?;
        if message.to != self.config.replica.0 {
            return Err(MessageError::NotHere(message.to));
        }
        if self.routes.len() < ROUTES_LIMIT || self.routes.contains_key(&message.from) {
            self.routes.insert(message.from, from);
        }
        match message.get_msg_type() {
            MessageType::MsgRequestVote | MessageType::MsgRequestPreVote
                if !self.is_leader() && message.context != TRANSFER =>
            {
                if !self.election.may_vote(now) {
                    return Ok(());
                }
                // Raft counts ticks to the same end, and has had none.
                self.raft.raft.election_elapsed = self.config.election_ticks();
            }
            MessageType::MsgSnapshot => {
                let offer = offer.ok_or(MessageError::Truncated)?;
                self.take_offer(from, &mut message, &offer);
            }
            // The leader will give up, or ask again.
            MessageType::MsgTimeoutNow if !self.may_campaign() => return Ok(()),
            // After a power cut under `fsync = never` the log may be shorter than its leader knows.
            MessageType::MsgHeartbeat => message.commit = message.commit.min(self.last_index()),
            _ => {}
        }
        let (kind, term, sender) = (message.get_msg_type(), message.term, message.from);
        // Raft refuses what comes from one that is no member; such is dropped.
        drop(self.raft.step(message));
        let from_leader = matches!(
            kind,
            MessageType::MsgAppend | MessageType::MsgHeartbeat | MessageType::MsgSnapshot
        );
        if from_leader && self.term() == term && self.raft.raft.leader_id == sender {
            self.election.heard(now);
        }
        let answers = matches!(
            kind,
            MessageType::MsgAppendResponse | MessageType::MsgHeartbeatResponse
        );
        if answers && self.is_leader() && self.raft.raft.prs().get(sender).is_some() {
            self.answered.insert(sender, now);
        }
        Ok(())
    }

    /// Keeps messages until what was handed out so far is durable.
    pub(super) fn hold(&mut self, messages: Vec<Message>) {
        if messages.is_empty() {
            return;
        }
        if self.persisted == self.handed_out {
            self.outgoing.extend(messages);
            return;
        }
        // That a heartbeat came promises nothing that a crash could take back.
        let (now, later): (Vec<_>, Vec<_>) = messages
            .into_iter()
            .partition(|message| message.get_msg_type() == MessageType::MsgHeartbeatResponse);
        self.outgoing.extend(now);
        if !later.is_empty() {
            self.held.push_back((self.handed_out, later));
        }
    }

    /// Hands out what may leave.
    pub(super) fn send(&mut self, effects: &mut Effects) {
        let outgoing = std::mem::take(&mut self.outgoing);
        for (at, message) in outgoing.iter().enumerate() {
            let kind = message.get_msg_type();
            // A round of reads sends heartbeats again that the tick has just sent.
            let is_repeated = |later: &Message| {
                later.get_msg_type() == kind && later.to == message.to && later.term == message.term
            };
            if kind == MessageType::MsgHeartbeat && outgoing[at + 1..].iter().any(is_repeated) {
                continue;
            }
            let Some(node) = self.node_of(message.to) else {
                continue;
            };
            let mut bytes = Vec::new();
            if kind == MessageType::MsgSnapshot {
                let Some(offer) = self.offer_for(message) else {
                    continue;
                };
                message::encode(message, Some(&offer), &mut bytes);
            } else {
                message::encode(message, None, &mut bytes);
            }
            effects.messages.push((node, bytes));
        }
    }

    fn node_of(&self, replica: u64) -> Option<NodeId> {
        let member = self.membership().get(ReplicaId(replica));
        let member = member.map(|member| member.node);
        member.or_else(|| self.routes.get(&replica).copied())
    }
}
