//! The shard itself: from requests to records, from committed entries to replies.

use std::collections::VecDeque;
use std::ops::Range;

use base::{Db, ReplicaId, ShardId, Timestamp};
use commands::log::{BatchHeader, decode};
use commands::{Applied, Command, Handler, ReadContext, Reply, WriteContext, apply};
use keyspace::Keyspace;
use raft::eraftpb::{Entry, EntryType, HardState};
use raft::{NO_LIMIT, RawNode, StateRole};
use wal::{Body, Record};

use crate::effects::{Effects, Mark};
use crate::log_store::LogStore;
use crate::request::{Access, Refusal, Request, Response};
use crate::snapshot::SnapshotMeta;

/// At most this many expired keys go with one entry, so that applying it stays short.
const SWEEP_LIMIT: usize = 256;

/// What a shard is told when it starts.
#[derive(Clone, Copy, Debug)]
pub struct Config {
    /// Which shard this is.
    pub shard: ShardId,
    /// Which replica of it. Never used before for another copy.
    pub replica: ReplicaId,
    /// The least election timeout, in ticks; a tick is one heartbeat.
    pub election_ticks: usize,
    /// What election timeouts are drawn from. Replicas of a shard need different ones.
    pub seed: u64,
}

/// One replica of a shard.
pub struct Shard {
    config: Config,
    raft: RawNode<LogStore>,
    /// Entries that are committed and not yet applied, oldest first.
    committed: Vec<Entry>,
    applied: u64,
    /// The requests of entries that were proposed here, oldest first.
    in_flight: VecDeque<InFlight>,
    /// The stamp of the last proposal or entry; stamps never go back.
    stamp: Timestamp,
    /// What was last handed out to be persisted, and what of it is.
    handed_out: Mark,
    persisted: Mark,
    /// Whether the commit index moved since a hard state was last recorded.
    commit_unrecorded: bool,
    /// The term of the last applied entry; reads need it to be the present one.
    applied_term: u64,
}

struct InFlight {
    index: u64,
    term: u64,
    requests: Vec<Request>,
}

impl Shard {
    /// Starts from what recovery found; a sole voter becomes the leader at once.
    pub(crate) fn start(config: Config, log: LogStore, applied: u64, stamp: Timestamp) -> Shard {
        let voters = log.voters().to_vec();
        let settings = raft::Config {
            id: config.replica.0,
            election_tick: config.election_ticks,
            heartbeat_tick: 1,
            applied,
            max_size_per_msg: 1 << 20,
            max_inflight_msgs: 256,
            check_quorum: true,
            pre_vote: true,
            max_uncommitted_size: NO_LIMIT,
            max_committed_size_per_ready: NO_LIMIT,
            ..raft::Config::default()
        };
        let silent = slog::Logger::root(slog::Discard, slog::o!());
        let mut raft = RawNode::new(&settings, log, &silent)
            .expect("the settings are valid and the log store does not fail");
        if voters == [config.replica.0] {
            raft.campaign().expect("a voter may campaign");
        }
        Shard {
            config,
            raft,
            committed: Vec::new(),
            applied,
            in_flight: VecDeque::new(),
            stamp,
            handed_out: Mark(0),
            persisted: Mark(0),
            commit_unrecorded: false,
            applied_term: 0,
        }
    }

    /// Whether this replica leads the shard.
    pub fn is_leader(&self) -> bool {
        self.raft.raft.state == StateRole::Leader
    }

    /// Whether reads of the keyspace are linearizable now: this replica is the only voter, it leads,
    /// and an entry of its term is applied.
    pub fn may_read(&self) -> bool {
        self.is_leader()
            && self.applied_term == self.term()
            && self.raft.store().voters().len() == 1
    }

    /// The index of the last applied entry.
    pub fn applied(&self) -> u64 {
        self.applied
    }

    /// The present term.
    pub fn term(&self) -> u64 {
        self.raft.raft.term
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

    /// Puts the requests into one entry, stamped with `now` or the last stamp if that is later.
    /// `seed` is what the entry's commands draw their chance from. No requests make an entry that
    /// only sweeps.
    ///
    /// Where they cannot be taken, each gets its refusal in `effects`.
    pub fn propose(
        &mut self,
        now: Timestamp,
        seed: u64,
        requests: Vec<Request>,
        effects: &mut Effects,
    ) {
        if !self.is_leader() {
            Self::refuse(requests, Refusal::NotLeader, effects);
            return;
        }
        let stamp = self.stamp.max(now);
        let size: usize = requests
            .iter()
            .map(|request| request.commands.writes.len())
            .sum();
        let mut data = Vec::with_capacity(BatchHeader::SIZE + size);
        BatchHeader::new(stamp, seed).encode(&mut data);
        for request in &requests {
            data.extend_from_slice(&request.commands.writes);
        }
        match self.raft.propose(Vec::new(), data) {
            Ok(()) => {
                self.stamp = stamp;
                let (index, term) = (self.last_index(), self.term());
                self.in_flight.push_back(InFlight {
                    index,
                    term,
                    requests,
                });
            }
            // A leader drops proposals while it hands over; nothing was appended.
            Err(_) => Self::refuse(requests, Refusal::NotLeader, effects),
        }
    }

    /// Answers requests with a refusal.
    pub fn refuse(requests: Vec<Request>, refusal: Refusal, effects: &mut Effects) {
        effects
            .responses
            .extend(requests.into_iter().map(|request| {
                let mut commands = request.commands;
                commands.clear();
                Response {
                    ticket: request.ticket,
                    outcome: Err(refusal),
                    commands,
                }
            }));
    }

    /// One heartbeat has passed.
    pub fn tick(&mut self) {
        // Raft draws a timeout whenever role or term change, but looks at it in a tick alone.
        let timeout = self.election_timeout();
        self.raft.raft.set_randomized_election_timeout(timeout);
        self.raft.tick();
    }

    /// How many ticks without a leader make this replica campaign: a number from `election_ticks` to
    /// less than twice that, another one in each term.
    fn election_timeout(&self) -> usize {
        let least = self.config.election_ticks;
        least + (mixed(self.config.seed, self.term()) % least as u64) as usize
    }

    /// Gathers what is to be persisted, and what became committed.
    pub fn advance(&mut self, effects: &mut Effects) {
        while self.raft.has_ready() {
            let mut ready = self.raft.ready();
            debug_assert!(
                ready.snapshot().is_empty(),
                "only a follower is sent a snapshot"
            );
            let recorded_before = effects.records.len();
            for entry in ready.entries() {
                assert!(
                    entry.get_entry_type() == EntryType::EntryNormal,
                    "no membership change is proposed"
                );
                self.record(
                    Body::Entry {
                        term: entry.term,
                        index: entry.index,
                        payload: &entry.data,
                    },
                    effects,
                );
            }
            if let Some(hard_state) = ready.hs() {
                self.raft.mut_store().set_hard_state(hard_state.clone());
                self.commit_unrecorded = true;
            }
            // A commit index alone can wait: it is found again from the entries.
            if self.commit_unrecorded && ready.must_sync() {
                self.record_hard_state(effects);
            }
            self.raft.mut_store().append(ready.entries());
            self.committed.append(&mut ready.take_committed_entries());
            let number = ready.number();
            self.raft.advance_append_async(ready);
            if effects.records.len() > recorded_before {
                self.handed_out = Mark(number);
                effects.mark = Some(self.handed_out);
            } else if self.persisted == self.handed_out {
                self.raft.on_persist_ready(number);
            }
        }
    }

    /// All records up to `mark` are durable.
    pub fn persisted(&mut self, mark: Mark) {
        debug_assert!(mark <= self.handed_out);
        self.persisted = mark;
        self.raft.on_persist_ready(mark.0);
    }

    /// Whether [`Shard::apply`] has something to do.
    pub fn has_committed(&self) -> bool {
        !self.committed.is_empty()
    }

    /// Runs the committed entries on the keyspace, which is this shard's own.
    ///
    /// # Panics
    /// If a committed entry cannot be read: the shard must not go on with a state that differs from
    /// its log.
    pub fn apply(&mut self, keyspace: &mut Keyspace, effects: &mut Effects) {
        let mut committed = std::mem::take(&mut self.committed);
        for entry in committed.drain(..) {
            let requests = self.requests_of(&entry, effects);
            apply_entry(&entry, requests, keyspace, effects);
            self.applied = entry.index;
            self.applied_term = entry.term;
        }
        self.committed = committed;
        self.stamp = self.stamp.max(keyspace.stamp());
        self.raft.advance_apply_to(self.applied);
        if self.raft.store().voters().len() == 1 {
            // Nobody else will ask for these entries.
            self.raft.mut_store().compact(self.applied);
        }
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

    /// The state of the keyspace right now is that after this entry.
    pub fn snapshot_meta(&self) -> SnapshotMeta {
        let log = self.raft.store();
        let term =
            raft::Storage::term(log, self.applied).expect("the applied entry's term is kept");
        SnapshotMeta {
            term,
            index: self.applied,
            voters: log.voters().to_vec(),
        }
    }

    /// The requests that made the entry, if it was proposed here. Requests of entries that another
    /// leader's entry replaced are answered with a refusal.
    fn requests_of(&mut self, entry: &Entry, effects: &mut Effects) -> Vec<Request> {
        while let Some(first) = self.in_flight.front() {
            if first.index > entry.index {
                break;
            }
            let first = self.in_flight.pop_front().expect("it was just looked at");
            if first.index == entry.index && first.term == entry.term {
                return first.requests;
            }
            Self::refuse(first.requests, Refusal::NotLeader, effects);
        }
        Vec::new()
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

/// SplitMix64: the number at that place of the sequence that the seed begins.
fn mixed(seed: u64, place: u64) -> u64 {
    let value = seed.wrapping_add(place.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

/// Runs one entry. `requests` are those that it was made of, or none on a replica that did not
/// propose it; the keyspace ends up the same either way.
pub(crate) fn apply_entry(
    entry: &Entry,
    requests: Vec<Request>,
    keyspace: &mut Keyspace,
    effects: &mut Effects,
) {
    if entry.data.is_empty() {
        // A new leader's first entry.
        debug_assert!(requests.is_empty());
        return;
    }
    let mut bytes: &[u8] = &entry.data;
    let header = BatchHeader::decode(&mut bytes)
        .unwrap_or_else(|error| panic!("log entry {} cannot be applied: {error}", entry.index));
    keyspace.set_stamp(header.stamp);
    let mut batch = Batch::new(header, bytes, entry.index);
    for request in requests {
        let Request {
            ticket,
            mut commands,
        } = request;
        let mut reads: &[u8] = &commands.reads;
        let mut replies = Vec::with_capacity(commands.len());
        let mut reply_bytes = 0;
        let mut read_args = Vec::new();
        for access in &commands.order {
            let full = reply_bytes > Response::LIMIT_BYTES;
            let reply = match access {
                Access::Write => batch.apply_next(keyspace, effects),
                Access::Read if full => continue,
                Access::Read => run_read(&mut reads, &mut read_args, keyspace, header),
            };
            if !full {
                reply_bytes += reply.size_bytes();
                replies.push(reply);
            }
        }
        commands.clear();
        effects.responses.push(Response {
            ticket,
            outcome: Ok(replies),
            commands,
        });
    }
    while !batch.is_empty() {
        batch.apply_next(keyspace, effects);
    }
    keyspace.sweep(SWEEP_LIMIT);
}

/// The commands of an entry that are still to run.
struct Batch<'e> {
    header: BatchHeader,
    index: u64,
    /// How many have run.
    position: u64,
    /// Those that are not decoded yet.
    bytes: &'e [u8],
    /// The next ones, decoded together so that the memory of their keys is asked for together.
    decoded: Vec<Decoded>,
    next: usize,
    /// The arguments of all that are decoded.
    args: Vec<&'e [u8]>,
}

struct Decoded {
    command: &'static Command,
    db: Db,
    args: Range<usize>,
}

/// So many commands are decoded together.
const DECODE_AT_ONCE: usize = 16;

impl<'e> Batch<'e> {
    fn new(header: BatchHeader, bytes: &'e [u8], index: u64) -> Batch<'e> {
        let (decoded, args) = (Vec::with_capacity(DECODE_AT_ONCE), Vec::new());
        Batch {
            header,
            index,
            position: 0,
            bytes,
            decoded,
            next: 0,
            args,
        }
    }

    fn is_empty(&self) -> bool {
        self.next == self.decoded.len() && self.bytes.is_empty()
    }

    fn apply_next(&mut self, keyspace: &mut Keyspace, effects: &mut Effects) -> Reply<'static> {
        if self.next == self.decoded.len() {
            self.decode_some(keyspace);
        }
        let Decoded {
            command,
            db,
            ref args,
        } = self.decoded[self.next];
        self.next += 1;
        // Commands of one entry must not all draw the same chance.
        let seed = self
            .header
            .seed
            .wrapping_add(self.position.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        self.position += 1;
        let context = WriteContext {
            db,
            stamp: self.header.stamp,
            seed,
        };
        let Applied { reply, discarded } =
            apply(keyspace, command, &self.args[args.clone()], context);
        effects
            .discarded
            .extend(discarded.map(|discarded| *discarded));
        reply
    }

    fn decode_some(&mut self, keyspace: &Keyspace) {
        self.decoded.clear();
        self.args.clear();
        self.next = 0;
        let mut of_one = Vec::new();
        while self.decoded.len() < DECODE_AT_ONCE && !self.bytes.is_empty() {
            let (command, db) = decode(&mut self.bytes, &mut of_one).unwrap_or_else(|error| {
                panic!("log entry {} cannot be applied: {error}", self.index)
            });
            let start = self.args.len();
            self.args.extend_from_slice(&of_one);
            self.decoded.push(Decoded {
                command,
                db,
                args: start..self.args.len(),
            });
        }
        if self.decoded.len() > 1 {
            let first_keys = self.decoded.iter().filter(|decoded| decoded.args.len() > 1);
            keyspace.prefetch(
                first_keys.map(|decoded| (decoded.db, self.args[decoded.args.start + 1])),
            );
        }
    }
}

fn run_read<'r>(
    reads: &mut &'r [u8],
    args: &mut Vec<&'r [u8]>,
    keyspace: &Keyspace,
    header: BatchHeader,
) -> Reply<'static> {
    args.clear();
    let (command, db) = decode(reads, args).expect("the session encoded it");
    let Handler::Read(run) = command.handler else {
        unreachable!("only reads are put among the reads");
    };
    run(
        keyspace,
        args,
        ReadContext {
            db,
            now: header.stamp,
            random: header.seed,
        },
    )
    .into_owned()
}

#[cfg(test)]
mod tests;
