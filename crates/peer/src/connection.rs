//! One connection: a session, the stream it speaks on, and the clock.

use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use base::NodeId;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::{sleep_until, timeout};
use tracing::debug;

use crate::greeting::{Greeting, Side};
use crate::hang_up::HangUp;
use crate::outbox::Outbox;
use crate::session::{Input, Session};
use crate::shared::{Ends, Order, Shared, stopped};

/// How long the last words of a connection may take to arrive.
const FAREWELL_TIMEOUT: Duration = Duration::from_millis(500);

/// How much may wait to be written when the next payload is taken from the queue.
const WRITE_AHEAD: usize = 256 * 1024;

/// How much of what a session says may wait to be written: only who asks for answers and does not read
/// them gets there.
const CONTROL_LIMIT: usize = 1024 * 1024;

/// How a connection went.
pub(crate) struct Ended {
    pub(crate) why: HangUp,
    pub(crate) greeted: Option<NodeId>,
}

struct Connection<'a> {
    shared: &'a Arc<Shared>,
    side: Side,
    remote: Option<SocketAddr>,
    ends: Ends,
    session: Session,
    outbox: Outbox,
    greeted: Option<NodeId>,
}

/// Speaks the protocol until one side hangs up. `on_greeted` is called when the peer has been admitted.
pub(crate) async fn run(
    shared: &Arc<Shared>,
    mut reader: impl AsyncRead + Unpin,
    mut writer: impl AsyncWrite + Unpin,
    side: Side,
    remote: Option<SocketAddr>,
    on_greeted: &mut (dyn FnMut(NodeId) + Send),
) -> Ended {
    let mut ends = shared.register(side);
    let cluster_id = *ends.cluster_id.borrow_and_update();
    let own = Greeting::of(&shared.local, cluster_id, shared.hosts_hash, side);
    let session = Session::new(own, shared.config.heartbeat, shared.moment());
    let outbox = Outbox::default();
    let mut connection = Connection {
        shared,
        side,
        remote,
        ends,
        session,
        outbox,
        greeted: None,
    };
    let why = connection.talk(&mut reader, &mut writer, on_greeted).await;
    shared.deregister(connection.ends.id, &why);
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
                        debug!(connection = self.ends.id.0, bytes = count, "read");
                        self.session.received(self.shared.moment());
                        Ok(())
                    }
                    Err(error) => Err(HangUp::Broken(error.kind())),
                },
                wrote = self.outbox.write_some(writer), if !self.outbox.is_empty() => match wrote {
                    Ok(count) => {
                        debug!(connection = self.ends.id.0, bytes = count, "wrote");
                        Ok(())
                    }
                    Err(error) => Err(HangUp::Broken(error.kind())),
                },
                Some(order) = self.ends.orders.recv(), if self.outbox.len() < WRITE_AHEAD => {
                    self.take(order);
                    Ok(())
                }
                () = &mut alarm => self.session.tick(self.shared.moment()),
                Ok(()) = self.ends.hang_up.changed() => Ok(()),
                Ok(()) = self.ends.cluster_id.changed() => {
                    let cluster_id = *self.ends.cluster_id.borrow_and_update();
                    cluster_id.map_or(Ok(()), |id| self.session.set_cluster_id(id))
                }
                () = stopped(&mut self.ends.stop) => Err(HangUp::Stopping),
            };
            if let Err(why) = result {
                return why;
            }
        }
    }

    /// Acts on all that came.
    fn turn(&mut self, on_greeted: &mut (dyn FnMut(NodeId) + Send)) -> Result<(), HangUp> {
        // First, so that nothing of a peer is delivered after the owner was told that it restarted.
        if let Some(why) = &*self.ends.hang_up.borrow() {
            return Err(why.clone());
        }
        let now = self.shared.moment();
        let id = self.ends.id;
        while let Some(input) = self.session.poll(now)? {
            match input {
                Input::Introduced(greeting) => {
                    let node_id = greeting.node_id;
                    self.shared.admit(id, self.side, &greeting, self.remote)?;
                    self.session.admit(now);
                    self.greeted = Some(node_id);
                    on_greeted(node_id);
                }
                Input::Payload(bytes) => {
                    let from = self
                        .greeted
                        .expect("payloads are read only of who was admitted");
                    self.shared.deliver(from, bytes);
                }
                Input::ClusterId(cluster_id) => self.shared.set_peer_cluster_id(id, cluster_id),
                Input::Introductions(others) => {
                    for other in others {
                        self.shared.learn(other.node_id, other.address);
                    }
                }
                Input::Measured => self.shared.measured(id, self.session.link()),
            }
        }
        self.outbox.push_control(self.session.take_output());
        if self.outbox.control_len() > CONTROL_LIMIT {
            return Err(HangUp::Unread);
        }
        Ok(())
    }

    fn take(&mut self, order: Order) {
        match order {
            Order::Payload(payload) => {
                self.ends.queued.fetch_sub(payload.len(), Ordering::Relaxed);
                self.outbox.push_payload(payload);
            }
            Order::Introduce(others) => {
                self.session.introduce(&others);
                self.outbox.push_control(self.session.take_output());
            }
        }
    }

    /// Tells the other side why this one hangs up, where that is of use, and gives it time to read it: a
    /// connection that is closed with bytes unread would take its last words with it.
    async fn say_goodbye(
        &mut self,
        why: &HangUp,
        reader: &mut (impl AsyncRead + Unpin),
        writer: &mut (impl AsyncWrite + Unpin),
    ) {
        if *why == HangUp::Stopping && self.greeted.is_some() {
            while let Ok(order) = self.ends.orders.try_recv() {
                self.take(order);
            }
        }
        if !self.session.farewell(why) {
            return;
        }
        self.outbox.push_control(self.session.take_output());
        let farewell = async {
            while !self.outbox.is_empty() {
                self.outbox.write_some(writer).await?;
            }
            writer.shutdown().await?;
            let mut ignored = [0; 4096];
            while reader.read(&mut ignored).await? > 0 {}
            std::io::Result::Ok(())
        };
        match timeout(FAREWELL_TIMEOUT, farewell).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => debug!(connection = self.ends.id.0, %error, "could not say goodbye"),
            Err(_) => debug!(connection = self.ends.id.0, "the goodbye took too long"),
        }
    }
}

#[cfg(test)]
mod tests {
    use base::{Incarnation, NodeId};
    use tokio::io::{DuplexStream, ReadHalf, WriteHalf};
    use tokio::time::Instant;

    use super::*;
    use crate::frame::{self, Decoder, Kind, PAYLOAD_LIMIT};
    use crate::message::decode_goodbye;
    use crate::session::{GREETING_TIMEOUT, silence_limit};
    use crate::{Config, LocalNode};

    const HEARTBEAT: Duration = Config::DEFAULT_HEARTBEAT;

    fn local(node: u64) -> LocalNode {
        LocalNode {
            node_id: NodeId(node),
            run_nonce: node,
            incarnation: Incarnation(1),
            cluster_id: None,
            name: format!("node-{node}"),
            advertised: "127.0.0.1:1".parse().expect("an address"),
            version: String::new(),
        }
    }

    fn shared() -> Arc<Shared> {
        let config = Config {
            hosts: Vec::new(),
            heartbeat: HEARTBEAT,
        };
        Arc::new(Shared::new(config, local(1), |_| {}))
    }

    fn greeting(node: u64) -> Vec<u8> {
        let mut out = Vec::new();
        let greeting = Greeting::of(&local(node), None, 0, Side::Dialled);
        frame::encode(&mut out, Kind::GREETING, &greeting.encode());
        out
    }

    /// Accepts one end of a pipe as a connection, and gives the other.
    fn accept(shared: &Arc<Shared>, room: usize) -> (Far, tokio::task::JoinHandle<Ended>) {
        let (near, far) = tokio::io::duplex(room);
        let (reader, writer) = tokio::io::split(near);
        let shared = Arc::clone(shared);
        let task = tokio::spawn(async move {
            run(&shared, reader, writer, Side::Accepted, None, &mut |_| {}).await
        });
        (tokio::io::split(far), task)
    }

    type Far = (ReadHalf<DuplexStream>, WriteHalf<DuplexStream>);

    #[tokio::test(start_paused = true)]
    async fn who_never_greets_is_hung_up_on_in_time() {
        let shared = shared();
        let start = Instant::now();
        let (_far, task) = accept(&shared, 1000);
        let ended = task.await.expect("no panic");
        assert_eq!(ended.why, HangUp::NoGreeting(GREETING_TIMEOUT));
        assert_eq!(start.elapsed().as_secs(), GREETING_TIMEOUT.as_secs());
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_peer_is_hung_up_on_and_lost() {
        let shared = shared();
        let start = Instant::now();
        let ((mut reader, mut writer), task) = accept(&shared, 1000);
        writer.write_all(&greeting(2)).await.expect("a pipe");
        let mut heard = Vec::new();
        let closed = timeout(2 * silence_limit(HEARTBEAT), reader.read_to_end(&mut heard)).await;
        closed.expect("hung up in time").expect("a pipe");
        let ended = task.await.expect("no panic");
        assert!(matches!(ended.why, HangUp::Silent(_)), "{}", ended.why);
        let silent_for = start.elapsed();
        let limit = silence_limit(HEARTBEAT);
        assert!(
            (limit..limit + HEARTBEAT).contains(&silent_for),
            "{silent_for:?}"
        );
        assert_eq!(shared.with_directory(|peers| peers.route(NodeId(2))), None);
    }

    #[tokio::test(start_paused = true)]
    async fn who_asks_for_answers_and_does_not_read_them_is_hung_up_on() {
        let shared = shared();
        let ((_reader, mut writer), task) = accept(&shared, 1000);
        writer.write_all(&greeting(2)).await.expect("a pipe");
        let mut pings = Vec::new();
        for _ in 0..1000 {
            frame::encode(&mut pings, Kind::PING, &[1; 16]);
        }
        while writer.write_all(&pings).await.is_ok() {}
        assert_eq!(task.await.expect("no panic").why, HangUp::Unread);
    }

    #[tokio::test(start_paused = true)]
    async fn a_crowd_without_greetings_pushes_out_its_oldest() {
        let shared = shared();
        let mut crowd = Vec::new();
        for _ in 0..crate::shared::UNGREETED_LIMIT {
            crowd.push(accept(&shared, 1000));
            tokio::task::yield_now().await;
        }
        let ((_reader, mut writer), _task) = accept(&shared, 1000);
        writer.write_all(&greeting(2)).await.expect("a pipe");
        let ((mut reader, _writer), task) = crowd.remove(0);
        let mut words = Vec::new();
        reader.read_to_end(&mut words).await.expect("a pipe");
        assert_eq!(task.await.expect("no panic").why, HangUp::Crowded);
        let mut decoder = Decoder::new();
        decoder.extend(&words);
        let frame = decoder
            .next_frame(PAYLOAD_LIMIT)
            .expect("a frame")
            .expect("a goodbye");
        assert_eq!(frame.kind, Kind::GOODBYE);
        assert_eq!(
            decode_goodbye(frame.payload),
            Ok(HangUp::Crowded.to_string())
        );
        assert!(crowd.iter().all(|(_, task)| !task.is_finished()));
        assert!(
            shared
                .with_directory(|peers| peers.route(NodeId(2)))
                .is_some()
        );
    }

    #[tokio::test(start_paused = true)]
    async fn what_waits_for_a_peer_is_bounded() {
        let shared = shared();
        let ((_reader, mut writer), _task) = accept(&shared, 1000);
        writer.write_all(&greeting(2)).await.expect("a pipe");
        let mut changed = shared.changed.subscribe();
        changed.changed().await.expect("greeted");
        let mut queued = 0;
        let refused = loop {
            match shared.send(NodeId(2), vec![0; 1024 * 1024]) {
                Ok(()) => queued += 1024 * 1024,
                Err(error) => break error,
            }
            assert!(queued < 2 * crate::SEND_QUEUE_LIMIT, "unbounded");
        };
        assert_eq!(refused, crate::SendError::QueueFull);
        let too_large = PAYLOAD_LIMIT + 1;
        let refused = shared.send(NodeId(2), vec![0; too_large]);
        assert_eq!(refused, Err(crate::SendError::TooLarge(too_large)));
        let refused = shared.send(NodeId(3), Vec::new());
        assert_eq!(refused, Err(crate::SendError::NotConnected));
    }
}
