//! A toy server in threads of the test.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;

use resp::Limits;

/// What the toy does with a command: appends a reply, or hangs up.
type Answer = dyn Fn(&[&[u8]], &mut Vec<u8>) -> bool + Send + Sync;

/// Serves until the test ends, each client on a thread of its own.
pub(crate) fn toy(
    answer: impl Fn(&[&[u8]], &mut Vec<u8>) -> bool + Send + Sync + 'static,
) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("an address");
    let answer: Arc<Answer> = Arc::new(answer);
    thread::spawn(move || {
        for stream in listener.incoming() {
            let answer = Arc::clone(&answer);
            thread::spawn(move || serve(stream.expect("a client"), &*answer));
        }
    });
    address
}

fn serve(mut stream: TcpStream, answer: &Answer) {
    let mut parser = resp::Parser::new();
    let mut buffer = Vec::new();
    let mut piece = [0; 4096];
    while let Ok(length @ 1..) = stream.read(&mut piece) {
        buffer.extend_from_slice(&piece[..length]);
        let (mut args, mut out, mut at) = (Vec::new(), Vec::new(), 0);
        while let Some(length) = parser
            .parse(&buffer[at..], &Limits::default(), &mut args)
            .expect("valid")
        {
            at += length;
            if !answer(&args, &mut out) {
                return;
            }
        }
        buffer.drain(..at);
        if stream.write_all(&out).is_err() {
            return;
        }
    }
}
