//! A node of the next minor version, as others and its own disk see it: what it says and writes is taken as
//! this version makes it, and whatever a minor version may add is added.
//!
//! No node does so by itself, and none has a switch for it. Where nodes of different versions are together,
//! this version meets these bytes in the place of its own: from the network, in snapshots that it is sent, and,
//! when such a node goes back to this version, on its disk.
//!
//! | what | how it is newer |
//! | --- | --- |
//! | frames of the peer protocol | the greeting has the next minor version, every frame more fields; frames of an unknown kind come between |
//! | items of payloads | more fields; an item of an unknown kind follows |
//! | records of the log | optional ones of an unknown kind before and after; segments have the next minor version |
//! | snapshots | the head and the keyspace's part have the next minor version, more fields and an optional slice |
//! | formats | it tells that it reads the next ones |

use std::path::Path;

use base::{ReplicaId, ShardId};
use peer::frame::{self, Decoder, Kind, PAYLOAD_LIMIT};
use shard::SnapshotMeta;
use wal::testing::MemDisk;
use wal::{Body, Disk, Record, SnapshotError, SnapshotId, Snapshots};

/// What is added.
const ADDED: &[u8] = b"of the next version";
/// Kinds that this version does not know.
const FRAME: Kind = Kind(200);
const ITEM: u8 = 200;
const SLICE: u8 = 200;

/// The formats that a node tells that it reads.
pub fn formats(is_newer: bool) -> u32 {
    if is_newer { 2 } else { 1 }
}

/// Whole frames, but payloads.
pub fn frames(bytes: &[u8]) -> Vec<u8> {
    let mut decoder = Decoder::new();
    decoder.extend(bytes);
    let mut out = Vec::new();
    while let Some(frame) = decoder.next_frame(PAYLOAD_LIMIT).expect("a session's own") {
        let mut payload = frame.payload.to_vec();
        if frame.kind == Kind::GREETING {
            // Magic and the major version stand before the minor one.
            payload[10] += 1;
        }
        payload.extend_from_slice(ADDED);
        frame::encode(&mut out, frame.kind, &payload);
        // A ping shows that the greetings are over.
        if frame.kind == Kind::PING {
            frame::encode(&mut out, FRAME, ADDED);
        }
    }
    out
}

/// A payload, as `node::wire` has it.
pub fn payload(bytes: &[u8]) -> Vec<u8> {
    let (version, mut rest) = bytes.split_first().expect("a payload");
    let mut out = vec![*version];
    while let Some((&kind, after)) = rest.split_first() {
        let (length, after) = after.split_first_chunk().expect("a length");
        let (body, after) = after.split_at(u32::from_le_bytes(*length) as usize);
        rest = after;
        let mut body = body.to_vec();
        const RAFT: u8 = node::wire::Kind::Raft as u8;
        const CONTROL: u8 = node::wire::Kind::Control as u8;
        const FETCH: u8 = node::wire::Kind::Fetch as u8;
        const CHUNK: u8 = node::wire::Kind::Chunk as u8;
        match kind {
            RAFT | FETCH | CHUNK => body.extend_from_slice(ADDED),
            // A kind, and a record.
            CONTROL => append(&mut body, 1),
            // Commands and their outcomes are as all know them: see the formats.
            _ => {}
        }
        put_item(&mut out, kind, &body);
    }
    put_item(&mut out, ITEM, ADDED);
    out
}

fn put_item(out: &mut Vec<u8>, kind: u8, body: &[u8]) {
    out.push(kind);
    out.extend_from_slice(&(body.len() as u32).to_le_bytes());
    out.extend_from_slice(body);
}

/// Appends fields to the record at the end of those bytes, whose length stands there.
fn append(bytes: &mut Vec<u8>, length_at: usize) {
    bytes.extend_from_slice(ADDED);
    let length = (bytes.len() - length_at - 4) as u32;
    bytes[length_at..length_at + 4].copy_from_slice(&length.to_le_bytes());
}

/// Records of a turn.
pub fn records(bytes: &mut Vec<u8>) {
    let mut added = Vec::new();
    Record {
        shard: ShardId(0),
        replica: ReplicaId(u64::MAX),
        body: Body::Other {
            kind: Record::OPTIONAL_KINDS,
            bytes: ADDED,
        },
    }
    .encode(&mut added);
    let own = std::mem::replace(bytes, added.clone());
    bytes.extend_from_slice(&own);
    bytes.append(&mut added);
}

/// The segments of a log that is not open.
pub fn segments(disk: &MemDisk, dir: &Path) {
    for name in disk.list(dir).unwrap_or_default() {
        let path = dir.join(&name);
        let mut bytes = disk.contents(&path);
        let (version, crc) = (10..12, 40..44);
        let is_intact = bytes
            .get(crc.clone())
            .is_some_and(|found| *found == crc32c::crc32c(&bytes[..crc.start]).to_le_bytes());
        if name.ends_with(".seg") && is_intact {
            bytes[version].copy_from_slice(&1_u16.to_le_bytes());
            let sum = crc32c::crc32c(&bytes[..crc.start]);
            bytes[crc].copy_from_slice(&sum.to_le_bytes());
            disk.set_contents(&path, &bytes);
        }
    }
}

/// A snapshot that was just made; how long it is now.
///
/// # Errors
/// [`SnapshotError`]: it is as it was.
pub fn snapshot(snapshots: &Snapshots<MemDisk>, id: SnapshotId) -> Result<u64, SnapshotError> {
    let mut bytes = Vec::new();
    let mut reader = snapshots.read(id)?;
    while let Some(chunk) = reader.next_chunk()? {
        bytes.extend_from_slice(chunk);
    }
    let (_, head) = SnapshotMeta::decode(&bytes).expect("it was just made");
    let state = bytes.split_off(head);
    // After the magic stand the versions and the length of the record.
    bytes[6] += 1;
    append(&mut bytes, 8);
    keyspace(&state, &mut bytes);
    let mut writer = snapshots.create(id)?;
    if let Err(error) = writer.write(&bytes) {
        // The first error counts; what is left has a temporary name.
        writer.abandon().ok();
        return Err(error);
    }
    writer.finish()
}

/// The part of the keyspace, with its running checksums.
fn keyspace(state: &[u8], out: &mut Vec<u8>) {
    const HEADER: usize = 28;
    const SLICE_HEADER: usize = 12;
    const END: u8 = 3;
    let mut crc = 0;
    let mut put = |part: &[u8]| {
        crc = crc32c::crc32c_append(crc, part);
        out.extend_from_slice(part);
        out.extend_from_slice(&crc.to_le_bytes());
    };
    let (header, mut rest) = state.split_at(HEADER);
    let mut header = header.to_vec();
    header[10] += 1;
    put(&header);
    let mut optional = [SLICE; SLICE_HEADER];
    optional[8..].copy_from_slice(&(ADDED.len() as u32).to_le_bytes());
    put(&optional);
    put(ADDED);
    rest = &rest[4..];
    while !rest.is_empty() {
        let (slice, after) = rest.split_at(SLICE_HEADER);
        put(slice);
        rest = &after[4..];
        if slice[0] != END {
            let length = u32::from_le_bytes([slice[8], slice[9], slice[10], slice[11]]) as usize;
            let (body, after) = rest.split_at(length);
            put(body);
            rest = &after[4..];
        }
    }
}
