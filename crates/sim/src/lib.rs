//! A whole cluster in one thread, from one seed.

pub mod chance;
pub mod clock;
pub mod fault;
pub mod history;
pub mod history_file;
pub mod linearizability;
pub mod network;
pub mod op;
pub mod plan;
pub mod queue;
pub mod register;
