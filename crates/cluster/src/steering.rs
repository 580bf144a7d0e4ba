//! The task that looks after the node as a whole: it drives [`node::Control`].
//!
//! It hears of peers, of the shards' news, of time and of what operators want, and carries out what
//! control decides, each action completely before the next. It runs on one thread, that of the peers; once
//! the node serves, what it writes to the disk is written on others.

use std::collections::BTreeMap;
use std::future::Future;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use base::{Clock, ClusterId, Moment, NodeId};
use meta::{ClusterMap, NodeStatus};
use node::startup::Dirs;
use node::wire::{Kind, Outbox};
use node::{
    Action, AdminCommand, ClusterState, Control, ControlConfig, ControlInput, HostState, HostView,
    PeerInfo, RestoreError, Restored,
};
use peer::{PeerState, PeerStatus, Peers};
use shard::Ticket;
use thiserror::Error;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::MissedTickBehavior;
use tracing::{debug, info, warn};
use wal::{DataDir, DataDirError, Identity};

use crate::clock::SystemClock;
use crate::news::News;
use crate::startup::OpenError;
use crate::store::Store;

/// How often the node tells of itself.
const SECOND: Duration = Duration::from_secs(1);

/// The node cannot go on.
#[derive(Debug, Error)]
pub enum SteeringError {
    /// Its folder cannot be read or written.
    #[error(transparent)]
    Folder(#[from] DataDirError),
    /// Its data cannot be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// What its folder says of its cluster cannot be relied upon.
    #[error(transparent)]
    Restore(#[from] RestoreError),
    /// The cluster does without it.
    #[error("{0}")]
    Stopped(String),
}

/// What the rest of the node knows of the cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterView {
    /// The cluster that the node belongs to.
    pub id: Option<ClusterId>,
    /// How the cluster is doing, as far as this node sees.
    pub state: ClusterState,
    /// Why the node has no cluster.
    pub forming: Option<String>,
    /// How many voters a shard has that has as many as it should.
    pub voters: usize,
}

enum Input {
    News(News),
    Admin(AdminCommand, oneshot::Sender<Result<String, String>>),
}

/// A way to the task, for any thread.
#[derive(Clone)]
pub struct Helm {
    inputs: mpsc::UnboundedSender<Input>,
    view: watch::Receiver<ClusterView>,
}

impl Helm {
    /// Has something done that an operator wants. What comes of it is JSON, or a refusal that begins with a
    /// word in capitals.
    pub fn ask(
        &self,
        command: AdminCommand,
    ) -> impl Future<Output = Result<String, String>> + Send + use<> {
        let (reply, answer) = oneshot::channel();
        let is_sent = self.inputs.send(Input::Admin(command, reply)).is_ok();
        async move {
            match answer.await {
                Ok(answer) if is_sent => answer,
                _ => Err("CLUSTERDOWN the node is stopping".into()),
            }
        }
    }

    /// Hands news over.
    pub fn tell(&self, news: News) {
        if self.inputs.send(Input::News(news)).is_err() {
            debug!("news came after the end");
        }
    }

    /// What is known of the cluster.
    pub fn view(&self) -> watch::Receiver<ClusterView> {
        self.view.clone()
    }
}

/// What the task works with.
pub struct Steering {
    store: Arc<Store>,
    folder: Arc<DataDir>,
    identity: Identity,
    control: Control,
    on_failure: Arc<dyn Fn(&str) + Send + Sync>,
    inputs: mpsc::UnboundedReceiver<Input>,
    view: watch::Sender<ClusterView>,
    asked: BTreeMap<u64, oneshot::Sender<Result<String, String>>>,
    last_ticket: u64,
    /// What control was told last.
    hosts: Vec<HostView>,
    clusters: BTreeMap<NodeId, ClusterId>,
    leaders: Vec<Option<NodeId>>,
    told_status: Duration,
}

impl Steering {
    /// Takes what the node's folder says. Where the node belongs to a cluster and knows its map, the
    /// shards are recovered before this returns; `on_failure` is called, by any thread, when the log can no
    /// longer be written.
    ///
    /// # Errors
    /// [`SteeringError`].
    pub fn start(
        store: Arc<Store>,
        folder: Arc<DataDir>,
        identity: Identity,
        config: ControlConfig,
        on_failure: impl Fn(&str) + Send + Sync + 'static,
    ) -> Result<(Steering, Helm), SteeringError> {
        let kept = folder.load_map()?;
        let map = kept.and_then(|bytes| match ClusterMap::decode(&bytes) {
            Ok(map) => Some(map),
            Err(error) => {
                warn!(%error, "the kept map cannot be read; it will come from other nodes");
                None
            }
        });
        let restored = Restored {
            cluster: identity.cluster,
            founding: folder.load_founding()?,
            map: map.clone(),
        };
        let voters = map.as_ref().map_or(0, wanted_voters);
        let control = Control::new(config, restored, moment())?;
        let (to_task, inputs) = mpsc::unbounded_channel();
        let (view, seen) = watch::channel(ClusterView {
            id: identity.cluster,
            state: ClusterState::Forming,
            forming: None,
            voters,
        });
        let steering = Steering {
            store,
            folder,
            control,
            on_failure: Arc::new(on_failure),
            inputs,
            view,
            asked: BTreeMap::new(),
            last_ticket: 0,
            hosts: Vec::new(),
            clusters: BTreeMap::new(),
            leaders: Vec::new(),
            told_status: Duration::ZERO,
            identity,
        };
        let helm = Helm {
            inputs: to_task,
            view: seen,
        };
        let listener = helm.clone();
        steering.store.set_listener(move |news| listener.tell(news));
        if steering.identity.cluster.is_some() {
            steering.recover(map.as_ref())?;
        }
        Ok((steering, helm))
    }

    /// Goes on until the node cannot, with the reason.
    pub async fn run(mut self, peers: Peers, heartbeat: Duration) -> SteeringError {
        let mut ticks = tokio::time::interval(heartbeat);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut changed = peers.changed();
        let mut actions = Vec::new();
        self.look_at_peers(&peers, &mut actions);
        loop {
            if let Err(error) = self.carry_out(&peers, &mut actions).await {
                return error;
            }
            tokio::select! {
                input = self.inputs.recv() => match input {
                    Some(input) => self.take(input, &mut actions),
                    None => return SteeringError::Stopped("nobody steers this node".into()),
                },
                change = changed.changed() => {
                    if change.is_err() {
                        return SteeringError::Stopped("the peers are gone".into());
                    }
                    self.look_at_peers(&peers, &mut actions);
                }
                _ = ticks.tick() => self.tick(&peers, &mut actions),
            }
        }
    }

    fn hear(&mut self, input: ControlInput, actions: &mut Vec<Action>) {
        self.control.handle(moment(), input, actions);
    }

    fn take(&mut self, input: Input, actions: &mut Vec<Action>) {
        let input = match input {
            Input::Admin(command, reply) => {
                self.last_ticket += 1;
                self.asked.insert(self.last_ticket, reply);
                ControlInput::Admin {
                    ticket: Ticket(self.last_ticket),
                    command,
                }
            }
            Input::News(News::Greeted(peer)) => ControlInput::Greeted(peer_info(&peer)),
            Input::News(News::Lost(node)) => ControlInput::Lost(node),
            Input::News(News::Control { from, bytes }) => ControlInput::Message { from, bytes },
            Input::News(News::ChangeDone { ticket, outcome }) => {
                ControlInput::ChangeDone { ticket, outcome }
            }
            Input::News(News::Map(map)) => ControlInput::Map(*map),
            // The others are for those who deal with snapshots.
            Input::News(_) => return,
        };
        self.hear(input, actions);
    }

    /// Tells what changed about hosts and peers, but for greetings and losses, which are news.
    fn look_at_peers(&mut self, peers: &Peers, actions: &mut Vec<Action>) {
        for peer in peers.statuses() {
            let node = peer.node_id;
            if let Some(cluster) = peer.cluster_id
                && self.clusters.insert(node, cluster) != Some(cluster)
            {
                self.hear(ControlInput::PeerCluster { node, cluster }, actions);
            }
        }
        let hosts: Vec<HostView> = peers.hosts().into_iter().map(host_view).collect();
        if hosts != self.hosts {
            self.hosts.clone_from(&hosts);
            self.hear(ControlInput::Hosts(hosts), actions);
        }
    }

    fn tick(&mut self, peers: &Peers, actions: &mut Vec<Action>) {
        let now = now();
        if self.store.shards() > 0 {
            let leaders = self.store.statuses().into_iter().map(|shard| shard.leader);
            let leaders: Vec<Option<NodeId>> = leaders.collect();
            if now >= self.told_status + SECOND || leaders != self.leaders {
                self.told_status = now;
                self.leaders = leaders;
                let status = self.status();
                self.hear(ControlInput::Status(status), actions);
                let alive = peers.statuses().into_iter();
                let alive = alive.filter(|peer| peer.state == PeerState::Alive);
                let round_trips = alive.filter_map(|peer| Some((peer.node_id, peer.rtt?)));
                self.hear(ControlInput::RoundTrips(round_trips.collect()), actions);
            }
        }
        self.hear(ControlInput::Tick, actions);
    }

    fn status(&self) -> NodeStatus {
        let (disk_free_bytes, disk_total_bytes) = disk_space(self.folder.path());
        NodeStatus {
            epoch: 0,
            incarnation: self.identity.incarnation,
            disk_free_bytes,
            disk_total_bytes,
            memory_bytes: memory(),
            refuses_writes: self.store.is_disk_full(),
            replicas: self.store.replica_statuses(),
        }
    }

    async fn carry_out(
        &mut self,
        peers: &Peers,
        actions: &mut Vec<Action>,
    ) -> Result<(), SteeringError> {
        for action in actions.drain(..) {
            match action {
                Action::PersistFounding(proposal) => self.folder.store_founding(&proposal)?,
                Action::Found { map } => {
                    Store::found(&self.dirs(), self.segment_size(), &map, self.identity.node)?;
                    self.belong(&map)?;
                    info!(cluster_id = %map.cluster, shards = map.shards, "founded a cluster");
                }
                Action::Joined { map, .. } => {
                    Store::join(&self.dirs(), self.segment_size())?;
                    self.belong(&map)?;
                    info!(cluster_id = %map.cluster, shards = map.shards, "joined a cluster");
                }
                Action::KeepMap(map) => self.keep(&map).await?,
                Action::SetCluster(cluster) => peers.set_cluster_id(cluster),
                Action::Send { to, bytes } => send(peers, to, &bytes),
                Action::Dial { node, address } => match address.parse() {
                    Ok(address) => peers.dial(node, address),
                    Err(error) => warn!(%node, address, %error, "a member cannot be dialled"),
                },
                Action::Forming(reason) => {
                    info!(reason, "no data is served yet");
                    self.store.set_forming(reason.clone());
                    self.view.send_modify(|view| view.forming = Some(reason));
                }
                Action::State(state) => self.show(state),
                Action::Shard { shard, order } => self.store.order(shard, order.into()),
                Action::AdminReply { ticket, answer } => {
                    if let Some(reply) = self.asked.remove(&ticket.0)
                        && reply.send(answer).is_err()
                    {
                        debug!("who asked has gone");
                    }
                }
                Action::Stop(reason) => return Err(SteeringError::Stopped(reason)),
                Action::Log {
                    warning: true,
                    text,
                } => warn!("{text}"),
                Action::Log { text, .. } => info!("{text}"),
            }
        }
        Ok(())
    }

    fn dirs(&self) -> Dirs {
        Dirs::of(self.folder.path())
    }

    fn segment_size(&self) -> u64 {
        self.store.config().segment_size_bytes
    }

    /// The node belongs to the cluster from now on, and serves its shards.
    fn belong(&mut self, map: &ClusterMap) -> Result<(), SteeringError> {
        let mut bytes = Vec::new();
        map.encode(&mut bytes);
        self.folder.store_map(&bytes)?;
        self.identity.cluster = Some(map.cluster);
        self.folder.store_identity(&self.identity)?;
        self.folder.remove_founding()?;
        self.view.send_modify(|view| {
            view.id = Some(map.cluster);
            view.forming = None;
            view.voters = wanted_voters(map);
        });
        self.recover(Some(map))
    }

    /// Keeps a newer map, as well as that goes. A node that had none finds its shards by it.
    async fn keep(&mut self, map: &ClusterMap) -> Result<(), SteeringError> {
        let mut bytes = Vec::new();
        map.encode(&mut bytes);
        // The disk takes its time, and this thread has clients and peers to serve.
        let folder = Arc::clone(&self.folder);
        let kept = tokio::task::spawn_blocking(move || folder.store_map(&bytes)).await;
        match kept {
            Ok(Ok(())) => {}
            Ok(Err(error)) => warn!(%error, "the map could not be kept"),
            Err(error) => warn!(%error, "the map could not be kept"),
        }
        let voters = wanted_voters(map);
        self.view
            .send_if_modified(|view| std::mem::replace(&mut view.voters, voters) != voters);
        if self.store.shards() == 0 && self.identity.cluster.is_some() {
            self.recover(Some(map))?;
        }
        Ok(())
    }

    /// Brings up what is on disk. A node that has lost its copy of the map and has no replica of shard 0 does
    /// not know how many shards there are: it waits until another node tells it.
    fn recover(&self, map: Option<&ClusterMap>) -> Result<(), SteeringError> {
        let opened = self.store.open(&self.dirs())?;
        let Some(map) = opened.map().or(map).cloned() else {
            warn!(
                "the map of the cluster is not here; the shards start when another node tells it"
            );
            return Ok(());
        };
        let on_failure = Arc::clone(&self.on_failure);
        self.store
            .start(opened, &map, move |failure| on_failure(failure))?;
        Ok(())
    }

    fn show(&mut self, state: ClusterState) {
        let before = self.view.borrow().state;
        let is_worse = state > before && before != ClusterState::Forming;
        if is_worse {
            warn!(%state, %before, "the cluster's state has changed");
        } else if state != before {
            info!(%state, %before, "the cluster's state has changed");
        }
        self.view.send_modify(|view| view.state = state);
    }
}

fn wanted_voters(map: &ClusterMap) -> usize {
    meta::wanted_voters(map.replicas, map.nodes.len())
}

fn send(peers: &Peers, to: NodeId, bytes: &[u8]) {
    let mut outbox = Outbox::default();
    outbox.put(to, Kind::Control, |out| out.extend_from_slice(bytes));
    for parcel in outbox.drain() {
        // What matters is said again.
        if let Err(error) = peers.send(parcel.to, parcel.payload) {
            debug!(node = %to, %error, "not sent");
        }
    }
}

fn peer_info(peer: &PeerStatus) -> PeerInfo {
    PeerInfo {
        node: peer.node_id,
        name: peer.name.clone(),
        address: peer.address.to_string(),
        incarnation: peer.incarnation,
        cluster: peer.cluster_id,
    }
}

fn host_view(host: peer::HostStatus) -> HostView {
    HostView {
        host: host.host.to_string(),
        state: match host.state {
            peer::HostState::Dialling => HostState::Dialling,
            peer::HostState::Failed { why } => HostState::Failed(why),
            peer::HostState::Greeted(node) => HostState::Greeted(node),
            peer::HostState::IsSelf => HostState::IsSelf,
        },
    }
}

fn now() -> Duration {
    SystemClock.monotonic()
}

fn moment() -> Moment {
    Moment {
        wall: SystemClock.now(),
        monotonic: now(),
    }
}

/// The free and the total bytes of the disk that holds the folder; zero where the system does not tell.
fn disk_space(folder: &Path) -> (u64, u64) {
    match rustix::fs::statvfs(folder) {
        Ok(disk) => (disk.f_bavail * disk.f_frsize, disk.f_blocks * disk.f_frsize),
        Err(error) => {
            debug!(%error, "the disk does not tell its space");
            (0, 0)
        }
    }
}

/// The bytes of memory that this process holds; zero where the system does not tell.
fn memory() -> u64 {
    let figures = std::fs::read_to_string("/proc/self/statm").ok();
    let pages = figures.and_then(|figures| figures.split_whitespace().nth(1)?.parse::<u64>().ok());
    pages.unwrap_or(0) * rustix::param::page_size() as u64
}
