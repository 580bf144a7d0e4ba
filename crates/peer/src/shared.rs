//! What the tasks of this crate share: the hub, the mail of connections, the clocks.
//!
//! Everything that decides is a method of [`Hub`] or of a session; here the hub is locked, and its effects are
//! carried out: events, mail for the tasks of connections, tasks that dial. The lock is never held over an
//! await, nor while the owner's `on_event` runs.
//!
//! Events come from the tasks alone, which share one thread: that is what keeps them in order. What other
//! threads may call ([`Peers`](crate::Peers)) has no event among its effects.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, SystemTime};

use base::{ClusterId, Moment, NodeId, Timestamp};
use tokio::runtime::Handle;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

use crate::dialer;
use crate::directory::{ConnectionId, Directory};
use crate::greeting::{Greeting, Side};
use crate::hang_up::HangUp;
use crate::hub::{Effect, Hub};
use crate::message::Introduction;
use crate::outbox;
use crate::status::{Config, Event, LocalNode, SEND_LIMIT, SendError};

pub(crate) struct Shared {
    pub(crate) heartbeat: Duration,
    /// Where this node listens.
    pub(crate) bound: SocketAddr,
    pub(crate) stop: watch::Sender<bool>,
    pub(crate) changed: watch::Sender<u64>,
    /// How many run.
    pub(crate) tasks: watch::Sender<usize>,
    runtime: Handle,
    started: Instant,
    on_event: Box<dyn Fn(Event) + Send + Sync>,
    state: Mutex<State>,
}

struct State {
    hub: Hub,
    mailboxes: BTreeMap<ConnectionId, Mailbox>,
}

/// How others reach the task of a connection.
struct Mailbox {
    mail: Mail,
    bell: Arc<Notify>,
    queued: Arc<AtomicUsize>,
}

/// What the task of a connection is asked to do.
#[derive(Default)]
pub(crate) struct Mail {
    pub(crate) hang_up: Option<HangUp>,
    pub(crate) cluster_id: Option<ClusterId>,
    pub(crate) introductions: Vec<Vec<Introduction>>,
    pub(crate) payloads: VecDeque<Vec<u8>>,
    /// Those that overtake others.
    pub(crate) urgent: VecDeque<Vec<u8>>,
}

/// What the task of a connection holds.
pub(crate) struct Ends {
    pub(crate) id: ConnectionId,
    /// What this node says of itself.
    pub(crate) greeting: Greeting,
    /// Rings when there is mail.
    pub(crate) bell: Arc<Notify>,
    /// By [`outbox::cost`], the payloads in the mail and those that were taken out and are not framed; who
    /// frames one subtracts it.
    pub(crate) queued: Arc<AtomicUsize>,
}

impl Shared {
    pub(crate) fn new(
        config: Config,
        local: LocalNode,
        bound: SocketAddr,
        on_event: impl Fn(Event) + Send + Sync + 'static,
    ) -> Shared {
        Shared {
            heartbeat: config.heartbeat,
            bound,
            stop: watch::Sender::new(false),
            changed: watch::Sender::new(0),
            tasks: watch::Sender::new(0),
            runtime: Handle::current(),
            started: Instant::now(),
            on_event: Box::new(on_event),
            state: Mutex::new(State {
                hub: Hub::new(config.hosts, local),
                mailboxes: BTreeMap::new(),
            }),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state
            .lock()
            .expect("nothing panics while it holds the lock")
    }

    /// Looks something up in the table of peers.
    pub(crate) fn with_directory<T>(&self, look: impl FnOnce(&Directory) -> T) -> T {
        look(self.state().hub.directory())
    }

    /// Has the hub decide something and carries out the effects.
    pub(crate) fn with_hub<T>(
        self: &Arc<Self>,
        decide: impl FnOnce(&mut Hub, &mut Vec<Effect>) -> T,
    ) -> T {
        self.with_state(|state, effects| decide(&mut state.hub, effects))
    }

    fn with_state<T>(
        self: &Arc<Self>,
        decide: impl FnOnce(&mut State, &mut Vec<Effect>) -> T,
    ) -> T {
        let mut effects = Vec::new();
        let (mut events, mut plans) = (Vec::new(), Vec::new());
        let mut state = self.state();
        let before = state.hub.changes();
        let decided = decide(&mut state, &mut effects);
        let has_changed = state.hub.changes() != before;
        for effect in effects {
            match effect {
                Effect::Tell(event) => events.push(event),
                Effect::Introduce(id, others) => {
                    state.write(id, |mail| mail.introductions.push(others));
                }
                Effect::HangUp(id, why) => state.write(id, |mail| mail.hang_up = Some(why)),
                Effect::Dial(plan) => plans.push(plan),
            }
        }
        drop(state);
        if has_changed {
            self.changed.send_modify(|changes| *changes += 1);
        }
        for plan in plans {
            self.spawn(dialer::dial(Arc::clone(self), plan));
        }
        events.into_iter().for_each(&self.on_event);
        decided
    }

    /// Now.
    pub(crate) fn moment(&self) -> Moment {
        let wall = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default();
        let wall = Timestamp::from_millis(u64::try_from(wall.as_millis()).unwrap_or(u64::MAX));
        Moment {
            wall,
            monotonic: self.started.elapsed(),
        }
    }

    /// The instant at which the monotonic clock of [`Shared::moment`] shows that time.
    pub(crate) fn instant(&self, monotonic: Duration) -> Instant {
        self.started + monotonic
    }

    /// Runs a task that [`Peers::shutdown`](crate::Peers::shutdown) waits for.
    pub(crate) fn spawn(self: &Arc<Self>, task: impl Future<Output = ()> + Send + 'static) {
        struct Running(Arc<Shared>);
        impl Drop for Running {
            fn drop(&mut self) {
                self.0.tasks.send_modify(|tasks| *tasks -= 1);
            }
        }
        self.tasks.send_modify(|tasks| *tasks += 1);
        let running = Running(Arc::clone(self));
        self.runtime.spawn(async move {
            let _running = running;
            task.await;
        });
    }

    /// Makes the ends of a new connection. [`Shared::deregister`] takes them back.
    pub(crate) fn register(self: &Arc<Self>, side: Side) -> Ends {
        self.with_state(|state, effects| {
            let id = state.hub.open(side, effects);
            let hang_up = state.hub.is_stopping().then_some(HangUp::Stopping);
            let bell = Arc::new(Notify::new());
            let queued = Arc::new(AtomicUsize::new(0));
            let mailbox = Mailbox {
                mail: Mail {
                    hang_up,
                    ..Mail::default()
                },
                bell: Arc::clone(&bell),
                queued: Arc::clone(&queued),
            };
            state.mailboxes.insert(id, mailbox);
            Ends {
                id,
                greeting: state.hub.greeting(side),
                bell,
                queued,
            }
        })
    }

    /// Exchanges the mail of a connection for an empty one.
    pub(crate) fn take_mail(&self, id: ConnectionId, empty: &mut Mail) {
        if let Some(mailbox) = self.state().mailboxes.get_mut(&id) {
            std::mem::swap(&mut mailbox.mail, empty);
        }
    }

    /// Forgets a connection that ended, and gives what mail was left.
    pub(crate) fn deregister(self: &Arc<Self>, id: ConnectionId, why: &HangUp) -> Mail {
        let mailbox = self.with_state(|state, effects| {
            state.hub.ended(id, why, effects);
            state.mailboxes.remove(&id)
        });
        mailbox.map_or_else(Mail::default, |mailbox| mailbox.mail)
    }

    /// Hands a payload to the owner.
    pub(crate) fn deliver(&self, from: NodeId, bytes: Vec<u8>) {
        (self.on_event)(Event::Payload { from, bytes });
    }

    /// See [`Peers::send`](crate::Peers::send) and [`Peers::send_urgent`](crate::Peers::send_urgent).
    pub(crate) fn send(
        &self,
        to: NodeId,
        payload: Vec<u8>,
        is_urgent: bool,
    ) -> Result<(), SendError> {
        let length = payload.len();
        if length > SEND_LIMIT {
            return Err(SendError::TooLarge(length));
        }
        let mut guard = self.state();
        let state = &mut *guard;
        let route = state.hub.send(to).ok_or(SendError::NotConnected)?;
        let mailbox = state.mailboxes.get_mut(&route);
        let mailbox = mailbox.ok_or(SendError::NotConnected)?;
        let is_urgent = is_urgent && length <= outbox::URGENT_LIMIT;
        let has_room = match is_urgent {
            true => outbox::has_urgent_room,
            false => outbox::has_room,
        };
        if !has_room(mailbox.queued.load(Ordering::Relaxed), length) {
            return Err(SendError::QueueFull);
        }
        mailbox
            .queued
            .fetch_add(outbox::cost(length), Ordering::Relaxed);
        let mail = &mut mailbox.mail;
        let was_empty = mail.payloads.is_empty() && mail.urgent.is_empty();
        match is_urgent {
            true => mail.urgent.push_back(payload),
            false => mail.payloads.push_back(payload),
        }
        // Who has payloads in the mail was told of the first and takes all of them.
        let bell = was_empty.then(|| Arc::clone(&mailbox.bell));
        drop(guard);
        if let Some(bell) = bell {
            bell.notify_one();
        }
        Ok(())
    }

    /// See [`Peers::set_cluster_id`](crate::Peers::set_cluster_id).
    pub(crate) fn set_cluster_id(self: &Arc<Self>, cluster_id: ClusterId) {
        if self.with_hub(|hub, _| hub.set_cluster_id(cluster_id)) {
            self.write_all(|mail| mail.cluster_id = Some(cluster_id));
        }
    }

    /// Has all tasks end.
    pub(crate) fn stop(self: &Arc<Self>) {
        self.with_hub(|hub, _| hub.stop());
        self.write_all(|mail| mail.hang_up = Some(HangUp::Stopping));
        self.stop.send_replace(true);
    }

    fn write_all(&self, write: impl Fn(&mut Mail)) {
        for mailbox in self.state().mailboxes.values_mut() {
            write(&mut mailbox.mail);
            mailbox.bell.notify_one();
        }
    }
}

impl State {
    /// Mail for a connection that is ending is lost with it.
    fn write(&mut self, id: ConnectionId, write: impl FnOnce(&mut Mail)) {
        if let Some(mailbox) = self.mailboxes.get_mut(&id) {
            write(&mut mailbox.mail);
            mailbox.bell.notify_one();
        }
    }
}

/// Returns when this node stops.
pub(crate) async fn stopped(stop: &mut watch::Receiver<bool>) {
    stop.wait_for(|stop| *stop)
        .await
        .expect("tasks hold what holds the sender");
}
