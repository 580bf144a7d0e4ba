//! Sessions without sockets: bytes in, bytes out, on a node that holds no data yet.

mod authentication;
mod client;

mod command;
mod config;
mod connection;
mod data;
mod info;
mod piccolo;
mod pubsub;
mod records;
mod replicas;
mod shards;
mod transactions;

use std::net::{Ipv4Addr, SocketAddr};
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use base::{ClusterId, NodeId, Timestamp};
use cluster::{Core, Fsync, Store};

use crate::clients::Client;
use crate::server::{ClusterFacts, Config, CoreServer, Links, NodeFacts, PeerFacts, Server};
use crate::session::{Session, Step};

/// A node of which only the Redis side is there.
struct Node {
    server: Server,
    core: Rc<CoreServer>,
}

/// A client of it.
struct Talk {
    core: Rc<CoreServer>,
    client: Arc<Client>,
    session: Session,
    closed: Option<&'static str>,
}

const RUN_ID: &str = "0123456789abcdef0123456789abcdef01234567";

fn address(port: u16) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, port).into()
}

impl Node {
    fn new(password: Option<&str>) -> Node {
        let peer = |name: &str, rtt_micros: Option<u64>| PeerFacts {
            name: name.into(),
            address: "127.0.0.1:19920".into(),
            state: "connected".into(),
            alive: rtt_micros.is_some(),
            rtt_micros,
        };
        let peers = vec![peer("b", Some(120)), peer("c,d\r\nrole:slave", None)];
        let config = Config {
            max_clients: 100,
            password: password.map(Into::into),
            protected: true,
            query_limit_bytes: 1 << 30,
            output_limit_bytes: 1 << 20,
            pubsub_limit_bytes: 1 << 16,
        };
        let facts = NodeFacts {
            version: "1.2.3",
            node_id: NodeId(0xabc),
            node_name: "a".into(),
            run_id: RUN_ID.into(),
            peer_address: "127.0.0.1:19919".into(),
            redis_address: address(6379),
            config_file: String::new(),
            started: Timestamp::ZERO,
        };
        let store = Store::new(cluster::Config {
            cores: 1,
            fsync: Fsync::EverySec,
            segment_size_bytes: 1 << 20,
            snapshot_every_bytes: None,
            node: NodeId(1),
            heartbeat: Duration::from_millis(100),
            election: Duration::from_millis(500),
            patience: Duration::from_secs(2),
            lease: true,
            forward_limit_bytes: 64 << 20,
            catch_up_bytes: 16 << 20,
            transfer: cluster::TransferSettings::default(),
            random_seed: 1,
        });
        store.set_forming("no founder was met".into());
        let state = Arc::clone(&store);
        let links = Links {
            peers: Box::new(move || peers.clone()),
            cluster: Box::new(move || ClusterFacts {
                cluster_id: (state.shards() > 0).then_some(ClusterId(0xdef)),
                state: if state.shards() > 0 { "ok" } else { "forming" },
                voters: 3,
            }),
            admin: Box::new(|request| {
                Box::pin(async move { Err(format!("ERR asked: {request:?}")) })
            }),
        };
        let server = Server::new(config, facts, Arc::clone(&store), links);
        let core = CoreServer::new(Core::new(0, store), &server, Vec::new(), 1);
        Node { server, core }
    }

    fn connect(&self) -> Talk {
        let shared = self.server.shared();
        let client = shared
            .clients
            .add(address(50_000), address(6379), 9, shared.now(), 100)
            .unwrap();
        let stats = Arc::clone(&self.core.stats);
        Talk {
            core: Rc::clone(&self.core),
            client: Arc::clone(&client),
            session: Session::new(Arc::clone(shared), client, stats),
            closed: None,
        }
    }
}

impl Talk {
    /// Sends inline commands, one a line, and gives what came back.
    fn say(&mut self, lines: &str) -> String {
        let input = lines.trim_start().replace('\n', "\r\n") + "\r\n";
        self.send(input.as_bytes())
    }

    fn send(&mut self, mut input: &[u8]) -> String {
        let mut output = Vec::new();
        while self.closed.is_none() {
            let mut consumed = 0;
            let step = self
                .session
                .take_commands(input, &mut consumed, &mut output, &self.core);
            input = &input[consumed..];
            match step {
                Step::NeedsInput => break,
                Step::Flush => {}
                Step::Close(why) => self.closed = Some(why),
                Step::Submit(_) => panic!("there is no shard"),
                // Here no other node is asked, and the answer is there at once.
                Step::Ask(asked) => {
                    let reply = at_once(self.core.ask(asked));
                    self.session.answer_asked(&reply, &mut output);
                }
                Step::Publish(publications) => {
                    let counts = at_once(self.core.publish(&publications));
                    self.session
                        .answer_publications(&publications, &counts, &mut output);
                }
            }
        }
        String::from_utf8(output).unwrap()
    }
}

/// What a future gives that need not wait.
fn at_once<T>(future: impl Future<Output = T>) -> T {
    let mut context = Context::from_waker(Waker::noop());
    match pin!(future).poll(&mut context) {
        Poll::Ready(value) => value,
        Poll::Pending => panic!("it waits"),
    }
}

/// What a client that need not authenticate gets for these lines.
fn say(lines: &str) -> String {
    Node::new(None).connect().say(lines)
}

/// Each line by itself, to a new client each: what it says and what it must get.
fn check(cases: &[(&str, &str)]) {
    for (lines, expected) in cases {
        assert_eq!(say(lines), *expected, "{lines}");
    }
}
