//! What is to happen, in the order of time.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;
use std::time::Duration;

/// Events by their true time; those of one time come in the order in which they were put in.
#[derive(Debug)]
pub struct EventQueue<E> {
    heap: BinaryHeap<Reverse<Entry<E>>>,
    now: Duration,
    count: u64,
}

#[derive(Debug)]
struct Entry<E> {
    at: Duration,
    number: u64,
    event: E,
}

impl<E> Default for EventQueue<E> {
    fn default() -> Self {
        EventQueue {
            heap: BinaryHeap::new(),
            now: Duration::ZERO,
            count: 0,
        }
    }
}

impl<E> EventQueue<E> {
    /// The time of the last event that was taken out.
    pub fn now(&self) -> Duration {
        self.now
    }

    /// Puts an event in. What is late happens now.
    pub fn put(&mut self, at: Duration, event: E) {
        self.count += 1;
        self.heap.push(Reverse(Entry {
            at: at.max(self.now),
            number: self.count,
            event,
        }));
    }

    /// Takes the next event out, unless it lies after `until`.
    pub fn take(&mut self, until: Duration) -> Option<E> {
        if self.heap.peek()?.0.at > until {
            return None;
        }
        let Reverse(entry) = self.heap.pop()?;
        self.now = entry.at;
        Some(entry.event)
    }
}

impl<E> PartialEq for Entry<E> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl<E> Eq for Entry<E> {}

impl<E> PartialOrd for Entry<E> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<E> Ord for Entry<E> {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.at, self.number).cmp(&(other.at, other.number))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_come_in_the_order_of_time_and_then_of_putting() {
        let mut queue = EventQueue::default();
        let ms = Duration::from_millis;
        for (at, event) in [(5, 'c'), (1, 'a'), (5, 'd'), (3, 'b'), (9, 'e')] {
            queue.put(ms(at), event);
        }
        let until = |queue: &mut EventQueue<char>, at| {
            std::iter::from_fn(|| queue.take(ms(at))).collect::<String>()
        };
        assert_eq!(until(&mut queue, 5), "abcd");
        assert_eq!(queue.now(), ms(5));
        queue.put(ms(2), 'x');
        assert_eq!(until(&mut queue, 9), "xe");
    }
}
