//! What a peer that goes leaves in the log. Alone in its process, whose log it reads.

mod capture;
#[expect(dead_code, reason = "other tests need more of it")]
mod node;

use capture::Log;
use node::{Node, Plan};

#[tokio::test]
async fn a_stop_is_announced_and_a_crash_is_a_warning() {
    let log = Log::start();
    let mut one = Node::start(1, &[]).await;
    let two = Node::start(2, &[&one.host()]).await;
    one.greeted(two.id).await;
    two.peers.shutdown().await;
    one.lost(two.id).await;
    let lost = "lost a peer node=0000000000000002 name=\"node-2\"";
    let why = "why=\"it said goodbye: this node is stopping\"";
    log.line(&[" INFO ", lost, why]).await;

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
    log.line(&[" WARN ", lost, "why=\""]).await;
    log.line(&["hung up ", "node=0000000000000002", "why=\""])
        .await;
}
