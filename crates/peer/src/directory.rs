//! The table of peers and of the connections that each is reached by.
//!
//! Two nodes that dial each other have two connections, and both are kept: which one would have to go is
//! a question that two nodes can answer differently. The rules:
//! - A connection is admitted when this side takes the other in, and confirmed when the other has taken this
//!   side in too. Only what is confirmed counts: a peer is alive while at least one of its connections is.
//! - Messages to it take the connection that this node dialled, else the one that was admitted last; none,
//!   once it has said that it stops.
//! - Two connections that this node dialled and that lead to the same process are one too many: the
//!   second is the duplicate. So a peer that has dialled anew, and means it, has given up what it dialled
//!   before, even where this side has not noticed yet.
//! - A higher incarnation takes the place of a lower one, whose connections are hung up on. A lower one than
//!   was ever seen or heard of is refused, and so is another process of the same: each start of a data
//!   folder has an incarnation of its own, so that is a copy.
//! - A peer that is lost is forgotten when another takes its address, or when room is needed; its
//!   incarnation is not.

use std::net::SocketAddr;

use base::{ClusterId, Incarnation, NodeId};

use crate::HostAddr;
use crate::greeting::{Greeting, Side};
use crate::hang_up::{HangUp, Refusal};
use crate::link::Link;
use crate::message::{INTRODUCTIONS_LIMIT, Introduction};
use crate::status::{HostState, HostStatus, PeerState, PeerStatus};

mod incarnations;

pub use incarnations::INCARNATIONS_LIMIT;
use incarnations::Incarnations;

/// How many peers are remembered.
pub const PEERS_LIMIT: usize = 1024;

const _: () = assert!(PEERS_LIMIT <= INTRODUCTIONS_LIMIT);

/// A connection, for as long as the process lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId(pub u64);

/// What the admission of a connection changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Admission {
    /// It is one more of its process, or the first.
    Joined,
    /// The peer has restarted: these connections of its former process are to be hung up on.
    Restarted {
        /// The connections. The table knows them no more.
        former: Vec<ConnectionId>,
        /// Whether one of them was confirmed.
        was_alive: bool,
    },
}

/// What the confirmation of a connection changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Confirmation {
    /// The peer was not alive.
    Came,
    /// The peer is alive by another connection of the same process. It has given these up, which are to be
    /// hung up on; the table knows them no more.
    Further(Vec<ConnectionId>),
}

/// What the end of a connection changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Removal {
    /// Of the peer, as it is now.
    pub status: PeerStatus,
    /// Whether the peer was alive before.
    pub was_alive: bool,
    /// Whether payloads were sent on the connection.
    pub has_sent: bool,
    /// Whether the peer has said that it stops.
    pub is_stopping: bool,
    /// Whether the peer is to be dialled no more.
    pub is_forgotten: bool,
}

#[derive(Debug)]
struct Peer {
    status: PeerStatus,
    /// In the order of their admissions.
    connections: Vec<Connection>,
    /// The process has said that it stops.
    is_stopping: bool,
    /// See [`Directory::set_forgotten`].
    is_forgotten: bool,
}

#[derive(Debug)]
struct Connection {
    id: ConnectionId,
    side: Side,
    is_confirmed: bool,
    /// Whether payloads were sent on it.
    has_sent: bool,
    link: Link,
}

impl Peer {
    fn of(greeting: &Greeting) -> Peer {
        Peer {
            status: status_of(greeting),
            connections: Vec::new(),
            is_stopping: false,
            is_forgotten: false,
        }
    }

    /// Where in the list the connection stands that messages take.
    fn route_index(&self) -> Option<usize> {
        let confirmed = |connection: &Connection| connection.is_confirmed;
        self.connections
            .iter()
            .position(|found| found.side == Side::Dialled && confirmed(found))
            .or_else(|| self.connections.iter().rposition(confirmed))
    }

    fn route(&self) -> Option<&Connection> {
        self.route_index().map(|index| &self.connections[index])
    }

    fn status(&self) -> PeerStatus {
        let mut status = self.status.clone();
        if let Some(Connection { link, .. }) = self.route() {
            status.state = PeerState::Alive;
            status.rtt = link.smoothed_rtt();
            status.last_rtt = link.last_rtt();
            status.clock_offset_ms = link.clock_offset_ms();
        }
        status
    }

    fn is_alive(&self) -> bool {
        self.connections
            .iter()
            .any(|connection| connection.is_confirmed)
    }
}

#[derive(Debug)]
struct Host {
    status: HostStatus,
    /// Who greeted there last.
    node_id: Option<NodeId>,
}

/// See the module.
#[derive(Debug)]
pub struct Directory {
    /// In the order of their first greetings.
    peers: Vec<Peer>,
    hosts: Vec<Host>,
    incarnations: Incarnations,
}

impl Directory {
    /// Of nobody yet, and these hosts.
    pub fn new(hosts: Vec<HostAddr>) -> Directory {
        let hosts = hosts.into_iter().map(|host| Host {
            status: HostStatus {
                host,
                state: HostState::Dialling,
            },
            node_id: None,
        });
        Directory {
            peers: Vec::new(),
            hosts: hosts.collect(),
            incarnations: Incarnations::default(),
        }
    }

    /// Takes in a connection whose other side has greeted.
    ///
    /// # Errors
    /// [`HangUp::Duplicate`] or [`HangUp::Refused`]: the connection is to be hung up on, and nothing has
    /// changed.
    pub fn admit(
        &mut self,
        id: ConnectionId,
        side: Side,
        greeting: &Greeting,
        remote: Option<SocketAddr>,
    ) -> Result<Admission, HangUp> {
        let node_id = greeting.node_id;
        self.check_incarnation(greeting)?;
        let index = match self.index(node_id) {
            Some(index) => index,
            None => {
                self.make_room()?;
                self.peers.push(Peer::of(greeting));
                self.peers.len() - 1
            }
        };
        let peer = &mut self.peers[index];
        let mut admission = Admission::Joined;
        let mut cluster_id = greeting.cluster_id;
        if peer.status.run_nonce == greeting.run_nonce {
            let is_dialled = |connection: &Connection| connection.side == Side::Dialled;
            if side == Side::Dialled && peer.connections.iter().any(is_dialled) {
                return Err(HangUp::Duplicate(node_id));
            }
            // An update on another connection may have overtaken the greeting.
            cluster_id = cluster_id.or(peer.status.cluster_id);
        } else {
            let was_alive = peer.is_alive();
            let former = std::mem::take(&mut peer.connections);
            peer.is_stopping = false;
            if !former.is_empty() {
                let former = former.iter().map(|former| former.id).collect();
                admission = Admission::Restarted { former, was_alive };
            }
        }
        peer.status = PeerStatus {
            remote,
            cluster_id,
            ..status_of(greeting)
        };
        peer.connections.push(Connection {
            id,
            side,
            is_confirmed: false,
            has_sent: false,
            link: Link::default(),
        });
        self.peers.retain(|peer| {
            let displaced =
                peer.status.address == greeting.advertised && peer.connections.is_empty();
            peer.status.node_id == node_id || !displaced
        });
        self.incarnations.seen(node_id, greeting.incarnation);
        Ok(admission)
    }

    fn check_incarnation(&self, greeting: &Greeting) -> Result<(), HangUp> {
        let (node_id, theirs) = (greeting.node_id, greeting.incarnation);
        let known = self.peer(node_id).map(|peer| &peer.status);
        let remembered = self.incarnations.highest(node_id);
        let seen = remembered.max(known.map(|known| known.incarnation));
        let refusal = match seen {
            Some(seen) if theirs < seen => Refusal::OldIncarnation {
                node_id,
                theirs,
                seen,
            },
            _ if known.is_some_and(|known| {
                known.incarnation == theirs && known.run_nonce != greeting.run_nonce
            }) =>
            {
                Refusal::NodeIdInUse {
                    node_id,
                    incarnation: theirs,
                }
            }
            _ => return Ok(()),
        };
        Err(HangUp::Refused(refusal))
    }

    /// Takes in an incarnation that others have seen: processes of that node with lower ones are refused from
    /// now on. The connections of one that is connected are returned, to be hung up on; it has no route any
    /// more.
    pub fn know(&mut self, node_id: NodeId, incarnation: Incarnation) -> Vec<ConnectionId> {
        self.incarnations.told(node_id, incarnation);
        let Some(index) = self.index(node_id) else {
            return Vec::new();
        };
        let peer = &mut self.peers[index];
        if peer.status.incarnation >= incarnation {
            return Vec::new();
        }
        peer.is_stopping = true;
        peer.connections.iter().map(|former| former.id).collect()
    }

    /// Notes that the other side of an admitted connection has admitted this one too. `None` when the table
    /// knows the connection no more.
    pub fn confirm(&mut self, id: ConnectionId) -> Option<Confirmation> {
        let peer = self.peer_of(id)?;
        let was_alive = peer.is_alive();
        let index = peer.connections.iter().position(|found| found.id == id)?;
        peer.connections[index].is_confirmed = true;
        let mut given_up = Vec::new();
        if peer.connections[index].side == Side::Accepted {
            let is_given_up = |connection: &mut Connection| {
                connection.side == Side::Accepted && connection.is_confirmed
            };
            let earlier = peer.connections.extract_if(..index, is_given_up);
            given_up.extend(earlier.map(|connection| connection.id));
        }
        Some(match was_alive {
            true => Confirmation::Further(given_up),
            false => Confirmation::Came,
        })
    }

    fn make_room(&mut self) -> Result<(), HangUp> {
        if self.peers.len() < PEERS_LIMIT {
            return Ok(());
        }
        match self
            .peers
            .iter()
            .position(|peer| peer.connections.is_empty())
        {
            Some(lost) => {
                self.peers.remove(lost);
                Ok(())
            }
            None => Err(HangUp::Refused(Refusal::TooManyPeers {
                limit: PEERS_LIMIT,
            })),
        }
    }

    /// Removes a connection; `None` if it was not admitted or the table knows it no more.
    pub fn remove(&mut self, id: ConnectionId) -> Option<Removal> {
        let peer = self.peer_of(id)?;
        let was_alive = peer.is_alive();
        let index = peer.connections.iter().position(|found| found.id == id)?;
        let removed = peer.connections.remove(index);
        let removal = Removal {
            status: peer.status(),
            was_alive,
            has_sent: removed.has_sent,
            is_stopping: peer.is_stopping,
            is_forgotten: peer.is_forgotten,
        };
        self.drop_forgotten();
        Some(removal)
    }

    fn drop_forgotten(&mut self) {
        self.peers
            .retain(|peer| !(peer.is_forgotten && peer.connections.is_empty()));
    }

    /// Notes that the peer of a connection stops: it has no route any more.
    pub fn set_stopping(&mut self, id: ConnectionId) {
        if let Some(peer) = self.peer_of(id) {
            peer.is_stopping = true;
        }
    }

    /// Notes whether a peer is to be left alone, and out of the table, when it is lost.
    pub fn set_forgotten(&mut self, node_id: NodeId, is_forgotten: bool) {
        if let Some(index) = self.index(node_id) {
            self.peers[index].is_forgotten = is_forgotten;
        }
        self.drop_forgotten();
    }

    /// Whose connection that is, if it is admitted.
    pub fn node_of(&self, id: ConnectionId) -> Option<NodeId> {
        let mut peers = self.peers.iter();
        let peer = peers.find(|peer| peer.connections.iter().any(|found| found.id == id))?;
        Some(peer.status.node_id)
    }

    fn index(&self, node_id: NodeId) -> Option<usize> {
        self.peers
            .iter()
            .position(|peer| peer.status.node_id == node_id)
    }

    fn peer_of(&mut self, id: ConnectionId) -> Option<&mut Peer> {
        self.peers
            .iter_mut()
            .find(|peer| peer.connections.iter().any(|found| found.id == id))
    }

    /// Notes what pings on a connection have told.
    pub fn measured(&mut self, id: ConnectionId, link: &Link) {
        let connections = self.peers.iter_mut().flat_map(|peer| &mut peer.connections);
        if let Some(connection) = connections
            .into_iter()
            .find(|connection| connection.id == id)
        {
            connection.link = link.clone();
        }
    }

    /// Notes the cluster that the peer of a connection says it belongs to by now.
    pub fn set_cluster_id(&mut self, id: ConnectionId, cluster_id: ClusterId) {
        if let Some(peer) = self.peer_of(id) {
            peer.status.cluster_id = Some(cluster_id);
        }
    }

    /// The connection that messages to a peer take, if it is alive and does not stop.
    pub fn route(&self, node_id: NodeId) -> Option<ConnectionId> {
        let peer = self.peer(node_id).filter(|peer| !peer.is_stopping)?;
        peer.route().map(|connection| connection.id)
    }

    /// As [`Directory::route`], for a payload that is sent there now.
    pub fn send(&mut self, node_id: NodeId) -> Option<ConnectionId> {
        let index = self.index(node_id)?;
        let peer = &mut self.peers[index];
        if peer.is_stopping {
            return None;
        }
        let route = peer.route_index()?;
        let connection = &mut peer.connections[route];
        connection.has_sent = true;
        Some(connection.id)
    }

    /// Whether a peer is alive.
    pub fn is_alive(&self, node_id: NodeId) -> bool {
        self.peer(node_id).is_some_and(Peer::is_alive)
    }

    fn peer(&self, node_id: NodeId) -> Option<&Peer> {
        self.index(node_id).map(|index| &self.peers[index])
    }

    /// What is known of a peer.
    pub fn status(&self, node_id: NodeId) -> Option<PeerStatus> {
        self.peer(node_id).map(Peer::status)
    }

    /// All peers in the order of their first greetings.
    pub fn statuses(&self) -> Vec<PeerStatus> {
        self.peers.iter().map(Peer::status).collect()
    }

    /// The peers that are alive, but for one, as others would be told of them.
    pub fn others_alive(&self, node_id: NodeId) -> Vec<Introduction> {
        let others = self.peers.iter().filter(|peer| peer.is_alive());
        others
            .map(|peer| &peer.status)
            .filter(|status| status.node_id != node_id)
            .map(|status| Introduction {
                node_id: status.node_id,
                address: status.address.clone(),
            })
            .collect()
    }

    /// Whether this node has a greeted connection to that one that it dialled itself.
    pub fn is_dialled(&self, node_id: NodeId) -> bool {
        let connections = self.peer(node_id).map_or(&[][..], |peer| &peer.connections);
        connections
            .iter()
            .any(|connection| connection.side == Side::Dialled)
    }

    /// The hosts in the order they were given.
    pub fn hosts(&self) -> Vec<HostStatus> {
        self.hosts.iter().map(|host| host.status.clone()).collect()
    }

    /// Notes how dialling a host goes. Whether that is news.
    ///
    /// # Panics
    /// When there is no such host.
    pub fn set_host(&mut self, index: usize, state: HostState) -> bool {
        let host = &mut self.hosts[index];
        if let HostState::Greeted(node_id) = state {
            host.node_id = Some(node_id);
        }
        let is_news = host.status.state != state;
        host.status.state = state;
        is_news
    }

    /// Whether dialling one of the hosts leads to that node, as far as is known.
    pub fn is_host(&self, node_id: NodeId) -> bool {
        self.hosts.iter().any(|host| host.node_id == Some(node_id))
    }
}

/// Of a peer without connections.
fn status_of(greeting: &Greeting) -> PeerStatus {
    PeerStatus {
        node_id: greeting.node_id,
        run_nonce: greeting.run_nonce,
        incarnation: greeting.incarnation,
        cluster_id: greeting.cluster_id,
        hosts_hash: greeting.hosts_hash,
        name: greeting.name.clone(),
        address: greeting.advertised.clone(),
        remote: None,
        version: greeting.version.clone(),
        state: PeerState::Lost,
        rtt: None,
        last_rtt: None,
        clock_offset_ms: None,
    }
}

#[cfg(test)]
mod tests;
