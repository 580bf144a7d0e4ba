//! The tokio side of the crate: what is shared by its tasks, and what its owner holds.

use base::{ClusterId, NodeId};
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::greeting::GreetingError;
use crate::{Config, Event, HostStatus, LocalNode, PeerStatus, SendError};

/// The connections of this node to others: a handle that is cheap to clone and that any thread may use.
///
/// Dropping it changes nothing; [`Peers::shutdown`] or the end of the runtime does.
#[derive(Clone)]
pub struct Peers {}

/// Starts to accept connections from `listener` and to dial the hosts of `config`.
///
/// It is called inside of a current-thread tokio runtime with IO and time enabled, where its tasks then
/// live. `on_event` is called there too: it hands the event over and returns; it must not block, and
/// nothing bounds what it stores but itself. It may call any method of [`Peers`].
///
/// # Errors
/// [`GreetingError`] when a text of `local` is longer than a greeting can carry or has control characters.
pub fn start(
    config: Config,
    local: LocalNode,
    listener: TcpListener,
    on_event: impl Fn(Event) + Send + Sync + 'static,
) -> Result<Peers, GreetingError> {
    let _ = (config, local, listener, on_event);
    unimplemented!()
}

impl Peers {
    /// Every node that has greeted this one, in the order in which they first did.
    pub fn statuses(&self) -> Vec<PeerStatus> {
        unimplemented!()
    }

    /// The configured hosts, in their order.
    pub fn hosts(&self) -> Vec<HostStatus> {
        unimplemented!()
    }

    /// Changes whenever [`Peers::statuses`] or [`Peers::hosts`] do, but for round trips and clock
    /// offsets. What changed before the call counts as seen.
    pub fn changed(&self) -> watch::Receiver<u64> {
        unimplemented!()
    }

    /// Tells all peers, present and future, that this node belongs to that cluster. Those that belong to
    /// another one are hung up on.
    ///
    /// # Panics
    /// When this node belongs to another cluster already.
    pub fn set_cluster_id(&self, cluster_id: ClusterId) {
        let _ = cluster_id;
        unimplemented!()
    }

    /// Queues a payload for a peer. `Ok` means queued: it arrives once or, if the connection fails, not
    /// at all. Payloads to one peer stay in order as long as the same connection carries them.
    ///
    /// # Errors
    /// Each of [`SendError`]; nothing was queued then.
    pub fn send(&self, to: NodeId, payload: Vec<u8>) -> Result<(), SendError> {
        let _ = (to, payload);
        unimplemented!()
    }

    /// Stops accepting and dialling, says goodbye on every connection, and returns when all tasks have
    /// ended: within a second. Any runtime may await it while the one of [`start`] runs.
    pub async fn shutdown(&self) {
        unimplemented!()
    }
}
