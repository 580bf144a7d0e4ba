//! Segments ahead of use and after it.

use std::sync::Arc;

use crate::{Disk, WalError};

/// Work on segments that needs no hold of the [`crate::Wal`]; see [`crate::Wal::upkeep`].
pub struct Upkeep<D: Disk> {
    disk: Arc<D>,
}

impl<D: Disk> Upkeep<D> {
    /// Does it.
    ///
    /// # Errors
    /// [`WalError::NoRoom`]: try again later, and see [`crate::Wal::room`]. Any other poisons the log.
    pub fn run(self) -> Result<(), WalError> {
        let _ = self.disk;
        todo!()
    }
}
