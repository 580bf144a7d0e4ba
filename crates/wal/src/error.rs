//! What can go wrong with the log: one variant per decision of a caller.

use std::io;
use std::path::{Path, PathBuf};

/// Why the caller's replay refused a record.
pub type ReplayError = Box<dyn std::error::Error + Send + Sync>;

/// A failure of the log.
#[derive(Debug, thiserror::Error)]
pub enum WalError {
    /// The disk is full: nothing was appended, nothing is damaged. Refuse writes and try again
    /// when there is room.
    #[error(
        "no room for a log file of {bytes} bytes at {}: {source}; free some space on that disk", path.display()
    )]
    NoRoom {
        /// The file that could not be made.
        path: PathBuf,
        /// How large it was to be.
        bytes: u64,
        /// What the system said.
        source: io::Error,
    },

    /// The batches are larger together than one append may be: nothing was appended. Append fewer
    /// at once.
    #[error("an append of {bytes} bytes is over the limit of {limit}")]
    TooLarge {
        /// The size of the append.
        bytes: u64,
        /// [`crate::MAX_APPEND_BYTES`].
        limit: u64,
    },

    /// An operation on a file failed. Unless it was while opening, the log is poisoned now: stop
    /// the process.
    #[error(
        "cannot {operation} {}: {source}; what is on that disk is unknown until a restart reads it again", path.display()
    )]
    Io {
        /// What was tried.
        operation: &'static str,
        /// On which file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },

    /// A write or a sync failed before, and it is never retried, because the kernel may have
    /// dropped what it could not write: stop the process.
    #[error("the log is closed, because a write or a sync of it failed before; restart the node")]
    Poisoned,

    /// The log is damaged where it must not be. Refuse to start.
    #[error(
        "{} is damaged at byte {offset}: {what}. This is no torn tail of a power cut: bytes that were safely \
         stored have changed since. Restore the file from a backup. Where other nodes hold copies, the data \
         folder can be moved away instead and the node rejoins empty; without copies that loses the data", path.display()
    )]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// Where in it.
        offset: u64,
        /// What is wrong.
        what: String,
    },

    /// The file is of a format that this version does not know. Refuse to start.
    #[error(
        "{} has format {found}, this version reads {supported}; start the version that wrote it", path.display()
    )]
    Version {
        /// The file.
        path: PathBuf,
        /// Its format.
        found: u32,
        /// The format that is understood.
        supported: u32,
    },

    /// The caller's replay refused a record of an undamaged log. Refuse to start.
    #[error("{}, byte {offset}: the record cannot be replayed: {source}", path.display())]
    Replay {
        /// The file.
        path: PathBuf,
        /// Where the record's block begins in it.
        offset: u64,
        /// What the caller said.
        source: ReplayError,
    },
}

impl WalError {
    pub(crate) fn io(operation: &'static str, path: &Path, source: io::Error) -> WalError {
        WalError::Io {
            operation,
            path: path.to_owned(),
            source,
        }
    }

    pub(crate) fn corrupt(path: &Path, offset: u64, what: impl Into<String>) -> WalError {
        WalError::Corrupt {
            path: path.to_owned(),
            offset,
            what: what.into(),
        }
    }
}

/// Whether the error says that the disk, or what this user may have of it, is full.
pub(crate) fn is_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge
    )
}
