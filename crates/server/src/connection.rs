//! One client connection: the only place that reads and writes its socket.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;

use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::sync::futures::Notified;
use tracing::debug;

use crate::server::CoreServer;
use crate::session::{Session, Step};
use crate::stats::Stats;

/// A connection that a core serves.
pub(crate) struct Connection {
    stream: TcpStream,
    /// Decides which core serves it.
    number: usize,
    session: Session,
    /// What was read and not yet taken; no memory while there is nothing.
    input: Vec<u8>,
}

/// An input buffer with more room than this is made smaller when little is left in it.
const INPUT_KEPT_BYTES: usize = 1 << 20;

/// A connection on its way from one core to another.
pub(crate) struct Moving {
    stream: std::net::TcpStream,
    number: usize,
    session: Session,
    input: Vec<u8>,
}

impl Moving {
    pub(crate) fn client_id(&self) -> u64 {
        self.session.client().id()
    }

    pub(crate) fn number(&self) -> usize {
        self.number
    }

    /// Belongs to the calling thread's core from now on, which counts with `stats`.
    pub(crate) fn arrive(self, stats: Arc<Stats>) -> io::Result<Connection> {
        let Moving {
            stream,
            number,
            mut session,
            input,
        } = self;
        session.move_to(stats);
        Ok(Connection {
            stream: TcpStream::from_std(stream)?,
            number,
            session,
            input,
        })
    }
}

/// Why a core no longer serves a connection.
enum End {
    Closed(&'static str),
    Moved,
}

impl Connection {
    pub(crate) fn new(stream: TcpStream, number: usize, session: Session) -> Connection {
        Connection {
            stream,
            number,
            session,
            input: Vec::new(),
        }
    }

    pub(crate) fn client_id(&self) -> u64 {
        self.session.client().id()
    }

    /// Serves it until either side ends it, or until it is to move to another core.
    pub(crate) async fn serve(self, server: &CoreServer) -> Option<Moving> {
        let Connection {
            stream,
            number,
            mut session,
            input,
        } = self;
        let client = session.client();
        let ended = {
            let killed = pin!(client.killed());
            let mut serving = Serving {
                stream,
                killed,
                input,
                taken: 0,
                number,
                server,
            };
            let ended = serving.run(&mut session).await;
            ended.map(|end| (end, serving.stream, serving.input))
        };
        match ended {
            Ok((End::Moved, stream, input)) => match stream.into_std() {
                Ok(stream) => {
                    return Some(Moving {
                        stream,
                        number,
                        session,
                        input,
                    });
                }
                Err(error) => debug!(client = client.id(), %error, "the connection broke"),
            },
            Ok((End::Closed(why), ..)) => debug!(client = client.id(), why, "the connection ended"),
            Err(error) => debug!(client = client.id(), %error, "the connection broke"),
        }
        None
    }
}

/// What there is to do for a connection.
enum Filled {
    /// More has come from the client.
    Input,
    /// Messages wait for it.
    Pushes,
    /// It has ended, or is to end.
    End,
}

struct Serving<'k, 'c, 's> {
    stream: TcpStream,
    killed: Pin<&'k mut Notified<'c>>,
    /// What was read; the first `taken` bytes of it are done with.
    input: Vec<u8>,
    taken: usize,
    number: usize,
    server: &'s CoreServer,
}

impl Serving<'_, '_, '_> {
    async fn run(&mut self, session: &mut Session) -> io::Result<End> {
        let server = self.server;
        let buffers = &server.buffers;
        let mut output = Vec::new();
        let mut more = false;
        loop {
            if !more {
                if server.is_moved(self.number) {
                    self.compact();
                    return Ok(End::Moved);
                }
                match self.fill(session).await? {
                    Filled::Input => session.note_activity(),
                    Filled::Pushes => {
                        session.client().take_pushes(&mut output);
                        if !self.send(&output).await? {
                            return Ok(End::Closed("it was hung up on"));
                        }
                        output.clear();
                        continue;
                    }
                    Filled::End => {
                        return Ok(End::Closed("the client hung up, or was hung up on"));
                    }
                }
            }
            if output.capacity() == 0 {
                output = buffers.take();
            }
            let mut consumed = 0;
            let rest = &self.input[self.taken..];
            let step = session.take_commands(rest, &mut consumed, &mut output, server);
            self.consume(consumed);
            more = match step {
                Step::NeedsInput => false,
                Step::Submit(mut batch) => {
                    batch.submit(&server.core).await;
                    session.answer(batch, &mut output, server);
                    if let Some(why) = session.closing {
                        self.send(&output).await?;
                        return Ok(End::Closed(why));
                    }
                    !self.input.is_empty()
                }
                Step::Ask(asked) => {
                    let reply = server.ask(asked).await;
                    session.answer_asked(&reply, &mut output);
                    !self.input.is_empty()
                }
                Step::Publish(publications) => {
                    let counts = server.publish(&publications).await;
                    session.answer_publications(&publications, &counts, &mut output);
                    !self.input.is_empty()
                }
                Step::Flush => true,
                Step::Close(why) => {
                    self.send(&output).await?;
                    return Ok(End::Closed(why));
                }
            };
            // Replies wait for those to come, so that all go out in one write, up to a bound.
            if !more || output.len() >= session.flush_at() {
                if !output.is_empty() && !self.send(&output).await? {
                    return Ok(End::Closed("it was hung up on"));
                }
                buffers.give(std::mem::take(&mut output));
            }
        }
    }

    /// Reads once, at least one byte, unless messages wait for the client before that.
    async fn fill(&mut self, session: &Session) -> io::Result<Filled> {
        self.compact();
        let needed = session.needed();
        let client = (!session.subscriptions.is_empty()).then(|| session.client());
        let Serving {
            stream,
            killed,
            input,
            server,
            ..
        } = self;
        loop {
            let mut pushed = pin!(client.as_ref().map(|client| client.pushed()));
            let filled = poll_fn(|context| {
                if killed.as_mut().poll(context).is_ready() {
                    return Poll::Ready(Ok(Filled::End));
                }
                if let Some(pushed) = pushed.as_mut().as_pin_mut()
                    && pushed.poll(context).is_ready()
                {
                    return Poll::Ready(Ok(Filled::Pushes));
                }
                let readable = stream.poll_read_ready(context);
                readable.map_ok(|()| Filled::Input)
            });
            match filled.await? {
                Filled::Input => {}
                other => return Ok(other),
            }
            // Only now: an idle connection holds no buffer.
            if input.capacity() == 0 {
                *input = server.buffers.take();
            }
            if input.len() == input.capacity() {
                input.reserve(needed);
            }
            let mut reading = pin!(stream.read_buf(input));
            let read = poll_fn(|context| match reading.as_mut().poll(context) {
                Poll::Ready(read) => Poll::Ready(read.map(Some)),
                // The readiness was of an earlier moment.
                Poll::Pending => Poll::Ready(Ok(None)),
            });
            if let Some(bytes) = read.await? {
                debug!(bytes, "read from a client");
                return Ok(if bytes > 0 {
                    Filled::Input
                } else {
                    Filled::End
                });
            }
        }
    }

    /// So many more bytes of the input are done with.
    fn consume(&mut self, bytes: usize) {
        self.taken += bytes;
        if self.taken == self.input.len() {
            self.taken = 0;
            self.server.buffers.give(std::mem::take(&mut self.input));
        }
    }

    /// Moves what is not done with to the front of the input, once it can be added to.
    fn compact(&mut self) {
        if self.taken > 0 {
            self.input.drain(..self.taken);
            self.taken = 0;
            if self.input.capacity() > INPUT_KEPT_BYTES.max(4 * self.input.len()) {
                self.input.shrink_to(INPUT_KEPT_BYTES);
            }
        }
    }

    /// Writes all of it. `false` when the connection is to end.
    async fn send(&mut self, mut bytes: &[u8]) -> io::Result<bool> {
        self.server.stats.note_output(bytes.len());
        loop {
            match self.stream.try_write(bytes) {
                Ok(written) if written == bytes.len() => {
                    debug!(bytes = written, "wrote to a client");
                    return Ok(true);
                }
                Ok(written) => bytes = &bytes[written..],
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    let Serving { stream, killed, .. } = self;
                    let writable = poll_fn(|context| match killed.as_mut().poll(context) {
                        Poll::Ready(()) => Poll::Ready(Ok(false)),
                        Poll::Pending => stream.poll_write_ready(context).map_ok(|()| true),
                    });
                    if !writable.await? {
                        return Ok(false);
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}
