//! Dialling: a task for each plan of [`Dialling`].
//!
//! A task connects, speaks on the connection until it ends, and asks the plan what is next. It owns its
//! connection, so it knows at once when it failed.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpStream, lookup_host};
use tokio::time::{sleep_until, timeout};
use tracing::{Level, debug};

use crate::HostAddr;
use crate::connection::{self, Ended};
use crate::dialling::{Dialling, Next};
use crate::greeting::Side;
use crate::listener;
use crate::own_address::is_own;
use crate::shared::{Shared, stopped};

/// How long a connection to one address may take to be made.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);

/// How long a name may take to be resolved.
const RESOLVE_TIMEOUT: Duration = Duration::from_secs(5);

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

enum Connected {
    To(TcpStream, SocketAddr),
    /// The host has no address but this node's own.
    Myself,
}

/// Resolves anew and tries all addresses. The error is that of the last.
async fn connect(
    host: &HostAddr,
    bound: SocketAddr,
    is_quiet: bool,
) -> Result<Connected, DialError> {
    let level = if is_quiet { Level::DEBUG } else { Level::INFO };
    log_at!(level, %host, "connecting");
    let addresses = match timeout(RESOLVE_TIMEOUT, lookup_host((host.host(), host.port()))).await {
        Err(_) => return Err(DialError::ResolvedLate),
        Ok(Err(error)) => return Err(DialError::NotResolved(error)),
        Ok(Ok(addresses)) => addresses.collect::<Vec<_>>(),
    };
    if !addresses.is_empty() && addresses.iter().all(|&address| is_own(bound, address)) {
        return Ok(Connected::Myself);
    }
    let mut last = DialError::NoAddress;
    for address in addresses {
        match connect_to(address).await {
            Ok(stream) => {
                log_at!(level, %host, remote = %address, "connected");
                return Ok(Connected::To(stream, address));
            }
            Err(error) => {
                debug!(%host, error = error.to_string(), "could not connect");
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
    listener::tune(&stream).map_err(failed)?;
    // Dialling a free port of one's own machine may draw that very port to dial from: TCP then
    // connects the socket to itself (RFC 9293, section 3.5, "simultaneous open").
    if stream.local_addr().map_err(failed)? == address {
        return Err(DialError::Refused(address));
    }
    Ok(stream)
}

/// Follows a plan until it ends or the node stops.
pub(crate) async fn dial(shared: Arc<Shared>, mut plan: Dialling) {
    let mut stop = shared.stop.subscribe();
    let mut changed = shared.changed.subscribe();
    loop {
        changed.mark_unchanged();
        let now = shared.moment();
        match shared.with_hub(|hub, _| plan.next(hub, now)) {
            Next::End => return,
            Next::Wait(until) => {
                let alarm = async {
                    match until {
                        Some(until) => sleep_until(shared.instant(until)).await,
                        None => std::future::pending().await,
                    }
                };
                tokio::select! {
                    _ = changed.changed() => {}
                    () = alarm => {}
                    () = stopped(&mut stop) => return,
                }
            }
            Next::Connect(host) => {
                tokio::select! {
                    connected = connect(&host, shared.bound, plan.is_failing()) => {
                        follow(&shared, &mut plan, host, connected).await;
                    }
                    () = stopped(&mut stop) => return,
                }
            }
        }
    }
}

/// Speaks on the connection, if one was made, until it ends, and tells the plan how it went.
async fn follow(
    shared: &Arc<Shared>,
    plan: &mut Dialling,
    host: HostAddr,
    connected: Result<Connected, DialError>,
) {
    let (mut stream, remote) = match connected {
        Ok(Connected::To(stream, remote)) => (stream, remote),
        Ok(Connected::Myself) => {
            let now = shared.moment();
            return shared.with_hub(|hub, _| plan.is_myself(hub, host, now));
        }
        Err(error) => {
            let alarming = matches!(error, DialError::NotResolved(_) | DialError::ResolvedLate);
            let (why, now) = (error.to_string(), shared.moment());
            return shared.with_hub(|hub, _| plan.failed(hub, host, &why, alarming, now));
        }
    };
    let (reader, writer) = stream.split();
    let expected = plan.expected();
    let mut on_greeted = |node_id| {
        let now = shared.moment();
        shared.with_hub(|hub, _| plan.greeted(hub, &host, node_id, now));
    };
    let Ended { why, greeted } = connection::run(
        shared,
        reader,
        writer,
        Side::Dialled,
        Some(remote),
        expected,
        &mut on_greeted,
    )
    .await;
    let now = shared.moment();
    shared.with_hub(|hub, _| plan.ended(hub, host, &why, greeted, now));
}

#[cfg(test)]
mod tests;
