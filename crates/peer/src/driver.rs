//! What the owner of the crate holds.

use std::sync::Arc;

use base::{ClusterId, Incarnation, NodeId};
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::greeting::{Greeting, GreetingError, Side};
use crate::shared::Shared;
use crate::status::{Config, Event, HostStatus, LocalNode, PeerStatus, SendError};
use crate::{HostAddr, listener};

/// The connections of this node to others: a handle that is cheap to clone and that any thread may use.
///
/// Dropping it changes nothing; [`Peers::shutdown`] or the end of the runtime does.
#[derive(Clone)]
pub struct Peers {
    shared: Arc<Shared>,
}

/// Why [`start`] refuses to.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// `local` has a text that is longer than a greeting can carry or has control characters, an advertised
    /// port of 0, or an id or incarnation of 0.
    #[error("this node cannot greet others: {0}")]
    Greeting(#[from] GreetingError),
    /// The listener does not tell where it listens.
    #[error("the address that peers are listened for on is not known: {0}")]
    Listener(#[from] std::io::Error),
}

/// Starts to accept connections from `listener` and to dial the hosts of `config`.
///
/// It is called inside of a current-thread tokio runtime with IO and time enabled, where its tasks then
/// live. `on_event` is called there too: it hands the event over and returns; it must not block, and
/// nothing bounds what it stores but itself. It may call any method of [`Peers`].
///
/// A name that is being resolved when the runtime ends can hold that up for seconds, unless it ends by
/// `shutdown_background`.
///
/// # Errors
/// [`StartError`].
///
/// # Panics
/// When the heartbeat is zero.
pub fn start(
    config: Config,
    local: LocalNode,
    listener: TcpListener,
    on_event: impl Fn(Event) + Send + Sync + 'static,
) -> Result<Peers, StartError> {
    assert!(
        !config.heartbeat.is_zero(),
        "peers are not pinged without a pause"
    );
    Greeting::decode(&Greeting::of(&local, local.cluster_id, 0, Side::Dialled).encode())?;
    let bound = listener.local_addr()?;
    let shared = Arc::new(Shared::new(config, local, bound, on_event));
    shared.spawn(listener::listen(Arc::clone(&shared), listener));
    shared.with_hub(|hub, effects| hub.start(effects));
    Ok(Peers { shared })
}

impl Peers {
    /// Every node that has greeted this one, in the order in which they first did. One that is lost is
    /// forgotten when another node takes its address.
    pub fn statuses(&self) -> Vec<PeerStatus> {
        self.shared.with_directory(|peers| peers.statuses())
    }

    /// The configured hosts, in their order.
    pub fn hosts(&self) -> Vec<HostStatus> {
        self.shared.with_directory(|peers| peers.hosts())
    }

    /// Changes whenever [`Peers::statuses`] or [`Peers::hosts`] do, but for round trips and clock
    /// offsets. What changed before the call counts as seen.
    pub fn changed(&self) -> watch::Receiver<u64> {
        self.shared.changed.subscribe()
    }

    /// Tells all peers, present and future, that this node belongs to that cluster. Those that belong to
    /// another one are hung up on.
    ///
    /// # Panics
    /// When this node belongs to another cluster already.
    pub fn set_cluster_id(&self, cluster_id: ClusterId) {
        self.shared.set_cluster_id(cluster_id);
    }

    /// Sees to it that this node is dialled there whenever it is not alive, for ever, until
    /// [`Peers::forget`] or another address: what the map of the cluster says. Another node that answers there
    /// is hung up on. Beyond [`DIALLED_LIMIT`](crate::hub::DIALLED_LIMIT) nodes, more are not dialled, which is
    /// logged.
    pub fn dial(&self, node_id: NodeId, address: HostAddr) {
        self.shared
            .with_hub(|hub, effects| hub.dial(node_id, address, effects));
    }

    /// Ends what [`Peers::dial`] began, and drops the node from the table of peers once it is lost. A connection
    /// that is there goes on, and hosts of the configuration are dialled all the same.
    pub fn forget(&self, node_id: NodeId) {
        self.shared.with_hub(|hub, _| hub.forget(node_id));
    }

    /// Takes in an incarnation of a node that others have seen, as the map of the cluster records it: a process
    /// of that node with a lower one runs on an old copy of its data folder and is refused, or hung up on.
    pub fn know(&self, node_id: NodeId, incarnation: Incarnation) {
        self.shared
            .with_hub(|hub, effects| hub.know(node_id, incarnation, effects));
    }

    /// Queues a payload for a peer, of up to [`SEND_LIMIT`](crate::SEND_LIMIT) bytes. `Ok` means queued: it
    /// arrives once or, if the connection fails, not at all, and then [`Event::Lost`] comes. Payloads to one
    /// peer stay in order as long as the same connection carries them; a peer may change to a new connection
    /// without being lost in between.
    ///
    /// # Errors
    /// Each of [`SendError`]; nothing was queued then.
    pub fn send(&self, to: NodeId, payload: Vec<u8>) -> Result<(), SendError> {
        self.shared.send(to, payload, false)
    }

    /// Does that for a small payload that is of use only if it arrives soon, and may overtake others: up to
    /// [`URGENT_LIMIT`](crate::outbox::URGENT_LIMIT) bytes. A longer one takes its turn.
    ///
    /// # Errors
    /// Each of [`SendError`]; nothing was queued then.
    pub fn send_urgent(&self, to: NodeId, payload: Vec<u8>) -> Result<(), SendError> {
        self.shared.send(to, payload, true)
    }

    /// Stops accepting and dialling, sends what is queued, says goodbye on every connection, and returns
    /// when all tasks have ended: within a second. Any runtime may await it while the one of [`start`]
    /// runs.
    pub async fn shutdown(&self) {
        self.shared.stop();
        let mut tasks = self.shared.tasks.subscribe();
        tasks
            .wait_for(|&tasks| tasks == 0)
            .await
            .expect("the sender is in this very handle");
    }
}
