//! Building a keyspace from a snapshot.

use base::{Db, Slot};

use crate::entry::{Head, Item, seconds_of};
use crate::keyspace::Keyspace;
use crate::object::Object;
use crate::places::Placed;
use crate::stream::{
    CRC_BYTES, END, KEPT, MAGIC, MIN_ENTRY_BYTES, OPTIONAL, PIECE, SliceHeader, StoredHead,
    StreamHeader, VERSION, VERSIONS, WALK, decode_entry, decode_head,
};
use crate::value::Kind;
use crate::versions::Versions;

/// Why bytes were refused as a snapshot. Offsets count from its first byte.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SnapshotError {
    /// The bytes do not start as a snapshot does.
    #[error("this is not a snapshot of a keyspace")]
    NotASnapshot,
    /// The snapshot was written by a version that this one cannot read.
    #[error("the snapshot is of format {found}, this program reads format {}: start a newer version of Piccolo on this node", VERSION.0)]
    Version {
        /// The format's major number.
        found: u16,
    },
    /// Bytes before the offset are not those that were written.
    #[error("the snapshot is damaged: the checksum at byte {offset} does not match")]
    Checksum {
        /// Where the checksum stands.
        offset: u64,
    },
    /// The checksum is right, yet the bytes cannot be: a defect of the writer.
    #[error("the snapshot is malformed at byte {offset}: {what}")]
    Malformed {
        /// Where the slice or entry starts.
        offset: u64,
        /// What is wrong with it.
        what: &'static str,
    },
    /// The snapshot ends early.
    #[error("the snapshot ends early, after {offset} bytes")]
    Truncated {
        /// How many bytes there were.
        offset: u64,
    },
    /// Bytes follow the end of the snapshot.
    #[error("the snapshot ends at byte {offset}, but more bytes follow")]
    TrailingBytes {
        /// Where the snapshot ends.
        offset: u64,
    },
}

/// Builds a keyspace from the bytes of a snapshot, which may come in pieces of any size. It keeps no
/// more of them than the slice that is incomplete, and allocates nothing for bytes that are only
/// announced.
#[derive(Default)]
pub struct SnapshotLoader {
    /// The received bytes that were not used yet.
    buffer: Vec<u8>,
    /// With fewer bytes than these in the buffer, nothing can be used.
    needed: usize,
    /// Where in the snapshot the buffer starts.
    offset: u64,
    crc: u32,
    /// Once the header has come.
    keyspace: Option<Keyspace>,
    entries: u64,
    /// The slot and database of the last walk slice, and the hash of its last entry.
    last: Option<(u16, u8, u64)>,
    /// The entry whose pieces are coming, with its database.
    open: Option<(u8, Item)>,
    /// Whether the versions have come, which are the first slice.
    has_versions: bool,
    ended: bool,
    failed: Option<SnapshotError>,
}

impl SnapshotLoader {
    /// A loader that has received nothing.
    pub fn new() -> SnapshotLoader {
        SnapshotLoader::default()
    }

    /// Takes the next bytes.
    ///
    /// # Errors
    /// When they cannot belong to a snapshot. The loader is of no use then, and gives the same error
    /// again.
    pub fn feed(&mut self, chunk: &[u8]) -> Result<(), SnapshotError> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        let fed = if self.buffer.is_empty() {
            self.consume(chunk)
                .map(|used| self.buffer.extend_from_slice(&chunk[used..]))
        } else {
            let mut buffer = std::mem::take(&mut self.buffer);
            buffer.extend_from_slice(chunk);
            self.consume(&buffer).map(|used| {
                buffer.drain(..used);
                self.buffer = buffer;
            })
        };
        fed.inspect_err(|error| self.failed = Some(error.clone()))
    }

    /// The keyspace, when the whole snapshot has been fed.
    ///
    /// # Errors
    /// When it has not, or feeding failed.
    pub fn finish(self) -> Result<Keyspace, SnapshotError> {
        let received = self.offset + self.buffer.len() as u64;
        match (self.failed, self.keyspace) {
            (Some(error), _) => Err(error),
            (None, Some(keyspace)) if self.ended => Ok(keyspace),
            _ => Err(SnapshotError::Truncated { offset: received }),
        }
    }

    /// How many bytes it has room for.
    #[cfg(test)]
    pub(crate) fn capacity(&self) -> usize {
        self.buffer.capacity()
    }

    /// Uses all complete parts at the start of `bytes`; how many bytes those are.
    fn consume(&mut self, bytes: &[u8]) -> Result<usize, SnapshotError> {
        let mut used = 0;
        loop {
            let rest = &bytes[used..];
            if self.ended && !rest.is_empty() {
                return Err(SnapshotError::TrailingBytes {
                    offset: self.offset,
                });
            }
            if rest.len() < self.needed || self.ended {
                return Ok(used);
            }
            let taken = match &self.keyspace {
                None => self.stream_header(rest)?,
                Some(_) => self.slice(rest)?,
            };
            let Some(taken) = taken else { return Ok(used) };
            used += taken;
            self.offset += taken as u64;
            self.needed = 0;
        }
    }

    /// Checks the CRC that follows `len` bytes; none if it has not come yet.
    fn checked<'b>(
        &mut self,
        bytes: &'b [u8],
        at: usize,
        len: usize,
    ) -> Result<Option<&'b [u8]>, SnapshotError> {
        let needed = at + len + CRC_BYTES;
        if bytes.len() < needed {
            self.needed = needed;
            return Ok(None);
        }
        let (part, crc) = (&bytes[at..at + len], &bytes[at + len..needed]);
        let expected = crc32c::crc32c_append(self.crc, part);
        if crc != expected.to_le_bytes() {
            return Err(SnapshotError::Checksum {
                offset: self.offset + (at + len) as u64,
            });
        }
        self.crc = expected;
        Ok(Some(part))
    }

    fn stream_header(&mut self, bytes: &[u8]) -> Result<Option<usize>, SnapshotError> {
        let magic = &bytes[..bytes.len().min(MAGIC.len())];
        if !MAGIC.starts_with(magic) {
            return Err(SnapshotError::NotASnapshot);
        }
        let Some(header) = self.checked(bytes, 0, StreamHeader::BYTES)? else {
            return Ok(None);
        };
        let header = header.try_into().expect("the header has that length");
        let header = StreamHeader::decode(header);
        if header.version.0 != VERSION.0 {
            return Err(SnapshotError::Version {
                found: header.version.0,
            });
        }
        let mut keyspace = Keyspace::new(header.hash_seed);
        keyspace.set_stamp(header.stamp);
        self.keyspace = Some(keyspace);
        Ok(Some(StreamHeader::BYTES + CRC_BYTES))
    }

    fn slice(&mut self, bytes: &[u8]) -> Result<Option<usize>, SnapshotError> {
        let before = self.crc;
        let Some(header) = self.checked(bytes, 0, SliceHeader::BYTES)? else {
            return Ok(None);
        };
        let header = header.try_into().expect("the header has that length");
        let header = SliceHeader::decode(header);
        if header.kind == END {
            if !self.has_versions {
                return Err(self.malformed("there are no versions"));
            }
            if self.open.is_some() {
                return Err(self.malformed("an entry lacks its last piece"));
            }
            if (header.db, header.slot, header.entries()) != (0, 0, self.entries) {
                return Err(self.malformed("the end does not tell the number of entries"));
            }
            self.ended = true;
            return Ok(Some(SliceHeader::BYTES + CRC_BYTES));
        }
        let body_at = SliceHeader::BYTES + CRC_BYTES;
        let body_bytes = header.body_bytes as usize;
        let Some(body) = self.checked(bytes, body_at, body_bytes)? else {
            // The header will be read again, with its body.
            self.crc = before;
            return Ok(None);
        };
        // What a later minor version adds may stand anywhere.
        let is_known = header.kind < OPTIONAL;
        if is_known && (header.kind == VERSIONS) == self.has_versions {
            return Err(self.malformed("versions come first, and once"));
        }
        if header.kind == VERSIONS {
            self.load_versions(header, body)?;
        } else if header.kind == PIECE {
            self.load_piece(header, body)?;
        } else if header.kind < OPTIONAL {
            self.load(header, body, self.offset + body_at as u64)?;
        }
        Ok(Some(body_at + body_bytes + CRC_BYTES))
    }

    fn malformed(&self, what: &'static str) -> SnapshotError {
        SnapshotError::Malformed {
            offset: self.offset,
            what,
        }
    }

    fn load(
        &mut self,
        header: SliceHeader,
        body: &[u8],
        body_offset: u64,
    ) -> Result<(), SnapshotError> {
        if self.open.is_some() {
            return Err(self.malformed("an entry lacks its last piece"));
        }
        let db = Db::new(header.db).map_err(|_| self.malformed("no such database"))?;
        let slot = match header.kind {
            WALK if usize::from(header.slot) < Slot::COUNT => Some(Slot::new(header.slot)),
            KEPT if header.slot == 0 => None,
            WALK | KEPT => return Err(self.malformed("no such slot")),
            _ => return Err(self.malformed("no such kind of slice")),
        };
        let count = header.count as usize;
        if count == 0 || body.len() / MIN_ENTRY_BYTES < count {
            return Err(self.malformed("a slice has no room for its entries"));
        }
        let mut least_hash = 0;
        if slot.is_some() {
            let (last_slot, last_db, last_hash) = self.last.unwrap_or((0, 0, 0));
            if (header.slot, header.db) < (last_slot, last_db) {
                return Err(self.malformed("slices are out of order"));
            }
            if (header.slot, header.db) == (last_slot, last_db) {
                least_hash = last_hash;
            }
        }
        let keyspace = self.keyspace.as_mut().expect("slices follow the header");
        let hasher = keyspace.hasher;
        let accessed = seconds_of(keyspace.stamp);
        let database = keyspace.database_mut(db);
        if let Some(slot) = slot {
            database.reserve(slot, count);
        }
        let mut rest = body;
        for _ in 0..count {
            let offset = body_offset + (body.len() - rest.len()) as u64;
            let malformed = |what| SnapshotError::Malformed { offset, what };
            let (stored, value) = decode_entry(&mut rest).map_err(malformed)?;
            let place = hasher.place(stored.key);
            if let Some(slot) = slot {
                if place.slot != slot {
                    return Err(malformed("an entry stands in another slot than its key's"));
                }
                if place.hash < least_hash {
                    return Err(malformed("entries are out of order"));
                }
                least_hash = place.hash;
            }
            let Err(spot) = database.find(hasher, place, stored.key) else {
                return Err(malformed("a key stands twice"));
            };
            let head = head_of(&stored, accessed);
            let item = if head.kind == Kind::String {
                Item::string(&head, value)
            } else {
                Item::packed(&head, value)
            };
            database.insert(hasher, place, spot, item);
        }
        if !rest.is_empty() {
            return Err(self.malformed("a slice is longer than its entries"));
        }
        self.entries += u64::from(header.count);
        if slot.is_some() {
            self.last = Some((header.slot, header.db, least_hash));
        }
        Ok(())
    }

    fn load_versions(&mut self, header: SliceHeader, body: &[u8]) -> Result<(), SnapshotError> {
        if (header.db, header.slot, header.count) != (0, 0, 0) {
            return Err(self.malformed("versions tell a place or a number"));
        }
        let versions = Versions::decode(body).map_err(|what| self.malformed(what))?;
        let keyspace = self.keyspace.as_mut().expect("slices follow the header");
        keyspace.versions = versions;
        self.has_versions = true;
        Ok(())
    }

    /// Takes a piece of an entry whose value is made of parts.
    fn load_piece(&mut self, header: SliceHeader, body: &[u8]) -> Result<(), SnapshotError> {
        let db = Db::new(header.db).map_err(|_| self.malformed("no such database"))?;
        if header.slot != 0 || header.count > 1 {
            return Err(self.malformed("a piece tells a slot or a number"));
        }
        let mut rest = body;
        let keyspace = self.keyspace.as_ref().expect("slices follow the header");
        let (hasher, accessed) = (keyspace.hasher, seconds_of(keyspace.stamp));
        let (open_db, mut item) = match self.open.take() {
            Some(open) => open,
            None => {
                let stored = decode_head(&mut rest).map_err(|what| self.malformed(what))?;
                let object = Object::with_parts(stored.kind, stored.encoding)
                    .ok_or_else(|| self.malformed("a value of that form has no parts"))?;
                let item = Item::boxed(&head_of(&stored, accessed), object);
                (header.db, item)
            }
        };
        if open_db != header.db {
            return Err(self.malformed("a piece is of another database than the one before"));
        }
        let object = item.object_mut().expect("what has parts is an object");
        let read = object.read_piece(hasher, rest);
        read.map_err(|what| self.malformed(what))?;
        if header.count == 0 {
            self.open = Some((open_db, item));
            return Ok(());
        }
        if object.is_empty() {
            return Err(self.malformed("a collection is empty"));
        }
        let place = hasher.place(item.key());
        let keyspace = self.keyspace.as_mut().expect("slices follow the header");
        let database = keyspace.database_mut(db);
        let Err(spot) = database.find(hasher, place, item.key()) else {
            return Err(self.malformed("a key stands twice"));
        };
        database.insert(hasher, place, spot, item);
        self.entries += 1;
        Ok(())
    }
}

fn head_of<'b>(stored: &StoredHead<'b>, accessed: u32) -> Head<'b> {
    Head {
        key: stored.key,
        kind: stored.kind,
        encoding: stored.encoding,
        expires_at: stored.expires_at,
        epoch: 0,
        accessed,
        version: stored.version,
    }
}
