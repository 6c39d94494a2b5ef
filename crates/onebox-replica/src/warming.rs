//! Warming: requests that wait are rehearsed on a view by another thread, so that the executor finds their rows in memory.
//!
//! It changes nothing and decides nothing. It is worth while only where the executor reads the base and a queue waits.

use std::fmt;
use std::sync::Arc;

use onebox_service::attempt::Command;
use onebox_service::execute::Context;
use onebox_service::{Budget, Service, rehearsal};
use onebox_store::state::View;

use crate::requests;

/// Requests that one job rehearses at most: a few milliseconds, after which they would be executed anyway.
pub(crate) const WARM_REQUESTS_MAX: usize = 256;
/// Points that the executor read from the base in one turn from which on warming is worth while.
pub(crate) const WARM_READS_MIN: u64 = 64;

/// Requests to be rehearsed.
pub struct WarmJob {
    pub(crate) service: Arc<dyn Service>,
    pub(crate) view: View,
    pub(crate) commands: Vec<Command>,
    pub(crate) budget: Budget,
}

impl WarmJob {
    /// Rehearses them all.
    pub fn run(self) {
        let now = self.view.position().time;
        for command in &self.commands {
            let Command::Call { tenant, method, body, .. } = command else { continue };
            // Whatever keeps a row from being read is met again, and told, by the executor.
            let Ok(Some(tenant)) = requests::tenant(&self.view, tenant) else { continue };
            let context = Context { tenant, now, seed: 0, budget: self.budget };
            rehearsal::rehearse(&*self.service, *method, body, &self.view, &context);
        }
    }
}

impl fmt::Debug for WarmJob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WarmJob").field("commands", &self.commands).finish_non_exhaustive()
    }
}
