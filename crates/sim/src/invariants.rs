//! What must hold, whatever goes wrong. One property per file; [`Witness`] sees all of the cluster, which no
//! node does, and hands each what it needs.
//!
//! All is learned from outside: from the records that replicas hand to their logs, from what they say of
//! themselves after each turn, and from their state.

mod acknowledged;
mod election_safety;
mod expiry;
mod leader_completeness;
mod leases;
mod log_matching;
mod monotonic;
mod one_cluster;
mod replica_identity;
mod state_machine;

pub use self::state_machine::digest as state_digest;

use std::collections::BTreeMap;
use std::fmt;
use std::rc::Rc;
use std::time::Duration;

use base::{ClusterId, ReplicaId, ShardId};
use keyspace::Keyspace;
use shard::Shard;
use wal::{Body, Record};

use crate::history::History;
use crate::linearizability::{self, Verdict};
use crate::network::Machine;

/// A promise that was broken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Which.
    pub invariant: Invariant,
    /// What was seen.
    pub text: String,
}

/// The promises.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Invariant {
    /// There is one leader per term.
    ElectionSafety,
    /// Logs that agree on an entry agree on all before it.
    LogMatching,
    /// A leader has all that was committed.
    LeaderCompleteness,
    /// Nobody leads while one who led before has a lease.
    Leases,
    /// Replicas apply the same entries and come to the same state.
    StateMachineSafety,
    /// Term, vote, commit and applied index never go back.
    Monotonic,
    /// A replica's id is never used by another copy.
    ReplicaIdentity,
    /// There is one cluster per list of hosts.
    OneCluster,
    /// What was acknowledged is committed, once; what was refused is not.
    Acknowledged,
    /// No key expires early, and what was gone is not seen again.
    Expiry,
    /// Clients cannot tell the cluster from one copy that does one thing at a time.
    Linearizability,
    /// After the faults, leaders are elected and replicas become equal.
    Liveness,
    /// A node starts on any disk that it left, unless what was on it rotted.
    Startup,
    /// Nothing panics.
    Panic,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.invariant, self.text)
    }
}

/// Fails the run for that reason.
pub fn violated<T>(invariant: Invariant, text: String) -> Result<T, Violation> {
    Err(Violation { invariant, text })
}

/// A copy of a shard, as all others know it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ReplicaKey {
    /// The shard.
    pub shard: ShardId,
    /// The replica.
    pub replica: ReplicaId,
}

/// An entry as the witness remembers it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) term: u64,
    pub(crate) payload: Rc<[u8]>,
}

/// What was seen of a replica.
#[derive(Debug, Default)]
pub(crate) struct ReplicaLog {
    /// The last entry of which only the place is known; those before are in a snapshot.
    pub(crate) base: (u64, u64),
    /// The entries after it, as they were handed to the log.
    pub(crate) entries: BTreeMap<u64, Entry>,
}

impl ReplicaLog {
    fn term(&self, index: u64) -> Option<u64> {
        if index == self.base.0 {
            return Some(self.base.1);
        }
        self.entries.get(&index).map(|entry| entry.term)
    }
}

/// Sees everything.
#[derive(Debug, Default)]
pub struct Witness {
    logs: BTreeMap<ReplicaKey, ReplicaLog>,
    election: election_safety::ElectionSafety,
    matching: log_matching::LogMatching,
    machine: state_machine::StateMachine,
    monotonic: monotonic::Monotonic,
    identities: replica_identity::ReplicaIdentity,
    leases: leases::Leases,
    clusters: one_cluster::OneCluster,
}

/// Where a replica lives: which disk of which machine, and which process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Home {
    /// The machine.
    pub machine: Machine,
    /// How many disks it had before.
    pub disk: u32,
    /// The process, counted over the whole run.
    pub process: u64,
}

impl Witness {
    /// A replica hands records to its log.
    ///
    /// # Errors
    /// [`Violation`]; so do all others here.
    pub fn records(&mut self, mut bytes: &[u8]) -> Result<(), Violation> {
        while !bytes.is_empty() {
            let Ok(record) = Record::decode(&mut bytes) else {
                return violated(Invariant::Panic, "a record cannot be read".into());
            };
            let key = ReplicaKey {
                shard: record.shard,
                replica: record.replica,
            };
            let log = self.logs.entry(key).or_default();
            match record.body {
                Body::Entry {
                    term,
                    index,
                    payload,
                } => {
                    log.entries.split_off(&index);
                    let before = log.term(index - 1);
                    self.matching.entry(key, index, term, payload, before)?;
                    let payload = payload.into();
                    log.entries.insert(index, Entry { term, payload });
                }
                Body::Truncate { index } => {
                    log.entries.split_off(&index);
                }
                // A snapshot of this replica's own log leaves what comes after it.
                Body::Snapshot { term, index } if log.term(index) != Some(term) => {
                    log.entries.clear();
                    log.base = (index, term);
                }
                Body::Forget => {
                    self.logs.remove(&key);
                }
                Body::HardState { .. }
                | Body::Snapshot { .. }
                | Body::Purge { .. }
                | Body::Other { .. } => {}
            }
        }
        Ok(())
    }

    /// Hard states of these records are durable: what a node said because of them may have been heard.
    pub fn durable(&mut self, records: &[u8]) {
        self.monotonic.durable(records);
    }

    /// A replica comes up: the records that were not durable may be gone.
    ///
    /// # Errors
    /// As above.
    pub fn started(&mut self, shard: &Shard, home: Home) -> Result<(), Violation> {
        let key = key_of(shard);
        self.identities.seen(key, home)?;
        let log = self.logs.entry(key).or_default();
        log.entries.split_off(&(shard.last_index() + 1));
        // A cut tail may have hidden older entries that it contradicted: what the replica has counts.
        for index in log.base.0 + 1..=shard.last_index() {
            if let Some((term, payload)) = shard.entry(index) {
                let known = log.entries.get(&index);
                if known.is_none_or(|known| known.term != term || *known.payload != *payload) {
                    let before = log.term(index - 1);
                    self.matching.entry(key, index, term, payload, before)?;
                    let payload = payload.into();
                    log.entries.insert(index, Entry { term, payload });
                }
            }
        }
        self.monotonic.started(key, shard)
    }

    /// A replica has taken a turn.
    ///
    /// # Errors
    /// As above.
    pub fn turned(
        &mut self,
        shard: &Shard,
        keyspace: &Keyspace,
        home: Home,
    ) -> Result<(), Violation> {
        let key = key_of(shard);
        let Some(before) = self.monotonic.turned(key, shard, home)? else {
            return Ok(());
        };
        if before.process != home.process || before.applied == 0 {
            self.identities.seen(key, home)?;
        }
        if shard.is_leader() {
            let is_new = self.election.leads(key, shard.term())?;
            if is_new {
                leader_completeness::check(shard, self.logs.get(&key), &self.machine)?;
            }
        }
        if shard.applied() != before.applied {
            let log = self.logs.entry(key).or_default();
            self.machine
                .applied(key, log, before.applied, shard, keyspace)?;
        }
        Ok(())
    }

    /// A replica has taken a turn at `now` and has a lease until then, both in true time.
    ///
    /// # Errors
    /// As above.
    pub fn lease(
        &mut self,
        shard: &Shard,
        until: Duration,
        now: Duration,
    ) -> Result<(), Violation> {
        let leads = (shard.term(), shard.is_leader());
        self.leases.turned(key_of(shard), leads, until, now)
    }

    /// A leader has read for a client without asking anybody.
    ///
    /// # Errors
    /// As above.
    pub fn read(&self, shard: &Shard) -> Result<(), Violation> {
        self.leases.read(key_of(shard), shard.term())
    }

    /// A node has a cluster.
    ///
    /// # Errors
    /// As above.
    pub fn belongs(&mut self, machine: Machine, cluster: ClusterId) -> Result<(), Violation> {
        self.clusters.belongs(machine, cluster)
    }

    /// How many entries were committed, in all shards.
    pub fn committed(&self) -> u64 {
        self.machine.committed()
    }

    /// All is over.
    ///
    /// # Errors
    /// As above.
    pub fn finished(
        &self,
        history: &History,
        shards: u32,
        clock_error: Duration,
    ) -> Result<Finished, Violation> {
        acknowledged::check(history, &self.machine, shards)?;
        let mut finished = Finished::default();
        for key in history.keys() {
            let calls = history.of_key(key);
            expiry::check(&calls, clock_error)?;
            match linearizability::check(&calls, clock_error) {
                Verdict::Linearizable => finished.decided += 1,
                Verdict::Undecided => finished.undecided += 1,
                Verdict::Violated { explained, known } => {
                    return violated(
                        Invariant::Linearizability,
                        format!(
                            "of {known} operations on key {key}, {explained} at the most can be \
                             explained by one copy"
                        ),
                    );
                }
            }
        }
        Ok(finished)
    }
}

/// What was found at the end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Finished {
    /// Keys whose history was judged.
    pub decided: u32,
    /// Keys whose history would have taken too long.
    pub undecided: u32,
}

fn key_of(shard: &Shard) -> ReplicaKey {
    ReplicaKey {
        shard: shard.id(),
        replica: shard.replica(),
    }
}
