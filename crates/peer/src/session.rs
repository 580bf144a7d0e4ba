//! The protocol of one connection, without the connection: bytes, ticks and the time go in; bytes,
//! inputs for the owner and reasons to hang up come out.
//!
//! 1. The side that dialled sends its greeting.
//! 2. The other judges it. It answers with its own greeting, or with a refusal, and hangs up. To itself
//!    it shows its greeting before it hangs up, so that the dialling side learns whom it reached.
//! 3. The side that dialled judges that in the same way. It is greeted now, and says so with its first ping.
//!    With that the other is as well; until then it sends no payload, because a side that dialled may still
//!    turn away, as from a duplicate, and then reads nothing.
//! 4. Each side pings the other every [`ping_period`] and answers its pings. Payloads, updates and introductions
//!    flow both ways.
//! 5. Either side ends it with a goodbye, a refusal, or nothing at all when it is beyond words.
//!
//! Invariants: nothing but a greeting, a refusal or a goodbye is understood before the greeting;
//! a greeting comes once; the owner is asked ([`Input::Introduced`]) before a peer counts as greeted, and
//! nothing of that peer is read until it has answered; [`Input::Confirmed`] comes before all else of it.
//!
//! It runs on whatever carries bytes: it knows no sockets and no clock, and equal calls have equal results.

use std::collections::VecDeque;
use std::time::Duration;

use base::{ClusterId, Moment};

use crate::frame::{self, Decoder, Kind, PAYLOAD_LIMIT, UNGREETED_PAYLOAD_LIMIT};
use crate::greeting::{Greeting, GreetingError, Side};
use crate::hang_up::{HangUp, Refusal};
use crate::link::Link;
use crate::message::{self, Goodbye, Introduction, Ping, Pong, Refused, Update};
use crate::parts::Joiner;

/// How long a connection may last without a greeting.
pub const GREETING_TIMEOUT: Duration = Duration::from_secs(2);

/// How many pings may wait for their answers and still be measured; the answers to older ones are not.
const MEASURED_PINGS: usize = 64;

/// How long a peer may be silent.
pub fn silence_limit(heartbeat: Duration) -> Duration {
    3 * heartbeat + Duration::from_secs(1)
}

/// How often a peer is pinged: four times before its silence is noticed. More often would tell nothing
/// sooner, and be most of what an idle cluster does.
pub fn ping_period(heartbeat: Duration) -> Duration {
    silence_limit(heartbeat) / 4
}

/// What a peer did that concerns the owner of its session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// It greeted and there is nothing to refuse it for here. The owner calls [`Session::admit`] or hangs up.
    Introduced(Greeting),
    /// It admitted this side in turn: from now on payloads may be sent. It comes once, after the admission.
    Confirmed,
    /// It sent this.
    Payload(Vec<u8>),
    /// It says that it belongs to this cluster by now.
    ClusterId(ClusterId),
    /// It knows these others.
    Introductions(Vec<Introduction>),
    /// It answered a ping: [`Session::link`] has changed.
    Measured,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Ungreeted {
        until: Duration,
    },
    /// The owner was asked.
    Introduced,
    /// This side admitted the other, which has not shown yet that it admitted this one.
    Admitted,
    Greeted,
}

/// One side of one connection.
#[derive(Debug)]
pub struct Session {
    /// What this side says of itself; its cluster id is the current one.
    own: Greeting,
    heartbeat: Duration,
    phase: Phase,
    decoder: Decoder,
    joiner: Joiner,
    out: Vec<u8>,
    /// The cluster id that the other side was told.
    told: Option<ClusterId>,
    /// The cluster id that the other side told.
    theirs: Option<ClusterId>,
    last_heard: Duration,
    next_ping: Duration,
    sequence: u64,
    waiting: VecDeque<(Ping, Duration)>,
    link: Link,
}

impl Session {
    /// Of a connection that was made just now; `own` is what this side says of itself.
    pub fn new(own: Greeting, heartbeat: Duration, now: Moment) -> Session {
        let mut session = Session {
            told: None,
            theirs: None,
            own,
            heartbeat,
            phase: Phase::Ungreeted {
                until: now.monotonic + GREETING_TIMEOUT,
            },
            decoder: Decoder::new(),
            joiner: Joiner::default(),
            out: Vec::new(),
            last_heard: now.monotonic,
            next_ping: now.monotonic,
            sequence: 0,
            waiting: VecDeque::new(),
            link: Link::default(),
        };
        if session.own.side == Side::Dialled {
            session.greet();
        }
        session
    }

    fn greet(&mut self) {
        self.told = self.own.cluster_id;
        frame::encode(&mut self.out, Kind::GREETING, &self.own.encode());
    }

    /// Where bytes that come are to be appended; then [`Session::received`] is called.
    pub fn read_buffer(&mut self) -> &mut Vec<u8> {
        self.decoder.read_buffer()
    }

    /// Takes bytes that came, where a driver has them at hand already; then [`Session::poll`] is called.
    pub fn feed(&mut self, bytes: &[u8], now: Moment) {
        self.decoder.extend(bytes);
        self.received(now);
    }

    /// Notes that bytes came; then [`Session::poll`] is called.
    pub fn received(&mut self, now: Moment) {
        self.last_heard = now.monotonic;
    }

    /// The next thing that the peer did; `None` when more bytes are needed, or while the owner owes an
    /// answer to [`Input::Introduced`].
    ///
    /// # Errors
    /// The reason to hang up: [`Session::farewell`] is called, and nothing else.
    pub fn poll(&mut self, now: Moment) -> Result<Option<Input>, HangUp> {
        loop {
            let limit = match self.phase {
                Phase::Ungreeted { .. } => UNGREETED_PAYLOAD_LIMIT,
                Phase::Introduced => return Ok(None),
                Phase::Admitted if self.own.side == Side::Dialled => {
                    // Who accepts greets only whom it has admitted.
                    self.phase = Phase::Greeted;
                    return Ok(Some(Input::Confirmed));
                }
                Phase::Admitted | Phase::Greeted => PAYLOAD_LIMIT,
            };
            let Some(frame) = self.decoder.next_frame(limit)? else {
                return Ok(None);
            };
            let (kind, payload) = (frame.kind, frame.payload);
            if kind == Kind::REFUSED {
                return Err(HangUp::RefusedBy(Refused::decode(payload)?.text));
            }
            if kind == Kind::GOODBYE {
                return Err(HangUp::Goodbye(Goodbye::decode(payload)?));
            }
            if let Phase::Admitted = self.phase {
                self.decoder.give_back();
                self.phase = Phase::Greeted;
                return Ok(Some(Input::Confirmed));
            }
            if self.phase != Phase::Greeted {
                if kind != Kind::GREETING {
                    return Err(HangUp::Protocol("a message before the greeting"));
                }
                let greeting = match Greeting::decode(payload) {
                    Ok(greeting) => greeting,
                    Err(GreetingError::Version(theirs)) => {
                        return Err(HangUp::Refused(Refusal::Version { theirs }));
                    }
                    Err(error) => return Err(HangUp::Greeting(error)),
                };
                self.judge(&greeting)?;
                self.phase = Phase::Introduced;
                return Ok(Some(Input::Introduced(greeting)));
            }
            match kind {
                Kind::PAYLOAD => {
                    self.joiner.check_idle()?;
                    return Ok(Some(Input::Payload(payload.to_vec())));
                }
                Kind::URGENT => return Ok(Some(Input::Payload(payload.to_vec()))),
                Kind::FIRST_PART => self.joiner.first(payload)?,
                Kind::NEXT_PART => {
                    if let Some(whole) = self.joiner.next(payload)? {
                        return Ok(Some(Input::Payload(whole)));
                    }
                }
                Kind::PING => {
                    let pong = Pong {
                        ping: Ping::decode(payload)?,
                        answered_at: now.wall,
                    };
                    frame::encode(&mut self.out, Kind::PONG, &pong.encode());
                }
                Kind::PONG => {
                    let pong = Pong::decode(payload)?;
                    if self.measure(pong, now)? {
                        return Ok(Some(Input::Measured));
                    }
                }
                Kind::UPDATE => {
                    let Update { cluster_id } = Update::decode(payload)?;
                    if self.theirs.is_some_and(|known| known != cluster_id) {
                        return Err(HangUp::Protocol("a node changed its cluster"));
                    }
                    self.theirs = Some(cluster_id);
                    self.check_cluster()?;
                    return Ok(Some(Input::ClusterId(cluster_id)));
                }
                Kind::INTRODUCTIONS => {
                    let introductions = message::decode_introductions(payload)?;
                    return Ok(Some(Input::Introductions(introductions)));
                }
                Kind::GREETING => return Err(HangUp::Protocol("a second greeting")),
                _ => {}
            }
        }
    }

    fn judge(&mut self, theirs: &Greeting) -> Result<(), HangUp> {
        if theirs.side == self.own.side {
            return Err(HangUp::Protocol("a greeting of the wrong side: an echo?"));
        }
        if theirs.node_id == self.own.node_id {
            if theirs.run_nonce != self.own.run_nonce {
                return Err(HangUp::Refused(Refusal::NodeIdInUse {
                    node_id: self.own.node_id,
                    incarnation: self.own.incarnation,
                }));
            }
            if self.own.side == Side::Accepted {
                self.greet();
            }
            return Err(HangUp::Myself);
        }
        self.theirs = theirs.cluster_id;
        self.check_cluster()
    }

    fn check_cluster(&self) -> Result<(), HangUp> {
        match (self.own.cluster_id, self.theirs) {
            (Some(ours), Some(theirs)) if ours != theirs => {
                Err(HangUp::Refused(Refusal::Stranger { ours, theirs }))
            }
            _ => Ok(()),
        }
    }

    /// Whether the ping was sent lately enough to be measured.
    fn measure(&mut self, pong: Pong, now: Moment) -> Result<bool, HangUp> {
        if pong.ping.sequence > self.sequence {
            return Err(HangUp::Protocol("an answer to a ping that was not sent"));
        }
        while let Some((ping, sent)) = self.waiting.pop_front() {
            if ping.sequence == pong.ping.sequence {
                if ping != pong.ping {
                    return Err(HangUp::Protocol("an answer to another ping than was sent"));
                }
                let rtt = now.monotonic.saturating_sub(sent);
                self.link.measured(rtt, ping.sent_at, pong.answered_at);
                return Ok(true);
            }
            if ping.sequence > pong.ping.sequence {
                self.waiting.push_front((ping, sent));
                break;
            }
        }
        Ok(false)
    }

    /// Takes the peer in: the answer to [`Input::Introduced`].
    ///
    /// # Panics
    /// When there was none.
    pub fn admit(&mut self, now: Moment) {
        assert_eq!(
            self.phase,
            Phase::Introduced,
            "only who was introduced is admitted"
        );
        self.phase = Phase::Admitted;
        self.last_heard = now.monotonic;
        self.next_ping = now.monotonic;
        match self.own.side {
            Side::Accepted => self.greet(),
            Side::Dialled => {
                self.ping(now);
                self.update();
            }
        }
    }

    /// This node belongs to that cluster by now; the peer is told, at once or when it has greeted.
    ///
    /// # Errors
    /// The peer is a stranger.
    pub fn set_cluster_id(&mut self, cluster_id: ClusterId) -> Result<(), HangUp> {
        self.own.cluster_id = Some(cluster_id);
        self.check_cluster()?;
        if self.is_admitted() {
            self.update();
        }
        Ok(())
    }

    fn update(&mut self) {
        if let Some(cluster_id) = self.own.cluster_id
            && self.told != Some(cluster_id)
        {
            self.told = Some(cluster_id);
            frame::encode(&mut self.out, Kind::UPDATE, &Update { cluster_id }.encode());
        }
    }

    /// Tells the peer of others.
    ///
    /// # Panics
    /// For more than [`message::INTRODUCTIONS_LIMIT`].
    pub fn introduce(&mut self, others: &[Introduction]) {
        let payload = message::encode_introductions(others);
        frame::encode(&mut self.out, Kind::INTRODUCTIONS, &payload);
    }

    /// When [`Session::tick`] is due.
    pub fn deadline(&self) -> Duration {
        match self.phase {
            Phase::Ungreeted { until } => until,
            Phase::Introduced | Phase::Admitted | Phase::Greeted => {
                self.next_ping.min(self.silent_at())
            }
        }
    }

    fn silent_at(&self) -> Duration {
        self.last_heard + silence_limit(self.heartbeat)
    }

    /// Pings, and notices what did not come in time. A tick that comes more than a heartbeat late, because
    /// this process was stopped or the machine was too busy, holds that time against nobody.
    ///
    /// # Errors
    /// The reason to hang up.
    pub fn tick(&mut self, now: Moment) -> Result<(), HangUp> {
        let late = now.monotonic.saturating_sub(self.deadline());
        match self.phase {
            Phase::Ungreeted { until } if now.monotonic >= until => {
                return Err(HangUp::NoGreeting(GREETING_TIMEOUT));
            }
            Phase::Ungreeted { .. } | Phase::Introduced => return Ok(()),
            Phase::Admitted | Phase::Greeted => {}
        }
        if late > self.heartbeat {
            self.last_heard = (self.last_heard + late).min(now.monotonic);
        }
        if now.monotonic >= self.silent_at() {
            return Err(HangUp::Silent(now.monotonic - self.last_heard));
        }
        if now.monotonic >= self.next_ping {
            self.ping(now);
        }
        Ok(())
    }

    fn ping(&mut self, now: Moment) {
        self.next_ping = now.monotonic + ping_period(self.heartbeat);
        self.sequence += 1;
        let ping = Ping {
            sequence: self.sequence,
            sent_at: now.wall,
        };
        frame::encode(&mut self.out, Kind::PING, &ping.encode());
        if self.waiting.len() == MEASURED_PINGS {
            self.waiting.pop_front();
        }
        self.waiting.push_back((ping, now.monotonic));
    }

    /// Says why this side hangs up, where the other would want to know. Returns whether it does: then the
    /// words should arrive before the connection is closed.
    pub fn farewell(&mut self, why: &HangUp) -> bool {
        match why {
            HangUp::Refused(refusal) => {
                frame::encode(&mut self.out, Kind::REFUSED, &refusal.message().encode());
            }
            // Its greeting waits for the side that dialled.
            HangUp::Myself => return !self.out.is_empty(),
            _ => {
                let Some(code) = why.goodbye_code() else {
                    return false;
                };
                let text = why.to_string();
                frame::encode(
                    &mut self.out,
                    Kind::GOODBYE,
                    &Goodbye { code, text }.encode(),
                );
            }
        }
        true
    }

    /// Why the other side closing the connection now ends it.
    pub fn closed(&self) -> HangUp {
        if self.decoder.is_inside_frame() {
            HangUp::Truncated
        } else {
            HangUp::Closed
        }
    }

    /// What is to be sent, whole frames; empty afterwards.
    pub fn take_output(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.out)
    }

    /// What pings have told.
    pub fn link(&self) -> &Link {
        &self.link
    }

    /// Whether [`Session::admit`] was called.
    pub fn is_admitted(&self) -> bool {
        matches!(self.phase, Phase::Admitted | Phase::Greeted)
    }

    /// Whether [`Input::Confirmed`] came.
    pub fn is_greeted(&self) -> bool {
        self.phase == Phase::Greeted
    }

    /// The room that this side has made for what comes, in bytes: at most 64 KiB, twice the frame and twice the
    /// parts of a payload that came and were not given yet, and what the latest large frame took.
    pub fn room(&self) -> usize {
        self.decoder.room() + self.joiner.room()
    }
}

#[cfg(test)]
mod tests;
