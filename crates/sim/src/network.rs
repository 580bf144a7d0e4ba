//! The network between the machines: connections that keep order, on links that delay, block and slow
//! down.
//!
//! A connection is two pipes. What is written into one arrives at its other end in order, or not at
//! all: bytes are never lost between others that arrive, as TCP has it. A link that is blocked holds
//! what is sent until it is open again. A process that ends closes its connections; a machine that
//! loses power says nothing, and whoever sends to it later learns that the connection is gone once the
//! machine is back.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use crate::chance::Chance;

/// A machine: a place where one process of a node runs at a time. What is on its disk may change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Machine(pub u8);

impl Machine {
    /// Its place among all machines.
    pub fn index(self) -> usize {
        usize::from(self.0)
    }
}

/// One end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct EndId {
    /// Which connection.
    pub connection: u64,
    /// 0 for the side that dialled, 1 for the other.
    pub side: u8,
}

impl EndId {
    /// The other end.
    pub fn other(self) -> EndId {
        EndId {
            side: 1 - self.side,
            ..self
        }
    }
}

/// What comes out of a pipe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Parcel {
    /// Bytes, in order.
    Bytes(Vec<u8>),
    /// The other end was closed.
    Closed,
}

/// Something to be looked for at an end at that time: [`Network::receive`].
pub type Due = (Duration, EndId);

/// How long a packet takes on an idle link.
#[derive(Clone, Copy, Debug)]
pub struct Delay {
    /// At least.
    pub least: Duration,
    /// At most.
    pub most: Duration,
}

/// All links and connections.
#[derive(Debug)]
pub struct Network {
    chance: Chance,
    delay: Delay,
    links: BTreeMap<(Machine, Machine), Link>,
    connections: BTreeMap<u64, Connection>,
    next: u64,
}

/// One direction between two machines.
#[derive(Clone, Debug, Default)]
struct Link {
    /// How many faults block it.
    blocked: u32,
    /// What is added to each delay.
    slow: Duration,
}

#[derive(Debug)]
struct Connection {
    ends: [End; 2],
}

#[derive(Debug)]
struct End {
    machine: Machine,
    open: bool,
    /// On its way to this end.
    coming: VecDeque<(Duration, Parcel)>,
    /// Sent while the link was blocked.
    held: VecDeque<Parcel>,
    /// Nothing arrives before what was sent before it.
    last: Duration,
}

impl Network {
    /// Without connections, all links open.
    pub fn new(chance: Chance, delay: Delay) -> Network {
        Network {
            chance,
            delay,
            links: BTreeMap::new(),
            connections: BTreeMap::new(),
            next: 0,
        }
    }

    fn delay(&mut self, from: Machine, to: Machine) -> Duration {
        let mut delay = self.chance.between(self.delay.least, self.delay.most);
        if let Some(link) = self.links.get(&(from, to)) {
            delay += link.slow;
        }
        delay
    }

    fn link(&mut self, from: Machine, to: Machine) -> &mut Link {
        self.links.entry((from, to)).or_default()
    }

    /// Whether what `from` sends to `to` is held.
    pub fn is_blocked(&self, from: Machine, to: Machine) -> bool {
        self.links
            .get(&(from, to))
            .is_some_and(|link| link.blocked > 0)
    }

    /// How long a connection takes to be made or refused; `None` if packets do not pass both ways.
    pub fn handshake(&mut self, from: Machine, to: Machine) -> Option<Duration> {
        let passes = !self.is_blocked(from, to) && !self.is_blocked(to, from);
        passes.then(|| self.delay(from, to) + self.delay(to, from))
    }

    /// Makes a connection; the end of the side that dialled.
    pub fn connect(&mut self, from: Machine, to: Machine) -> EndId {
        let end = |machine| End {
            machine,
            open: true,
            coming: VecDeque::new(),
            held: VecDeque::new(),
            last: Duration::ZERO,
        };
        let connection = self.next;
        self.next += 1;
        let ends = [end(from), end(to)];
        self.connections.insert(connection, Connection { ends });
        EndId {
            connection,
            side: 0,
        }
    }

    /// Sends from an end; when to look at the other one, if it may arrive by itself.
    pub fn send(&mut self, now: Duration, from: EndId, parcel: Parcel) -> Option<Due> {
        let connection = self.connections.get(&from.connection)?;
        let [here, there] = [
            &connection.ends[usize::from(from.side)],
            &connection.ends[usize::from(1 - from.side)],
        ];
        if !here.open || !there.open {
            return None;
        }
        let (from_machine, to_machine) = (here.machine, there.machine);
        let blocked = self.is_blocked(from_machine, to_machine);
        let arrives = now + self.delay(from_machine, to_machine);
        let to = from.other();
        let end = self.end_mut(to)?;
        if blocked || !end.held.is_empty() {
            end.held.push_back(parcel);
            return None;
        }
        end.last = end.last.max(arrives);
        let arrives = end.last;
        end.coming.push_back((arrives, parcel));
        Some((arrives, to))
    }

    /// Where an end is, if its connection is known still.
    pub fn machine(&self, end: EndId) -> Option<Machine> {
        let connection = self.connections.get(&end.connection)?;
        Some(connection.ends[usize::from(end.side)].machine)
    }

    fn end_mut(&mut self, id: EndId) -> Option<&mut End> {
        let connection = self.connections.get_mut(&id.connection)?;
        Some(&mut connection.ends[usize::from(id.side)])
    }

    /// What has arrived at an end by now, oldest first.
    pub fn receive(&mut self, now: Duration, at: EndId) -> Option<Parcel> {
        let end = self.end_mut(at)?;
        if !end.open || end.coming.front()?.0 > now {
            return None;
        }
        let (_, parcel) = end.coming.pop_front()?;
        Some(parcel)
    }

    /// Closes an end, as its process does or the kernel for it. What it sent before still arrives.
    pub fn close(&mut self, now: Duration, end: EndId) -> Option<Due> {
        let due = self.send(now, end, Parcel::Closed);
        self.drop_end(end);
        due
    }

    /// An end is gone without a word.
    fn drop_end(&mut self, id: EndId) {
        if let Some(end) = self.end_mut(id) {
            end.open = false;
            end.coming.clear();
            end.held.clear();
        }
        let is_gone = |connection: &Connection| connection.ends.iter().all(|end| !end.open);
        if self.connections.get(&id.connection).is_some_and(is_gone) {
            self.connections.remove(&id.connection);
        }
    }

    fn ends_at(&self, machine: Machine) -> Vec<EndId> {
        let mut ends = Vec::new();
        for (&connection, found) in &self.connections {
            for (side, end) in (0..).zip(&found.ends) {
                if end.open && end.machine == machine {
                    ends.push(EndId { connection, side });
                }
            }
        }
        ends
    }

    /// The process of a machine has ended: the kernel closes its connections.
    pub fn process_ended(&mut self, now: Duration, machine: Machine) -> Vec<Due> {
        let ends = self.ends_at(machine);
        ends.into_iter()
            .filter_map(|end| self.close(now, end))
            .collect()
    }

    /// The power of a machine is gone: of what it sent and what has not arrived, some is lost, and its peers
    /// hear nothing.
    pub fn power_lost(&mut self, machine: Machine) {
        for end in self.ends_at(machine) {
            let other = end.other();
            let waiting = self.end_mut(other).map_or(0, |end| end.coming.len());
            let kept = self.chance.below(waiting as u64 + 1) as usize;
            if let Some(end) = self.end_mut(other) {
                end.coming.truncate(kept);
                end.held.clear();
            }
            self.drop_end(end);
        }
    }

    /// A machine is back after a loss of power: it answers packets of connections that it does not know, and
    /// so their other ends learn that they are gone.
    pub fn powered_on(&mut self, now: Duration, machine: Machine) -> Vec<Due> {
        let mut due = Vec::new();
        let orphans: Vec<EndId> = self
            .connections
            .iter()
            .flat_map(|(&connection, found)| {
                let sides = (0..2).map(move |side| EndId { connection, side });
                sides.zip(&found.ends)
            })
            .filter(|(_, end)| !end.open && end.machine == machine)
            .map(|(id, _)| id.other())
            .collect();
        for end in orphans {
            let arrives = now + self.chance.millis(1, 200);
            if let Some(end) = self.end_mut(end) {
                end.last = end.last.max(arrives);
                let at = end.last;
                end.coming.push_back((at, Parcel::Closed));
            }
            due.push((arrives, end));
        }
        due
    }

    /// Resets all connections between two machines: both ends learn it, what was on its way is lost.
    pub fn cut(&mut self, now: Duration, one: Machine, other: Machine) -> Vec<Due> {
        let mut due = Vec::new();
        for (&connection, found) in &mut self.connections {
            let machines = found.ends.each_ref().map(|end| end.machine);
            if machines != [one, other] && machines != [other, one] {
                continue;
            }
            for (side, end) in (0..).zip(&mut found.ends) {
                end.coming.clear();
                end.held.clear();
                end.coming.push_back((now, Parcel::Closed));
                due.push((now, EndId { connection, side }));
            }
        }
        due
    }

    /// Blocks one direction, once more.
    pub fn block(&mut self, from: Machine, to: Machine) {
        self.link(from, to).blocked += 1;
    }

    /// Takes one block back. What was held comes now, after what a sender takes to notice.
    pub fn unblock(&mut self, now: Duration, from: Machine, to: Machine) -> Vec<Due> {
        let link = self.link(from, to);
        link.blocked = link.blocked.saturating_sub(1);
        if link.blocked > 0 {
            return Vec::new();
        }
        let mut due = Vec::new();
        let resent = now + self.chance.millis(1, 200);
        let delay = self.delay(from, to);
        for (&connection, found) in &mut self.connections {
            for side in 0..2_u8 {
                let sender = found.ends[usize::from(1 - side)].machine;
                let end = &mut found.ends[usize::from(side)];
                if sender != from || end.machine != to || end.held.is_empty() {
                    continue;
                }
                end.last = end.last.max(resent + delay);
                let at = end.last;
                end.coming
                    .extend(end.held.drain(..).map(|parcel| (at, parcel)));
                due.push((at, EndId { connection, side }));
            }
        }
        due
    }

    /// Adds to the delays of one direction, from now on.
    pub fn slow_down(&mut self, from: Machine, to: Machine, more: Duration) {
        self.link(from, to).slow = more;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: Machine = Machine(1);
    const TWO: Machine = Machine(2);
    const LATER: Duration = Duration::from_secs(10);

    fn network() -> Network {
        let delay = Delay {
            least: Duration::from_micros(100),
            most: Duration::from_millis(5),
        };
        Network::new(Chance::new(7), delay)
    }

    fn numbered(number: u8) -> Parcel {
        Parcel::Bytes(vec![number])
    }

    fn received(network: &mut Network, now: Duration, at: EndId) -> Vec<Parcel> {
        std::iter::from_fn(|| network.receive(now, at)).collect()
    }

    #[test]
    fn a_connection_keeps_the_order_whatever_the_delays() {
        let mut network = network();
        let near = network.connect(ONE, TWO);
        let mut last = Duration::ZERO;
        for number in 0..100 {
            let now = Duration::from_micros(u64::from(number) * 50);
            let (at, end) = network.send(now, near, numbered(number)).unwrap();
            assert!(at >= last && end == near.other());
            last = at;
        }
        assert_eq!(received(&mut network, Duration::ZERO, near.other()), []);
        let expected: Vec<Parcel> = (0..100).map(numbered).collect();
        assert_eq!(received(&mut network, last, near.other()), expected);
    }

    #[test]
    fn a_blocked_link_holds_one_direction_and_gives_it_out_in_order() {
        let mut network = network();
        let near = network.connect(ONE, TWO);
        network.send(Duration::ZERO, near, numbered(1));
        network.block(ONE, TWO);
        network.block(ONE, TWO);
        assert_eq!(network.send(Duration::ZERO, near, numbered(2)), None);
        assert!(
            network
                .send(Duration::ZERO, near.other(), numbered(9))
                .is_some()
        );
        assert_eq!(network.handshake(TWO, ONE), None);
        assert_eq!(received(&mut network, LATER, near.other()), [numbered(1)]);
        assert_eq!(network.unblock(LATER, ONE, TWO), []);
        assert_eq!(network.unblock(LATER, ONE, TWO).len(), 1);
        network.send(LATER, near, numbered(3));
        let expected = [numbered(2), numbered(3)];
        assert_eq!(received(&mut network, 2 * LATER, near.other()), expected);
    }

    #[test]
    fn a_process_that_ends_is_heard_of_and_a_power_cut_only_later() {
        let mut network = network();
        let near = network.connect(ONE, TWO);
        network.send(Duration::ZERO, near, numbered(1));
        assert_eq!(network.process_ended(Duration::ZERO, ONE).len(), 1);
        let expected = [numbered(1), Parcel::Closed];
        assert_eq!(received(&mut network, LATER, near.other()), expected);

        let near = network.connect(ONE, TWO);
        network.power_lost(TWO);
        assert_eq!(network.send(LATER, near, numbered(1)), None);
        assert_eq!(received(&mut network, LATER, near), []);
        assert_eq!(network.powered_on(LATER, TWO).len(), 1);
        assert_eq!(received(&mut network, 2 * LATER, near), [Parcel::Closed]);
    }

    #[test]
    fn a_cut_loses_what_was_on_its_way_on_both_sides() {
        let mut network = network();
        let near = network.connect(ONE, TWO);
        network.send(Duration::ZERO, near, numbered(1));
        assert_eq!(network.cut(Duration::ZERO, TWO, ONE).len(), 2);
        for end in [near, near.other()] {
            assert_eq!(received(&mut network, LATER, end), [Parcel::Closed]);
        }
    }
}
