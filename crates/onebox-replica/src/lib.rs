//! The pure heart of a partition: inputs go in, and what they come to is done in its one order by
//! [`take_turn`](turn::take_turn).
//!
//! It knows no clock, thread, socket, file or async runtime: time and entropy come in with inputs, the disk is a
//! trait, and whatever takes long is a [`Job`](effect::Job) that somebody else runs. Byte layouts are in FORMAT.md,
//! beside this crate's manifest.
//!
//! Reading order: [`input`], [`effect`], [`turn`], [`replica`], then the parts it stands on.

mod admission;
mod background;
mod clock;
mod committing;
mod confirming;
mod consensus;
mod divergence;
pub mod effect;
pub mod entry;
mod execution;
mod handover;
pub mod input;
pub mod limits;
mod members;
pub mod membership;
mod opening;
pub mod peer;
mod reads;
pub mod replica;
mod requests;
mod rows;
mod skew;
mod snapshots;
pub mod turn;
mod upgrades;
pub mod warming;

pub use committing::AppliedEntry;
pub use confirming::Confirm;
pub use consensus::PersistBatch;
pub use effect::{Job, JobDone, Note, Query, Stop};
pub use execution::{Ended, Execution};
pub use input::{Clock, Consistency, Input, Read, Token};
pub use limits::Limits;
pub use membership::{Change, Membership, PeerId};
pub use peer::PeerMessage;
pub use replica::{Beginning, Replica, Setup, Status};
pub use requests::{absent_tenant, tenant};
