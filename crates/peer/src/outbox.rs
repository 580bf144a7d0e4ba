//! What waits to be written to one connection.
//!
//! Payloads wait as they are until there is room ahead of the stream, and are framed then: what the session
//! says in between goes ahead of all of them that wait, so a ping is behind [`AHEAD`] bytes at most, however
//! much is queued. Urgent payloads are framed before all others, and between the parts of a long one. It knows no
//! sockets: a driver writes [`Outbox::slices`] and says how much with [`Outbox::advance`].

use std::collections::VecDeque;
use std::io::IoSlice;
use std::ops::Range;
use std::sync::Arc;

use crate::frame::{self, HEADER_LEN, Kind};
use crate::parts::{LENGTH_LEN, PART_SIZE};
use crate::status::SEND_QUEUE_LIMIT;

/// Payloads are framed while less than this waits to be written.
pub const AHEAD: usize = 64 * 1024;

/// The most bytes that an urgent payload may have: what is longer takes its turn.
pub const URGENT_LIMIT: usize = 16 * 1024;

/// How much may wait to be written before the other side is taken for one that asks for answers and does not
/// read them: [`Outbox::is_unread`].
const UNREAD_LIMIT: usize = AHEAD + PART_SIZE + 1024 * 1024;

/// How much urgent payloads may go over the limit of the queue.
const URGENT_ROOM: usize = 1024 * 1024;

/// Payloads up to this size are copied behind each other; larger ones are written from where they are.
const COPIED: usize = 4 * 1024;

/// How large a chunk of copied frames grows.
const CHUNK: usize = 64 * 1024;

/// How many chunks one write takes at most.
pub const SLICES: usize = 64;

/// What a payload counts in a queue beyond its bytes, so that empty ones are bounded too.
const OVERHEAD: usize = 64;

/// What a payload of that length counts in a queue.
pub fn cost(length: usize) -> usize {
    length + OVERHEAD
}

/// Whether a queue that holds so much by [`cost`] takes one more payload: up to [`SEND_QUEUE_LIMIT`], and one
/// that is longer when nothing else waits.
pub fn has_room(queued: usize, length: usize) -> bool {
    queued == 0 || queued.saturating_add(cost(length)) <= SEND_QUEUE_LIMIT
}

/// The same for an urgent payload, which has some room beyond that.
pub fn has_urgent_room(queued: usize, length: usize) -> bool {
    queued.saturating_add(cost(length)) <= SEND_QUEUE_LIMIT + URGENT_ROOM
}

/// Frames in the order in which they will be written, and payloads behind them.
#[derive(Debug, Default)]
pub struct Outbox {
    framed: VecDeque<Chunk>,
    /// How much of the first chunk is written.
    written: usize,
    /// Framed and not yet written, in bytes.
    total: usize,
    /// Not yet framed.
    urgent: VecDeque<Vec<u8>>,
    payloads: VecDeque<Vec<u8>>,
    cutting: Option<Cutting>,
    /// By [`cost`]: what was framed since it was last asked.
    framed_cost: usize,
    /// An empty chunk to be used again.
    spare: Vec<u8>,
}

#[derive(Debug)]
enum Chunk {
    /// Whole frames, or a header, or a payload.
    Own(Vec<u8>),
    /// A part of a long payload.
    Part(Arc<Vec<u8>>, Range<usize>),
}

impl Chunk {
    fn bytes(&self) -> &[u8] {
        match self {
            Chunk::Own(bytes) => bytes,
            Chunk::Part(payload, range) => &payload[range.clone()],
        }
    }
}

/// A long payload, of which some parts are framed.
#[derive(Debug)]
struct Cutting {
    payload: Arc<Vec<u8>>,
    next: usize,
}

impl Outbox {
    /// Adds whole frames of the session.
    pub fn push_control(&mut self, frames: &[u8]) {
        if !frames.is_empty() {
            self.copy(&[frames]);
        }
    }

    /// Adds a payload.
    pub fn push_payload(&mut self, payload: Vec<u8>) {
        self.payloads.push_back(payload);
        self.frame_payloads();
    }

    /// Adds payloads that overtake others, if they are small enough; the queue is empty afterwards.
    pub fn push_urgent(&mut self, payloads: &mut VecDeque<Vec<u8>>) {
        for payload in payloads.drain(..) {
            match payload.len() <= URGENT_LIMIT {
                true => self.urgent.push_back(payload),
                false => self.payloads.push_back(payload),
            }
        }
        self.frame_payloads();
    }

    /// Adds payloads; the queue is empty afterwards.
    pub fn push_payloads(&mut self, payloads: &mut VecDeque<Vec<u8>>) {
        if self.payloads.is_empty() {
            std::mem::swap(&mut self.payloads, payloads);
        } else {
            self.payloads.append(payloads);
        }
        self.frame_payloads();
    }

    fn frame_payloads(&mut self) {
        while self.total < AHEAD {
            if let Some(payload) = self.urgent.pop_front() {
                self.frame_whole(Kind::URGENT, payload);
                continue;
            }
            if self.cutting.is_some() {
                self.frame_part();
                continue;
            }
            let Some(payload) = self.payloads.pop_front() else {
                return;
            };
            if payload.len() > PART_SIZE {
                self.cutting = Some(Cutting {
                    payload: Arc::new(payload),
                    next: 0,
                });
                continue;
            }
            self.frame_whole(Kind::PAYLOAD, payload);
        }
    }

    fn frame_whole(&mut self, kind: Kind, payload: Vec<u8>) {
        self.framed_cost += cost(payload.len());
        let header = frame::header(kind, &[payload.as_slice()]);
        if payload.len() <= COPIED {
            self.copy(&[&header, &payload]);
        } else {
            self.copy(&[&header]);
            self.push(Chunk::Own(payload));
        }
    }

    fn frame_part(&mut self) {
        let Some(Cutting { payload, next }) = &mut self.cutting else {
            return;
        };
        let range = *next..payload.len().min(*next + PART_SIZE);
        let part = &payload[range.clone()];
        let mut head = [0; HEADER_LEN + LENGTH_LEN];
        let mut head_len = HEADER_LEN;
        if range.start == 0 {
            let length = (payload.len() as u32).to_le_bytes();
            head[..HEADER_LEN].copy_from_slice(&frame::header(Kind::FIRST_PART, &[&length, part]));
            head[HEADER_LEN..].copy_from_slice(&length);
            head_len += LENGTH_LEN;
        } else {
            head[..HEADER_LEN].copy_from_slice(&frame::header(Kind::NEXT_PART, &[part]));
        }
        let chunk = Chunk::Part(Arc::clone(payload), range.clone());
        *next = range.end;
        if range.end == payload.len() {
            self.framed_cost += cost(payload.len());
            self.cutting = None;
        }
        self.copy(&[&head[..head_len]]);
        self.push(chunk);
    }

    /// Appends bytes to the last chunk if they fit there, else in a chunk of their own.
    fn copy(&mut self, pieces: &[&[u8]]) {
        let length: usize = pieces.iter().map(|piece| piece.len()).sum();
        let fits = matches!(
            self.framed.back(),
            Some(Chunk::Own(last)) if last.len() + length <= last.capacity().min(CHUNK)
        );
        if !fits {
            let mut chunk = std::mem::take(&mut self.spare);
            chunk.reserve(length.max(COPIED));
            self.framed.push_back(Chunk::Own(chunk));
        }
        if let Some(Chunk::Own(last)) = self.framed.back_mut() {
            pieces
                .iter()
                .for_each(|piece| last.extend_from_slice(piece));
        }
        self.total += length;
    }

    fn push(&mut self, chunk: Chunk) {
        self.total += chunk.bytes().len();
        self.framed.push_back(chunk);
    }

    /// How many bytes could be written now.
    pub fn len(&self) -> usize {
        self.total
    }

    /// Whether nothing waits: what is not framed yet waits only behind what is.
    pub fn is_empty(&self) -> bool {
        self.total == 0
    }

    /// Whether so much waits that the other side cannot be reading.
    pub fn is_unread(&self) -> bool {
        self.total > UNREAD_LIMIT
    }

    /// By [`cost`], the payloads that were framed since the last call: they are in the queue no more.
    pub fn take_framed_cost(&mut self) -> usize {
        std::mem::take(&mut self.framed_cost)
    }

    /// Fills slices with what is to be written next, and says how many.
    pub fn slices<'a>(&'a self, slices: &mut [IoSlice<'a>; SLICES]) -> usize {
        let mut skip = self.written;
        let mut count = 0;
        for (slice, chunk) in slices.iter_mut().zip(&self.framed) {
            *slice = IoSlice::new(&chunk.bytes()[skip..]);
            skip = 0;
            count += 1;
        }
        count
    }

    /// Notes that so many bytes were written.
    ///
    /// # Panics
    /// When that is more than [`Outbox::slices`] held.
    pub fn advance(&mut self, mut wrote: usize) {
        self.total -= wrote;
        while wrote > 0 {
            let first = self.framed.front().expect("no more is written than waits");
            let rest = first.bytes().len() - self.written;
            if wrote < rest {
                self.written += wrote;
                break;
            }
            wrote -= rest;
            self.written = 0;
            if let Some(Chunk::Own(mut done)) = self.framed.pop_front()
                && (self.spare.capacity()..=CHUNK).contains(&done.capacity())
            {
                done.clear();
                self.spare = done;
            }
        }
        self.frame_payloads();
    }

    /// Takes out up to so many bytes, for a driver that has them carried by other means than writes.
    pub fn take(&mut self, most: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(most.min(self.total));
        let mut skip = self.written;
        for chunk in &self.framed {
            let rest = &chunk.bytes()[skip..];
            bytes.extend_from_slice(&rest[..rest.len().min(most - bytes.len())]);
            skip = 0;
        }
        self.advance(bytes.len());
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::{Decoder, PAYLOAD_LIMIT};

    /// The kinds and the lengths of all frames that come out in pieces of that size.
    fn frames(outbox: &mut Outbox, piece: usize) -> Vec<(Kind, Vec<u8>)> {
        let mut decoder = Decoder::new();
        let mut frames = Vec::new();
        while !outbox.is_empty() {
            decoder.extend(&outbox.take(piece));
            while let Some(frame) = decoder.next_frame(PAYLOAD_LIMIT).expect("frames") {
                frames.push((frame.kind, frame.payload.to_vec()));
            }
        }
        assert!(!decoder.is_inside_frame() && outbox.framed.is_empty());
        frames
    }

    fn ping(n: usize) -> Vec<u8> {
        let mut frames = Vec::new();
        frame::encode(&mut frames, Kind::PING, &[n as u8; 16]);
        frames
    }

    #[test]
    fn payloads_leave_in_order_through_a_narrow_pipe() {
        let mut outbox = Outbox::default();
        let mut expected = Vec::new();
        for n in 0..200_usize {
            let payload = vec![n as u8; n * n % 9000];
            expected.push((Kind::PAYLOAD, payload.clone()));
            outbox.push_payload(payload);
        }
        assert!(outbox.len() < AHEAD + 9000);
        assert_eq!(frames(&mut outbox, 1000), expected);
    }

    #[test]
    fn what_is_written_is_what_the_slices_hold() {
        let mut outbox = Outbox::default();
        let mut taken = Outbox::default();
        for n in 0..300_usize {
            for outbox in [&mut outbox, &mut taken] {
                outbox.push_payload(vec![n as u8; n * 7919 % 9000]);
                outbox.push_control(&ping(n));
            }
        }
        let mut written: Vec<u8> = Vec::new();
        while !outbox.is_empty() {
            let mut slices = [IoSlice::new(&[]); SLICES];
            let count = outbox.slices(&mut slices);
            let bytes = slices[..count].iter().flat_map(|slice| slice.iter());
            let before = written.len();
            written.extend(bytes.take(7_777));
            let wrote = written.len() - before;
            outbox.advance(wrote);
        }
        let mut expected = Vec::new();
        while !taken.is_empty() {
            expected.extend(taken.take(usize::MAX));
        }
        assert!(written == expected);
    }

    #[test]
    fn a_long_payload_is_cut_and_control_goes_between() {
        let mut outbox = Outbox::default();
        let long: Vec<u8> = (0..3 * PART_SIZE + 5).map(|n| (n % 251) as u8).collect();
        outbox.push_payload(long.clone());
        outbox.push_payload(b"after".to_vec());
        let held = outbox.len();
        assert!(held <= AHEAD + PART_SIZE + 16, "{held}");
        outbox.push_control(&ping(1));
        let frames = frames(&mut outbox, 10_000);
        let kinds: Vec<_> = frames.iter().map(|(kind, _)| *kind).collect();
        use Kind as K;
        let expected = [
            K::FIRST_PART,
            K::PING,
            K::NEXT_PART,
            K::NEXT_PART,
            K::NEXT_PART,
            K::PAYLOAD,
        ];
        assert_eq!(kinds, expected);
        assert!(frames.iter().all(|(_, bytes)| bytes.len() <= PAYLOAD_LIMIT));
        assert_eq!(frames[0].1[..4], (long.len() as u32).to_le_bytes());
        let parts: Vec<u8> = frames
            .iter()
            .filter(|(kind, _)| *kind == K::NEXT_PART)
            .fold(frames[0].1[4..].to_vec(), |joined, (_, part)| {
                [joined, part.clone()].concat()
            });
        assert!(parts == long);
    }

    #[test]
    fn urgent_payloads_wait_behind_nothing_but_what_is_framed() {
        let mut outbox = Outbox::default();
        outbox.push_payload(vec![7; 3 * PART_SIZE]);
        outbox.push_payload(b"after".to_vec());
        let beat = b"I am here".to_vec();
        outbox.push_urgent(&mut [beat.clone(), vec![1; URGENT_LIMIT + 1]].into());
        let behind = outbox.len();
        assert!(behind <= AHEAD + PART_SIZE + 16, "{behind}");
        let frames = frames(&mut outbox, 10_000);
        let kinds: Vec<_> = frames.iter().map(|(kind, _)| *kind).collect();
        use Kind as K;
        let expected = [
            K::FIRST_PART,
            K::URGENT,
            K::NEXT_PART,
            K::NEXT_PART,
            K::PAYLOAD,
            K::PAYLOAD,
        ];
        assert_eq!(kinds, expected);
        assert_eq!((&frames[1].1, &frames[4].1[..]), (&beat, &b"after"[..]));
        assert_eq!(
            frames[5].1.len(),
            URGENT_LIMIT + 1,
            "what is long takes its turn"
        );
    }

    #[test]
    fn the_queue_counts_what_is_not_framed() {
        let mut outbox = Outbox::default();
        outbox.push_payload(vec![0; 100]);
        assert_eq!(outbox.take_framed_cost(), cost(100));
        let long = 3 * PART_SIZE;
        outbox.push_payload(vec![0; long]);
        outbox.push_payload(Vec::new());
        assert_eq!(outbox.take_framed_cost(), 0);
        while !outbox.is_empty() {
            outbox.take(1000);
        }
        assert_eq!(outbox.take_framed_cost(), cost(long) + cost(0));
    }

    #[test]
    fn one_payload_beyond_the_limit_is_taken_when_nothing_waits() {
        assert!(has_room(0, 10 * SEND_QUEUE_LIMIT));
        assert!(!has_room(1, SEND_QUEUE_LIMIT));
        assert!(has_room(cost(0), SEND_QUEUE_LIMIT - 2 * cost(0)));
        assert!(!has_room(SEND_QUEUE_LIMIT, 0));
        assert!(has_urgent_room(SEND_QUEUE_LIMIT, URGENT_LIMIT));
        assert!(!has_urgent_room(SEND_QUEUE_LIMIT + URGENT_ROOM, 0));
    }

    #[test]
    fn only_who_does_not_read_is_unread() {
        let mut outbox = Outbox::default();
        outbox.push_payload(vec![0; 50 * PART_SIZE]);
        assert!(!outbox.is_unread());
        while !outbox.is_unread() {
            outbox.push_control(&ping(1));
        }
        assert!(outbox.len() > 1024 * 1024);
    }
}
