//! The inventory service on a disk that loses power, rots, fails and fills up: what was acknowledged stays, once.
//!
//! Replica, log, state and service are the real ones, on one thread; only the world around them is made here. Every
//! choice is drawn from a seed, so a failure is replayed with the line that it prints.

mod bounds;
mod chance;
mod client;
mod damage;
mod deadlines;
mod determinism;
mod faults;
mod history;
mod interleave;
mod machine;
mod power_loss;
mod scene;
mod tally;
mod workload;
mod world;
