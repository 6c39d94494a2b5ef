//! When an answer may leave: once its entry is committed, or, where that was asked for, once a majority has also applied it.
//!
//! A replica that applied an entry has computed the hash that the entry states, or it would have diverged; one that installed a snapshot
//! has proved its digest, and what it applies on top must fit it. So with [`Confirm::Executed`] nothing is acknowledged that only its
//! leader has computed or holds. Reads are answered from what is committed.

use std::collections::{BTreeMap, VecDeque};

use onebox_service::attempt::Reply;
use onebox_service::planted::planted;
use onebox_store::LogIndex;

use crate::membership::{Membership, PeerId};
use crate::peer::PeerMessage;
use crate::replica::{InFlight, Replica};

/// What must be true of an entry before an answer that rests on it leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Confirm {
    /// A majority has it on its disks.
    #[default]
    Replicated,
    /// A majority has applied it too, and computed the same hash: two more messages on the way, and protection from a leader whose
    /// memory or processor fails.
    Executed,
}

/// Entries that are committed and that answers wait for.
#[derive(Default)]
pub(crate) struct Confirming {
    confirm: Confirm,
    waiting: VecDeque<InFlight>,
    /// The last entry that each peer has applied, as it said.
    applied: BTreeMap<PeerId, LogIndex>,
}

impl Confirming {
    pub(crate) fn new(confirm: Confirm) -> Confirming {
        Confirming { confirm, ..Confirming::default() }
    }

    pub(crate) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Number of the last entry that waits.
    pub(crate) fn last_number(&self) -> Option<u64> {
        self.waiting.back().map(|last| last.number)
    }

    pub(crate) fn committed(&mut self, entry: InFlight) {
        self.waiting.push_back(entry);
    }

    pub(crate) fn keep(&mut self, members: &Membership) {
        self.applied.retain(|peer, _| members.contains(*peer));
    }

    pub(crate) fn hear(&mut self, message: &PeerMessage, members: &Membership) {
        if members.contains(PeerId(message.from)) {
            let applied = self.applied.entry(PeerId(message.from)).or_default();
            *applied = (*applied).max(LogIndex(message.applied));
        }
    }

    /// The next entry that is confirmed, if this replica, which is one of the members, has applied everything up to `own`.
    fn next(&mut self, own: (PeerId, LogIndex), members: &Membership) -> Option<InFlight> {
        let waits_for = self.waiting.front()?.index;
        let confirmed = match self.confirm {
            Confirm::Replicated => own.1,
            Confirm::Executed if planted("committed taken for executed") => own.1,
            Confirm::Executed => self.applied_by_majority(own, members),
        };
        if waits_for <= confirmed { self.waiting.pop_front() } else { None }
    }

    pub(crate) fn applied_by_majority(&self, own: (PeerId, LogIndex), members: &Membership) -> LogIndex {
        let of = |voters: &[u64]| {
            let applied = |voter: &u64| {
                let peer = PeerId(*voter);
                if peer == own.0 { own.1 } else { self.applied.get(&peer).copied().unwrap_or_default() }
            };
            let mut applied: Vec<LogIndex> = voters.iter().map(applied).collect();
            applied.sort_unstable();
            applied.get(applied.len().wrapping_sub(1) / 2).copied()
        };
        let halves = [of(&members.voters), of(&members.voters_outgoing)];
        halves.into_iter().flatten().min().unwrap_or_default()
    }
}

impl Replica {
    /// Lets the answers go of every entry that is confirmed.
    pub(crate) fn confirm_entries(&mut self) {
        let own = (self.consensus.id(), self.consensus.progress().0);
        while let Some(entry) = self.confirming.next(own, self.consensus.membership()) {
            self.published = entry.number;
            let index = entry.index;
            self.effects.replies.extend(entry.replies.into_iter().map(|(token, reply)| (token, reply, index)));
        }
    }

    /// Leadership is lost, or the replica stops: whether a majority applies these is not heard here any more.
    pub(crate) fn forget_confirming(&mut self, why: &str) {
        self.confirm_entries();
        while let Some(entry) = self.confirming.waiting.pop_front() {
            self.published = entry.number;
            for (token, _) in entry.replies {
                self.reply(token, Reply::Unknown(why.to_owned()));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_majority_of_both_halves_has_applied_it() {
        let mut confirming = Confirming::new(Confirm::Executed);
        let mut members = Membership::of_voters([1, 2, 3, 4].map(PeerId));
        let own = (PeerId(1), LogIndex(9));
        assert_eq!(confirming.applied_by_majority(own, &members), LogIndex(0), "nobody else said anything");
        for (from, applied) in [(2, 7), (3, 5), (2, 6), (8, 9)] {
            confirming.hear(&PeerMessage { from, applied, ..PeerMessage::default() }, &members);
        }
        assert_eq!(confirming.applied_by_majority(own, &members), LogIndex(5), "three of four");
        members.voters_outgoing = vec![4, 5];
        assert_eq!(confirming.applied_by_majority(own, &members), LogIndex(0), "and of those before");
        members.voters_outgoing = vec![1];
        assert_eq!(confirming.applied_by_majority(own, &members), LogIndex(5));
        members.voters = vec![1];
        assert_eq!(confirming.applied_by_majority(own, &members), LogIndex(9), "alone");
    }
}
