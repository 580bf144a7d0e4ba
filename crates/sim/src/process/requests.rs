//! Requests of clients on a node: read under a lease at once, or left to the shard's turn.

use std::time::Duration;

use base::{ShardId, Slot, Timestamp};
use shard::{Commands, LongReads, Refusal, Request, Response, Ticket};

use super::Process;
use crate::clock::MachineClock;
use crate::history::Outcome;
use crate::op::{Answer, Op, key_name};
use crate::planted::Planted;
use crate::scene::{Event, Scene};

impl Process {
    /// A client asks.
    pub fn request(
        &mut self,
        call: usize,
        key: u8,
        op: Op,
        clock: &MachineClock,
        scene: &mut Scene,
    ) {
        let Some(count) = self.shard_count.filter(|_| self.log.is_some()) else {
            return answer(scene, call, Outcome::NotTaken);
        };
        let shard = Slot::of_key(&key_name(key)).shard(count);
        if op.is_read()
            && let Some(value) = self.read_at_once(shard, key, clock, scene)
        {
            let at = scene.now() + self.paused;
            return answer(scene, call, Outcome::Answered(at, value));
        }
        let mut commands = Commands::default();
        op.push(key, &mut commands);
        self.waiting.insert(call);
        let host = self.host(shard);
        host.inputs.requests.push(Request {
            ticket: Ticket(call as u64),
            commands,
        });
        host.is_due = true;
        self.work(clock, scene);
    }

    /// As a session does that finds a lease: it reads on its own thread and looks at the lease again.
    fn read_at_once(
        &mut self,
        shard: ShardId,
        key: u8,
        clock: &MachineClock,
        scene: &mut Scene,
    ) -> Option<Answer> {
        if self.settings.short_read_bytes == 0 {
            return None;
        }
        let host = self.shards.get(&shard)?;
        let moment = clock.moment(scene.now());
        let unchecked = scene.has(Planted::ReadWithoutLease) && host.turn.leads();
        if moment.monotonic >= host.lease_until && !unchecked {
            return None;
        }
        let mut wall = moment.wall.max(host.keyspace.stamp());
        if scene.has(Planted::ExpiryByOtherClock) {
            wall = Timestamp::from_millis(wall.millis() + 1_000);
        }
        let by_clock = scene.has(Planted::ExpiryByOtherClock);
        let (db, name) = (base::Db::default(), key_name(key));
        if !by_clock && !host.keyspace.is_key_settled(db, &name, wall) {
            return None;
        }
        let entry = host.keyspace.get(db, &name, wall);
        let value = entry.map_or(Answer::Nil, |entry| {
            Answer::Value(entry.string().unwrap_or_default().to_vec())
        });
        let machine = self.home.machine;
        self.paused = scene.pauses_in_read.remove(&machine).unwrap_or_default();
        let after = clock.moment(scene.now() + self.paused).monotonic;
        let holds = after < host.lease_until || unchecked;
        if holds && let Some(replica) = host.turn.shard() {
            let judged = scene.witness.read(replica);
            scene.judge(judged);
        }
        holds.then_some(value)
    }

    /// Reads that a shard wants to be run elsewhere take their time.
    pub(super) fn begin_long_reads(&mut self, shard: ShardId, reads: LongReads, scene: &mut Scene) {
        self.host(shard).long_reads = Some(reads);
        let most = *scene.chance.pick(&[2, 200, 2_000]);
        let takes = scene.chance.millis(1, most);
        let (machine, process) = (self.home.machine, self.home.process);
        scene.after(
            takes,
            Event::LongReads {
                machine,
                process,
                shard,
            },
        );
    }

    /// They are done. The state is the one that they began with.
    pub fn run_long_reads(&mut self, shard: ShardId, clock: &MachineClock, scene: &mut Scene) {
        let host = self.host(shard);
        if let Some(reads) = host.long_reads.take() {
            host.inputs.long_reads = Some(reads.run(&host.keyspace));
            host.is_due = true;
        }
        self.work(clock, scene);
    }

    pub(super) fn respond(&mut self, response: Response, scene: &mut Scene) {
        let call = response.ticket.0 as usize;
        if !self.waiting.remove(&call) {
            return;
        }
        let outcome = match response.outcome {
            Ok(replies) => match replies.first().and_then(Answer::of) {
                Some(value) => Outcome::Answered(scene.now(), value),
                None => Outcome::Unknown,
            },
            Err(Refusal::Uncertain) if !scene.has(Planted::UncertainToldAsRefused) => {
                Outcome::Unknown
            }
            Err(_) => Outcome::NotTaken,
        };
        let paused = self.paused;
        answer_after(scene, paused, call, outcome);
    }
}

/// How long an answer takes to its client.
fn answer(scene: &mut Scene, call: usize, outcome: Outcome) {
    answer_after(scene, Duration::ZERO, call, outcome);
}

fn answer_after(scene: &mut Scene, wait: Duration, call: usize, outcome: Outcome) {
    let way = scene
        .chance
        .between(Duration::from_micros(20), Duration::from_millis(1));
    scene.after(wait + way, Event::Answer { call, outcome });
}
