//! What the tasks of this crate share: the table of peers, the ends of connections, the clocks.
//!
//! Everything that decides is a method of [`Directory`] or of a session; here it is locked, and what it
//! decided is carried out: events, lines in the log, connections that are told to hang up. The lock is
//! never held over an await, nor while the owner's `on_event` runs.

use std::collections::{HashMap, HashSet, VecDeque};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, SystemTime};

use base::{ClusterId, Moment, NodeId, Timestamp};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tracing::{Level, debug, info, warn};

use crate::directory::{Admission, ConnectionId, Directory};
use crate::frame::PAYLOAD_LIMIT;
use crate::greeting::{Greeting, Side};
use crate::hang_up::HangUp;
use crate::link::Link;
use crate::message::Introduction;

use crate::status::{Config, Event, HostState, LocalNode, SEND_QUEUE_LIMIT, SendError};
use crate::{HostAddr, dialer};

/// How many accepted connections may wait for a greeting; then the oldest of them goes.
pub(crate) const UNGREETED_LIMIT: usize = 128;

/// How many nodes are dialled that are not in the configuration but were heard of.
pub(crate) const LEARNED_LIMIT: usize = 256;

pub(crate) struct Shared {
    pub(crate) config: Config,
    pub(crate) local: LocalNode,
    pub(crate) hosts_hash: u64,
    pub(crate) cluster_id: watch::Sender<Option<ClusterId>>,
    pub(crate) stop: watch::Sender<bool>,
    pub(crate) changed: watch::Sender<u64>,
    /// How many run.
    pub(crate) tasks: watch::Sender<usize>,
    started: Instant,
    on_event: Box<dyn Fn(Event) + Send + Sync>,
    state: Mutex<State>,
}

struct State {
    directory: Directory,
    handles: HashMap<ConnectionId, Handle>,
    /// Accepted and not greeted, oldest first.
    ungreeted: VecDeque<ConnectionId>,
    /// Whom tasks dial that no host leads to.
    learned: HashSet<NodeId>,
    next_connection: u64,
}

/// How others reach the task of a connection.
struct Handle {
    orders: mpsc::UnboundedSender<Order>,
    queued: Arc<AtomicUsize>,
    hang_up: watch::Sender<Option<HangUp>>,
}

/// What the task of a connection is asked to send.
pub(crate) enum Order {
    Payload(Vec<u8>),
    Introduce(Vec<Introduction>),
}

/// What the task of a connection holds.
pub(crate) struct Ends {
    pub(crate) id: ConnectionId,
    pub(crate) orders: mpsc::UnboundedReceiver<Order>,
    /// Bytes of payloads among the orders; who takes one out subtracts it.
    pub(crate) queued: Arc<AtomicUsize>,
    pub(crate) hang_up: watch::Receiver<Option<HangUp>>,
    pub(crate) cluster_id: watch::Receiver<Option<ClusterId>>,
    pub(crate) stop: watch::Receiver<bool>,
}

impl Shared {
    pub(crate) fn new(
        config: Config,
        local: LocalNode,
        on_event: impl Fn(Event) + Send + Sync + 'static,
    ) -> Shared {
        Shared {
            hosts_hash: HostAddr::list_hash(&config.hosts),
            cluster_id: watch::Sender::new(local.cluster_id),
            stop: watch::Sender::new(false),
            changed: watch::Sender::new(0),
            tasks: watch::Sender::new(0),
            started: Instant::now(),
            on_event: Box::new(on_event),
            state: Mutex::new(State {
                directory: Directory::new(&config.hosts),
                handles: HashMap::new(),
                ungreeted: VecDeque::new(),
                learned: HashSet::new(),
                next_connection: 0,
            }),
            config,
            local,
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state
            .lock()
            .expect("nothing panics while it holds the lock")
    }

    /// Looks something up in the table of peers.
    pub(crate) fn with_directory<T>(&self, look: impl FnOnce(&Directory) -> T) -> T {
        look(&self.state().directory)
    }

    /// Now.
    pub(crate) fn moment(&self) -> Moment {
        let wall = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default();
        let wall = Timestamp::from_millis(u64::try_from(wall.as_millis()).unwrap_or(u64::MAX));
        Moment {
            wall,
            monotonic: self.started.elapsed(),
        }
    }

    /// The instant at which the monotonic clock of [`Shared::moment`] shows that time.
    pub(crate) fn instant(&self, monotonic: Duration) -> Instant {
        self.started + monotonic
    }

    /// Runs a task that [`Peers::shutdown`](crate::Peers::shutdown) waits for.
    pub(crate) fn spawn(self: &Arc<Self>, task: impl Future<Output = ()> + Send + 'static) {
        struct Running(Arc<Shared>);
        impl Drop for Running {
            fn drop(&mut self) {
                self.0.tasks.send_modify(|tasks| *tasks -= 1);
            }
        }
        self.tasks.send_modify(|tasks| *tasks += 1);
        let running = Running(Arc::clone(self));
        tokio::spawn(async move {
            let _running = running;
            task.await;
        });
    }

    fn note_change(&self) {
        self.changed.send_modify(|changes| *changes += 1);
    }

    /// Makes the ends of a new connection. [`Shared::deregister`] takes them back.
    pub(crate) fn register(&self, side: Side) -> Ends {
        let (orders, orders_end) = mpsc::unbounded_channel();
        let hang_up = watch::Sender::new(None);
        let hang_up_end = hang_up.subscribe();
        let queued = Arc::new(AtomicUsize::new(0));
        let mut state = self.state();
        let id = ConnectionId(state.next_connection);
        state.next_connection += 1;
        state.handles.insert(
            id,
            Handle {
                orders,
                queued: Arc::clone(&queued),
                hang_up,
            },
        );
        if side == Side::Accepted {
            state.ungreeted.push_back(id);
            if state.ungreeted.len() > UNGREETED_LIMIT
                && let Some(oldest) = state.ungreeted.pop_front()
            {
                state.hang_up(oldest, HangUp::Crowded);
            }
        }
        drop(state);
        Ends {
            id,
            orders: orders_end,
            queued,
            hang_up: hang_up_end,
            cluster_id: self.cluster_id.subscribe(),
            stop: self.stop.subscribe(),
        }
    }

    /// Takes in the greeting of a connection; the host of that index was dialled for it, if any.
    pub(crate) fn admit(
        &self,
        id: ConnectionId,
        side: Side,
        greeting: &Greeting,
        remote: Option<SocketAddr>,
    ) -> Result<(), HangUp> {
        let node_id = greeting.node_id;
        let mut guard = self.state();
        let state = &mut *guard;
        let admission = state.directory.admit(id, side, greeting, remote)?;
        state.ungreeted.retain(|&waiting| waiting != id);
        let status = state
            .directory
            .status(node_id)
            .expect("it was just admitted");
        if let Admission::Restarted(former) = &admission {
            for &former in former {
                state.hang_up(former, HangUp::Restarted);
            }
        }
        if admission != Admission::Further {
            let others = state.directory.others_alive(node_id);
            let newcomer = Introduction {
                node_id,
                address: status.address.clone(),
            };
            for other in &others {
                if let Some(route) = state.directory.route(other.node_id) {
                    state.order(route, Order::Introduce(vec![newcomer.clone()]));
                }
            }
            if !others.is_empty() {
                state.order(id, Order::Introduce(others));
            }
        }
        drop(guard);
        self.note_change();

        let (name, address, version) = (&status.name, &status.address, &status.version);
        match admission {
            Admission::Further => {
                debug!(connection = id.0, node = %node_id, %name, "greeted on one more connection");
                return Ok(());
            }
            Admission::Restarted(_) => {
                let why = HangUp::Restarted.to_string();
                warn!(node = %node_id, %name, %address, %why, "lost a peer");
                (self.on_event)(Event::Lost { node_id, why });
            }
            Admission::Came => {}
        }
        info!(
            connection = id.0, node = %node_id, %name, %address, %version, ?side,
            incarnation = status.incarnation.0, "greeted"
        );
        (self.on_event)(Event::Greeted(status));
        Ok(())
    }

    /// Hands a payload to the owner.
    pub(crate) fn deliver(&self, from: NodeId, bytes: Vec<u8>) {
        (self.on_event)(Event::Payload { from, bytes });
    }

    /// Forgets a connection that ended.
    pub(crate) fn deregister(self: &Arc<Self>, id: ConnectionId, why: &HangUp) {
        let mut state = self.state();
        state.handles.remove(&id);
        state.ungreeted.retain(|&waiting| waiting != id);
        let lost = state.directory.remove(id);
        drop(state);
        if let Some(peer) = lost {
            self.note_change();
            let stopping = *why == HangUp::Stopping;
            let (node_id, why) = (peer.node_id, why.to_string());
            let level = if stopping { Level::DEBUG } else { Level::WARN };
            let (name, address) = (&peer.name, &peer.address);
            log_at!(level, node = %node_id, %name, %address, %why, "lost a peer");
            (self.on_event)(Event::Lost { node_id, why });
            self.learn(node_id, peer.address);
        }
    }

    pub(crate) fn set_peer_cluster_id(&self, id: ConnectionId, cluster_id: ClusterId) {
        self.state().directory.set_cluster_id(id, cluster_id);
        self.note_change();
    }

    pub(crate) fn measured(&self, id: ConnectionId, link: &Link) {
        self.state().directory.measured(id, link);
    }

    pub(crate) fn set_host(&self, index: usize, host_state: HostState) {
        let is_news = self.state().directory.set_host(index, host_state);
        if is_news {
            self.note_change();
        }
    }

    /// Sees to it that somebody who was heard of is dialled, unless it is alive or dialled already.
    pub(crate) fn learn(self: &Arc<Self>, node_id: NodeId, address: HostAddr) {
        if node_id == self.local.node_id || *self.stop.borrow() {
            return;
        }
        let mut state = self.state();
        if state.directory.route(node_id).is_some()
            || state.directory.is_host(node_id)
            || state.learned.contains(&node_id)
        {
            return;
        }
        if state.learned.len() == LEARNED_LIMIT {
            drop(state);
            debug!(node = %node_id, %address, "not dialled: {LEARNED_LIMIT} others are already");
            return;
        }
        state.learned.insert(node_id);
        drop(state);
        self.spawn(dialer::dial_learned(Arc::clone(self), node_id, address));
    }

    /// Notes that nobody dials that node any more.
    pub(crate) fn unlearn(&self, node_id: NodeId) {
        self.state().learned.remove(&node_id);
    }

    /// See [`Peers::send`](crate::Peers::send).
    pub(crate) fn send(&self, to: NodeId, payload: Vec<u8>) -> Result<(), SendError> {
        let length = payload.len();
        if length > PAYLOAD_LIMIT {
            return Err(SendError::TooLarge(length));
        }
        let state = self.state();
        let route = state.directory.route(to).ok_or(SendError::NotConnected)?;
        let handle = state.handles.get(&route).ok_or(SendError::NotConnected)?;
        if handle.queued.load(Ordering::Relaxed) + length > SEND_QUEUE_LIMIT {
            return Err(SendError::QueueFull);
        }
        handle.queued.fetch_add(length, Ordering::Relaxed);
        handle
            .orders
            .send(Order::Payload(payload))
            .map_err(|_| SendError::NotConnected)
    }
}

impl State {
    fn hang_up(&self, id: ConnectionId, why: HangUp) {
        if let Some(handle) = self.handles.get(&id) {
            handle.hang_up.send_replace(Some(why));
        }
    }

    /// An order for a connection that is ending is lost with it.
    fn order(&self, id: ConnectionId, order: Order) {
        if let Some(handle) = self.handles.get(&id)
            && handle.orders.send(order).is_err()
        {
            debug!(connection = id.0, "ending, so it takes no more orders");
        }
    }
}

/// Returns when this node stops.
pub(crate) async fn stopped(stop: &mut watch::Receiver<bool>) {
    stop.wait_for(|stop| *stop)
        .await
        .expect("tasks hold what holds the sender");
}
