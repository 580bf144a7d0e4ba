//! The log of a test that is alone in its process.

use std::io::Write;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

#[derive(Clone, Default)]
pub(crate) struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().expect("no panic").write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Log {
    /// Takes the log of this process from now on.
    pub(crate) fn start() -> Log {
        let log = Log::default();
        let writer = log.clone();
        tracing_subscriber::fmt()
            .with_ansi(false)
            .with_writer(move || writer.clone())
            .init();
        log
    }

    /// The latest line that holds all of these texts, once there is one.
    pub(crate) async fn line(&self, texts: &[&str]) -> String {
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            let log = self.text();
            let holds = |line: &&str| texts.iter().all(|text| line.contains(text));
            if let Some(line) = log.lines().rfind(holds) {
                return line.to_owned();
            }
            assert!(Instant::now() < deadline, "{texts:?} is not in {log}");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().expect("no panic")).into_owned()
    }
}
