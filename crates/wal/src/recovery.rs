//! Reading the log at start, and what to make of damage.

use std::path::PathBuf;

/// How far the replay has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Bytes of segments read.
    pub bytes_read: u64,
    /// Bytes of segments in all.
    pub bytes_total: u64,
    /// Records handed to the replay.
    pub records: u64,
}

/// What [`crate::Wal::open`] found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recovery {
    /// Records handed to the replay.
    pub records: u64,
    /// Bytes of valid blocks.
    pub bytes: u64,
    /// Segments read.
    pub segments: u64,
    /// The tail that was cut, if there was one.
    pub torn: Option<TornTail>,
}

/// The end of a log that a power cut or a crash left unfinished. Nothing in it was ever said to be
/// durable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TornTail {
    /// The segment.
    pub file: PathBuf,
    /// Where in it the first unfinished block begins.
    pub offset: u64,
    /// How many bytes were given up, in this segment and in later ones.
    pub lost_bytes: u64,
}
