//! One partition of the cluster, as the world knows it: its members, its clients' operations, and who judges it.
//!
//! Partitions share machines, with their disks, clocks and power, and the links between them; nothing else.

use onebox_replica::Membership;
use onebox_service::execute::{self, Context};
use onebox_service::{Budget, Failure, TenantId};
use onebox_store::LogIndex;
use onebox_store::state::View;

use crate::checks::Breach;
use crate::judge::Judge;
use crate::workload::{Operation, Workload};

pub(crate) struct Partition {
    /// The members as of the latest entry that said so.
    pub(crate) members: (LogIndex, Membership),
    pub(crate) workload: Box<dyn Workload>,
    pub(crate) operations: Vec<Operation>,
    pub(crate) judge: Judge,
    pub(crate) answered_since_healing: bool,
    /// The latest position of which a client was told.
    pub(crate) told: LogIndex,
}

impl Partition {
    pub(crate) fn new(members: Membership, workload: Box<dyn Workload>) -> Partition {
        let mut judge = Judge::default();
        judge.executed.members(members.clone());
        Partition {
            members: (LogIndex(0), members),
            workload,
            operations: Vec::new(),
            judge,
            answered_since_healing: false,
            told: LogIndex(0),
        }
    }

    /// What the service promises of a state that readers see.
    pub(crate) fn holds(&self, view: &View, budget: Budget) -> Result<(), Breach> {
        let budget = Budget { rows_read_max: u32::MAX, scan_steps_max: u32::MAX, bytes_max: u32::MAX, ..budget };
        let context = Context { tenant: TenantId::DEFAULT, now: view.position().time, seed: 0, budget };
        let held = match execute::look(view, &context, |reader| self.workload.holds(reader)) {
            Ok(holds) => holds,
            Err(Failure::Fault(_)) => Ok(()),
            Err(Failure::Bug(what)) => Err(what),
            Err(Failure::Refused(refusal)) => Err(refusal.message),
        };
        held.map_err(|words| ("what the service promises", words))
    }
}
