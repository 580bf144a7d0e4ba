//! SIGTERM and SIGINT: the first asks the node to stop in order, the second ends the process.

use std::{fmt, io, process, thread};

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tracing::{info, warn};

/// What asked the node to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StopSignal {
    Interrupt,
    Terminate,
}

impl StopSignal {
    /// What a shell shows for a process that this signal ended.
    fn exit_code(self) -> i32 {
        match self {
            StopSignal::Interrupt => 130,
            StopSignal::Terminate => 143,
        }
    }
}

impl fmt::Display for StopSignal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            StopSignal::Interrupt => "SIGINT",
            StopSignal::Terminate => "SIGTERM",
        })
    }
}

/// Becomes `Some` when the node is to stop. Cheap to clone; any runtime may wait for it.
pub(crate) type Stop = watch::Receiver<Option<StopSignal>>;

/// Takes over both signals, from now to the end of the process.
///
/// They are waited for on a thread of their own, so that a second signal ends the process even when
/// all else hangs.
///
/// # Errors
/// When the system refuses the thread or the handlers.
pub(crate) fn listen() -> io::Result<Stop> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .build()?;
    let (mut interrupt, mut terminate) = {
        let _entered = runtime.enter();
        (
            signal(SignalKind::interrupt())?,
            signal(SignalKind::terminate())?,
        )
    };
    let (sender, stop) = watch::channel(None);
    thread::Builder::new()
        .name("signals".to_owned())
        .spawn(move || {
            runtime.block_on(async {
                let mut next = async || {
                    tokio::select! {
                        _ = interrupt.recv() => StopSignal::Interrupt,
                        _ = terminate.recv() => StopSignal::Terminate,
                    }
                };
                let first = next().await;
                info!(signal = %first, "asked to stop; a second signal stops at once");
                sender.send_replace(Some(first));
                let second = next().await;
                warn!(signal = %second, "stopping at once");
                process::exit(second.exit_code());
            });
        })?;
    Ok(stop)
}
