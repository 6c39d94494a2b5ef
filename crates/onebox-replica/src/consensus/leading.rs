//! Who leads, as far as it is known here, and whether that one takes requests. It only looks, and decides nothing.

use onebox_store::Term;
use raft::StateRole;

use super::Consensus;
use crate::membership::PeerId;

impl Consensus {
    /// Whether this replica leads and has applied the entry with which its term began.
    pub(crate) fn leads(&self) -> bool {
        self.role.0 == StateRole::Leader && self.applied() >= self.leads_from
    }

    pub(crate) fn leader(&self) -> Option<PeerId> {
        Some(self.node.raft.leader_id).filter(|leader| *leader != 0).map(PeerId)
    }

    /// Whether a leader was heard of lately.
    pub(crate) fn hears_leader(&self) -> bool {
        self.leader().is_some() && self.node.raft.election_elapsed < self.election_ticks
    }

    /// The leader, and its term, once it takes requests: the entry with which its term began is committed.
    pub(crate) fn serving_leader(&self) -> Option<(PeerId, Term)> {
        let (leader, log) = (self.leader()?, &self.node.raft.raft_log);
        let serves = if leader == self.id { self.leads() } else { log.term(log.committed) == Ok(self.node.raft.term) };
        serves.then_some((leader, self.term()))
    }
}
