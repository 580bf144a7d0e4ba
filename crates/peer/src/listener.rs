//! Accepting connections.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::sleep;
use tracing::{Level, debug, info, warn};

use crate::connection;
use crate::frame::{self, Kind};
use crate::greeting::Side;
use crate::hang_up::{HangUp, Refusal};
use crate::outage::{Outage, Strangers};
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
    let strangers = Arc::new(Mutex::new(Strangers::default()));
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
                        let (shared_too, strangers) = (Arc::clone(&shared), Arc::clone(&strangers));
                        let connection = serve(shared_too, stream, remote, strangers, permit);
                        shared.spawn(connection);
                    }
                    Err(_) => {
                        let why = Refusal::TooManyConnections {
                            limit: CONNECTIONS_LIMIT,
                        };
                        let text = why.to_string();
                        let tell = locked(&strangers).failed(now, remote.ip(), &text);
                        let level = if tell { Level::WARN } else { Level::DEBUG };
                        log_at!(level, %remote, why = text, "refused a connection");
                        turn_away(stream, remote, &why);
                    }
                }
            }
            Err(error) if is_of_connection(&error) => {
                debug!(
                    error = error.to_string(),
                    "a connection was gone before it was accepted"
                );
            }
            Err(error) => {
                if outage.failed(now, &error.to_string()) {
                    let error = error.to_string();
                    warn!(
                        error,
                        "cannot accept connections, trying again every {ACCEPT_PAUSE:?}"
                    );
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

/// So much may wait in the kernel that was not sent yet. What is written there can no longer be overtaken.
const UNSENT_MOST: u32 = 64 * 1024;

/// Sets what all connections between nodes have: nothing waits for more to come, and little waits where it is
/// out of reach.
pub(crate) fn tune(stream: &TcpStream) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    #[cfg(target_os = "linux")]
    if let Err(error) = socket2::SockRef::from(stream).set_tcp_notsent_lowat(UNSENT_MOST) {
        // Not every kernel knows it, and all works without: what is urgent then waits for more.
        debug!(
            error = error.to_string(),
            "what waits in the kernel has no limit of its own"
        );
    }
    Ok(())
}

async fn serve(
    shared: Arc<Shared>,
    mut stream: TcpStream,
    remote: SocketAddr,
    strangers: Arc<Mutex<Strangers>>,
    _permit: OwnedSemaphorePermit,
) {
    let ip = remote.ip();
    let tell = locked(&strangers).accepted(shared.moment().monotonic, ip);
    let level = if tell { Level::INFO } else { Level::DEBUG };
    log_at!(level, %remote, "accepted a connection");
    if let Err(error) = tune(&stream) {
        debug!(%remote, error = error.to_string(), "gone before it was served");
        return;
    }
    let (reader, writer) = stream.split();
    let mut on_greeted = |_| locked(&strangers).greeted(ip);
    let side = Side::Accepted;
    let ended = connection::run(
        &shared,
        reader,
        writer,
        side,
        Some(remote),
        None,
        &mut on_greeted,
    )
    .await;
    let why = ended.why.to_string();
    match (ended.why, ended.greeted) {
        (HangUp::Myself | HangUp::Stopping, _) => debug!(%remote, why, "hung up"),
        (_, Some(node_id)) => info!(%remote, node = %node_id, why, "hung up"),
        (reason, None) => {
            let now = shared.moment().monotonic;
            let level = match (locked(&strangers).failed(now, ip, &why), reason) {
                (true, HangUp::Closed | HangUp::Goodbye(_) | HangUp::Broken(_)) => Level::INFO,
                (true, _) => Level::WARN,
                (false, _) => Level::DEBUG,
            };
            log_at!(level, %remote, why, "hung up");
        }
    }
}

fn locked(strangers: &Mutex<Strangers>) -> MutexGuard<'_, Strangers> {
    strangers
        .lock()
        .expect("nothing panics while it holds the lock")
}

/// Refuses a connection for which there is no room, in one write that may fail.
fn turn_away(stream: TcpStream, remote: SocketAddr, why: &Refusal) {
    let mut bytes = Vec::new();
    frame::encode(&mut bytes, Kind::REFUSED, &why.message().encode());
    let told = stream
        .into_std()
        .and_then(|mut stream| stream.write_all(&bytes));
    if let Err(error) = told {
        debug!(%remote, error = error.to_string(), "could not say why");
    }
}
