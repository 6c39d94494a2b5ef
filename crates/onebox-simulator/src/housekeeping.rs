//! The membership, tended as a careful operator would.

use std::collections::BTreeMap;

use onebox_replica::{Change, Input, PeerId};

use crate::timeline::{Place, What};
use crate::world::{Event, World};

/// Microseconds between two looks at the membership.
pub(crate) const HOUSEKEEPING: u64 = 250_000;

impl World<'_> {
    /// Tends the membership as a careful operator would: whoever is there becomes a voter, whoever is gone goes.
    pub(crate) fn housekeeping(&mut self) {
        self.at(self.now + HOUSEKEEPING, Event::Housekeeping);
        let Some(leader) = self.leader() else { return };
        let members = self.machines[leader].process.as_ref().expect("it leads").replica.membership().clone();
        if members.is_joint() {
            return;
        }
        let there: BTreeMap<u64, bool> = self.machines.iter().map(|machine| (machine.id().0, machine.process.is_some())).collect();
        let change = there
            .iter()
            .find(|(id, up)| **up && !members.peers().contains(&PeerId(**id)))
            .map(|(id, _)| Change::AddLearner(PeerId(*id)))
            .or_else(|| members.learners.iter().find(|id| there.contains_key(id)).map(|id| Change::Promote(PeerId(*id))))
            .or_else(|| members.peers().into_iter().find(|id| !there.contains_key(&id.0)).map(Change::Remove));
        if let Some(change) = change {
            self.timeline.add(self.now, Place::Machine(leader), What::Note(format!("asked for {change:?}")));
            self.asked(leader, |token| Input::Change(token, change));
        }
    }
}
