//! Newtypes for the identifiers that a service and its platform exchange, so that two of them cannot be swapped.

use std::fmt;

/// A tenant's number. It is the first element of every key. Numbers are given once and never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TenantId(pub u64);

impl TenantId {
    /// Rows of the platform itself: tenants, sessions, retained requests.
    pub const PLATFORM: TenantId = TenantId(0);
    /// The tenant named `default`, which always exists.
    pub const DEFAULT: TenantId = TenantId(1);
}

/// A method's position in [`Schema::methods`](crate::Schema). Valid within one build only; the log stores names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MethodId(pub u16);

/// An event's number in the schema. The log stores it, so it never changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventId(pub u32);

/// Log time in microseconds since 1970-01-01T00:00:00Z. It never goes back within a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Time(pub u64);

impl Time {
    /// This time moved forward by `micros`, stopping at the end of time.
    #[must_use]
    pub fn plus_micros(self, micros: u64) -> Time {
        Time(self.0.saturating_add(micros))
    }
}

impl fmt::Display for TenantId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "tenant {}", self.0)
    }
}
