//! How a process starts: identity, recovery, and the parts that ship.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use base::{Incarnation, NodeId, ReplicaId, ShardId};
use node::startup::{Dirs, OpenError, recover};
use node::{Control, ControlConfig, Restored, Turn};
use wal::testing::MemDisk;
use wal::{Body, Identity, KeptFile, Record, RunId, Wal};

use super::log::NodeLog;
use super::peers::{Peers, address};
use super::snapshots::Transfers;
use super::{Process, Settings};
use crate::chance::Chance;
use crate::clock::MachineClock;
use crate::invariants::Home;
use crate::newer;
use crate::planted::Planted;
use crate::scene::Scene;

/// The folder of a node.
pub(super) fn folder() -> PathBuf {
    PathBuf::from("node")
}

/// Where its log and its snapshots are.
pub(super) fn dirs() -> Dirs {
    Dirs::of(&folder())
}

/// How its log is laid out.
pub(super) fn options() -> wal::Options {
    wal::Options {
        segment_size_bytes: Settings::SEGMENT_BYTES,
    }
}

/// Why a node does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Its data cannot be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// Its identity or another small file cannot be used.
    #[error(transparent)]
    DataDir(#[from] wal::DataDirError),
    /// Its proposal cannot be read.
    #[error(transparent)]
    Restore(#[from] node::RestoreError),
    /// There is a log and no identity.
    #[error("there is a log, and no identity")]
    IdentityLost,
}

impl StartError {
    /// Whether the disk was full; it may start later.
    pub fn is_full(&self) -> bool {
        let mut source: Option<&(dyn std::error::Error + 'static)> = Some(self);
        while let Some(error) = source {
            if let Some(error) = error.downcast_ref::<std::io::Error>() {
                return error.kind() == std::io::ErrorKind::StorageFull;
            }
            source = error.source();
        }
        self.to_string().contains("no room")
    }
}

/// What a process is started with.
pub struct Starting<'s> {
    /// Where.
    pub home: Home,
    /// The disk.
    pub disk: &'s Arc<MemDisk>,
    /// As all nodes have them.
    pub settings: &'s Settings,
    /// What a planted bug lets it remember of another disk.
    pub former: Option<Former>,
}

/// What a node with another disk was, for a planted bug.
#[derive(Clone, Debug)]
pub struct Former {
    /// Who it was.
    pub identity: Identity,
    /// Its replicas.
    pub replicas: Vec<(ShardId, ReplicaId)>,
}

impl Process {
    /// Starts a node.
    ///
    /// # Errors
    /// [`StartError`].
    pub fn start(
        starting: Starting<'_>,
        clock: &MachineClock,
        scene: &mut Scene,
    ) -> Result<Process, StartError> {
        let Starting {
            home,
            disk,
            settings,
            former,
        } = starting;
        let is_newer = scene.newer.has(home.machine);
        if is_newer {
            newer::segments(disk, &dirs().log);
        }
        let mut chance = Chance::new(scene.chance.draw());
        let now = clock.moment(scene.now());
        let known = Identity::load(&**disk, &folder())?;
        if known.is_none() && Wal::exists(&**disk, &dirs().log).map_err(OpenError::from)? {
            return Err(StartError::IdentityLost);
        }
        let mut run = [0; 20];
        run[..8].copy_from_slice(&chance.draw().to_le_bytes());
        let fresh = Identity {
            node: NodeId(chance.draw() | 1),
            run: RunId(run),
            incarnation: Incarnation(0),
            cluster: None,
        };
        let former_identity = former.as_ref().map(|former| former.identity.clone());
        let mut identity = known.clone().or(former_identity).unwrap_or(fresh);
        identity.incarnation.0 += 1;
        identity.store(&**disk, &folder())?;
        if known.is_none() && former.is_some() {
            node::startup::join(disk, &dirs(), options())?;
        }
        let founding = KeptFile::FOUNDING.load(&**disk, &folder())?;
        let kept = KeptFile::MAP.load(&**disk, &folder()).ok().flatten();
        let map = kept.and_then(|bytes| meta::ClusterMap::decode(&bytes).ok());
        let name = format!("m{}", home.machine.0);
        let config = ControlConfig {
            local: meta::Founder {
                node: identity.node,
                incarnation: identity.incarnation,
                name: name.clone(),
                address: address(home.machine).to_string(),
                redis: format!("m{}:6379", home.machine.0),
                version: "sim".into(),
                formats: newer::formats(is_newer),
            },
            hosts: settings.hosts.iter().map(ToString::to_string).collect(),
            shards: settings.shards,
            replicas: settings.replicas,
            down_after: settings.down_after,
            seed: chance.draw(),
        };
        let restored = Restored {
            cluster: identity.cluster,
            founding,
            map: map.clone(),
        };
        let control = Control::new(config, restored, now)?;
        let peer_config = peer::Config {
            hosts: settings.hosts.clone(),
            heartbeat: settings.heartbeat,
        };
        let local = peer::LocalNode {
            node_id: identity.node,
            run_nonce: chance.draw(),
            incarnation: identity.incarnation,
            cluster_id: identity.cluster,
            name,
            advertised: address(home.machine),
            version: "sim".into(),
        };
        let mut process = Process {
            home,
            disk: Arc::clone(disk),
            settings: settings.clone(),
            peers: Peers::start(home.machine, home.process, is_newer, &peer_config, local),
            control,
            log: None,
            shards: BTreeMap::new(),
            transfers: None,
            shard_count: None,
            control_inputs: VecDeque::new(),
            hosts_told: Vec::new(),
            clusters_told: BTreeSet::new(),
            changes_told: None,
            next_tick: now.monotonic + chance.between(Duration::ZERO, settings.heartbeat / 2),
            next_status: now.monotonic,
            status_is_due: false,
            idle_since: None,
            retry_log: None,
            alarm: None,
            alarms: 0,
            stopping: None,
            doom: None,
            waiting: BTreeSet::new(),
            paused: Duration::ZERO,
            halted: None,
            identity,
            chance,
        };
        if process.identity.cluster.is_some() {
            process.recover(clock, scene)?;
            process.shard_count = map.map(|map| map.shards);
            for shard in (0..process.shard_count.unwrap_or(0)).map(ShardId) {
                process.host(shard);
            }
        }
        for (shard, replica) in former.into_iter().flat_map(|former| former.replicas) {
            let create = node::Order::Create { replica };
            process.host(shard).inputs.orders.push(create);
        }
        process.work(clock, scene);
        Ok(process)
    }

    /// Opens log and snapshots and brings the replicas up.
    pub(super) fn recover(
        &mut self,
        clock: &MachineClock,
        scene: &mut Scene,
    ) -> Result<(), OpenError> {
        let settings = self.settings.clone();
        let node = self.identity.node;
        let chance = &mut self.chance;
        let mut now = clock.monotonic(scene.now());
        if scene.has(Planted::VotesAtOnce) {
            now = now.saturating_sub(10 * settings.election);
        }
        let recovered = recover(
            &self.disk,
            &dirs(),
            options(),
            now,
            &mut |shard, replica| shard::Config {
                shard,
                replica,
                node,
                heartbeat: settings.heartbeat,
                election: settings.election,
                patience: settings.patience,
                seed: chance.draw(),
                lease: settings.lease,
            },
            &mut |_| {},
        )?;
        if let Some(torn) = &recovered.log.torn {
            let (machine, bytes) = (self.home.machine, torn.lost_bytes);
            scene.note(|| format!("m{} cut a torn tail of {bytes} bytes", machine.0));
        }
        let log_chance = Chance::new(self.chance.draw());
        self.log = Some(NodeLog::new(
            recovered.wal,
            scene.planted,
            scene.newer.has(self.home.machine),
            log_chance,
        ));
        self.transfers = Some(Transfers::new(recovered.snapshots, self.home));
        for replica in recovered.replicas {
            let judged = scene.witness.started(&replica.shard, self.home);
            scene.judge(judged);
            let shard = replica.shard.id();
            let mut turn = Turn::new(self.turn_config(shard));
            turn.set_replica(replica.shard);
            self.add_shard(shard, turn, replica.keyspace);
        }
        Ok(())
    }
}

/// A node with a planted bug takes the torn end of its log as if it were whole.
pub fn take_torn_record(disk: &Arc<MemDisk>, unsynced: &[u8]) {
    let mut bytes = unsynced;
    let Ok(record) = Record::decode(&mut bytes) else {
        return;
    };
    let Body::Entry {
        term,
        index,
        payload,
    } = record.body
    else {
        return;
    };
    // The start of a batch of commands is whole, what follows is torn off.
    let kept = payload.len().min(commands::log::BatchHeader::SIZE);
    let mut torn = Vec::new();
    Record {
        body: Body::Entry {
            term,
            index,
            payload: &payload[..kept],
        },
        ..record
    }
    .encode(&mut torn);
    let mut last = 0;
    let opened = Wal::open(
        Arc::clone(disk),
        &dirs().log,
        options(),
        &mut |found| {
            if let Body::Entry { index, .. } = found.body
                && (found.shard, found.replica) == (record.shard, record.replica)
            {
                last = index;
            }
            Ok(())
        },
        &mut |_| {},
    );
    if let Ok((mut wal, _)) = opened
        && last + 1 == index
        && wal.append([torn.as_slice()]).is_ok()
    {
        // The bug is planted as well as it can be.
        drop(wal.sync());
    }
}

/// A node with a planted bug has not synced the name of its identity file, and the power is gone.
pub fn forget_identity(disk: &MemDisk) {
    use wal::Disk;
    // A node that had not come so far has none.
    drop(disk.remove(&folder().join("identity")));
    drop(disk.sync_dir(&folder()));
}

/// All files of a node, to choose one that rots.
pub fn files(disk: &MemDisk) -> Vec<PathBuf> {
    use wal::Disk;
    let inside = |dir: &Path| {
        let names = disk.list(dir).unwrap_or_default();
        names
            .into_iter()
            .map(|name| dir.join(name))
            .collect::<Vec<_>>()
    };
    [dirs().log, dirs().snapshots, folder()]
        .iter()
        .flat_map(|dir| inside(dir))
        .collect()
}
