//! The membership, tended as a careful operator would.

use std::collections::BTreeMap;

use onebox_replica::{Change, Input, PeerId};

use crate::machine::{Build, Machine, SeatId};
use crate::timeline::What;
use crate::world::{Event, Phase, World};

/// Microseconds after which everybody has heard which build a node runs.
const BUILD_KNOWN: u64 = 3_000_000;
/// Microseconds between two looks at the membership.
pub(crate) const HOUSEKEEPING: u64 = 250_000;

impl World {
    /// Tends the membership as a careful operator would: whoever is there becomes a voter, whoever is gone goes.
    pub(crate) fn housekeeping(&mut self) {
        self.at(self.now + HOUSEKEEPING, Event::Housekeeping);
        (0..self.partitions.len()).for_each(|partition| self.tend_the_members(partition));
    }

    fn tend_the_members(&mut self, partition: usize) {
        let Some(leader) = self.leader(partition) else { return };
        self.tend_the_version(leader);
        let members = self.machines[leader.machine].seat(partition).expect("it leads").replica.membership().clone();
        if members.is_joint() {
            return;
        }
        let comes_in = |machine: &Machine| machine.process.is_some() && machine.out_until <= self.now;
        let there: BTreeMap<u64, bool> = self.machines.iter().map(|machine| (machine.id().0, comes_in(machine))).collect();
        let change = there
            .iter()
            .find(|(id, comes_in)| **comes_in && !members.contains(PeerId(**id)))
            .map(|(id, _)| Change::AddLearner(PeerId(*id)))
            .or_else(|| members.learners.iter().find(|id| there.contains_key(id)).map(|id| Change::Promote(PeerId(*id))))
            .or_else(|| members.peers().into_iter().find(|id| !there.contains_key(&id.0)).map(Change::Remove));
        if let Some(change) = change {
            let place = self.place(leader);
            self.timeline.add(self.now, place, What::Note(format!("asked for {change:?}")));
            self.asked(leader, |token| Input::Change(token, change));
        }
    }

    /// The newest version of apply is asked for when all machines run the next build; and now and then when one does not, which must
    /// be refused.
    fn tend_the_version(&mut self, leader: SeatId) {
        if !self.plan.upgrades {
            return;
        }
        let build = |machine: &Machine| machine.process.as_ref().map(|process| (process.build, process.started, machine.id().0));
        let none_goes_back = self.machines.iter().all(|machine| machine.build == Build::Next);
        let builds: Vec<_> = self.machines.iter().filter_map(build).collect();
        let all = none_goes_back && builds.len() == self.machines.len() && builds.iter().all(|(build, ..)| *build == Build::Next);
        let is_old = |(build, started, id): &(Build, u64, u64)| {
            // For a while the others may still take it for what it was.
            *build == Build::Before && self.now - started > BUILD_KNOWN && self.partitions[leader.partition].members.1.voters.contains(id)
        };
        let one_is_old = builds.iter().any(is_old);
        let healing = self.phase != Phase::Faults;
        if (all && (healing || self.chance.once_in(16))) || (one_is_old && self.chance.once_in(8)) {
            self.activating |= all;
            self.asked(leader, Input::Activate);
        }
    }
}
