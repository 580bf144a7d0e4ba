//! The side that has a snapshot.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::sync::Arc;
use std::time::Duration;

use base::NodeId;
use wal::{Disk, SnapshotError, SnapshotId, SnapshotReader, Snapshots};

use super::{Chunk, Content, Fetch, Kind, Letter, MessageError, Settings};

/// Of one node no more questions wait than this; those beyond are dropped, and asked again.
const WAITING_MAX: usize = 32;

/// Answers those who fetch snapshots of this node. After [`Sender::fetch`], [`Sender::poll`] is to be
/// called.
pub struct Sender<D: Disk> {
    snapshots: Arc<Snapshots<D>>,
    settings: Settings,
    /// Files that are being sent.
    open: BTreeMap<(NodeId, SnapshotId), Open<D>>,
    waiting: VecDeque<(NodeId, Fetch)>,
    /// How far each one is that was sent of since that was last asked.
    sent: BTreeMap<(NodeId, SnapshotId), (u64, u64)>,
    /// Under a limit: when the next piece may be sent.
    free_at: Duration,
}

struct Open<D: Disk> {
    reader: SnapshotReader<D>,
    used: Duration,
}

impl<D: Disk> Sender<D> {
    /// One that sends what is in that folder.
    pub fn new(snapshots: Arc<Snapshots<D>>, settings: Settings) -> Sender<D> {
        Sender {
            snapshots,
            settings,
            open: BTreeMap::new(),
            waiting: VecDeque::new(),
            sent: BTreeMap::new(),
            free_at: Duration::ZERO,
        }
    }

    /// Takes a [`Fetch`]; [`Sender::poll`] answers it.
    ///
    /// # Errors
    /// [`MessageError`], without any effect.
    pub fn fetch(&mut self, from: NodeId, body: &[u8]) -> Result<(), MessageError> {
        let fetch = Fetch::decode(body)?;
        let of_node = self.waiting.iter().filter(|(node, _)| *node == from);
        if of_node.count() < WAITING_MAX {
            self.waiting.push_back((from, fetch));
        }
        Ok(())
    }

    /// The connection to a node is gone, and with it what it asked. Files stay open: it may come
    /// back.
    pub fn lost(&mut self, node: NodeId) {
        self.waiting.retain(|(from, _)| *from != node);
    }

    /// Closes the files of snapshots that are of no more use, so that removing them frees their room.
    pub fn close(&mut self, mut unwanted: impl FnMut(SnapshotId) -> bool) {
        self.open.retain(|(_, id), _| !unwanted(*id));
    }

    /// Of which snapshots something was sent since this was last asked: up to where, and how long they are.
    pub fn take_sent(&mut self) -> BTreeMap<(NodeId, SnapshotId), (u64, u64)> {
        std::mem::take(&mut self.sent)
    }

    /// How many files are being sent.
    pub fn sending(&self) -> usize {
        self.open.len()
    }

    /// Answers what was asked, as far as the limit allows, and closes files that nobody reads any
    /// more. Tells when it is to be called again, if nothing comes before. Files that turn out to
    /// be damaged are told in `damaged`: their snapshots should be made anew.
    pub fn poll(
        &mut self,
        now: Duration,
        letters: &mut Vec<Letter>,
        damaged: &mut Vec<(SnapshotId, SnapshotError)>,
    ) -> Option<Duration> {
        let idle = self.settings.idle;
        self.open.retain(|_, open| now < open.used + idle);
        while self.free_at <= now
            && let Some((to, fetch)) = self.waiting.pop_front()
        {
            let mut body = Vec::new();
            self.answer(now, to, fetch, &mut body, damaged);
            letters.push(Letter {
                to,
                kind: Kind::Chunk,
                body,
            });
        }
        let closing = self.open.values().map(|open| open.used + idle).min();
        if self.waiting.is_empty() {
            return closing;
        }
        Some(closing.unwrap_or(self.free_at).min(self.free_at))
    }

    fn answer(
        &mut self,
        now: Duration,
        to: NodeId,
        fetch: Fetch,
        body: &mut Vec<u8>,
        damaged: &mut Vec<(SnapshotId, SnapshotError)>,
    ) {
        let Fetch { id, offset, bytes } = fetch;
        let mut say = |content| {
            let chunk = Chunk {
                id,
                offset,
                content,
            };
            chunk.encode(body);
        };
        let open = match self.opened(now, to, id) {
            Ok(Some(open)) => open,
            Ok(None) => return say(Content::Busy),
            Err(error) => {
                if !is_missing(&error) {
                    damaged.push((id, error));
                }
                return say(Content::Gone);
            }
        };
        open.used = now;
        let mut piece = Vec::new();
        let bytes = bytes.min(Settings::CHUNK_BYTES_MAX);
        match read(&mut open.reader, offset, bytes, &mut piece) {
            Ok(()) => {
                let (length, checksum) = (open.reader.length(), open.reader.checksum());
                say(Content::Piece {
                    length,
                    checksum,
                    bytes: &piece,
                });
                let end = offset.saturating_add(piece.len() as u64);
                let sent = self.sent.entry((to, id)).or_insert((0, length));
                *sent = (sent.0.max(end), length);
                if end >= length {
                    // Pieces are asked for in their order. Should one be asked for again, the file is opened
                    // again; until then it would take the place of another.
                    self.open.remove(&(to, id));
                }
                self.spend(now, piece.len() as u64);
            }
            Err(error) => {
                self.open.remove(&(to, id));
                damaged.push((id, error));
                say(Content::Gone);
            }
        }
    }

    /// The open file for that node; `None` if there are enough.
    fn opened(
        &mut self,
        now: Duration,
        to: NodeId,
        id: SnapshotId,
    ) -> Result<Option<&mut Open<D>>, SnapshotError> {
        let key = (to, id);
        if !self.open.contains_key(&key) {
            // A node that asks for another snapshot of a shard is done with the one before.
            self.open
                .retain(|(node, open), _| (*node, open.shard) != (to, id.shard));
            if self.open.len() >= self.settings.sending {
                return Ok(None);
            }
            let reader = self.snapshots.read(id)?;
            self.open.insert(key, Open { reader, used: now });
        }
        let open = self.open.get_mut(&key);
        Ok(open)
    }

    fn spend(&mut self, now: Duration, bytes: u64) {
        let rate = self.settings.bytes_per_second;
        if rate > 0 {
            let takes = Duration::from_secs_f64(bytes as f64 / rate as f64);
            self.free_at = self.free_at.max(now) + takes;
        }
    }
}

fn is_missing(error: &SnapshotError) -> bool {
    matches!(error, SnapshotError::Io { source, .. } if source.kind() == io::ErrorKind::NotFound)
}

/// Reads that many bytes from there on, or up to the end.
fn read<D: Disk>(
    reader: &mut SnapshotReader<D>,
    offset: u64,
    bytes: u32,
    out: &mut Vec<u8>,
) -> Result<(), SnapshotError> {
    let chunk_bytes = SnapshotReader::<D>::CHUNK_BYTES as u64;
    let end = offset.saturating_add(u64::from(bytes)).min(reader.length());
    let mut at = offset;
    while at < end {
        let (number, within) = (at / chunk_bytes, (at % chunk_bytes) as usize);
        let chunk = reader.chunk(number)?;
        let part = &chunk[within..chunk.len().min(within + (end - at) as usize)];
        out.extend_from_slice(part);
        at += part.len() as u64;
    }
    Ok(())
}
