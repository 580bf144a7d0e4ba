//! Accepting clients and spreading them over the cores.

use std::rc::Rc;
use std::time::Duration;

use cluster::Core;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tracing::{debug, warn};

use crate::server::{CoreServer, Server};

/// The way of accepted connections to the cores.
#[derive(Debug)]
pub struct Listener {
    listener: std::net::TcpListener,
    cores: Vec<UnboundedSender<std::net::TcpStream>>,
}

/// After an error that time may heal, such as too many open files.
const PAUSE: Duration = Duration::from_millis(100);

/// The connections that a core is to serve.
#[derive(Debug)]
pub struct Accepted(UnboundedReceiver<std::net::TcpStream>);

impl Listener {
    /// Takes a bound listener over, which must not block. Gives what each core is to [`serve`], in the
    /// cores' order.
    pub fn new(listener: std::net::TcpListener, cores: usize) -> (Listener, Vec<Accepted>) {
        let (cores, accepted) = (0..cores)
            .map(|_| {
                let (sender, receiver) = unbounded_channel();
                (sender, Accepted(receiver))
            })
            .unzip();
        (Listener { listener, cores }, accepted)
    }

    /// Accepts connections and hands them to the cores in turn, until the cores are gone. Runs inside
    /// a runtime.
    ///
    /// # Errors
    /// When the runtime does not take the listener.
    pub async fn run(self) -> std::io::Result<()> {
        let listener = TcpListener::from_std(self.listener)?;
        let mut next = 0;
        loop {
            let stream = match listener.accept().await {
                Ok((stream, address)) => {
                    debug!(%address, "accepted a client");
                    stream
                }
                Err(error) => {
                    warn!(%error, "a client could not be accepted; trying again");
                    tokio::time::sleep(PAUSE).await;
                    continue;
                }
            };
            let handed = stream
                .into_std()
                .map(|stream| self.cores[next].send(stream));
            match handed {
                Ok(Ok(())) => {}
                Ok(Err(_)) => return Ok(()),
                Err(error) => warn!(%error, "a client was lost between two cores"),
            }
            next = (next + 1) % self.cores.len();
        }
    }
}

/// Serves the connections of one core, for ever. Runs on that core's thread.
pub async fn serve(mut accepted: Accepted, core: Rc<Core>, server: Server, random_seed: u64) {
    let core = CoreServer::new(core, &server, random_seed);
    while let Some(stream) = accepted.0.recv().await {
        let adopted = stream
            .set_nodelay(true)
            .and_then(|()| TcpStream::from_std(stream));
        match adopted {
            Ok(stream) => core.start(stream, &server),
            Err(error) => debug!(%error, "a client was gone before it was served"),
        }
    }
}
