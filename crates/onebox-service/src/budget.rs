//! The work that one request may do. Exceeding it ends the request with RESOURCE_EXHAUSTED and changes nothing.

use std::cell::Cell;

use crate::{Code, Refusal};

/// How much of each resource one request may use. The platform's numbers stand in the replica's `limits.rs`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Budget {
    /// Point reads.
    pub rows_read_max: u32,
    /// Rows and index entries written or removed.
    pub rows_written_max: u32,
    /// Rows stepped over by scans.
    pub scan_steps_max: u32,
    /// Bytes of rows read and written, of events recorded and of the answer.
    pub bytes_max: u32,
    /// Events recorded.
    pub events_max: u32,
    /// Bytes of the longest key that may be written: names and codes in keys are counted here.
    pub key_bytes_max: u32,
}

/// One of the budget's resources.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resource {
    /// See [`Budget::rows_read_max`].
    RowsRead,
    /// See [`Budget::rows_written_max`].
    RowsWritten,
    /// See [`Budget::scan_steps_max`].
    ScanSteps,
    /// See [`Budget::bytes_max`].
    Bytes,
    /// See [`Budget::events_max`].
    Events,
}

impl Resource {
    fn name(self) -> &'static str {
        match self {
            Resource::RowsRead => "rows read",
            Resource::RowsWritten => "rows written",
            Resource::ScanSteps => "rows scanned",
            Resource::Bytes => "bytes read and written",
            Resource::Events => "events recorded",
        }
    }

    fn max(self, budget: &Budget) -> u32 {
        match self {
            Resource::RowsRead => budget.rows_read_max,
            Resource::RowsWritten => budget.rows_written_max,
            Resource::ScanSteps => budget.scan_steps_max,
            Resource::Bytes => budget.bytes_max,
            Resource::Events => budget.events_max,
        }
    }
}

/// What has been used of a budget so far.
#[derive(Debug)]
pub(crate) struct Meter {
    budget: Budget,
    used: [Cell<u32>; 5],
}

impl Meter {
    pub(crate) fn new(budget: Budget) -> Meter {
        Meter { budget, used: Default::default() }
    }

    /// Refuses a key that is too long to be written.
    pub(crate) fn key(&self, bytes: usize) -> Result<(), Refusal> {
        let max = self.budget.key_bytes_max;
        if bytes <= max as usize {
            return Ok(());
        }
        let sentence = format!("a name or code in the request is too long: it makes a key of {bytes} bytes, {max} are allowed");
        Err(Refusal::platform(Code::InvalidArgument, sentence))
    }

    /// Takes `amount` of `resource`, or gives the refusal that ends the request.
    pub(crate) fn take(&self, resource: Resource, amount: usize) -> Result<(), Refusal> {
        let used = &self.used[resource as usize];
        let now = used.get().saturating_add(u32::try_from(amount).unwrap_or(u32::MAX));
        used.set(now);
        let max = resource.max(&self.budget);
        if now <= max {
            return Ok(());
        }
        let sentence = format!("the request needs more than {max} {}; ask for less at once", resource.name());
        Err(Refusal::platform(Code::ResourceExhausted, sentence))
    }
}
