//! A node's folder: its lock, its identity, and where the log and the snapshots are.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::{Disk, Identity, KeptFile, RealDisk};

const LOCK: &str = "LOCK";

/// A node's folder, locked against a second process for as long as this lives: the kernel drops the
/// lock with the process, however that ends.
#[derive(Debug)]
pub struct DataDir {
    path: PathBuf,
    /// Holds the lock.
    _lock: File,
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

impl DataDirError {
    pub(crate) fn io(operation: &'static str, path: &Path, source: io::Error) -> DataDirError {
        DataDirError::Io {
            operation,
            path: path.to_owned(),
            source,
        }
    }
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
        RealDisk
            .create_dir(path)
            .map_err(|e| DataDirError::io("create", path, e))?;
        let lock_path = path.join(LOCK);
        let mut lock = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&lock_path)
            .map_err(|e| DataDirError::io("open", &lock_path, e))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                // The number is a courtesy; without it the message is still right.
                let pid = fs::read_to_string(&lock_path)
                    .ok()
                    .and_then(|s| s.trim().parse().ok());
                return Err(DataDirError::InUse {
                    path: path.to_owned(),
                    pid,
                });
            }
            Err(TryLockError::Error(e)) => return Err(DataDirError::io("lock", &lock_path, e)),
        }
        lock.set_len(0)
            .and_then(|()| writeln!(lock, "{}", std::process::id()))
            .map_err(|e| DataDirError::io("write", &lock_path, e))?;
        Ok(DataDir {
            path: path.to_owned(),
            _lock: lock,
        })
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
        let identity = Identity::load(&RealDisk, &self.path)?;
        if identity.is_none() && self.log_dir().exists() {
            return Err(DataDirError::IdentityLost {
                path: self.path.join("identity"),
            });
        }
        Ok(identity)
    }

    /// Replaces the identity, atomically and durably. To be done before the log is first opened.
    ///
    /// # Errors
    /// [`DataDirError::Io`].
    pub fn store_identity(&self, identity: &Identity) -> Result<(), DataDirError> {
        identity.store(&RealDisk, &self.path)
    }

    /// Replaces the proposal of a founding that is under way, atomically and durably. Opaque here.
    ///
    /// # Errors
    /// [`DataDirError::Io`].
    pub fn store_founding(&self, proposal: &[u8]) -> Result<(), DataDirError> {
        KeptFile::FOUNDING.store(&RealDisk, &self.path, proposal)
    }

    /// Reads the proposal of a founding that did not come to its end; `None` if there is none.
    ///
    /// # Errors
    /// [`DataDirError`].
    pub fn load_founding(&self) -> Result<Option<Vec<u8>>, DataDirError> {
        KeptFile::FOUNDING.load(&RealDisk, &self.path)
    }

    /// Removes the proposal: the founding came to its end, or is void.
    ///
    /// # Errors
    /// [`DataDirError::Io`].
    pub fn remove_founding(&self) -> Result<(), DataDirError> {
        KeptFile::FOUNDING.remove(&RealDisk, &self.path)
    }

    /// Replaces the cluster's map as it was last known. Opaque here. It can be done without, so that
    /// an error needs no more than to be told.
    ///
    /// # Errors
    /// [`DataDirError::Io`].
    pub fn store_map(&self, map: &[u8]) -> Result<(), DataDirError> {
        KeptFile::MAP.store(&RealDisk, &self.path, map)
    }

    /// Reads the map as it was last known. One that is damaged needs no more than to be told: it can be
    /// done without.
    ///
    /// # Errors
    /// [`DataDirError`].
    pub fn load_map(&self) -> Result<Option<Vec<u8>>, DataDirError> {
        KeptFile::MAP.load(&RealDisk, &self.path)
    }
}

#[cfg(test)]
mod tests {
    use base::{Incarnation, NodeId};

    use super::*;
    use crate::RunId;

    #[test]
    fn a_folder_has_one_owner() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("a/b/node-1");
        let first = DataDir::open(&path).unwrap();
        match DataDir::open(&path) {
            Err(error @ DataDirError::InUse { pid, .. }) => {
                assert_eq!(pid, Some(std::process::id()));
                assert!(
                    error
                        .to_string()
                        .contains(&format!("process {}", std::process::id()))
                );
            }
            other => panic!("{other:?}"),
        }
        drop(first);
        DataDir::open(&path).unwrap();
    }

    #[test]
    fn the_identity_survives_and_its_loss_is_noticed() {
        let parent = tempfile::tempdir().unwrap();
        let dir = DataDir::open(parent.path()).unwrap();
        assert_eq!(dir.load_identity().unwrap(), None);
        let identity = Identity {
            node: NodeId(1),
            run: RunId([7; 20]),
            incarnation: Incarnation(1),
            cluster: None,
        };
        dir.store_identity(&identity).unwrap();
        fs::create_dir(dir.log_dir()).unwrap();
        assert_eq!(dir.load_identity().unwrap(), Some(identity));
        fs::remove_file(dir.path().join("identity")).unwrap();
        assert!(matches!(
            dir.load_identity(),
            Err(DataDirError::IdentityLost { .. })
        ));
    }
}
