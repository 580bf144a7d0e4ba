//! A node's folder: its lock, its identity, and where the log and the snapshots are.

use std::io;
use std::path::{Path, PathBuf};

use crate::Identity;

/// A node's folder, locked against a second process for as long as this lives.
pub struct DataDir {
    path: PathBuf,
}

/// A failure of the data folder.
#[derive(Debug, thiserror::Error)]
pub enum DataDirError {
    /// Another process uses the folder.
    #[error("{} is in use by {}; give this node another node.data_dir or stop that process", path.display(), owner(*pid))]
    InUse {
        /// The folder.
        path: PathBuf,
        /// The other process, if its lock file tells.
        pid: Option<u32>,
    },
    /// An operation failed.
    #[error("cannot {operation} {}: {source}", path.display())]
    Io {
        /// What was tried.
        operation: &'static str,
        /// On which file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The identity file cannot be understood.
    #[error("{} is damaged: {what}. Restore it from a copy; or move the folder away, and the node starts as a new one", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// The folder is of a later format.
    #[error("{} has format {found}, this version reads {supported}; start the version that wrote it", path.display())]
    Version {
        /// The file.
        path: PathBuf,
        /// Its format.
        found: u32,
        /// The format that is understood.
        supported: u32,
    },
    /// There is a log but no identity.
    #[error("{} is missing, though there is a log beside it. Restore it from a copy; or move the folder away, and the node starts as a new one", path.display())]
    IdentityLost {
        /// The file.
        path: PathBuf,
    },
}

fn owner(pid: Option<u32>) -> String {
    pid.map_or_else(
        || "another process".to_owned(),
        |pid| format!("process {pid}"),
    )
}

impl DataDir {
    /// Makes the folder if there is none, and locks it.
    ///
    /// # Errors
    /// [`DataDirError`].
    pub fn open(path: &Path) -> Result<DataDir, DataDirError> {
        let _ = path;
        todo!()
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where the log is.
    pub fn log_dir(&self) -> PathBuf {
        self.path.join("log")
    }

    /// Where the snapshots are.
    pub fn snapshot_dir(&self) -> PathBuf {
        self.path.join("snapshots")
    }

    /// Reads the identity; `None` in a new folder.
    ///
    /// # Errors
    /// [`DataDirError`].
    pub fn load_identity(&self) -> Result<Option<Identity>, DataDirError> {
        todo!()
    }

    /// Replaces the identity, atomically and durably.
    ///
    /// # Errors
    /// [`DataDirError`].
    pub fn store_identity(&self, identity: &Identity) -> Result<(), DataDirError> {
        let _ = identity;
        todo!()
    }
}
