//! A real Redis for the tests that compare with it.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use golden::Value;
use golden::socket::Client;

/// A Redis of its own on a free port of the loopback, stopped when it is dropped.
pub(crate) struct Redis {
    /// Where it answers.
    pub(crate) address: SocketAddr,
    child: Child,
    _folder: tempfile::TempDir,
}

impl Redis {
    /// Starts the `redis-server` that `PICCOLO_ORACLE` names. None, with a line that says so, where
    /// it names none.
    pub(crate) fn start() -> Option<Redis> {
        let Some(binary) = std::env::var_os("PICCOLO_ORACLE") else {
            println!("SKIPPED oracle: PICCOLO_ORACLE is not set");
            return None;
        };
        // Another process may take the port between the question and its use: then ask again.
        for _ in 0..10 {
            let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
            let address = free.local_addr().unwrap();
            drop(free);
            let folder = tempfile::tempdir().unwrap();
            let mut child = Command::new(&binary)
                .args(["--port", &address.port().to_string(), "--bind", "127.0.0.1"])
                .args(["--save", "", "--appendonly", "no"])
                .current_dir(folder.path())
                .stdout(Stdio::null())
                .spawn()
                .unwrap_or_else(|error| panic!("{} does not start: {error}", binary.display()));
            let start = Instant::now();
            while start.elapsed() < Duration::from_secs(10) && child.try_wait().unwrap().is_none() {
                let pong = Client::connect(address).and_then(|mut client| client.call(&["PING"]));
                if pong.is_ok_and(|pong| pong == Value::Simple("PONG".to_owned())) {
                    return Some(Redis {
                        address,
                        child,
                        _folder: folder,
                    });
                }
                std::thread::yield_now();
            }
            // It may have ended by itself already.
            child.kill().ok();
            child.wait().unwrap();
        }
        panic!("{} does not answer", binary.display());
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        // It may have ended by itself already.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}
