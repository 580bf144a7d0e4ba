//! The table of peers and of the connections that each is reached by.
//!
//! Two nodes that dial each other have two connections, and both are kept: which one would have to go is
//! a question that two nodes can answer differently. The rules:
//! - A peer is alive while at least one of its connections is greeted.
//! - Messages to it take the connection that this node dialled, else the one that greeted last.
//! - Two connections that this node dialled and that lead to the same process are one too many: the
//!   second is the duplicate.
//! - A higher incarnation takes the place of a lower one, whose connections are hung up on. Any other
//!   process with the node id of a peer that is alive is refused.
//! - A peer that is lost is forgotten when another takes its address, or when room is needed.

use std::net::SocketAddr;

use base::{ClusterId, NodeId};

use crate::HostAddr;
use crate::greeting::{Greeting, Side};
use crate::hang_up::{HangUp, Refusal};
use crate::link::Link;
use crate::message::{INTRODUCTIONS_LIMIT, Introduction};
use crate::status::{HostState, HostStatus, PeerState, PeerStatus};

/// How many peers are remembered.
pub const PEERS_LIMIT: usize = 1024;

const _: () = assert!(PEERS_LIMIT <= INTRODUCTIONS_LIMIT);

/// A connection, for as long as the process lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId(pub u64);

/// What the greeting of a connection changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Admission {
    /// The peer was not alive.
    Came,
    /// The peer is alive by another connection of the same process.
    Further,
    /// The peer was alive and has restarted: these connections of its former process are to be hung up on.
    Restarted(Vec<ConnectionId>),
}

#[derive(Debug)]
struct Peer {
    status: PeerStatus,
    /// In the order of their greetings.
    connections: Vec<Connection>,
}

#[derive(Debug)]
struct Connection {
    id: ConnectionId,
    side: Side,
    link: Link,
}

impl Peer {
    fn route(&self) -> Option<&Connection> {
        let dialled = self
            .connections
            .iter()
            .find(|connection| connection.side == Side::Dialled);
        dialled.or(self.connections.last())
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
        !self.connections.is_empty()
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
}

impl Directory {
    /// Of nobody yet, and these hosts.
    pub fn new(hosts: &[HostAddr]) -> Directory {
        let hosts = hosts.iter().map(|host| Host {
            status: HostStatus {
                host: host.clone(),
                state: HostState::Dialling,
            },
            node_id: None,
        });
        Directory {
            peers: Vec::new(),
            hosts: hosts.collect(),
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
        let index = match self
            .peers
            .iter()
            .position(|peer| peer.status.node_id == node_id)
        {
            Some(index) => index,
            None => {
                self.make_room()?;
                self.peers.push(Peer {
                    status: status_of(greeting),
                    connections: Vec::new(),
                });
                self.peers.len() - 1
            }
        };
        let peer = &mut self.peers[index];
        let mut admission = Admission::Came;
        if peer.is_alive() {
            let known = &peer.status;
            if known.run_nonce == greeting.run_nonce {
                let is_dialled = |connection: &Connection| connection.side == Side::Dialled;
                if side == Side::Dialled && peer.connections.iter().any(is_dialled) {
                    return Err(HangUp::Duplicate(node_id));
                }
                admission = Admission::Further;
            } else if known.incarnation < greeting.incarnation {
                let former = std::mem::take(&mut peer.connections);
                admission = Admission::Restarted(former.iter().map(|former| former.id).collect());
            } else {
                let incarnation = known.incarnation;
                return Err(HangUp::Refused(Refusal::NodeIdInUse {
                    node_id,
                    incarnation,
                }));
            }
        }
        peer.status = PeerStatus {
            remote,
            ..status_of(greeting)
        };
        peer.connections.push(Connection {
            id,
            side,
            link: Link::default(),
        });
        self.peers.retain(|peer| {
            let displaced = peer.status.address == greeting.advertised && !peer.is_alive();
            peer.status.node_id == node_id || !displaced
        });
        Ok(admission)
    }

    fn make_room(&mut self) -> Result<(), HangUp> {
        if self.peers.len() < PEERS_LIMIT {
            return Ok(());
        }
        match self.peers.iter().position(|peer| !peer.is_alive()) {
            Some(lost) => {
                self.peers.remove(lost);
                Ok(())
            }
            None => Err(HangUp::Refused(Refusal::TooManyPeers {
                limit: PEERS_LIMIT,
            })),
        }
    }

    /// Removes a connection. The peer, if that was its last one.
    pub fn remove(&mut self, id: ConnectionId) -> Option<PeerStatus> {
        let peer = self.peer_of(id)?;
        peer.connections.retain(|connection| connection.id != id);
        (!peer.is_alive()).then(|| peer.status())
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

    /// The connection that messages to a peer take, if it is alive.
    pub fn route(&self, node_id: NodeId) -> Option<ConnectionId> {
        self.peer(node_id)?.route().map(|connection| connection.id)
    }

    fn peer(&self, node_id: NodeId) -> Option<&Peer> {
        self.peers
            .iter()
            .find(|peer| peer.status.node_id == node_id)
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
