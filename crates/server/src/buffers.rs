//! Buffers that the connections of one core share, so that an idle connection holds none.

use std::cell::RefCell;

use cluster::Commands;

use crate::batch::Batch;

/// A connection starts to read into this much.
const INPUT_BYTES: usize = 16 << 10;
/// Larger buffers are not kept.
const KEPT_BYTES: usize = 256 << 10;
/// At most this many of each kind are kept.
const KEPT: usize = 64;

/// Buffers that no connection uses right now.
#[derive(Default)]
pub(crate) struct Buffers {
    bytes: RefCell<Vec<Vec<u8>>>,
    commands: RefCell<Vec<Commands>>,
    batches: RefCell<Vec<Batch>>,
    args: RefCell<Vec<&'static [u8]>>,
}

impl Buffers {
    /// An empty buffer with some capacity.
    pub(crate) fn take(&self) -> Vec<u8> {
        let kept = self.bytes.borrow_mut().pop();
        kept.unwrap_or_else(|| Vec::with_capacity(INPUT_BYTES))
    }

    /// Gives a buffer back, whatever it holds.
    pub(crate) fn give(&self, mut buffer: Vec<u8>) {
        let mut kept = self.bytes.borrow_mut();
        if (1..=KEPT_BYTES).contains(&buffer.capacity()) && kept.len() < KEPT {
            buffer.clear();
            kept.push(buffer);
        }
    }

    /// No commands, with memory for some.
    pub(crate) fn take_commands(&self) -> Commands {
        self.commands.borrow_mut().pop().unwrap_or_default()
    }

    /// Gives commands back that were cleared.
    pub(crate) fn give_commands(&self, commands: Commands) {
        debug_assert!(commands.is_empty());
        let mut kept = self.commands.borrow_mut();
        if kept.len() < KEPT {
            kept.push(commands);
        }
    }

    /// An empty batch for a cluster of so many shards.
    pub(crate) fn take_batch(&self, shards: u32) -> Batch {
        let mut batch = self.batches.borrow_mut().pop().unwrap_or_default();
        batch.prepare(shards);
        batch
    }

    /// Gives a batch back that is empty.
    pub(crate) fn give_batch(&self, batch: Batch) {
        debug_assert!(batch.is_empty());
        let mut kept = self.batches.borrow_mut();
        if kept.len() < KEPT {
            kept.push(batch);
        }
    }

    /// The vector that arguments are parsed into.
    pub(crate) fn take_args(&self) -> Vec<&'static [u8]> {
        self.args.take()
    }

    /// Gives it back, emptied.
    pub(crate) fn give_args(&self, args: Vec<&[u8]>) {
        let args = resp::recycle(args);
        if args.capacity() <= KEPT_BYTES / size_of::<&[u8]>() {
            self.args.replace(args);
        }
    }
}
