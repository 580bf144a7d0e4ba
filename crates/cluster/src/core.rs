//! One core: the sessions that wait on it, and the turns that it runs.
//!
//! A core is one thread with one single-threaded runtime. Sessions queue requests for a shard and
//! wait; the core's own task runs after all sessions that were ready have had their say, and so puts
//! all that queued up into one turn.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::future::poll_fn;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Poll, Waker};
use std::time::Duration;

use node::Outputs;
use shard::{Commands, Request, Response, Ticket};

use crate::cell::Taken;
use crate::mailbox::Message;
use crate::store::Store;

/// The part of the store that belongs to one thread.
pub struct Core {
    index: usize,
    store: Arc<Store>,
    waiters: RefCell<Waiters>,
    /// Shards for which a session of this core queued a request since the last turn.
    queued: RefCell<Vec<usize>>,
    woken: Cell<bool>,
}

impl Core {
    /// The core of that index, 0 to [`Store::cores`].
    pub fn new(index: usize, store: Arc<Store>) -> Rc<Core> {
        Rc::new(Core {
            index,
            store,
            waiters: RefCell::default(),
            queued: RefCell::default(),
            woken: Cell::new(false),
        })
    }

    /// Which core this is.
    pub fn index(&self) -> usize {
        self.index
    }

    /// What all cores share.
    pub fn store(&self) -> &Arc<Store> {
        &self.store
    }

    /// Hands the commands to the shard and waits for what becomes of them. The commands take effect
    /// even when the future is dropped.
    pub async fn submit(&self, shard: usize, commands: Commands) -> Response {
        let slot = self.waiters.borrow_mut().insert();
        let ticket = Ticket((self.index as u64) << 32 | slot as u64);
        self.store.cell(shard).queue(Request { ticket, commands });
        self.request_turn(shard);
        let guard = WaiterGuard { core: self, slot };
        poll_fn(
            |context| match self.waiters.borrow_mut().poll(guard.slot, context.waker()) {
                Some(response) => Poll::Ready(response),
                None => Poll::Pending,
            },
        )
        .await
    }

    fn request_turn(&self, shard: usize) {
        let mut queued = self.queued.borrow_mut();
        if !queued.contains(&shard) {
            queued.push(shard);
        }
        if !self.woken.replace(true) {
            self.store.mailbox(self.index).wake();
        }
    }

    /// Runs turns and hands out responses, for ever.
    pub async fn run(self: Rc<Self>) {
        let mut messages = Vec::new();
        let mut due = Vec::new();
        let mut out = Outputs::default();
        let mut alarms = BTreeMap::new();
        loop {
            self.arrival_or(&mut alarms, &mut due).await;
            self.woken.set(false);
            self.store.mailbox(self.index).take(&mut messages);
            due.append(&mut self.queued.borrow_mut());
            for message in messages.drain(..) {
                match message {
                    Message::Responses(all) => self.deliver(all),
                    Message::Turn(shard) if !due.contains(&shard) => due.push(shard),
                    Message::Turn(_) => {}
                }
            }
            for shard in due.drain(..) {
                let Taken { ran, more } = self.store.turn(shard, &mut out);
                // Who took another turn of it has an alarm of its own; this one does no harm then.
                if ran {
                    match out.next_turn.take() {
                        Some(at) => alarms.insert(shard, at),
                        None => alarms.remove(&shard),
                    };
                }
                self.hand_out(&mut out.responses);
                if more {
                    // Not at once: the sessions of this core come first.
                    self.store.mailbox(self.index).post(Message::Turn(shard));
                }
            }
        }
    }

    /// Waits until there may be a message, or until a shard is to have a turn though nobody asks for one.
    async fn arrival_or(&self, alarms: &mut BTreeMap<usize, Duration>, due: &mut Vec<usize>) {
        let arrival = self.store.mailbox(self.index).arrival();
        let Some(&next) = alarms.values().min() else {
            return arrival.await;
        };
        let wait = next.saturating_sub(self.store.monotonic());
        // Whichever it was: on a busy core there is always a message.
        drop(tokio::time::timeout(wait, arrival).await);
        let now = self.store.monotonic();
        for (shard, _) in alarms.extract_if(.., |_, at| *at <= now) {
            self.store.cell(shard).note_work();
            due.push(shard);
        }
    }

    /// Gives responses to the sessions of this core and to the cores of the others.
    fn hand_out(&self, responses: &mut Vec<Response>) {
        let mut elsewhere: Vec<Vec<Response>> = Vec::new();
        for response in responses.drain(..) {
            let core = (response.ticket.0 >> 32) as usize;
            if core == self.index {
                self.complete(response);
            } else {
                elsewhere.resize_with(self.store.cores(), Vec::new);
                elsewhere[core].push(response);
            }
        }
        for (core, responses) in elsewhere.into_iter().enumerate() {
            if !responses.is_empty() {
                self.store.mailbox(core).post(Message::Responses(responses));
            }
        }
    }

    fn deliver(&self, responses: Vec<Response>) {
        for response in responses {
            self.complete(response);
        }
    }

    fn complete(&self, response: Response) {
        let slot = response.ticket.0 as u32 as usize;
        let waker = self.waiters.borrow_mut().complete(slot, response);
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

/// Takes the waiter back when a session is dropped while it waits.
struct WaiterGuard<'c> {
    core: &'c Core,
    slot: usize,
}

impl Drop for WaiterGuard<'_> {
    fn drop(&mut self) {
        self.core.waiters.borrow_mut().leave(self.slot);
    }
}

/// Those who wait for a response, by slot. A slot is free again once its response has arrived and
/// its waiter has left.
#[derive(Default)]
struct Waiters {
    slots: Vec<Waiter>,
    free: Vec<usize>,
}

enum Waiter {
    Free,
    Waiting(Option<Waker>),
    Answered(Response),
    /// The response was taken.
    Done,
    /// The waiter left before its response came.
    Gone,
}

impl Waiters {
    fn insert(&mut self) -> usize {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Waiter::Free);
            self.slots.len() - 1
        });
        self.slots[slot] = Waiter::Waiting(None);
        slot
    }

    fn poll(&mut self, slot: usize, waker: &Waker) -> Option<Response> {
        match &mut self.slots[slot] {
            Waiter::Waiting(kept) => {
                match kept {
                    Some(kept) => kept.clone_from(waker),
                    None => *kept = Some(waker.clone()),
                }
                None
            }
            answered @ Waiter::Answered(_) => match std::mem::replace(answered, Waiter::Done) {
                Waiter::Answered(response) => Some(response),
                _ => unreachable!("it was just matched"),
            },
            Waiter::Free | Waiter::Done | Waiter::Gone => {
                unreachable!("a waiter takes its response once")
            }
        }
    }

    fn complete(&mut self, slot: usize, response: Response) -> Option<Waker> {
        match std::mem::replace(&mut self.slots[slot], Waiter::Free) {
            Waiter::Waiting(waker) => {
                self.slots[slot] = Waiter::Answered(response);
                waker
            }
            Waiter::Gone => {
                self.free.push(slot);
                None
            }
            Waiter::Free | Waiter::Answered(_) | Waiter::Done => {
                unreachable!("a request has one response")
            }
        }
    }

    fn leave(&mut self, slot: usize) {
        match std::mem::replace(&mut self.slots[slot], Waiter::Free) {
            Waiter::Waiting(_) => self.slots[slot] = Waiter::Gone,
            Waiter::Answered(_) | Waiter::Done => self.free.push(slot),
            Waiter::Free | Waiter::Gone => unreachable!("a waiter leaves once"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn response(slot: usize) -> Response {
        let ticket = Ticket(slot as u64);
        Response {
            ticket,
            outcome: Ok(Vec::new()),
            commands: Commands::default(),
        }
    }

    #[test]
    fn a_slot_is_free_again_after_its_response_was_taken() {
        let mut waiters = Waiters::default();
        let slot = waiters.insert();
        assert!(waiters.poll(slot, Waker::noop()).is_none());
        assert!(waiters.complete(slot, response(slot)).is_some());
        assert_ne!(waiters.insert(), slot, "the response is not yet taken");
        assert!(waiters.poll(slot, Waker::noop()).is_some());
        waiters.leave(slot);
        assert_eq!(waiters.insert(), slot);
    }

    #[test]
    fn a_response_for_one_who_left_is_dropped() {
        let mut waiters = Waiters::default();
        let slot = waiters.insert();
        waiters.leave(slot);
        assert_ne!(waiters.insert(), slot, "its response is still to come");
        assert!(waiters.complete(slot, response(slot)).is_none());
        assert_eq!(waiters.insert(), slot);
    }
}
