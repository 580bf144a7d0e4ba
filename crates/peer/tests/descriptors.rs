//! A process that runs out of file descriptors. Alone in its process, whose limit it lowers.

#[expect(dead_code, reason = "other tests need more of it")]
mod node;

use std::fs::File;
use std::io::Write;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use node::{Node, Plan};
use peer::HostState;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().expect("no panic").write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Log {
    async fn until(&self, line: &str) {
        let deadline = Instant::now() + Duration::from_secs(20);
        while !self.text().contains(line) {
            assert!(
                Instant::now() < deadline,
                "{line:?} is not in {}",
                self.text()
            );
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().expect("no panic")).into_owned()
    }
}

#[tokio::test]
async fn a_node_without_descriptors_accepts_again_when_it_has_some() {
    let log = Log::default();
    let writer = log.clone();
    tracing_subscriber::fmt()
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .init();
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
    log.until("cannot accept connections, trying again every 100ms")
        .await;
    two.peers.send(one.id, vec![1]).expect("room");
    assert_eq!(one.payload().await, (two.id, vec![1]));
    drop(hoard);
    log.until("accepting connections again failures=").await;
    drop(client);
    assert_eq!(
        log.text().matches("cannot accept connections").count(),
        1,
        "{}",
        log.text()
    );
}
