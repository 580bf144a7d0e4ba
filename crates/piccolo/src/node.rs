//! The wiring of a node.
//!
//! A node starts in this order, and each step is there before the next one needs it:
//!
//! 1. the log, from the configuration (`logging.rs`, before this module);
//! 2. the peer port, because it names the folder (`bind.rs`);
//! 3. the folder `node-<peer port>`, locked, and the identity in it, with the next incarnation on disk
//!    before anything is said to anybody (`data_dir.rs`);
//! 4. recovery of the log, which tells its progress;
//! 5. the port for clients, bound only now, so that none waits through a recovery;
//! 6. the peers: accepting and dialling;
//! 7. founding, where this node is a founder and no cluster is known;
//! 8. the line "ready to serve", with the command that talks to it.
//!
//! It stops in the reverse order.

use std::num::NonZeroUsize;
use std::thread;

use anyhow::Context;
use tracing::info;

use crate::bind::{self, Listener};
use crate::config::Config;
use crate::data_dir::{DataDir, Identity};
use crate::open_files;
use crate::signals::Stop;

/// Runs a node until `stop` says so, on that many threads or one for each processor.
///
/// # Errors
/// Whatever keeps the node from starting or from going on, told in full.
pub(crate) fn run(
    mut config: Config,
    threads: Option<NonZeroUsize>,
    mut stop: Stop,
) -> anyhow::Result<()> {
    let threads = match threads {
        Some(threads) => threads,
        None => {
            thread::available_parallelism().context("cannot tell how many processors there are")?
        }
    };
    open_files::allow(config.redis.max_clients);
    let (_peer_listener, peer_address) = bind::bind(
        Listener::Peer,
        &config.discovery.bind_host,
        &mut config.discovery.bind_port,
    )?;
    let folder = DataDir::open(config.node_dir(peer_address))?;
    let identity = Identity::start(&folder, random)?;
    info!(
        node_id = %identity.node_id,
        incarnation = identity.incarnation.0,
        name = config.node_name(peer_address),
        folder = %folder.path().display(),
        threads,
        "this node"
    );
    let (_redis_listener, redis_address) = bind::bind(
        Listener::Redis,
        &config.redis.bind_host,
        &mut config.redis.bind_port,
    )?;
    info!(
        advertise = %config.advertise(peer_address),
        protected = config.protected_mode(redis_address),
        "ready to serve: redis-cli -p {}",
        redis_address.port()
    );
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime
        .block_on(stop.wait_for(Option::is_some))
        .context("the signals are no longer heard")?;
    info!("stopped");
    Ok(())
}

fn random() -> u64 {
    getrandom::u64().expect("the system gives random numbers")
}
