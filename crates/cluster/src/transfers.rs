//! The thread that sends snapshots to other nodes and receives those that replicas here need.
//!
//! It drives [`node::transfer`]: what peers say comes in through a bounded queue, and a message that
//! finds no room is dropped, for it will be asked again. A received snapshot is loaded here, so that no core
//! waits for it.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use base::{Clock, NodeId, ReplicaId, ShardId};
use node::Order;
use node::transfer::{Letter, Received, Receiver, Sender, Settings, Wanted};
use tracing::{debug, error, info, warn};
use wal::{Disk, SnapshotId, Snapshots};

use crate::clock::SystemClock;

/// What peers said about snapshots and was not looked at yet takes no more than this.
const WAITING_BYTES: usize = 16 << 20;
/// After a snapshot of a removed replica could not be removed, so long it is left.
const REMOVE_AGAIN: Duration = Duration::from_secs(10);
/// What a message takes beside its body, about.
const MESSAGE_BYTES: usize = 64;

/// What comes of it, for the shards and the peers.
pub(crate) enum Event {
    /// A message for another node.
    Send(Letter),
    /// What the shard is to do.
    Order(ShardId, Order),
    /// A snapshot that is on this node's disk cannot be read: another one is to be made.
    Damaged(ShardId),
}

/// The thread, and the way to it.
pub(crate) struct Transfers {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Default)]
struct Shared {
    inbox: Mutex<Inbox>,
    arrived: Condvar,
}

#[derive(Default)]
struct Inbox {
    messages: VecDeque<Message>,
    message_bytes: usize,
    /// The last that each shard wanted since the thread looked.
    wants: BTreeMap<ShardId, Option<Wanted>>,
    links: Vec<Link>,
    /// Replicas that are no longer here.
    destroyed: Vec<(ShardId, ReplicaId)>,
    stopping: bool,
}

struct Message {
    from: NodeId,
    is_fetch: bool,
    body: Vec<u8>,
}

enum Link {
    Lost(NodeId),
    Greeted(NodeId),
}

impl Transfers {
    /// Starts the thread. `on_event` is called by it, and must not wait.
    pub(crate) fn start<D: Disk>(
        snapshots: &Arc<Snapshots<D>>,
        settings: Settings,
        on_event: impl Fn(Event) + Send + 'static,
    ) -> std::io::Result<Transfers> {
        let shared: Arc<Shared> = Arc::default();
        let mut worker = Worker {
            shared: Arc::clone(&shared),
            sender: Sender::new(Arc::clone(snapshots), settings),
            receiver: Receiver::new(Arc::clone(snapshots), settings),
            snapshots: Arc::clone(snapshots),
            destroyed: Vec::new(),
            remove_at: None,
            on_event,
        };
        let thread = std::thread::Builder::new()
            .name("transfers".into())
            .spawn(move || worker.run())?;
        Ok(Transfers {
            shared,
            thread: Mutex::new(Some(thread)),
        })
    }

    /// A node asks for a piece of a snapshot that is here.
    pub(crate) fn fetch(&self, from: NodeId, body: Vec<u8>) {
        self.message(from, true, body);
    }

    /// A piece of a snapshot has come.
    pub(crate) fn chunk(&self, from: NodeId, body: Vec<u8>) {
        self.message(from, false, body);
    }

    fn message(&self, from: NodeId, is_fetch: bool, body: Vec<u8>) {
        self.shared.put(|inbox| {
            let bytes = body.len() + MESSAGE_BYTES;
            if inbox.message_bytes + bytes <= WAITING_BYTES {
                inbox.message_bytes += bytes;
                inbox.messages.push_back(Message {
                    from,
                    is_fetch,
                    body,
                });
            }
        });
    }

    /// What the replica of that shard needs now; see [`Receiver::want`].
    pub(crate) fn want(&self, shard: ShardId, wanted: Option<Wanted>) {
        self.shared.put(|inbox| {
            inbox.wants.insert(shard, wanted);
        });
    }

    /// The connection to a node is gone.
    pub(crate) fn lost(&self, node: NodeId) {
        self.shared.put(|inbox| inbox.links.push(Link::Lost(node)));
    }

    /// There is a connection to a node.
    pub(crate) fn greeted(&self, node: NodeId) {
        self.shared
            .put(|inbox| inbox.links.push(Link::Greeted(node)));
    }

    /// The log says durably that a replica is no longer here: its snapshots go.
    pub(crate) fn destroyed(&self, shard: ShardId, replica: ReplicaId) {
        self.shared
            .put(|inbox| inbox.destroyed.push((shard, replica)));
    }

    /// Ends the thread; what is under way is given up.
    pub(crate) fn stop(&self) {
        self.shared.put(|inbox| inbox.stopping = true);
        let thread = lock(&self.thread).take();
        if thread.is_some_and(|thread| thread.join().is_err()) {
            error!("the thread that sends and receives snapshots ended in a panic");
        }
    }
}

impl Shared {
    fn put(&self, put: impl FnOnce(&mut Inbox)) {
        put(&mut lock(&self.inbox));
        self.arrived.notify_one();
    }

    /// Waits for something, or until `timeout` has passed.
    fn take(&self, timeout: Option<Duration>) -> Inbox {
        let inbox = lock(&self.inbox);
        let is_empty = |inbox: &mut Inbox| inbox.is_empty();
        let mut inbox = match timeout {
            None => self
                .arrived
                .wait_while(inbox, is_empty)
                .unwrap_or_else(PoisonError::into_inner),
            Some(timeout) => {
                let waited = self.arrived.wait_timeout_while(inbox, timeout, is_empty);
                waited.unwrap_or_else(PoisonError::into_inner).0
            }
        };
        let stopping = inbox.stopping;
        let taken = std::mem::take(&mut *inbox);
        inbox.stopping = stopping;
        taken
    }
}

impl Inbox {
    fn is_empty(&self) -> bool {
        self.messages.is_empty()
            && self.wants.is_empty()
            && self.links.is_empty()
            && self.destroyed.is_empty()
            && !self.stopping
    }
}

struct Worker<D: Disk, F> {
    shared: Arc<Shared>,
    sender: Sender<D>,
    receiver: Receiver<D>,
    snapshots: Arc<Snapshots<D>>,
    /// Replicas whose snapshots are still to be removed, and when that is tried again.
    destroyed: Vec<(ShardId, ReplicaId)>,
    remove_at: Option<Duration>,
    on_event: F,
}

impl<D: Disk, F: Fn(Event)> Worker<D, F> {
    fn run(&mut self) {
        let mut due = None;
        loop {
            let timeout = due.map(|due: Duration| due.saturating_sub(SystemClock.monotonic()));
            let inbox = self.shared.take(timeout);
            if inbox.stopping {
                return;
            }
            if !inbox.destroyed.is_empty() {
                self.remove_at = Some(Duration::ZERO);
            }
            self.deal_with(inbox);
            let now = SystemClock.monotonic();
            if self.remove_at.is_some_and(|at| at <= now) {
                self.remove_destroyed(now);
            }
            due = [self.go_on(now), self.remove_at]
                .into_iter()
                .flatten()
                .min();
        }
    }

    fn deal_with(&mut self, inbox: Inbox) {
        for link in inbox.links {
            match link {
                Link::Lost(node) => self.sender.lost(node),
                Link::Greeted(node) => self.receiver.greeted(node),
            }
        }
        for (shard, wanted) in inbox.wants {
            self.receiver.want(shard, wanted);
        }
        for Message {
            from,
            is_fetch,
            body,
        } in inbox.messages
        {
            let outcome = if is_fetch {
                self.sender.fetch(from, &body)
            } else {
                self.receiver.chunk(from, &body)
            };
            if let Err(error) = outcome {
                warn!(%from, %error, "a message about a snapshot was ignored");
            }
        }
        // After the wants: what was being received for it has ended.
        self.destroyed.extend(inbox.destroyed);
    }

    /// Removes the snapshots of replicas that are no longer here; what cannot be removed now is tried
    /// again.
    fn remove_destroyed(&mut self, now: Duration) {
        let (sender, snapshots) = (&mut self.sender, &self.snapshots);
        self.destroyed.retain(|&(shard, replica)| {
            sender.close(|id| (id.shard, id.replica) == (shard, replica));
            let removed = snapshots.remove_replica(shard, replica);
            if let Err(error) = &removed {
                warn!(shard = shard.0, replica = replica.0, %error, "a snapshot of a removed replica is still there");
            }
            removed.is_err()
        });
        self.remove_at = (!self.destroyed.is_empty()).then_some(now + REMOVE_AGAIN);
    }

    fn go_on(&mut self, now: Duration) -> Option<Duration> {
        let (mut letters, mut damaged, mut received) = (Vec::new(), Vec::new(), Vec::new());
        let sender_due = self.sender.poll(now, &mut letters, &mut damaged);
        let receiver_due = self.receiver.poll(now, &mut letters, &mut received);
        for letter in letters {
            (self.on_event)(Event::Send(letter));
        }
        for (SnapshotId { shard, index, .. }, error) in damaged {
            error!(shard = shard.0, index, %error, "a snapshot cannot be sent; another one is made");
            (self.on_event)(Event::Damaged(shard));
        }
        for ((to, id), sent) in self.sender.take_sent() {
            let order = Order::SnapshotSent {
                replica: id.replica,
                to,
                index: id.index,
                sent,
            };
            (self.on_event)(Event::Order(id.shard, order));
        }
        for received in received {
            self.tell(received);
        }
        [sender_due, receiver_due].into_iter().flatten().min()
    }

    fn tell(&self, received: Received) {
        match received {
            Received::Loaded {
                id,
                meta,
                keyspace,
                bytes,
                left_behind,
            } => {
                info!(
                    shard = id.shard.0,
                    index = id.index,
                    bytes,
                    "received a snapshot"
                );
                if let Some(error) = left_behind {
                    warn!(shard = id.shard.0, %error, "an older snapshot was left behind");
                }
                let order = Order::Install {
                    replica: id.replica,
                    meta,
                    bytes,
                    keyspace,
                };
                (self.on_event)(Event::Order(id.shard, order));
            }
            Received::Failed { wanted, error } => {
                let (shard, index) = (wanted.id.shard, wanted.id.index);
                debug!(shard = shard.0, index, from = %wanted.from, %error, "a snapshot did not come");
                (self.on_event)(Event::Order(shard, Order::FetchFailed));
            }
            Received::NoRoom { wanted, error } => {
                let shard = wanted.id.shard;
                warn!(shard = shard.0, %error, "a snapshot is not received for want of room; trying again later");
            }
        }
    }
}

/// The lock guards plain data that is whole between any two statements.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
