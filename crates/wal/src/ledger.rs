//! Which segments are needed.
