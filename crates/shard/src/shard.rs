//! The shard itself: from requests to records and messages, from committed entries to replies.

mod filling;
mod members;
mod messages;
mod reading;
mod snapshots;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use base::{Moment, NodeId, ReplicaId, ShardId, Timestamp};
use commands::log::BatchHeader;
use keyspace::{Classes, Keyspace};
use meta::{Change, ClusterMap, Member, Membership, Outcome, Rejected, Role};
use raft::eraftpb::{Entry, HardState, Message};
use raft::{NO_LIMIT, RawNode, StateRole};
use wal::{Body, Record};

use crate::apply::apply_batch;
use crate::effects::{Effects, Mark};
use crate::election::Election;
use crate::entry::{self, Content};
use crate::in_flight::{InFlight, Waiting};
use crate::log_store::LogStore;
use crate::reads::Reads;
use crate::request::{Refusal, Request, Ticket};
use crate::snapshot::SnapshotMeta;
pub(crate) use members::change as change_membership;
pub use members::{ChangeRefused, Progress};
pub use snapshots::Incoming;

/// What a shard is told when it starts.
#[derive(Clone, Copy, Debug)]
pub struct Config {
    /// Which shard this is.
    pub shard: ShardId,
    /// Which replica of it. Never used before for another copy.
    pub replica: ReplicaId,
    /// Where the replica is.
    pub node: NodeId,
    /// How often a leader is heard from.
    pub heartbeat: Duration,
    /// The least time without a leader after which another is elected; several heartbeats.
    pub election: Duration,
    /// So long after this replica was deposed those who wait for its entries are told that what became of
    /// them is uncertain, unless that is known before.
    pub patience: Duration,
    /// What election timeouts are drawn from. Replicas of a shard need different ones.
    pub seed: u64,
    /// Whether a leader may read under a lease; otherwise it asks a majority each time.
    pub lease: bool,
}

impl Config {
    /// Raft's clock: a tick is a heartbeat.
    fn election_ticks(&self) -> usize {
        let ticks = self.election.as_micros() / self.heartbeat.as_micros().max(1);
        (ticks as usize).max(2)
    }
}

/// One replica of a shard.
pub struct Shard {
    config: Config,
    raft: RawNode<LogStore>,
    /// Entries that are committed and not yet applied, oldest first.
    committed: Vec<Entry>,
    applied: u64,
    /// The term of the last applied entry; reads need it to be the present one.
    applied_term: u64,
    in_flight: InFlight,
    reads: Reads,
    /// The term in which the replica last led or not, and whether it did.
    led: (u64, bool),
    /// The last term in which the leadership was offered to another: no lease in it.
    offered_in: u64,
    /// The stamp of the last proposal or entry; stamps never go back.
    stamp: Timestamp,
    /// What was last handed out to be persisted, and what of it is.
    handed_out: Mark,
    persisted: Mark,
    /// Whether the commit index moved since a hard state was last recorded.
    commit_unrecorded: bool,
    /// With it durable, so is that the last change of members was committed.
    members_recorded: Mark,
    /// Messages that must not leave before what they speak of is durable.
    held: VecDeque<(Mark, Vec<Message>)>,
    /// Messages that may leave.
    outgoing: Vec<Message>,
    election: Election,
    /// When a leader sends its next heartbeat.
    next_beat: Duration,
    /// The latest time that was handed in.
    now: Duration,
    /// Where replicas are that sent messages; some are no members.
    routes: BTreeMap<u64, NodeId>,
    /// When other members last answered this replica, while it led.
    answered: BTreeMap<u64, Duration>,
    snapshots: snapshots::Snapshots,
    filling: filling::Filling,
    /// What may be kept of the log for those that are being filled.
    catch_up_bytes: usize,
    map: Option<ClusterMap>,
    /// Whether the map changed and nobody was told yet.
    map_changed: bool,
    /// Which notices the keyspace is to gather.
    notices: Classes,
}

impl Shard {
    /// A replica that has nothing yet: it waits for a leader to send it a snapshot.
    pub fn empty(config: Config, now: Duration) -> Shard {
        let log = LogStore::new(0, 0, Membership::default());
        Shard::start(config, log, 0, Timestamp::ZERO, None, now)
    }

    /// Starts from what recovery found; a sole voter becomes the leader at once.
    pub(crate) fn start(
        config: Config,
        log: LogStore,
        applied: u64,
        stamp: Timestamp,
        map: Option<ClusterMap>,
        now: Duration,
    ) -> Shard {
        let sole_voter = is_sole_voter(log.membership(), config.replica);
        let settings = raft::Config {
            id: config.replica.0,
            election_tick: config.election_ticks(),
            heartbeat_tick: 1,
            applied,
            max_size_per_msg: 1 << 20,
            max_inflight_msgs: 64,
            check_quorum: true,
            pre_vote: true,
            max_uncommitted_size: NO_LIMIT,
            max_committed_size_per_ready: NO_LIMIT,
            ..raft::Config::default()
        };
        let silent = slog::Logger::root(slog::Discard, slog::o!());
        let mut raft = RawNode::new(&settings, log, &silent)
            .expect("the settings are valid and the log store does not fail");
        if sole_voter {
            raft.campaign().expect("a voter may campaign");
        }
        Shard {
            raft,
            committed: Vec::new(),
            applied,
            applied_term: 0,
            in_flight: InFlight::default(),
            reads: Reads::default(),
            led: (0, false),
            offered_in: 0,
            stamp,
            handed_out: Mark(0),
            persisted: Mark(0),
            commit_unrecorded: false,
            members_recorded: Mark(0),
            held: VecDeque::new(),
            outgoing: Vec::new(),
            election: Election::new(&config, now),
            next_beat: now,
            now,
            routes: BTreeMap::new(),
            answered: BTreeMap::new(),
            snapshots: snapshots::Snapshots::default(),
            filling: filling::Filling::default(),
            catch_up_bytes: Shard::CATCH_UP_BYTES,
            map_changed: map.is_some(),
            map,
            notices: Classes::default(),
            config,
        }
    }

    /// Whether this replica leads the shard.
    pub fn is_leader(&self) -> bool {
        self.raft.raft.state == StateRole::Leader
    }

    /// Whom this replica believes to lead, with where that is.
    pub fn leader(&self) -> Option<Member> {
        let replica = ReplicaId(self.raft.raft.leader_id);
        if let Some(member) = self.membership().get(replica) {
            return Some(*member);
        }
        // One that lags behind may not know its leader as a member yet.
        let node = *self.routes.get(&replica.0)?;
        Some(Member {
            replica,
            node,
            role: Role::Voter,
        })
    }

    /// The index of the last applied entry.
    pub fn applied(&self) -> u64 {
        self.applied
    }

    /// The index of the last entry that is known to be committed.
    pub fn committed(&self) -> u64 {
        self.raft.raft.raft_log.committed
    }

    /// The present term.
    pub fn term(&self) -> u64 {
        self.raft.raft.term
    }

    /// The replica that got this one's vote in the present term, if any did.
    pub fn vote(&self) -> Option<ReplicaId> {
        Some(ReplicaId(self.raft.raft.vote)).filter(|vote| vote.0 != 0)
    }

    /// The index of the last entry of the log, persisted or not.
    pub fn last_index(&self) -> u64 {
        self.raft.raft.raft_log.last_index()
    }

    /// Which shard this is.
    pub fn id(&self) -> ShardId {
        self.config.shard
    }

    /// Which replica this is.
    pub fn replica(&self) -> ReplicaId {
        self.config.replica
    }

    /// The replicas as of the last applied entry.
    pub fn membership(&self) -> &Membership {
        self.raft.store().membership()
    }

    /// The map as of the last applied entry; none but in shard 0.
    pub fn map(&self) -> Option<&ClusterMap> {
        self.map.as_ref()
    }

    /// The bytes of the requests that were proposed here and are not applied yet.
    pub fn in_flight_bytes(&self) -> usize {
        self.in_flight.bytes()
    }

    /// Whether an entry that was proposed here waits for other replicas.
    pub fn awaits_others(&self) -> bool {
        !self.in_flight.is_empty() && !is_sole_voter(self.membership(), self.config.replica)
    }

    /// The term and the payload of an entry that is still in memory; for tests that compare logs.
    pub fn entry(&self, index: u64) -> Option<(u64, &[u8])> {
        let entry = self.raft.store().get(index)?;
        Some((entry.term, entry::payload(entry)))
    }

    /// Puts the requests into one entry, stamped with `now` or the last stamp if that is later.
    /// `seed` is what the entry's commands draw their chance from. No requests make an entry that
    /// only sweeps.
    ///
    /// Where they cannot be taken, each gets its refusal in `effects`.
    pub fn propose(
        &mut self,
        now: Moment,
        seed: u64,
        requests: Vec<Request>,
        effects: &mut Effects,
    ) {
        let stamp = self.stamp.max(now.wall);
        let size: usize = requests
            .iter()
            .map(|request| request.commands.writes.len())
            .sum();
        let mut data = Vec::with_capacity(BatchHeader::SIZE + size);
        BatchHeader::new(stamp, seed).encode(&mut data);
        for request in &requests {
            data.extend_from_slice(&request.commands.writes);
        }
        if self.propose_data(data, Waiting::Requests(requests), effects) {
            self.stamp = stamp;
        }
    }

    /// Proposes a change to the map, in shard 0. Its outcome comes in [`Effects::changes`].
    pub fn propose_change(&mut self, ticket: Ticket, change: &Change, effects: &mut Effects) {
        self.propose_data(
            entry::meta_payload(change),
            Waiting::Change(ticket),
            effects,
        );
    }

    fn propose_data(&mut self, data: Vec<u8>, waiting: Waiting, effects: &mut Effects) -> bool {
        let size = data.len();
        // A leader drops proposals while it hands over; nothing is appended then.
        if !self.is_leader() || self.raft.propose(Vec::new(), data).is_err() {
            waiting.refuse(self.not_leader(), effects);
            return false;
        }
        let (index, term) = (self.last_index(), self.term());
        self.in_flight.push(index, term, size, waiting);
        true
    }

    /// Answers requests with a refusal.
    pub fn refuse(requests: Vec<Request>, refusal: Refusal, effects: &mut Effects) {
        Waiting::Requests(requests).refuse(refusal, effects);
    }

    fn not_leader(&self) -> Refusal {
        let leader = self.leader().map(|leader| leader.node);
        Refusal::NotLeader {
            leader: leader.filter(|_| !self.is_leader()),
        }
    }

    /// Time has passed. To be called about every half heartbeat; more often does no harm.
    pub fn tick(&mut self, now: Duration, effects: &mut Effects) {
        self.now = now;
        self.note_role(effects);
        if self.is_leader() {
            if now >= self.next_beat {
                self.next_beat = (self.next_beat + self.config.heartbeat).max(now);
                self.raft.tick();
                self.begin_round();
            }
            self.offer_snapshots_again();
            self.watch_filling();
        } else if self.election.is_due(now) && self.is_voter() && self.may_campaign() {
            // Raft refuses while a change of members that is committed is yet to be applied.
            drop(self.raft.campaign());
        }
        let leads = self.is_leader();
        self.in_flight
            .tick(now, leads, self.config.patience, effects);
    }

    /// The connection to a node is gone: if the leader is there, another is elected as soon as may be.
    pub fn lost(&mut self, now: Duration, node: NodeId) {
        self.now = now;
        if self.is_leader() {
            self.lost_follower(node);
        } else if let Some(leader) = self.leader().filter(|leader| leader.node == node) {
            let voters = self.membership().voters();
            let before = voters.filter(|voter| {
                voter.replica < self.config.replica && voter.replica != leader.replica
            });
            self.election.leader_lost(before.count());
        }
    }

    fn is_voter(&self) -> bool {
        let own = self.membership().get(self.config.replica);
        own.is_some_and(|own| own.role == Role::Voter)
    }

    /// Notices that this replica began or ceased to lead since the last look.
    fn note_role(&mut self, effects: &mut Effects) {
        let role = (self.term(), self.is_leader());
        if role == self.led {
            return;
        }
        let (_, led) = std::mem::replace(&mut self.led, role);
        if led && !role.1 {
            self.election.deposed(self.now);
        }
        if role.1 {
            self.next_beat = self.now + self.config.heartbeat;
        }
        self.forget_offers();
        Self::refuse(self.reads.reset(), self.not_leader(), effects);
    }

    /// Gathers what is to be persisted and sent, and what became committed.
    pub fn advance(&mut self, effects: &mut Effects) {
        self.note_role(effects);
        while self.raft.has_ready() {
            let mut ready = self.raft.ready();
            let recorded_before = effects.records.len();
            self.outgoing.extend(ready.take_messages());
            let installs = !ready.snapshot().is_empty();
            if installs {
                self.restore(effects);
            }
            for entry in ready.entries() {
                if let Some(stamp) = entry::stamp(entry) {
                    self.stamp = self.stamp.max(stamp);
                }
                self.record(
                    Body::Entry {
                        term: entry.term,
                        index: entry.index,
                        payload: entry::payload(entry),
                    },
                    effects,
                );
            }
            if let Some(hard_state) = ready.hs() {
                self.raft.mut_store().set_hard_state(hard_state.clone());
                self.commit_unrecorded = true;
            }
            // A commit index alone can wait: it is found again from the entries, with the votes of those who
            // are members. One who is removed is asked for nothing any more, so that must not be forgotten.
            let members = ready.committed_entries().iter().any(entry::is_of_members);
            if self.commit_unrecorded && (ready.must_sync() || installs || members) {
                self.record_hard_state(effects);
            }
            self.raft.mut_store().append(ready.entries());
            for state in ready.take_read_states() {
                self.round_answered(&state);
            }
            let held = ready.take_persisted_messages();
            self.committed.append(&mut ready.take_committed_entries());
            let number = ready.number();
            self.raft.advance_append_async(ready);
            if effects.records.len() > recorded_before {
                self.handed_out = Mark(number);
                effects.mark = Some(self.handed_out);
            } else if self.persisted == self.handed_out {
                self.raft.on_persist_ready(number);
            }
            if installs {
                self.snapshots.restored(self.handed_out);
            }
            if members {
                self.members_recorded = self.handed_out;
            }
            self.hold(held);
            self.note_role(effects);
        }
        self.send(effects);
    }

    /// All records up to `mark` are durable.
    pub fn persisted(&mut self, mark: Mark) {
        debug_assert!(mark <= self.handed_out);
        self.persisted = mark;
        self.raft.on_persist_ready(mark.0);
        while let Some((_, messages)) = self.held.pop_front_if(|(held, _)| *held <= mark) {
            self.outgoing.extend(messages);
        }
    }

    /// From now on applying entries gives notices of those classes.
    pub fn want_notices(&mut self, classes: Classes) {
        self.notices = classes;
    }

    /// Whether [`Shard::apply`] has something to do.
    pub fn has_committed(&self) -> bool {
        !self.committed.is_empty() || self.snapshots.is_durable(self.persisted)
    }

    /// Runs the committed entries on the keyspace, which is this shard's own.
    ///
    /// # Panics
    /// If a committed entry cannot be read: the shard must not go on with a state that differs from
    /// its log.
    pub fn apply(&mut self, keyspace: &mut Keyspace, effects: &mut Effects) {
        self.finish_install(keyspace, effects);
        keyspace.want_notices(self.notices);
        let mut committed = std::mem::take(&mut self.committed);
        for entry in committed.drain(..) {
            let waiting = self.in_flight.take(entry.index, entry.term, effects);
            match entry::content(&entry) {
                Content::Nothing => {
                    if let Some(waiting) = waiting {
                        // Raft puts nothing in the place of what it may not take.
                        waiting.refuse(Refusal::NotLeader { leader: None }, effects);
                    }
                }
                Content::Batch(bytes) => {
                    let requests = match waiting {
                        Some(Waiting::Requests(requests)) => requests,
                        _ => Vec::new(),
                    };
                    apply_batch(entry.index, bytes, requests, keyspace, effects);
                }
                Content::Members(change) => self.apply_members(change),
                Content::Meta(bytes) => {
                    let outcome = self.apply_change(entry.index, bytes);
                    if let Some(Waiting::Change(ticket)) = waiting {
                        effects.changes.push((ticket, Ok(outcome)));
                    }
                }
            }
            self.applied = entry.index;
            self.applied_term = entry.term;
        }
        self.committed = committed;
        self.stamp = self.stamp.max(keyspace.stamp());
        self.raft.advance_apply_to(self.applied);
        self.compact();
        effects.map_changed |= std::mem::take(&mut self.map_changed);
    }

    fn apply_change(&mut self, index: u64, bytes: &[u8]) -> Result<Outcome, Rejected> {
        let map = self
            .map
            .as_mut()
            .unwrap_or_else(|| panic!("log entry {index} changes a map, and there is none"));
        let outcome = apply_change(map, index, bytes);
        self.map_changed |= outcome.is_ok();
        outcome
    }

    /// Whether no request waits for its entry.
    pub fn is_idle(&self) -> bool {
        self.in_flight.is_empty()
    }

    /// Whether an entry should be proposed only to sweep expired keys.
    pub fn wants_sweep(&self, keyspace: &Keyspace, now: Timestamp) -> bool {
        self.is_leader()
            && self.in_flight.is_empty()
            && keyspace
                .next_expiry()
                .is_some_and(|next| next <= self.stamp.max(now))
    }

    /// The state of the keyspace right now is that after this entry. None from when Raft has gone on from a
    /// snapshot until the keyspace follows: the log no longer knows the entry then.
    pub fn snapshot_meta(&self) -> Option<SnapshotMeta> {
        if self.is_installing() {
            return None;
        }
        let log = self.raft.store();
        let term =
            raft::Storage::term(log, self.applied).expect("the applied entry's term is kept");
        Some(SnapshotMeta {
            term,
            index: self.applied,
            membership: log.membership().clone(),
            map: self.map.clone(),
        })
    }

    /// The replica goes away, and those who wait are told: what became of their entries is uncertain.
    pub fn close(mut self, effects: &mut Effects) {
        self.in_flight.skip(u64::MAX, effects);
        let refusal = Refusal::NotLeader { leader: None };
        Self::refuse(self.reads.reset(), refusal, effects);
    }

    fn record_hard_state(&mut self, effects: &mut Effects) {
        let HardState {
            term, vote, commit, ..
        } = *self.raft.store().hard_state();
        self.record(Body::HardState { term, vote, commit }, effects);
        self.commit_unrecorded = false;
    }

    fn record(&self, body: Body<'_>, effects: &mut Effects) {
        let record = Record {
            shard: self.config.shard,
            replica: self.config.replica,
            body,
        };
        record.encode(&mut effects.records);
    }
}

fn is_sole_voter(membership: &Membership, replica: ReplicaId) -> bool {
    let mut voters = membership.voters();
    voters.next().is_some_and(|voter| voter.replica == replica) && voters.next().is_none()
}

/// Runs a change on the map.
///
/// # Panics
/// If it cannot be read.
pub(crate) fn apply_change(
    map: &mut ClusterMap,
    index: u64,
    bytes: &[u8],
) -> Result<Outcome, Rejected> {
    let change = Change::decode(bytes)
        .unwrap_or_else(|error| panic!("log entry {index} cannot be applied: {error}"));
    map.apply(&change)
}
