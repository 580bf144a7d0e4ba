//! Two nodes, with real connections between them: one has no replica, or gets one that the other fills with
//! a snapshot.

use std::net::SocketAddr;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use base::{ClusterId, Incarnation, NodeId, ReplicaId, ShardId};
use cluster::{ClusterMap, Config, Core, Dirs, Fsync, Order, Refusal, Store};
use commands::Reply;
use peer::{HostAddr, LocalNode, Peers};
use shard::MemberChange;
use tokio::net::TcpListener;
use tokio::task::LocalSet;

use crate::node::{call, found, increment, names, settings, snapshot_dir, until};

const SHARD: ShardId = ShardId(0);
const FIRST: NodeId = NodeId(42);
const SECOND: NodeId = NodeId(43);
const LEARNER: ReplicaId = ReplicaId(2);

fn config(node: NodeId) -> Config {
    Config {
        cores: 1,
        node,
        patience: Duration::from_millis(500),
        ..settings(Fsync::Always)
    }
}

fn open(dir: &Path, config: Config, map: Option<ClusterMap>) -> (Arc<Store>, ClusterMap) {
    let store = Store::new(config);
    let opened = store.open(&Dirs::of(dir)).unwrap();
    let map = opened.map().cloned().or(map).expect("one knows it");
    store
        .start(opened, &map, |failure| panic!("{failure}"))
        .unwrap();
    (store, map)
}

/// Connects the store to the other node, and has it live on this thread.
fn connect(store: &Arc<Store>, listener: TcpListener, other: SocketAddr) -> (Peers, Rc<Core>) {
    let own = HostAddr::from(listener.local_addr().unwrap());
    let node = store.config().node;
    let heard = Arc::clone(store);
    let peers = peer::start(
        peer::Config {
            hosts: vec![HostAddr::from(other)],
            heartbeat: Duration::from_millis(100),
        },
        LocalNode {
            node_id: node,
            run_nonce: node.0,
            incarnation: Incarnation(1),
            cluster_id: Some(ClusterId(7)),
            name: node.to_string(),
            advertised: own,
            version: "0.1.0".into(),
        },
        listener,
        move |event| heard.on_peer_event(event),
    )
    .unwrap();
    store.set_peers(peers.clone());
    let core = Core::new(0, Arc::clone(store));
    tokio::task::spawn_local(Rc::clone(&core).run());
    let ticking = Arc::clone(store);
    tokio::task::spawn_local(async move {
        loop {
            tokio::time::sleep(Duration::from_millis(50)).await;
            ticking.tick();
        }
    });
    (peers, core)
}

fn keys(store: &Store) -> usize {
    let keyspace = store.read_for_status(0);
    keyspace.map_or(0, |keyspace| keyspace.len(base::Db::default()))
}

fn applied(store: &Store) -> u64 {
    store.statuses()[0].applied
}

/// A node that founded, one that joined, and a core of each.
struct Two {
    first: Arc<Store>,
    core: Rc<Core>,
    peers: Peers,
    second: Arc<Store>,
    other_core: Rc<Core>,
}

/// Runs `work` on two nodes in these folders, and stops them. Gives their map as well.
fn on_two_nodes<T>(one: &Path, other: &Path, work: impl AsyncFnOnce(&Two) -> T) -> (T, ClusterMap) {
    found(one, 1, 5);
    let (first, map) = open(one, config(FIRST), None);
    Store::join(&Dirs::of(other), 256 << 10).unwrap();
    let (second, _) = open(other, config(SECOND), Some(map.clone()));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let local = LocalSet::new();
    let outcome = local.block_on(&runtime, async {
        let listeners = [
            TcpListener::bind("127.0.0.1:0").await.unwrap(),
            TcpListener::bind("127.0.0.1:0").await.unwrap(),
        ];
        let addresses = listeners
            .each_ref()
            .map(|listener| listener.local_addr().unwrap());
        let [at_first, at_second] = listeners;
        let (peers, core) = connect(&first, at_first, addresses[1]);
        let (_others, other_core) = connect(&second, at_second, addresses[0]);
        first.serving().await;
        let two = Two {
            first: Arc::clone(&first),
            core,
            peers,
            second: Arc::clone(&second),
            other_core,
        };
        work(&two).await
    });
    drop(local);
    first.stop();
    second.stop();
    (outcome, map)
}

impl Two {
    /// Has the second node hold a replica as well.
    fn add_learner(&self) {
        let (replica, node) = (LEARNER, SECOND);
        let add = MemberChange::AddLearner { replica, node };
        self.first.order(SHARD, Order::Members(add));
        self.second.order(SHARD, Order::Create { replica });
    }
}

#[test]
fn a_node_without_a_replica_serves_through_the_one_that_leads() {
    let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    on_two_nodes(one.path(), other.path(), async |two| {
        let here = &two.other_core;
        two.second.order(SHARD, Order::Placed(vec![FIRST]));
        for number in 1..=20 {
            assert_eq!(increment(here, "n").await, number);
        }
        assert_eq!(increment(&two.core, "n").await, 21);
        let read = call(here, &[&["get", "n"]]).await.unwrap();
        assert_eq!(read, [Reply::bulk(b"21")]);

        assert!(two.second.read(0).is_none() && two.second.read_stale(0).is_none());
        assert!(two.first.read(0).unwrap().still_valid());
        assert_eq!(two.second.statuses()[0].leader, Some(FIRST));

        // Without a connection it is certain that nothing happens.
        two.peers.shutdown().await;
        until("the connection is gone", || {
            two.second.statuses()[0].leader.is_none()
        })
        .await;
        let refused = call(here, &[&["incr", "n"]]).await;
        assert_eq!(refused, Err(Refusal::Unreachable));
        assert_eq!(increment(&two.core, "n").await, 22);
    });
}

#[test]
fn a_new_replica_is_filled_by_a_snapshot_and_survives_a_restart() {
    let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (written, map) = on_two_nodes(one.path(), other.path(), async |two| {
        let Two {
            first,
            core,
            second,
            ..
        } = two;
        let value = "v".repeat(2000);
        for round in 0..300 {
            let key = format!("key {round}");
            call(core, &[&["set", &key, &value]])
                .await
                .expect("it is taken");
        }

        two.add_learner();
        until("the learner has all", || {
            applied(first) > 0 && applied(second) == applied(first)
        })
        .await;
        assert_eq!(keys(second), 300);
        // What is written from now on comes as entries.
        call(core, &[&["set", "later", "x"]])
            .await
            .expect("it is taken");
        until("the learner follows", || keys(second) == 301).await;
        applied(second)
    });
    let files = names(&snapshot_dir(other.path()));
    assert_eq!(files.len(), 1, "{files:?}");
    assert!(files[0].starts_with("snapshot-0-2-"), "{files:?}");

    // Shard 0 is here now, and the map with it.
    let (second, again) = open(other.path(), config(SECOND), None);
    assert_eq!(again, map);
    // That the last entry is committed it would hear from the leader.
    assert!(keys(&second) >= 300);
    assert!(applied(&second) <= written);
    second.stop();
}

#[test]
fn the_snapshots_of_a_replica_that_was_destroyed_go() {
    let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let ((), map) = on_two_nodes(one.path(), other.path(), async |two| {
        let replica = LEARNER;
        two.add_learner();
        until("the learner is filled", || applied(&two.second) > 1).await;
        let remove = MemberChange::Remove { replica };
        two.first.order(SHARD, Order::Members(remove));
        two.second.order(SHARD, Order::Destroy { replica });
        let folder = snapshot_dir(other.path());
        until("its snapshot is gone", || names(&folder).is_empty()).await;
    });
    let (second, _) = open(other.path(), config(SECOND), Some(map));
    assert_eq!(keys(&second), 0);
    assert!(second.replica_statuses().is_empty());
    second.stop();
}
