//! A process that runs out of file descriptors. Alone in its process, whose limit it lowers.

mod capture;
#[expect(dead_code, reason = "other tests need more of it")]
mod node;

use std::fs::File;

use capture::Log;
use node::{Node, Plan};
use peer::HostState;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

#[tokio::test]
async fn a_node_without_descriptors_accepts_again_when_it_has_some() {
    let log = Log::start();
    let mut one = Node::start(1, &[]).await;
    one.until_host(0, &HostState::IsSelf).await;
    let mut two = Node::of(Plan::new(2, &[&one.host()])).await;
    one.greeted(two.id).await;
    two.greeted(one.id).await;

    let maximum = getrlimit(Resource::Nofile).maximum;
    setrlimit(
        Resource::Nofile,
        Rlimit {
            current: Some(128),
            maximum,
        },
    )
    .expect("a lower limit");
    let mut hoard = Vec::new();
    while let Ok(file) = File::open("/dev/null") {
        hoard.push(file);
    }
    // One for the client, none for the connection that the node would accept.
    hoard.pop();
    let client = one.dial().await;
    log.line(&["cannot accept connections, trying again every 100ms"])
        .await;
    two.peers.send(one.id, vec![1]).expect("room");
    assert_eq!(one.payload().await, (two.id, vec![1]));
    drop(hoard);
    log.line(&["accepting connections again failures="]).await;
    drop(client);
    assert_eq!(
        log.text().matches("cannot accept connections").count(),
        1,
        "{}",
        log.text()
    );
}
