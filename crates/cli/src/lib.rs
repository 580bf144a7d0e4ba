//! What the `piccolo` command does as a client: the load generator.

pub mod bench;
