//! Proposals, persisted late and in pieces, with crashes and snapshots between them.

use std::collections::BTreeMap;
use std::ops::Bound;

use std::time::Duration;

use base::{Db, Timestamp};
use proptest::prelude::*;

use crate::driver::{Disk, Driver, REPLICA, bytes_of, config};
use crate::model::{Call, Model, request_of};

#[derive(Clone, Debug)]
enum Step {
    /// The clock moves, forwards or back, and requests of several sessions become an entry.
    Propose(i16, Vec<Vec<Call>>),
    /// An entry that only sweeps is proposed.
    Sweep,
    Advance,
    Apply,
    /// So many batches become durable.
    Persist(usize),
    Settle,
    Tick,
    BeginSnapshot,
    WriteSnapshot(usize),
    Cut,
    /// The node ends. So many batches that were not known to be durable are there after all.
    Crash(usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let request = (
        proptest::collection::vec(Call::any(), 0..3),
        Call::write(),
        proptest::collection::vec(Call::any(), 0..3),
    )
        .prop_map(|(before, write, after)| [before, vec![write], after].concat());
    let step = prop_oneof![
        8 => (-300..300_i16, proptest::collection::vec(request, 1..4))
            .prop_map(|(move_clock, requests)| Step::Propose(move_clock, requests)),
        1 => Just(Step::Sweep),
        6 => Just(Step::Advance),
        4 => Just(Step::Apply),
        5 => (1..4_usize).prop_map(Step::Persist),
        1 => Just(Step::Settle),
        1 => Just(Step::Tick),
        2 => Just(Step::BeginSnapshot),
        3 => prop_oneof![1..64_usize, Just(usize::MAX)].prop_map(Step::WriteSnapshot),
        1 => Just(Step::Cut),
        2 => (0..4_usize).prop_map(Step::Crash),
    ];
    proptest::collection::vec(step, 1..80)
}

/// An entry as it was proposed.
struct Proposed {
    stamp: u64,
    requests: Vec<Asked>,
}

struct Asked {
    /// None once those who asked are gone.
    ticket: Option<u64>,
    calls: Vec<Call>,
}

/// A shard, what was proposed to it, and what it has to answer.
struct World {
    driver: Driver,
    clock: u64,
    tickets: u64,
    now: Duration,
    /// By index; what a crash has lost is taken out.
    proposed: BTreeMap<u64, Proposed>,
    /// The state after the entries up to `known`.
    model: Model,
    known: u64,
}

impl World {
    fn new() -> World {
        World {
            driver: Driver::start(Disk::founded(&[REPLICA.0])).unwrap(),
            clock: 1_000_000,
            tickets: 0,
            now: Duration::ZERO,
            proposed: BTreeMap::new(),
            model: Model::default(),
            known: 1,
        }
    }

    fn take(&mut self, step: &Step) {
        match step {
            Step::Propose(move_clock, requests) => {
                self.clock = self.clock.saturating_add_signed(i64::from(*move_clock));
                self.propose(requests);
            }
            Step::Sweep => self.propose(&[]),
            Step::Advance => self.driver.advance(),
            Step::Apply => self.driver.apply(),
            Step::Persist(batches) => self.driver.persist(*batches),
            Step::Settle => self.driver.settle(),
            Step::Tick => {
                self.now += config().heartbeat;
                self.driver.shard.tick(self.now, &mut self.driver.effects);
            }
            Step::BeginSnapshot => self.driver.begin_snapshot(),
            Step::WriteSnapshot(budget_bytes) => self.driver.write_snapshot(*budget_bytes),
            Step::Cut => self.driver.cut(),
            Step::Crash(kept) => self.crash(*kept),
        }
        self.check_responses();
    }

    fn propose(&mut self, requests: &[Vec<Call>]) {
        let tickets = self.tickets..;
        self.tickets += requests.len() as u64;
        let asked = tickets.clone().zip(requests);
        let asked = asked.map(|(ticket, calls)| request_of(ticket, calls));
        self.driver.propose(self.clock, asked.collect());
        let last = self.proposed.last_key_value();
        let entry = Proposed {
            stamp: self.clock.max(last.map_or(0, |(_, last)| last.stamp)),
            requests: tickets
                .zip(requests)
                .map(|(ticket, calls)| Asked {
                    ticket: Some(ticket),
                    calls: calls.clone(),
                })
                .collect(),
        };
        self.proposed.insert(self.driver.shard.last_index(), entry);
    }

    /// Every request is answered once, in the order of the log, as the model says.
    fn check_responses(&mut self) {
        let mut responses = self.driver.responses().into_iter();
        let applied = self.driver.shard.applied();
        let new = (Bound::Excluded(self.known), Bound::Included(applied));
        for (_, entry) in self.proposed.range(new) {
            for Asked { ticket, calls } in &entry.requests {
                let calls_done = calls.iter().map(|call| self.model.run(call, entry.stamp));
                let expected: Vec<_> = calls_done.collect();
                if let Some(ticket) = ticket {
                    let response = responses.next().expect("what was applied is answered");
                    assert_eq!(response.ticket.0, *ticket);
                    assert_eq!(response.outcome, Ok(expected), "{calls:?}");
                    assert!(response.commands.is_empty());
                }
            }
        }
        assert!(responses.next().is_none(), "a response too many");
        self.known = self.known.max(applied);
        self.check_state();
    }

    fn check_state(&self) {
        let last = self.proposed.range(..=self.known).next_back();
        let stamp = last.map_or(0, |(_, entry)| entry.stamp);
        let keyspace = &self.driver.keyspace;
        assert_eq!(keyspace.stamp(), Timestamp::from_millis(stamp));
        let mut found = Vec::new();
        keyspace.for_each(Db::default(), keyspace.stamp(), &mut |entry| {
            let expires_at = entry.expires_at().map(Timestamp::millis);
            found.push((
                entry.key().to_vec(),
                entry.string().unwrap().to_vec(),
                expires_at,
            ));
        });
        found.sort();
        assert_eq!(found, self.model.at(stamp));
    }

    /// Starts again from what the disk kept. Nothing that was answered is gone.
    fn crash(&mut self, kept: usize) {
        self.driver.restart(kept).unwrap();
        let last = self.driver.disk.last_persisted();
        assert!(last >= self.known, "an answered entry is gone");
        self.proposed.retain(|&index, _| index <= last);
        self.known = self.driver.shard.applied();
        assert!(self.known <= last);
        self.model = Model::default();
        for (&index, entry) in &mut self.proposed {
            for asked in &mut entry.requests {
                asked.ticket = None;
                if index <= self.known {
                    for call in &asked.calls {
                        self.model.run(call, entry.stamp);
                    }
                }
            }
        }
        self.check_same_as_whole_log();
    }

    /// The state is the one that the whole log makes.
    fn check_same_as_whole_log(&self) {
        let mut whole = Driver::start(self.driver.disk.uncut()).unwrap();
        whole.settle();
        let mut through_snapshot = Driver::start(self.driver.disk.clone()).unwrap();
        through_snapshot.settle();
        assert!(
            bytes_of(&mut whole.keyspace) == bytes_of(&mut through_snapshot.keyspace),
            "the way through the snapshot leads elsewhere"
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn crashes_lose_nothing_that_was_answered(steps in steps()) {
        let mut world = World::new();
        for step in &steps {
            world.take(step);
        }
        world.driver.settle();
        world.check_responses();
        if world.driver.keyspace.snapshot_running() {
            world.driver.keyspace.abandon_snapshot();
        }
        let before = bytes_of(&mut world.driver.keyspace);
        world.crash(0);
        world.driver.settle();
        prop_assert!(bytes_of(&mut world.driver.keyspace) == before, "the state differs after a restart");
    }
}
