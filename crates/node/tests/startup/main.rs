//! Founding, joining and recovering, on a disk that loses power.

#![allow(clippy::unwrap_used, reason = "a test ends at what it did not expect")]

mod crashes;
mod founding;
mod recovery;
mod world;
