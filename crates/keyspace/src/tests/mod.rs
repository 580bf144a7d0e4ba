//! Tests of the keyspace as a whole, beside those of its modules.

mod behaviour;
mod collections;
mod lists;
mod model;
mod operations;
mod snapshots;
mod sorted_sets;
mod streams;
