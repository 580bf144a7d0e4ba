//! Small files beside the log that are replaced as a whole: what a node must not forget before it has a
//! log, and what it likes to remember.

use std::io;
use std::path::Path;

use crate::block::{u32_at, u64_at};
use crate::data_dir::DataDirError;
use crate::segment::temporary;
use crate::{Disk, DiskFile};

/// A small file in a data folder whose content is opaque here.
///
/// # Layout
/// Numbers are little-endian: magic `b"PICCOKPT"` (8 bytes), format version 1 (4), length of the content
/// (8), the content, and a CRC-32C (4) of the file's name and of all that stands before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeptFile {
    name: &'static str,
}

const MAGIC: [u8; 8] = *b"PICCOKPT";
const VERSION: u32 = 1;
const HEADER_BYTES: usize = 20;
const CRC_BYTES: usize = 4;
/// More than any content takes: a cluster map of a thousand shards is about a hundred KiB.
const SIZE_MAX: u64 = 64 << 20;

impl KeptFile {
    /// What a node proposed or agreed to when its cluster was to be founded, until it is.
    pub const FOUNDING: KeptFile = KeptFile { name: "founding" };
    /// The cluster's map as it was last known: whom to ask after a restart. It can be done without.
    pub const MAP: KeptFile = KeptFile { name: "map" };

    /// Replaces the content, atomically and durably.
    ///
    /// # Errors
    /// [`DataDirError::Io`]: which of both contents is there is unknown until a restart.
    pub fn store<D: Disk>(
        self,
        disk: &D,
        data_dir: &Path,
        content: &[u8],
    ) -> Result<(), DataDirError> {
        let mut bytes = Vec::with_capacity(HEADER_BYTES + content.len() + CRC_BYTES);
        bytes.extend_from_slice(&MAGIC);
        bytes.extend_from_slice(&VERSION.to_le_bytes());
        bytes.extend_from_slice(&(content.len() as u64).to_le_bytes());
        bytes.extend_from_slice(content);
        bytes.extend_from_slice(&self.crc(&bytes).to_le_bytes());
        replace(disk, data_dir, self.name, &bytes)
    }

    /// Reads the content; `None` if there is no such file.
    ///
    /// # Errors
    /// [`DataDirError::Damaged`], [`DataDirError::Version`], [`DataDirError::Io`].
    pub fn load<D: Disk>(self, disk: &D, data_dir: &Path) -> Result<Option<Vec<u8>>, DataDirError> {
        let path = data_dir.join(self.name);
        let damaged = |what: &str| DataDirError::Damaged {
            path: path.clone(),
            what: what.to_owned(),
        };
        let io = |operation| {
            let path = &path;
            move |error| DataDirError::io(operation, path, error)
        };
        let file = match disk.open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(io("open")(error)),
        };
        let size = file.length().map_err(io("measure"))?;
        if size > SIZE_MAX {
            return Err(damaged("it is longer than it can be"));
        }
        let mut bytes = vec![0; size as usize];
        let count = file.read_at(&mut bytes, 0).map_err(io("read"))?;
        let Some(end) = count
            .checked_sub(CRC_BYTES)
            .filter(|&end| end >= HEADER_BYTES && bytes[..8] == MAGIC && count == bytes.len())
        else {
            return Err(damaged("it is cut off, or something else"));
        };
        if u32_at(&bytes, end) != self.crc(&bytes[..end]) {
            return Err(damaged("its checksum is wrong"));
        }
        let found = u32_at(&bytes, 8);
        if found != VERSION {
            return Err(DataDirError::Version {
                path,
                found,
                supported: VERSION,
            });
        }
        if u64_at(&bytes, 12) != (end - HEADER_BYTES) as u64 {
            return Err(damaged("its length is wrong"));
        }
        bytes.truncate(end);
        bytes.drain(..HEADER_BYTES);
        Ok(Some(bytes))
    }

    /// Removes the file durably, if it is there.
    ///
    /// # Errors
    /// [`DataDirError::Io`].
    pub fn remove<D: Disk>(self, disk: &D, data_dir: &Path) -> Result<(), DataDirError> {
        let path = data_dir.join(self.name);
        match disk.remove(&path) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(DataDirError::io("remove", &path, error)),
        }
        // Also when it is gone already: the removal before may not have been made durable.
        disk.sync_dir(data_dir)
            .map_err(|error| DataDirError::io("sync", data_dir, error))
    }

    fn crc(self, bytes: &[u8]) -> u32 {
        crc32c::crc32c_append(crc32c::crc32c(self.name.as_bytes()), bytes)
    }
}

/// Replaces a file in a data folder, atomically and durably.
pub(crate) fn replace<D: Disk>(
    disk: &D,
    data_dir: &Path,
    name: &str,
    bytes: &[u8],
) -> Result<(), DataDirError> {
    let path = data_dir.join(name);
    let temporary = temporary(&path);
    let io = |operation| {
        let temporary = &temporary;
        move |error| DataDirError::io(operation, temporary, error)
    };
    let file = disk.create(&temporary).map_err(io("create"))?;
    file.write_at(bytes, 0).map_err(io("write"))?;
    file.sync().map_err(io("sync"))?;
    disk.rename(&temporary, &path).map_err(io("rename"))?;
    disk.sync_dir(data_dir)
        .map_err(|error| DataDirError::io("sync", data_dir, error))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Fault, MemDisk, Operation};

    const DIR: &str = "node";
    const ALL: [KeptFile; 2] = [KeptFile::FOUNDING, KeptFile::MAP];

    #[test]
    fn contents_read_back_until_they_are_removed() {
        let disk = MemDisk::new();
        let dir = Path::new(DIR);
        for kept in ALL {
            assert_eq!(kept.load(&disk, dir).unwrap(), None);
            kept.remove(&disk, dir).unwrap();
            for content in [&b"first"[..], b"", &[7; 5000]] {
                kept.store(&disk, dir, content).unwrap();
                assert_eq!(kept.load(&disk, dir).unwrap().unwrap(), content);
            }
        }
        KeptFile::FOUNDING.remove(&disk, dir).unwrap();
        disk.crash(1);
        assert_eq!(KeptFile::FOUNDING.load(&disk, dir).unwrap(), None);
        assert!(KeptFile::MAP.load(&disk, dir).unwrap().is_some());
    }

    #[test]
    fn a_power_cut_leaves_the_old_content_or_the_new_one() {
        for seed in 0..500 {
            let disk = MemDisk::new();
            let dir = Path::new(DIR);
            KeptFile::FOUNDING.store(&disk, dir, b"old").unwrap();
            disk.inject(Fault {
                operation: Operation::Sync,
                after: seed % 2,
                kind: io::ErrorKind::Other,
            });
            KeptFile::FOUNDING.store(&disk, dir, b"new").unwrap_err();
            disk.crash(seed);
            let found = KeptFile::FOUNDING.load(&disk, dir).unwrap().unwrap();
            assert!(found == b"old" || found == b"new");
        }
    }

    #[test]
    fn no_damage_passes_nor_does_the_content_of_another_file() {
        let disk = MemDisk::new();
        let dir = Path::new(DIR);
        KeptFile::MAP.store(&disk, dir, b"some content").unwrap();
        let path = dir.join("map");
        let intact = disk.contents(&path);
        for offset in 0..intact.len() {
            disk.flip(&path, offset, 0x10);
            KeptFile::MAP.load(&disk, dir).unwrap_err();
            disk.flip(&path, offset, 0x10);
            disk.set_contents(&path, &intact[..offset]);
            KeptFile::MAP.load(&disk, dir).unwrap_err();
            disk.set_contents(&path, &intact);
        }
        disk.put(&dir.join("founding"), &intact);
        assert!(matches!(
            KeptFile::FOUNDING.load(&disk, dir),
            Err(DataDirError::Damaged { .. })
        ));
    }
}
