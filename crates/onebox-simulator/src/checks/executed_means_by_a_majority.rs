//! Where an answer waits until a majority has applied its entry, a majority has.

use std::collections::BTreeMap;

use onebox_replica::PeerId;
use onebox_service::attempt::RequestId;
use onebox_store::LogIndex;

use super::Breach;
use super::requests_take_effect_once::Effects;

const PROMISE: &str = "executed means by a majority";

/// The last entry that each replica has applied, or had in the state that it began with.
#[derive(Debug, Default)]
pub(crate) struct Applied(BTreeMap<PeerId, LogIndex>);

impl Applied {
    pub(crate) fn applied(&mut self, who: PeerId, at: LogIndex) {
        let last = self.0.entry(who).or_default();
        *last = (*last).max(at);
    }

    /// A client was told that its request was carried out.
    pub(crate) fn told(&self, id: RequestId, voters: &[u64], effects: &Effects) -> Result<(), Breach> {
        let Some(at) = effects.entry(id.session, id.sequence) else { return Ok(()) };
        let has_applied = |voter: &&u64| self.0.get(&PeerId(**voter)).is_some_and(|applied| *applied >= at);
        let by = voters.iter().filter(has_applied).count();
        if by > voters.len() / 2 {
            return Ok(());
        }
        Err((PROMISE, format!("request {id} is in entry {at}, which {by} of {} had applied when its client was told", voters.len())))
    }
}
