//! A replica that finds its state to be another than that of an entry's writer: memory failed here or there, or code that is not the
//! same everywhere.
//!
//! It applies nothing more, does not campaign and gives nobody a snapshot, but goes on persisting what is sent to it, so that the
//! partition loses no voter; and it fetches the leader's state, if a majority has computed what the leader has. If a majority has not,
//! the leader stops: the log says what only its writer computed, and which of them is right is for a person to see.

use std::collections::BTreeMap;

use onebox_store::LogIndex;

use crate::effect::{Note, Stop};
use crate::membership::{Membership, PeerId};
use crate::peer::Fetch;
use crate::replica::Replica;

/// Ticks without a row from anybody after which a diverged replica starts again on its own base and log.
const HELPLESS_TICKS_MAX: u64 = 100;

/// What is known of it, here and at peers.
#[derive(Debug, Default)]
pub(crate) struct Divergence {
    /// The entry at which this replica's state is another.
    at: Option<LogIndex>,
    /// When it diverged, or was last given rows, in ticks.
    helped_at: u64,
    /// The peers that told this leader that they diverged, and at which entry.
    others: BTreeMap<PeerId, LogIndex>,
}

impl Divergence {
    /// The entry at which this replica diverged, if it did.
    pub(crate) fn at(&self) -> Option<LogIndex> {
        self.at
    }

    pub(crate) fn helped(&mut self, ticks: u64) {
        self.helped_at = ticks;
    }

    /// Leadership is lost: they tell the next leader.
    pub(crate) fn forget_others(&mut self) {
        self.others.clear();
    }
}

/// Whether most of the voters doubt, before or after a change of them.
fn most_doubt(members: &Membership, doubts: impl Fn(PeerId) -> bool) -> bool {
    let of = |voters: &[u64]| voters.iter().filter(|voter| doubts(PeerId(**voter))).count() > voters.len() / 2;
    of(&members.voters) || of(&members.voters_outgoing)
}

impl Replica {
    /// What follows from an entry that left another state here. A replica with peers waits for theirs.
    ///
    /// # Errors
    /// The stop, where there is nobody to ask.
    pub(crate) fn diverged(&mut self, at: LogIndex, what: String) -> Result<(), Stop> {
        if self.consensus.is_alone() {
            return Err(Stop::Diverged { at, what });
        }
        self.divergence.at = Some(at);
        self.divergence.helped(self.ticks);
        self.hollow = true;
        self.replaying = false;
        self.consensus.become_hollow();
        self.snapshots.forget();
        self.effects.notes.push(Note::Diverged { at, what });
        self.want_snapshot(at);
        Ok(())
    }

    /// Once a tick: a diverged replica lets another lead, and does not wait for ever for the rows of one that does.
    pub(crate) fn tend_divergence(&mut self) {
        if self.divergence.at.is_none() {
            return;
        }
        if self.consensus.leader() == Some(self.consensus.id())
            && let Some(successor) = self.consensus.best_successor(|peer| !self.has_diverged(peer))
        {
            // Asked again at the next tick, if it does not come to it.
            let _ = self.consensus.transfer_leadership(successor);
        }
        if self.ticks - self.divergence.helped_at > HELPLESS_TICKS_MAX {
            self.stop(Stop::Reopen);
        }
    }

    /// Whether a peer diverged and has yet to get beyond that, as far as this leader was told.
    pub(crate) fn has_diverged(&self, peer: PeerId) -> bool {
        self.divergence.others.get(&peer).is_some_and(|at| self.confirming.applied_by(peer) < *at)
    }

    /// Whether a peer that asks for rows may have them: while one member's state is another at an entry, nobody may, until a majority
    /// has what is here.
    pub(crate) fn may_have_rows(&mut self, peer: PeerId, fetch: &Fetch) -> bool {
        if self.hollow {
            return false;
        }
        if fetch.diverged_at > 0 {
            self.divergence.others.insert(peer, LogIndex(fetch.diverged_at));
        }
        let members = self.consensus.membership();
        let own = (self.consensus.id(), self.consensus.progress().0);
        let agreed = self.confirming.applied_by_majority(own, members);
        let doubts = |peer| self.has_diverged(peer) && self.divergence.others.get(&peer).is_some_and(|at| *at > agreed);
        if !members.peers().into_iter().any(doubts) {
            return true;
        }
        if most_doubt(members, doubts) && self.consensus.leads() {
            self.stop(Stop::Outvoted { at: LogIndex(fetch.diverged_at) });
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_who_doubt_are_counted_in_both_halves() {
        let mut members = Membership::of_voters([1, 2, 3].map(PeerId));
        let doubt = |members: &Membership, doubters: &[u64]| most_doubt(members, |peer| doubters.contains(&peer.0));
        assert!(!doubt(&members, &[2]));
        assert!(!doubt(&members, &[2, 9]), "who is no voter does not count");
        assert!(doubt(&members, &[2, 3]));
        members.voters_outgoing = vec![1, 2];
        assert!(!doubt(&members, &[2]), "of two, one is not most: it waits until a third can tell");
        members.voters_outgoing = vec![2];
        assert!(doubt(&members, &[2]));
    }
}
