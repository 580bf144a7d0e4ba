//! Sessions of a node that holds data: where commands of the session and of the data meet.

use std::rc::Rc;

use base::{ClusterId, Incarnation, NodeId};
use cluster::{ClusterMap, Dirs, Founder, ReadGuard, Store};
use golden::Value;
use golden::socket::{encode, read_reply};
use tempfile::TempDir;
use tokio::runtime::{Builder, LocalOptions, LocalRuntime};
use tokio::task::yield_now;

use super::{Node, Talk};
use crate::batch::Batch;
use crate::session::Step;

/// A node that holds data, in a folder of its own.
pub(super) struct DataNode {
    pub(super) node: Node,
    runtime: LocalRuntime,
    _folder: TempDir,
}

impl DataNode {
    pub(super) fn new() -> DataNode {
        DataNode::of_shards(1)
    }

    pub(super) fn of_shards(shards: u32) -> DataNode {
        let folder = TempDir::new().unwrap();
        let node = Node::new(None);
        let dirs = Dirs::of(folder.path());
        let store = node.core.core.store();
        let founder = Founder {
            node: NodeId(1),
            incarnation: Incarnation(1),
            name: "a".into(),
            address: "127.0.0.1:19919".into(),
            redis: "127.0.0.1:6379".into(),
            version: "1.2.3".into(),
            formats: 1,
        };
        let map = ClusterMap::founding(ClusterId(0xdef), &[founder], shards, 3, 1);
        Store::found(&dirs, 1 << 20, &map, NodeId(1)).unwrap();
        let opened = store.open(&dirs).unwrap();
        store
            .start(opened, &map, |failure| panic!("{failure}"))
            .unwrap();
        let runtime = Builder::new_current_thread()
            .enable_all()
            .build_local(LocalOptions::default())
            .unwrap();
        runtime.spawn_local(Rc::clone(&node.core.core).run());
        runtime.block_on(async {
            while !(0..shards).all(|shard| store.read(shard as usize).is_some()) {
                store.tick();
                yield_now().await;
            }
        });
        DataNode {
            node,
            runtime,
            _folder: folder,
        }
    }

    /// Inline commands, one a line, all in one read; what comes back.
    pub(super) fn say(&self, talk: &mut Talk, lines: &str) -> String {
        self.say_if(talk, lines, |guard| guard.still_valid())
    }

    /// As [`DataNode::say`], with somebody else to say what is up to date after it was read.
    pub(super) fn say_if(
        &self,
        talk: &mut Talk,
        lines: &str,
        still_valid: fn(&ReadGuard<'_>) -> bool,
    ) -> String {
        let input = lines.replace('\n', "\r\n") + "\r\n";
        let output = self.send_if(talk, input.as_bytes(), still_valid);
        String::from_utf8(output).unwrap()
    }

    /// One command, and its reply.
    pub(super) fn call<A: AsRef<[u8]>>(&self, talk: &mut Talk, args: &[A]) -> Value {
        let mut input = Vec::new();
        encode(&mut input, args);
        let output = self.send_if(talk, &input, |guard| guard.still_valid());
        read_reply(&mut output.as_slice()).unwrap()
    }

    fn send_if(
        &self,
        talk: &mut Talk,
        mut input: &[u8],
        still_valid: fn(&ReadGuard<'_>) -> bool,
    ) -> Vec<u8> {
        let (mut sent, mut output) = (Vec::new(), Vec::new());
        self.runtime.block_on(async {
            while talk.closed.is_none() {
                let mut consumed = 0;
                sent.append(&mut output);
                let step = talk.session.take_commands_if(
                    input,
                    &mut consumed,
                    &mut output,
                    &talk.core,
                    still_valid,
                );
                input = &input[consumed..];
                match step {
                    Step::NeedsInput => break,
                    Step::Flush => {}
                    Step::Close(why) => talk.closed = Some(why),
                    Step::Submit(mut batch) => {
                        batch.submit(&talk.core.core).await;
                        talk.session.answer(batch, &mut output, &talk.core);
                    }
                    Step::Ask(asked) => {
                        let reply = talk.core.ask(asked).await;
                        talk.session.answer_asked(&reply, &mut output);
                    }
                    Step::Publish(publications) => {
                        let counts = talk.core.publish(&publications).await;
                        talk.session
                            .answer_publications(&publications, &counts, &mut output);
                    }
                }
            }
        });
        sent.append(&mut output);
        sent
    }
}

impl DataNode {
    /// Has the shards answer a batch.
    pub(super) fn submit(&self, talk: &mut Talk, mut batch: Batch, output: &mut Vec<u8>) {
        self.runtime.block_on(batch.submit(&talk.core.core));
        talk.session.answer(batch, output, &talk.core);
    }
}

impl Drop for DataNode {
    fn drop(&mut self) {
        self.node.core.core.store().stop();
    }
}

#[test]
fn silence_counts_replies_of_writes_and_of_reads() {
    let node = DataNode::new();
    for (lines, reply) in [
        (
            "CLIENT REPLY SKIP\nINCR a\nINCR a\nGET a",
            ":2\r\n$1\r\n2\r\n",
        ),
        (
            "CLIENT REPLY SKIP\nGET a\nINCR a\nGET a",
            ":3\r\n$1\r\n3\r\n",
        ),
        (
            "INCR a\nCLIENT REPLY OFF\nINCR a\nGET a\nINCR a\nFOO\nCLIENT REPLY ON\nINCR a",
            ":4\r\n+OK\r\n:7\r\n",
        ),
        (
            "INCR a\nCLIENT REPLY SKIP\nSET b x\nINCR b\nPING",
            ":8\r\n-ERR value is not an integer or out of range\r\n+PONG\r\n",
        ),
    ] {
        let mut talk = node.node.connect();
        assert_eq!(node.say(&mut talk, lines), reply, "{lines}");
    }
}

#[test]
fn replies_keep_the_order_of_the_commands() {
    let node = DataNode::new();
    let mut talk = node.node.connect();
    let lines =
        "SET a 1\nSELECT 1\nSET a 2\nGET a\nFOO\nSELECT 0\nGET a\nHELLO 3\nGET none\nDBSIZE";
    let replies = node.say(&mut talk, lines);
    let (before, after) = replies.split_once("%7\r\n").unwrap();
    assert_eq!(
        before,
        "+OK\r\n+OK\r\n+OK\r\n$1\r\n2\r\n-ERR unknown command 'FOO', with args beginning with: \r\n\
         +OK\r\n$1\r\n1\r\n"
    );
    assert!(after.ends_with("*0\r\n_\r\n:1\r\n"), "{after}");
    let mut talk = node.node.connect();
    assert_eq!(
        node.say(&mut talk, "SET a 3\nPOST / HTTP/1.1\nGET a"),
        "+OK\r\n"
    );
    assert!(talk.closed.is_some());
}

#[test]
fn info_counts_keys_memory_and_errors() {
    let node = DataNode::new();
    let mut talk = node.node.connect();
    node.say(
        &mut talk,
        "MSET a 1 b 2\nEXPIRE a 1000\nSELECT 9\nSET c 3\nINCRBY c x\nSETRANGE c -1 x",
    );
    let info = node.say(&mut talk, "INFO");
    for part in [
        "\r\n# Keyspace\r\ndb0:keys=2,expires=1,avg_ttl=0\r\ndb9:keys=1,expires=0,avg_ttl=0\r\n",
        "\r\ncluster_state:ok\r\n",
        "\r\nshards:1\r\nshards_led:1\r\n",
        "\r\nerrorstat_ERR:count=2\r\n",
        "\r\ntotal_error_replies:2\r\n",
    ] {
        assert!(info.contains(part), "{part} in {info}");
    }
    assert!(!info.contains("\r\nused_memory:0\r\n"), "{info}");
}

#[test]
fn the_last_command_of_a_client_is_shown_with_its_subcommand() {
    let node = DataNode::new();
    let mut first = node.node.connect();
    let mut second = node.node.connect();
    node.say(&mut first, "SELECT 4\nOBJECT ENCODING a");
    let list = node.say(&mut second, "CLIENT LIST ID 1");
    assert!(
        list.contains(" db=4 ") && list.contains(" cmd=object|encoding "),
        "{list}"
    );
}
