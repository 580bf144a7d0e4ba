//! Nodes that meet over real sockets.

mod node;

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use base::{ClusterId, Incarnation, NodeId};
use node::{Node, Plan, read_all};
use peer::frame::{self, Decoder, Kind, PAYLOAD_LIMIT};
use peer::greeting::{Greeting, Side, VERSION, Version};
use peer::message::{Ping, Refused};
use peer::{HostAddr, HostState, PeerState, SEND_QUEUE_LIMIT, SendError};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};

/// Two nodes that have greeted each other; the second dials the first.
async fn pair() -> (Node, Node) {
    let mut one = Node::start(1, &[]).await;
    let mut two = Node::start(2, &[&one.host()]).await;
    one.greeted(two.id).await;
    two.greeted(one.id).await;
    (one, two)
}

#[tokio::test]
async fn two_nodes_greet_and_measure_each_other() {
    let (one, two) = pair().await;
    one.until_host(0, &HostState::IsSelf).await;
    two.until_host(0, &HostState::Greeted(one.id)).await;
    let known = &one.peers.statuses()[0];
    assert_eq!(
        (known.name.as_str(), known.version.as_str()),
        ("node-2", "0.1.0")
    );
    assert_eq!(known.address.to_string(), two.host());
    assert_eq!(known.state.to_string(), "alive");
    for node in [&one, &two] {
        let deadline = Instant::now() + Duration::from_secs(20);
        while node.peers.statuses()[0].rtt.is_none() {
            assert!(Instant::now() < deadline, "never measured");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let measured = &node.peers.statuses()[0];
        assert!(
            measured.clock_offset_ms.expect("measured").abs() < 1000,
            "{measured:?}"
        );
    }
}

#[tokio::test]
async fn payloads_of_every_size_arrive_in_order() {
    let (mut one, two) = pair().await;
    let long = SEND_QUEUE_LIMIT + 1;
    let payloads: Vec<Vec<u8>> = [long, 0, 1, 100, 5000, PAYLOAD_LIMIT, 70_000, 1]
        .iter()
        .enumerate()
        .map(|(n, &length)| vec![n as u8; length])
        .collect();
    for (n, payload) in payloads.iter().enumerate() {
        while let Err(error) = two.peers.send(one.id, payload.clone()) {
            // Behind the first there is no room until it is on its way.
            assert_eq!((n, error), (1, SendError::QueueFull));
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
    for payload in payloads {
        assert!(one.payload().await == (two.id, payload));
    }
    assert_eq!(
        one.peers.send(NodeId(77), vec![]),
        Err(SendError::NotConnected)
    );
}

#[tokio::test]
async fn a_killed_node_is_missed_and_greeted_again_within_three_seconds() {
    for victim in 0..2 {
        let (mut one, mut two) = pair().await;
        let founder = one.host();
        let (mut survivor, id) = if victim == 0 {
            let address = one.kill();
            two.lost(NodeId(1)).await;
            assert_eq!(two.peers.statuses()[0].state, PeerState::Lost);
            assert_eq!(
                two.peers.send(NodeId(1), vec![]),
                Err(SendError::NotConnected)
            );
            let plan = Plan {
                port: address.port(),
                incarnation: 2,
                run_nonce: 5,
                ..Plan::new(1, &[])
            };
            one = Node::of(plan).await;
            (two, one.id)
        } else {
            two.kill();
            one.lost(NodeId(2)).await;
            let plan = Plan {
                incarnation: 2,
                run_nonce: 5,
                ..Plan::new(2, &[&founder])
            };
            two = Node::of(plan).await;
            (one, two.id)
        };
        let back = Instant::now();
        let status = survivor.greeted(id).await;
        assert!(
            back.elapsed() < Duration::from_secs(3),
            "{:?}",
            back.elapsed()
        );
        assert_eq!(status.incarnation.0, 2);
        assert_eq!(survivor.peers.statuses().len(), 1);
    }
}

#[tokio::test]
async fn a_node_recognises_itself_whatever_it_is_called() {
    let probe = Node::start(1, &[]).await;
    let port = probe.kill().port();
    let hosts = [format!("127.0.0.1:{port}"), format!("localhost:{port}")];
    let hosts: Vec<&str> = hosts.iter().map(String::as_str).collect();
    let mut node = Node::of(Plan {
        port,
        ..Plan::new(1, &hosts)
    })
    .await;
    node.until_host(0, &HostState::IsSelf).await;
    node.until_host(1, &HostState::IsSelf).await;
    node.no_more_events();
    assert!(node.peers.statuses().is_empty());
}

#[tokio::test]
async fn two_hosts_that_lead_to_one_node_share_a_connection() {
    let mut one = Node::start(1, &[]).await;
    let hosts = [one.host(), format!("localhost:{}", one.address.port())];
    let mut two = Node::start(2, &[&hosts[0], &hosts[1]]).await;
    two.greeted(one.id).await;
    one.greeted(two.id).await;
    two.until_host(0, &HostState::Greeted(one.id)).await;
    two.until_host(1, &HostState::Greeted(one.id)).await;
    two.peers.send(one.id, vec![1]).expect("room");
    assert_eq!(one.payload().await, (two.id, vec![1]));
    two.no_more_events();
    // When the node comes back, both find it again.
    let plan = Plan {
        port: one.kill().port(),
        incarnation: 2,
        run_nonce: 5,
        ..Plan::new(1, &[])
    };
    two.lost(NodeId(1)).await;
    let one = Node::of(plan).await;
    two.greeted(one.id).await;
    two.until_host(0, &HostState::Greeted(one.id)).await;
    two.until_host(1, &HostState::Greeted(one.id)).await;
}

#[tokio::test]
async fn nodes_that_know_only_one_host_in_common_find_each_other() {
    let one = Node::start(1, &[]).await;
    let two = Node::start(2, &[&one.host()]).await;
    let three = Node::start(3, &[&one.host()]).await;
    let nodes = [(&one, [2, 3]), (&two, [1, 3]), (&three, [1, 2])];
    for (node, others) in nodes {
        node.until("all others are alive", |_| node.alive() == others)
            .await;
    }
    // Without the host that introduced them, they still find each other again.
    one.kill();
    let plan = Plan {
        port: three.kill().port(),
        incarnation: 2,
        run_nonce: 5,
        ..Plan::new(3, &[])
    };
    two.until("alone", |_| two.alive().is_empty()).await;
    let three = Node::of(plan).await;
    two.until("found again", |_| two.alive() == [3]).await;
    three.until("found again", |_| three.alive() == [2]).await;
}

#[tokio::test]
async fn a_lost_peer_is_dialled_even_if_it_was_always_the_one_to_dial() {
    let (mut one, two) = pair().await;
    let plan = Plan {
        port: two.kill().port(),
        incarnation: 2,
        run_nonce: 5,
        ..Plan::new(2, &[])
    };
    one.lost(NodeId(2)).await;
    let mut two = Node::of(plan).await;
    one.greeted(two.id).await;
    two.greeted(one.id).await;
}

#[tokio::test]
async fn strangers_are_refused_and_a_cluster_learned_later_is_shared() {
    let (one, two) = pair().await;
    let cluster = ClusterId(9);
    one.peers.set_cluster_id(cluster);
    let told = |node: &Node| node.peers.statuses()[0].cluster_id == Some(cluster);
    two.until("told the cluster", |_| told(&two)).await;
    let stranger = Plan {
        cluster_id: Some(8),
        ..Plan::new(3, &[&one.host()])
    };
    let mut stranger = Node::of(stranger).await;
    let refused = |peers: &peer::Peers| match &peers.hosts()[0].state {
        HostState::Failed { why } => why.contains("a stranger: it belongs to cluster"),
        _ => false,
    };
    stranger.until("refused", refused).await;
    stranger.no_more_events();
    assert_eq!(one.alive(), [2]);
    // Two that learn different clusters part.
    two.peers.set_cluster_id(ClusterId(7));
    one.until("parted", |_| one.alive().is_empty()).await;
}

#[tokio::test]
async fn a_copied_data_folder_is_refused() {
    let (one, _two) = pair().await;
    let copy = Plan {
        run_nonce: 77,
        ..Plan::new(2, &[&one.host()])
    };
    let copy = Node::of(copy).await;
    let refused = |peers: &peer::Peers| match &peers.hosts()[0].state {
        HostState::Failed { why } => why.contains("was a data folder copied?"),
        _ => false,
    };
    copy.until("refused", refused).await;
    assert_eq!(one.peers.statuses()[0].run_nonce, 2000);
}

/// Forwards connections to an address, and can cut all of them.
struct Proxy {
    address: std::net::SocketAddr,
    forwards: Arc<Mutex<Vec<tokio::task::JoinHandle<()>>>>,
}

impl Proxy {
    async fn to(target: std::net::SocketAddr) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        let forwards = Arc::new(Mutex::new(Vec::new()));
        let list = Arc::clone(&forwards);
        tokio::spawn(async move {
            while let Ok((mut near, _)) = listener.accept().await {
                let forward = tokio::spawn(async move {
                    if let Ok(mut far) = TcpStream::connect(target).await {
                        // It ends with either side.
                        drop(tokio::io::copy_bidirectional(&mut near, &mut far).await);
                    }
                });
                list.lock().expect("no panic").push(forward);
            }
        });
        Proxy { address, forwards }
    }

    fn cut(&self) {
        let mut forwards = self.forwards.lock().expect("no panic");
        forwards.drain(..).for_each(|forward| forward.abort());
    }
}

#[tokio::test]
async fn a_connection_that_dies_beside_another_is_no_silent_loss() {
    // The one dials through a proxy, the other directly: each sends on its own.
    let (port_one, port_two) = (free_port().await, free_port().await);
    let proxy = Proxy::to(([127, 0, 0, 1], port_two).into()).await;
    let one = Plan {
        port: port_one,
        ..Plan::new(1, &[&proxy.address.to_string()])
    };
    let two = Plan {
        port: port_two,
        ..Plan::new(2, &[&format!("127.0.0.1:{port_one}")])
    };
    let (mut one, mut two) = (Node::of(one).await, Node::of(two).await);
    one.greeted(two.id).await;
    two.greeted(one.id).await;
    one.until_host(0, &HostState::Greeted(two.id)).await;
    two.until_host(0, &HostState::Greeted(one.id)).await;
    one.peers
        .send(two.id, b"a question".to_vec())
        .expect("room");
    assert_eq!(two.payload().await, (one.id, b"a question".to_vec()));
    two.peers.send(one.id, b"an answer".to_vec()).expect("room");
    assert_eq!(one.payload().await, (two.id, b"an answer".to_vec()));
    proxy.cut();
    for (node, other) in [(&mut one, two.id), (&mut two, NodeId(1))] {
        node.lost(other).await;
        // At once: the other connection is alive all the while.
        node.greeted(other).await;
        assert_eq!(node.alive(), [other.0]);
    }
    one.peers.send(two.id, b"again".to_vec()).expect("room");
    assert_eq!(two.payload().await, (one.id, b"again".to_vec()));
}

async fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    listener.local_addr().expect("bound").port()
}

#[tokio::test]
async fn what_the_map_says_is_dialled_known_and_forgotten() {
    let mut one = Node::start(1, &[]).await;
    let nowhere = free_port().await;
    one.peers.dial(
        NodeId(2),
        format!("127.0.0.1:{nowhere}").parse().expect("an address"),
    );
    one.peers.know(NodeId(2), Incarnation(2));
    // An old copy of its folder.
    let old = Node::start(2, &[&one.host()]).await;
    let refused = |peers: &peer::Peers| match &peers.hosts()[0].state {
        HostState::Failed { why } => {
            why.contains("was an old copy of its data folder brought back?")
        }
        _ => false,
    };
    old.until("refused", refused).await;
    old.kill();
    one.no_more_events();
    let plan = Plan {
        incarnation: 2,
        ..Plan::new(2, &[])
    };
    let two = Node::of(plan).await;
    one.peers.dial(two.id, HostAddr::from(two.address));
    one.greeted(two.id).await;
    one.peers.forget(two.id);
    two.kill();
    one.lost(NodeId(2)).await;
    assert!(one.peers.statuses().is_empty());
}

fn greeting(major: u16) -> Vec<u8> {
    let greeting = Greeting {
        protocol: Version { major, minor: 0 },
        side: Side::Dialled,
        cluster_id: None,
        node_id: NodeId(50),
        run_nonce: 50,
        incarnation: base::Incarnation(1),
        hosts_hash: 0,
        name: "raw".into(),
        advertised: "127.0.0.1:1".parse().expect("an address"),
        version: String::new(),
    };
    let mut out = Vec::new();
    frame::encode(&mut out, Kind::GREETING, &greeting.encode());
    out
}

#[tokio::test]
async fn another_major_version_is_told_why_it_is_refused() {
    let mut one = Node::start(1, &[]).await;
    let mut stream = one.dial().await;
    stream
        .write_all(&greeting(VERSION.major + 1))
        .await
        .expect("written");
    let mut decoder = Decoder::new();
    decoder.extend(&read_all(&mut stream).await);
    let frame = decoder
        .next_frame(PAYLOAD_LIMIT)
        .expect("frames")
        .expect("a frame");
    assert_eq!(frame.kind, Kind::REFUSED);
    let refused = Refused::decode(frame.payload).expect("a refusal");
    assert_eq!(refused.code, 1);
    assert_eq!(
        refused.text,
        "protocol 2.0 was greeted with, only 1.0 is spoken here"
    );
    one.no_more_events();
}

#[tokio::test]
async fn garbage_costs_its_own_connection_alone() {
    let (mut one, two) = pair().await;
    let mut flipped = greeting(VERSION.major);
    flipped[40] ^= 1;
    let mut twice = greeting(VERSION.major);
    let ping = Ping {
        sequence: 1,
        sent_at: base::Timestamp::ZERO,
    };
    frame::encode(&mut twice, Kind::PING, &ping.encode());
    twice.extend_from_slice(&greeting(VERSION.major));
    let endless = [255, 255, 255, 0, 1, 1, 0, 0, 0, 0, 0, 0];
    let garbage: [&[u8]; 5] = [
        b"GET / HTTP/1.1\r\n\r\n",
        &[0; 3000],
        &flipped,
        &endless,
        &[0x80; 100],
    ];
    for bytes in garbage {
        let mut stream = one.dial().await;
        // It may be hung up on before it is through.
        drop(stream.write_all(bytes).await);
        assert!(read_all(&mut stream).await.is_empty());
    }
    one.no_more_events();
    let mut stream = one.dial().await;
    stream.write_all(&twice).await.expect("written");
    read_all(&mut stream).await;
    one.greeted(NodeId(50)).await;
    assert_eq!(
        one.lost(NodeId(50)).await,
        "against the protocol: a second greeting"
    );
    // A frame cut short.
    let mut stream = one.dial().await;
    stream
        .write_all(&greeting(VERSION.major)[..30])
        .await
        .expect("written");
    stream.shutdown().await.expect("shut down");
    assert!(read_all(&mut stream).await.is_empty());
    two.peers
        .send(one.id, b"still here".to_vec())
        .expect("room");
    assert_eq!(one.payload().await, (two.id, b"still here".to_vec()));
}

#[tokio::test]
async fn a_crowd_that_says_nothing_keeps_nobody_out() {
    let mut one = Node::start(1, &[]).await;
    let mut crowd = Vec::new();
    for _ in 0..400 {
        let mut stream = one.dial().await;
        stream.write_all(&[0]).await.expect("written");
        crowd.push(stream);
    }
    let start = Instant::now();
    let two = Node::start(2, &[&one.host()]).await;
    one.greeted(two.id).await;
    assert!(
        start.elapsed() < peer::session::GREETING_TIMEOUT,
        "{:?}",
        start.elapsed()
    );
    for mut stream in crowd {
        read_all(&mut stream).await;
    }
    assert_eq!(one.alive(), [2]);
}

#[tokio::test]
async fn a_shutdown_sends_what_is_queued_and_says_goodbye() {
    let (mut one, two) = pair().await;
    for n in 0..100 {
        two.peers.send(one.id, vec![n; 10_000]).expect("room");
    }
    let start = Instant::now();
    two.peers.shutdown().await;
    assert!(
        start.elapsed() < Duration::from_secs(1),
        "{:?}",
        start.elapsed()
    );
    for n in 0..100 {
        assert_eq!(one.payload().await.1[0], n);
    }
    assert_eq!(
        one.lost(two.id).await,
        "it said goodbye: this node is stopping"
    );
    assert!(two.alive().is_empty());
    let refused = tokio::net::TcpStream::connect(two.address).await;
    assert!(refused.is_err());
}
