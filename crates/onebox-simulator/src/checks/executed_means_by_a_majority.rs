//! Where an answer waits until a majority has applied its entry, a majority has.

use std::collections::{BTreeMap, VecDeque};

use onebox_replica::{Membership, PeerId};
use onebox_service::attempt::RequestId;
use onebox_store::LogIndex;

use super::Breach;
use super::requests_take_effect_once::Effects;

const PROMISE: &str = "executed means by a majority";

/// Memberships that may have been the leader's when it let an answer go that has just arrived: changes take long against answers.
const MEMBERSHIPS_KEPT: usize = 4;

/// The last entry that each replica has applied, or had in the state that it began with.
#[derive(Debug, Default)]
pub(crate) struct Applied {
    last: BTreeMap<PeerId, LogIndex>,
    memberships: VecDeque<Membership>,
}

impl Applied {
    pub(crate) fn applied(&mut self, who: PeerId, at: LogIndex) {
        let last = self.last.entry(who).or_default();
        *last = (*last).max(at);
    }

    /// The members are others.
    pub(crate) fn members(&mut self, members: Membership) {
        self.memberships.push_back(members);
        if self.memberships.len() > MEMBERSHIPS_KEPT {
            self.memberships.pop_front();
        }
    }

    /// A client was told that its request was carried out.
    pub(crate) fn told(&self, id: RequestId, key: Option<&str>, effects: &Effects) -> Result<(), Breach> {
        let Some((at, _)) = effects.of(id, key) else { return Ok(()) };
        let has_applied = |voter: &&u64| self.last.get(&PeerId(**voter)).is_some_and(|applied| *applied >= at);
        let majority = |voters: &[u64]| voters.is_empty() || voters.iter().filter(has_applied).count() > voters.len() / 2;
        if self.memberships.iter().any(|members| majority(&members.voters) && majority(&members.voters_outgoing)) {
            return Ok(());
        }
        Err((PROMISE, format!("request {id} is in entry {at}, which no majority had applied when its client was told: {:?}", self.last)))
    }
}
