//! Keyspace events: what keys go through, published on the channels that Redis has for it.
//!
//! They are delivered on each node to those who listen there, from what its own replicas apply; see
//! [`cluster::Store::set_notice_listener`] for nodes without one.

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use cluster::{Heard, Store};
use keyspace::{Class, Classes};

use crate::pubsub::{Message, PubSub};

/// `K`: published by key.
const BY_KEY: u32 = 1 << 16;
/// `E`: published by event.
const BY_EVENT: u32 = 1 << 17;

/// The letters of `notify-keyspace-events`, in the order in which Redis prints them, but for `A`, `K` and `E`. Those of
/// what never happens here are kept, like `d` of modules and `e` of evictions.
const LETTERS: [(u8, u32); 12] = [
    (b'g', Class::Generic as u32),
    (b'$', Class::String as u32),
    (b'l', Class::List as u32),
    (b's', Class::Set as u32),
    (b'h', Class::Hash as u32),
    (b'z', Class::SortedSet as u32),
    (b'x', Class::Expired as u32),
    (b'e', 1 << 18),
    (b't', Class::Stream as u32),
    (b'd', 1 << 19),
    (b'm', 1 << 20),
    (b'n', 1 << 21),
];

/// What `A` stands for: all but `m` and `n`.
const ALL: u32 = Classes::ALL.bits() as u32 | 1 << 18 | 1 << 19;

/// The setting `notify-keyspace-events`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Wanted(u32);

impl Wanted {
    /// Reads letters; none if one of them means nothing.
    pub(crate) fn parse(letters: &[u8]) -> Option<Wanted> {
        let flag = |letter: &u8| match letter {
            b'A' => Some(ALL),
            b'K' => Some(BY_KEY),
            b'E' => Some(BY_EVENT),
            letter => {
                let found = LETTERS.iter().find(|(known, _)| known == letter);
                found.map(|(_, flag)| *flag)
            }
        };
        let mut flags = letters.iter().map(flag);
        let sum = flags.try_fold(0, |sum, flag| Some(sum | flag?))?;
        Some(Wanted(sum))
    }

    fn has(self, flag: u32) -> bool {
        self.0 & flag == flag
    }

    /// What has to be noticed for it; nothing unless it is published on some channel.
    fn classes(self) -> Classes {
        match self.0 & (BY_KEY | BY_EVENT) {
            0 => Classes::default(),
            _ => Classes::of_bits(self.0 as u16),
        }
    }
}

/// As Redis prints it.
impl std::fmt::Display for Wanted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let all = self.has(ALL);
        if all {
            f.write_str("A")?;
        }
        for (letter, flag) in LETTERS {
            if self.has(flag) && !(all && ALL & flag != 0) {
                write!(f, "{}", char::from(letter))?;
            }
        }
        for (letter, flag) in [('K', BY_KEY), ('E', BY_EVENT)] {
            if self.has(flag) {
                write!(f, "{letter}")?;
            }
        }
        Ok(())
    }
}

/// Publishes what is wanted.
#[derive(Default)]
pub(crate) struct KeyEvents(AtomicU32);

impl KeyEvents {
    /// Those of a store, of which nothing is wanted at first.
    pub(crate) fn of(store: &Store, pubsub: &Arc<PubSub>) -> Arc<KeyEvents> {
        let events = Arc::<KeyEvents>::default();
        let (own, pubsub) = (Arc::clone(&events), Arc::clone(pubsub));
        store.set_notice_listener(move |heard| own.publish(heard, &pubsub));
        events
    }

    pub(crate) fn wanted(&self) -> Wanted {
        Wanted(self.0.load(Ordering::Relaxed))
    }

    pub(crate) fn set_wanted(&self, wanted: Wanted, store: &Store) {
        self.0.store(wanted.0, Ordering::Relaxed);
        store.want_notices(wanted.classes());
    }

    fn publish(&self, heard: &[Heard<'_>], pubsub: &PubSub) {
        let wanted = self.wanted();
        let mut channel = Vec::new();
        let mut deliver = |kind: &str, heard: &Heard<'_>, name: &[u8], text: &[u8]| {
            channel.clear();
            write!(channel, "__{kind}@{}__:", heard.db.number()).expect("memory takes all");
            channel.extend_from_slice(name);
            pubsub.deliver(Message {
                sharded: false,
                channel: &channel,
                text,
            });
        };
        for heard in heard {
            if wanted.has(BY_KEY) {
                deliver("keyspace", heard, heard.key, heard.event.as_bytes());
            }
            if wanted.has(BY_EVENT) {
                deliver("keyevent", heard, heard.event.as_bytes(), heard.key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_are_read_and_printed_as_redis_does() {
        for (letters, printed) in [
            ("", ""),
            ("KEA", "AKE"),
            ("Kg$lshzxetd", "AK"),
            ("Elg", "glE"),
            ("KEAmn", "AmnKE"),
            ("Ex", "xE"),
            ("g", "g"),
        ] {
            let wanted = Wanted::parse(letters.as_bytes());
            assert_eq!(
                wanted.map(|wanted| wanted.to_string()).as_deref(),
                Some(printed)
            );
        }
        assert_eq!(Wanted::parse(b"KEq"), None);
    }

    #[test]
    fn nothing_is_noticed_that_is_not_published() {
        let classes = |letters: &str| Wanted::parse(letters.as_bytes()).map(Wanted::classes);
        assert_eq!(classes("g$"), Some(Classes::default()));
        assert_eq!(classes("Kx"), Some(Classes::default().with(Class::Expired)));
        assert_eq!(classes("AE"), Some(Classes::ALL));
    }
}
