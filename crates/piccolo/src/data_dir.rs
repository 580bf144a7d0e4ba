//! The folder of one node: locked against a second process, and holding the node's identity.
//!
//! A folder is `<node.data_dir>/node-<peer port>`. Beside the log, which is the `wal` crate's, it holds
//! `LOCK` and `identity`. A folder must not be copied to start a second node: two nodes of one
//! identity would vote twice.

use std::fs::{self, DirBuilder, File, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use base::{ClusterId, Incarnation, NodeId};

/// Why a folder cannot be used, and what to do.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DataDirError {
    #[error(
        "{}: another process uses this folder; stop it, or set node.data_dir or \
         discovery.bind_port to start a second node", path.display()
    )]
    Locked { path: PathBuf },
    #[error("{}: cannot {action}: {source}", path.display())]
    Io {
        path: PathBuf,
        action: &'static str,
        source: io::Error,
    },
    #[error(
        "{}: {reason}; without it this node cannot be told from another: restore the file, or move \
         the folder away to start as a new node", path.display()
    )]
    Identity { path: PathBuf, reason: String },
}

/// A folder that this process alone uses, for as long as this value lives.
#[derive(Debug)]
pub(crate) struct DataDir {
    path: PathBuf,
    _lock: File,
}

const LOCK: &str = "LOCK";
const IDENTITY: &str = "identity";
const IDENTITY_NEW: &str = "identity.new";
/// No identity is longer; what is was not written by a node.
const IDENTITY_BYTES_MAX: u64 = 4096;

impl DataDir {
    /// Makes the folder if it is not there, readable by this user alone, and locks it.
    ///
    /// # Errors
    /// [`DataDirError::Locked`] when another process has it, [`DataDirError::Io`] for the rest.
    pub(crate) fn open(path: PathBuf) -> Result<DataDir, DataDirError> {
        let failed = |action| {
            let path = path.clone();
            move |source| DataDirError::Io {
                path,
                action,
                source,
            }
        };
        let mut builder = DirBuilder::new();
        builder
            .recursive(true)
            .mode(0o700)
            .create(&path)
            .map_err(failed("create the folder"))?;
        // Synced upward, so that a power cut does not take a new folder with all that is in it.
        let parents = [
            path.as_path(),
            parent_of(&path),
            parent_of(parent_of(&path)),
        ];
        for folder in parents {
            sync_folder(folder).map_err(failed("sync the folder and those above it"))?;
        }
        let lock = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(path.join(LOCK))
            .map_err(failed("open the file LOCK in it"))?;
        match lock.try_lock() {
            Ok(()) => Ok(DataDir { path, _lock: lock }),
            Err(TryLockError::WouldBlock) => Err(DataDirError::Locked { path }),
            Err(TryLockError::Error(source)) => Err(failed("lock the file LOCK in it")(source)),
        }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

fn parent_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        Some(_) => Path::new("."),
        None => path,
    }
}

fn sync_folder(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// Who a node is, as its folder says it.
///
/// The file is text, a line `name = value` for each field and a last one with the CRC-32C of those before:
///
/// ```text
/// node_id = 0123456789abcdef
/// incarnation = 3
/// cluster_id = fedcba9876543210
/// crc32c = 89abcdef
/// ```
///
/// `cluster_id` is absent until the node belongs to a cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) node_id: NodeId,
    pub(crate) incarnation: Incarnation,
    pub(crate) cluster_id: Option<ClusterId>,
}

impl Identity {
    /// The identity for this start, which is on disk before it is returned: that of the folder with the
    /// next incarnation, or a new one in an empty folder, with what `draw` gives as its node id.
    ///
    /// # Errors
    /// [`DataDirError`]; a folder that holds other files but no identity is refused.
    pub(crate) fn start(
        folder: &DataDir,
        draw: impl FnMut() -> u64,
    ) -> Result<Identity, DataDirError> {
        let identity = match Identity::read(folder)? {
            Some(last) => Identity {
                incarnation: Incarnation(last.incarnation.0 + 1),
                ..last
            },
            None => Identity {
                node_id: NodeId(nonzero(draw)),
                incarnation: Incarnation(1),
                cluster_id: None,
            },
        };
        identity.write(folder)?;
        Ok(identity)
    }

    /// Makes the node a member of that cluster, on disk first.
    ///
    /// # Errors
    /// [`DataDirError::Io`].
    ///
    /// # Panics
    /// When it belongs to another one.
    pub(crate) fn join(
        &mut self,
        folder: &DataDir,
        cluster_id: ClusterId,
    ) -> Result<(), DataDirError> {
        assert!(
            self.cluster_id.is_none_or(|present| present == cluster_id),
            "a node never changes its cluster"
        );
        let joined = Identity {
            cluster_id: Some(cluster_id),
            ..*self
        };
        joined.write(folder)?;
        *self = joined;
        Ok(())
    }

    /// `None` in a folder where no node has been.
    fn read(folder: &DataDir) -> Result<Option<Identity>, DataDirError> {
        let path = folder.path.join(IDENTITY);
        let failed = |action| {
            let path = path.clone();
            move |source| DataDirError::Io {
                path,
                action,
                source,
            }
        };
        let refused = |reason: &str| DataDirError::Identity {
            path: path.clone(),
            reason: reason.to_owned(),
        };
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                for entry in fs::read_dir(&folder.path).map_err(failed("list its folder"))? {
                    let name = entry.map_err(failed("list its folder"))?.file_name();
                    if name != LOCK && name != IDENTITY_NEW {
                        return Err(refused("the folder holds data but not this file"));
                    }
                }
                return Ok(None);
            }
            Err(error) => return Err(failed("open it")(error)),
        };
        let mut bytes = Vec::new();
        file.take(IDENTITY_BYTES_MAX)
            .read_to_end(&mut bytes)
            .map_err(failed("read it"))?;
        let text = String::from_utf8(bytes).map_err(|_| refused("it is damaged: not text"))?;
        Identity::decode(&text).map(Some).map_err(refused)
    }

    fn write(&self, folder: &DataDir) -> Result<(), DataDirError> {
        let path = folder.path.join(IDENTITY_NEW);
        let written = || {
            let mut file = File::create(&path)?;
            file.write_all(self.encode().as_bytes())?;
            file.sync_all()?;
            fs::rename(&path, folder.path.join(IDENTITY))?;
            sync_folder(&folder.path)
        };
        written().map_err(|source| DataDirError::Io {
            path: path.clone(),
            action: "write it",
            source,
        })
    }

    fn encode(&self) -> String {
        let mut text = format!(
            "node_id = {}\nincarnation = {}\n",
            self.node_id, self.incarnation.0
        );
        if let Some(cluster_id) = self.cluster_id {
            text.push_str(&format!("cluster_id = {cluster_id}\n"));
        }
        let crc = crc32c::crc32c(text.as_bytes());
        text.push_str(&format!("crc32c = {crc:08x}\n"));
        text
    }

    fn decode(text: &str) -> Result<Identity, &'static str> {
        let (body, crc) = text
            .rsplit_once("crc32c = ")
            .ok_or("it is damaged: no checksum")?;
        if crc != format!("{:08x}\n", crc32c::crc32c(body.as_bytes())) {
            return Err("it is damaged: the checksum does not match");
        }
        let field = |name: &str| {
            body.lines()
                .find_map(|line| line.strip_prefix(name)?.strip_prefix(" = "))
        };
        let node_id = field("node_id").and_then(|id| NodeId::from_str(id).ok());
        let incarnation = field("incarnation").and_then(|number| number.parse().ok());
        let cluster_id = field("cluster_id").map(ClusterId::from_str).transpose();
        match (node_id, incarnation, cluster_id) {
            (Some(node_id), Some(number), Ok(cluster_id)) if node_id.0 != 0 => Ok(Identity {
                node_id,
                incarnation: Incarnation(number),
                cluster_id,
            }),
            _ => Err("it was written by a version of Piccolo that this one does not know"),
        }
    }
}

fn nonzero(mut draw: impl FnMut() -> u64) -> u64 {
    loop {
        match draw() {
            0 => {}
            id => return id,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(folder: &tempfile::TempDir) -> DataDir {
        DataDir::open(folder.path().join("data/node-1")).unwrap()
    }

    #[test]
    fn a_folder_is_for_one_process() {
        let folder = tempfile::tempdir().unwrap();
        let first = open(&folder);
        let second = DataDir::open(first.path().to_owned());
        assert!(matches!(second, Err(DataDirError::Locked { .. })));
        drop(first);
        open(&folder);
    }

    #[test]
    fn a_folder_that_cannot_be_made_is_told_by_its_path() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        fs::write(&path, "").unwrap();
        let error = DataDir::open(path.join("node-1")).unwrap_err().to_string();
        assert!(
            error.contains("file/node-1: cannot create the folder"),
            "{error}"
        );
    }

    #[test]
    fn a_node_stays_itself_and_counts_its_starts() {
        let folder = tempfile::tempdir().unwrap();
        let mut ids = [0, 7].into_iter();
        let mut first = Identity::start(&open(&folder), || ids.next().unwrap()).unwrap();
        assert_eq!(
            (first.node_id, first.incarnation),
            (NodeId(7), Incarnation(1))
        );
        first.join(&open(&folder), ClusterId(9)).unwrap();
        let second = Identity::start(&open(&folder), || unreachable!()).unwrap();
        assert_eq!(
            second,
            Identity {
                incarnation: Incarnation(2),
                ..first
            }
        );
        assert_eq!(second.cluster_id, Some(ClusterId(9)));
    }

    #[test]
    fn damage_to_an_identity_is_refused_wherever_it_is() {
        let identity = Identity {
            node_id: NodeId(1),
            incarnation: Incarnation(2),
            cluster_id: Some(ClusterId(3)),
        };
        let text = identity.encode();
        assert_eq!(Identity::decode(&text), Ok(identity));
        for index in 0..text.len() {
            assert!(Identity::decode(&text[..index]).is_err(), "cut at {index}");
            let mut bytes = text.clone().into_bytes();
            bytes[index] ^= 1;
            let damaged = String::from_utf8(bytes).unwrap();
            assert!(Identity::decode(&damaged).is_err(), "flipped at {index}");
        }
    }

    #[test]
    fn data_without_an_identity_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let data = open(&folder);
        fs::write(data.path().join(IDENTITY_NEW), "half").unwrap();
        assert!(
            Identity::read(&data).unwrap().is_none(),
            "a start that was cut short"
        );
        fs::write(data.path().join("segment"), "").unwrap();
        let error = Identity::start(&data, || 1).unwrap_err();
        assert!(matches!(error, DataDirError::Identity { .. }), "{error}");
    }
}
