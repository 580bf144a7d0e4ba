//! The event loop: all clients on one epoll.
//!
//! It costs a client one `recv` and one `send` a batch. A batch is complete when its last reply is here; nothing
//! is sent ahead of that, so when all replies are in, there is nothing more to read and no second `recv` is needed
//! to learn so.

use std::io::{ErrorKind, Read, Write};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};

use super::batch::Batch;
use super::progress::Progress;
use super::replies::{Counter, Tally};
use crate::control::Target;

/// The piece in which replies are read.
const READ_BYTES: usize = 64 * 1024;
/// The longest reply that is kept until it is complete. Values of the expected size are not kept at all.
const MAX_REPLY_BYTES: usize = 64 * 1024 * 1024;
/// After this long without a reply to anything, a server counts as hung.
const SILENCE: Duration = Duration::from_secs(30);

/// The clients, and what they have seen.
pub(crate) struct Load {
    poll: Poll,
    events: Events,
    clients: Vec<Client>,
    turn: Turn,
    /// When the last replies came.
    heard: Instant,
}

/// What the clients share: only one of them is at work at a time.
struct Turn {
    batch: Batch,
    counter: Counter,
    tally: Tally,
    /// Where replies are read to. A reply that began earlier is put at its start first.
    buffer: Vec<u8>,
    /// How many clients wait for replies.
    busy: usize,
}

/// One connection.
struct Client {
    stream: TcpStream,
    /// When its batch was written.
    sent_at: Instant,
    /// How many replies are to come.
    awaited: u32,
    /// The part of the batch that the socket did not take.
    unsent: Vec<u8>,
    /// The start of a reply that is not complete.
    partial: Vec<u8>,
    /// How many bytes to come belong to a reply that was counted.
    to_skip: usize,
}

impl Load {
    /// Connects the clients and sends their first batches.
    pub(crate) fn connect(target: &Target, clients: u32, batch: Batch) -> Result<Load> {
        let poll = Poll::new()?;
        let mut load = Load {
            poll,
            events: Events::with_capacity(1024),
            clients: Vec::with_capacity(clients as usize),
            turn: Turn {
                counter: Counter::new(batch.shape().value_size),
                batch,
                tally: Tally::new(),
                buffer: vec![0; READ_BYTES],
                busy: 0,
            },
            heard: Instant::now(),
        };
        for index in 0..clients as usize {
            let stream = target
                .connect()
                .with_context(|| format!("client {} of {clients}", index + 1))?;
            stream.set_nonblocking(true)?;
            let mut stream = TcpStream::from_std(stream);
            load.poll.registry().register(
                &mut stream,
                Token(index),
                Interest::READABLE | Interest::WRITABLE,
            )?;
            load.clients.push(Client {
                stream,
                sent_at: Instant::now(),
                awaited: 0,
                unsent: Vec::new(),
                partial: Vec::new(),
                to_skip: 0,
            });
        }
        for client in &mut load.clients {
            client.send_batch(&mut load.turn, Instant::now())?;
        }
        Ok(load)
    }

    /// What was seen since the last call.
    pub(crate) fn take_tally(&mut self) -> Tally {
        std::mem::replace(&mut self.turn.tally, Tally::new())
    }

    /// Sends no more batches.
    pub(crate) fn stop(&mut self) {
        self.turn.batch.stop();
    }

    /// Runs until that time, or until all replies are in and there is nothing more to send: whether it was that.
    ///
    /// # Errors
    /// The server closes a connection, breaks the protocol, or falls silent.
    pub(crate) fn run(&mut self, until: Instant, progress: &mut Progress) -> Result<bool> {
        while self.turn.busy > 0 {
            let now = Instant::now();
            if now >= until {
                return Ok(false);
            }
            if now - self.heard > SILENCE {
                bail!(
                    "the server has answered nothing for {} s",
                    SILENCE.as_secs()
                );
            }
            progress.show(now, self.turn.tally.commands);
            let wake = until.min(progress.next());
            match self
                .poll
                .poll(&mut self.events, Some(wake.saturating_duration_since(now)))
            {
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                outcome => outcome?,
            }
            for event in &self.events {
                let client = &mut self.clients[event.token().0];
                if event.is_writable() && !client.unsent.is_empty() {
                    client.send_rest()?;
                }
                if event.is_readable() || event.is_error() {
                    client.receive(&mut self.turn)?;
                    self.heard = now;
                }
            }
        }
        Ok(true)
    }
}

impl Client {
    /// Sends the next batch, if there is one.
    fn send_batch(&mut self, turn: &mut Turn, now: Instant) -> Result<()> {
        let Some((bytes, count)) = turn.batch.next() else {
            return Ok(());
        };
        self.awaited = count;
        self.sent_at = now;
        turn.busy += 1;
        let written = write(&mut self.stream, bytes)?;
        self.unsent.extend_from_slice(&bytes[written..]);
        Ok(())
    }

    fn send_rest(&mut self) -> Result<()> {
        let written = write(&mut self.stream, &self.unsent)?;
        self.unsent.drain(..written);
        Ok(())
    }

    /// Reads what is there and sends the next batch when this one is complete.
    fn receive(&mut self, turn: &mut Turn) -> Result<()> {
        loop {
            let kept = self.partial.len();
            if turn.buffer.len() < kept + READ_BYTES {
                if kept > MAX_REPLY_BYTES {
                    bail!("a reply is longer than {} MiB", MAX_REPLY_BYTES >> 20);
                }
                turn.buffer.resize(kept + kept.max(READ_BYTES), 0);
            }
            turn.buffer[..kept].copy_from_slice(&self.partial);
            let room = turn.buffer.len() - kept;
            let read = match self.stream.read(&mut turn.buffer[kept..]) {
                Ok(0) => bail!("the server closed a connection"),
                Ok(read) => read,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(error).context("the connection broke"),
            };
            self.partial.clear();
            let skipped = self.to_skip.min(kept + read);
            self.to_skip -= skipped;
            let replies = &turn.buffer[skipped..kept + read];
            let due = self.awaited > 0;
            let counted = turn
                .counter
                .count(replies, &mut self.awaited, &mut turn.tally)?;
            self.to_skip += counted.to_skip;
            self.partial.extend_from_slice(&replies[counted.consumed..]);

            let complete = self.awaited == 0 && self.to_skip == 0 && (due || skipped > 0);
            if complete {
                let now = Instant::now();
                turn.tally
                    .latency
                    .saturating_record((now - self.sent_at).as_nanos() as u64);
                turn.busy -= 1;
                return self.send_batch(turn, now);
            }
            if read < room {
                // The rest is not here yet, and will be announced.
                return Ok(());
            }
        }
    }
}

/// Writes as much as the socket takes.
fn write(stream: &mut TcpStream, bytes: &[u8]) -> Result<usize> {
    let mut written = 0;
    while written < bytes.len() {
        match stream.write(&bytes[written..]) {
            Ok(0) => bail!("the server closed a connection"),
            Ok(count) => written += count,
            Err(error) if error.kind() == ErrorKind::WouldBlock => break,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error).context("the connection broke"),
        }
    }
    Ok(written)
}
