//! Questions to all other nodes, and their answers: of what is between clients and nodes alone, and in no log.
//!
//! What is asked is opaque here. A question goes once, to every node that there is a connection to, and is
//! answered once, or given up when the connection is lost or after [`PATIENCE`]. From one node to another,
//! questions arrive in the order in which they were asked.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use base::NodeId;
use node::wire::{Kind, Outbox};
use tokio::sync::oneshot;
use tracing::debug;

use crate::store::Store;

/// Who does not answer for so long is not waited for: a node that knows no questions never will.
const PATIENCE: Duration = Duration::from_secs(2);
/// A question or an answer is a number and this.
const NUMBER_BYTES: usize = 8;

/// The questions of this node that have no answer yet, and who answers those of others.
#[derive(Default)]
pub(crate) struct Calls {
    state: Mutex<State>,
    last: AtomicU64,
    answerer: OnceLock<Answerer>,
}

/// Turns a question into its answer.
type Answerer = Box<dyn Fn(&[u8]) -> Vec<u8> + Send + Sync>;

#[derive(Default)]
struct State {
    connected: BTreeSet<NodeId>,
    waiting: BTreeMap<u64, Waiting>,
}

struct Waiting {
    asked: BTreeSet<NodeId>,
    answers: Vec<Vec<u8>>,
    done: oneshot::Sender<Vec<Vec<u8>>>,
}

impl State {
    /// All that there is a connection to are to be asked.
    fn ask(&mut self, number: u64, done: oneshot::Sender<Vec<Vec<u8>>>) -> BTreeSet<NodeId> {
        // Whoever asked may be gone, or tired of waiting.
        self.waiting.retain(|_, waiting| !waiting.done.is_closed());
        let asked = self.connected.clone();
        if !asked.is_empty() {
            let waiting = Waiting {
                asked: asked.clone(),
                answers: Vec::new(),
                done,
            };
            self.waiting.insert(number, waiting);
        }
        asked
    }

    /// That node answers a question, or will not. Whoever asked hears of it once all have.
    fn heard(&mut self, number: u64, from: NodeId, answer: Option<Vec<u8>>) {
        let Some(waiting) = self.waiting.get_mut(&number) else {
            return;
        };
        if waiting.asked.remove(&from) {
            waiting.answers.extend(answer);
        }
        if waiting.asked.is_empty()
            && let Some(Waiting { answers, done, .. }) = self.waiting.remove(&number)
            && done.send(answers).is_err()
        {
            debug!("who asked has gone");
        }
    }
}

impl Calls {
    pub(crate) fn greeted(&self, node: NodeId) {
        self.lock().connected.insert(node);
    }

    pub(crate) fn lost(&self, node: NodeId) {
        let mut state = self.lock();
        state.connected.remove(&node);
        let numbers: Vec<u64> = state.waiting.keys().copied().collect();
        for number in numbers {
            state.heard(number, node, None);
        }
    }

    /// All nodes that there is a connection to.
    pub(crate) fn connected(&self) -> BTreeSet<NodeId> {
        self.lock().connected.clone()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Store {
    /// Who answers what other nodes ask; to be set before there are peers. It is called by the thread of the
    /// peers and must be short.
    pub fn set_answerer(&self, answer: impl Fn(&[u8]) -> Vec<u8> + Send + Sync + 'static) {
        if self.calls.answerer.set(Box::new(answer)).is_err() {
            debug!("somebody answers already");
        }
    }

    /// Asks all other nodes, at once. The answers are those that came, in any order; there may be fewer than
    /// nodes. Nothing is asked twice.
    pub fn ask_others(&self, question: &[u8]) -> impl Future<Output = Vec<Vec<u8>>> + use<> {
        let number = self.calls.last.fetch_add(1, Ordering::Relaxed);
        let (done, answered) = oneshot::channel();
        let asked = self.calls.lock().ask(number, done);
        let is_asked = !asked.is_empty();
        for node in asked {
            if !self.say(node, Kind::Question, number, question) {
                self.calls.lock().heard(number, node, None);
            }
        }
        async move {
            if !is_asked {
                return Vec::new();
            }
            match tokio::time::timeout(PATIENCE, answered).await {
                Ok(Ok(answers)) => answers,
                // Nobody knows how many of them have heard it.
                _ => Vec::new(),
            }
        }
    }

    /// Another node asks.
    pub(crate) fn questioned(&self, from: NodeId, bytes: &[u8]) {
        let Some((number, question)) = split_number(bytes) else {
            return;
        };
        if let Some(answer) = self.calls.answerer.get() {
            self.say(from, Kind::Answer, number, &answer(question));
        }
    }

    /// Another node answers.
    pub(crate) fn answered(&self, from: NodeId, bytes: &[u8]) {
        if let Some((number, answer)) = split_number(bytes) {
            self.calls.lock().heard(number, from, Some(answer.to_vec()));
        }
    }

    fn say(&self, to: NodeId, kind: Kind, number: u64, text: &[u8]) -> bool {
        let mut outbox = Outbox::default();
        outbox.put(to, kind, |out| {
            out.extend_from_slice(&number.to_le_bytes());
            out.extend_from_slice(text);
        });
        self.traffic.send_all(&mut outbox)
    }
}

fn split_number(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let (number, rest) = bytes.split_first_chunk::<NUMBER_BYTES>()?;
    Some((u64::from_le_bytes(*number), rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_counts_once_and_who_is_lost_is_not_waited_for() {
        let calls = Calls::default();
        let ask = |number| {
            let (done, answered) = oneshot::channel();
            calls.lock().ask(number, done);
            answered
        };
        assert!(ask(1).try_recv().is_err());
        assert!(calls.lock().waiting.is_empty(), "there is nobody to ask");
        calls.greeted(NodeId(1));
        calls.greeted(NodeId(2));
        let mut answered = ask(7);
        drop(ask(6));
        calls.lock().heard(7, NodeId(3), Some(b"stranger".to_vec()));
        calls.lock().heard(7, NodeId(1), Some(b"one".to_vec()));
        calls.lock().heard(7, NodeId(1), Some(b"again".to_vec()));
        calls.lock().heard(8, NodeId(2), Some(b"another".to_vec()));
        assert!(answered.try_recv().is_err(), "one is missing");
        calls.lost(NodeId(2));
        assert_eq!(answered.try_recv(), Ok(vec![b"one".to_vec()]));
        let another = ask(9);
        assert_eq!(calls.lock().waiting.len(), 1, "nobody waits for 6");
        drop(another);
    }
}
