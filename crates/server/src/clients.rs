//! The clients of a node, as `CLIENT LIST` and `CLIENT KILL` see them.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use base::{Db, Timestamp};
use tokio::sync::Notify;
use tokio::sync::futures::Notified;

/// What is known of one client. Its own core writes; any core reads.
#[derive(Debug)]
pub(crate) struct Client {
    id: u64,
    address: SocketAddr,
    local_address: SocketAddr,
    descriptor: i32,
    since: Timestamp,
    active: AtomicU64,
    db: AtomicU8,
    described: Mutex<Described>,
    kill: Notify,
    /// Messages that wait for it, as bytes.
    pushes: Mutex<Pushes>,
    pushed: Notify,
    /// To how many channels, patterns and shard channels it listens.
    subscriptions: [AtomicU32; 3],
}

#[derive(Debug, Default)]
struct Pushes {
    bytes: Vec<u8>,
    /// There were too many: it is being hung up on.
    over: bool,
}

/// What a client says about itself, and what it did last.
#[derive(Clone, Debug, Default)]
pub(crate) struct Described {
    pub(crate) name: String,
    pub(crate) library_name: String,
    pub(crate) library_version: String,
    pub(crate) last_command: &'static str,
    pub(crate) resp3: bool,
    pub(crate) no_evict: bool,
    pub(crate) no_touch: bool,
}

impl Client {
    pub(crate) fn id(&self) -> u64 {
        self.id
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn local_address(&self) -> SocketAddr {
        self.local_address
    }

    /// The number that the operating system knows its socket by.
    pub(crate) fn descriptor(&self) -> i32 {
        self.descriptor
    }

    pub(crate) fn since(&self) -> Timestamp {
        self.since
    }

    pub(crate) fn active(&self) -> Timestamp {
        Timestamp::from_millis(self.active.load(Ordering::Relaxed))
    }

    pub(crate) fn db(&self) -> u8 {
        self.db.load(Ordering::Relaxed)
    }

    pub(crate) fn described(&self) -> MutexGuard<'_, Described> {
        self.described
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn note_activity(&self, now: Timestamp) {
        self.active.store(now.millis(), Ordering::Relaxed);
    }

    pub(crate) fn note_command(&self, name: &'static str, db: Db) {
        self.db.store(db.number(), Ordering::Relaxed);
        self.described().last_command = name;
    }

    pub(crate) fn reset(&self) {
        let mut described = self.described();
        let last_command = described.last_command;
        *described = Described {
            last_command,
            ..Described::default()
        };
    }

    /// Has a message sent to it, in the form of its protocol; at most so many bytes wait.
    pub(crate) fn push<'f>(&self, frame: impl FnOnce(bool) -> &'f [u8], limit_bytes: usize) {
        let frame = frame(self.described().resp3);
        let mut pushes = self.pushes.lock().unwrap_or_else(PoisonError::into_inner);
        if pushes.bytes.len() + frame.len() > limit_bytes {
            if !std::mem::replace(&mut pushes.over, true) {
                tracing::warn!(
                    client = self.id,
                    address = %self.address,
                    limit_bytes,
                    "hanging up on a subscriber: the messages that wait for it exceed \
                     redis.pubsub_buffer_limit"
                );
                self.kill();
            }
            return;
        }
        let is_first = pushes.bytes.is_empty();
        pushes.bytes.extend_from_slice(frame);
        drop(pushes);
        if is_first {
            self.pushed.notify_one();
        }
    }

    /// Moves the messages that wait to the end of `out`.
    pub(crate) fn take_pushes(&self, out: &mut Vec<u8>) {
        let mut pushes = self.pushes.lock().unwrap_or_else(PoisonError::into_inner);
        if out.is_empty() {
            std::mem::swap(out, &mut pushes.bytes);
        } else {
            out.append(&mut pushes.bytes);
        }
    }

    /// Resolves when messages wait.
    pub(crate) fn pushed(&self) -> Notified<'_> {
        self.pushed.notified()
    }

    pub(crate) fn note_subscriptions(&self, counts: [usize; 3]) {
        for (kept, count) in self.subscriptions.iter().zip(counts) {
            kept.store(u32::try_from(count).unwrap_or(u32::MAX), Ordering::Relaxed);
        }
    }

    /// To how many channels, patterns and shard channels it listens.
    pub(crate) fn subscriptions(&self) -> [u32; 3] {
        self.subscriptions
            .each_ref()
            .map(|count| count.load(Ordering::Relaxed))
    }

    /// Ends the connection as soon as it has nothing to wait for but its socket.
    pub(crate) fn kill(&self) {
        self.kill.notify_one();
    }

    pub(crate) fn killed(&self) -> Notified<'_> {
        self.kill.notified()
    }
}

/// All clients of the node, by id; an id is never used again.
#[derive(Debug, Default)]
pub(crate) struct Clients {
    connected: Mutex<BTreeMap<u64, Arc<Client>>>,
    last_id: AtomicU64,
    emptied: Notify,
}

impl Clients {
    /// Adds a client, unless `most` are there already.
    pub(crate) fn add(
        &self,
        address: SocketAddr,
        local_address: SocketAddr,
        descriptor: i32,
        now: Timestamp,
        most: usize,
    ) -> Option<Arc<Client>> {
        let mut connected = self.lock();
        if connected.len() >= most {
            return None;
        }
        let client = Arc::new(Client {
            id: self.last_id.fetch_add(1, Ordering::Relaxed) + 1,
            address,
            local_address,
            descriptor,
            since: now,
            active: AtomicU64::new(now.millis()),
            db: AtomicU8::new(0),
            described: Mutex::default(),
            kill: Notify::new(),
            pushes: Mutex::default(),
            pushed: Notify::new(),
            subscriptions: Default::default(),
        });
        connected.insert(client.id, Arc::clone(&client));
        Some(client)
    }

    /// Ends the connection, and shows it no more from now on.
    pub(crate) fn kill(&self, client: &Client) {
        self.remove(client.id);
        client.kill();
    }

    pub(crate) fn remove(&self, id: u64) {
        let mut connected = self.lock();
        connected.remove(&id);
        if connected.is_empty() {
            self.emptied.notify_waiters();
        }
    }

    /// Waits until there are none.
    pub(crate) async fn emptied(&self) {
        loop {
            // Registered before the look, so that no change between the two is missed.
            let emptied = self.emptied.notified();
            if self.len() == 0 {
                return;
            }
            emptied.await;
        }
    }

    /// All that are connected, by id.
    pub(crate) fn list(&self) -> Vec<Arc<Client>> {
        self.lock().values().cloned().collect()
    }

    pub(crate) fn len(&self) -> usize {
        self.lock().len()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<u64, Arc<Client>>> {
        self.connected
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}
