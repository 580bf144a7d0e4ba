//! Why connections end.

use std::io;
use std::time::Duration;

use base::{ClusterId, Incarnation, NodeId};

use crate::field::FieldError;
use crate::frame::FrameError;
use crate::greeting::{GreetingError, VERSION, Version};
use crate::message::{Goodbye, Refused};

/// Why this node does not want to be connected to another. The text is logged here and, in a frame, sent
/// to the other, which logs it there: it is worded to be true on both sides.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The other speaks another major version of the protocol.
    #[error("protocol {theirs} was greeted with, only {VERSION} is spoken here")]
    Version {
        /// What the other speaks.
        theirs: Version,
    },
    /// The other belongs to another cluster.
    #[error("a stranger: it belongs to cluster {theirs}, this node belongs to cluster {ours}")]
    Stranger {
        /// This node's cluster.
        ours: ClusterId,
        /// The other's cluster.
        theirs: ClusterId,
    },
    /// The other says it has a node id that is in use.
    #[error(
        "node id {node_id} is in use by another process (incarnation {}): was a data folder \
         copied? Each node needs a folder of its own; start the copy with an empty one",
        incarnation.0
    )]
    NodeIdInUse {
        /// The id.
        node_id: NodeId,
        /// Of who uses it already.
        incarnation: Incarnation,
    },
    /// The other starts from a state of its data folder that it has left behind already.
    #[error(
        "node id {node_id} was seen with incarnation {}, this process has incarnation {}: was an old copy of \
         its data folder brought back? What it promised since is not in there; start it with an empty one",
        seen.0, theirs.0
    )]
    OldIncarnation {
        /// The id.
        node_id: NodeId,
        /// What the other greeted with.
        theirs: Incarnation,
        /// The highest that is known.
        seen: Incarnation,
    },
    /// As many peers are alive as this node can keep.
    #[error("{limit} peers are connected already")]
    TooManyPeers {
        /// How many.
        limit: usize,
    },
    /// As many connections are open as this node accepts.
    #[error("{limit} connections are open already")]
    TooManyConnections {
        /// How many.
        limit: usize,
    },
}

impl Refusal {
    /// What stands for it in a frame. Numbers are never reused.
    pub fn code(&self) -> u16 {
        match self {
            Refusal::Version { .. } => 1,
            Refusal::Stranger { .. } => 2,
            Refusal::NodeIdInUse { .. } => 3,
            Refusal::TooManyPeers { .. } => 4,
            Refusal::TooManyConnections { .. } => 5,
            Refusal::OldIncarnation { .. } => 6,
        }
    }

    /// The message that tells the other.
    pub fn message(&self) -> Refused {
        Refused {
            code: self.code(),
            text: self.to_string(),
        }
    }
}

/// Why a connection ended.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HangUp {
    /// The other end is this very process.
    #[error("it is this node itself")]
    Myself,
    /// This node dialled the peer at another of its addresses too, and keeps that connection.
    #[error("node {0} is connected already, under another address")]
    Duplicate(NodeId),
    /// This node refused the other.
    #[error("refused it: {0}")]
    Refused(Refusal),
    /// The other refused this node.
    #[error("it refused this node: {0}")]
    RefusedBy(String),
    /// No greeting came in time.
    #[error("no greeting came within {0:?}")]
    NoGreeting(Duration),
    /// Nothing at all came for too long.
    #[error("silent for {0:?}")]
    Silent(Duration),
    /// Bytes that are not a frame.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// A greeting that cannot be read.
    #[error(transparent)]
    Greeting(GreetingError),
    /// A message that cannot be read.
    #[error("malformed: {0}")]
    Message(#[from] FieldError),
    /// A message that does not belong where it came.
    #[error("against the protocol: {0}")]
    Protocol(&'static str),
    /// The other said goodbye.
    #[error("it said goodbye: {}", .0.text)]
    Goodbye(Goodbye),
    /// A later start of the peer has greeted.
    #[error("the peer was started anew")]
    Restarted,
    /// The peer has dialled anew, so it has given up the connection that it dialled before.
    #[error("the peer has dialled anew")]
    Superseded,
    /// Another node answered than was dialled for.
    #[error("node {found} answers there, not node {expected}")]
    OtherNode {
        /// Who was dialled.
        expected: NodeId,
        /// Who answered.
        found: NodeId,
    },
    /// Too many connections wait to be greeted; this was the oldest of them.
    #[error("too many connections wait for a greeting")]
    Crowded,
    /// The other does not read what it makes this node send.
    #[error("it does not read the answers that it asks for")]
    Unread,
    /// This node stops.
    #[error("this node is stopping")]
    Stopping,
    /// The other closed the connection between two frames.
    #[error("closed by the other side")]
    Closed,
    /// The other closed the connection within a frame.
    #[error("closed by the other side within a frame")]
    Truncated,
    /// The connection broke.
    #[error("{0}")]
    Broken(io::ErrorKind),
}

impl HangUp {
    /// What stands for it in a goodbye, if this is a reason to say one. Numbers are never reused.
    pub fn goodbye_code(&self) -> Option<u16> {
        match self {
            HangUp::Stopping => Some(Goodbye::STOPPING),
            HangUp::Duplicate(_) => Some(2),
            HangUp::Restarted => Some(3),
            HangUp::Crowded => Some(4),
            HangUp::Superseded => Some(5),
            HangUp::OtherNode { .. } => Some(6),
            _ => None,
        }
    }
}
