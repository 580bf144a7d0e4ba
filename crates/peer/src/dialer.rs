//! Dialling: a task for each configured host, and one for each node that was heard of otherwise.
//!
//! A task dials, speaks on the connection until it ends, waits, and dials again. It owns its
//! connection, so it knows at once when it failed.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use base::NodeId;
use tokio::net::{TcpStream, lookup_host};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tracing::{Level, debug, info};

use crate::HostAddr;
use crate::backoff::Backoff;
use crate::connection::{self, Ended};
use crate::greeting::Side;
use crate::hang_up::HangUp;
use crate::outage::Outage;
use crate::shared::{Shared, stopped};
use crate::status::HostState;

/// How long a connection to one address may take to be made.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);

/// How long a name may take to be resolved.
const RESOLVE_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a host is left alone that leads to a node which is connected already: by then the name may
/// lead elsewhere.
const ALIAS_CHECK: Duration = Duration::from_secs(30);

/// For how long a node that is not configured is dialled in vain.
const LEARNED_PATIENCE: Duration = Duration::from_secs(3600);

/// Why no connection was made.
#[derive(Debug, thiserror::Error)]
enum DialError {
    #[error("the name could not be resolved: {0}")]
    NotResolved(io::Error),
    #[error("the name could not be resolved within {RESOLVE_TIMEOUT:?}")]
    ResolvedLate,
    #[error("the name has no address")]
    NoAddress,
    #[error("{0}: refused, nothing listens there")]
    Refused(SocketAddr),
    #[error("{0}: unreachable")]
    Unreachable(SocketAddr),
    #[error("{0}: timed out")]
    TimedOut(SocketAddr),
    #[error("{0}: reset")]
    Reset(SocketAddr),
    #[error("{0}: {1}")]
    Other(SocketAddr, io::Error),
}

impl DialError {
    fn new(address: SocketAddr, error: io::Error) -> DialError {
        use io::ErrorKind as K;
        match error.kind() {
            K::ConnectionRefused => DialError::Refused(address),
            K::HostUnreachable | K::NetworkUnreachable | K::NetworkDown => {
                DialError::Unreachable(address)
            }
            K::TimedOut => DialError::TimedOut(address),
            K::ConnectionReset | K::ConnectionAborted => DialError::Reset(address),
            _ => DialError::Other(address, error),
        }
    }
}

/// Resolves anew and tries all addresses. The error is that of the last.
async fn connect(host: &HostAddr) -> Result<(TcpStream, SocketAddr), DialError> {
    let addresses = match timeout(RESOLVE_TIMEOUT, lookup_host((host.host(), host.port()))).await {
        Err(_) => return Err(DialError::ResolvedLate),
        Ok(Err(error)) => return Err(DialError::NotResolved(error)),
        Ok(Ok(addresses)) => addresses,
    };
    let mut last = DialError::NoAddress;
    for address in addresses {
        match connect_to(address).await {
            Ok(stream) => return Ok((stream, address)),
            Err(error) => {
                debug!(%host, %error, "could not connect");
                last = error;
            }
        }
    }
    Err(last)
}

async fn connect_to(address: SocketAddr) -> Result<TcpStream, DialError> {
    let failed = |error| DialError::new(address, error);
    let stream = match timeout(CONNECT_TIMEOUT, TcpStream::connect(address)).await {
        Err(_) => return Err(DialError::TimedOut(address)),
        Ok(stream) => stream.map_err(failed)?,
    };
    stream.set_nodelay(true).map_err(failed)?;
    // Dialling a free port of one's own machine may draw that very port to dial from: TCP then
    // connects the socket to itself (RFC 9293, section 3.5, "simultaneous open").
    if stream.local_addr().map_err(failed)? == address {
        return Err(DialError::Refused(address));
    }
    Ok(stream)
}

/// Dials the host of that index, unless it turns out to be this node, until the node stops.
pub(crate) async fn dial_host(shared: Arc<Shared>, index: usize) {
    let host = shared.config.hosts[index].clone();
    let mut dialer = Dialer::new(&shared, index as u64);
    loop {
        shared.set_host(index, HostState::Dialling);
        let note = |node_id| shared.set_host(index, HostState::Greeted(node_id));
        match dialer.attempt(&host, &note).await {
            Attempt::Stopped => return,
            Attempt::Myself => {
                info!(%host, "that is this node itself");
                shared.set_host(index, HostState::IsSelf);
                return;
            }
            Attempt::Duplicate(node_id) => {
                debug!(%host, node = %node_id, "leads to a node that is connected already");
                shared.set_host(index, HostState::Greeted(node_id));
                let has_parted = || !shared.with_directory(|peers| peers.is_dialled(node_id));
                tokio::select! {
                    stopped = dialer.wait_until(has_parted) => if stopped { return },
                    () = sleep(ALIAS_CHECK) => {}
                }
            }
            Attempt::Failed { why, again_in, .. } => {
                shared.set_host(index, HostState::Failed { why });
                if dialer.rest(again_in).await {
                    return;
                }
            }
        }
    }
}

/// Dials a node that was heard of whenever it is not alive, until it is long gone, another node answers in
/// its place, or this one stops.
pub(crate) async fn dial_learned(shared: Arc<Shared>, node_id: NodeId, introduced: HostAddr) {
    let mut dialer = Dialer::new(&shared, node_id.0);
    loop {
        let is_lost = || shared.with_directory(|peers| peers.route(node_id).is_none());
        if dialer.wait_until(is_lost).await {
            break;
        }
        let known = shared.with_directory(|peers| peers.status(node_id));
        let address = known.map_or_else(|| introduced.clone(), |peer| peer.address);
        match dialer.attempt(&address, &|_| {}).await {
            Attempt::Stopped | Attempt::Myself => break,
            Attempt::Duplicate(greeted) if greeted != node_id => break,
            // Another task was faster.
            Attempt::Duplicate(_) => {}
            Attempt::Failed { greeted, .. }
                if greeted.is_some_and(|greeted| greeted != node_id) =>
            {
                break;
            }
            Attempt::Failed { again_in, .. } => {
                if dialer.has_lasted(LEARNED_PATIENCE) {
                    info!(node = %node_id, %address, "not dialled any more, it is long gone");
                    break;
                }
                if dialer.rest(again_in).await {
                    break;
                }
            }
        }
    }
    shared.unlearn(node_id);
}

enum Attempt {
    /// This node stops.
    Stopped,
    /// The other end is this very process.
    Myself,
    /// The node is connected already.
    Duplicate(NodeId),
    /// No connection was made or it has ended; `greeted` tells with whom.
    Failed {
        why: String,
        greeted: Option<NodeId>,
        again_in: Duration,
    },
}

struct Dialer<'a> {
    shared: &'a Arc<Shared>,
    stop: watch::Receiver<bool>,
    backoff: Backoff,
    outage: Outage,
}

impl<'a> Dialer<'a> {
    /// `salt` tells the jitter of this process's dialers apart.
    fn new(shared: &'a Arc<Shared>, salt: u64) -> Dialer<'a> {
        Dialer {
            shared,
            stop: shared.stop.subscribe(),
            backoff: Backoff::new(shared.local.run_nonce.wrapping_add(salt)),
            outage: Outage::default(),
        }
    }

    /// Connects and speaks until the connection ends. `note` is told who has greeted.
    async fn attempt(&mut self, host: &HostAddr, note: &(dyn Fn(NodeId) + Sync)) -> Attempt {
        let level = if self.outage.running().is_some() {
            Level::DEBUG
        } else {
            Level::INFO
        };
        log_at!(level, %host, "connecting");
        let connected = tokio::select! {
            connected = connect(host) => connected,
            () = stopped(&mut self.stop) => return Attempt::Stopped,
        };
        let (mut stream, remote) = match connected {
            Ok(connected) => connected,
            Err(error) => {
                let alarming = matches!(error, DialError::NotResolved(_) | DialError::ResolvedLate);
                return self.failed(host, error.to_string(), alarming);
            }
        };
        log_at!(level, %host, %remote, "connected");
        let (shared, backoff, outage) = (self.shared, &mut self.backoff, &mut self.outage);
        let mut on_greeted = |node_id| {
            backoff.reset();
            if let Some((failures, since)) = outage.ended() {
                let down_for = shared.moment().monotonic.saturating_sub(since);
                info!(%host, node = %node_id, failures, ?down_for, "reconnected");
            }
            note(node_id);
        };
        let (reader, writer) = stream.split();
        let side = Side::Dialled;
        let Ended { why, greeted } =
            connection::run(shared, reader, writer, side, Some(remote), &mut on_greeted).await;
        match (why, greeted) {
            (HangUp::Stopping, _) => Attempt::Stopped,
            (HangUp::Myself, _) => Attempt::Myself,
            (HangUp::Duplicate(node_id), _) => Attempt::Duplicate(node_id),
            (why, None) => {
                let passing = matches!(
                    why,
                    HangUp::Closed | HangUp::Truncated | HangUp::Broken(_) | HangUp::Goodbye(_)
                );
                self.failed(host, why.to_string(), !passing)
            }
            (why, Some(node_id)) => {
                let again_in = self.backoff.next_wait();
                info!(%host, node = %node_id, %why, ?again_in, "hung up, reconnecting");
                Attempt::Failed {
                    why: why.to_string(),
                    greeted,
                    again_in,
                }
            }
        }
    }

    fn failed(&mut self, host: &HostAddr, why: String, alarming: bool) -> Attempt {
        let again_in = self.backoff.next_wait();
        let level = match self.outage.failed(self.shared.moment().monotonic, &why) {
            true if alarming => Level::WARN,
            true => Level::INFO,
            false => Level::DEBUG,
        };
        let failures = self.outage.running().map_or(0, |(failures, _)| failures);
        log_at!(level, %host, %why, failures, ?again_in, "could not connect");
        Attempt::Failed {
            why,
            greeted: None,
            again_in,
        }
    }

    /// Whether the present run of failures has lasted that long.
    fn has_lasted(&self, long: Duration) -> bool {
        let now = self.shared.moment().monotonic;
        self.outage
            .running()
            .is_some_and(|(_, since)| now.saturating_sub(since) >= long)
    }

    /// Waits; whether the node stops.
    async fn rest(&mut self, wait: Duration) -> bool {
        tokio::select! {
            () = sleep(wait) => false,
            () = stopped(&mut self.stop) => true,
        }
    }

    /// Waits until a condition on the table of peers holds; whether the node stops.
    async fn wait_until(&mut self, condition: impl Fn() -> bool) -> bool {
        let mut changed = self.shared.changed.subscribe();
        while !condition() {
            tokio::select! {
                _ = changed.changed() => {}
                () = stopped(&mut self.stop) => return true,
            }
        }
        *self.stop.borrow()
    }
}
