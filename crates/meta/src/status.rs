//! What each node tells all others of itself and of its replicas, about once a second.

use base::{Incarnation, ReplicaId, ShardId};

use crate::Membership;
use crate::field::{self, DecodeError, Fields, put_list, put_record, put_u32, put_u64, put_value};

/// The state of a node, as it says itself.
///
/// # Layout
/// Version 1.0: epoch u64, incarnation u64, disk free u64, disk total u64, memory u64, refuses writes u8, then
/// the list of replicas.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeStatus {
    /// The epoch of the newest map that it has; 0 without one.
    pub epoch: u64,
    /// Its incarnation.
    pub incarnation: Incarnation,
    /// Bytes that its data folder's disk has left.
    pub disk_free_bytes: u64,
    /// Bytes of that disk.
    pub disk_total_bytes: u64,
    /// Bytes of memory that the process holds.
    pub memory_bytes: u64,
    /// Whether its log takes no more, as its disk is full.
    pub refuses_writes: bool,
    /// Its replicas, each once, sorted by shard and replica.
    pub replicas: Vec<ReplicaStatus>,
}

/// The state of a replica, as its node sees it.
///
/// # Layout
/// A record: shard u32, replica u64, flags u8 (1 leads, 2 a leader is known, 4 with membership, 8 a change
/// is pending), leader u64, term u64, last u64, commit u64, applied u64, the membership as a record (empty
/// without one), then the list of progress: replica u64, matched u64, active u8.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplicaStatus {
    /// The shard.
    pub shard: ShardId,
    /// The replica.
    pub replica: ReplicaId,
    /// Whether it leads the shard.
    pub leads: bool,
    /// Whom it believes to lead.
    pub leader: Option<ReplicaId>,
    /// Its term.
    pub term: u64,
    /// The index of the last entry of its log.
    pub last: u64,
    /// The index of the last entry that it knows to be committed.
    pub commit: u64,
    /// The index of the last entry that it applied.
    pub applied: u64,
    /// The members of the shard as of that entry, if it leads.
    pub membership: Option<Membership>,
    /// How far the replicas are, if it leads.
    pub progress: Vec<ReplicaProgress>,
    /// Whether a change of members is under way, if it leads.
    pub change_pending: bool,
}

/// How far a replica is, as its leader sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReplicaProgress {
    /// The replica.
    pub replica: ReplicaId,
    /// The index up to which its log is known to be the leader's.
    pub matched: u64,
    /// Whether it answered lately.
    pub active: bool,
}

const VERSION: (u16, u16) = (1, 0);
const WHAT: &str = "status of a node";

const LEADS: u8 = 1;
const HAS_LEADER: u8 = 2;
const HAS_MEMBERSHIP: u8 = 4;
const CHANGE_PENDING: u8 = 8;

impl NodeStatus {
    /// Whether its disk has so little room that it should get no further replicas: less than a twentieth of it, and
    /// less than a GiB, which is many segments of the log.
    pub fn is_nearly_full(&self) -> bool {
        const ENOUGH: u64 = 1 << 30;
        self.disk_free_bytes < (self.disk_total_bytes / 20).min(ENOUGH)
    }

    /// Appends the encoded form.
    pub fn encode(&self, out: &mut Vec<u8>) {
        put_value(out, VERSION, |out| {
            put_u64(out, self.epoch);
            put_u64(out, self.incarnation.0);
            put_u64(out, self.disk_free_bytes);
            put_u64(out, self.disk_total_bytes);
            put_u64(out, self.memory_bytes);
            out.push(u8::from(self.refuses_writes));
            put_list(out, self.replicas.iter(), |out, replica| replica.put(out));
        });
    }

    /// Reads a status that is all of `bytes`.
    ///
    /// # Errors
    /// [`DecodeError`].
    pub fn decode(bytes: &[u8]) -> Result<NodeStatus, DecodeError> {
        field::whole(bytes, WHAT, NodeStatus::decode_front)
    }

    /// Reads a status from the front of `bytes`, and gives how many of them it has.
    ///
    /// # Errors
    /// [`DecodeError`].
    pub fn decode_front(bytes: &[u8]) -> Result<(NodeStatus, usize), DecodeError> {
        let (mut fields, length) = Fields::of_value(bytes, VERSION.0, WHAT)?;
        let mut status = NodeStatus {
            epoch: fields.u64("epoch")?,
            incarnation: Incarnation(fields.u64("incarnation")?),
            disk_free_bytes: fields.u64("free disk")?,
            disk_total_bytes: fields.u64("size of the disk")?,
            memory_bytes: fields.u64("memory")?,
            refuses_writes: fields.bool("whether writes are refused")?,
            replicas: Vec::new(),
        };
        fields.list("status of a replica", |fields| {
            status.replicas.push(ReplicaStatus::read(fields)?);
            Ok(())
        })?;
        let key = |replica: &ReplicaStatus| (replica.shard, replica.replica);
        if status
            .replicas
            .windows(2)
            .any(|pair| key(&pair[0]) >= key(&pair[1]))
        {
            return Err(DecodeError::Value("order of replicas"));
        }
        Ok((status, length))
    }
}

impl ReplicaStatus {
    fn put(&self, out: &mut Vec<u8>) {
        put_u32(out, self.shard.0);
        put_u64(out, self.replica.0);
        let flags = [
            (self.leads, LEADS),
            (self.leader.is_some(), HAS_LEADER),
            (self.membership.is_some(), HAS_MEMBERSHIP),
            (self.change_pending, CHANGE_PENDING),
        ];
        out.push(
            flags
                .iter()
                .filter(|(set, _)| *set)
                .fold(0, |all, (_, flag)| all | flag),
        );
        put_u64(out, self.leader.map_or(0, |leader| leader.0));
        put_u64(out, self.term);
        put_u64(out, self.last);
        put_u64(out, self.commit);
        put_u64(out, self.applied);
        put_record(out, |out| {
            if let Some(membership) = &self.membership {
                membership.encode(out);
            }
        });
        put_list(out, self.progress.iter(), |out, progress| {
            put_u64(out, progress.replica.0);
            put_u64(out, progress.matched);
            out.push(u8::from(progress.active));
        });
    }

    fn read(fields: &mut Fields<'_>) -> Result<ReplicaStatus, DecodeError> {
        let shard = ShardId(fields.u32("shard id")?);
        let replica = ReplicaId(fields.id("replica id")?);
        let flags = fields.u8("flags of a replica")?;
        let leader = ReplicaId(fields.u64("leader")?);
        let mut status = ReplicaStatus {
            shard,
            replica,
            leads: flags & LEADS != 0,
            leader: (flags & HAS_LEADER != 0).then_some(leader),
            term: fields.u64("term")?,
            last: fields.u64("last index")?,
            commit: fields.u64("commit index")?,
            applied: fields.u64("applied index")?,
            membership: None,
            progress: Vec::new(),
            change_pending: flags & CHANGE_PENDING != 0,
        };
        let membership = fields.record("membership of a shard")?;
        if flags & HAS_MEMBERSHIP != 0 {
            status.membership = Some(Membership::decode(membership.rest())?);
        }
        fields.list("progress of a replica", |fields| {
            status.progress.push(ReplicaProgress {
                replica: ReplicaId(fields.id("replica id")?),
                matched: fields.u64("matched index")?,
                active: fields.bool("whether a replica is active")?,
            });
            Ok(())
        })?;
        Ok(status)
    }
}
