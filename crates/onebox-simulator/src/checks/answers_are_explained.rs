//! There is an order of a run's operations that explains every answer; and what the service itself promises holds.

use std::borrow::Cow;

use onebox_replica::Consistency;

use super::Breach;
use crate::workload::{Operation, Workload};

pub(crate) fn at_the_end(workload: &dyn Workload, operations: &[Operation]) -> Result<u64, Breach> {
    let mut judged = Cow::Borrowed(operations);
    if operations.iter().any(|operation| operation.consistency != Consistency::Linearizable) {
        judged.to_mut().retain(|operation| operation.consistency == Consistency::Linearizable);
    }
    workload.explains(&judged).map_err(|words| ("answers are linearizable", words))
}
