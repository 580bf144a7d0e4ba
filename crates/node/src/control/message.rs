//! What the controls of two nodes say to each other.

use base::{ClusterId, Incarnation, NodeId, ReplicaId, ShardId};
use meta::field::{Fields, put_list, put_record, put_text, put_u32, put_u64};
use meta::{ClusterMap, DecodeError, Founder, NodeStatus};

use super::action::ShardOrder;
use super::admin::AdminCommand;
use super::proposal::Proposal;

/// The most hosts of a list.
pub(super) const HOSTS_MAX: usize = 1024;
/// The most bytes of a name, of an address, or of a host.
const NAME_MAX_BYTES: usize = 512;
/// The most bytes of a text for people.
const TEXT_MAX_BYTES: usize = 4096;

/// A message. Any of them may get lost, and whoever sends one says it again while it matters.
///
/// # Layout
/// A kind u8 and a record (see [`meta::field`]) of the fields of that kind in their order. Later minor
/// versions append fields; a kind that is not known is passed over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Message {
    /// 1: what a node without a cluster tells of itself.
    Hosts(Introduction),
    /// 2: the sender agreed to this proposal.
    Proposal(Proposal),
    /// 3: the sender agreed to the proposal of that cluster.
    Accepted { cluster: ClusterId },
    /// 4: the sender does not agree to it, at least not now.
    Declined { cluster: ClusterId, why: String },
    /// 5: a node wants to join, or to have what the map says of it brought up to date.
    Join(Founder),
    /// 6: the receiver belongs to the cluster of this map.
    Joined(ClusterMap),
    /// 7: a node cannot join.
    NotJoined {
        node: NodeId,
        /// It never will.
        forever: bool,
        why: String,
    },
    /// 8: how the sender is doing.
    Status(NodeStatus),
    /// 9: a map that the receiver lacks.
    Map(ClusterMap),
    /// 10: what the leader of shard 0 wants of a shard that the receiver leads.
    Order {
        /// In which the sender leads shard 0.
        term: u64,
        shard: ShardId,
        order: ShardOrder,
    },
    /// 11: an operator's command, for the leader of shard 0.
    Command { id: u64, command: AdminCommand },
    /// 12: its answer.
    Answer {
        id: u64,
        answer: Result<String, String>,
    },
}

/// What a node without a cluster tells of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Introduction {
    /// What goes into the map that it may be founded with.
    pub(super) local: Founder,
    /// Whether it has found itself among its hosts.
    pub(super) is_founder: bool,
    /// Its hosts, sorted, each once.
    pub(super) hosts: Vec<String>,
    /// The cluster that it has agreed to found.
    pub(super) agreed: Option<ClusterId>,
}

impl Message {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = vec![self.kind()];
        put_record(&mut out, |out| self.put(out));
        out
    }

    fn kind(&self) -> u8 {
        match self {
            Message::Hosts(_) => 1,
            Message::Proposal(_) => 2,
            Message::Accepted { .. } => 3,
            Message::Declined { .. } => 4,
            Message::Join(_) => 5,
            Message::Joined(_) => 6,
            Message::NotJoined { .. } => 7,
            Message::Status(_) => 8,
            Message::Map(_) => 9,
            Message::Order { .. } => 10,
            Message::Command { .. } => 11,
            Message::Answer { .. } => 12,
        }
    }

    fn put(&self, out: &mut Vec<u8>) {
        match self {
            Message::Hosts(introduction) => {
                put_founder(out, &introduction.local);
                out.push(u8::from(introduction.is_founder));
                put_hosts(out, &introduction.hosts);
                put_u64(out, introduction.agreed.map_or(0, |cluster| cluster.0));
            }
            Message::Proposal(proposal) => proposal.encode(out),
            Message::Accepted { cluster } => put_u64(out, cluster.0),
            Message::Declined { cluster, why } => {
                put_u64(out, cluster.0);
                put_cut(out, why);
            }
            Message::Join(founder) => put_founder(out, founder),
            Message::Joined(map) | Message::Map(map) => map.encode(out),
            Message::NotJoined { node, forever, why } => {
                put_u64(out, node.0);
                out.push(u8::from(*forever));
                put_cut(out, why);
            }
            Message::Status(status) => status.encode(out),
            Message::Order { term, shard, order } => {
                put_u64(out, *term);
                put_u32(out, shard.0);
                put_order(out, order);
            }
            Message::Command { id, command } => {
                put_u64(out, *id);
                put_command(out, command);
            }
            Message::Answer { id, answer } => {
                put_u64(out, *id);
                out.push(u8::from(answer.is_ok()));
                let (Ok(text) | Err(text)) = answer;
                put_text(out, text);
            }
        }
    }

    /// Reads a message; `None` if it is of a kind that is not known.
    pub(super) fn decode(bytes: &[u8]) -> Result<Option<Message>, DecodeError> {
        const WHAT: &str = "message";
        let (&kind, rest) = bytes.split_first().ok_or(DecodeError::Short(WHAT))?;
        let mut fields = Fields::of_record(rest, WHAT)?;
        Ok(Some(match kind {
            1 => Message::Hosts(Introduction {
                local: read_founder(&mut fields)?,
                is_founder: fields.bool("founder")?,
                hosts: read_hosts(&mut fields)?,
                agreed: match fields.u64("cluster id")? {
                    0 => None,
                    id => Some(ClusterId(id)),
                },
            }),
            2 => Message::Proposal(Proposal::decode_front(fields.rest())?),
            3 => Message::Accepted {
                cluster: ClusterId(fields.id("cluster id")?),
            },
            4 => Message::Declined {
                cluster: ClusterId(fields.id("cluster id")?),
                why: read_text(&mut fields, TEXT_MAX_BYTES, "reason")?,
            },
            5 => Message::Join(read_founder(&mut fields)?),
            6 => Message::Joined(ClusterMap::decode_front(fields.rest())?.0),
            7 => Message::NotJoined {
                node: NodeId(fields.id("node id")?),
                forever: fields.bool("whether for ever")?,
                why: read_text(&mut fields, TEXT_MAX_BYTES, "reason")?,
            },
            8 => Message::Status(NodeStatus::decode_front(fields.rest())?.0),
            9 => Message::Map(ClusterMap::decode_front(fields.rest())?.0),
            10 => Message::Order {
                term: fields.u64("term")?,
                shard: ShardId(fields.u32("shard")?),
                order: read_order(&mut fields)?,
            },
            11 => Message::Command {
                id: fields.u64("id of a command")?,
                command: read_command(&mut fields)?,
            },
            12 => Message::Answer {
                id: fields.u64("id of a command")?,
                answer: match fields.bool("whether it was done")? {
                    true => Ok(fields.text("answer")?),
                    false => Err(fields.text("answer")?),
                },
            },
            _ => return Ok(None),
        }))
    }
}

/// As it stands in the folder: see [`Proposal::encode`].
pub(super) fn put_hosts(out: &mut Vec<u8>, hosts: &[String]) {
    put_list(out, hosts.iter(), |out, host| put_text(out, host));
}

pub(super) fn read_hosts(fields: &mut Fields<'_>) -> Result<Vec<String>, DecodeError> {
    let mut hosts = Vec::new();
    fields.list("host", |fields| {
        if hosts.len() == HOSTS_MAX {
            return Err(DecodeError::Value("number of hosts"));
        }
        hosts.push(read_text(fields, NAME_MAX_BYTES, "host")?);
        Ok(())
    })?;
    Ok(hosts)
}

fn put_founder(out: &mut Vec<u8>, founder: &Founder) {
    put_record(out, |out| {
        put_u64(out, founder.node.0);
        put_u64(out, founder.incarnation.0);
        for text in [
            &founder.name,
            &founder.address,
            &founder.redis,
            &founder.version,
        ] {
            put_text(out, text);
        }
        put_u32(out, founder.formats);
    });
}

fn read_founder(fields: &mut Fields<'_>) -> Result<Founder, DecodeError> {
    let mut fields = fields.record("node")?;
    Ok(Founder {
        node: NodeId(fields.id("node id")?),
        incarnation: Incarnation(fields.id("incarnation")?),
        name: read_text(&mut fields, NAME_MAX_BYTES, "name")?,
        address: read_text(&mut fields, NAME_MAX_BYTES, "address")?,
        redis: read_text(&mut fields, NAME_MAX_BYTES, "address for clients")?,
        version: read_text(&mut fields, NAME_MAX_BYTES, "version")?,
        formats: fields.u32("formats")?,
    })
}

/// A text that may be shown to people: it forges no lines of a log.
fn read_text(
    fields: &mut Fields<'_>,
    most_bytes: usize,
    field: &'static str,
) -> Result<String, DecodeError> {
    let text = fields.text(field)?;
    if text.len() > most_bytes || text.chars().any(char::is_control) {
        return Err(DecodeError::Value(field));
    }
    Ok(text)
}

fn put_cut(out: &mut Vec<u8>, text: &str) {
    put_text(out, &text[..text.floor_char_boundary(TEXT_MAX_BYTES)]);
}

/// # Panics
/// For an order that is no matter of other nodes.
fn put_order(out: &mut Vec<u8>, order: &ShardOrder) {
    let (kind, replica) = match *order {
        ShardOrder::AddLearner { replica, .. } => (1, replica),
        ShardOrder::Promote { replica } => (2, replica),
        ShardOrder::Remove { replica } => (3, replica),
        ShardOrder::Lead { to } => (4, to),
        ShardOrder::Create { .. }
        | ShardOrder::Destroy { .. }
        | ShardOrder::Change { .. }
        | ShardOrder::Hint { .. }
        | ShardOrder::Placed(_) => panic!("{order:?} is for this node alone"),
    };
    out.push(kind);
    put_u64(out, replica.0);
    if let ShardOrder::AddLearner { node, .. } = order {
        put_u64(out, node.0);
    }
}

fn read_order(fields: &mut Fields<'_>) -> Result<ShardOrder, DecodeError> {
    let kind = fields.u8("kind of order")?;
    let replica = ReplicaId(fields.id("replica id")?);
    Ok(match kind {
        1 => ShardOrder::AddLearner {
            replica,
            node: NodeId(fields.id("node id")?),
        },
        2 => ShardOrder::Promote { replica },
        3 => ShardOrder::Remove { replica },
        4 => ShardOrder::Lead { to: replica },
        found => {
            return Err(DecodeError::Kind {
                what: "order",
                found,
            });
        }
    })
}

/// # Panics
/// For the status, which every node tells itself.
fn put_command(out: &mut Vec<u8>, command: &AdminCommand) {
    match command {
        AdminCommand::Status => panic!("the status is for this node alone"),
        AdminCommand::NodeRemove(node) => {
            out.push(1);
            put_text(out, node);
        }
        AdminCommand::NodeDrain(node) => {
            out.push(2);
            put_text(out, node);
        }
        AdminCommand::NodeUndrain(node) => {
            out.push(3);
            put_text(out, node);
        }
        AdminCommand::ShardMove { shard, from, to } => {
            out.push(4);
            put_u32(out, shard.0);
            put_text(out, from);
            put_text(out, to);
        }
        AdminCommand::ShardLead { shard, node } => {
            out.push(5);
            put_u32(out, shard.0);
            put_text(out, node);
        }
    }
}

fn read_command(fields: &mut Fields<'_>) -> Result<AdminCommand, DecodeError> {
    let kind = fields.u8("kind of command")?;
    let node = |fields: &mut Fields<'_>| read_text(fields, NAME_MAX_BYTES, "node");
    Ok(match kind {
        1 => AdminCommand::NodeRemove(node(fields)?),
        2 => AdminCommand::NodeDrain(node(fields)?),
        3 => AdminCommand::NodeUndrain(node(fields)?),
        4 => AdminCommand::ShardMove {
            shard: ShardId(fields.u32("shard")?),
            from: node(fields)?,
            to: node(fields)?,
        },
        5 => AdminCommand::ShardLead {
            shard: ShardId(fields.u32("shard")?),
            node: node(fields)?,
        },
        found => {
            return Err(DecodeError::Kind {
                what: "command",
                found,
            });
        }
    })
}
