//! The wiring of a node.
//!
//! A node starts in this order, and each step is there before the next one needs it:
//!
//! 1. the log, from the configuration (`logging.rs`, before this module);
//! 2. the peer port, because it names the folder (`bind.rs`);
//! 3. the folder `node-<peer port>`, locked, and the identity in it, with the next incarnation on disk
//!    before anything is said to anybody;
//! 4. the port for clients, because other nodes are told where it is; nobody is let in yet;
//! 5. recovery of what the node held, which tells its progress;
//! 6. the peers: accepting and dialling;
//! 7. the cores, which serve clients: the first on the main thread, the others on threads of their own;
//! 8. steering: founding or joining where there is no cluster, and from then on what
//!    concerns the node as a whole;
//! 9. the line "ready to serve", with the command that talks to it.
//!
//! It stops in the reverse order, after it has handed over what it leads.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::num::NonZeroUsize;
use std::pin::pin;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context, anyhow};
use base::{Clock, Incarnation, NodeId};
use cluster::{
    AdminCommand, ClusterState, Core, Helm, Steering, SteeringError, Store, SystemClock,
};
use peer::{PeerState, Peers};
use server::{AdminRequest, Arrivals, ClusterFacts, Links, NodeFacts, PeerFacts, Server};
use tokio::runtime::{LocalOptions, LocalRuntime};
use tokio::sync::watch;
use tracing::{error, info, warn};
use wal::{DataDir, Identity, RunId};

use crate::bind::{self, Listener};
use crate::config::{Config, Fsync, Reads};
use crate::open_files;
use crate::signals::Stop;

/// So long clients of a node without a cluster wait at the port, in case it founds one, before they are
/// told that there is none.
const PATIENCE: Duration = Duration::from_secs(1);
/// So long others have to take over what this node leads when it stops.
const HAND_OVER: Duration = Duration::from_secs(2);
/// So long clients have to take their last replies when the node stops.
const GOODBYE: Duration = Duration::from_secs(2);

/// Runs a node until `stop` says so, on that many threads or one for each processor.
///
/// # Errors
/// Whatever keeps the node from starting or from going on, told in full.
pub(crate) fn run(
    mut config: Config,
    threads: Option<NonZeroUsize>,
    config_file: String,
    stop: Stop,
) -> anyhow::Result<()> {
    let threads = match threads {
        Some(threads) => threads,
        None => {
            thread::available_parallelism().context("cannot tell how many processors there are")?
        }
    };
    let started = SystemClock.now();
    config.redis.max_clients = open_files::allow(config.redis.max_clients);
    let (peer_listener, peer_address) = bind::bind(
        Listener::Peer,
        &config.discovery.bind_host,
        &mut config.discovery.bind_port,
    )?;
    let folder = DataDir::open(&config.node_dir(peer_address))?;
    let identity = start_identity(&folder)?;
    let node_name = config.node_name(peer_address);
    info!(
        node_id = %identity.node,
        incarnation = identity.incarnation.0,
        name = node_name,
        folder = %folder.path().display(),
        threads,
        "this node"
    );

    let (redis_listener, redis_address) = bind::bind(
        Listener::Redis,
        &config.redis.bind_host,
        &mut config.redis.bind_port,
    )?;
    let (failed, failure) = watch::channel(None);
    let store = Store::new(store_config(&config, identity.node, threads));
    let advertised = config.advertise(peer_address);
    let (steering, helm) = Steering::start(
        Arc::clone(&store),
        Arc::new(folder),
        identity.clone(),
        control_config(&config, &identity, &node_name, peer_address, redis_address),
        move |failure| {
            failed.send_replace(Some(failure.to_owned()));
        },
    )?;

    let runtime = new_runtime()?;
    let peers = {
        let _entered = runtime.enter();
        start_peers(
            &config,
            &identity,
            node_name.clone(),
            peer_listener,
            peer_address,
            &store,
        )?
    };
    store.set_peers(peers.clone());
    if Config::protected_mode(redis_address) && config.redis.password.is_none() {
        warn!(
            address = %redis_address,
            "without redis.password only clients of this machine are served; others are refused"
        );
    }
    let facts = NodeFacts {
        version: env!("CARGO_PKG_VERSION"),
        node_id: identity.node,
        node_name,
        run_id: identity.run.to_string(),
        peer_address: advertised.to_string(),
        redis_address,
        config_file,
        started,
    };
    let links = links(peers.clone(), helm.clone());
    let server = new_server(&config, facts, &store, redis_address, links);
    let (end_cores, end) = watch::channel(false);
    let (open, opened) = watch::channel(false);
    let (first_core, cores) = start_cores(&store, &server, redis_listener, &opened, &end)?;

    let serving = runtime.spawn_local(first_core.serve());
    let outcome = runtime.block_on(async {
        let ticks = tokio::spawn(tick(Arc::clone(&store), config.cluster.heartbeat / 2));
        let steered = steering.run(peers.clone(), config.cluster.heartbeat);
        let outcome = tokio::select! {
            outcome = live(&store, &helm, redis_address, &open, stop) => outcome,
            reason = steered => Err(match reason {
                SteeringError::Stopped(reason) => anyhow!("this node stops: {reason}"),
                other => other.into(),
            }),
            failure = failure_of(failure) => Err(anyhow!(
                "the log cannot be written, and nothing more can be acknowledged: {failure}"
            )),
        };
        ticks.abort();
        outcome
    });
    // After a failure there is nothing to put in order: what was acknowledged is on disk.
    if let Err(failure) = outcome {
        // Nor is there time to wait for whoever resolves a name.
        runtime.shutdown_background();
        return Err(failure);
    }
    end_cores.send_replace(true);
    runtime.block_on(serving)?;
    join(cores)?;
    store.stop();
    runtime.block_on(peers.shutdown());
    runtime.shutdown_background();
    info!("stopped");
    Ok(())
}

/// Opens the door to clients once they can be served or told why not, says that the node is ready, and
/// waits for the signal to stop. Then others take over what this node leads.
async fn live(
    store: &Store,
    helm: &Helm,
    redis_address: SocketAddr,
    open: &watch::Sender<bool>,
    mut stop: Stop,
) -> anyhow::Result<()> {
    let mut patience = pin!(tokio::time::sleep(PATIENCE));
    let mut view = helm.view();
    let ready = async {
        view.wait_for(|view| view.id.is_some())
            .await
            .context("nobody steers this node")?;
        store.serving().await;
        // Then the state that people see follows at once; who waits for "ready" should not find another.
        let is_seen = view.wait_for(|view| {
            view.state > ClusterState::Forming && view.state < ClusterState::NoQuorum
        });
        match tokio::time::timeout(PATIENCE, is_seen).await {
            Ok(Err(_)) => Err(anyhow!("nobody steers this node")),
            _ => Ok(()),
        }
    };
    let mut ready = pin!(ready);
    loop {
        tokio::select! {
            outcome = &mut ready => {
                outcome?;
                break;
            }
            () = &mut patience, if !*open.borrow() => {
                open.send_replace(true);
            }
            signal = stop.wait_for(Option::is_some) => {
                signal.context("the signals are no longer heard")?;
                return Ok(());
            }
        }
    }
    open.send_replace(true);
    info!(
        "ready to serve: redis-cli{} -p {}",
        host_option(redis_address),
        redis_address.port()
    );
    stop.wait_for(Option::is_some)
        .await
        .context("the signals are no longer heard")?;
    if tokio::time::timeout(HAND_OVER, store.hand_over())
        .await
        .is_err()
    {
        warn!(
            "not all that this node leads was handed over in time; others take it over when it is gone"
        );
    }
    Ok(())
}

/// How a client is told the host, where it is not the one that clients take by themselves.
fn host_option(address: SocketAddr) -> String {
    let ip = address.ip();
    if ip == Ipv4Addr::LOCALHOST || ip.is_unspecified() {
        String::new()
    } else {
        format!(" -h {ip}")
    }
}

async fn failure_of(mut failure: watch::Receiver<Option<String>>) -> String {
    match failure.wait_for(Option::is_some).await {
        Ok(failure) => failure.clone().unwrap_or_default(),
        // The node that could fail is gone, so it cannot fail any more.
        Err(_) => std::future::pending().await,
    }
}

async fn tick(store: Arc<Store>, period: Duration) {
    let mut ticks = tokio::time::interval(period);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        store.tick();
    }
}

/// The identity for this start, on disk before it is returned: that of the folder with the next
/// incarnation, or a new one in an empty folder.
fn start_identity(folder: &DataDir) -> anyhow::Result<Identity> {
    let identity = match folder.load_identity()? {
        Some(last) => Identity {
            incarnation: Incarnation(last.incarnation.0 + 1),
            ..last
        },
        None => {
            let mut run = [0; 20];
            run.chunks_exact_mut(4)
                .for_each(|part| part.copy_from_slice(&draw().to_le_bytes()[..4]));
            Identity {
                node: NodeId(draw()),
                run: RunId(run),
                incarnation: Incarnation(1),
                cluster: None,
            }
        }
    };
    folder.store_identity(&identity)?;
    Ok(identity)
}

fn store_config(config: &Config, node: NodeId, threads: NonZeroUsize) -> cluster::Config {
    cluster::Config {
        cores: threads.get(),
        fsync: match config.storage.fsync {
            Fsync::Always => cluster::Fsync::Always,
            Fsync::Everysec => cluster::Fsync::EverySec,
            Fsync::Never => cluster::Fsync::Never,
        },
        segment_size_bytes: config.storage.segment_size.bytes(),
        snapshot_every_bytes: config.storage.snapshot_every.map(|size| size.bytes()),
        node,
        heartbeat: config.cluster.heartbeat,
        election: config.cluster.election,
        patience: config.cluster.patience,
        lease: config.cluster.reads == Reads::Lease,
        forward_limit_bytes: config.cluster.request_limit.bytes() as usize,
        catch_up_bytes: config.transfer.catch_up_log.bytes() as usize,
        transfer: cluster::TransferSettings {
            window: (config.transfer.window.bytes()
                / u64::from(cluster::TransferSettings::CHUNK_BYTES_MAX))
                as usize,
            bytes_per_second: config.transfer.rate_limit.map_or(0, |rate| rate.bytes()),
            ..cluster::TransferSettings::default()
        },
        random_seed: draw(),
    }
}

fn control_config(
    config: &Config,
    identity: &Identity,
    name: &str,
    peer: SocketAddr,
    redis: SocketAddr,
) -> cluster::ControlConfig {
    let advertised = config.advertise(peer);
    cluster::ControlConfig {
        local: cluster::Founder {
            node: identity.node,
            incarnation: identity.incarnation,
            name: name.to_owned(),
            address: advertised.to_string(),
            redis: Config::advertise_redis(redis, &advertised),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            formats: cluster::FORMATS,
        },
        hosts: config
            .discovery
            .hosts
            .iter()
            .map(ToString::to_string)
            .collect(),
        shards: config.cluster.shards,
        replicas: config.cluster.replicas,
        down_after: config.cluster.down_after,
        seed: draw(),
    }
}

fn start_peers(
    config: &Config,
    identity: &Identity,
    name: String,
    listener: TcpListener,
    address: SocketAddr,
    store: &Arc<Store>,
) -> anyhow::Result<Peers> {
    let settings = peer::Config {
        hosts: config.discovery.hosts.clone(),
        heartbeat: config.cluster.heartbeat,
    };
    let local = peer::LocalNode {
        node_id: identity.node,
        run_nonce: draw(),
        incarnation: identity.incarnation,
        cluster_id: identity.cluster,
        name,
        advertised: config.advertise(address),
        version: env!("CARGO_PKG_VERSION").to_owned(),
    };
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let store = Arc::clone(store);
    let on_event = move |event| store.on_peer_event(event);
    Ok(peer::start(settings, local, listener, on_event)?)
}

fn new_server(
    config: &Config,
    facts: NodeFacts,
    store: &Arc<Store>,
    address: SocketAddr,
    links: Links,
) -> Server {
    let settings = server::Config {
        max_clients: config.redis.max_clients as usize,
        password: config
            .redis
            .password
            .as_ref()
            .map(|password| password.reveal().to_owned()),
        protected: Config::protected_mode(address),
        query_limit_bytes: config.redis.query_buffer_limit.bytes() as usize,
        output_limit_bytes: config.redis.output_buffer_limit.bytes() as usize,
        pubsub_limit_bytes: config.redis.pubsub_buffer_limit.bytes() as usize,
    };
    Server::new(settings, facts, Arc::clone(store), links)
}

/// The ways from sessions to peers and to steering.
fn links(peers: Peers, helm: Helm) -> Links {
    let peer_facts = move || {
        peers
            .statuses()
            .into_iter()
            .map(|peer| PeerFacts {
                name: peer.name,
                address: peer.address.to_string(),
                state: peer.state.to_string(),
                alive: peer.state == PeerState::Alive,
                rtt_micros: peer.rtt.map(|rtt| rtt.as_micros() as u64),
            })
            .collect()
    };
    let view = helm.view();
    let cluster = move || {
        let view = view.borrow();
        ClusterFacts {
            cluster_id: view.id,
            state: match view.state {
                ClusterState::Forming => "forming",
                ClusterState::Ok => "ok",
                ClusterState::Degraded => "degraded",
                ClusterState::NoQuorum => "no_quorum",
            },
            voters: view.voters,
        }
    };
    Links {
        peers: Box::new(peer_facts),
        cluster: Box::new(cluster),
        admin: Box::new(move |request| Box::pin(helm.ask(admin_command(request)))),
    }
}

fn admin_command(request: AdminRequest) -> AdminCommand {
    match request {
        AdminRequest::Status => AdminCommand::Status,
        AdminRequest::NodeRemove(node) => AdminCommand::NodeRemove(node),
        AdminRequest::NodeDrain(node) => AdminCommand::NodeDrain(node),
        AdminRequest::NodeUndrain(node) => AdminCommand::NodeUndrain(node),
        AdminRequest::ShardMove { shard, from, to } => AdminCommand::ShardMove {
            shard: base::ShardId(shard),
            from,
            to,
        },
        AdminRequest::ShardLead { shard, node } => AdminCommand::ShardLead {
            shard: base::ShardId(shard),
            node,
        },
    }
}

/// The runtime of a thread that serves clients.
fn new_runtime() -> std::io::Result<LocalRuntime> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build_local(LocalOptions::default())
}

/// The first core, which is the main thread's, and the threads of the others. They end when `end` turns
/// true and their clients have their replies.
fn start_cores(
    store: &Arc<Store>,
    server: &Server,
    listener: TcpListener,
    opened: &watch::Receiver<bool>,
    end: &watch::Receiver<bool>,
) -> anyhow::Result<(ServingCore, Vec<JoinHandle<anyhow::Result<()>>>)> {
    let (listener, arrivals) = server::Listener::new(listener, store.cores());
    let mut listener = Some(listener);
    let cores = arrivals.into_iter().enumerate();
    let mut cores = cores.map(|(index, arrivals)| ServingCore {
        index,
        store: Arc::clone(store),
        server: server.clone(),
        listener: listener.take(),
        arrivals,
        opened: opened.clone(),
        end: end.clone(),
    });
    let first = cores.next().context("a node has a core at least")?;
    let mut threads = Vec::new();
    for core in cores {
        let thread = thread::Builder::new()
            .name(format!("core-{}", core.index))
            .spawn(|| {
                new_runtime()?.block_on(core.serve());
                Ok(())
            });
        threads.push(thread.context("a thread could not be started")?);
    }
    Ok((first, threads))
}

struct ServingCore {
    index: usize,
    store: Arc<Store>,
    server: Server,
    /// The first core accepts for all.
    listener: Option<server::Listener>,
    /// Turns true when clients may be let in; until then they wait at the port.
    opened: watch::Receiver<bool>,
    arrivals: Arrivals,
    end: watch::Receiver<bool>,
}

impl ServingCore {
    async fn serve(self) {
        let ServingCore {
            index,
            store,
            server,
            listener,
            mut opened,
            arrivals,
            mut end,
        } = self;
        let core = Core::new(index, store);
        tokio::task::spawn_local(std::rc::Rc::clone(&core).run());
        let listening = listener.map(|listener| {
            let server = server.clone();
            tokio::task::spawn_local(async move {
                // An error means that the node is gone, and the end comes anyway.
                drop(opened.wait_for(|opened| *opened).await);
                if let Err(error) = listener.run(&server).await {
                    error!(%error, "clients are no longer accepted");
                }
            })
        });
        let serving =
            tokio::task::spawn_local(server::serve(arrivals, core, server.clone(), draw()));
        // An error means that the node is gone, which is an end as well.
        drop(end.wait_for(|end| *end).await);
        if let Some(listening) = listening {
            listening.abort();
        }
        serving.abort();
        server.hang_up();
        if tokio::time::timeout(GOODBYE, server.emptied())
            .await
            .is_err()
        {
            warn!(
                clients = server.connected(),
                "some clients did not take their last replies"
            );
        }
    }
}

fn join(threads: Vec<JoinHandle<anyhow::Result<()>>>) -> anyhow::Result<()> {
    for thread in threads {
        match thread.join() {
            Ok(outcome) => outcome?,
            Err(_) => return Err(anyhow!("a core ended in a panic")),
        }
    }
    Ok(())
}

/// A random number that is not 0.
fn draw() -> u64 {
    loop {
        let number = getrandom::u64().expect("the system gives random numbers");
        if number != 0 {
            return number;
        }
    }
}
