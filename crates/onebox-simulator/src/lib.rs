//! The simulator: a whole cluster with the author's real service, on one thread, in virtual time, under faults,
//! reproducibly.
//!
//! What runs in a machine is what runs in production: replica, log, state, client, `turn`. Only the world is made here:
//! network, disks, clocks, processes, callers. A seed decides everything; [`run`] gives a [`Report`].
//!
//! Reading order: [`workload`], [`faults`], `plan`, `world`, `judge` and `checks`.

pub mod chance;
mod checks;
mod desk;
pub mod drawing;
pub mod faults;
mod folder;
mod gateway;
mod housekeeping;
mod judge;
pub mod lanes;
pub mod linearizability;
mod machine;
mod network;
pub mod panics;
mod partition;
mod phases;
mod plan;
mod processes;
pub mod register;
pub mod shrink;
pub mod specs;
mod strike;
pub mod timeline;
mod traffic;
pub mod workload;
mod world;

pub use chance::Chance;
pub use checks::{Broken, Verdict};
pub use faults::{FAULTS, Fault, Injection};
pub use onebox_replica::entry::Record;
pub use plan::{Options, PARTITIONS_MAX};
pub use workload::{Ask, Ended, Operation, Workload};
pub use world::{Report, run};
