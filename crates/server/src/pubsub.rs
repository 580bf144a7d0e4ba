//! Publish and subscribe: who listens to what on this node, and how a message reaches all nodes.
//!
//! Every message goes to every node ([`cluster::Store::ask_others`]), whose answer is how many it has
//! reached there. So whoever subscribed hears all that is published anywhere after his subscription was
//! confirmed. A message that meets a broken connection is lost, as Redis has it: nothing is kept for those who
//! are away.
//!
//! Messages wait for their subscriber in his [`Client`], up to a limit; one who is too slow is hung up on.

mod topics;
mod wire;

use std::collections::BTreeSet;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use cluster::Store;
use commands::{Reply, glob};
use resp::Protocol;

use crate::clients::Client;
use crate::render::render;

pub(crate) use self::topics::Kind;
use self::topics::Topics;
use self::wire::Question;

/// A message on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Message<'m> {
    /// Whether it is for those of SSUBSCRIBE.
    pub(crate) sharded: bool,
    pub(crate) channel: &'m [u8],
    pub(crate) text: &'m [u8],
}

/// A message that a client publishes.
pub(crate) struct Publication {
    pub(crate) sharded: bool,
    pub(crate) channel: Vec<u8>,
    pub(crate) text: Vec<u8>,
    /// The client wants no reply.
    pub(crate) silent: bool,
}

impl Publication {
    fn message(&self) -> Message<'_> {
        Message {
            sharded: self.sharded,
            channel: &self.channel,
            text: &self.text,
        }
    }
}

/// What somebody wants to know of all nodes.
pub(crate) enum Query {
    /// The channels that somebody listens to, those that match if there is a pattern.
    Names {
        kind: Kind,
        pattern: Option<Vec<u8>>,
    },
    /// How many listen to each.
    CountListeners { kind: Kind, names: Vec<Vec<u8>> },
    /// How many patterns there are.
    CountPatterns,
}

/// Everybody who listens on this node.
#[derive(Default)]
pub(crate) struct PubSub {
    topics: RwLock<Topics>,
    /// The bytes of messages that may wait for one subscriber.
    limit_bytes: usize,
}

impl PubSub {
    pub(crate) fn new(limit_bytes: usize) -> PubSub {
        PubSub {
            topics: RwLock::default(),
            limit_bytes,
        }
    }

    /// What one client listens to, at first nothing.
    pub(crate) fn subscriptions(self: &Arc<Self>, client: Arc<Client>) -> Subscriptions {
        Subscriptions {
            all: Arc::clone(self),
            client,
            mine: Default::default(),
        }
    }

    /// Hands a message to all who listen on this node; how many that are. One who listens to the channel and
    /// to patterns that match gets it for each.
    pub(crate) fn deliver(&self, message: Message<'_>) -> usize {
        let topics = self.read();
        let Message {
            sharded,
            channel,
            text,
        } = message;
        let kind = if sharded { Kind::Shard } else { Kind::Channel };
        let mut reached = 0;
        let mut push = |to: &[Arc<Client>], words: &[&[u8]]| {
            let frames = Frames::new(words);
            for client in to {
                client.push(|resp3| frames.of(resp3), self.limit_bytes);
            }
            reached += to.len();
        };
        if let Some(listeners) = topics.listeners(kind, channel) {
            let word: &[u8] = if sharded { b"smessage" } else { b"message" };
            push(listeners, &[word, channel, text]);
        }
        if !sharded {
            for (pattern, listeners) in topics.of_kind(Kind::Pattern) {
                if glob::matches(pattern, channel) {
                    push(listeners, &[b"pmessage", pattern, channel, text]);
                }
            }
        }
        reached
    }

    /// The channels of that kind to which somebody listens on this node, those that match if there is a pattern.
    pub(crate) fn names(&self, kind: Kind, pattern: Option<&[u8]>) -> BTreeSet<Vec<u8>> {
        let topics = self.read();
        let names = topics.of_kind(kind).map(|(name, _)| name);
        let matching =
            names.filter(|name| pattern.is_none_or(|pattern| glob::matches(pattern, name)));
        matching.map(<[u8]>::to_vec).collect()
    }

    /// How many listen to that on this node.
    pub(crate) fn count(&self, kind: Kind, name: &[u8]) -> usize {
        self.read().listeners(kind, name).map_or(0, <[_]>::len)
    }

    /// How many channels or patterns of that kind there are on this node.
    pub(crate) fn len(&self, kind: Kind) -> usize {
        self.read().of_kind(kind).count()
    }

    /// Hands messages to all who listen, on all nodes, in this order; how many each has reached.
    pub(crate) async fn publish(&self, publications: &[Publication], store: &Store) -> Vec<i64> {
        let messages = || publications.iter().map(Publication::message);
        let answers = store.ask_others(Question::publish(messages()).bytes());
        let mut counts: Vec<i64> = messages()
            .map(|message| self.deliver(message) as i64)
            .collect();
        for answer in answers.await {
            wire::add_counts(&answer, &mut counts);
        }
        counts
    }

    /// Hands messages to all who listen, on all nodes, and waits for none; how many they have reached here.
    pub(crate) fn publish_unasked(&self, publications: &[Publication], store: &Store) -> i64 {
        let messages = || publications.iter().map(Publication::message);
        drop(store.ask_others(Question::publish(messages()).bytes()));
        messages().map(|message| self.deliver(message) as i64).sum()
    }

    /// Finds out on all nodes.
    pub(crate) async fn find_out(&self, query: Query, store: &Store) -> Reply<'static> {
        match query {
            Query::Names { kind, pattern } => {
                let names = self.names_everywhere(kind, pattern.as_deref(), store).await;
                let names = names.into_iter().map(|name| Reply::Bulk(name.into()));
                Reply::Array(names.collect())
            }
            Query::CountPatterns => {
                let patterns = self.names_everywhere(Kind::Pattern, None, store).await;
                Reply::Integer(patterns.len() as i64)
            }
            Query::CountListeners { kind, names } => {
                let question = Question::counts(kind, names.iter().map(Vec::as_slice));
                let answers = store.ask_others(question.bytes());
                let counts = names.iter().map(|name| self.count(kind, name) as i64);
                let mut counts: Vec<i64> = counts.collect();
                for answer in answers.await {
                    wire::add_counts(&answer, &mut counts);
                }
                let pairs = names.into_iter().zip(counts);
                let flat = pairs
                    .flat_map(|(name, count)| [Reply::Bulk(name.into()), Reply::Integer(count)]);
                Reply::Array(flat.collect())
            }
        }
    }

    async fn names_everywhere(
        &self,
        kind: Kind,
        pattern: Option<&[u8]>,
        store: &Store,
    ) -> BTreeSet<Vec<u8>> {
        let answers = store.ask_others(Question::names(kind, pattern).bytes());
        let mut names = self.names(kind, pattern);
        for answer in answers.await {
            wire::add_names(&answer, &mut names);
        }
        names
    }

    fn read(&self) -> RwLockReadGuard<'_, Topics> {
        self.topics.read().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A message in the form of each protocol, made when it is first needed.
struct Frames<'w> {
    words: &'w [&'w [u8]],
    resp2: std::cell::OnceCell<Vec<u8>>,
    resp3: std::cell::OnceCell<Vec<u8>>,
}

impl<'w> Frames<'w> {
    fn new(words: &'w [&'w [u8]]) -> Frames<'w> {
        Frames {
            words,
            resp2: std::cell::OnceCell::new(),
            resp3: std::cell::OnceCell::new(),
        }
    }

    fn of(&self, resp3: bool) -> &[u8] {
        let (frame, protocol) = match resp3 {
            true => (&self.resp3, Protocol::Resp3),
            false => (&self.resp2, Protocol::Resp2),
        };
        frame.get_or_init(|| {
            let words = self.words.iter().map(|word| Reply::bulk(word));
            let mut out = Vec::new();
            render(&Reply::Push(words.collect()), protocol, &mut out);
            out
        })
    }
}

/// What one client listens to. When it goes, all of that ends.
pub(crate) struct Subscriptions {
    all: Arc<PubSub>,
    client: Arc<Client>,
    mine: [BTreeSet<Vec<u8>>; 3],
}

impl Subscriptions {
    /// Whether it listens to anything.
    pub(crate) fn is_empty(&self) -> bool {
        self.mine.iter().all(BTreeSet::is_empty)
    }

    /// What confirmations of that kind tell: channels and patterns are counted together.
    pub(crate) fn count(&self, kind: Kind) -> usize {
        match kind {
            Kind::Shard => self.of(Kind::Shard).len(),
            Kind::Channel | Kind::Pattern => {
                self.of(Kind::Channel).len() + self.of(Kind::Pattern).len()
            }
        }
    }

    pub(crate) fn add(&mut self, kind: Kind, name: &[u8]) {
        if self.mine[kind as usize].insert(name.to_vec()) {
            self.change(|topics, client| topics.add(kind, name, client));
        }
    }

    pub(crate) fn remove(&mut self, kind: Kind, name: &[u8]) {
        if self.mine[kind as usize].remove(name) {
            self.change(|topics, client| topics.remove(kind, name, client));
        }
    }

    /// The names of that kind.
    pub(crate) fn of(&self, kind: Kind) -> &BTreeSet<Vec<u8>> {
        &self.mine[kind as usize]
    }

    /// Ends them all.
    pub(crate) fn clear(&mut self) {
        for kind in Kind::ALL {
            for name in std::mem::take(&mut self.mine[kind as usize]) {
                self.change(|topics, client| topics.remove(kind, &name, client));
            }
        }
    }

    fn change(&self, change: impl FnOnce(&mut Topics, &Arc<Client>)) {
        let mut topics = self
            .all
            .topics
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        change(&mut topics, &self.client);
        let counts = Kind::ALL.map(|kind| self.of(kind).len());
        self.client.note_subscriptions(counts);
    }
}

impl Drop for Subscriptions {
    fn drop(&mut self) {
        if !self.is_empty() {
            self.clear();
        }
    }
}
