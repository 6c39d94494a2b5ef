//! What the benchmarks share: a replica on one thread.

pub mod world;
