//! What a peer that goes leaves in the log. Alone in its process, whose log it reads.

#[expect(dead_code, reason = "other tests need more of it")]
mod node;

use std::io::Write;
use std::sync::{Arc, Mutex};

use node::{Node, Plan};

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
    /// The last line that says so.
    fn line(&self, text: &str) -> String {
        let log = String::from_utf8_lossy(&self.0.lock().expect("no panic")).into_owned();
        let line = log.lines().rfind(|line| line.contains(text));
        line.unwrap_or_else(|| panic!("no {text:?} in {log}"))
            .into()
    }
}

#[tokio::test]
async fn a_stop_is_announced_and_a_crash_is_a_warning() {
    let log = Log::default();
    let writer = log.clone();
    tracing_subscriber::fmt()
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .init();
    let mut one = Node::start(1, &[]).await;
    let two = Node::start(2, &[&one.host()]).await;
    one.greeted(two.id).await;
    two.peers.shutdown().await;
    one.lost(two.id).await;
    let line = log.line("lost a peer node=0000000000000002 name=\"node-2\"");
    assert!(line.contains(" INFO "), "{line}");
    let why = "why=\"it said goodbye: this node is stopping\"";
    assert!(line.contains(why), "{line}");

    let plan = Plan {
        incarnation: 2,
        run_nonce: 5,
        ..Plan::new(2, &[&one.host()])
    };
    let two = Node::of(plan).await;
    one.greeted(two.id).await;
    let id = two.id;
    two.kill();
    one.lost(id).await;
    let line = log.line("lost a peer");
    assert!(line.contains(" WARN ") && line.contains("why=\""), "{line}");
    assert!(log.line("hung up").contains("why=\""));
}
