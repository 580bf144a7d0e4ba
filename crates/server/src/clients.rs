//! The clients of a node, as `CLIENT LIST` and `CLIENT KILL` see them.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
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
