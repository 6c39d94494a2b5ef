//! The shell around the pure crates: threads, files, sockets, clocks, settings.
//!
//! One executor thread per partition runs the replica; a thread writes the log, one does background jobs, a few answer
//! reads. Nothing here decides anything about requests: inputs go in, effects are carried out as
//! [`onebox_replica::turn`] orders them.
//!
//! Reading order: `node` (start and stop), `seats` (what is on the disk), `partition` (the threads), `link` (callers and their answers), `door` (the
//! gateway's way in), `partitions` (which one a tenant is of), `peers` (the other nodes), `cluster` (belonging to one), `folder` (the disk), `claim` (one process
//! per data directory), `settings`.

mod claim;
mod cluster;
mod door;
pub mod folder;
mod identity;
mod link;
mod look;
mod node;
pub mod operate;
mod partition;
mod partitions;
mod peers;
mod queries;
mod seats;
mod settings;
mod tokens;

pub use onebox_gateway::{SpecAnswers, SpecAsk, SpecForm};

pub use cluster::{Begun, init};
pub use look::look;
pub use node::{Exit, StartError, serve};
pub use peers::tls::PeerTls;
pub use settings::{LogFormat, SETTINGS, SettingDoc, Settings, SettingsError};
