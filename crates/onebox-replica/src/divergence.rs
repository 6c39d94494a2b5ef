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

/// Ticks without a leader after which a diverged replica starts again on its own base and log.
const LEADERLESS_TICKS_MAX: u64 = 200;

/// What is known of it, here and at peers.
#[derive(Debug, Default)]
pub(crate) struct Divergence {
    /// The entry at which this replica's state is another.
    at: Option<LogIndex>,
    /// When a leader was last known to it, in ticks.
    led_at: u64,
    /// The peers whose state was another than this leader's, and from which entry on.
    doubters: BTreeMap<PeerId, LogIndex>,
}

impl Divergence {
    /// The entry at which this replica diverged, if it did.
    pub(crate) fn at(&self) -> Option<LogIndex> {
        self.at
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
        self.divergence.led_at = self.ticks;
        self.hollow = true;
        self.replaying = false;
        self.consensus.become_hollow();
        self.snapshots.forget();
        self.effects.notes.push(Note::Diverged { at, what });
        self.want_snapshot(at);
        Ok(())
    }

    /// Once a tick: a diverged replica lets another lead, and does not wait for ever for one that does.
    pub(crate) fn tend_divergence(&mut self) {
        if self.divergence.at.is_none() {
            return;
        }
        match self.consensus.leader() {
            Some(leader) if leader == self.consensus.id() => {
                if let Some(successor) = self.consensus.best_successor(|_| true) {
                    // Asked again at the next tick, if it does not come to it.
                    let _ = self.consensus.transfer_leadership(successor);
                }
            }
            Some(_) if self.consensus.hears_leader() => self.divergence.led_at = self.ticks,
            Some(_) | None => {}
        }
        if self.ticks - self.divergence.led_at > LEADERLESS_TICKS_MAX {
            self.stop(Stop::Reopen);
        }
    }

    /// Whether a peer that asks for rows may have them: one that diverged only if a majority has computed what is here.
    pub(crate) fn may_have_rows(&mut self, peer: PeerId, fetch: &Fetch) -> bool {
        if self.hollow {
            return false;
        }
        let at = LogIndex(fetch.diverged_at);
        let members = self.consensus.membership();
        let own = (self.consensus.id(), self.consensus.progress().0);
        if at == LogIndex(0) || self.confirming.applied_by_majority(own, members) >= at {
            return true;
        }
        if self.consensus.leads() && own.1 >= at {
            self.divergence.doubters.insert(peer, at);
            let doubts = |peer| self.divergence.doubters.get(&peer).is_some_and(|at| self.confirming.applied_by(peer) < *at);
            if most_doubt(members, doubts) {
                let what = "a majority of the voters has computed another state than this leader: find out which is right before \
                            anything is changed; the log has every request";
                self.stop(Stop::Diverged { at, what: what.to_owned() });
            }
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
