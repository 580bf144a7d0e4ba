//! How a node comes to hold data: founding a cluster, joining one, and recovering what it held before.
//!
//! Generic over the disk, so that the real node and the simulated one start alike.
//!
//! What holds:
//! - [`found`] and [`join`] leave a log, so that one that is gone can be told from one that never was. The
//!   node's identity, with its cluster, is stored after them; a start without it runs them again.
//! - [`recover`] brings back a replica exactly if the log or a snapshot file knows of it and no
//!   [`wal::Body::Forget`] does. A replica that was created and never filled comes back empty, with the
//!   votes that it gave.
//! - Of a shard a node has one replica at most: ids ascend, and one is created only after the one before was
//!   removed. So where files or records of several are found, all but the last are leftovers.
//! - Leftovers are removed only after all else was read and found good.

mod error;
mod found;
mod load;
mod recover;

use std::path::{Path, PathBuf};

pub use error::OpenError;
pub use found::{found, join};
pub use load::LoadError;
pub(crate) use load::Loading;
pub use recover::{Progress, Recovered, RecoveredReplica, recover};

/// Where a node's log and snapshots are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dirs {
    /// The folder of the log.
    pub log: PathBuf,
    /// The folder of the snapshots.
    pub snapshots: PathBuf,
}

impl Dirs {
    /// The usual places in a node's folder, as [`wal::DataDir`] has them.
    pub fn of(data_dir: &Path) -> Dirs {
        Dirs {
            log: data_dir.join("log"),
            snapshots: data_dir.join("snapshots"),
        }
    }
}
