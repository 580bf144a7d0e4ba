//! One connection: a session, the stream it speaks on, and the clock.

use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use base::NodeId;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::task::yield_now;
use tokio::time::{sleep_until, timeout};
use tracing::debug;

use crate::greeting::Side;
use crate::hang_up::HangUp;
use crate::hub::Origin;
use crate::outbox::{Outbox, SLICES};
use crate::session::{Input, Session};
use crate::shared::{Ends, Mail, Shared};

/// How long the last words of a connection may take to arrive.
const FAREWELL_TIMEOUT: Duration = Duration::from_millis(500);

/// How many bytes a connection takes in before the others of this thread have their turn.
const READ_BUDGET: usize = 256 * 1024;

/// How a connection went.
pub(crate) struct Ended {
    pub(crate) why: HangUp,
    /// Who greeted, if the connection was confirmed.
    pub(crate) greeted: Option<NodeId>,
}

struct Connection<'a> {
    shared: &'a Arc<Shared>,
    origin: Origin,
    ends: Ends,
    mail: Mail,
    session: Session,
    outbox: Outbox,
    /// Who was admitted.
    peer: Option<NodeId>,
    greeted: Option<NodeId>,
}

/// Speaks the protocol until one side hangs up. `on_greeted` is called when both sides have admitted each other.
pub(crate) async fn run(
    shared: &Arc<Shared>,
    mut reader: impl AsyncRead + Unpin,
    mut writer: impl AsyncWrite + Unpin,
    side: Side,
    remote: Option<SocketAddr>,
    expected: Option<NodeId>,
    on_greeted: &mut (dyn FnMut(NodeId) + Send),
) -> Ended {
    let ends = shared.register(side);
    let session = Session::new(ends.greeting.clone(), shared.heartbeat, shared.moment());
    let origin = Origin {
        id: ends.id,
        side,
        remote,
        expected,
    };
    let mut connection = Connection {
        shared,
        origin,
        ends,
        mail: Mail::default(),
        session,
        outbox: Outbox::default(),
        peer: None,
        greeted: None,
    };
    let why = connection.talk(&mut reader, &mut writer, on_greeted).await;
    let mut left = shared.deregister(origin.id, &why);
    if connection.greeted.is_some() && why.goodbye_code().is_some() {
        // A goodbye says that all else was sent.
        for mail in [&mut connection.mail, &mut left] {
            connection.outbox.push_urgent(&mut mail.urgent);
            connection.outbox.push_payloads(&mut mail.payloads);
        }
    }
    connection.say_goodbye(&why, &mut reader, &mut writer).await;
    Ended {
        why,
        greeted: connection.greeted,
    }
}

impl Connection<'_> {
    async fn talk(
        &mut self,
        reader: &mut (impl AsyncRead + Unpin),
        writer: &mut (impl AsyncWrite + Unpin),
        on_greeted: &mut (dyn FnMut(NodeId) + Send),
    ) -> HangUp {
        let mut alarm = pin!(sleep_until(self.shared.instant(self.session.deadline())));
        let bell = Arc::clone(&self.ends.bell);
        let mut budget = READ_BUDGET;
        loop {
            if let Err(why) = self.turn(on_greeted) {
                return why;
            }
            let deadline = self.shared.instant(self.session.deadline());
            if alarm.deadline() != deadline {
                alarm.as_mut().reset(deadline);
            }
            let result = tokio::select! {
                read = reader.read_buf(self.session.read_buffer()) => match read {
                    Ok(0) => Err(self.session.closed()),
                    Ok(count) => {
                        debug!(connection = self.origin.id.0, bytes = count, "read");
                        self.session.received(self.shared.moment());
                        budget = budget.saturating_sub(count);
                        Ok(())
                    }
                    Err(error) => Err(HangUp::Broken(error.kind())),
                },
                wrote = write_some(&mut self.outbox, writer), if !self.outbox.is_empty() => match wrote {
                    Ok(count) => {
                        debug!(connection = self.origin.id.0, bytes = count, "wrote");
                        Ok(())
                    }
                    Err(error) => Err(HangUp::Broken(error.kind())),
                },
                () = bell.notified() => Ok(()),
                () = &mut alarm => self.session.tick(self.shared.moment()),
            };
            if let Err(why) = result {
                return why;
            }
            if budget == 0 {
                yield_now().await;
                budget = READ_BUDGET;
            }
        }
    }

    /// Acts on all that came, from others of this node first: nothing of a peer is delivered after the owner was
    /// told that it restarted.
    fn turn(&mut self, on_greeted: &mut (dyn FnMut(NodeId) + Send)) -> Result<(), HangUp> {
        self.shared.take_mail(self.origin.id, &mut self.mail);
        if let Some(why) = self.mail.hang_up.take() {
            return Err(why);
        }
        if let Some(cluster_id) = self.mail.cluster_id.take() {
            self.session.set_cluster_id(cluster_id)?;
        }
        for others in self.mail.introductions.drain(..) {
            self.session.introduce(&others);
        }
        let now = self.shared.moment();
        while let Some(input) = self.session.poll(now)? {
            self.take_in(input, on_greeted)?;
        }
        self.outbox.push_control(&self.session.take_output());
        self.outbox.push_urgent(&mut self.mail.urgent);
        self.outbox.push_payloads(&mut self.mail.payloads);
        let framed = self.outbox.take_framed_cost();
        self.ends.queued.fetch_sub(framed, Ordering::Relaxed);
        match self.outbox.is_unread() {
            true => Err(HangUp::Unread),
            false => Ok(()),
        }
    }

    fn take_in(
        &mut self,
        input: Input,
        on_greeted: &mut (dyn FnMut(NodeId) + Send),
    ) -> Result<(), HangUp> {
        if let Input::Payload(bytes) = input {
            // What the hub would make of it, without its lock: this is the way of every payload.
            let from = self.greeted.expect("payloads come after the confirmation");
            self.shared.deliver(from, bytes);
            return Ok(());
        }
        let is_confirmation = input == Input::Confirmed;
        let introduced = match &input {
            Input::Introduced(greeting) => Some(greeting.node_id),
            _ => None,
        };
        let (origin, session, now) = (&self.origin, &mut self.session, self.shared.moment());
        self.shared
            .with_hub(|hub, effects| hub.take_in(origin, session, input, now, effects))?;
        self.peer = introduced.or(self.peer);
        if is_confirmation && let Some(peer) = self.peer {
            self.greeted = Some(peer);
            on_greeted(peer);
        }
        Ok(())
    }

    /// Tells the other side why this one hangs up, where that is of use, and gives it time to read it: a
    /// connection that is closed with bytes unread would take its last words with it.
    async fn say_goodbye(
        &mut self,
        why: &HangUp,
        reader: &mut (impl AsyncRead + Unpin),
        writer: &mut (impl AsyncWrite + Unpin),
    ) {
        if !self.session.farewell(why) {
            return;
        }
        let farewell = async {
            while !self.outbox.is_empty() {
                write_some(&mut self.outbox, writer).await?;
            }
            // Behind all payloads, which tells the other side that it has read all of them.
            self.outbox.push_control(&self.session.take_output());
            while !self.outbox.is_empty() {
                write_some(&mut self.outbox, writer).await?;
            }
            writer.shutdown().await?;
            let mut ignored = [0; 4096];
            while reader.read(&mut ignored).await? > 0 {}
            io::Result::Ok(())
        };
        match timeout(FAREWELL_TIMEOUT, farewell).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                let error = error.to_string();
                debug!(
                    connection = self.origin.id.0,
                    error, "could not say goodbye"
                );
            }
            Err(_) => debug!(connection = self.origin.id.0, "the goodbye took too long"),
        }
    }
}

/// Writes some of what waits, all of it if it fits, and says how much. Dropping the future loses nothing.
async fn write_some(
    outbox: &mut Outbox,
    writer: &mut (impl AsyncWrite + Unpin),
) -> io::Result<usize> {
    let mut slices = [IoSlice::new(&[]); SLICES];
    let count = outbox.slices(&mut slices);
    let wrote = writer.write_vectored(&slices[..count]).await?;
    if wrote == 0 {
        return Err(io::ErrorKind::WriteZero.into());
    }
    outbox.advance(wrote);
    Ok(wrote)
}

#[cfg(test)]
mod tests;
