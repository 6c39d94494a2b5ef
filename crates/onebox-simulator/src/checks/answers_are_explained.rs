//! There is an order of a run's operations that explains every answer; and what the service itself promises holds.

use super::Breach;
use crate::workload::{Operation, Workload};

pub(crate) fn at_the_end(workload: &dyn Workload, operations: &[Operation]) -> Result<u64, Breach> {
    workload.explains(operations).map_err(|words| ("answers are linearizable", words))
}
