//! What the sessions of a node share, and what those of one core share.

use std::cell::Cell;
use std::fmt;
use std::io::Write;
use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use base::{Clock, ClusterId, NodeId, Timestamp};
use cluster::{Core, Store, SystemClock};
use commands::Reply;
use resp::Limits;
use rustix::time::{ClockId, clock_gettime};
use tokio::net::TcpStream;

use crate::admin::Admin;
use crate::buffers::Buffers;
use crate::clients::Clients;
use crate::connection::{Connection, Moving};
use crate::key_events::KeyEvents;
use crate::listener::{Arrival, Cores};
use crate::placement::Placement;
use crate::pubsub::{PubSub, Publication};
use crate::rate::Rate;
use crate::session::{Asked, Session};
use crate::stats::{Stats, Totals};

/// What a server is told at its start.
#[derive(Clone)]
pub struct Config {
    /// The clients that may be connected at once.
    pub max_clients: usize,
    /// What clients must show, if anything.
    pub password: Option<String>,
    /// Whether clients from other machines are refused while there is no password.
    pub protected: bool,
    /// The most bytes of one command.
    pub query_limit_bytes: usize,
    /// The most bytes of replies that wait for a connection at once; it is hung up on beyond.
    pub output_limit_bytes: usize,
    /// The most bytes of published messages that wait for a connection; it is hung up on beyond.
    pub pubsub_limit_bytes: usize,
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("max_clients", &self.max_clients)
            .field("password", &self.password.as_ref().map(|_| "(hidden)"))
            .field("protected", &self.protected)
            .field("query_limit_bytes", &self.query_limit_bytes)
            .field("output_limit_bytes", &self.output_limit_bytes)
            .field("pubsub_limit_bytes", &self.pubsub_limit_bytes)
            .finish()
    }
}

/// What `INFO` tells of the node and its peers.
#[derive(Clone, Debug)]
pub struct NodeFacts {
    /// Piccolo's version.
    pub version: &'static str,
    /// The node's identity.
    pub node_id: NodeId,
    /// The node's name.
    pub node_name: String,
    /// 40 hexadecimal digits that stay the same for the life of the data folder.
    pub run_id: String,
    /// Where peers connect.
    pub peer_address: String,
    /// Where clients connect.
    pub redis_address: SocketAddr,
    /// The configuration file, if there is one.
    pub config_file: String,
    /// When the node started.
    pub started: Timestamp,
}

/// What `INFO` tells of one peer.
#[derive(Clone, Debug)]
pub struct PeerFacts {
    /// Its name.
    pub name: String,
    /// Where it is dialled.
    pub address: String,
    /// A word: `alive`, `lost`...
    pub state: String,
    /// Whether it can be talked to.
    pub alive: bool,
    /// The round trip in microseconds, once known.
    pub rtt_micros: Option<u64>,
}

/// What `INFO` and `WAIT` tell of the cluster.
#[derive(Clone, Debug)]
pub struct ClusterFacts {
    /// Which it is, once the node belongs to one.
    pub cluster_id: Option<ClusterId>,
    /// A word: `forming`, `ok`, `degraded` (a replica is missing) or `no_quorum`.
    pub state: &'static str,
    /// The voters of the shard that has the fewest.
    pub voters: usize,
}

/// The ways from sessions to what the node's owner knows and does.
pub struct Links {
    /// Tells the present peers.
    pub peers: Box<dyn Fn() -> Vec<PeerFacts> + Send + Sync>,
    /// Tells how the cluster stands.
    pub cluster: Box<dyn Fn() -> ClusterFacts + Send + Sync>,
    /// Does what `PICCOLO` asks for.
    pub admin: Admin,
}

impl fmt::Debug for Links {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Links").finish_non_exhaustive()
    }
}

/// The Redis side of a node.
#[derive(Clone)]
pub struct Server {
    shared: Arc<Shared>,
}

/// What all sessions of a node share.
pub(crate) struct Shared {
    pub(crate) config: Config,
    /// The password as `CONFIG SET requirepass` may have changed it.
    password: RwLock<Option<String>>,
    max_clients: AtomicUsize,
    pub(crate) facts: NodeFacts,
    links: Links,
    pub(crate) clients: Clients,
    pub(crate) pubsub: Arc<PubSub>,
    pub(crate) key_events: Arc<KeyEvents>,
    placement: Placement,
    stats: Vec<Arc<Stats>>,
    /// What had been counted when `CONFIG RESETSTAT` was last called.
    stats_reset: Mutex<Totals>,
    rate: Mutex<Rate>,
    /// When the log last told of an attack, in milliseconds; 0 for never.
    attack_told: AtomicU64,
    store: Arc<Store>,
    clock: SystemClock,
}

/// What the sessions of one core share.
pub(crate) struct CoreServer {
    pub(crate) core: Rc<Core>,
    pub(crate) buffers: Buffers,
    pub(crate) stats: Arc<Stats>,
    shared: Arc<Shared>,
    cores: Cores,
    random: Cell<u64>,
}

impl Server {
    /// A server of the store.
    pub fn new(config: Config, facts: NodeFacts, store: Arc<Store>, links: Links) -> Server {
        let stats = (0..store.cores()).map(|_| Arc::default()).collect();
        let rate = Rate::new(facts.started);
        let pubsub = Arc::new(PubSub::new(config.pubsub_limit_bytes));
        let answerer = Arc::clone(&pubsub);
        store.set_answerer(move |question| answerer.answer(question));
        let shared = Shared {
            password: RwLock::new(config.password.clone()),
            max_clients: AtomicUsize::new(config.max_clients),
            config,
            facts,
            links,
            clients: Clients::default(),
            key_events: KeyEvents::of(&store, &pubsub),
            pubsub,
            placement: Placement::new(store.cores()),
            stats,
            stats_reset: Mutex::default(),
            rate: Mutex::new(rate),
            attack_told: AtomicU64::new(0),
            store,
            clock: SystemClock,
        };
        Server {
            shared: Arc::new(shared),
        }
    }

    pub(crate) fn placement(&self) -> &Placement {
        &self.shared.placement
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// Ends all connections as soon as they wait for nothing but their sockets.
    pub fn hang_up(&self) {
        for client in self.shared.clients.list() {
            client.kill();
        }
    }

    /// Waits until no client is connected.
    pub async fn emptied(&self) {
        self.shared.clients.emptied().await;
    }

    /// The number of connected clients.
    pub fn connected(&self) -> usize {
        self.shared.clients.len()
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server")
            .field("config", &self.shared.config)
            .finish_non_exhaustive()
    }
}

impl Shared {
    pub(crate) fn store(&self) -> &Store {
        &self.store
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// The time to within some milliseconds, for little.
    pub(crate) fn about_now(&self) -> Timestamp {
        let now = clock_gettime(ClockId::RealtimeCoarse);
        Timestamp::from_millis(now.tv_sec as u64 * 1000 + now.tv_nsec as u64 / 1_000_000)
    }

    pub(crate) fn peers(&self) -> Vec<PeerFacts> {
        (self.links.peers)()
    }

    pub(crate) fn cluster(&self) -> ClusterFacts {
        (self.links.cluster)()
    }

    pub(crate) fn needs_password(&self) -> bool {
        self.password().is_some()
    }

    pub(crate) fn password(&self) -> Option<String> {
        self.password
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    pub(crate) fn set_password(&self, password: Option<String>) {
        *self
            .password
            .write()
            .unwrap_or_else(PoisonError::into_inner) = password;
    }

    /// A client speaks HTTP, as a web page may make a browser do that can reach this port.
    pub(crate) fn note_attack(&self, address: SocketAddr) {
        let now = self.now().millis().max(1);
        let last = self.attack_told.load(Ordering::Relaxed);
        if now.saturating_sub(last) >= ATTACK_TOLD_EVERY_MS || last > now {
            self.attack_told.store(now, Ordering::Relaxed);
            tracing::warn!(
                %address,
                "possible attack: a client sent POST or Host: as a command, as a web page can make a \
                 browser do (cross-protocol scripting); its connection was closed"
            );
        }
    }

    pub(crate) fn max_clients(&self) -> usize {
        self.max_clients.load(Ordering::Relaxed)
    }

    pub(crate) fn set_max_clients(&self, most: usize) {
        self.max_clients.store(most, Ordering::Relaxed);
    }

    /// What was counted since the start or the last reset.
    pub(crate) fn totals(&self) -> Totals {
        let reset = self.stats_reset();
        self.all_totals().since(&reset)
    }

    /// Starts to count anew.
    pub(crate) fn reset_stats(&self) {
        *self.stats_reset() = self.all_totals();
    }

    /// Commands a second, lately.
    pub(crate) fn commands_per_second(&self) -> u64 {
        let mut rate = self.rate.lock().unwrap_or_else(PoisonError::into_inner);
        rate.sample(self.now(), self.all_totals().commands)
    }

    fn all_totals(&self) -> Totals {
        Totals::of(self.stats.iter().map(|stats| &**stats))
    }

    fn stats_reset(&self) -> MutexGuard<'_, Totals> {
        self.stats_reset
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn limits(&self, authenticated: bool) -> Limits {
        if authenticated {
            Limits {
                query_bytes: self.config.query_limit_bytes,
                ..Limits::default()
            }
        } else {
            Limits::unauthenticated()
        }
    }
}

impl CoreServer {
    pub(crate) fn new(core: Rc<Core>, server: &Server, cores: Cores, seed: u64) -> Rc<CoreServer> {
        let stats = Arc::clone(&server.shared.stats[core.index()]);
        Rc::new(CoreServer {
            core,
            buffers: Buffers::default(),
            stats,
            shared: Arc::clone(&server.shared),
            cores,
            random: Cell::new(seed),
        })
    }

    /// What all sessions of the node share.
    pub(crate) fn shared(&self) -> &Shared {
        &self.shared
    }

    /// Has others find out, or do, what a command asks for.
    pub(crate) async fn ask(&self, asked: Asked) -> Reply<'static> {
        match asked {
            Asked::Admin(request) => match (self.shared.links.admin)(request).await {
                Ok(text) => Reply::Bulk(text.into_bytes().into()),
                Err(text) => Reply::error(text),
            },
            Asked::PubSub(query) => self.shared.pubsub.find_out(query, self.core.store()).await,
        }
    }

    /// Hands messages to all who listen, on all nodes; how many each has reached.
    pub(crate) async fn publish(&self, publications: &[Publication]) -> Vec<i64> {
        self.shared
            .pubsub
            .publish(publications, self.core.store())
            .await
    }

    /// A number for what a read picks at random.
    pub(crate) fn random(&self) -> u64 {
        // A Weyl sequence; whoever uses it mixes it.
        let next = self.random.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
        self.random.set(next);
        next
    }

    /// Serves a connection that was accepted, or tells its client why not.
    pub(crate) fn start(self: &Rc<Self>, stream: TcpStream, number: usize, server: &Server) {
        self.stats.note_connection();
        let shared = Arc::clone(server.shared());
        let addresses = stream
            .peer_addr()
            .and_then(|peer| Ok((peer, stream.local_addr()?)));
        // The client may be gone already.
        let Ok((address, local_address)) = addresses else {
            return;
        };
        if shared.config.protected
            && !address.ip().to_canonical().is_loopback()
            && !shared.needs_password()
        {
            self.stats.note_rejected();
            refuse(stream, DENIED);
            return;
        }
        let most = shared.max_clients();
        let descriptor = stream.as_raw_fd();
        let Some(client) =
            shared
                .clients
                .add(address, local_address, descriptor, shared.now(), most)
        else {
            self.stats.note_rejected();
            refuse(stream, b"-ERR max number of clients reached\r\n");
            return;
        };
        let session = Session::new(shared, client, Arc::clone(&self.stats));
        self.serve(Connection::new(stream, number, session));
    }

    /// Serves a connection that another core served before.
    pub(crate) fn take_over(self: &Rc<Self>, moving: Moving) {
        let id = moving.client_id();
        match moving.arrive(Arc::clone(&self.stats)) {
            Ok(connection) => self.serve(connection),
            Err(error) => {
                tracing::warn!(client = id, %error, "a client was lost between two cores");
                self.shared.clients.remove(id);
            }
        }
    }

    fn serve(self: &Rc<Self>, connection: Connection) {
        let core = Rc::clone(self);
        tokio::task::spawn_local(async move {
            let id = connection.client_id();
            let moved = match connection.serve(&core).await {
                None => false,
                Some(moving) => {
                    let target = &core.cores[core.shared.placement.core_of(moving.number())];
                    // The other end goes only when the node stops.
                    target.send(Arrival::Moved(Box::new(moving))).is_ok()
                }
            };
            if !moved {
                core.shared.clients.remove(id);
            }
        });
    }

    /// Whether another core is to serve the connection of that number.
    pub(crate) fn is_moved(&self, number: usize) -> bool {
        self.shared.placement.core_of(number) != self.core.index()
    }
}

/// Whoever attacks must not fill the log as well.
const ATTACK_TOLD_EVERY_MS: u64 = 60_000;

const DENIED: &[u8] = b"-DENIED Piccolo listens on an address that other machines reach, and no \
password is set, so it only serves clients of this machine. Set redis.password, or bind \
redis.bind_host to 127.0.0.1.\r\n";

/// Tells the client as much as its socket takes at once.
fn refuse(stream: TcpStream, why: &[u8]) {
    // The runtime does not know yet that the socket takes something.
    let told = stream
        .into_std()
        .and_then(|mut stream| stream.write_all(why));
    if let Err(error) = told {
        tracing::debug!(%error, "a refused client did not take the reason");
    }
}
