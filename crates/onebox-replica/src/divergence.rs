//! A replica that finds its state to be another than that of an entry's writer: memory failed here or there, or code that is not the
//! same everywhere.
//!
//! It applies nothing more, does not campaign and gives nobody a snapshot, but goes on persisting what is sent to it, so that the
//! partition loses no voter; and it asks for the leader's state, which it is given once a majority has it. If nobody gives it any for
//! long, it starts again on its own base and log, unless it diverged on those and there is a leader. If most voters differ from it, the leader
//! stops: the log says what only its writer computed, and which of them is right is for a person to see.
//!
//! A member that joined since, on the leader's snapshot, counts as having what the leader has.

use std::collections::BTreeMap;

use onebox_store::LogIndex;

use crate::effect::{Note, Stop};
use crate::membership::{Membership, PeerId};
use crate::peer::Fetch;
use crate::replica::Replica;
use crate::snapshots::ASK_AGAIN_TICKS;

/// Ticks without a row from anybody after which a diverged replica starts again on its own base and log.
const HELPLESS_TICKS_MAX: u64 = 100;
/// Ticks for which a peer that asked because it diverged is taken to be so still.
const ASKED_LATELY_TICKS: u64 = 3 * ASK_AGAIN_TICKS;

/// What is known of it, here and at peers.
#[derive(Debug, Default)]
pub(crate) struct Divergence {
    /// The entry at which this replica's state is another.
    at: Option<LogIndex>,
    /// Its memory may be at fault alone: it had not diverged on what its base and log gave it at the start.
    may_start_again: bool,
    /// When it diverged, or was last helped by rows, in ticks.
    helped_at: u64,
    /// The peers that asked this replica because they diverged: at which entry, and when they last asked, in ticks.
    others: BTreeMap<PeerId, (LogIndex, u64)>,
}

impl Divergence {
    /// The entry at which this replica diverged, if it did.
    pub(crate) fn at(&self) -> Option<LogIndex> {
        self.at
    }

    pub(crate) fn helped(&mut self, ticks: u64) {
        self.helped_at = ticks;
    }

    /// The role is another: they tell the next leader.
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
        self.divergence.may_start_again = !self.replaying;
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
            && let Some(successor) = self.consensus.best_successor(|peer| self.may_be_given_leadership(peer))
        {
            // Asked again at the next tick, if it does not come to it.
            let _ = self.consensus.transfer_leadership(successor);
        }
        if self.snapshots.is_writing() {
            self.divergence.helped(self.ticks);
        }
        // Without a leader it may be this replica's log that the others lack, and it must be able to campaign.
        let worth_it = self.divergence.may_start_again || !self.consensus.hears_leader();
        if worth_it && self.ticks - self.divergence.helped_at > HELPLESS_TICKS_MAX {
            self.stop(Stop::Reopen);
        }
    }

    /// Whether a peer diverged, as far as this replica was told lately.
    pub(crate) fn has_diverged(&self, peer: PeerId) -> bool {
        self.divergence.others.get(&peer).is_some_and(|(_, asked)| self.ticks - asked <= ASKED_LATELY_TICKS)
    }

    /// Whether a peer that asks for rows may have them: one that diverged only once a majority has what is here.
    pub(crate) fn may_have_rows(&mut self, peer: PeerId, fetch: &Fetch) -> bool {
        if self.hollow || fetch.diverged_at == 0 {
            return !self.hollow;
        }
        let at = LogIndex(fetch.diverged_at);
        self.divergence.others.insert(peer, (at, self.ticks));
        let members = self.consensus.membership();
        let own = (self.consensus.id(), self.consensus.progress().0);
        let agreed = self.confirming.applied_by_majority(own, members);
        let doubts = |peer| self.has_diverged(peer) && self.divergence.others.get(&peer).is_some_and(|(at, _)| *at > agreed);
        if agreed < at && self.consensus.leads() && most_doubt(members, doubts) {
            self.stop(Stop::Outvoted { at });
        }
        agreed >= at
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
