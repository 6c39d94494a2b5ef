//! The version in which a service's events are applied: the same on every replica, whatever builds they run.
//!
//! A build runs a range of versions. The one in force is a row that an entry of the log writes, so that it changes for all at
//! the same position.

use crate::keyspace::{self, PLATFORM_TABLE};
use crate::{Fault, FaultKind, Keyspace, KeyspaceMut, TenantId};

/// The version of a state that says none, and of a service that says nothing else.
pub const FIRST_VERSION: u32 = 1;

/// Index of the row in the platform's table of the platform's tenant.
const VERSION_INDEX: u32 = 7;

fn key() -> Vec<u8> {
    keyspace::key(TenantId::PLATFORM, PLATFORM_TABLE, VERSION_INDEX, &())
}

/// The version in force.
///
/// # Errors
/// The fault of reading its row.
pub fn in_force(space: &dyn Keyspace) -> Result<u32, Fault> {
    let Some(value) = space.get(&key())? else { return Ok(FIRST_VERSION) };
    let version = value[..].try_into().map(u32::from_be_bytes);
    version.map_err(|_| Fault::new(FaultKind::Damage, "read", "base.redb", "the version in force is not 4 bytes"))
}

/// Puts a version in force.
///
/// # Errors
/// The fault met while reading what was there before.
pub fn put_in_force(space: &mut dyn KeyspaceMut, version: u32) -> Result<(), Fault> {
    space.put(&key(), &version.to_be_bytes())
}
