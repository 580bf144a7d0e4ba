//! What waits to be written to one connection.

use std::collections::VecDeque;
use std::io::{self, IoSlice};

use tokio::io::{AsyncWrite, AsyncWriteExt};

use crate::frame::{self, Kind};

/// Payloads up to this size are copied behind each other; larger ones are written from where they are.
const COPIED: usize = 4 * 1024;

/// How large a chunk of copied frames grows.
const CHUNK: usize = 64 * 1024;

/// How many chunks one write takes.
const SLICES: usize = 16;

/// Frames in the order in which they will be written.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    chunks: VecDeque<Chunk>,
    /// How much of the first chunk is written.
    written: usize,
    /// Not yet written, of what the session said.
    control: usize,
    /// Not yet written.
    total: usize,
}

#[derive(Debug)]
struct Chunk {
    bytes: Vec<u8>,
    is_control: bool,
}

impl Outbox {
    /// Adds frames of the session.
    pub(crate) fn push_control(&mut self, frames: Vec<u8>) {
        self.control += frames.len();
        self.push(frames, true);
    }

    /// Adds a payload.
    pub(crate) fn push_payload(&mut self, payload: Vec<u8>) {
        let header = frame::header(Kind::PAYLOAD, &payload);
        self.push(header.to_vec(), false);
        self.push(payload, false);
    }

    fn push(&mut self, bytes: Vec<u8>, is_control: bool) {
        if bytes.is_empty() {
            return;
        }
        self.total += bytes.len();
        match self.chunks.back_mut() {
            Some(last)
                if last.is_control == is_control
                    && bytes.len() <= COPIED
                    && last.bytes.len() + bytes.len() <= CHUNK =>
            {
                last.bytes.extend_from_slice(&bytes);
            }
            _ => self.chunks.push_back(Chunk { bytes, is_control }),
        }
    }

    /// How many bytes wait.
    pub(crate) fn len(&self) -> usize {
        self.total
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.total == 0
    }

    /// How many bytes of the session wait, to within a chunk.
    pub(crate) fn control_len(&self) -> usize {
        self.control
    }

    /// Writes some of what waits, and says how much. Dropping the future loses nothing.
    ///
    /// # Errors
    /// Those of the writer, and [`io::ErrorKind::WriteZero`].
    pub(crate) async fn write_some(
        &mut self,
        writer: &mut (impl AsyncWrite + Unpin),
    ) -> io::Result<usize> {
        let mut slices = [IoSlice::new(&[]); SLICES];
        let mut skip = self.written;
        let mut count = 0;
        for (slice, chunk) in slices.iter_mut().zip(&self.chunks) {
            *slice = IoSlice::new(&chunk.bytes[skip..]);
            skip = 0;
            count += 1;
        }
        let wrote = writer.write_vectored(&slices[..count]).await?;
        if wrote == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        self.advance(wrote);
        Ok(wrote)
    }

    fn advance(&mut self, mut wrote: usize) {
        self.total -= wrote;
        while wrote > 0 {
            let first = self.chunks.front().expect("no more is written than waits");
            let rest = first.bytes.len() - self.written;
            if wrote < rest {
                self.written += wrote;
                return;
            }
            wrote -= rest;
            self.written = 0;
            if first.is_control {
                self.control -= first.bytes.len();
            }
            self.chunks.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt;

    use super::*;
    use crate::frame::{Decoder, PAYLOAD_LIMIT};

    #[tokio::test]
    async fn frames_leave_in_order_through_a_narrow_pipe() {
        let mut outbox = Outbox::default();
        let mut expected = Vec::new();
        for n in 0..200_usize {
            let payload = vec![n as u8; n * n % 9000];
            expected.push((Kind::PAYLOAD, payload.clone()));
            outbox.push_payload(payload);
            if n % 3 == 0 {
                let mut frames = Vec::new();
                frame::encode(&mut frames, Kind::PING, &[n as u8; 16]);
                outbox.push_control(frames);
                expected.push((Kind::PING, vec![n as u8; 16]));
            }
        }
        let total = outbox.len();
        let (mut near, mut far) = tokio::io::duplex(1000);
        let write = async {
            let mut wrote = 0;
            while !outbox.is_empty() {
                wrote += outbox.write_some(&mut near).await.expect("a pipe");
            }
            drop(near);
            wrote
        };
        let mut bytes = Vec::new();
        let (wrote, read) = tokio::join!(write, far.read_to_end(&mut bytes));
        assert_eq!((wrote, read.expect("a pipe")), (total, total));
        assert_eq!((outbox.control_len(), outbox.chunks.len()), (0, 0));
        let mut decoder = Decoder::new();
        decoder.extend(&bytes);
        for (kind, payload) in expected {
            let frame = decoder
                .next_frame(PAYLOAD_LIMIT)
                .expect("frames")
                .expect("one more");
            assert_eq!((frame.kind, frame.payload), (kind, payload.as_slice()));
        }
    }
}
