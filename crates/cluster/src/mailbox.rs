//! How threads hand things to a core.

use std::sync::Mutex;

use shard::Response;
use tokio::sync::Notify;

/// What a core is told.
#[derive(Debug)]
pub(crate) enum Message {
    /// Answers for sessions of this core.
    Responses(Vec<Response>),
    /// A shard that this core looks after has something to do.
    Turn(usize),
}

/// One core's queue of messages. Whoever puts one into an empty queue wakes the core, once.
#[derive(Debug, Default)]
pub(crate) struct Mailbox {
    messages: Mutex<Vec<Message>>,
    arrived: Notify,
}

impl Mailbox {
    /// Puts a message in, from any thread.
    pub(crate) fn post(&self, message: Message) {
        let was_empty = {
            let mut messages = self.messages.lock().expect("no holder of this lock panics");
            messages.push(message);
            messages.len() == 1
        };
        if was_empty {
            self.arrived.notify_one();
        }
    }

    /// Wakes the core as a message would.
    pub(crate) fn wake(&self) {
        self.arrived.notify_one();
    }

    /// Waits until there may be a message.
    pub(crate) async fn arrival(&self) {
        self.arrived.notified().await;
    }

    /// Moves all messages into `into`.
    pub(crate) fn take(&self, into: &mut Vec<Message>) {
        into.append(&mut self.messages.lock().expect("no holder of this lock panics"));
    }
}
