//! A whole cluster in one thread, from one seed.
//!
//! The parts of a node that decide ([`node`], [`shard`], [`wal`], [`peer`]'s sessions and hub) run as they
//! ship. What lies around them is simulated: [`clock`], [`network`], the disk ([`wal::testing`]), and in
//! [`process`] what threads and sockets do. [`world`] puts processes on machines, lets clients ask and faults
//! happen, and takes one event after the other. So a run is a function of its [`plan`], and a plan of its
//! seed: whatever was seen once can be seen again, and made [shorter](shrink).
//!
//! What must hold is in [`invariants`]; what clients were told is judged by [`linearizability`]. Some nodes are of the
//! [next version](newer). That all this
//! sees what it should is shown by bugs that are [`planted`].
//!
//! What cannot go wrong here, because it cannot where nodes run:
//!
//! - Bytes of a connection are not dropped, doubled or reordered: TCP does not let them. What it does let
//!   happen does: they come late, are held for as long as a link is blocked, and a connection that ends
//!   loses what was under way. Within a connection only Raft's messages meet [`fault::Fault::Noise`], since
//!   Raft must bear it, and since a queue that is full drops some. A forwarded command is never doubled: that
//!   the network would do so is one of the planted bugs.
//! - Sectors are not torn, and what a sync covered is not lost unless it rots ([`wal::testing`]).
//! - Monotonic clocks do not go back. No clock runs more than half as fast again as another: leases are laid
//!   out for that much.
//! - No majority of the disks of a shard is lost at once: nothing is promised then.
//!
//! What it leaves out: threads and locks (`cluster`), the Redis protocol (`server`), real disks and sockets.
//! They are tested by killing real processes.

pub mod chance;
pub mod clock;
pub mod fault;
pub mod history;
pub mod history_file;
pub mod invariants;
pub mod linearizability;
pub mod network;
pub mod newer;
pub mod op;
pub mod plan;
pub mod planted;
pub mod process;
pub mod queue;
pub mod register;
pub mod run;
pub mod scene;
pub mod shrink;
pub mod world;
