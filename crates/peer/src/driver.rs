//! What the owner of the crate holds.

use std::sync::Arc;

use base::{ClusterId, NodeId};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tracing::info;

use crate::greeting::{Greeting, GreetingError, Side};
use crate::shared::Shared;
use crate::status::{Config, Event, HostStatus, LocalNode, PeerStatus, SendError};
use crate::{dialer, listener};

/// The connections of this node to others: a handle that is cheap to clone and that any thread may use.
///
/// Dropping it changes nothing; [`Peers::shutdown`] or the end of the runtime does.
#[derive(Clone)]
pub struct Peers {
    shared: Arc<Shared>,
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
/// [`GreetingError`] when `local` has a text that is longer than a greeting can carry or has control
/// characters, an advertised port of 0, or an id or incarnation of 0.
///
/// # Panics
/// When the heartbeat is zero.
pub fn start(
    config: Config,
    local: LocalNode,
    listener: TcpListener,
    on_event: impl Fn(Event) + Send + Sync + 'static,
) -> Result<Peers, GreetingError> {
    assert!(
        !config.heartbeat.is_zero(),
        "peers are not pinged without a pause"
    );
    Greeting::decode(&Greeting::of(&local, local.cluster_id, 0, Side::Dialled).encode())?;
    let shared = Arc::new(Shared::new(config, local, on_event));
    shared.spawn(listener::listen(Arc::clone(&shared), listener));
    for index in 0..shared.config.hosts.len() {
        shared.spawn(dialer::dial_host(Arc::clone(&shared), index));
    }
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
        self.shared
            .cluster_id
            .send_if_modified(|known| match *known {
                Some(known) => {
                    assert_eq!(known, cluster_id, "a node never changes its cluster");
                    false
                }
                None => {
                    info!(cluster = %cluster_id, "telling peers the cluster");
                    *known = Some(cluster_id);
                    true
                }
            });
    }

    /// Queues a payload for a peer. `Ok` means queued: it arrives once or, if the connection fails, not
    /// at all. Payloads to one peer stay in order as long as the same connection carries them; a peer
    /// may change from one connection to another without being lost in between.
    ///
    /// # Errors
    /// Each of [`SendError`]; nothing was queued then.
    pub fn send(&self, to: NodeId, payload: Vec<u8>) -> Result<(), SendError> {
        self.shared.send(to, payload)
    }

    /// Stops accepting and dialling, sends what is queued, says goodbye on every connection, and returns
    /// when all tasks have ended: within a second. Any runtime may await it while the one of [`start`]
    /// runs.
    pub async fn shutdown(&self) {
        self.shared.stop.send_replace(true);
        let mut tasks = self.shared.tasks.subscribe();
        tasks
            .wait_for(|&tasks| tasks == 0)
            .await
            .expect("the sender is in this very handle");
    }
}
