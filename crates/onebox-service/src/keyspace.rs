//! Ordered keys to bytes: the one shape in which all state is held.
//!
//! A key is a flat tuple, packed so that bytes sort as the values do: tenant, table, index, then the key's fields.
//! Index 0 of a table holds its rows; index n holds the entries of its n-th index.

use std::ops::ControlFlow;
use std::sync::Arc;

use foundationdb_tuple::TuplePack;

use crate::{Fault, TenantId};

/// Immutable shared bytes of a key or a row.
pub type Bytes = Arc<[u8]>;

/// Table 0 belongs to the platform in every tenant; a schema's tables start at 1.
pub const PLATFORM_TABLE: u32 = 0;

/// Receives one row of a scan: key and value. `Break` ends the scan.
pub type EachRow<'a> = dyn FnMut(&[u8], &[u8]) -> ControlFlow<()> + 'a;

/// A readable state: one consistent instant.
pub trait Keyspace {
    /// The value at `key`, or `None`.
    ///
    /// # Errors
    /// The fault that kept the row from being read. Never `Ok(None)` for a row that is there but damaged.
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, Fault>;

    /// Calls `each` with every row of `from <= key < to`, ascending by key.
    ///
    /// # Errors
    /// The fault at which the scan ended; rows before it were delivered.
    fn scan(&self, from: &[u8], to: &[u8], each: &mut EachRow<'_>) -> Result<(), Fault>;
}

/// A state that the one writer may change.
pub trait KeyspaceMut: Keyspace {
    /// Writes a row, whether or not one is there.
    ///
    /// # Errors
    /// The fault met while reading what was there before.
    fn put(&mut self, key: &[u8], value: &[u8]) -> Result<(), Fault>;

    /// Removes a row, if it is there.
    ///
    /// # Errors
    /// The fault met while reading what was there before.
    fn delete(&mut self, key: &[u8]) -> Result<(), Fault>;
}

/// Appends the head that every key of `index` of `table` of `tenant` has.
pub fn pack_head(tenant: TenantId, table: u32, index: u32, out: &mut Vec<u8>) {
    pack_onto(&(tenant.0, table, index), out);
}

/// Appends a packed value or tuple; a tuple's elements are appended flat.
pub fn pack_onto<T: TuplePack>(value: &T, out: &mut Vec<u8>) {
    // Packing into a vector cannot fail; only versionstamps could, and keys have none.
    let _ = foundationdb_tuple::pack_into(value, out);
}

/// A whole key: head, then the fields.
pub fn key<T: TuplePack>(tenant: TenantId, table: u32, index: u32, fields: &T) -> Vec<u8> {
    let mut out = Vec::with_capacity(32);
    pack_head(tenant, table, index, &mut out);
    pack_onto(fields, &mut out);
    out
}

/// The first key that is greater than every key starting with `prefix`, in place.
/// Packed elements never start with 0xff, so one such byte is enough.
pub fn end_of_prefix(mut prefix: Vec<u8>) -> Vec<u8> {
    prefix.push(0xff);
    prefix
}
