//! What a replica keeps on its disk: the log, which is the truth, and the state, which follows from it.
//!
//! Everything stands on the [`disk::Disk`] trait. This crate knows no clock, thread, socket or async runtime, and no
//! file but through that trait. Byte layouts are in FORMAT.md, beside this crate's manifest.

pub mod disk;
pub mod log;
pub mod memory;
pub mod names;
pub mod state;

pub use disk::{Disk, DiskFile, OpenMode};
pub use names::{LogIndex, NodeId, Term};
