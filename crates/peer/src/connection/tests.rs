//! Connections over pipes, on a clock that stands still but for what is waited for.

use base::{Incarnation, NodeId};
use tokio::io::{DuplexStream, ReadHalf, WriteHalf};
use tokio::time::Instant;

use super::*;
use crate::frame::{self, Decoder, Kind, PAYLOAD_LIMIT};
use crate::greeting::Greeting;
use crate::message::{Goodbye, Ping};
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
    let bound = std::net::SocketAddr::from(([127, 0, 0, 1], 1));
    Arc::new(Shared::new(config, local(1), bound, |_| {}))
}

fn greeting(node: u64) -> Vec<u8> {
    let mut out = Vec::new();
    let greeting = Greeting::of(&local(node), None, 0, Side::Dialled);
    frame::encode(&mut out, Kind::GREETING, &greeting.encode());
    let ping = Ping {
        sequence: 1,
        sent_at: base::Timestamp::ZERO,
    };
    frame::encode(&mut out, Kind::PING, &ping.encode());
    out
}

/// Accepts one end of a pipe as a connection, and gives the other.
fn accept(shared: &Arc<Shared>, room: usize) -> (Far, tokio::task::JoinHandle<Ended>) {
    let (near, far) = tokio::io::duplex(room);
    let (reader, writer) = tokio::io::split(near);
    let shared = Arc::clone(shared);
    let task = tokio::spawn(async move {
        run(
            &shared,
            reader,
            writer,
            Side::Accepted,
            None,
            None,
            &mut |_| {},
        )
        .await
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
    for _ in 0..crate::hub::UNGREETED_LIMIT {
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
    let goodbye = Goodbye::decode(frame.payload).map(|goodbye| goodbye.text);
    assert_eq!(goodbye, Ok(HangUp::Crowded.to_string()));
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
    while shared.with_directory(|peers| peers.route(NodeId(2)).is_none()) {
        changed.changed().await.expect("greeted");
    }
    let mut queued = 0;
    let refused = loop {
        match shared.send(NodeId(2), vec![0; 1024 * 1024], false) {
            Ok(()) => queued += 1024 * 1024,
            Err(error) => break error,
        }
        assert!(queued < 2 * crate::SEND_QUEUE_LIMIT, "unbounded");
    };
    assert_eq!(refused, crate::SendError::QueueFull);
    let too_large = crate::SEND_LIMIT + 1;
    let refused = shared.send(NodeId(2), vec![0; too_large], false);
    assert_eq!(refused, Err(crate::SendError::TooLarge(too_large)));
    let refused = shared.send(NodeId(3), Vec::new(), false);
    assert_eq!(refused, Err(crate::SendError::NotConnected));
}

#[tokio::test(start_paused = true)]
async fn a_slow_link_does_not_look_dead_while_a_long_payload_crosses_it() {
    let shared = shared();
    let ((mut reader, mut writer), task) = accept(&shared, 64 * 1024);
    writer.write_all(&greeting(2)).await.expect("a pipe");
    let mut changed = shared.changed.subscribe();
    while shared.with_directory(|peers| peers.route(NodeId(2)).is_none()) {
        changed.changed().await.expect("greeted");
    }
    let long = 20 * PAYLOAD_LIMIT;
    shared.send(NodeId(2), vec![7; long], false).expect("room");
    let start = Instant::now();
    let (mut decoder, mut piece) = (Decoder::new(), vec![0; 64 * 1024]);
    let (mut came, mut pings, mut last_ping) = (0, 0, start);
    while came < long {
        // 320 KiB a second.
        tokio::time::sleep(Duration::from_millis(200)).await;
        let ping = Ping {
            sequence: 2,
            sent_at: base::Timestamp::ZERO,
        };
        let mut frames = Vec::new();
        frame::encode(&mut frames, Kind::PING, &ping.encode());
        writer.write_all(&frames).await.expect("not hung up on");
        let count = reader.read(&mut piece).await.expect("a pipe");
        decoder.extend(&piece[..count]);
        while let Some(frame) = decoder.next_frame(PAYLOAD_LIMIT).expect("frames") {
            match frame.kind {
                Kind::FIRST_PART => came += frame.payload.len() - crate::parts::LENGTH_LEN,
                Kind::NEXT_PART => came += frame.payload.len(),
                Kind::PING => {
                    pings += 1;
                    // What is framed ahead, a part and the pipe, at that speed.
                    assert!(last_ping.elapsed() < Duration::from_secs(3));
                    last_ping = Instant::now();
                }
                _ => {}
            }
        }
    }
    assert!(!task.is_finished() && pings > 20, "{pings}");
    assert!(start.elapsed() > 10 * silence_limit(HEARTBEAT));
}

/// Greets, then has so many payloads to be read without a pause.
struct Flood {
    payloads: usize,
    next: Vec<u8>,
}

impl AsyncRead for Flood {
    fn poll_read(
        mut self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
        buffer: &mut tokio::io::ReadBuf<'_>,
    ) -> std::task::Poll<io::Result<()>> {
        while self.payloads > 0 && self.next.len() < buffer.remaining() {
            self.payloads -= 1;
            frame::encode(&mut self.next, Kind::PAYLOAD, &[7; 1000]);
        }
        let count = self.next.len().min(buffer.remaining());
        buffer.put_slice(&self.next[..count]);
        self.next.drain(..count);
        std::task::Poll::Ready(Ok(()))
    }
}

#[tokio::test]
async fn a_flood_leaves_the_others_their_turn() {
    let shared = shared();
    let payloads = 100_000;
    let flood = Flood {
        payloads,
        next: greeting(2),
    };
    let task = tokio::spawn(async move {
        let writer = tokio::io::sink();
        run(
            &shared,
            flood,
            writer,
            Side::Accepted,
            None,
            None,
            &mut |_| {},
        )
        .await
    });
    let mut turns = 0;
    while !task.is_finished() {
        tokio::task::yield_now().await;
        turns += 1;
    }
    assert!(turns > payloads * 1000 / READ_BUDGET / 2, "{turns}");
}
