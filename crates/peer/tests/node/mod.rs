//! A node's peers on a thread and a runtime of their own, so that a test can kill them.

use std::net::SocketAddr;
use std::thread::JoinHandle;
use std::time::Duration;

use base::{ClusterId, Incarnation, NodeId};
use peer::{Config, Event, HostAddr, HostState, LocalNode, PeerState, PeerStatus, Peers};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

/// Far more than anything here takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);

/// What a node is started with.
#[derive(Clone)]
pub(crate) struct Plan {
    pub(crate) id: u64,
    pub(crate) incarnation: u64,
    pub(crate) run_nonce: u64,
    pub(crate) cluster_id: Option<u64>,
    /// Empty: itself.
    pub(crate) hosts: Vec<String>,
    /// 0: any.
    pub(crate) port: u16,
}

impl Plan {
    pub(crate) fn new(id: u64, hosts: &[&str]) -> Plan {
        let hosts = hosts.iter().map(|&host| host.to_owned()).collect();
        Plan {
            id,
            incarnation: 1,
            run_nonce: id * 1000,
            cluster_id: None,
            hosts,
            port: 0,
        }
    }
}

pub(crate) struct Node {
    pub(crate) peers: Peers,
    pub(crate) id: NodeId,
    pub(crate) address: SocketAddr,
    events: mpsc::UnboundedReceiver<Event>,
    stop: oneshot::Sender<()>,
    thread: JoinHandle<()>,
}

impl Node {
    pub(crate) async fn start(id: u64, hosts: &[&str]) -> Node {
        Node::of(Plan::new(id, hosts)).await
    }

    pub(crate) async fn of(plan: Plan) -> Node {
        let (started, starting) = oneshot::channel();
        let (stop, stopped) = oneshot::channel::<()>();
        let id = NodeId(plan.id);
        let thread = std::thread::spawn(move || {
            let mut builder = tokio::runtime::Builder::new_current_thread();
            let runtime = builder.enable_all().build().expect("a runtime");
            runtime.block_on(async move {
                let bound = TcpListener::bind(("127.0.0.1", plan.port)).await;
                let listener = bound.expect("a free port");
                let address = listener.local_addr().expect("bound");
                let mut hosts = plan.hosts.clone();
                if hosts.is_empty() {
                    hosts.push(address.to_string());
                }
                let hosts = hosts
                    .iter()
                    .map(|host| host.parse().expect("an address"))
                    .collect();
                let local = LocalNode {
                    node_id: id,
                    run_nonce: plan.run_nonce,
                    incarnation: Incarnation(plan.incarnation),
                    cluster_id: plan.cluster_id.map(ClusterId),
                    name: format!("node-{}", plan.id),
                    advertised: HostAddr::from(address),
                    version: "0.1.0".into(),
                };
                let (sender, events) = mpsc::unbounded_channel();
                let on_event = move |event| {
                    // A test that has ended does not care.
                    drop(sender.send(event));
                };
                let config = Config {
                    hosts,
                    heartbeat: Config::DEFAULT_HEARTBEAT,
                };
                let peers = peer::start(config, local, listener, on_event).expect("a valid node");
                assert!(started.send((peers, address, events)).is_ok());
                drop(stopped.await);
            });
            runtime.shutdown_background();
        });
        let (peers, address, events) = starting.await.expect("started");
        Node {
            peers,
            id,
            address,
            events,
            stop,
            thread,
        }
    }

    pub(crate) fn host(&self) -> String {
        self.address.to_string()
    }

    /// Ends the node without a word, as a crash would; its address is free afterwards.
    pub(crate) fn kill(self) -> SocketAddr {
        drop(self.stop);
        self.thread.join().expect("no panic");
        self.address
    }

    pub(crate) async fn event(&mut self) -> Event {
        let event = timeout(PATIENCE, self.events.recv())
            .await
            .expect("an event in time");
        event.expect("the node runs")
    }

    /// The next event, which is a greeting of that node.
    pub(crate) async fn greeted(&mut self, id: NodeId) -> PeerStatus {
        match self.event().await {
            Event::Greeted(status) if status.node_id == id => status,
            other => panic!("{other:?}"),
        }
    }

    /// The next event, which is the loss of that node.
    pub(crate) async fn lost(&mut self, id: NodeId) -> String {
        match self.event().await {
            Event::Lost { node_id, why } if node_id == id => why,
            other => panic!("{other:?}"),
        }
    }

    /// The next event, which is a payload.
    pub(crate) async fn payload(&mut self) -> (NodeId, Vec<u8>) {
        match self.event().await {
            Event::Payload { from, bytes } => (from, bytes),
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn no_more_events(&mut self) {
        let event = self.events.try_recv();
        assert!(event.is_err(), "{event:?}");
    }

    /// Waits for a condition on what `statuses` and `hosts` tell.
    pub(crate) async fn until(&self, what: &str, condition: impl Fn(&Peers) -> bool) {
        let mut changed = self.peers.changed();
        let wait = async {
            while !condition(&self.peers) {
                changed.changed().await.expect("the node runs");
            }
        };
        if timeout(PATIENCE, wait).await.is_err() {
            panic!(
                "{what}: {:?} {:?}",
                self.peers.hosts(),
                self.peers.statuses()
            );
        }
    }

    /// Waits for the state of a host.
    pub(crate) async fn until_host(&self, index: usize, expected: &HostState) {
        let condition = |peers: &Peers| peers.hosts()[index].state == *expected;
        self.until(&format!("host {index} is {expected:?}"), condition)
            .await;
    }

    pub(crate) fn alive(&self) -> Vec<u64> {
        let mut alive: Vec<u64> = self
            .peers
            .statuses()
            .iter()
            .filter(|status| status.state == PeerState::Alive)
            .map(|status| status.node_id.0)
            .collect();
        alive.sort_unstable();
        alive
    }

    /// A connection to the node that speaks whatever the test makes it.
    pub(crate) async fn dial(&self) -> TcpStream {
        TcpStream::connect(self.address)
            .await
            .expect("the node listens")
    }
}

/// Everything until the other side closes.
pub(crate) async fn read_all(stream: &mut TcpStream) -> Vec<u8> {
    use tokio::io::AsyncReadExt;
    let mut bytes = Vec::new();
    let read = timeout(PATIENCE, stream.read_to_end(&mut bytes))
        .await
        .expect("closed in time");
    // A reset closes as well.
    if let Err(error) = read {
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
    }
    bytes
}
