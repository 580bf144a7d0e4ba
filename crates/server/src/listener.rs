//! Accepting clients and spreading them over the cores.

use std::rc::Rc;
use std::time::Duration;

use cluster::Core;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tracing::{debug, info, warn};

use crate::connection::Moving;
use crate::server::{CoreServer, Server};

/// The listener of clients.
#[derive(Debug)]
pub struct Listener {
    listener: std::net::TcpListener,
    cores: Cores,
}

/// The ways to the cores of a node.
pub(crate) type Cores = Vec<UnboundedSender<Arrival>>;

/// A connection that a core is to serve from now on.
pub(crate) enum Arrival {
    /// It was just accepted, as the connection of that number.
    New(std::net::TcpStream, usize),
    /// Another core served it before.
    Moved(Box<Moving>),
}

/// After an error that time may heal, such as too many open files.
const PAUSE: Duration = Duration::from_millis(100);

/// The connections that come to one core.
#[derive(Debug)]
pub struct Arrivals {
    arrivals: UnboundedReceiver<Arrival>,
    cores: Cores,
}

impl Listener {
    /// Takes a bound listener over, which must not block. Gives what each core is to [`serve`], in the
    /// cores' order.
    pub fn new(listener: std::net::TcpListener, cores: usize) -> (Listener, Vec<Arrivals>) {
        let (cores, receivers): (Cores, Vec<_>) = (0..cores).map(|_| unbounded_channel()).unzip();
        let arrivals = receivers
            .into_iter()
            .map(|arrivals| Arrivals {
                arrivals,
                cores: cores.clone(),
            })
            .collect();
        (Listener { listener, cores }, arrivals)
    }

    /// Accepts connections and hands them to the cores that serve clients, until the cores are gone.
    /// Runs inside a runtime.
    ///
    /// # Errors
    /// When the runtime does not take the listener.
    pub async fn run(self, server: &Server) -> std::io::Result<()> {
        let listener = TcpListener::from_std(self.listener)?;
        let mut number = 0;
        // How often accepting has failed in a row.
        let mut failures = 0_u64;
        loop {
            let stream = match listener.accept().await {
                Ok((stream, address)) => {
                    if failures > 0 {
                        info!(failures, "accepting clients again");
                        failures = 0;
                    }
                    debug!(%address, "accepted a client");
                    stream
                }
                Err(error) => {
                    if failures == 0 {
                        warn!(%error, "cannot accept clients; trying again every {PAUSE:?}");
                    } else {
                        debug!(%error, failures, "still cannot accept clients");
                    }
                    failures += 1;
                    tokio::time::sleep(PAUSE).await;
                    continue;
                }
            };
            let core = &self.cores[server.placement().core_of(number)];
            match stream
                .into_std()
                .map(|stream| core.send(Arrival::New(stream, number)))
            {
                Ok(Ok(())) => {}
                Ok(Err(_)) => return Ok(()),
                Err(error) => warn!(%error, "a client was lost between two cores"),
            }
            number = number.wrapping_add(1);
        }
    }
}

/// Serves the connections of one core, for ever. Runs on that core's thread.
pub async fn serve(arrivals: Arrivals, core: Rc<Core>, server: Server, random_seed: u64) {
    let Arrivals {
        mut arrivals,
        cores,
    } = arrivals;
    let index = core.index();
    server.placement().note_thread(index);
    if index == 0 {
        let server = server.clone();
        tokio::task::spawn_local(async move {
            let store = server.shared().store();
            let changed = |active| store.set_active_cores(active);
            server.placement().follow_load(changed).await;
        });
    }
    let core = CoreServer::new(core, &server, cores, random_seed);
    while let Some(arrival) = arrivals.recv().await {
        match arrival {
            Arrival::New(stream, number) => {
                let adopted = stream
                    .set_nodelay(true)
                    .and_then(|()| TcpStream::from_std(stream));
                match adopted {
                    Ok(stream) => core.start(stream, number, &server),
                    Err(error) => debug!(%error, "a client was gone before it was served"),
                }
            }
            Arrival::Moved(moving) => core.take_over(*moving),
        }
    }
}
