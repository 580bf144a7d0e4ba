//! What is decided by addresses, with sockets that nobody listens on.

use base::{Incarnation, NodeId};
use tokio::net::TcpListener;
use tokio::time::timeout;

use super::*;
use crate::status::{Config, HostState, LocalNode};

/// The hosts of a node that says it listens on `bound` once they have left [`HostState::Dialling`].
async fn hosts(bound: SocketAddr, hosts: &[String]) -> Vec<HostState> {
    let hosts = hosts.iter().map(|host| host.parse().expect("an address"));
    let config = Config {
        hosts: hosts.collect(),
        heartbeat: Config::DEFAULT_HEARTBEAT,
    };
    let local = LocalNode {
        node_id: NodeId(1),
        run_nonce: 1,
        incarnation: Incarnation(1),
        cluster_id: None,
        name: "node-1".into(),
        advertised: HostAddr::from(bound),
        version: String::new(),
    };
    let shared = Arc::new(Shared::new(config, local, bound, |_| {}));
    let mut changed = shared.changed.subscribe();
    shared.with_hub(|hub, effects| hub.start(effects));
    let settle = async {
        loop {
            let hosts = shared.with_directory(|peers| peers.hosts());
            let mut states = hosts.into_iter().map(|host| host.state);
            if states.all(|state| state != HostState::Dialling) {
                break;
            }
            changed.changed().await.expect("the sender is held");
        }
    };
    timeout(Duration::from_secs(20), settle)
        .await
        .expect("every attempt ends");
    let hosts = shared.with_directory(|peers| peers.hosts());
    shared.stop();
    hosts.into_iter().map(|host| host.state).collect()
}

/// A port that was free just now.
async fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    listener.local_addr().expect("bound").port()
}

#[tokio::test]
async fn a_node_that_cannot_reach_itself_knows_itself_by_where_it_listens() {
    let port = free_port().await;
    let bound = SocketAddr::from(([127, 0, 0, 1], port));
    let states = hosts(
        bound,
        &[format!("127.0.0.1:{port}"), format!("127.0.0.2:{port}")],
    )
    .await;
    assert_eq!(states[0], HostState::IsSelf);
    // Another node may start to listen there.
    assert!(matches!(&states[1], HostState::Failed { why } if why.contains("nothing listens")));

    let everywhere = SocketAddr::from(([0; 4], port));
    let states = hosts(
        everywhere,
        &[format!("127.0.0.1:{port}"), format!("127.0.0.2:{port}")],
    )
    .await;
    assert_eq!(states, [HostState::IsSelf, HostState::IsSelf]);
}
