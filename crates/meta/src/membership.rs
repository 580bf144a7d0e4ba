//! Which replicas a shard has, on which nodes, and which of them vote.

use base::{NodeId, ReplicaId};

use crate::field::{self, DecodeError, Fields, put_list, put_u64, put_value};

/// What a replica is to its shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// It counts for majorities and may lead.
    Voter,
    /// It receives the log and counts for nothing.
    Learner,
}

impl Role {
    pub(crate) fn put(self, out: &mut Vec<u8>) {
        out.push(match self {
            Role::Voter => 1,
            Role::Learner => 2,
        });
    }

    pub(crate) fn read(fields: &mut Fields<'_>) -> Result<Role, DecodeError> {
        match fields.u8("role")? {
            1 => Ok(Role::Voter),
            2 => Ok(Role::Learner),
            found => Err(DecodeError::Kind {
                what: "role",
                found,
            }),
        }
    }
}

/// One replica of a shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Member {
    /// The replica.
    pub replica: ReplicaId,
    /// The node that has it.
    pub node: NodeId,
    /// Whether it votes.
    pub role: Role,
}

/// The replicas of a shard, sorted by id, each id once.
///
/// # Layout
/// Version 1.0: the number of members u32, and for each a record of replica u64, node u64, role u8
/// (1 voter, 2 learner).
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Membership(Vec<Member>);

const VERSION: (u16, u16) = (1, 0);
const WHAT: &str = "membership of a shard";

impl Membership {
    /// These members, in any order.
    ///
    /// # Panics
    /// If two have the same replica id.
    pub fn new(members: impl IntoIterator<Item = Member>) -> Membership {
        let mut members: Vec<Member> = members.into_iter().collect();
        members.sort_by_key(|member| member.replica);
        assert!(
            members
                .windows(2)
                .all(|pair| pair[0].replica < pair[1].replica),
            "a replica is twice in a membership"
        );
        Membership(members)
    }

    /// All members, lowest replica first.
    pub fn members(&self) -> &[Member] {
        &self.0
    }

    /// The members that vote.
    pub fn voters(&self) -> impl Iterator<Item = &Member> {
        self.0.iter().filter(|member| member.role == Role::Voter)
    }

    /// The members that do not vote.
    pub fn learners(&self) -> impl Iterator<Item = &Member> {
        self.0.iter().filter(|member| member.role == Role::Learner)
    }

    /// The member of that replica.
    pub fn get(&self, replica: ReplicaId) -> Option<&Member> {
        let found = self
            .0
            .binary_search_by_key(&replica, |member| member.replica);
        found.ok().map(|at| &self.0[at])
    }

    /// The member on that node. Should it have several, which no plan brings about, the newest.
    pub fn of_node(&self, node: NodeId) -> Option<&Member> {
        self.0.iter().rev().find(|member| member.node == node)
    }

    /// Adds the member, or replaces the one with its replica id.
    pub fn insert(&mut self, member: Member) {
        match self
            .0
            .binary_search_by_key(&member.replica, |member| member.replica)
        {
            Ok(at) => self.0[at] = member,
            Err(at) => self.0.insert(at, member),
        }
    }

    /// Removes and gives the member of that replica, if there is one.
    pub fn remove(&mut self, replica: ReplicaId) -> Option<Member> {
        let found = self
            .0
            .binary_search_by_key(&replica, |member| member.replica);
        found.ok().map(|at| self.0.remove(at))
    }

    /// Appends the encoded form.
    pub fn encode(&self, out: &mut Vec<u8>) {
        put_value(out, VERSION, |out| {
            put_list(out, self.0.iter(), |out, member| {
                put_u64(out, member.replica.0);
                put_u64(out, member.node.0);
                member.role.put(out);
            });
        });
    }

    /// Reads a membership that is all of `bytes`.
    ///
    /// # Errors
    /// [`DecodeError`].
    pub fn decode(bytes: &[u8]) -> Result<Membership, DecodeError> {
        field::whole(bytes, WHAT, Membership::decode_front)
    }

    /// Reads a membership from the front of `bytes`, and gives how many of them it has.
    ///
    /// # Errors
    /// [`DecodeError`].
    pub fn decode_front(bytes: &[u8]) -> Result<(Membership, usize), DecodeError> {
        let (mut fields, length) = Fields::of_value(bytes, VERSION.0, WHAT)?;
        let mut members: Vec<Member> = Vec::new();
        fields.list("member", |fields| {
            let member = Member {
                replica: ReplicaId(fields.id("replica")?),
                node: NodeId(fields.id("node")?),
                role: Role::read(fields)?,
            };
            if members
                .last()
                .is_some_and(|last| last.replica >= member.replica)
            {
                return Err(DecodeError::Value("order of members"));
            }
            members.push(member);
            Ok(())
        })?;
        Ok((Membership(members), length))
    }
}
