//! One snapshot on its way here.

use std::collections::BTreeMap;
use std::time::Duration;

use keyspace::Keyspace;
use shard::SnapshotMeta;
use wal::{Disk, SealedSnapshot, SnapshotError, SnapshotId, SnapshotWriter, Snapshots};

use super::pace::Pace;
use super::{TransferError, Wanted};
use crate::startup::Loading;
use crate::transfer::{Chunk, Content, Fetch, Kind, Letter, LoadError, Settings};

pub(super) struct Incoming<D: Disk> {
    pub(super) wanted: Wanted,
    /// A newer one that the same replica has offered meanwhile.
    newer: Option<Wanted>,
    /// Its place in the queue.
    pub(super) number: u64,
    stage: Stage<D>,
    /// The last time that something new had come; none before the first look.
    progress: Option<Duration>,
    /// Something new has come since the last look.
    progressed: bool,
    paused: Option<Duration>,
    gone: bool,
}

enum Stage<D: Disk> {
    Receiving(Box<Receiving<D>>),
    Loading(Box<Sealed<D>>),
}

/// Pieces come and are written, in order.
struct Receiving<D: Disk> {
    /// Length and checksum of the whole, from the first piece on.
    whole: Option<(u64, u32)>,
    /// From the first write on.
    writer: Option<SnapshotWriter<D>>,
    /// All before it is written.
    offset: u64,
    /// The checksum of that, as the sender has it.
    crc: u32,
    /// What was asked for, by offset.
    asked: BTreeMap<u64, Asked>,
    /// From the first question on.
    pace: Option<Pace>,
}

struct Asked {
    bytes: u32,
    /// When it was last asked for; none if it is to be asked for at once, or has come and that was noted.
    at: Option<Duration>,
    arrived: Option<Vec<u8>>,
}

/// All is written; it is read back into memory.
struct Sealed<D: Disk> {
    file: SealedSnapshot<D>,
    loading: Loading<D>,
    bytes: u64,
}

/// Why it ended early.
pub(super) enum Ended {
    NoRoom(SnapshotError),
    Failed(TransferError),
}

pub(super) struct Loaded {
    pub(super) id: SnapshotId,
    pub(super) meta: SnapshotMeta,
    pub(super) keyspace: Box<Keyspace>,
    pub(super) bytes: u64,
}

impl From<SnapshotError> for Ended {
    fn from(error: SnapshotError) -> Ended {
        match error {
            SnapshotError::NoRoom { .. } => Ended::NoRoom(error),
            other => Ended::Failed(TransferError::Disk(other)),
        }
    }
}

impl From<LoadError> for Ended {
    fn from(error: LoadError) -> Ended {
        Ended::Failed(TransferError::Load(error))
    }
}

impl<D: Disk> Receiving<D> {
    fn new(id: SnapshotId) -> Receiving<D> {
        Receiving {
            whole: None,
            writer: None,
            offset: 0,
            crc: id.checksum_seed(),
            asked: BTreeMap::new(),
            pace: None,
        }
    }
}

impl<D: Disk> Incoming<D> {
    pub(super) fn new(wanted: Wanted, number: u64) -> Incoming<D> {
        Incoming {
            wanted,
            newer: None,
            number,
            stage: Stage::Receiving(Box::new(Receiving::new(wanted.id))),
            progress: None,
            progressed: false,
            paused: None,
            gone: false,
        }
    }

    /// What was last wanted.
    pub(super) fn latest(&self) -> Wanted {
        self.newer.unwrap_or(self.wanted)
    }

    /// Takes note of what is wanted now. False if this one must give way to it.
    pub(super) fn follow(&mut self, wanted: Wanted) -> bool {
        if wanted == self.wanted {
            self.newer = None;
            return true;
        }
        let source = |wanted: &Wanted| (wanted.replica, wanted.from, wanted.id.replica);
        let is_newer = source(&wanted) == source(&self.wanted)
            && wanted.id.index > self.wanted.id.index
            && self.received() > 0;
        if is_newer {
            self.newer = Some(wanted);
        }
        is_newer
    }

    /// Goes on to the newer one.
    pub(super) fn switch(&mut self) {
        let (latest, number) = (self.latest(), self.number);
        *self = Incoming::new(latest, number);
    }

    /// How many bytes are here.
    pub(super) fn received(&self) -> u64 {
        match &self.stage {
            Stage::Receiving(receiving) => receiving.offset,
            Stage::Loading(sealed) => sealed.bytes,
        }
    }

    pub(super) fn is_paused(&self, now: Duration) -> bool {
        self.paused.is_some_and(|until| now < until)
    }

    /// Begins anew after that moment, behind those that wait already.
    pub(super) fn pause(&mut self, until: Duration, number: u64) {
        self.start_over();
        self.number = number;
        self.paused = Some(until);
        self.progress = None;
    }

    /// Nothing is left of it.
    pub(super) fn abandon(mut self) {
        self.start_over();
    }

    fn start_over(&mut self) {
        // A file that is left behind has a temporary name: the next one replaces it, or the next start
        // removes it.
        match self.take_stage() {
            Stage::Receiving(receiving) => receiving.writer.map(SnapshotWriter::abandon),
            Stage::Loading(sealed) => Some(sealed.file.abandon()),
        };
    }

    /// Hands out the stage; what is left is the beginning.
    fn take_stage(&mut self) -> Stage<D> {
        let beginning = Receiving::new(self.wanted.id);
        std::mem::replace(&mut self.stage, Stage::Receiving(Box::new(beginning)))
    }

    /// What was asked and not answered is to be asked again at once.
    pub(super) fn connected(&mut self) {
        if let Stage::Receiving(receiving) = &mut self.stage {
            for asked in receiving.asked.values_mut() {
                asked.at = None;
            }
        }
    }

    /// Takes an answer. One that nobody waits for changes nothing.
    pub(super) fn take(&mut self, chunk: &Chunk<'_>) {
        let Stage::Receiving(receiving) = &mut self.stage else {
            return;
        };
        let (length, checksum, bytes) = match chunk.content {
            Content::Gone => {
                self.gone = true;
                return;
            }
            // It is asked again when patience ends; but the other is there.
            Content::Busy => {
                self.progressed = true;
                return;
            }
            Content::Piece {
                length,
                checksum,
                bytes,
            } => (length, checksum, bytes),
        };
        if receiving
            .whole
            .is_some_and(|whole| whole != (length, checksum))
        {
            // It was made anew over there; the pieces of the two do not fit together.
            self.start_over();
            return;
        }
        let Some(asked) = receiving.asked.get_mut(&chunk.offset) else {
            return;
        };
        let expected = length.saturating_sub(chunk.offset).min(asked.bytes.into());
        if asked.arrived.is_some() || bytes.len() as u64 != expected || expected == 0 {
            return;
        }
        asked.arrived = Some(bytes.to_vec());
        receiving.whole = Some((length, checksum));
        self.progressed = true;
    }

    /// Goes on with what can be done now. Gives what it was all for, once.
    pub(super) fn run(
        &mut self,
        now: Duration,
        snapshots: &Snapshots<D>,
        settings: &Settings,
        letters: &mut Vec<Letter>,
    ) -> Result<Option<Loaded>, Ended> {
        if self.paused.take().is_some() || self.progressed {
            self.progress = None;
        }
        self.progressed = false;
        let progress = *self.progress.get_or_insert(now);
        if self.gone {
            return Err(self.fail(TransferError::Gone));
        }
        match &mut self.stage {
            Stage::Receiving(_) if now >= progress + settings.give_up => {
                Err(self.fail(TransferError::Silence(settings.give_up)))
            }
            Stage::Receiving(_) => self.receive(now, snapshots, settings, letters),
            Stage::Loading(_) => self.load(),
        }
    }

    fn fail(&mut self, error: TransferError) -> Ended {
        self.start_over();
        Ended::Failed(error)
    }

    /// When there is something to do, if nothing comes before.
    pub(super) fn due(&self, now: Duration, settings: &Settings) -> Option<Duration> {
        if let Some(until) = self.paused {
            // After that it waits for its turn.
            return Some(until).filter(|&until| now < until);
        }
        match &self.stage {
            Stage::Receiving(receiving) => {
                let give_up = self.progress? + settings.give_up;
                let asked = receiving.asked.values();
                let again = asked.filter(|asked| asked.arrived.is_none());
                let again =
                    again.map(|asked| asked.at.map_or(Duration::ZERO, |at| at + settings.patience));
                Some(again.min().unwrap_or(give_up).min(give_up))
            }
            Stage::Loading(_) => Some(Duration::ZERO),
        }
    }

    fn receive(
        &mut self,
        now: Duration,
        snapshots: &Snapshots<D>,
        settings: &Settings,
        letters: &mut Vec<Letter>,
    ) -> Result<Option<Loaded>, Ended> {
        let wanted = self.wanted;
        let Stage::Receiving(receiving) = &mut self.stage else {
            return Ok(None);
        };
        receiving.note_arrivals(now, settings);
        if let Err(error) = receiving.write(wanted, snapshots) {
            self.start_over();
            return Err(error.into());
        }
        if let Some((length, checksum)) = receiving.whole
            && receiving.offset == length
        {
            if receiving.crc != checksum {
                return Err(self.fail(TransferError::Checksum));
            }
            return self.seal();
        }
        receiving.ask(now, wanted, settings, letters);
        Ok(None)
    }

    fn seal(&mut self) -> Result<Option<Loaded>, Ended> {
        let Stage::Receiving(receiving) = self.take_stage() else {
            return Ok(None);
        };
        let bytes = receiving.offset;
        let writer = receiving.writer.expect("a snapshot has bytes");
        let file = writer.seal()?;
        let reader = match file.read() {
            Ok(reader) => reader,
            Err(error) => {
                file.abandon().ok();
                return Err(error.into());
            }
        };
        let loading = Loading::new(reader);
        self.stage = Stage::Loading(Box::new(Sealed {
            file,
            loading,
            bytes,
        }));
        Ok(None)
    }

    fn load(&mut self) -> Result<Option<Loaded>, Ended> {
        let Stage::Loading(sealed) = &mut self.stage else {
            return Ok(None);
        };
        match sealed.loading.step() {
            Ok(true) => return Ok(None),
            Ok(false) => {}
            Err(error) => {
                self.start_over();
                return Err(error.into());
            }
        }
        let Stage::Loading(sealed) = self.take_stage() else {
            return Ok(None);
        };
        let Sealed { file, loading, .. } = *sealed;
        let offered = self.wanted.id;
        let loaded = match loading.finish() {
            Ok((meta, _)) if (meta.term, meta.index) != (offered.term, offered.index) => {
                Err(TransferError::OtherEntry {
                    offered: offered.index,
                    found: meta.index,
                })
            }
            Ok(loaded) => Ok(loaded),
            Err(error) => Err(TransferError::Load(error)),
        };
        let (meta, keyspace) = match loaded {
            Ok(loaded) => loaded,
            Err(error) => {
                file.abandon().ok();
                return Err(Ended::Failed(error));
            }
        };
        Ok(Some(Loaded {
            id: self.wanted.local_id(),
            meta,
            keyspace: Box::new(keyspace),
            bytes: file.publish()?,
        }))
    }
}

impl<D: Disk> Receiving<D> {
    /// Lets the pace know how long pieces took.
    fn note_arrivals(&mut self, now: Duration, settings: &Settings) {
        let Some(pace) = &mut self.pace else { return };
        for piece in self.asked.values_mut() {
            if piece.arrived.is_some()
                && let Some(asked) = piece.at.take()
            {
                pace.arrived(asked, now, piece.bytes, settings);
            }
        }
    }

    /// Writes what has come and follows what is written.
    fn write(&mut self, wanted: Wanted, snapshots: &Snapshots<D>) -> Result<(), SnapshotError> {
        while let Some(first) = self.asked.first_entry()
            && *first.key() == self.offset
            && let Some(bytes) = first.get().arrived.as_ref()
        {
            let writer = match &mut self.writer {
                Some(writer) => writer,
                none => none.insert(snapshots.create(wanted.local_id())?),
            };
            writer.write(bytes)?;
            self.crc = crc32c::crc32c_append(self.crc, bytes);
            self.offset += bytes.len() as u64;
            first.remove();
        }
        Ok(())
    }

    /// Asks for what comes next, and again for what did not come.
    fn ask(
        &mut self,
        now: Duration,
        wanted: Wanted,
        settings: &Settings,
        letters: &mut Vec<Letter>,
    ) {
        let pace = self.pace.get_or_insert_with(|| Pace::new(settings));
        let length = self.whole.map_or(u64::MAX, |(length, _)| length);
        let mut on_its_way: u64 = self
            .asked
            .values()
            .map(|asked| u64::from(asked.bytes))
            .sum();
        let mut next = match self.asked.last_key_value() {
            Some((offset, asked)) => offset + u64::from(asked.bytes),
            None => self.offset,
        };
        // Before the first piece has come, nobody knows how many there are.
        while next < length
            && (self.asked.is_empty() || (self.whole.is_some() && on_its_way < pace.window()))
        {
            let bytes = pace.piece(settings);
            on_its_way += u64::from(bytes);
            let asked = Asked {
                bytes,
                at: None,
                arrived: None,
            };
            self.asked.insert(next, asked);
            next += u64::from(bytes);
        }
        for (&offset, asked) in &mut self.asked {
            let waits = asked.at.is_some_and(|at| now < at + settings.patience);
            if waits || asked.arrived.is_some() {
                continue;
            }
            if let Some(at) = asked.at {
                pace.halve(at, now, settings);
            }
            asked.at = Some(now);
            let mut body = Vec::new();
            Fetch {
                id: wanted.id,
                offset,
                bytes: asked.bytes,
            }
            .encode(&mut body);
            letters.push(Letter {
                to: wanted.from,
                kind: Kind::Fetch,
                body,
            });
        }
    }
}
