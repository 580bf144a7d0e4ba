//! What else is on a slow link while a snapshot is.

use std::collections::VecDeque;
use std::time::Duration;

use node::transfer::{Letter, Received, Settings};

use crate::world::{World, content, expect_loaded, id, wanted};

const MILLI: Duration = Duration::from_millis(1);

/// A link that takes so many bytes in a millisecond, one after the other, and a time to arrive.
struct Link {
    bytes_per_milli: usize,
    delay: Duration,
    /// What is on it, with what of it is not yet through.
    queue: VecDeque<(Letter, usize)>,
    /// What is through, and when it arrives.
    through: VecDeque<(Duration, Letter)>,
}

impl Link {
    /// A millisecond passes. How long what is sent now has to wait.
    fn pass(&mut self, now: Duration) -> Duration {
        let mut room = self.bytes_per_milli;
        while let Some((letter, left)) = self.queue.front_mut() {
            let takes = room.min(*left);
            *left -= takes;
            room -= takes;
            if *left > 0 {
                break;
            }
            let arrival = (now + self.delay, letter.clone());
            self.through.push_back(arrival);
            self.queue.pop_front();
        }
        let waiting: usize = self.queue.iter().map(|(_, left)| left).sum();
        MILLI * (waiting / self.bytes_per_milli) as u32
    }
}

/// Sends a snapshot over the link: the longest time that anything else would have had to wait there, and how long all
/// of it took compared with what the link needs for its bytes.
fn send(bytes_per_milli: usize, delay: Duration, keys: u32) -> (Duration, f64) {
    let mut world = World::new(Settings {
        window: 16,
        ..Settings::default()
    });
    let mut keyspace = content(keys, 1);
    world.make(id(0, 10), &mut keyspace);
    let mut link = Link {
        bytes_per_milli,
        delay,
        queue: VecDeque::new(),
        through: VecDeque::new(),
    };
    let began = world.now;
    world.want(wanted(id(0, 10)));
    let mut longest = Duration::ZERO;
    loop {
        world.now += MILLI;
        while world.deliver_fetch() {}
        let sent = world.chunks.drain(..).map(|letter| {
            let length = letter.body.len();
            (letter, length)
        });
        link.queue.extend(sent);
        longest = longest.max(link.pass(world.now));
        while let Some((_, letter)) = link.through.pop_front_if(|(at, _)| *at <= world.now) {
            world.chunks.push_back(letter);
            assert!(world.deliver_chunk());
        }
        world.poll_sender();
        world.poll_receiver();
        if let Some(received) = world.received.pop() {
            let Received::Loaded { bytes, .. } = received else {
                panic!("it does not come");
            };
            expect_loaded(received, id(0, 10), &keyspace);
            let needs = MILLI * (bytes as usize / bytes_per_milli) as u32;
            return (
                longest,
                (world.now - began).as_secs_f64() / needs.as_secs_f64(),
            );
        }
        assert!(
            world.now < began + Duration::from_secs(600),
            "it does not end"
        );
    }
}

#[test]
fn heartbeats_wait_for_less_than_an_election_takes() {
    // A megabit, five, fifty, a hundred in a second.
    for (bytes_per_milli, keys) in [
        (125, 3_000),
        (625, 6_000),
        (6_250, 20_000),
        (12_500, 20_000),
    ] {
        for delay in [MILLI, 40 * MILLI] {
            let (longest, took) = send(bytes_per_milli, delay, keys);
            println!(
                "{bytes_per_milli} B/ms, {delay:?} away: waits of up to {longest:?}, {took:.2} times what the link needs"
            );
            assert!(
                longest < 250 * MILLI,
                "{longest:?} at {bytes_per_milli} B/ms, {delay:?} away"
            );
            assert!(
                took < 2.0,
                "{took} at {bytes_per_milli} B/ms, {delay:?} away"
            );
        }
    }
}
