//! Frames.

/// The most bytes that the payload of a frame may have.
pub const PAYLOAD_LIMIT: usize = 16 * 1024 * 1024;
