//! Who holds a copy: changes of that, and how far the copies are.

use std::collections::BTreeSet;

use base::ReplicaId;
use meta::{Member, Membership, Role};
use raft::ProgressState;
use thiserror::Error;

use super::Shard;
use crate::entry::MemberChange;

/// A learner that misses fewer entries than this may vote: what it misses is on its way.
pub(super) const CAUGHT_UP_ENTRIES: u64 = 256;

/// Why members are not changed, or the leadership not handed over. Nothing was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ChangeRefused {
    /// This replica does not lead.
    #[error("this replica does not lead the shard")]
    NotLeader,
    /// There is one change at a time, and none before the leader's first entry is applied.
    #[error("another change of the shard's members is under way")]
    InProgress,
    /// The learner misses too much.
    #[error("the replica has not caught up yet")]
    NotCaughtUp,
    /// It leads; another has to, first.
    #[error("the replica leads the shard")]
    IsLeader,
    /// No such replica, or none that votes where one is needed.
    #[error("there is no such replica, or it does not vote")]
    Unknown,
    /// A node holds one copy at most.
    #[error("the node holds another replica of the shard")]
    NodeTaken,
}

/// How far a replica is, as its leader knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Which.
    pub replica: ReplicaId,
    /// The last entry that it is known to hold.
    pub matched: u64,
    /// Whether it has answered within an election timeout.
    pub active: bool,
    /// Whether it is to take a snapshot.
    pub snapshotting: bool,
}

/// Carries a change out.
pub(crate) fn change(membership: &mut Membership, change: MemberChange) {
    match change {
        MemberChange::AddLearner { replica, node } => membership.insert(Member {
            replica,
            node,
            role: Role::Learner,
        }),
        MemberChange::Promote { replica } => {
            if let Some(&member) = membership.get(replica) {
                membership.insert(Member {
                    role: Role::Voter,
                    ..member
                });
            }
        }
        MemberChange::Remove { replica } => {
            membership.remove(replica);
        }
    }
}

impl Shard {
    /// Whether a change of members is under way, or could be forgotten by a crash.
    pub fn change_pending(&self) -> bool {
        self.applied_term != self.term()
            || self.raft.raft.has_pending_conf()
            || self.persisted < self.members_recorded
    }

    /// Proposes a change of members. One that is done already is none: so it can be asked for again.
    ///
    /// # Errors
    /// [`ChangeRefused`].
    pub fn change_members(&mut self, change: MemberChange) -> Result<(), ChangeRefused> {
        if !self.is_leader() {
            return Err(ChangeRefused::NotLeader);
        }
        if self.change_pending() {
            return Err(ChangeRefused::InProgress);
        }
        let known = self.membership().get(change.replica());
        match change {
            MemberChange::AddLearner { replica, node } => {
                if known.is_some() {
                    return Ok(());
                }
                if let Some(other) = self.membership().of_node(node)
                    && other.replica != replica
                {
                    return Err(ChangeRefused::NodeTaken);
                }
            }
            MemberChange::Promote { replica } => {
                match known {
                    None => return Err(ChangeRefused::Unknown),
                    Some(member) if member.role == Role::Voter => return Ok(()),
                    Some(_) => {}
                }
                let progress = self.raft.raft.prs().get(replica.0);
                let matched = progress.map_or(0, |progress| progress.matched);
                // Without what the log begins with it still waits for a snapshot, however short the log is.
                let needs_snapshot = matched < self.raft.store().base().max(1);
                if needs_snapshot || matched + CAUGHT_UP_ENTRIES < self.last_index() {
                    return Err(ChangeRefused::NotCaughtUp);
                }
            }
            MemberChange::Remove { replica } => {
                if replica == self.config.replica {
                    return Err(ChangeRefused::IsLeader);
                }
                if known.is_none() {
                    return Ok(());
                }
            }
        }
        // What a leader refuses while it hands over is asked for again.
        self.raft
            .propose_conf_change(change.payload(), change.to_raft())
            .map_err(|_| ChangeRefused::InProgress)
    }

    pub(super) fn apply_members(&mut self, change: MemberChange) {
        let mut membership = self.membership().clone();
        self::change(&mut membership, change);
        // The routes to those that are gone stay: they may still have to be answered.
        if let MemberChange::Remove { replica } = change {
            self.answered.remove(&replica.0);
        }
        let applied = self.raft.apply_conf_change(&change.to_raft());
        let state = applied.expect("a change of one member is always possible");
        let ids = |members: &[u64]| members.iter().copied().collect::<BTreeSet<_>>();
        let voters = membership.voters().map(|voter| voter.replica.0);
        assert_eq!(
            ids(&state.voters),
            voters.collect::<BTreeSet<_>>(),
            "Raft and the shard agree on who votes"
        );
        self.raft.mut_store().set_membership(membership);
        // Nobody proposes to remove a leader, yet one may come to lead with its own removal in its log. Raft
        // would have it lead on, and panics at the next entry that is committed.
        let is_removed = self.membership().get(self.config.replica).is_none();
        if is_removed && self.is_leader() {
            let term = self.term();
            self.raft.raft.become_follower(term, 0);
        }
    }

    /// Has another voter take the leadership over. Until it has, or an election timeout has passed,
    /// proposals are refused.
    ///
    /// # Errors
    /// [`ChangeRefused`].
    pub fn transfer(&mut self, to: ReplicaId) -> Result<(), ChangeRefused> {
        if !self.is_leader() {
            return Err(ChangeRefused::NotLeader);
        }
        if to == self.config.replica {
            return Ok(());
        }
        let voter = self.membership().get(to);
        if voter.is_none_or(|voter| voter.role != Role::Voter) {
            return Err(ChangeRefused::Unknown);
        }
        // It will be elected without regard to the lease, even if that takes long.
        self.offered_in = self.term();
        self.raft.transfer_leader(to.0);
        Ok(())
    }

    /// How far the replicas are; known to the leader alone.
    pub fn progress(&self) -> Vec<Progress> {
        if !self.is_leader() {
            return Vec::new();
        }
        // Raft's own note of who was active is wiped with each check of the quorum: who looks right after
        // one, and again and again at the same beat, would take all for gone.
        let has_answered = |replica: &u64| {
            let at = self.answered.get(replica);
            at.is_some_and(|at| self.now.saturating_sub(*at) < self.config.election)
        };
        let all = self.raft.raft.prs().iter();
        let mut all: Vec<Progress> = all
            .map(|(&replica, progress)| Progress {
                replica: ReplicaId(replica),
                matched: progress.matched,
                active: replica == self.config.replica.0 || has_answered(&replica),
                snapshotting: progress.state == ProgressState::Snapshot,
            })
            .collect();
        all.sort_by_key(|progress| progress.replica);
        all
    }
}
