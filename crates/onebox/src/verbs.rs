//! What a service's binary can do besides serving: run, measure and explore its specs, and tell its schema.
//!
//! Each verb writes what it has to say to standard output in one piece, and what hinders it to standard error.

pub(crate) mod against;
pub(crate) mod bench;
pub(crate) mod cluster;
pub(crate) mod desk;
pub(crate) mod examine;
pub(crate) mod explore;
pub(crate) mod report;
pub(crate) mod schema;
pub(crate) mod simulate;
pub(crate) mod spec;
mod sqlite;
pub(crate) mod terminal;
