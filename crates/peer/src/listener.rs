//! Accepting connections.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::sleep;
use tracing::{Level, debug, info, warn};

use crate::connection;
use crate::frame::{self, Kind};
use crate::greeting::Side;
use crate::hang_up::{HangUp, Refusal};
use crate::outage::{Outage, Quota};
use crate::shared::{Shared, stopped};

/// How many accepted connections may be open.
pub const CONNECTIONS_LIMIT: usize = 1024;

/// How long accepting rests after it failed, because this process has no file descriptor left, say.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Accepts until the node stops. One connection's trouble is its own.
pub(crate) async fn listen(shared: Arc<Shared>, listener: TcpListener) {
    let mut stop = shared.stop.subscribe();
    let room = Arc::new(Semaphore::new(CONNECTIONS_LIMIT));
    let mut outage = Outage::default();
    let mut quota = Quota::default();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = stopped(&mut stop) => return,
        };
        let now = shared.moment().monotonic;
        match accepted {
            Ok((stream, remote)) => {
                if let Some((failures, _)) = outage.ended() {
                    info!(failures, "accepting connections again");
                }
                match Arc::clone(&room).try_acquire_owned() {
                    Ok(permit) => {
                        let loud = quota.take(now);
                        let connection = serve(Arc::clone(&shared), stream, remote, loud, permit);
                        shared.spawn(connection);
                    }
                    Err(_) => turn_away(stream, remote, quota.take(now)),
                }
            }
            Err(error) if is_of_connection(&error) => {
                debug!(%error, "a connection was gone before it was accepted");
            }
            Err(error) => {
                if outage.failed(now, &error.to_string()) {
                    warn!(%error, "cannot accept connections, trying again every {ACCEPT_PAUSE:?}");
                }
                tokio::select! {
                    () = sleep(ACCEPT_PAUSE) => {}
                    () = stopped(&mut stop) => return,
                }
            }
        }
    }
}

/// Linux passes on what befell the connection that would have been accepted (accept(2), "Error handling").
fn is_of_connection(error: &io::Error) -> bool {
    use io::ErrorKind as K;
    matches!(
        error.kind(),
        K::ConnectionAborted
            | K::ConnectionReset
            | K::ConnectionRefused
            | K::Interrupted
            | K::NetworkDown
            | K::NetworkUnreachable
            | K::HostUnreachable
            | K::TimedOut
    )
}

async fn serve(
    shared: Arc<Shared>,
    mut stream: TcpStream,
    remote: SocketAddr,
    loud: bool,
    _permit: OwnedSemaphorePermit,
) {
    let level = |level| if loud { level } else { Level::DEBUG };
    log_at!(level(Level::INFO), %remote, "accepted a connection");
    if let Err(error) = stream.set_nodelay(true) {
        debug!(%remote, %error, "gone before it was served");
        return;
    }
    let (reader, writer) = stream.split();
    let side = Side::Accepted;
    let ended = connection::run(&shared, reader, writer, side, Some(remote), &mut |_| {}).await;
    let why = ended.why;
    match (&why, ended.greeted) {
        (HangUp::Myself | HangUp::Stopping, _) => debug!(%remote, %why, "hung up"),
        (_, Some(node_id)) => info!(%remote, node = %node_id, %why, "hung up"),
        (HangUp::Closed | HangUp::Goodbye(_) | HangUp::Broken(_), None) => {
            log_at!(level(Level::INFO), %remote, %why, "hung up");
        }
        (_, None) => log_at!(level(Level::WARN), %remote, %why, "hung up"),
    }
}

/// Refuses a connection for which there is no room, in one write that may fail.
fn turn_away(stream: TcpStream, remote: SocketAddr, loud: bool) {
    let refusal = Refusal::TooManyConnections {
        limit: CONNECTIONS_LIMIT,
    };
    if loud {
        warn!(%remote, why = %refusal, "refused a connection");
    }
    let mut bytes = Vec::new();
    frame::encode(&mut bytes, Kind::REFUSED, &refusal.message().encode());
    let told = stream
        .into_std()
        .and_then(|mut stream| stream.write_all(&bytes));
    if let Err(error) = told {
        debug!(%remote, %error, "could not say why");
    }
}
