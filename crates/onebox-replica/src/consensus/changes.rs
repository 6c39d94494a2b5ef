//! Who belongs to the members and who leads, changed on purpose: what may be asked of the library, and what is refused because
//! it is not safe.

use onebox_store::LogIndex;
use raft::StateRole;

use super::{Consensus, convert};
use crate::limits::{MEMBERS_MAX, PROMOTION_LAG_MAX};
use crate::membership::{Change, PeerId};

impl Consensus {
    /// Proposes a change of the members, and gives the entry that will begin it.
    ///
    /// # Errors
    /// Why it would not be safe, or not yet.
    pub(crate) fn propose_change(&mut self, change: Change) -> Result<LogIndex, String> {
        if self.node.raft.state != StateRole::Leader {
            // It learnt in this very turn that another leads. The library would pass the change on.
            return Err("this replica does not lead any more".to_owned());
        }
        self.may_change(change)?;
        let before = self.node.raft.raft_log.last_index();
        self.node.propose_conf_change(Vec::new(), convert::change(change)).map_err(|error| format!("not now: {error}"))?;
        assert_eq!(self.node.raft.raft_log.last_index(), before + 1, "a change of the members is one entry");
        Ok(LogIndex(before + 1))
    }

    fn may_change(&self, change: Change) -> Result<(), String> {
        let (members, peer) = (&self.membership, change.peer());
        if self.node.raft.has_pending_conf() || members.is_joint() {
            return Err("another change of the members is under way; ask again when it is done".to_owned());
        }
        let (votes, follows) = (members.voters.contains(&peer.0), members.learners.contains(&peer.0));
        let mut voters = members.voters.clone();
        match change {
            Change::AddLearner(_) if votes || follows => return Err(format!("{peer} is a member already")),
            Change::AddLearner(_) if members.peers().len() >= MEMBERS_MAX => {
                return Err(format!("there are {MEMBERS_MAX} members; no more are allowed"));
            }
            Change::AddLearner(_) => {}
            Change::Promote(_) if !follows => return Err(format!("{peer} is not a learner")),
            Change::Promote(_) => {
                let matched = self.node.raft.prs().get(peer.0).map_or(0, |progress| progress.matched);
                let lacks = self.node.raft.raft_log.committed.saturating_sub(matched);
                if matched == 0 || lacks > PROMOTION_LAG_MAX {
                    return Err(format!("{peer} lacks {lacks} entries; it may lack {PROMOTION_LAG_MAX}"));
                }
                voters.push(peer.0);
            }
            Change::Remove(_) if !votes && !follows => return Err(format!("{peer} is not a member")),
            Change::Remove(_) => voters.retain(|voter| *voter != peer.0),
        }
        let healthy = voters.iter().filter(|voter| self.is_healthy(**voter)).count();
        if healthy <= voters.len() / 2 {
            return Err(format!("of the {} voters there would be, only {healthy} are heard of: that is no majority", voters.len()));
        }
        Ok(())
    }

    pub(super) fn is_healthy(&self, peer: u64) -> bool {
        peer == self.id.0 || self.heard.within(peer, self.election_ticks)
    }

    /// Hands leadership over to another voter, which must catch up first; proposals are dropped meanwhile.
    ///
    /// # Errors
    /// Why not.
    pub(crate) fn transfer_leadership(&mut self, to: PeerId) -> Result<(), String> {
        if self.node.raft.state != StateRole::Leader {
            return Err("this replica does not lead".to_owned());
        }
        if to == self.id {
            return Err("this replica leads already".to_owned());
        }
        if !self.membership.voters.contains(&to.0) || !self.is_healthy(to.0) {
            return Err(format!("{to} is not a voter that is heard of"));
        }
        self.node.transfer_leader(to.0);
        self.draw_timeout();
        Ok(())
    }

    /// A leader that is no member any more leads no more, and tells who has most of the log to take over at once; one that had
    /// better not lead hands it on. The library would let it go on, and panic at the next answer that it counts.
    pub(super) fn leave_if_removed(&mut self) {
        if self.node.raft.state != StateRole::Leader || self.membership.votes(self.id) {
            return;
        }
        if let Some(successor) = self.best_successor(|_| true) {
            self.node.raft.send_timeout_now(successor.0);
        }
        let term = self.node.raft.term;
        self.node.raft.become_follower(term, raft::INVALID_ID);
        self.draw_timeout();
    }

    /// The voter that has most of the log, of those that are heard of and that may.
    pub(crate) fn best_successor(&self, may: impl Fn(PeerId) -> bool) -> Option<PeerId> {
        let voters = self.membership.voters.iter().filter(|voter| **voter != self.id.0 && self.is_healthy(**voter) && may(PeerId(**voter)));
        voters.max_by_key(|voter| self.node.raft.prs().get(**voter).map_or(0, |progress| progress.matched)).map(|voter| PeerId(*voter))
    }
}
