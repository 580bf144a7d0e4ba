//! When a replica campaigns, and when it refuses its vote.
//!
//! Both are told in real time rather than in ticks, since leases of leaders rest on them: for one
//! election timeout after it last heard from a leader a replica neither votes for another nor campaigns
//! itself. A replica that has just started cannot know whom it heard, and does neither for as long.

use std::time::Duration;

use crate::shard::Config;

/// The clock of elections of one replica that does not lead.
#[derive(Debug)]
pub(crate) struct Election {
    timeout: Duration,
    heartbeat: Duration,
    seed: u64,
    /// How many times something was drawn.
    drawn: u64,
    /// When a leader was last heard from.
    heard: Duration,
    /// When to campaign.
    due: Duration,
}

impl Election {
    pub(crate) fn new(config: &Config, now: Duration) -> Election {
        let mut election = Election {
            timeout: config.election,
            heartbeat: config.heartbeat,
            seed: config.seed,
            drawn: 0,
            heard: now,
            due: now,
        };
        election.heard(now);
        election
    }

    /// A leader was heard from.
    pub(crate) fn heard(&mut self, now: Duration) {
        self.heard = now;
        self.due = now + self.timeout + self.some_of(self.timeout);
    }

    /// This replica led until now.
    pub(crate) fn deposed(&mut self, now: Duration) {
        self.due = now + self.timeout + self.some_of(self.timeout);
    }

    /// The connection to the leader's node is gone, as if the node were. `rank` tells the voters that
    /// remain apart, so that they do not all campaign at once; the first of them does so as soon as it
    /// may.
    pub(crate) fn leader_lost(&mut self, rank: usize) {
        // The others heard the leader last at about the same time; a bit later they will vote.
        let turn = self.heartbeat / 4 + self.heartbeat / 2 * rank as u32;
        self.due = self.due.min(self.heard + self.timeout + turn);
    }

    /// Whether to vote for others.
    pub(crate) fn may_vote(&self, now: Duration) -> bool {
        now >= self.heard + self.timeout
    }

    /// Whether to campaign now. Then it is tried again some time later, unless a leader is heard.
    pub(crate) fn is_due(&mut self, now: Duration) -> bool {
        if now < self.due {
            return false;
        }
        self.due = now + self.timeout / 2 + self.some_of(self.timeout / 2);
        true
    }

    /// A time from zero to that one.
    fn some_of(&mut self, most: Duration) -> Duration {
        self.drawn += 1;
        let drawn = mixed(self.seed, self.drawn) % 1024;
        most * drawn as u32 / 1024
    }
}

/// SplitMix64: the number at that place of the sequence that the seed begins.
fn mixed(seed: u64, place: u64) -> u64 {
    let value = seed.wrapping_add(place.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}
