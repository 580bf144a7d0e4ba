//! What Ctrl-C says while the cluster works on something that goes on by itself.

use std::process;
use std::thread;

use anyhow::{Context, Result};

/// As a shell has it: 128 and the number of SIGINT.
const INTERRUPTED: i32 = 130;

/// From now on, SIGINT ends this process with that text on standard error.
///
/// # Errors
/// The signal cannot be listened to.
pub(super) fn say(text: String) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .build()
        .context("cannot start the runtime")?;
    let mut interrupts = {
        let _entered = runtime.enter();
        tokio::signal::unix::signal(tokio::signal::unix::SignalKind::interrupt())
            .context("cannot listen to SIGINT")?
    };
    thread::spawn(move || {
        if runtime.block_on(interrupts.recv()).is_some() {
            eprintln!("\r\x1b[K{text}");
            process::exit(INTERRUPTED);
        }
    });
    Ok(())
}
