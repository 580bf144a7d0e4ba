//! The balancer against a model of a cluster: whatever happens, it comes to an end, and all is where it
//! belongs.

#![allow(clippy::unwrap_used, reason = "a failure of a test is a panic")]

mod chaos;
mod model;
mod scenarios;
