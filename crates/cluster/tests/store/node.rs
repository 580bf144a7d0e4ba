//! A node's store on some folder, with threads that come and go.

use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use base::{ClusterId, Db, Incarnation, NodeId, Timestamp};
use cluster::{Commands, Config, Core, Dirs, Fsync, OpenError, Refusal, Store, TransferSettings};
use commands::Reply;
use meta::{ClusterMap, Founder};
use tokio::runtime::LocalOptions;
use tokio::sync::Barrier;

/// Nothing here takes so long unless it hangs.
const LIMIT: Duration = Duration::from_secs(30);

const NODE: NodeId = NodeId(42);

const SEGMENT_BYTES: u64 = 256 << 10;

pub(crate) const ALL_FSYNC: [Fsync; 3] = [Fsync::Always, Fsync::EverySec, Fsync::Never];

pub(crate) struct Node {
    pub(crate) store: Arc<Store>,
    /// What the log said when it could no longer be written.
    pub(crate) failures: Arc<Mutex<Vec<String>>>,
    dir: PathBuf,
}

/// Settings with small segments, so that tests see many of them.
pub(crate) fn settings(fsync: Fsync) -> Config {
    Config {
        cores: 2,
        fsync,
        segment_size_bytes: SEGMENT_BYTES,
        snapshot_every_bytes: None,
        node: NODE,
        heartbeat: Duration::from_millis(100),
        election: Duration::from_millis(500),
        patience: Duration::from_secs(2),
        lease: true,
        forward_limit_bytes: 64 << 20,
        catch_up_bytes: 16 << 20,
        transfer: TransferSettings::default(),
        random_seed: 1,
    }
}

/// The map of a cluster of this node alone.
fn map(shards: u32, hash_seed: u64) -> ClusterMap {
    let founder = Founder {
        node: NODE,
        incarnation: Incarnation(1),
        name: "node".into(),
        address: "127.0.0.1:19919".into(),
        redis: "127.0.0.1:6379".into(),
        version: "0.1.0".into(),
        formats: 1,
    };
    ClusterMap::founding(ClusterId(7), &[founder], shards, 3, hash_seed)
}

/// Founds a cluster of so many shards in that folder.
pub(crate) fn found(dir: &Path, shards: u32, hash_seed: u64) {
    try_found(dir, shards, hash_seed).unwrap();
}

pub(crate) fn try_found(dir: &Path, shards: u32, hash_seed: u64) -> Result<(), OpenError> {
    Store::found(&Dirs::of(dir), SEGMENT_BYTES, &map(shards, hash_seed), NODE)
}

impl Node {
    /// Founds a node of one shard in that folder.
    pub(crate) fn found(dir: &Path, settings: Config) -> Node {
        found(dir, 1, 7);
        Node::recover(dir, settings).unwrap()
    }

    pub(crate) fn recover(dir: &Path, settings: Config) -> Result<Node, OpenError> {
        let store = Store::new(settings);
        let failures: Arc<Mutex<Vec<String>>> = Arc::default();
        let told = Arc::clone(&failures);
        let opened = store.open(&Dirs::of(dir))?;
        let map = opened.map().expect("shard 0 is here").clone();
        store.start(opened, &map, move |failure| {
            told.lock().unwrap().push(failure.to_owned());
        })?;
        Ok(Node {
            store,
            failures,
            dir: dir.to_owned(),
        })
    }

    /// Stops, and recovers from what is on disk.
    pub(crate) fn restart(self) -> Node {
        self.store.stop();
        Node::recover(&self.dir, self.store.config().clone()).unwrap()
    }

    /// Runs a future on each core's own thread and gives what came of them. There are no ticks: what
    /// has to happen happens without them.
    pub(crate) fn run<F, T>(&self, work: impl Fn(Rc<Core>) -> F + Send + Sync) -> Vec<T>
    where
        F: Future<Output = T>,
        T: Send,
    {
        let cores = self.store.cores();
        let ended = Barrier::new(cores);
        std::thread::scope(|scope| {
            let on_core = |index| {
                let (store, work, ended) = (Arc::clone(&self.store), &work, &ended);
                scope.spawn(move || {
                    let mut builder = tokio::runtime::Builder::new_current_thread();
                    let runtime = builder.enable_all();
                    let runtime = runtime.build_local(LocalOptions::default()).unwrap();
                    let all = async {
                        let core = Core::new(index, store);
                        tokio::task::spawn_local(Rc::clone(&core).run());
                        let outcome = work(core).await;
                        // The others may still need this core's turns.
                        ended.wait().await;
                        outcome
                    };
                    runtime.block_on(async {
                        let all = tokio::time::timeout(LIMIT, all);
                        all.await.expect("something waits for ever")
                    })
                })
            };
            let threads: Vec<_> = (0..cores).map(on_core).collect();
            let joined = threads.into_iter().map(|thread| thread.join());
            joined.map(|outcome| outcome.unwrap()).collect()
        })
    }

    /// Runs a future on the first core, while the others only take turns.
    pub(crate) fn run_one<T: Send>(&self, work: impl AsyncFn(Rc<Core>) -> T + Send + Sync) -> T {
        let outcomes = self.run(|core| async {
            match core.index() {
                0 => Some(work(core).await),
                _ => None,
            }
        });
        outcomes.into_iter().flatten().next().unwrap()
    }

    /// All that is stored, once it may be read.
    pub(crate) fn contents(&self) -> Vec<Stored> {
        self.run_one(async |core| core.store().serving().await);
        let mut stored = Vec::new();
        for shard in 0..self.store.shards() {
            let keyspace = self.store.read(shard).unwrap();
            for db in Db::all() {
                keyspace.for_each(db, keyspace.stamp(), &mut |entry| {
                    let (key, value) = (entry.key().to_vec(), entry.string().unwrap().to_vec());
                    stored.push((shard, db, key, value, entry.expires_at()));
                });
            }
        }
        stored.sort();
        stored
    }

    /// A number that is stored, 0 if there is none.
    pub(crate) fn number(&self, key: &str) -> u64 {
        let keyspace = self.store.read_for_status(0).unwrap();
        let entry = keyspace.get(Db::default(), key.as_bytes(), keyspace.stamp());
        entry.map_or(0, |entry| {
            std::str::from_utf8(entry.string().unwrap())
                .unwrap()
                .parse()
                .unwrap()
        })
    }
}

pub(crate) type Stored = (usize, Db, Vec<u8>, Vec<u8>, Option<Timestamp>);

pub(crate) fn log_dir(dir: &Path) -> PathBuf {
    dir.join("log")
}

pub(crate) fn snapshot_dir(dir: &Path) -> PathBuf {
    dir.join("snapshots")
}

/// The names in a folder, in order.
pub(crate) fn names(dir: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(dir).unwrap();
    let name = |entry: std::io::Result<std::fs::DirEntry>| entry.unwrap().file_name();
    let mut names: Vec<_> = entries
        .map(|entry| name(entry).into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// The commands of one request, in database 0.
pub(crate) fn commands_of(calls: &[&[&str]]) -> Commands {
    let mut commands = Commands::default();
    for call in calls {
        let args: Vec<&[u8]> = call.iter().map(|arg| arg.as_bytes()).collect();
        let command = commands::by_name(args[0]).expect("tests use commands that exist");
        commands.push(command, Db::default(), &args);
    }
    commands
}

/// Has the first shard run the commands.
pub(crate) async fn call(core: &Core, calls: &[&[&str]]) -> Result<Vec<Reply<'static>>, Refusal> {
    core.submit(0, commands_of(calls)).await.outcome
}

/// One more for that key; what it is then.
pub(crate) async fn increment(core: &Core, key: &str) -> i64 {
    let replies = call(core, &[&["incr", key]]).await.expect("it is taken");
    match replies.as_slice() {
        [Reply::Integer(number)] => *number,
        other => panic!("{other:?}"),
    }
}

/// Waits until something holds, while other tasks go on.
pub(crate) async fn until(what: &str, holds: impl Fn() -> bool) {
    let started = Instant::now();
    while !holds() {
        assert!(started.elapsed() < LIMIT, "in vain: {what}");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// Heartbeats, as a node has them.
pub(crate) fn tick(core: &Core) {
    let store = Arc::clone(core.store());
    tokio::task::spawn_local(async move {
        loop {
            tokio::time::sleep(Duration::from_millis(50)).await;
            store.tick();
        }
    });
}
